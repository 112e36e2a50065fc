//! The same messages through pgwire's codec and ours.

use bytes::{Bytes, BytesMut};
use pgwire::messages::copy::{CopyData as PgCopyData, CopyDone, CopyFail as PgCopyFail};
use pgwire::messages::data::{
    FieldDescription, ParameterDescription as PgParameterDescription, RowDescription as PgRows,
};
use pgwire::messages::extendedquery as pg;
use pgwire::messages::response as pg_response;
use pgwire::messages::simplequery::Query as PgQuery;
use pgwire::messages::terminate::Terminate;
use pgwire::messages::{
    DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};
use proptest::prelude::*;

use crate::backend::{
    BackendKeyData, CommandComplete, DataRow, ErrorFields, Field, ParameterDescription, ParameterStatus,
    ReadyForQuery, RowDescription,
};
use crate::copy::{CopyData, CopyFail, encode_copy_done};
use crate::frame::{self, MAX_LARGE_LEN, Scan};
use crate::frontend::{
    Bind, Close, Describe, Execute, Parse, Query, Target, encode_flush, encode_sync, encode_terminate,
};
use crate::tag::FrontendTag;
use crate::values::FormatCodes;
use crate::{Oid, ProxyError, SqlState, TransactionStatus};

pub(super) fn context() -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

/// Text without NUL. pgwire tells an empty name by `None`.
fn text() -> impl Strategy<Value = String> {
    "[a-z\u{e4}\u{20ac} ]{0,12}"
}

fn name() -> impl Strategy<Value = Option<String>> {
    text().prop_map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn bind() -> impl Strategy<Value = PgWireFrontendMessage> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    let formats = prop::collection::vec(0..2_i16, 0..3);
    (
        name(),
        name(),
        0..3_usize,
        prop::collection::vec(value, 0..6),
        formats,
    )
        .prop_map(|(portal, statement, codes, values, results)| {
            let codes = match codes {
                0 => vec![],
                1 => vec![1],
                _ => (0..values.len()).map(|i| i16::from(i % 2 == 0)).collect(),
            };
            PgWireFrontendMessage::Bind(pg::Bind::new(portal, statement, codes, values, results))
        })
}

fn target() -> impl Strategy<Value = u8> {
    prop_oneof![Just(b'S'), Just(b'P')]
}

pub(super) fn frontend() -> impl Strategy<Value = PgWireFrontendMessage> {
    use PgWireFrontendMessage as M;
    prop_oneof![
        text().prop_map(|sql| M::Query(PgQuery::new(sql))),
        (name(), text(), prop::collection::vec(any::<u32>(), 0..5))
            .prop_map(|(name, sql, oids)| M::Parse(pg::Parse::new(name, sql, oids))),
        bind(),
        (target(), name()).prop_map(|(target, name)| M::Describe(pg::Describe::new(target, name))),
        (target(), name()).prop_map(|(target, name)| M::Close(pg::Close::new(target, name))),
        (name(), any::<i32>()).prop_map(|(name, rows)| M::Execute(pg::Execute::new(name, rows))),
        Just(()).prop_map(|()| M::Sync(pg::Sync::new())),
        Just(()).prop_map(|()| M::Flush(pg::Flush::new())),
        Just(()).prop_map(|()| M::Terminate(Terminate::new())),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(|data| M::CopyData(PgCopyData::new(data.into()))),
        Just(()).prop_map(|()| M::CopyDone(CopyDone::new())),
        text().prop_map(|reason| M::CopyFail(PgCopyFail::new(reason))),
    ]
}

/// Decodes a frame by our decoders and encodes what they say.
fn through_ours(whole: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let body = frame::body(whole);
    match FrontendTag::try_from(whole[0]).unwrap() {
        FrontendTag::Query => Query::decode(body).unwrap().encode(&mut out),
        FrontendTag::Parse => Parse::decode(body).unwrap().encode(&mut out),
        FrontendTag::Bind => {
            let bind = Bind::decode(body).unwrap();
            let values: Vec<_> = bind.values.iter().collect();
            Bind::encode(
                &mut out,
                bind.portal,
                bind.statement,
                bind.formats,
                &values,
                bind.result_formats,
            );
        }
        FrontendTag::Describe => Describe::decode(body).unwrap().encode(&mut out),
        FrontendTag::Close => Close::decode(body).unwrap().encode(&mut out),
        FrontendTag::Execute => Execute::decode(body).unwrap().encode(&mut out),
        FrontendTag::CopyData => CopyData::decode(body).encode(&mut out),
        FrontendTag::CopyFail => CopyFail::decode(body).unwrap().encode(&mut out),
        FrontendTag::CopyDone => encode_copy_done(&mut out),
        FrontendTag::Sync => encode_sync(&mut out),
        FrontendTag::Flush => encode_flush(&mut out),
        FrontendTag::Terminate => encode_terminate(&mut out),
        FrontendTag::FunctionCall | FrontendTag::Password => panic!("not generated"),
    }
    out
}

fn assert_same_fields(whole: &[u8], expected: &PgWireFrontendMessage) {
    let body = frame::body(whole);
    let opt = |name: &Option<String>| name.clone().unwrap_or_default().into_bytes();
    match expected {
        PgWireFrontendMessage::Bind(theirs) => {
            let ours = Bind::decode(body).unwrap();
            assert_eq!(ours.portal, opt(&theirs.portal_name));
            assert_eq!(ours.statement, opt(&theirs.statement_name));
            assert_eq!(
                ours.formats.iter().collect::<Vec<_>>(),
                theirs.parameter_format_codes
            );
            assert_eq!(
                ours.result_formats.iter().collect::<Vec<_>>(),
                theirs.result_column_format_codes
            );
            let values: Vec<_> = theirs.parameters.iter().map(Option::as_deref).collect();
            assert_eq!(ours.values.iter().collect::<Vec<_>>(), values);
        }
        PgWireFrontendMessage::Parse(theirs) => {
            let ours = Parse::decode(body).unwrap();
            assert_eq!(
                (ours.name, ours.sql),
                (&*opt(&theirs.name), theirs.query.as_bytes())
            );
            assert_eq!(
                ours.parameter_types.iter().map(|oid| oid.0).collect::<Vec<_>>(),
                theirs.type_oids
            );
        }
        PgWireFrontendMessage::Execute(theirs) => {
            let ours = Execute::decode(body).unwrap();
            assert_eq!(
                (ours.portal, ours.max_rows),
                (&*opt(&theirs.name), theirs.max_rows)
            );
        }
        PgWireFrontendMessage::Describe(theirs) => {
            let ours = Describe::decode(body).unwrap();
            assert_eq!(
                (ours.target == Target::Statement, ours.name),
                (theirs.target_type == b'S', &*opt(&theirs.name))
            );
        }
        PgWireFrontendMessage::Query(theirs) => {
            assert_eq!(Query::decode(body).unwrap().sql, theirs.query.as_bytes())
        }
        _ => {}
    }
}

proptest! {
    /// A stream of pgwire's messages: we find the same frames, read the same fields, and write the same bytes.
    #[test]
    fn frontend_messages(messages in prop::collection::vec(frontend(), 1..6)) {
        let mut stream = BytesMut::new();
        for message in &messages {
            message.encode(&mut stream).unwrap();
        }
        let mut rest = &stream[..];
        for message in &messages {
            let mut alone = BytesMut::new();
            message.encode(&mut alone).unwrap();
            let Scan::Frame { len, .. } = frame::scan(rest, MAX_LARGE_LEN) else { panic!("{rest:?}") };
            let (whole, after) = rest.split_at(len);
            prop_assert_eq!(whole, &alone[..]);
            assert_same_fields(whole, message);
            prop_assert_eq!(through_ours(whole), whole);
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    /// Rows and their description, ours read by pgwire and back.
    #[test]
    fn rows(columns in prop::collection::vec((text(), any::<i32>(), any::<i16>(), any::<u32>(), any::<i16>(), any::<i32>(), 0..2_i16), 0..5),
            values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..30)), 0..8)) {
        let theirs: Vec<_> = columns.iter().map(|(name, table, column, oid, len, modifier, format)| {
            FieldDescription::new(name.clone(), *table, *column, *oid, *len, *modifier, *format)
        }).collect();
        let mut wanted = BytesMut::new();
        PgRows::new(theirs).encode(&mut wanted).unwrap();
        let decoded = RowDescription::decode(frame::body(&wanted)).unwrap();
        let fields: Vec<Field<'_>> = decoded.iter().collect();
        prop_assert_eq!(fields.len(), columns.len());
        let mut ours = BytesMut::new();
        RowDescription::encode(&mut ours, &fields);
        prop_assert_eq!(&ours, &wanted);

        let mut row = BytesMut::new();
        DataRow::encode(&mut row, values.iter().map(Option::as_deref));
        let read = DataRow::decode(frame::body(&row)).unwrap();
        prop_assert_eq!(read.values.iter().map(|v| v.map(<[u8]>::to_vec)).collect::<Vec<_>>(), values.clone());
        let Some(PgWireBackendMessage::DataRow(theirs)) = PgWireBackendMessage::decode(&mut row, &context()).unwrap() else { panic!() };
        prop_assert_eq!(usize::try_from(theirs.field_count).unwrap(), values.len());
    }

    /// Errors of our own as pgwire reads them.
    #[test]
    fn errors(message in text(), detail in prop::option::of(text()), hint in prop::option::of(text())) {
        let mut error = ProxyError::error(SqlState::new(*b"0A000"), message.clone());
        error.detail = detail.clone().map(Into::into);
        error.hint = hint.clone().map(Into::into);
        let mut frame = BytesMut::new();
        error.encode(&mut frame);
        let fields = ErrorFields::decode(frame::body(&frame)).unwrap();
        let ours: Vec<_> = fields.iter().map(|(code, text)| (code, text.to_vec())).collect();
        let decoded = PgWireBackendMessage::decode(&mut frame.clone(), &context()).unwrap();
        let Some(PgWireBackendMessage::ErrorResponse(theirs)) = decoded else { panic!("{decoded:?}") };
        // pgwire reads an empty field as the end of the list.
        let non_empty = !message.is_empty() && detail.as_deref() != Some("") && hint.as_deref() != Some("");
        if non_empty {
            let theirs: Vec<_> = theirs.fields.iter().map(|(code, text)| (*code, text.clone().into_bytes())).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}

/// Every small message of ours is one that pgwire reads as what it is.
#[test]
fn small_backend_messages() {
    use PgWireBackendMessage as M;
    let read = |encode: &dyn Fn(&mut BytesMut)| {
        let mut buf = BytesMut::new();
        encode(&mut buf);
        let message = PgWireBackendMessage::decode(&mut buf, &context())
            .unwrap()
            .unwrap();
        assert!(buf.is_empty(), "{message:?}");
        message
    };
    use crate::backend as our;
    assert!(matches!(
        read(&|b| our::encode_authentication_ok(b)),
        M::Authentication(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_authentication_cleartext(b)),
        M::Authentication(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_authentication_sasl(b, &["SCRAM-SHA-256"])),
        M::Authentication(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_parse_complete(b)),
        M::ParseComplete(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_bind_complete(b)),
        M::BindComplete(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_close_complete(b)),
        M::CloseComplete(_)
    ));
    assert!(matches!(read(&|b| our::encode_no_data(b)), M::NoData(_)));
    assert!(matches!(
        read(&|b| our::encode_portal_suspended(b)),
        M::PortalSuspended(_)
    ));
    assert!(matches!(
        read(&|b| our::encode_empty_query_response(b)),
        M::EmptyQueryResponse(_)
    ));
    let status = ParameterStatus {
        name: b"TimeZone",
        value: b"UTC",
    };
    assert!(
        matches!(read(&|b| status.encode(b)), M::ParameterStatus(s) if s.name == "TimeZone" && s.value == "UTC")
    );
    let key = BackendKeyData {
        pid: 5,
        secret: &[1, 2, 3, 4],
    };
    assert!(matches!(read(&|b| key.encode(b)), M::BackendKeyData(k) if k.pid == 5));
    let complete = CommandComplete { tag: b"INSERT 0 1" };
    assert!(matches!(read(&|b| complete.encode(b)), M::CommandComplete(c) if c.tag == "INSERT 0 1"));
    let ready = ReadyForQuery {
        status: TransactionStatus::Failed,
    };
    let failed = pg_response::TransactionStatus::Error;
    assert!(matches!(read(&|b| ready.encode(b)), M::ReadyForQuery(r) if r.status == failed));
    let types = [Oid(23), Oid(25)];
    let described = read(&|b| ParameterDescription::encode(b, &types));
    assert!(matches!(described, M::ParameterDescription(d) if d.types == [23, 25]));
    let mut wanted = BytesMut::new();
    PgParameterDescription::new(vec![23, 25])
        .encode(&mut wanted)
        .unwrap();
    let decoded = ParameterDescription::decode(frame::body(&wanted)).unwrap();
    assert_eq!(decoded.types.iter().collect::<Vec<_>>(), types);
    assert_eq!(FormatCodes::BINARY.code(7), 1);
}
