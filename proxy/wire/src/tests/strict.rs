//! Decoders take exactly their message and nothing else, whatever bytes they get.

use proptest::prelude::*;

use crate::backend::{
    Authentication, BackendKeyData, CommandComplete, DataRow, ErrorFields, NegotiateProtocolVersion,
    NotificationResponse, ParameterDescription, ParameterStatus, ReadyForQuery, RowDescription,
};
use crate::copy::{CopyFail, CopyResponse};
use crate::frame::{self, Scan, StartupScan};
use crate::frontend::{
    Bind, BindNames, Close, Describe, Execute, FunctionCall, Parse, Password, Query, SaslInitialResponse,
};
use crate::startup::StartupPacket;
use crate::tag::{BackendTag, FrontendTag};

/// Runs every decoder, and every iterator of what it gives; says which ones accepted.
fn decode_all(body: &[u8]) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    let mut note = |name, ok: bool| accepted.extend(ok.then_some(name));
    note("Query", Query::decode(body).is_ok());
    note(
        "Parse",
        Parse::decode(body)
            .map(|m| m.parameter_types.iter().count())
            .is_ok(),
    );
    note(
        "Bind",
        Bind::decode(body)
            .map(|m| {
                assert_eq!(m.values.iter().count(), m.values.len());
                (0..m.values.len()).for_each(|i| assert!(m.formats.code(i) == 0 || !m.formats.is_empty()));
            })
            .is_ok(),
    );
    note("BindNames", BindNames::decode(body).is_ok());
    note("Describe", Describe::decode(body).is_ok());
    note("Close", Close::decode(body).is_ok());
    note("Execute", Execute::decode(body).is_ok());
    note(
        "FunctionCall",
        FunctionCall::decode(body)
            .map(|m| m.arguments.iter().count())
            .is_ok(),
    );
    note("Password", Password::decode(body).is_ok());
    note("SaslInitialResponse", SaslInitialResponse::decode(body).is_ok());
    note("CopyFail", CopyFail::decode(body).is_ok());
    note("CopyResponse", CopyResponse::decode(body).is_ok());
    note("Authentication", Authentication::decode(body).is_ok());
    note("BackendKeyData", BackendKeyData::decode(body).is_ok());
    note("ParameterStatus", ParameterStatus::decode(body).is_ok());
    note("ReadyForQuery", ReadyForQuery::decode(body).is_ok());
    note(
        "CommandComplete",
        CommandComplete::decode(body)
            .map(|m| (m.rows(), m.command()))
            .is_ok(),
    );
    note(
        "DataRow",
        DataRow::decode(body)
            .map(|m| assert_eq!(m.values.iter().count(), m.values.len()))
            .is_ok(),
    );
    note(
        "RowDescription",
        RowDescription::decode(body)
            .map(|m| assert_eq!(m.iter().count(), m.len()))
            .is_ok(),
    );
    note(
        "ParameterDescription",
        ParameterDescription::decode(body)
            .map(|m| m.types.iter().count())
            .is_ok(),
    );
    note("NotificationResponse", NotificationResponse::decode(body).is_ok());
    note(
        "ErrorResponse",
        ErrorFields::decode(body).map(|m| m.iter().count()).is_ok(),
    );
    if let Ok(message) = NegotiateProtocolVersion::decode(body) {
        assert!(message.unknown_options.len() <= body.len());
    }
    if let Ok(StartupPacket::Startup(message)) = StartupPacket::decode(body) {
        assert!(message.parameters().count() <= body.len());
    }
    accepted
}

/// Those whose last part is "all the rest" and so take any longer body.
const OPEN_ENDED: [&str; 3] = ["BindNames", "Authentication", "BackendKeyData"];

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), limit in 0..300_usize) {
        decode_all(&bytes);
        match frame::scan(&bytes, limit) {
            Scan::Frame { tag, len } => {
                prop_assert!(len <= bytes.len() && len <= limit && len >= frame::HEADER_LEN);
                prop_assert_eq!(tag, bytes[0]);
            }
            Scan::NeedMore { at_least } => {
                prop_assert!(at_least > bytes.len());
                prop_assert!(at_least <= limit.max(frame::HEADER_LEN));
            }
            Scan::Malformed(_) => prop_assert!(bytes.len() >= frame::HEADER_LEN),
        }
        match frame::scan_startup(&bytes) {
            StartupScan::Packet { len } => prop_assert!(len <= bytes.len() && len <= frame::MAX_STARTUP_LEN),
            StartupScan::NeedMore { at_least } => {
                prop_assert!(at_least > bytes.len() && at_least <= frame::MAX_STARTUP_LEN);
            }
            StartupScan::DirectTls | StartupScan::Malformed(_) => {}
        }
    }

    /// Few distinct bytes, so that counts and lengths often fit and decoders get far.
    #[test]
    fn nearly_valid_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(0), 0..6_u8, Just(b'S')], 0..60)) {
        decode_all(&bytes);
    }

    #[test]
    fn one_byte_more_is_refused(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(0), 0..3_u8, Just(b'S')], 0..40)) {
        let accepted = decode_all(&bytes);
        let mut longer = bytes.clone();
        longer.push(1);
        let accepted_longer = decode_all(&longer);
        for name in accepted.iter().filter(|name| !OPEN_ENDED.contains(name)) {
            // SASLInitialResponse: what was NULL's absence can't become a value by one byte either.
            prop_assert!(!accepted_longer.contains(name), "{} takes {:?}", name, longer);
        }
    }

    #[test]
    fn every_proper_prefix_of_a_frame_needs_more(len in 4..200_i32, cut in 0..204_usize) {
        let mut whole = vec![b'd'];
        whole.extend(len.to_be_bytes());
        whole.resize(usize::try_from(len).unwrap() + 1, 7);
        let cut = cut % whole.len();
        let at_least = if cut < frame::HEADER_LEN { frame::HEADER_LEN } else { whole.len() };
        prop_assert_eq!(frame::scan(&whole[..cut], 1000), Scan::NeedMore { at_least });
        prop_assert_eq!(frame::scan(&whole, 1000), Scan::Frame { tag: b'd', len: whole.len() });
    }
}

#[test]
fn tags_are_their_bytes_and_unknown_ones_are_refused() {
    for byte in 0..=u8::MAX {
        match FrontendTag::try_from(byte) {
            Ok(tag) => assert_eq!(tag.byte(), byte),
            Err(_) => assert!(!b"BCdcfDEHFPQSXp".contains(&byte)),
        }
        match BackendTag::try_from(byte) {
            Ok(tag) => assert_eq!(tag.byte(), byte),
            Err(_) => assert!(!b"RK23CdcGHWDIEVvnNAtS1sZT".contains(&byte)),
        }
    }
}

#[test]
fn command_tags() {
    let check = |tag: &str, command: &str, rows: Option<u64>| {
        let complete = CommandComplete { tag: tag.as_bytes() };
        assert_eq!(
            (complete.command(), complete.rows()),
            (command.as_bytes(), rows),
            "{tag}"
        );
    };
    check("INSERT 0 17", "INSERT", Some(17));
    check("SELECT 3", "SELECT", Some(3));
    check("CREATE TABLE", "CREATE TABLE", None);
    check("", "", None);
}
