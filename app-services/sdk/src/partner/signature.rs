//! Signatures of webhooks: HMAC-SHA256 over the time and the body. Pure: the time is an argument.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign as hmac_sign, verify as hmac_verify};
use std::fmt::Write as _;
use std::time::Duration;

/// The name of the header: `t=SECONDS,v1=HEX`.
pub const SIGNATURE_HEADER: &str = "partner-signature";

/// A signature that is older, or from further in the future, is refused: what was recorded on the way can't be sent again later.
pub const TOLERANCE: Duration = Duration::from_secs(300);

fn signed(seconds: u64, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{seconds}.").into_bytes();
    text.extend_from_slice(body);
    text
}

/// The header's value for a body that is sent at this time, in seconds since 1970.
pub fn sign(secret: &str, seconds: u64, body: &[u8]) -> String {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let mut value = format!("t={seconds},v1=");
    for byte in hmac_sign(&key, &signed(seconds, body)).as_ref() {
        // Writing to a String can't fail.
        let _ = write!(value, "{byte:02x}");
    }
    value
}

/// Whether a header's value is right for a body that has come at this time. How long it takes doesn't depend on where a wrong one differs.
pub fn verify(secret: &str, now_seconds: u64, header: &str, body: &[u8]) -> bool {
    let Some((time, tag)) = header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")) else {
        return false;
    };
    let (Ok(seconds), Some(tag)) = (time.parse::<u64>(), bytes(tag)) else {
        return false;
    };
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let is_right = hmac_verify(&key, &signed(seconds, body), &tag).is_ok();
    is_right && now_seconds.abs_diff(seconds) <= TOLERANCE.as_secs()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_what_was_signed_is_believed_and_not_for_long(secret in "[a-z]{16}", body: Vec<u8>, other: Vec<u8>, at in 1_000..4_000_000_000_u64) {
            let header = sign(&secret, at, &body);
            prop_assert!(verify(&secret, at + 300, &header, &body));
            prop_assert!(verify(&secret, at - 300, &header, &body));
            prop_assert!(!verify(&secret, at + 301, &header, &body));
            prop_assert!(!verify(&secret, at - 301, &header, &body));
            prop_assert!(!verify("another secret", at, &header, &body));
            prop_assert_eq!(verify(&secret, at, &header, &other), other == body);
            let later = header.replace(&format!("t={at}"), &format!("t={}", at + 200));
            prop_assert!(!verify(&secret, at + 200, &later, &body), "the time is signed too");
        }

        #[test]
        fn anything_else_is_refused(header in "\\PC{0,80}") {
            prop_assert!(!verify("secret", 0, &header, b""));
        }
    }
}
