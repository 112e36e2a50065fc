//! Authentication: what is asked of a client, and what its answers prove.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use wire::backend::{
    encode_authentication_cleartext, encode_authentication_md5, encode_authentication_sasl,
    encode_authentication_sasl_continue, encode_authentication_sasl_final,
};
use wire::frame;
use wire::frontend::{Password, SaslInitialResponse, SaslResponse};
use wire::{ProxyError, md5, sqlstate};

use crate::scram::{Binding, NONCE_LEN, ScramChallenged, ScramKeys, ScramSecret, ScramStart, Verdict};

/// The longest frame with SASL data, as in PostgreSQL (`PG_MAX_SASL_MESSAGE_LENGTH`, and the tag).
const MAX_SASL_FRAME: usize = 1024 + 1;
/// The longest frame with a password, as in PostgreSQL (`PG_MAX_AUTH_TOKEN_LENGTH`, and the tag).
const MAX_PASSWORD_FRAME: usize = 65_535 + 1;

/// What a client has to show.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Nothing.
    Trust,
    /// That it knows the password of a SCRAM secret.
    Scram {
        /// The secret; `None`: the user doesn't exist or has none. Then an exchange is played that fails at its end.
        secret: Option<Arc<ScramSecret>>,
        /// Whether it must tie the exchange to its TLS connection.
        binding: BindingPolicy,
    },
    /// That it knows the password of an md5 digest ([`md5::stored`]); `None`: as above.
    Md5(Option<Arc<str>>),
    /// The password itself; `None`: as above.
    Password(Option<StoredPassword>),
    /// Whatever it has, this is what it is told.
    Refused(Box<ProxyError>),
}

/// Whether a client must use channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingPolicy {
    /// Where both sides can.
    IfPossible,
    /// Always.
    Required,
}

/// What a password in clear is compared with.
#[derive(Clone)]
pub enum StoredPassword {
    /// The password.
    Clear(Arc<str>),
    /// Its SCRAM secret.
    Scram(Arc<ScramSecret>),
    /// Its md5 digest.
    Md5(Arc<str>),
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredPassword(***)")
    }
}

impl StoredPassword {
    fn matches(&self, user: &str, password: &str) -> bool {
        let equal = |a: &str, b: &str| verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok();
        match self {
            StoredPassword::Clear(known) => equal(known, password),
            StoredPassword::Scram(secret) => secret.matches(password),
            StoredPassword::Md5(digest) => equal(&digest.to_ascii_lowercase(), &md5::stored(user, password)),
        }
    }
}

/// What a client's login gave away that is good for logging in to a server as the same user.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// The keys of its SCRAM secret: good wherever the same secret is kept.
    ScramKeys(Box<ScramKeys>),
    /// The password.
    Password(Box<str>),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::None => "None",
            Proof::ScramKeys(_) => "ScramKeys(***)",
            Proof::Password(_) => "Password(***)",
        })
    }
}

/// An exchange that waits for the client.
pub(super) enum Exchange {
    Password(Option<StoredPassword>),
    /// The answer that is right.
    Md5(Option<String>),
    ScramFirst(ScramStart),
    ScramFinal(Box<ScramChallenged>),
}

/// What follows from a message of the client, or from a credential.
pub(super) enum Progress {
    /// It is who it says.
    Accepted { send: Vec<u8>, proof: Proof },
    /// Its next message is needed.
    Ask { send: Vec<u8>, exchange: Exchange },
    /// It is refused.
    Refused(Box<ProxyError>),
}

/// What an exchange is begun with.
pub(super) struct Begin<'a> {
    pub(super) user: &'a str,
    pub(super) seed: &'a [u8; 32],
    pub(super) nonce: [u8; NONCE_LEN],
    /// The hash of the certificate that the client was shown.
    pub(super) end_point: Option<&'a [u8]>,
}

impl Begin<'_> {
    /// What to do about a client that has to show `credential`.
    pub(super) fn exchange(&self, credential: Credential) -> Progress {
        let mut send = Vec::new();
        let exchange = match credential {
            Credential::Trust => {
                return Progress::Accepted {
                    send,
                    proof: Proof::None,
                };
            }
            Credential::Refused(error) => return Progress::Refused(error),
            Credential::Scram { secret, binding } => {
                let binding = match (binding, self.end_point) {
                    (BindingPolicy::IfPossible, None) => Binding::Impossible,
                    (BindingPolicy::IfPossible, Some(hash)) => Binding::Offered(hash.into()),
                    (BindingPolicy::Required, Some(hash)) => Binding::Required(hash.into()),
                    (BindingPolicy::Required, None) => return refuse(no_binding()),
                };
                encode_authentication_sasl(&mut send, binding.mechanisms());
                let start = match secret {
                    Some(secret) => ScramStart::known(secret, self.nonce),
                    None => ScramStart::nobody(self.seed, self.user, self.nonce),
                };
                Exchange::ScramFirst(start.bound(binding))
            }
            Credential::Md5(digest) => {
                let [a, b, c, d, ..] = self.nonce;
                let salt = [a, b, c, d];
                encode_authentication_md5(&mut send, salt);
                Exchange::Md5(digest.map(|digest| md5::answer(&digest, salt)))
            }
            Credential::Password(stored) => {
                encode_authentication_cleartext(&mut send);
                Exchange::Password(stored)
            }
        };
        Progress::Ask { send, exchange }
    }
}

impl Exchange {
    /// What PostgreSQL calls the message that it waits for, in its words to a client that sends another one.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Exchange::Password(_) | Exchange::Md5(_) => "password",
            Exchange::ScramFirst(_) | Exchange::ScramFinal(_) => "SASL",
        }
    }

    /// The longest frame that it may be.
    pub(super) fn max_frame(&self) -> usize {
        match self {
            Exchange::Password(_) | Exchange::Md5(_) => MAX_PASSWORD_FRAME,
            Exchange::ScramFirst(_) | Exchange::ScramFinal(_) => MAX_SASL_FRAME,
        }
    }

    /// Takes the client's message, a whole frame.
    pub(super) fn advance(self, user: &str, answer: &[u8]) -> Progress {
        let body = frame::body(answer);
        let judged = match self {
            Exchange::Password(stored) => on_password(stored.as_ref(), user, body),
            Exchange::Md5(expected) => on_md5(expected.as_deref(), user, body),
            Exchange::ScramFirst(scram) => on_scram_first(scram, body),
            Exchange::ScramFinal(scram) => on_scram_final(*scram, user, body),
        };
        judged.unwrap_or_else(refuse)
    }
}

fn refuse(error: ProxyError) -> Progress {
    Progress::Refused(Box::new(error))
}

/// The rule asks for what only TLS can give.
fn no_binding() -> ProxyError {
    ProxyError::authorization("channel binding is required and the connection has none to offer")
        .with_hint("Connect with sslmode=require or stricter.")
}

/// The text of a PasswordMessage.
fn password_text(body: &[u8]) -> Result<&[u8], ProxyError> {
    match Password::decode(body) {
        Err(_) => Err(ProxyError::protocol_violation("invalid password packet size")),
        Ok(Password { password: b"" }) => Err(ProxyError::fatal(
            sqlstate::INVALID_PASSWORD,
            "empty password returned by client",
        )),
        Ok(Password { password }) => Ok(password),
    }
}

fn on_password(stored: Option<&StoredPassword>, user: &str, body: &[u8]) -> Result<Progress, ProxyError> {
    let password = String::from_utf8_lossy(password_text(body)?);
    if stored.is_some_and(|stored| stored.matches(user, &password)) {
        return Ok(Progress::Accepted {
            send: Vec::new(),
            proof: Proof::Password(password.into()),
        });
    }
    Err(ProxyError::password_failed(user))
}

fn on_md5(expected: Option<&str>, user: &str, body: &[u8]) -> Result<Progress, ProxyError> {
    let answer = password_text(body)?;
    let right = |expected: &str| verify_slices_are_equal(expected.as_bytes(), answer).is_ok();
    if expected.is_some_and(right) {
        return Ok(Progress::Accepted {
            send: Vec::new(),
            proof: Proof::None,
        });
    }
    Err(ProxyError::password_failed(user))
}

fn on_scram_first(scram: ScramStart, body: &[u8]) -> Result<Progress, ProxyError> {
    let response = SaslInitialResponse::decode(body)?;
    let Some(mechanism) = scram.mechanism(response.mechanism) else {
        return Err(ProxyError::protocol_violation(
            "client selected an invalid SASL authentication mechanism",
        ));
    };
    let Some(data) = response.data else {
        // PostgreSQL would ask for it by an empty challenge; SCRAM's clients always send it at once.
        return Err(ProxyError::protocol_violation(
            "the SASL exchange must begin with the client's message",
        ));
    };
    let (challenged, server_first) = scram.challenge(mechanism, data)?;
    let mut send = Vec::new();
    encode_authentication_sasl_continue(&mut send, server_first.as_bytes());
    Ok(Progress::Ask {
        send,
        exchange: Exchange::ScramFinal(Box::new(challenged)),
    })
}

fn on_scram_final(scram: ScramChallenged, user: &str, body: &[u8]) -> Result<Progress, ProxyError> {
    match scram.verify(SaslResponse::decode(body).data)? {
        Verdict::Rejected => Err(ProxyError::password_failed(user)),
        Verdict::Accepted(server_final, keys) => {
            let mut send = Vec::new();
            encode_authentication_sasl_final(&mut send, server_final.as_bytes());
            Ok(Progress::Accepted {
                send,
                proof: Proof::ScramKeys(Box::new(keys)),
            })
        }
    }
}
