//! The client's side of SCRAM-SHA-256 by the keys that a client of ours has proved, where the password itself isn't known.
//!
//! A proof needs the client key only (RFC 5802): whoever checked a client's proof against its verifier has learned it. It is good on every
//! server that keeps the same verifier.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::target::ScramKeys;

/// Bytes of randomness in the nonce, as in libpq.
const NONCE_LEN: usize = 18;
/// The GS2 header: no channel binding. "Could, but saw no offer" would be taken for an attack by a server that does offer it.
const HEADER: &str = "n,,";

/// Why an exchange can't go on: the server's message isn't SCRAM, or its proof is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyScramError {
    /// Not the message that follows.
    #[error("the server's SCRAM message is malformed")]
    Malformed,
    /// It answered to another nonce.
    #[error("the server's SCRAM nonce is not an answer to ours")]
    Nonce,
    /// It doesn't know the secret.
    #[error("the server did not prove that it knows the secret")]
    Proof,
    /// The system gave no randomness.
    #[error("no randomness")]
    Random,
}

/// An exchange whose first message has been sent.
pub(crate) struct KeyScram {
    keys: ScramKeys,
    nonce: String,
}

/// An exchange whose proof has been sent: what the server has to sign.
pub(crate) struct KeyScramProved {
    keys: ScramKeys,
    auth_message: Vec<u8>,
}

impl KeyScram {
    /// Begins; gives the first message.
    pub(crate) fn begin(keys: &ScramKeys) -> Result<(KeyScram, String), KeyScramError> {
        let mut random = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyScramError::Random)?;
        let nonce = STANDARD.encode(random);
        let first = format!("{HEADER}n=,r={nonce}");
        let begun = KeyScram {
            keys: keys.clone(),
            nonce,
        };
        Ok((begun, first))
    }

    /// Takes the server's challenge; gives the proof.
    pub(crate) fn prove(self, server_first: &[u8]) -> Result<(KeyScramProved, String), KeyScramError> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| KeyScramError::Malformed)?;
        let nonce = server_first
            .strip_prefix("r=")
            .and_then(|rest| rest.split(',').next())
            .ok_or(KeyScramError::Malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(KeyScramError::Nonce);
        }
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let auth_message = format!("n=,r={},{server_first},{without_proof}", self.nonce).into_bytes();
        let stored_key = digest::digest(&digest::SHA256, &self.keys.client_key);
        let mut proof = self.keys.client_key;
        for (byte, sign) in proof
            .iter_mut()
            .zip(sign(stored_key.as_ref(), &auth_message).as_ref())
        {
            *byte ^= sign;
        }
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        let proved = KeyScramProved {
            keys: self.keys,
            auth_message,
        };
        Ok((proved, last))
    }
}

impl KeyScramProved {
    /// Checks the server's own proof.
    pub(crate) fn verify(&self, server_final: &[u8]) -> Result<(), KeyScramError> {
        let signature = server_final
            .strip_prefix(b"v=")
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or(KeyScramError::Malformed)?;
        let expected = sign(&self.keys.server_key, &self.auth_message);
        verify_slices_are_equal(&signature, expected.as_ref()).map_err(|_| KeyScramError::Proof)
    }
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}
