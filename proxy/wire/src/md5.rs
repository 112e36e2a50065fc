//! The digests of md5 authentication (AuthenticationMD5Password), for both sides of it.

use std::fmt::Write;

use md5::{Digest, Md5};

/// Digits of an MD5 digest.
const DIGITS: usize = 32;
/// What digests begin with, stored or sent.
const PREFIX: &str = "md5";

/// What `pg_authid` keeps of a password: `md5` and the digest of the password and the user's name.
pub fn stored(user: &str, password: &str) -> String {
    tagged(&[password.as_bytes(), user.as_bytes()])
}

/// Whether `text` has the form of [`stored`].
pub fn is_stored(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What a client that knows the password answers to this salt. `stored` is good for it as well as the password.
pub fn answer(stored: &str, salt: [u8; 4]) -> String {
    let digits = stored.strip_prefix(PREFIX).unwrap_or(stored).to_ascii_lowercase();
    tagged(&[digits.as_bytes(), &salt])
}

fn tagged(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    let mut text = String::with_capacity(PREFIX.len() + DIGITS);
    text.push_str(PREFIX);
    for byte in digest.finalize() {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{answer, is_stored, stored};
    use postgres_protocol::authentication::md5_hash;

    #[test]
    fn digests_are_those_of_libpq() {
        for (user, password) in [("md5_user", "password"), ("ü", ""), ("a", "pass'word")] {
            let stored = stored(user, password);
            assert!(is_stored(&stored), "{stored}");
            let salt = [0x2a, 0x3d, 0x8f, 0xe0];
            assert_eq!(
                answer(&stored, salt),
                md5_hash(user.as_bytes(), password.as_bytes(), salt)
            );
        }
        for other in [
            "md5",
            "md5xyz",
            "SCRAM-SHA-256$4096:a$b:c",
            "md5c26f1fb7d6d0d9bbdfbb80f1b2a8ea9g",
        ] {
            assert!(!is_stored(other), "{other}");
        }
    }
}
