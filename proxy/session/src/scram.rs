//! The server's side of SCRAM-SHA-256 (RFC 5802 and 7677) as PostgreSQL does it (`auth-scram.c`), free of I/O and of randomness.
//!
//! Channel binding isn't offered: a client may say that it can't (`n`) or that it could but saw no offer (`y`); one that insists (`p`) is
//! refused. Passwords are prepared by SASLprep; one that SASLprep refuses is used as it is, as in PostgreSQL.

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

type Key = [u8; KEY_LEN];

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

/// An exchange that waits for the client's first message.
#[derive(Debug)]
pub(crate) struct ScramStart {
    subject: Subject,
    nonce: [u8; NONCE_LEN],
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(crate) struct ScramChallenged {
    subject: Subject,
    /// The GS2 header in base64, as the client must repeat it.
    binding: &'static str,
    client_first_bare: String,
    nonce: String,
    server_first: String,
}

/// How an exchange ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client knows the password. The text proves to it that we know the secret.
    Accepted(String),
    /// It doesn't, or the user doesn't exist.
    Rejected,
}

impl ScramStart {
    pub(crate) fn known(secret: Arc<ScramSecret>, nonce: [u8; NONCE_LEN]) -> Self {
        ScramStart {
            subject: Subject::Known(secret),
            nonce,
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
        }
    }

    /// Takes the client's first message; the challenge is in the result.
    pub(crate) fn challenge(self, client_first: &[u8]) -> Result<(ScramChallenged, String), ProxyError> {
        let message = text(client_first)?;
        let (binding, bare) = split_gs2_header(message)?;
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
        if binding != Some(self.binding) {
            return Err(protocol(
                "unexpected SCRAM channel-binding attribute in client-final-message",
            ));
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
            (Subject::Known(_), true) => Ok(Verdict::Accepted(format!("v={}", STANDARD.encode(signature)))),
            (Subject::Known(_), false) | (Subject::Nobody(_), _) => Ok(Verdict::Rejected),
        }
    }
}

/// Splits the GS2 header off; returns it in base64, as the client must repeat it later, and the rest.
fn split_gs2_header(message: &str) -> Result<(&'static str, &str), ProxyError> {
    let (binding, rest) = match message.split_at_checked(1) {
        Some(("n", rest)) => ("biws", rest),
        Some(("y", rest)) => ("eSws", rest),
        Some(("p", _)) => {
            return Err(malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
            ));
        }
        _ => return Err(malformed("Unexpected channel-binding flag.")),
    };
    let rest = rest
        .strip_prefix(',')
        .ok_or_else(|| malformed("Comma expected."))?;
    if rest.starts_with("a=") {
        return Err(unsupported(
            "client uses authorization identity, but it is not supported",
        ));
    }
    let bare = rest
        .strip_prefix(',')
        .ok_or_else(|| malformed("Unexpected attribute in client-first-message."))?;
    Ok((binding, bare))
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
