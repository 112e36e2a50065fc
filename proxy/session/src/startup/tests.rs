//! The handshake with clients of every kind.

use std::num::NonZeroU32;
use std::sync::Arc;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;
use wire::backend::{Authentication, ErrorFields, NegotiateProtocolVersion};
use wire::frontend::{Password, SaslInitialResponse, SaslResponse};
use wire::startup::{ProtocolVersion, encode_cancel, encode_ssl_request, encode_startup};
use wire::{CancelKey, frame, md5};

use super::{Action, Authenticated, BindingPolicy, Credential, Proof, Startup, StoredPassword, TlsOffer};
use crate::scram::ScramSecret;

const NONCE: [u8; 18] = [9; 18];

fn startup(offer: TlsOffer) -> Startup {
    Startup::new(offer, [1; 32])
}

fn packet(version: ProtocolVersion, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_startup(
        &mut out,
        version,
        parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())),
    );
    out
}

fn ssl_request() -> Vec<u8> {
    let mut out = Vec::new();
    encode_ssl_request(&mut out);
    out
}

const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// What is said to a client that is refused: `SQLSTATE message`.
fn refusal(action: &Action) -> String {
    let Action::Close { send, .. } = action else {
        panic!("{action:?}")
    };
    let fields = ErrorFields::decode(frame::body(send)).expect("an ErrorResponse");
    assert!(fields.is_fatal());
    assert_eq!(fields.get(b'R'), Some(&b"ringway"[..]));
    format!(
        "{} {}",
        fields.sqlstate().unwrap(),
        String::from_utf8_lossy(fields.message())
    )
}

/// Lets a client in that is asked nothing.
fn trusted(parameters: &[(&str, &str)]) -> Result<Authenticated, String> {
    let mut startup = startup(TlsOffer::Disabled);
    let input = packet(ProtocolVersion::V3_0, parameters);
    let step = startup.advance(&input);
    assert_eq!(step.consumed, input.len());
    let Action::LookUp { .. } = step.action else {
        return Err(refusal(&step.action));
    };
    let Action::Accept { client, .. } = startup.authenticate(Credential::Trust, NONCE) else {
        panic!()
    };
    Ok(*client)
}

/// Logs in by SCRAM; the bytes come in pieces of `piece`.
fn log_in(credential: Credential, password: &str, piece: usize) -> Action {
    let mut startup = startup(TlsOffer::Disabled);
    let feed = |startup: &mut Startup, bytes: &[u8]| {
        let mut fed = 0;
        loop {
            let step = startup.advance(&bytes[..fed]);
            if let Action::NeedMore { at_least } = step.action {
                assert!(at_least > fed && step.consumed == 0);
                assert!(at_least <= bytes.len(), "asks for more than the message");
                fed = (fed + piece).min(bytes.len());
            } else {
                assert_eq!(step.consumed, bytes.len());
                return step.action;
            }
        }
    };
    let asked = feed(&mut startup, &packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    assert_eq!(
        asked,
        Action::LookUp {
            user: "jo".into(),
            database: "jo".into()
        }
    );
    let Action::Send(offer) = startup.authenticate(credential, NONCE) else {
        panic!()
    };
    let Ok(Authentication::Sasl(mechanisms)) = Authentication::decode(frame::body(&offer)) else {
        panic!()
    };
    assert_eq!(mechanisms.iter().collect::<Vec<_>>(), [b"SCRAM-SHA-256"]);

    let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    let mut message = Vec::new();
    SaslInitialResponse {
        mechanism: b"SCRAM-SHA-256",
        data: Some(client.message()),
    }
    .encode(&mut message);
    let Action::Send(challenge) = feed(&mut startup, &message) else {
        panic!()
    };
    let Ok(Authentication::SaslContinue(data)) = Authentication::decode(frame::body(&challenge)) else {
        panic!()
    };
    client.update(data).unwrap();
    let mut message = Vec::new();
    SaslResponse {
        data: client.message(),
    }
    .encode(&mut message);
    let end = feed(&mut startup, &message);
    if let Action::Accept { send, .. } = &end {
        let frame::Scan::Frame { len, .. } = frame::scan(send, 1000) else {
            panic!()
        };
        let Ok(Authentication::SaslFinal(data)) = Authentication::decode(frame::body(&send[..len])) else {
            panic!()
        };
        client.finish(data).unwrap();
        assert_eq!(
            Authentication::decode(frame::body(&send[len..])),
            Ok(Authentication::Ok)
        );
    }
    end
}

fn secret(password: &str) -> Credential {
    Credential::Scram {
        secret: Some(Arc::new(ScramSecret::from_password(
            password,
            vec![5; 16],
            NonZeroU32::MIN,
        ))),
        binding: BindingPolicy::IfPossible,
    }
}

/// Answers the first request for a password by `answer`, which gets the salt of md5.
fn by_password(credential: Credential, answer: impl Fn([u8; 4]) -> String) -> Action {
    let mut startup = startup(TlsOffer::Disabled);
    startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    let Action::Send(asked) = startup.authenticate(credential, NONCE) else {
        panic!("nothing asked")
    };
    let salt = match Authentication::decode(frame::body(&asked)).unwrap() {
        Authentication::Md5 { salt } => salt,
        Authentication::Cleartext => [0; 4],
        other => panic!("{other:?}"),
    };
    let mut message = Vec::new();
    Password {
        password: answer(salt).as_bytes(),
    }
    .encode(&mut message);
    let step = startup.advance(&message);
    assert_eq!(step.consumed, message.len());
    step.action
}

#[test]
fn md5_compares_what_the_salt_makes_of_the_digest() {
    let digest = || Credential::Md5(Some(md5::stored("jo", "pw").into()));
    let right = |salt| md5::answer(&md5::stored("jo", "pw"), salt);
    let wrong = "28P01 password authentication failed for user \"jo\"";
    let Action::Accept { client, .. } = by_password(digest(), right) else {
        panic!("refused")
    };
    assert_eq!(client.proof, Proof::None);
    assert_eq!(
        refusal(&by_password(digest(), |_| md5::stored("jo", "pw"))),
        wrong
    );
    assert_eq!(refusal(&by_password(Credential::Md5(None), right)), wrong);
    assert_eq!(
        refusal(&by_password(digest(), |_| String::new())),
        "28P01 empty password returned by client"
    );
}

#[test]
fn a_password_in_clear_is_compared_with_whatever_is_kept() {
    let scram = ScramSecret::from_password("pw", vec![5; 16], NonZeroU32::MIN);
    for stored in [
        StoredPassword::Clear("pw".into()),
        StoredPassword::Md5(md5::stored("jo", "pw").into()),
        StoredPassword::Scram(Arc::new(scram)),
    ] {
        let credential = || Credential::Password(Some(stored.clone()));
        let Action::Accept { client, .. } = by_password(credential(), |_| "pw".to_owned()) else {
            panic!("refused")
        };
        assert_eq!(client.proof, Proof::Password("pw".into()));
        for wrong in ["pw ", "p", "PW", "md5"] {
            let refused = refusal(&by_password(credential(), |_| wrong.to_owned()));
            assert_eq!(refused, "28P01 password authentication failed for user \"jo\"");
        }
    }
    let refused = refusal(&by_password(Credential::Password(None), |_| "pw".to_owned()));
    assert_eq!(refused, "28P01 password authentication failed for user \"jo\"");
}

#[test]
fn the_caller_may_refuse_in_its_own_words() {
    let mut startup = startup(TlsOffer::Disabled);
    startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    let words = wire::ProxyError::authorization("no rule");
    let refused = startup.authenticate(Credential::Refused(Box::new(words)), NONCE);
    assert_eq!(refusal(&refused), "28000 no rule");
}

#[test]
fn tls_may_begin_at_once_but_not_later() {
    let hello = [0x16, 3, 1, 2, 0];
    for offer in [TlsOffer::Allowed, TlsOffer::Required] {
        let mut startup = startup(offer);
        let step = startup.advance(&hello[..1]);
        assert_eq!((step.consumed, step.action), (0, Action::StartDirectTls));
        startup.tls_established(None);
        let step = startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
        assert!(matches!(step.action, Action::LookUp { .. }), "{step:?}");
    }
    let mut later = startup(TlsOffer::Allowed);
    later.advance(&GSSENC_REQUEST);
    assert!(matches!(later.advance(&hello).action, Action::Close { send, .. } if send.is_empty()));
}

#[test]
fn scram_in_pieces_of_any_size() {
    for piece in [1, 3, 1000] {
        let Action::Accept { client, .. } = log_in(secret("pw"), "pw", piece) else {
            panic!()
        };
        assert_eq!((client.user.as_str(), client.database.as_str()), ("jo", "jo"));
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let wrong = log_in(secret("pw"), "no", 1000);
    assert_eq!(
        refusal(&wrong),
        "28P01 password authentication failed for user \"jo\""
    );
    assert_eq!(
        log_in(
            Credential::Scram {
                secret: None,
                binding: BindingPolicy::IfPossible,
            },
            "pw",
            1000
        ),
        wrong
    );
}

#[test]
fn another_message_than_sasl_is_refused_by_its_tag() {
    let mut startup = startup(TlsOffer::Disabled);
    startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    startup.authenticate(
        Credential::Scram {
            secret: None,
            binding: BindingPolicy::IfPossible,
        },
        NONCE,
    );
    let refused = startup.advance(b"Q").action;
    assert_eq!(
        refusal(&refused),
        "08P01 expected SASL response, got message type 81"
    );
}

#[test]
fn sasl_messages_are_bounded() {
    let mut startup = startup(TlsOffer::Disabled);
    startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    startup.authenticate(
        Credential::Scram {
            secret: None,
            binding: BindingPolicy::IfPossible,
        },
        NONCE,
    );
    let refused = startup.advance(&[b'p', 0, 0, 4, 1]).action;
    assert_eq!(
        refusal(&refused),
        "08P01 message of 1026 bytes exceeds the limit of 1025"
    );
}

#[test]
fn tls_is_offered_once_and_then_everything_comes_through_it() {
    let mut startup = startup(TlsOffer::Required);
    assert_eq!(startup.advance(&GSSENC_REQUEST).action, Action::Send(vec![b'N']));
    assert_eq!(startup.advance(&ssl_request()).action, Action::StartTls);
    startup.tls_established(None);
    let step = startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
    assert!(matches!(step.action, Action::LookUp { .. }));
}

#[test]
fn bytes_before_the_tls_handshake_are_refused() {
    let mut smuggled = ssl_request();
    smuggled.extend(packet(ProtocolVersion::V3_0, &[("user", "mallory")]));
    let refused = startup(TlsOffer::Allowed).advance(&smuggled).action;
    assert_eq!(
        refusal(&refused),
        "08P01 received unencrypted data after SSL request"
    );

    let mut smuggled = GSSENC_REQUEST.to_vec();
    smuggled.push(0);
    let refused = startup(TlsOffer::Disabled).advance(&smuggled).action;
    assert_eq!(
        refusal(&refused),
        "08P01 received unencrypted data after GSSAPI encryption request"
    );
}

#[test]
fn each_request_is_answered_once() {
    let twice = "0A000 unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2";
    let old_style = |action: Action| {
        let Action::Close { send, reason } = action else {
            panic!("{action:?}")
        };
        assert_eq!(send.first(), Some(&b'E'));
        format!("{} {}", reason.sqlstate, reason.message)
    };
    let mut refusing = startup(TlsOffer::Disabled);
    assert_eq!(refusing.advance(&ssl_request()).action, Action::Send(vec![b'N']));
    assert_eq!(refusing.advance(&GSSENC_REQUEST).action, Action::Send(vec![b'N']));
    assert_eq!(old_style(refusing.advance(&ssl_request()).action), twice);

    let mut encrypted = startup(TlsOffer::Allowed);
    assert_eq!(encrypted.advance(&ssl_request()).action, Action::StartTls);
    encrypted.tls_established(None);
    assert_eq!(old_style(encrypted.advance(&ssl_request()).action), twice);
}

#[test]
fn without_tls_where_it_is_required() {
    let mut startup = startup(TlsOffer::Required);
    let refused = startup
        .advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]))
        .action;
    assert_eq!(refusal(&refused), "28000 TLS is required");
}

#[test]
fn cancel_requests_need_no_login() {
    for secret in [vec![1; 4], vec![2; 32]] {
        let key = CancelKey {
            pid: 3,
            secret: secret.into(),
        };
        let mut input = Vec::new();
        encode_cancel(&mut input, &key);
        assert_eq!(
            startup(TlsOffer::Required).advance(&input).action,
            Action::Cancel(key)
        );
    }
}

#[test]
fn newer_versions_and_options_are_negotiated_down() {
    let negotiated = |version: ProtocolVersion, parameters: &[(&str, &str)]| {
        let mut startup = startup(TlsOffer::Disabled);
        startup.advance(&packet(version, parameters));
        let Action::Accept { send, client } = startup.authenticate(Credential::Trust, NONCE) else {
            panic!()
        };
        assert_eq!(client.version, version.min(ProtocolVersion::V3_2));
        (send.first() == Some(&b'v')).then(|| {
            let frame::Scan::Frame { len, .. } = frame::scan(&send, 1000) else {
                panic!()
            };
            let message = NegotiateProtocolVersion::decode(frame::body(&send[..len])).unwrap();
            assert_eq!(message.version, client.version);
            message
                .unknown_options
                .iter()
                .map(|o| String::from_utf8_lossy(o).into_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(negotiated(ProtocolVersion::V3_0, &[("user", "a")]), None);
    assert_eq!(negotiated(ProtocolVersion::V3_2, &[("user", "a")]), None);
    assert_eq!(
        negotiated(
            ProtocolVersion {
                major: 3,
                minor: 9999
            },
            &[("user", "a")]
        ),
        Some(vec![])
    );
    let options = [("user", "a"), ("_pq_.one", "1"), ("_pq_.two", "2")];
    assert_eq!(
        negotiated(ProtocolVersion::V3_0, &options),
        Some(vec!["_pq_.one".into(), "_pq_.two".into()])
    );
}

#[test]
fn other_major_versions_are_refused_as_postgres_does() {
    let refused = startup(TlsOffer::Disabled)
        .advance(&[0, 0, 0, 8, 0, 4, 0, 1])
        .action;
    assert_eq!(
        refusal(&refused),
        "0A000 unsupported frontend protocol 4.1: server supports 3.0 to 3.2"
    );
    let refused = startup(TlsOffer::Disabled)
        .advance(&[0, 0, 0, 8, 0, 2, 0, 0])
        .action;
    let Action::Close { send, .. } = refused else {
        panic!()
    };
    assert_eq!(
        send,
        b"EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\0"
    );
}

#[test]
fn what_is_no_packet_gets_no_answer() {
    for input in [
        &0x7fff_ffff_i32.to_be_bytes()[..],
        b"GET / HTTP/1.1\r\n",
        &[0x16, 3, 1, 2, 0],
        &[0; 8],
    ] {
        let step = startup(TlsOffer::Disabled).advance(input);
        assert!(
            matches!(&step.action, Action::Close { send, .. } if send.is_empty()),
            "{input:?}: {step:?}"
        );
    }
}

#[test]
fn parameters() {
    let client = trusted(&[
        ("user", "jo"),
        ("database", "shop"),
        ("user", "flo"),
        ("TimeZone", "UTC"),
        ("timezone", "CET"),
    ]);
    let client = client.unwrap();
    assert_eq!((client.user.as_str(), client.database.as_str()), ("flo", "shop"));
    let settings: Vec<_> = client
        .settings
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    assert_eq!(settings, [("TimeZone", &b"UTC"[..]), ("timezone", b"CET")]);
}

#[test]
fn parameters_that_are_refused() {
    let check = |parameters: &[(&str, &str)], expected: &str| {
        assert_eq!(trusted(parameters).unwrap_err(), expected);
    };
    check(
        &[("database", "a")],
        "28000 no PostgreSQL user name specified in startup packet",
    );
    check(
        &[("user", "")],
        "28000 no PostgreSQL user name specified in startup packet",
    );
    check(
        &[("user", "a"), ("replication", "database")],
        "0A000 replication connections are not supported",
    );
    check(
        &[("user", "a"), ("replication", "TRUE")],
        "0A000 replication connections are not supported",
    );
    check(
        &[("user", "a"), ("replication", "o")],
        "22023 invalid value for parameter \"replication\": \"o\"",
    );
    check(
        &[("user", "a"), ("options", "-d 3")],
        "42601 invalid command-line argument for server process: -d",
    );
    check(
        &[("user", "a"), ("options", "-c x")],
        "42601 -c x requires a value",
    );
    check(
        &[("user", "a"), ("options", "-c")],
        "42601 option requires an argument -- 'c'",
    );
    assert!(trusted(&[("user", "a"), ("replication", "off")]).is_ok());
}

#[test]
fn options_are_a_command_line() {
    let client = trusted(&[
        ("user", "a"),
        ("geqo", "on"),
        ("options", r"-c a=b  --work-mem=1MB -cc=x\ y=z\\ "),
    ])
    .unwrap();
    let settings: Vec<_> = client
        .settings
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    assert_eq!(
        settings,
        [
            ("a", &b"b"[..]),
            ("work_mem", b"1MB"),
            ("c", b"x y=z\\"),
            ("geqo", b"on")
        ]
    );
}

#[test]
fn after_the_end_nothing_is_accepted() {
    let mut startup = startup(TlsOffer::Disabled);
    startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "a")]));
    assert!(matches!(
        startup.authenticate(Credential::Trust, NONCE),
        Action::Accept { .. }
    ));
    assert!(matches!(
        startup.authenticate(Credential::Trust, NONCE),
        Action::Close { .. }
    ));
    assert!(matches!(startup.advance(&[]).action, Action::Close { .. }));
}

proptest! {
    /// Nobody gets in by arbitrary bytes, in whatever order they come; nothing beyond the bound is asked for.
    #[test]
    fn arbitrary_bytes(chunks in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), Just(0_u8), Just(b'p')], 0..40), 1..8), begun in any::<bool>()) {
        let mut startup = startup(TlsOffer::Allowed);
        if begun {
            startup.advance(&packet(ProtocolVersion::V3_0, &[("user", "jo")]));
            startup.authenticate(secret("pw"), NONCE);
        }
        for chunk in chunks {
            let step = startup.advance(&chunk);
            prop_assert!(step.consumed <= chunk.len());
            match step.action {
                Action::NeedMore { at_least } => prop_assert!(at_least > chunk.len() && at_least <= frame::MAX_STARTUP_LEN),
                Action::StartTls | Action::StartDirectTls => startup.tls_established(None),
                Action::LookUp { .. } => { startup.authenticate(secret("pw"), NONCE); }
                Action::Accept { .. } => prop_assert!(false, "let in"),
                Action::Send(_) | Action::Cancel(_) | Action::Close { .. } => {}
            }
        }
    }
}
