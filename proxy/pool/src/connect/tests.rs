//! Logins at a server that answers as it is told: versions, long keys, and SCRAM by keys.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use topology::Mono;
use wire::backend::{BackendKeyData, NegotiateProtocolVersion, ReadyForQuery, encode_authentication_ok};
use wire::startup::ProtocolVersion;
use wire::{CancelKey, TransactionStatus};

use super::connect;
use crate::error::ConnectError;
use crate::target::{Address, BackendTarget};

const OLDER: ProtocolVersion = ProtocolVersion { major: 3, minor: 1 };

/// A server that answers one connection with these bytes; gives the first packet.
fn server(answer: Vec<u8>) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let played = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut packet = vec![0; 1024];
        let n = stream.read(&mut packet).unwrap();
        stream.write_all(&answer).unwrap();
        packet.truncate(n);
        packet
    });
    (port, played)
}

/// What comes of asking for `asked` at a server that negotiates `offered`: the version in the first packet, and the key.
fn log_in(
    asked: ProtocolVersion,
    offered: Option<ProtocolVersion>,
    secret: &[u8],
) -> (Vec<u8>, Result<Option<CancelKey>, ConnectError>) {
    let mut answer = Vec::new();
    if let Some(version) = offered {
        NegotiateProtocolVersion {
            version,
            unknown_options: Vec::new(),
        }
        .encode(&mut answer);
    }
    encode_authentication_ok(&mut answer);
    BackendKeyData { pid: 7, secret }.encode(&mut answer);
    ReadyForQuery {
        status: TransactionStatus::Idle,
    }
    .encode(&mut answer);
    let (port, played) = server(answer);
    let mut target = BackendTarget::new(Address::new("127.0.0.1", port), "d", "u");
    target.version = asked;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connected = runtime.block_on(connect(&target, || Mono(1)));
    let packet = played.join().unwrap();
    (packet[4..8].to_vec(), connected.map(|connection| connection.key))
}

#[test]
fn keys_of_any_length_are_kept() {
    for (asked, secret) in [
        (ProtocolVersion::V3_0, vec![1; 4]),
        (ProtocolVersion::V3_2, vec![2; 32]),
        (ProtocolVersion::V3_2, vec![3; 256]),
    ] {
        let (version, key) = log_in(asked, None, &secret);
        assert_eq!(version, asked.code().to_be_bytes());
        let expected = CancelKey {
            pid: 7,
            secret: secret.into(),
        };
        assert_eq!(key.unwrap(), Some(expected));
    }
}

#[test]
fn an_older_version_is_taken_and_no_other() {
    let (_, key) = log_in(ProtocolVersion::V3_2, Some(ProtocolVersion::V3_0), &[1; 4]);
    assert!(key.unwrap().is_some());
    assert!(log_in(ProtocolVersion::V3_2, Some(OLDER), &[1; 4]).1.is_ok());
    for (asked, offered) in [
        (ProtocolVersion::V3_0, ProtocolVersion::V3_0),
        (ProtocolVersion::V3_0, ProtocolVersion::V3_2),
        (ProtocolVersion::V3_2, ProtocolVersion::V3_2),
        (ProtocolVersion::V3_2, ProtocolVersion { major: 4, minor: 0 }),
    ] {
        let (_, key) = log_in(asked, Some(offered), &[1; 4]);
        assert!(
            matches!(key, Err(ConnectError::ProtocolVersion)),
            "{asked:?} {offered:?}"
        );
    }
}
