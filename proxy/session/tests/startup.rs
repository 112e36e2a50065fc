//! The same first packets to a real PostgreSQL 15 and to our handshake: the same answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Postgres, PostgresSpec};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use session::scram::ScramSecret;
use session::startup::{Action, BindingPolicy, Credential, Startup, TlsOffer};
use wire::backend::{Authentication, ErrorFields, NegotiateProtocolVersion};
use wire::frame;
use wire::frontend::{SaslInitialResponse, SaslResponse};
use wire::startup::{ProtocolVersion, encode_ssl_request, encode_startup};

/// What is compared of an answer. Of errors: severity, SQLSTATE and message (ours name another routine and carry no file and line).
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// One byte to SSLRequest.
    Byte(u8),
    /// A whole frame that isn't an error.
    Frame(Vec<u8>),
    Error(String),
    /// NegotiateProtocolVersion: the options that aren't known. The version is another in PostgreSQL 15.
    Unknown(Vec<Vec<u8>>),
    /// An error in the form of protocol 2.
    OldError(Vec<u8>),
    /// Closed without (further) words.
    Closed,
}

/// PostgreSQL 15 speaks no more than 3.0, and says so.
fn newest(text: &str) -> String {
    text.replace("supports 3.0 to 3.0", "supports 3.0 to 3.2")
}

/// How many answers are compared: after the request for authentication nothing more comes by itself.
fn answers(mut bytes: &[u8], single_bytes: usize, closed: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    for _ in 0..single_bytes {
        let Some((&byte @ (b'N' | b'S'), rest)) = bytes.split_first() else {
            break;
        };
        answers.push(Answer::Byte(byte));
        bytes = rest;
    }
    while !bytes.is_empty() {
        let frame::Scan::Frame { tag, len } = frame::scan(bytes, 100_000) else {
            answers.push(Answer::OldError(
                newest(&String::from_utf8_lossy(bytes)).into_bytes(),
            ));
            break;
        };
        let (whole, rest) = bytes.split_at(len);
        bytes = rest;
        answers.push(match tag {
            b'E' => {
                let fields = ErrorFields::decode(frame::body(whole)).unwrap();
                let text = |code| String::from_utf8_lossy(fields.get(code).unwrap()).into_owned();
                Answer::Error(format!("{} {} {}", text(b'V'), text(b'C'), newest(&text(b'M'))))
            }
            b'v' => {
                let negotiated = NegotiateProtocolVersion::decode(frame::body(whole)).unwrap();
                Answer::Unknown(
                    negotiated
                        .unknown_options
                        .iter()
                        .map(|name| name.to_vec())
                        .collect(),
                )
            }
            _ => Answer::Frame(whole.to_vec()),
        });
    }
    if closed {
        answers.push(Answer::Closed);
    }
    answers
}

/// Sends the packets one after the other, each after an answer to the one before.
fn ask_postgres(port: u16, packets: &[Vec<u8>]) -> Vec<Answer> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut received = Vec::new();
    let mut closed = false;
    for packet in packets {
        // A server that has hung up already is the answer.
        let _ = socket.write_all(packet);
        let mut buf = [0; 4096];
        match socket.read(&mut buf) {
            Ok(0) => closed = true,
            Ok(n) => received.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => closed = true,
            Err(error) => panic!("{error} after {received:?}"),
        }
    }
    // After an error, the close follows; after a request for authentication, nothing does.
    let asked = received.windows(5).any(|window| window == b"R\0\0\0\x17");
    if !asked && !closed && received.len() > packets.len() - 1 {
        closed = socket.read_to_end(&mut received).is_ok();
    }
    answers(&received, packets.len() - 1, closed)
}

fn ask_us(packets: &[Vec<u8>]) -> Vec<Answer> {
    let mut startup = Startup::new(TlsOffer::Disabled, [0; 32]);
    let mut sent = Vec::new();
    let mut closed = false;
    for packet in packets {
        let action = match startup.advance(packet).action {
            Action::LookUp { .. } => startup.authenticate(
                Credential::Scram {
                    secret: None,
                    binding: BindingPolicy::IfPossible,
                },
                [0; 18],
            ),
            other => other,
        };
        match action {
            Action::Send(bytes) => sent.extend(bytes),
            Action::Close { send, .. } => {
                sent.extend(send);
                closed = true;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    answers(&sent, packets.len() - 1, closed)
}

fn startup(version: ProtocolVersion, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_startup(
        &mut out,
        version,
        parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())),
    );
    out
}

/// GSSENCRequest isn't among them: Debian's PostgreSQL is built with GSSAPI and accepts it.
fn cases() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let v3 = |parameters: &[(&str, &str)]| startup(ProtocolVersion::V3_0, parameters);
    let minor = |minor, parameters: &[(&str, &str)]| startup(ProtocolVersion { major: 3, minor }, parameters);
    let mut ssl = Vec::new();
    encode_ssl_request(&mut ssl);
    let jo = &[("user", "jo"), ("database", "postgres")][..];
    let mut unterminated = v3(jo);
    let len = unterminated.len();
    unterminated.truncate(len - 1);
    unterminated[3] -= 1;
    let mut trailing = v3(jo);
    trailing.push(1);
    trailing[3] += 1;
    vec![
        ("a user", vec![v3(jo)]),
        ("a user who does not exist", vec![v3(&[("user", "ghost")])]),
        ("SSLRequest first", vec![ssl.clone(), v3(jo)]),
        ("SSLRequest twice", vec![ssl.clone(), ssl]),
        (
            "3.9999 with options",
            vec![minor(9999, &[("user", "jo"), ("_pq_.a", "1"), ("_pq_.b", "2")])],
        ),
        ("3.0 with options", vec![v3(&[("user", "jo"), ("_pq_.a", "1")])]),
        ("no user", vec![v3(&[("database", "postgres")])]),
        ("no parameters", vec![v3(&[])]),
        ("4.1", vec![vec![0, 0, 0, 8, 0, 4, 0, 1]]),
        ("2.0", vec![vec![0, 0, 0, 8, 0, 2, 0, 0]]),
        ("not terminated", vec![unterminated]),
        ("a byte too many", vec![trailing]),
        (
            "a bad value of replication",
            vec![v3(&[("user", "jo"), ("replication", "o")])],
        ),
        (
            "replication is off",
            vec![v3(&[("user", "jo"), ("replication", "fAl")])],
        ),
        ("two gigabytes", vec![0x7fff_ffff_i32.to_be_bytes().to_vec()]),
        ("HTTP", vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()]),
        ("a length of nothing", vec![vec![0, 0, 0, 0, 0, 0, 0, 0]]),
    ]
}

#[test]
fn first_packets_are_answered_as_by_postgres() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let spec = PostgresSpec::new("session-startup").role("jo", "s3cret", "");
    let server = runtime.block_on(Postgres::start(spec)).unwrap();
    for (name, packets) in cases() {
        let theirs = ask_postgres(server.port(), &packets);
        assert!(!theirs.is_empty(), "{name}");
        // PostgreSQL without a certificate still offers nothing but SCRAM-SHA-256, as we do.
        assert_eq!(ask_us(&packets), theirs, "{name}");
    }
}

/// A password as PostgreSQL stored it lets in who knows it, and nobody else.
#[test]
fn a_secret_out_of_pg_authid_works() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let secret: String = runtime.block_on(async {
        // The space that isn't one is mapped by SASLprep, on both sides.
        let spec = PostgresSpec::new("session-secret").role("jo", "s3cr\u{a0}et", "");
        let server = Postgres::start(spec).await.unwrap();
        let client = server.connect("postgres", "postgres").await.unwrap();
        let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'jo'";
        client.query_one(sql, &[]).await.unwrap().get(0)
    });
    let secret = Arc::new(ScramSecret::parse(&secret).unwrap());
    let accepted = |password: &str| {
        let mut handshake = Startup::new(TlsOffer::Disabled, [0; 32]);
        handshake.advance(&startup(ProtocolVersion::V3_0, &[("user", "jo")]));
        handshake.authenticate(
            Credential::Scram {
                secret: Some(Arc::clone(&secret)),
                binding: BindingPolicy::IfPossible,
            },
            [1; 18],
        );
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let mut message = Vec::new();
        SaslInitialResponse {
            mechanism: b"SCRAM-SHA-256",
            data: Some(client.message()),
        }
        .encode(&mut message);
        let Action::Send(challenge) = handshake.advance(&message).action else {
            panic!()
        };
        let Ok(Authentication::SaslContinue(data)) = Authentication::decode(frame::body(&challenge)) else {
            panic!()
        };
        client.update(data).unwrap();
        message.clear();
        SaslResponse {
            data: client.message(),
        }
        .encode(&mut message);
        matches!(handshake.advance(&message).action, Action::Accept { .. })
    };
    assert!(accepted("s3cr et"));
    assert!(!accepted("s3cret"));
}
