//! The scanner and the decoders beside pgwire's, on streams that hold anything and come in any pieces.
//!
//! Both find the same frames and read the same fields, or both refuse. Wherever they don't, [`Deviation`] says why, and the test
//! holds them to exactly that. Ours is what PostgreSQL does; pgwire is laxer, as it leaves checks to whoever uses it.

mod startup;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use pgwire::messages::startup::PasswordMessageFamily;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage as Theirs};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::differential::{context, frontend};
use crate::copy::{CopyData, CopyFail};
use crate::frame::{self, HEADER_LEN, MAX_LARGE_LEN, Scan};
use crate::frontend::{
    Bind, Close, Describe, Execute, Parse, Password, Query, SaslInitialResponse, SaslResponse, Target,
};
use crate::tag::FrontendTag;
use crate::{Malformed, WireError};

/// Where the two differ, and why ours is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Deviation {
    /// pgwire doesn't know FunctionCall; libpq's large objects need it.
    NoFunctionCall,
    /// pgwire takes a length of 0 to 3, which doesn't count itself, and reads the rest as another message. PostgreSQL ends
    /// the connection.
    LengthBelowItself,
    /// pgwire refuses answers to authentication above 10,000 bytes; PostgreSQL takes 65,535, since tickets of Kerberos are long.
    LongPassword,
    /// pgwire leaves what stands behind the last field in the stream, where it becomes the next message: a way to smuggle
    /// one. PostgreSQL: "invalid message format".
    Trailing,
    /// pgwire panics where a body ends too early, or reads on in the next message. PostgreSQL: "insufficient data left in
    /// message".
    Short,
    /// pgwire takes a string without its end for an empty one, or looks for the end in the next message. PostgreSQL:
    /// "invalid string in message".
    Unterminated,
    /// pgwire takes every negative length of a value for NULL (PostgreSQL: -1 only), and every byte for the kind of a
    /// Describe or Close (PostgreSQL: S and P only).
    Range,
    /// pgwire takes any number of format codes. PostgreSQL: none, one, or one for each parameter.
    FormatCount,
}

impl From<Malformed> for Deviation {
    fn from(fault: Malformed) -> Self {
        match fault {
            Malformed::Short => Self::Short,
            Malformed::Trailing => Self::Trailing,
            Malformed::Unterminated => Self::Unterminated,
            Malformed::Range => Self::Range,
            Malformed::FormatCount => Self::FormatCount,
        }
    }
}

/// What pgwire makes of the front of a stream.
#[derive(Debug)]
enum Verdict {
    Message(Box<Theirs>, usize),
    NeedMore,
    Refused,
    /// It read where there was nothing.
    Panicked,
}

fn theirs(stream: &[u8], context: &DecodeContext) -> Verdict {
    let mut buf = BytesMut::from(stream);
    match catch_unwind(AssertUnwindSafe(|| Theirs::decode(&mut buf, context))) {
        Ok(Ok(Some(message))) => Verdict::Message(Box::new(message), stream.len() - buf.len()),
        Ok(Ok(None)) => Verdict::NeedMore,
        Ok(Err(_)) => Verdict::Refused,
        Err(_) => Verdict::Panicked,
    }
}

/// Names are `None` where they are empty, and text is made UTF-8.
fn same(ours: &[u8], theirs: &Option<String>) -> bool {
    String::from_utf8_lossy(ours) == theirs.as_deref().unwrap_or_default()
}

fn same_text(ours: &[u8], theirs: &str) -> bool {
    String::from_utf8_lossy(ours) == theirs
}

/// Reads a body as ours: what is wrong with it, or whether the fields are those of `message`.
fn read(tag: FrontendTag, body: &[u8], message: Option<&Theirs>) -> Result<bool, WireError> {
    let empty = |name: &'static str| match body {
        [] => Ok(()),
        // Nothing decodes these; they are handed on, and the server says what it thinks of them.
        _ => Err(WireError::Body {
            message: name,
            fault: Malformed::Trailing,
        }),
    };
    Ok(match (tag, message) {
        (FrontendTag::Query, theirs) => {
            let ours = Query::decode(body)?;
            matches!(theirs, Some(Theirs::Query(t)) if same_text(ours.sql, &t.query))
        }
        (FrontendTag::Parse, theirs) => {
            let ours = Parse::decode(body)?;
            matches!(theirs, Some(Theirs::Parse(t)) if same(ours.name, &t.name) && same_text(ours.sql, &t.query)
                && ours.parameter_types.iter().map(|oid| oid.0).eq(t.type_oids.iter().copied()))
        }
        (FrontendTag::Bind, theirs) => {
            let ours = Bind::decode(body)?;
            matches!(theirs, Some(Theirs::Bind(t)) if same(ours.portal, &t.portal_name)
                && same(ours.statement, &t.statement_name)
                && ours.formats.iter().eq(t.parameter_format_codes.iter().copied())
                && ours.values.iter().eq(t.parameters.iter().map(Option::as_deref))
                && ours.result_formats.iter().eq(t.result_column_format_codes.iter().copied()))
        }
        (FrontendTag::Describe, theirs) => {
            let ours = Describe::decode(body)?;
            matches!(theirs, Some(Theirs::Describe(t)) if same(ours.name, &t.name)
                && (ours.target == Target::Statement) == (t.target_type == b'S'))
        }
        (FrontendTag::Close, theirs) => {
            let ours = Close::decode(body)?;
            matches!(theirs, Some(Theirs::Close(t)) if same(ours.name, &t.name)
                && (ours.target == Target::Statement) == (t.target_type == b'S'))
        }
        (FrontendTag::Execute, theirs) => {
            let ours = Execute::decode(body)?;
            matches!(theirs, Some(Theirs::Execute(t)) if same(ours.portal, &t.name) && ours.max_rows == t.max_rows)
        }
        (FrontendTag::CopyFail, theirs) => {
            let ours = CopyFail::decode(body)?;
            matches!(theirs, Some(Theirs::CopyFail(t)) if same_text(ours.reason, &t.message))
        }
        (FrontendTag::CopyData, theirs) => {
            matches!(theirs, Some(Theirs::CopyData(t)) if CopyData::decode(body).data == &t.data[..])
        }
        (FrontendTag::Password, theirs) => {
            matches!(theirs, Some(Theirs::PasswordMessageFamily(PasswordMessageFamily::Raw(t))) if body == &t[..])
        }
        (FrontendTag::Sync, theirs) => empty("Sync").map(|()| matches!(theirs, Some(Theirs::Sync(_))))?,
        (FrontendTag::Flush, theirs) => empty("Flush").map(|()| matches!(theirs, Some(Theirs::Flush(_))))?,
        (FrontendTag::Terminate, theirs) => {
            empty("Terminate").map(|()| matches!(theirs, Some(Theirs::Terminate(_))))?
        }
        (FrontendTag::CopyDone, theirs) => {
            empty("CopyDone").map(|()| matches!(theirs, Some(Theirs::CopyDone(_))))?
        }
        (FrontendTag::FunctionCall, _) => false,
    })
}

/// What a stream came to, by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A frame of so many bytes is dealt with.
    Taken(usize),
    NeedMore,
    /// The stream can't be read any further.
    End,
}

/// Compares what stands at the front of `stream`.
fn compare(stream: &[u8], seen: &mut Vec<Deviation>) -> Result<Step, TestCaseError> {
    let verdict = theirs(stream, &context());
    let Some(tag) = stream.first() else {
        prop_assert!(matches!(verdict, Verdict::NeedMore));
        return Ok(Step::NeedMore);
    };
    let Ok(tag) = FrontendTag::try_from(*tag) else {
        // Both know at once, or as soon as there is a second byte.
        prop_assert!(matches!(verdict, Verdict::Refused) || stream.len() < 2);
        return Ok(Step::End);
    };
    let scan = frame::scan(stream, tag.max_len());
    let announced = stream.get(1..HEADER_LEN).and_then(|field| field.try_into().ok());
    let announced = announced.map_or(0, i32::from_be_bytes);
    match (tag, scan) {
        (FrontendTag::FunctionCall, _) => {
            prop_assert!(matches!(verdict, Verdict::Refused) || stream.len() < 2);
            seen.push(Deviation::NoFunctionCall);
        }
        (FrontendTag::Password, _) if announced > 10_000 => {
            prop_assert!(matches!(verdict, Verdict::Refused));
            seen.push(Deviation::LongPassword);
        }
        (_, Scan::NeedMore { .. }) => prop_assert!(matches!(verdict, Verdict::NeedMore), "{verdict:?}"),
        (_, Scan::Malformed(WireError::InvalidLength { len: 0..=3 })) => {
            // By its header alone: what it makes of the bytes behind it depends on them, and some of them it refuses.
            let header = theirs(&stream[..HEADER_LEN], &context());
            prop_assert!(!matches!(header, Verdict::Refused), "{header:?}");
            seen.push(Deviation::LengthBelowItself);
        }
        (_, Scan::Malformed(_)) => prop_assert!(matches!(verdict, Verdict::Refused), "{verdict:?}"),
        (_, Scan::Frame { len, .. }) => seen.extend(compare_bodies(tag, &stream[..len], &verdict)?),
    }
    Ok(match scan {
        Scan::Frame { len, .. } => Step::Taken(len),
        Scan::NeedMore { .. } => Step::NeedMore,
        Scan::Malformed(_) => Step::End,
    })
}

/// A whole frame, and what pgwire made of it.
fn compare_bodies(
    tag: FrontendTag,
    whole: &[u8],
    verdict: &Verdict,
) -> Result<Option<Deviation>, TestCaseError> {
    let (message, used) = match verdict {
        Verdict::Message(message, used) => (Some(&**message), *used),
        _ => (None, 0),
    };
    let fault = match read(tag, frame::body(whole), message) {
        Ok(agreed) => {
            prop_assert!(agreed, "{:?} is {:?}", whole, verdict);
            prop_assert_eq!(used, whole.len());
            if let Some(Theirs::PasswordMessageFamily(_)) = message {
                compare_answers(frame::body(whole))?;
            }
            return Ok(None);
        }
        Err(WireError::Body { fault, .. }) => fault,
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    };
    let as_expected = match fault {
        Malformed::Trailing => message.is_some() && used < whole.len(),
        Malformed::Short => message.is_none() || used > whole.len(),
        Malformed::FormatCount => message.is_some() && used <= whole.len(),
        // What it makes of the rest depends on where it thinks it is.
        Malformed::Unterminated | Malformed::Range => !matches!(verdict, Verdict::NeedMore),
    };
    prop_assert!(as_expected, "{:?}, but {:?}", fault, verdict);
    Ok(Some(fault.into()))
}

/// The three messages that share the tag of passwords.
fn compare_answers(body: &[u8]) -> Result<(), TestCaseError> {
    let raw = || PasswordMessageFamily::Raw(BytesMut::from(body));
    if let Ok(ours) = Password::decode(body) {
        let theirs = raw().into_password();
        prop_assert!(theirs.is_ok_and(|theirs| same_text(ours.password, &theirs.password)));
    }
    if let Ok(ours) = SaslInitialResponse::decode(body) {
        let theirs = raw().into_sasl_initial_response();
        prop_assert!(
            theirs.is_ok_and(|theirs| same_text(ours.mechanism, &theirs.auth_method)
                && ours.data == theirs.data.as_deref())
        );
    }
    let theirs = raw().into_sasl_response();
    prop_assert!(theirs.is_ok_and(|theirs| SaslResponse::decode(body).data == &theirs.data[..]));
    Ok(())
}

/// A message as a client would write it.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    let written = frontend().prop_map(|message| {
        let mut buf = BytesMut::new();
        message.encode(&mut buf).unwrap();
        buf.to_vec()
    });
    let answers = (
        any::<bool>(),
        "[a-zA-Z0-9=,-]{0,12}",
        prop::option::of(any::<[u8; 7]>()),
    )
        .prop_map(|(password, text, data)| {
            let mut out = Vec::new();
            match (password, &data) {
                (true, _) => Password {
                    password: text.as_bytes(),
                }
                .encode(&mut out),
                (false, data) => SaslInitialResponse {
                    mechanism: text.as_bytes(),
                    data: data.as_ref().map(|data| &data[..]),
                }
                .encode(&mut out),
            }
            out
        });
    prop_oneof![8 => written, 1 => answers]
}

fn framed(tag: u8, len: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend(len.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn true_length(body: &[u8]) -> i32 {
    i32::try_from(body.len() + 4).unwrap()
}

/// A message whose body was changed: bytes gone from its end, new at its end, or other ones somewhere.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..4);
    (sound(), 0..3_u8, any::<prop::sample::Index>(), bytes).prop_map(|(whole, change, at, bytes)| {
        let mut body = frame::body(&whole).to_vec();
        let at = at.index(body.len() + 1);
        match change {
            0 => body.truncate(at),
            1 => body.extend(&bytes),
            _ => body
                .iter_mut()
                .skip(at)
                .zip(&bytes)
                .for_each(|(old, new)| *old = *new),
        }
        framed(whole[0], true_length(&body), &body)
    })
}

/// Any tag, any length, any body.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    const LENGTHS: [i32; 14] = [
        i32::MIN,
        -1,
        0,
        1,
        3,
        4,
        5,
        10_000,
        10_001,
        65_535,
        65_536,
        0x3fff_fffe,
        0x3fff_ffff,
        i32::MAX,
    ];
    let tag = prop_oneof![6 => prop::sample::select(FrontendTag::ALL).prop_map(FrontendTag::byte), 1 => any::<u8>()];
    let byte = prop_oneof![Just(0_u8), Just(0), 0..4_u8, Just(b'S'), any::<u8>()];
    let len = prop_oneof![4 => Just(None), 1 => prop::sample::select(&LENGTHS[..]).prop_map(Some)];
    (tag, len, prop::collection::vec(byte, 0..40))
        .prop_map(|(tag, len, body)| framed(tag, len.unwrap_or(true_length(&body)), &body))
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![4 => sound(), 3 => changed(), 3 => anything()];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Takes a stream in pieces; what the frames were, and how it ended.
fn in_pieces(stream: &[u8], pieces: &[usize], seen: &mut Vec<Deviation>) -> Result<Vec<Step>, TestCaseError> {
    let (mut buf, mut rest, mut steps) = (Vec::new(), stream, Vec::new());
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        rest = after;
        buf.extend_from_slice(piece);
        loop {
            match compare(&buf, seen)? {
                Step::NeedMore => break,
                Step::Taken(len) => {
                    buf.drain(..len);
                    steps.push(Step::Taken(len));
                }
                Step::End => {
                    steps.push(Step::End);
                    return Ok(steps);
                }
            }
        }
    }
    Ok(steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_stream_in_any_pieces_is_read_as_by_pgwire(
        stream in stream(),
        pieces in prop::collection::vec(1..40_usize, 0..30),
    ) {
        let mut seen = Vec::new();
        let whole = in_pieces(&stream, &[], &mut seen)?;
        prop_assert_eq!(in_pieces(&stream, &pieces, &mut seen)?, whole);
    }
}

/// The differences exist: each is met by one input at the least, so none of them is excused in vain.
#[test]
fn every_deviation_is_real() {
    let cases: [(Deviation, Vec<u8>); 9] = [
        (Deviation::NoFunctionCall, framed(b'F', 14, &[0; 10])),
        (Deviation::LengthBelowItself, framed(b'Q', 3, b"x\0\0\0")),
        (Deviation::LongPassword, framed(b'p', 10_001, &[b'x'; 9_997])),
        (Deviation::Trailing, framed(b'S', 5, b"x")),
        (Deviation::Short, framed(b'E', 5, b"\0")),
        (Deviation::Unterminated, framed(b'Q', 5, b"x")),
        (Deviation::Range, framed(b'D', 6, b"X\0")),
        (
            Deviation::Range,
            framed(b'B', 4 + 12, b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        ),
        (
            Deviation::FormatCount,
            framed(b'B', 4 + 16, b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0"),
        ),
    ];
    for (deviation, stream) in cases {
        let mut seen = Vec::new();
        compare(&stream, &mut seen).unwrap();
        assert_eq!(seen, [deviation], "{stream:?}");
    }
}

/// The longest of each kind is taken by both, and one byte more refused by both.
#[test]
fn the_bounds_are_the_same() {
    for tag in FrontendTag::ALL {
        if matches!(tag, FrontendTag::FunctionCall | FrontendTag::Password) {
            continue;
        }
        let longest = i32::try_from(tag.max_len() - 1).unwrap();
        for (len, refused) in [(longest, false), (longest + 1, true)] {
            let header = framed(tag.byte(), len, b"");
            let ours = matches!(frame::scan(&header, tag.max_len()), Scan::Malformed(_));
            let theirs = matches!(theirs(&header, &context()), Verdict::Refused);
            assert_eq!((ours, theirs), (refused, refused), "{tag:?} of {len}");
        }
    }
    const { assert!(MAX_LARGE_LEN < i32::MAX as usize) }
}
