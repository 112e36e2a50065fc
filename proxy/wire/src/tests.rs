//! Tests of scanner, decoders and encoders.

mod differential;
mod scanner;
mod strict;

use crate::frame::{self, HEADER_LEN, MAX_LARGE_LEN, MAX_STARTUP_LEN, Scan, StartupScan};
use crate::startup::{ProtocolVersion, StartupPacket, encode_cancel, encode_ssl_request, encode_startup};
use crate::{CancelKey, ProxyError, WireError, sqlstate};

#[test]
fn two_gigabytes_in_the_first_packet_are_refused_at_once() {
    let packet = 0x7fff_ffff_i32.to_be_bytes();
    let refused = WireError::TooLong {
        len: 0x7fff_ffff,
        limit: MAX_STARTUP_LEN,
    };
    assert_eq!(frame::scan_startup(&packet), StartupScan::Malformed(refused));
}

#[test]
fn a_length_below_its_own_size_is_malformed() {
    for len in [-1_i32, 0, 3, i32::MIN] {
        let mut header = vec![b'Q'];
        header.extend(len.to_be_bytes());
        assert_eq!(
            frame::scan(&header, MAX_LARGE_LEN),
            Scan::Malformed(WireError::InvalidLength { len })
        );
    }
    for len in [-1_i32, 0, 4, 7] {
        let malformed = StartupScan::Malformed(WireError::InvalidLength { len });
        assert_eq!(frame::scan_startup(&len.to_be_bytes()), malformed);
    }
}

#[test]
fn the_limit_counts_the_whole_frame() {
    let frame_of_nine = [b'd', 0, 0, 0, 8, 1, 2, 3, 4];
    assert_eq!(frame::scan(&frame_of_nine, 9), Scan::Frame { tag: b'd', len: 9 });
    let refused = WireError::TooLong { len: 9, limit: 8 };
    assert_eq!(
        frame::scan(&frame_of_nine[..HEADER_LEN], 8),
        Scan::Malformed(refused)
    );
}

#[test]
fn a_tls_client_hello_is_recognised() {
    assert_eq!(frame::scan_startup(&[0x16, 3, 1]), StartupScan::DirectTls);
}

#[test]
fn requests_before_startup() {
    let mut packet = Vec::new();
    encode_ssl_request(&mut packet);
    assert_eq!(packet, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(StartupPacket::decode(&packet), Ok(StartupPacket::SslRequest));
    assert_eq!(
        StartupPacket::decode(&[0, 0, 0, 8, 4, 210, 22, 48]),
        Ok(StartupPacket::GssEncRequest)
    );

    for secret_len in [4, 32, 256] {
        let key = CancelKey {
            pid: 7,
            secret: vec![9; secret_len].into(),
        };
        let mut packet = Vec::new();
        encode_cancel(&mut packet, &key);
        assert_eq!(StartupPacket::decode(&packet), Ok(StartupPacket::Cancel(key)));
    }
    for secret_len in [0, 3, 257] {
        let key = CancelKey {
            pid: 7,
            secret: vec![9; secret_len].into(),
        };
        let mut packet = Vec::new();
        encode_cancel(&mut packet, &key);
        assert!(StartupPacket::decode(&packet).is_err(), "{secret_len}");
    }
}

#[test]
fn startup_parameters_keep_their_order_and_the_last_one_holds() {
    let parameters: [(&[u8], &[u8]); 4] = [
        (b"user", b"a"),
        (b"user", b"b\xff"),
        (b"_pq_.x", b"1"),
        (b"database", b""),
    ];
    let mut packet = Vec::new();
    encode_startup(&mut packet, ProtocolVersion::V3_2, parameters);
    let Ok(StartupPacket::Startup(message)) = StartupPacket::decode(&packet) else {
        panic!("{packet:?}")
    };
    assert_eq!(message.version, ProtocolVersion::V3_2);
    assert_eq!(message.parameters().collect::<Vec<_>>(), parameters);
    assert_eq!(message.parameter(b"user"), Some(&b"b\xff"[..]));
    assert_eq!(message.parameter(b"nothing"), None);
}

#[test]
fn a_startup_without_its_last_byte_or_with_one_more_is_malformed() {
    let parameters: [(&[u8], &[u8]); 1] = [(b"user", b"a")];
    let mut packet = Vec::new();
    encode_startup(&mut packet, ProtocolVersion::V3_0, parameters);
    assert!(StartupPacket::decode(&packet[..packet.len() - 1]).is_err());
    packet.push(0);
    assert!(StartupPacket::decode(&packet).is_err());
}

#[test]
fn errors_of_our_own_name_us_and_no_field_can_be_smuggled_in() {
    let mut frame = Vec::new();
    ProxyError::unknown_database("x\0Cevil")
        .with_detail("d")
        .with_hint("h")
        .with_position(3)
        .encode(&mut frame);
    let fields = crate::backend::ErrorFields::decode(frame::body(&frame)).unwrap();
    assert_eq!(fields.sqlstate(), Some(sqlstate::INVALID_CATALOG_NAME));
    assert_eq!(fields.get(b'R'), Some(&b"ringway"[..]));
    assert_eq!(fields.message(), b"database \"x?Cevil\" does not exist");
    assert_eq!(fields.get(b'P'), Some(&b"3"[..]));
    assert!(fields.is_fatal());
}
