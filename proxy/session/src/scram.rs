//! The server's side of SCRAM-SHA-256 (RFC 5802 and 7677) as PostgreSQL does it (`auth-scram.c`), free of I/O and of randomness.
//!
//! Channel binding (`SCRAM-SHA-256-PLUS`, type `tls-server-end-point`) is offered where the caller gives the hash of the certificate that it
//! showed. Passwords are prepared by SASLprep; one that SASLprep refuses is used as it is, as in PostgreSQL.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::{ProxyError, sqlstate};

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// Its name with channel binding.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one type of channel binding that there is in practice.
const BINDING_TYPE: &str = "tls-server-end-point";
/// The bytes of randomness in the server's half of the nonce, as in PostgreSQL.
pub const NONCE_LEN: usize = 18;
/// The rounds of PBKDF2 for secrets made here, PostgreSQL's default.
pub const DEFAULT_ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// The bytes of salt for secrets made here, PostgreSQL's default.
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;

/// A key of SCRAM-SHA-256.
pub type Key = [u8; KEY_LEN];

/// What a server keeps of a password: enough to verify a client, not enough to pose as one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramSecret(***)")
    }
}

/// What a client's proof gives away to whoever knows its [`ScramSecret`]: enough to log in with the same secret elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The key that makes proofs.
    pub client_key: Key,
    /// The key by which a server proves itself.
    pub server_key: Key,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

/// A text that isn't a `SCRAM-SHA-256$...` secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 secret as in pg_authid.rolpassword")]
pub struct InvalidSecret;

impl ScramSecret {
    /// Reads a secret as PostgreSQL stores it: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let parse = || {
            let (scheme, rest) = text.split_once('$')?;
            let (parameters, keys) = rest.split_once('$')?;
            let (iterations, salt) = parameters.split_once(':')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            Some(ScramSecret {
                iterations: iterations.parse().ok().filter(|_| scheme == MECHANISM)?,
                salt: STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?,
                stored_key: STANDARD.decode(stored_key).ok()?.try_into().ok()?,
                server_key: STANDARD.decode(server_key).ok()?.try_into().ok()?,
            })
        };
        parse().ok_or(InvalidSecret)
    }

    /// Derives the secret of a password that is configured in clear. Costs a millisecond: once, not at every login.
    ///
    /// The salt comes from `seed` and the name, as for users that don't exist, so that the two can't be told apart.
    pub fn derive(seed: &[u8; 32], user: &str, password: &str) -> Self {
        ScramSecret::from_password(password, mock_salt(seed, user), DEFAULT_ITERATIONS)
    }

    /// Whether `password` is the one that this was derived from. Costs a millisecond.
    pub fn matches(&self, password: &str) -> bool {
        let derived = ScramSecret::from_password(password, self.salt.clone(), self.iterations);
        verify_slices_are_equal(&derived.stored_key, &self.stored_key).is_ok()
    }

    /// Derives the secret of a password with a given salt.
    pub fn from_password(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        let mut salted: Key = [0; KEY_LEN];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let client_key = sign(&salted, &[b"Client Key"]);
        ScramSecret {
            iterations,
            salt,
            stored_key: sha256(&client_key),
            server_key: sign(&salted, &[b"Server Key"]),
        }
    }
}

/// A salt that looks the same at every login of a name, whether the user exists or not.
fn mock_salt(seed: &[u8; 32], user: &str) -> Vec<u8> {
    let mut salt = sign(seed, &[user.as_bytes()]).to_vec();
    salt.truncate(SALT_LEN);
    salt
}

/// Whose password is checked.
#[derive(Debug, Clone)]
enum Subject {
    Known(Arc<ScramSecret>),
    /// Nobody: the exchange runs as for a user with a password, and fails at its end.
    Nobody(ScramSecret),
}

impl Subject {
    fn secret(&self) -> &ScramSecret {
        match self {
            Subject::Known(secret) => secret,
            Subject::Nobody(mock) => mock,
        }
    }
}

/// Whether the exchange is tied to the TLS connection that it runs through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// There is no TLS, or no hash of the certificate.
    Impossible,
    /// The client was told that it may.
    Offered(Box<[u8]>),
    /// The client was told that it must.
    Required(Box<[u8]>),
}

impl Binding {
    /// The mechanisms that the client may choose from, the best first.
    pub(crate) fn mechanisms(&self) -> &'static [&'static str] {
        match self {
            Binding::Impossible => &[MECHANISM],
            Binding::Offered(_) => &[MECHANISM_PLUS, MECHANISM],
            Binding::Required(_) => &[MECHANISM_PLUS],
        }
    }
}

/// The mechanism that the client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Plus,
}

/// An exchange that waits for the client's first message.
#[derive(Debug)]
pub(crate) struct ScramStart {
    subject: Subject,
    nonce: [u8; NONCE_LEN],
    binding: Binding,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(crate) struct ScramChallenged {
    subject: Subject,
    /// The GS2 header and what is bound to, in base64, as the client must repeat it.
    binding: String,
    mechanism: Mechanism,
    client_first_bare: String,
    nonce: String,
    server_first: String,
}

/// How an exchange ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client knows the password. The text proves to it that we know the secret.
    Accepted(String, ScramKeys),
    /// It doesn't, or the user doesn't exist.
    Rejected,
}

impl ScramStart {
    pub(crate) fn known(secret: Arc<ScramSecret>, nonce: [u8; NONCE_LEN]) -> Self {
        ScramStart {
            subject: Subject::Known(secret),
            nonce,
            binding: Binding::Impossible,
        }
    }

    pub(crate) fn nobody(seed: &[u8; 32], user: &str, nonce: [u8; NONCE_LEN]) -> Self {
        let mock = ScramSecret {
            iterations: DEFAULT_ITERATIONS,
            salt: mock_salt(seed, user),
            stored_key: [0; KEY_LEN],
            server_key: [0; KEY_LEN],
        };
        ScramStart {
            subject: Subject::Nobody(mock),
            nonce,
            binding: Binding::Impossible,
        }
    }

    pub(crate) fn bound(self, binding: Binding) -> Self {
        ScramStart { binding, ..self }
    }

    /// The mechanism of this name, if it was offered.
    pub(crate) fn mechanism(&self, name: &[u8]) -> Option<Mechanism> {
        let offered = self
            .binding
            .mechanisms()
            .iter()
            .find(|offered| offered.as_bytes() == name)?;
        Some(if *offered == MECHANISM_PLUS {
            Mechanism::Plus
        } else {
            Mechanism::Plain
        })
    }

    /// Takes the client's first message; the challenge is in the result.
    pub(crate) fn challenge(
        self,
        mechanism: Mechanism,
        client_first: &[u8],
    ) -> Result<(ScramChallenged, String), ProxyError> {
        let message = text(client_first)?;
        let (binding, bare) = split_gs2_header(message, mechanism, &self.binding)?;
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        if !first.starts_with("n=") {
            return Err(malformed("Attribute \"n\" is expected."));
        }
        let client_nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="));
        let client_nonce = client_nonce.ok_or_else(|| malformed("Attribute \"r\" is expected."))?;
        if client_nonce.is_empty()
            || !client_nonce
                .bytes()
                .all(|c| matches!(c, 0x21..=0x2b | 0x2d..=0x7e))
        {
            return Err(malformed("Non-printable characters in SCRAM nonce."));
        }
        let secret = self.subject.secret();
        let nonce = format!("{client_nonce}{}", STANDARD.encode(self.nonce));
        let server_first = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&secret.salt),
            secret.iterations
        );
        let challenged = ScramChallenged {
            binding,
            mechanism,
            client_first_bare: bare.to_owned(),
            nonce,
            server_first: server_first.clone(),
            subject: self.subject,
        };
        Ok((challenged, server_first))
    }
}

impl ScramChallenged {
    /// Takes the client's last message and judges its proof.
    pub(crate) fn verify(self, client_final: &[u8]) -> Result<Verdict, ProxyError> {
        let message = text(client_final)?;
        let (without_proof, proof) = message
            .rsplit_once(",p=")
            .ok_or_else(|| malformed("Attribute \"p\" is expected."))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("c="));
        if binding != Some(self.binding.as_str()) {
            return Err(match self.mechanism {
                Mechanism::Plus => ProxyError::authorization("SCRAM channel binding check failed"),
                Mechanism::Plain => {
                    protocol("unexpected SCRAM channel-binding attribute in client-final-message")
                }
            });
        }
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="));
        if nonce != Some(self.nonce.as_str()) {
            return Err(protocol("invalid SCRAM response").with_detail("Nonce does not match."));
        }
        let proof: Option<Key> = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;

        let auth_message: [&[u8]; 5] = [
            self.client_first_bare.as_bytes(),
            b",",
            self.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let secret = self.subject.secret();
        let mut client_key = sign(&secret.stored_key, &auth_message);
        for (key, proof) in client_key.iter_mut().zip(proof) {
            *key ^= proof;
        }
        let proved = verify_slices_are_equal(&sha256(&client_key), &secret.stored_key).is_ok();
        let signature = sign(&secret.server_key, &auth_message);
        match (&self.subject, proved) {
            (Subject::Known(_), true) => {
                let keys = ScramKeys {
                    client_key,
                    server_key: secret.server_key,
                };
                Ok(Verdict::Accepted(
                    format!("v={}", STANDARD.encode(signature)),
                    keys,
                ))
            }
            (Subject::Known(_), false) | (Subject::Nobody(_), _) => Ok(Verdict::Rejected),
        }
    }
}

/// Splits the GS2 header off; returns it in base64, with what is bound to, as the client must repeat it later, and the rest.
fn split_gs2_header<'m>(
    message: &'m str,
    mechanism: Mechanism,
    binding: &Binding,
) -> Result<(String, &'m str), ProxyError> {
    let (flag, rest) = match message.split_once(',') {
        Some(parts) => parts,
        None if message.starts_with(['n', 'y', 'p']) => return Err(malformed("Comma expected.")),
        None => return Err(malformed("Unexpected channel-binding flag.")),
    };
    let bound: &[u8] = match (flag, mechanism, binding) {
        ("n", Mechanism::Plain, _) | ("y", Mechanism::Plain, Binding::Impossible) => &[],
        ("y", Mechanism::Plain, Binding::Offered(_) | Binding::Required(_)) => {
            return Err(ProxyError::authorization("SCRAM channel binding negotiation error").with_detail(
                "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding.",
            ));
        }
        ("n" | "y", Mechanism::Plus, _) => {
            return Err(malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
            ));
        }
        (flag, Mechanism::Plain, _) if flag.starts_with('p') => {
            return Err(malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
            ));
        }
        (flag, Mechanism::Plus, Binding::Offered(hash) | Binding::Required(hash))
            if flag.starts_with('p') =>
        {
            match flag.strip_prefix("p=") {
                Some(BINDING_TYPE) => hash,
                Some(other) => {
                    return Err(ProxyError::protocol_violation(format!(
                        "unsupported SCRAM channel-binding type \"{}\"",
                        other.escape_default()
                    )));
                }
                None => return Err(malformed("Expected character \"=\" for attribute \"p\".")),
            }
        }
        _ if flag.starts_with(['n', 'y']) => return Err(malformed("Comma expected.")),
        _ => return Err(malformed("Unexpected channel-binding flag.")),
    };
    if rest.starts_with("a=") {
        return Err(unsupported(
            "client uses authorization identity, but it is not supported",
        ));
    }
    let bare = rest
        .strip_prefix(',')
        .ok_or_else(|| malformed("Unexpected attribute in client-first-message."))?;
    let mut input = format!("{flag},,").into_bytes();
    input.extend_from_slice(bound);
    Ok((STANDARD.encode(input), bare))
}

fn text(message: &[u8]) -> Result<&str, ProxyError> {
    match std::str::from_utf8(message) {
        Ok("") => Err(malformed("The message is empty.")),
        Ok(text) if text.contains('\0') => Err(malformed("Message length does not match input length.")),
        Ok(text) => Ok(text),
        Err(_) => Err(malformed("The message is not valid UTF-8.")),
    }
}

fn protocol(message: &'static str) -> ProxyError {
    ProxyError::protocol_violation(message)
}

fn malformed(detail: &'static str) -> ProxyError {
    protocol("malformed SCRAM message").with_detail(detail)
}

fn unsupported(message: &'static str) -> ProxyError {
    ProxyError::fatal(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

fn sha256(data: &[u8]) -> Key {
    let mut key = [0; KEY_LEN];
    key.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    key
}

fn sign(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut signature = [0; KEY_LEN];
    signature.copy_from_slice(context.sign().as_ref());
    signature
}

#[cfg(test)]
mod tests;
