//! SCRAM against an independent client, and against what an attacker may send.

use std::num::NonZeroU32;
use std::sync::Arc;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

use super::{Binding, Mechanism, NONCE_LEN, ScramSecret, ScramStart, Verdict, sha256};

const SEED: [u8; 32] = [7; 32];
const NONCE: [u8; NONCE_LEN] = [3; NONCE_LEN];

/// The example of RFC 7677 (password `pencil`), in the form in which PostgreSQL stores it.
const STORED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn weak(password: &str) -> Arc<ScramSecret> {
    Arc::new(ScramSecret::from_password(password, vec![1; 16], NonZeroU32::MIN))
}

/// Plays an exchange; the error is what the server said.
fn play(start: ScramStart, password: &str, binding: ChannelBinding) -> Result<bool, String> {
    play_as(start, Mechanism::Plain, password, binding)
}

fn play_as(
    start: ScramStart,
    mechanism: Mechanism,
    password: &str,
    binding: ChannelBinding,
) -> Result<bool, String> {
    let mut client = ScramSha256::new(password.as_bytes(), binding);
    let stored = start.subject.secret().clone();
    let (challenged, server_first) = start
        .challenge(mechanism, client.message())
        .map_err(|e| e.to_string())?;
    client
        .update(server_first.as_bytes())
        .map_err(|e| e.to_string())?;
    match challenged.verify(client.message()).map_err(|e| e.to_string())? {
        Verdict::Rejected => Ok(false),
        Verdict::Accepted(server_final, keys) => {
            client
                .finish(server_final.as_bytes())
                .expect("the server proves itself");
            // What was learned is the key behind the verifier.
            assert_eq!(sha256(&keys.client_key), stored.stored_key);
            assert_eq!(keys.server_key, stored.server_key);
            Ok(true)
        }
    }
}

fn bound_to(hash: u8) -> ChannelBinding {
    ChannelBinding::tls_server_end_point(vec![hash; 32])
}

#[test]
fn channel_binding_holds_both_sides_to_one_certificate() {
    let offers = [
        Binding::Offered([1; 32].into()),
        Binding::Required([1; 32].into()),
    ];
    for offer in offers {
        let start = || ScramStart::known(weak("secret"), NONCE).bound(offer.clone());
        assert_eq!(start().mechanism(b"SCRAM-SHA-256-PLUS"), Some(Mechanism::Plus));
        assert_eq!(play_as(start(), Mechanism::Plus, "secret", bound_to(1)), Ok(true));
        assert_eq!(play_as(start(), Mechanism::Plus, "wrong", bound_to(1)), Ok(false));
        assert_eq!(
            play_as(start(), Mechanism::Plus, "secret", bound_to(2)),
            Err("FATAL: 28000: SCRAM channel binding check failed".to_owned())
        );
        // Somebody took the offer away.
        assert_eq!(
            play(start(), "secret", ChannelBinding::unrequested()),
            Err("FATAL: 28000: SCRAM channel binding negotiation error".to_owned())
        );
        for binding in [ChannelBinding::unrequested(), ChannelBinding::unsupported()] {
            assert_eq!(
                play_as(start(), Mechanism::Plus, "secret", binding),
                Err("FATAL: 08P01: malformed SCRAM message".to_owned())
            );
        }
    }
    let start = ScramStart::known(weak("secret"), NONCE);
    let offered = start.bound(Binding::Offered([1; 32].into()));
    assert_eq!(offered.mechanism(b"SCRAM-SHA-256"), Some(Mechanism::Plain));
    assert_eq!(play(offered, "secret", ChannelBinding::unsupported()), Ok(true));
    let required = ScramStart::known(weak("secret"), NONCE).bound(Binding::Required([1; 32].into()));
    assert_eq!(required.mechanism(b"SCRAM-SHA-256"), None);
    let impossible = ScramStart::known(weak("secret"), NONCE);
    assert_eq!(impossible.mechanism(b"SCRAM-SHA-256-PLUS"), None);
}

#[test]
fn other_types_of_binding_are_refused() {
    let start = ScramStart::known(weak("secret"), NONCE).bound(Binding::Offered([1; 32].into()));
    let refused = start
        .challenge(Mechanism::Plus, b"p=tls-unique,,n=,r=abc")
        .map(|_| ());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "FATAL: 08P01: unsupported SCRAM channel-binding type \"tls-unique\""
    );
}

#[test]
fn the_right_password_is_accepted_and_both_sides_are_proved() {
    for binding in [ChannelBinding::unsupported(), ChannelBinding::unrequested()] {
        assert_eq!(
            play(ScramStart::known(weak("secret"), NONCE), "secret", binding),
            Ok(true)
        );
    }
}

#[test]
fn a_secret_stored_by_postgres_is_understood() {
    let secret = Arc::new(ScramSecret::parse(STORED).unwrap());
    assert_eq!(
        play(
            ScramStart::known(Arc::clone(&secret), NONCE),
            "pencil",
            ChannelBinding::unsupported()
        ),
        Ok(true)
    );
    assert_eq!(
        play(
            ScramStart::known(secret, NONCE),
            "pencils",
            ChannelBinding::unsupported()
        ),
        Ok(false)
    );
}

#[test]
fn postgres_and_we_derive_the_same_secret() {
    let stored = ScramSecret::parse(STORED).unwrap();
    assert!(ScramSecret::from_password("pencil", stored.salt.clone(), stored.iterations) == stored);
}

#[test]
fn saslprep_maps_what_looks_alike() {
    // U+00A0 is mapped to a space; the client sends the password with an ordinary one.
    assert_eq!(
        play(
            ScramStart::known(weak("a\u{a0}b"), NONCE),
            "a b",
            ChannelBinding::unsupported()
        ),
        Ok(true)
    );
    // A control character is prohibited: both sides use the password as it is.
    assert_eq!(
        play(
            ScramStart::known(weak("a\u{7}b"), NONCE),
            "a\u{7}b",
            ChannelBinding::unsupported()
        ),
        Ok(true)
    );
}

#[test]
fn nobody_is_refused_at_the_end_only_and_looks_like_somebody() {
    let client = ScramSha256::new(b"x", ChannelBinding::unsupported());
    let salt_of = |start: ScramStart| {
        let (_, server_first) = start.challenge(Mechanism::Plain, client.message()).unwrap();
        server_first.split_once(",s=").unwrap().1.to_owned()
    };
    let nobody = || ScramStart::nobody(&SEED, "ghost", NONCE);
    assert_eq!(
        play(nobody(), "anything", ChannelBinding::unsupported()),
        Ok(false)
    );
    assert_eq!(salt_of(nobody()), salt_of(nobody()), "asking twice tells nothing");
    assert_ne!(
        salt_of(nobody()),
        salt_of(ScramStart::nobody(&SEED, "other", NONCE))
    );
    let somebody = ScramStart::known(Arc::new(ScramSecret::derive(&SEED, "ghost", "pw")), NONCE);
    assert_eq!(salt_of(somebody), salt_of(nobody()), "nor does being created");
}

#[test]
fn a_client_that_insists_on_channel_binding_is_refused() {
    let binding = ChannelBinding::tls_server_end_point(vec![1; 32]);
    let refused = play(ScramStart::known(weak("secret"), NONCE), "secret", binding).unwrap_err();
    assert_eq!(refused, "FATAL: 08P01: malformed SCRAM message");
}

#[test]
fn first_messages_that_postgres_refuses_are_refused() {
    let check = |message: &str, expected: &str| {
        let refused = ScramStart::known(weak("secret"), NONCE)
            .challenge(Mechanism::Plain, message.as_bytes())
            .map(|_| ());
        assert_eq!(refused.unwrap_err().to_string(), expected, "{message}");
    };
    let malformed = "FATAL: 08P01: malformed SCRAM message";
    check("", malformed);
    check("n", malformed);
    check("n,", malformed);
    check("x,,n=,r=abc", malformed);
    check("n,,r=abc", malformed);
    check("n,,n=", malformed);
    check("n,,n=,r=", malformed);
    check("n,,n=,r=a\u{e4}", malformed);
    check("n,,n=,r=a\0b", malformed);
    check(
        "n,a=me,n=,r=abc",
        "FATAL: 0A000: client uses authorization identity, but it is not supported",
    );
    check(
        "n,,m=x,n=,r=abc",
        "FATAL: 0A000: client requires an unsupported SCRAM extension",
    );
}

#[test]
fn last_messages_that_do_not_fit_the_first_are_refused() {
    let check = |message: &str, expected: &str| {
        let (challenged, _) = ScramStart::known(weak("secret"), NONCE)
            .challenge(Mechanism::Plain, b"n,,n=,r=abc")
            .unwrap();
        assert_eq!(
            challenged.verify(message.as_bytes()).unwrap_err().to_string(),
            expected,
            "{message}"
        );
    };
    let nonce = "abcAwMDAwMDAwMDAwMDAwMDAwMD";
    let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let binding = "FATAL: 08P01: unexpected SCRAM channel-binding attribute in client-final-message";
    check(&format!("c=eSws,r={nonce},p={proof}"), binding);
    check(&format!("r={nonce},p={proof}"), binding);
    check(
        &format!("c=biws,r=abc,p={proof}"),
        "FATAL: 08P01: invalid SCRAM response",
    );
    check(
        &format!("c=biws,r={nonce},p=AAAA"),
        "FATAL: 08P01: malformed SCRAM message",
    );
    check(
        &format!("c=biws,r={nonce}"),
        "FATAL: 08P01: malformed SCRAM message",
    );
}

#[test]
fn texts_that_are_no_secrets() {
    for text in [
        "",
        "md5abc",
        "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    ] {
        assert!(ScramSecret::parse(text).is_err(), "{text}");
    }
    assert_eq!(
        format!("{:?}", ScramSecret::parse(STORED).unwrap()),
        "ScramSecret(***)"
    );
}

proptest! {
    #[test]
    fn only_the_same_password_is_accepted(password in "[a-z]{1,3}", tried in "[a-z]{1,3}") {
        let accepted = play(ScramStart::known(weak(&password), NONCE), &tried, ChannelBinding::unsupported());
        prop_assert_eq!(accepted, Ok(password == tried));
    }

    #[test]
    fn arbitrary_messages_are_never_accepted(first in prop::collection::vec(any::<u8>(), 0..60), last in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = ScramStart::known(weak("secret"), NONCE).challenge(Mechanism::Plain, &first);
        let (challenged, _) = ScramStart::known(weak("secret"), NONCE).challenge(Mechanism::Plain, b"n,,n=,r=abc").unwrap();
        prop_assert!(!matches!(challenged.verify(&last), Ok(Verdict::Accepted(..))));
    }
}
