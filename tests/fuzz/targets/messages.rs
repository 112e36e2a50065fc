//! Frames and the bodies of messages, in both directions.

use anyhow::{Result, ensure};
use wire::backend::{
    Authentication, BackendKeyData, CommandComplete, DataRow, ErrorFields, Field, NegotiateProtocolVersion,
    NotificationResponse, ParameterDescription, ParameterStatus, ReadyForQuery, RowDescription,
};
use wire::copy::{CopyData, CopyFail, CopyResponse};
use wire::frame::{self, HEADER_LEN, MAX_LARGE_LEN, Scan};
use wire::frontend::{
    Bind, BindNames, Close, Describe, Execute, FunctionCall, Parse, Password, Query, SaslInitialResponse,
    SaslResponse, Target as Named, encode_flush, encode_sync, encode_terminate,
};
use wire::tag::{BackendTag, FrontendTag};
use wire::{FormatCodes, Oid, Oids, ProxyError, SqlState, TransactionStatus};

use crate::mutate::Shape;
use crate::target::{Target, Trace};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("frames", frames, both_directions)
        .shape(Shape::Frames)
        .weight(8)
        .memory(4096, 0),
    Target::new("frontend", frontend, frontend_corpus)
        .shape(Shape::Frames)
        .weight(16)
        .memory(1024, 96),
    Target::new("backend", backend, backend_corpus)
        .shape(Shape::Frames)
        .weight(16)
        .memory(1024, 96),
    Target::new("bodies", bodies, body_corpus)
        .weight(12)
        .memory(1024, 96),
];

/// The scanner against one that is written as the manual says it, on input that comes in pieces.
fn frames(input: &[u8], trace: &mut Trace) -> Result<()> {
    let (last, mut rest) = input
        .split_last()
        .map_or((0, input), |(last, rest)| (*last, rest));
    let limit = match last % 4 {
        0 => MAX_LARGE_LEN,
        1 => HEADER_LEN,
        2 => usize::from(last),
        _ => 1024,
    };
    loop {
        let scanned = frame::scan(rest, limit);
        ensure!(scanned == by_the_manual(rest, limit), "{scanned:?} of {rest:?}");
        trace.saw(crate::target::variant(&scanned));
        for cut in (0..rest.len()).take(12) {
            let part = rest.get(..cut).unwrap_or_default();
            match (frame::scan(part, limit), scanned) {
                (Scan::NeedMore { at_least }, _) => ensure!(at_least > cut, "{at_least} of {cut}"),
                (early, late) => ensure!(early == late, "{early:?} turns into {late:?}"),
            }
        }
        match scanned {
            Scan::Frame { len, .. } => {
                ensure!(frame::body(rest.get(..len).unwrap_or_default()).len() + HEADER_LEN == len);
                rest = rest.get(len..).unwrap_or_default();
            }
            Scan::NeedMore { .. } | Scan::Malformed(_) => return Ok(()),
        }
    }
}

fn by_the_manual(bytes: &[u8], limit: usize) -> Scan {
    let [tag, a, b, c, d, body @ ..] = bytes else {
        return Scan::NeedMore { at_least: 5 };
    };
    let announced = i32::from_be_bytes([*a, *b, *c, *d]);
    let Some(of_body) = usize::try_from(announced).ok().and_then(|len| len.checked_sub(4)) else {
        return Scan::Malformed(wire::WireError::InvalidLength { len: announced });
    };
    let len = of_body + 5;
    if len > limit {
        Scan::Malformed(wire::WireError::TooLong { len, limit })
    } else if body.len() < of_body {
        Scan::NeedMore { at_least: len }
    } else {
        Scan::Frame { tag: *tag, len }
    }
}

/// What a client says: what is taken is written again as it came.
fn frontend(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut rest = input;
    let mut out = Vec::new();
    while let Scan::Frame { tag, len } = frame::scan(rest, MAX_LARGE_LEN) {
        let (whole, after) = rest.split_at(len);
        rest = after;
        out.clear();
        let tag = FrontendTag::try_from(tag);
        trace.took(1, &tag);
        let Ok(tag) = tag else { continue };
        if frontend_again(tag, frame::body(whole), &mut out, trace) {
            ensure!(out == whole, "{tag:?} is written as {out:?}");
        }
    }
    Ok(())
}

/// Decodes a body and encodes it; whether there is something to compare.
fn frontend_again(tag: FrontendTag, body: &[u8], out: &mut Vec<u8>, trace: &mut Trace) -> bool {
    let place = 0x100 | u64::from(tag.byte());
    macro_rules! again {
        ($kind:ty) => {{
            let decoded = <$kind>::decode(body);
            trace.took(place, &decoded);
            decoded.map(|message| message.encode(out)).is_ok()
        }};
    }
    match tag {
        FrontendTag::Query => again!(Query<'_>),
        FrontendTag::Parse => again!(Parse<'_>),
        FrontendTag::Describe => again!(Describe<'_>),
        FrontendTag::Close => again!(Close<'_>),
        FrontendTag::Execute => again!(Execute<'_>),
        FrontendTag::CopyFail => again!(CopyFail<'_>),
        FrontendTag::CopyData => {
            CopyData::decode(body).encode(out);
            true
        }
        FrontendTag::Bind => bind_again(body, out, trace),
        FrontendTag::FunctionCall => {
            let decoded = FunctionCall::decode(body);
            trace.took(place, &decoded);
            if let Ok(call) = decoded {
                trace.saw(call.arguments.iter().count() as u64);
            }
            false
        }
        FrontendTag::Password => {
            trace.took(place, &SaslInitialResponse::decode(body));
            SaslResponse::decode(body);
            let decoded = Password::decode(body);
            trace.took(place + 0x100, &decoded);
            decoded.map(|message| message.encode(out)).is_ok()
        }
        FrontendTag::Sync | FrontendTag::Flush | FrontendTag::Terminate | FrontendTag::CopyDone => false,
    }
}

fn bind_again(body: &[u8], out: &mut Vec<u8>, trace: &mut Trace) -> bool {
    let names = BindNames::decode(body);
    let decoded = Bind::decode(body);
    trace.took(0x142, &decoded);
    let Ok(bind) = decoded else { return false };
    trace.saw(bind.values.len().min(9) as u64);
    let values: Vec<Option<&[u8]>> = bind.values.iter().collect();
    let Bind {
        portal,
        statement,
        formats,
        result_formats,
        ..
    } = bind;
    Bind::encode(out, portal, statement, formats, &values, result_formats);
    let mut by_names = Vec::new();
    if let Ok(names) = names {
        names.encode(&mut by_names);
    }
    // Handed on under its own name it must be the same as well.
    by_names == *out
}

/// What a server says.
fn backend(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut rest = input;
    let mut out = Vec::new();
    while let Scan::Frame { tag, len } = frame::scan(rest, MAX_LARGE_LEN) {
        let (whole, after) = rest.split_at(len);
        rest = after;
        out.clear();
        let tag = BackendTag::try_from(tag);
        trace.took(2, &tag);
        let Ok(tag) = tag else { continue };
        if backend_again(tag, frame::body(whole), &mut out, trace)? {
            ensure!(out == whole, "{tag:?} is written as {out:?}");
        }
    }
    Ok(())
}

fn backend_again(tag: BackendTag, body: &[u8], out: &mut Vec<u8>, trace: &mut Trace) -> Result<bool> {
    let place = 0x200 | u64::from(tag.byte());
    macro_rules! again {
        ($kind:ty) => {{
            let decoded = <$kind>::decode(body);
            trace.took(place, &decoded);
            decoded.map(|message| message.encode(out)).is_ok()
        }};
    }
    Ok(match tag {
        BackendTag::ParameterStatus => again!(ParameterStatus<'_>),
        BackendTag::BackendKeyData => again!(BackendKeyData<'_>),
        BackendTag::ReadyForQuery => again!(ReadyForQuery),
        BackendTag::CommandComplete => again!(CommandComplete<'_>),
        BackendTag::NotificationResponse => again!(NotificationResponse<'_>),
        // Old servers send the minor number alone; it is never written so.
        BackendTag::NegotiateProtocolVersion => {
            again!(NegotiateProtocolVersion<'_>) && !body.starts_with(&[0, 0])
        }
        BackendTag::Authentication => {
            let decoded = Authentication::decode(body);
            trace.took(place, &decoded);
            if let Ok(Authentication::Sasl(mechanisms)) = decoded {
                ensure!(mechanisms.iter().count() <= body.len());
            }
            false
        }
        BackendTag::ErrorResponse | BackendTag::NoticeResponse => {
            error_fields(body, trace)?;
            false
        }
        BackendTag::RowDescription => {
            let decoded = RowDescription::decode(body);
            trace.took(place, &decoded);
            decoded.is_ok_and(|description| {
                let fields: Vec<Field<'_>> = description.iter().collect();
                RowDescription::encode(out, &fields);
                fields.len() == description.len()
            })
        }
        BackendTag::DataRow => {
            let decoded = DataRow::decode(body);
            trace.took(place, &decoded);
            decoded.is_ok_and(|row| {
                let values: Vec<Option<&[u8]>> = row.values.iter().collect();
                DataRow::encode(out, values.iter().copied());
                true
            })
        }
        BackendTag::ParameterDescription => {
            let decoded = ParameterDescription::decode(body);
            trace.took(place, &decoded);
            decoded.is_ok_and(|description| {
                let types: Vec<Oid> = description.types.iter().collect();
                ParameterDescription::encode(out, &types);
                true
            })
        }
        BackendTag::CopyInResponse | BackendTag::CopyOutResponse | BackendTag::CopyBothResponse => {
            let decoded = CopyResponse::decode(body);
            trace.took(place, &decoded);
            false
        }
        _ => false,
    })
}

fn error_fields(body: &[u8], trace: &mut Trace) -> Result<()> {
    let decoded = ErrorFields::decode(body);
    trace.took(3, &decoded);
    if let Ok(fields) = decoded {
        ensure!(fields.iter().count() <= body.len());
        trace.saw(u64::from(fields.is_fatal()));
        ensure!(fields.sqlstate().is_none() || fields.get(b'C').is_some());
        ensure!(
            fields.message().len() <= body.len() && fields.severity().is_none_or(|s| s.len() <= body.len())
        );
    }
    Ok(())
}

/// Every decoder on every body, whichever message it came from.
fn bodies(body: &[u8], trace: &mut Trace) -> Result<()> {
    let mut out = Vec::new();
    for tag in FrontendTag::ALL {
        out.clear();
        frontend_again(*tag, body, &mut out, trace);
    }
    for tag in BackendTag::ALL {
        out.clear();
        backend_again(*tag, body, &mut out, trace)?;
    }
    Ok(())
}

fn both_directions() -> Vec<Vec<u8>> {
    let mut all = frontend_corpus();
    all.extend(backend_corpus());
    for input in &mut all {
        input.push(0);
    }
    all
}

/// Conversations as drivers hold them.
pub(crate) fn frontend_corpus() -> Vec<Vec<u8>> {
    let types = [0, 0, 0, 23, 0, 0, 0, 25];
    let mut simple = Vec::new();
    Query {
        sql: b"SELECT 1; SELECT 2",
    }
    .encode(&mut simple);
    encode_terminate(&mut simple);
    let mut extended = Vec::new();
    Parse {
        name: b"s1",
        sql: b"SELECT $1::int, $2",
        parameter_types: Oids::from_raw(&types).unwrap_or(Oids::NONE),
    }
    .encode(&mut extended);
    let named = |target, name, out: &mut Vec<u8>| Describe { target, name }.encode(out);
    named(Named::Statement, b"s1", &mut extended);
    let values = [Some(&b"42"[..]), None];
    Bind::encode(
        &mut extended,
        b"p",
        b"s1",
        FormatCodes::TEXT,
        &values,
        FormatCodes::BINARY,
    );
    named(Named::Portal, b"p", &mut extended);
    Execute {
        portal: b"p",
        max_rows: 10,
    }
    .encode(&mut extended);
    Close {
        target: Named::Portal,
        name: b"p",
    }
    .encode(&mut extended);
    encode_flush(&mut extended);
    encode_sync(&mut extended);
    let mut copy = Vec::new();
    Query {
        sql: b"COPY t FROM STDIN",
    }
    .encode(&mut copy);
    CopyData {
        data: b"1\ta\n2\tb\n",
    }
    .encode(&mut copy);
    wire::copy::encode_copy_done(&mut copy);
    CopyFail {
        reason: b"changed my mind",
    }
    .encode(&mut copy);
    let mut login = Vec::new();
    let first = SaslInitialResponse {
        mechanism: b"SCRAM-SHA-256",
        data: Some(b"n,,n=,r=nonce"),
    };
    first.encode(&mut login);
    SaslResponse {
        data: b"c=biws,r=nonce,p=proof",
    }
    .encode(&mut login);
    Password { password: b"secret" }.encode(&mut login);
    let call = b"F\0\0\0\x1a\0\0\x05\x54\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07\0\0".to_vec();
    vec![simple, extended, copy, login, call]
}

/// Answers as servers give them.
pub(crate) fn backend_corpus() -> Vec<Vec<u8>> {
    let mut login = Vec::new();
    wire::backend::encode_authentication_sasl(&mut login, &["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]);
    wire::backend::encode_authentication_sasl_continue(&mut login, b"r=nonce,s=c2FsdA==,i=4096");
    wire::backend::encode_authentication_sasl_final(&mut login, b"v=signature");
    wire::backend::encode_authentication_ok(&mut login);
    ParameterStatus {
        name: b"TimeZone",
        value: b"UTC",
    }
    .encode(&mut login);
    BackendKeyData {
        pid: 77,
        secret: &[1, 2, 3, 4],
    }
    .encode(&mut login);
    let unknown_options = vec![&b"_pq_.x"[..]];
    let version = wire::startup::ProtocolVersion::V3_0;
    NegotiateProtocolVersion {
        version,
        unknown_options,
    }
    .encode(&mut login);
    ReadyForQuery {
        status: TransactionStatus::Idle,
    }
    .encode(&mut login);
    let mut rows = Vec::new();
    wire::backend::encode_parse_complete(&mut rows);
    wire::backend::encode_bind_complete(&mut rows);
    ParameterDescription::encode(&mut rows, &[Oid(23), Oid(25)]);
    let fields = [Field::text("a"), Field::computed("b", Oid(23), 4)];
    RowDescription::encode(&mut rows, &fields);
    DataRow::encode(&mut rows, [Some(&b"x"[..]), None].into_iter());
    wire::backend::encode_portal_suspended(&mut rows);
    CommandComplete { tag: b"SELECT 1" }.encode(&mut rows);
    ReadyForQuery {
        status: TransactionStatus::InTransaction,
    }
    .encode(&mut rows);
    let mut trouble = Vec::new();
    let error = ProxyError::error(SqlState::new(*b"22012"), "division by zero");
    error
        .with_detail("why")
        .with_hint("how")
        .with_position(7)
        .encode(&mut trouble);
    wire::backend::encode_no_data(&mut trouble);
    wire::backend::encode_empty_query_response(&mut trouble);
    wire::backend::encode_close_complete(&mut trouble);
    NotificationResponse {
        pid: 7,
        channel: b"c",
        payload: b"p",
    }
    .encode(&mut trouble);
    ReadyForQuery {
        status: TransactionStatus::Failed,
    }
    .encode(&mut trouble);
    let mut copy = Vec::new();
    wire::copy::encode_copy_in_response(&mut copy, wire::Format::Text, 3);
    wire::copy::encode_copy_out_response(&mut copy, wire::Format::Binary, 2);
    CopyData { data: b"row\n" }.encode(&mut copy);
    wire::copy::encode_copy_done(&mut copy);
    vec![login, rows, trouble, copy]
}

fn body_corpus() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for conversation in frontend_corpus().into_iter().chain(backend_corpus()) {
        let mut rest = conversation.as_slice();
        while let Scan::Frame { len, .. } = frame::scan(rest, MAX_LARGE_LEN) {
            let (whole, after) = rest.split_at(len);
            all.push(frame::body(whole).to_vec());
            rest = after;
        }
    }
    all
}
