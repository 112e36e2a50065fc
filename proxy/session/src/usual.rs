//! Requests of the usual kind, read where they lie: a simple query, or one statement bound and executed whole.

use bytes::{BufMut, BytesMut};
use wire::frame::{self, Scan};
use wire::frontend::Parse;

/// Describe of the unnamed portal.
const DESCRIBE_PORTAL: &[u8] = b"P\0";
/// Execute of the unnamed portal without a row limit.
const EXECUTE_ALL: &[u8] = &[0; 5];

/// A whole request at the front of what a client sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What it asks.
    pub kind: Kind<'a>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The text of a simple query.
    Query(&'a [u8]),
    /// Parse (or not), Bind, Describe (or not), Execute, Sync.
    Execute(Execution<'a>),
}

/// A statement executed by the extended protocol, in the unnamed portal, for all its rows.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'a> {
    /// The unnamed statement, where it is parsed here.
    pub parse: Option<Parse<'a>>,
    /// The body of Bind.
    pub bind: &'a [u8],
    /// The statement's name in Bind.
    pub name: &'a [u8],
    /// Whether the portal is described.
    pub describe: bool,
    /// The frames after Bind.
    pub rest: &'a [u8],
}

impl Execution<'_> {
    /// Writes the messages from Bind on, with the statement under another name.
    pub fn encode_as(&self, name: &str, out: &mut BytesMut) {
        // The unnamed portal, and the name that the client gave the statement.
        let tail = self.bind.get(self.name.len() + 2..).unwrap_or_default();
        let len = 4 + 1 + name.len() + 1 + tail.len();
        out.reserve(1 + len + self.rest.len());
        out.put_u8(b'B');
        out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        out.put_u8(0);
        out.extend_from_slice(name.as_bytes());
        out.put_u8(0);
        out.extend_from_slice(tail);
        out.extend_from_slice(self.rest);
    }
}

impl<'a> Request<'a> {
    /// The request at the front of `data`; `None` where it isn't whole, or of another kind.
    #[inline]
    pub fn read(data: &'a [u8], limit: usize) -> Option<Self> {
        let (tag, body, rest) = next(data, limit)?;
        match tag {
            b'Q' => {
                let text = body.strip_suffix(&[0])?;
                let clean = memchr::memchr(0, text).is_none();
                clean.then_some(Self {
                    bytes: front(data, rest),
                    kind: Kind::Query(text),
                })
            }
            b'P' => {
                let parse = Parse::decode(body).ok()?;
                let (tag, body, rest) = next(rest, limit)?;
                let unnamed = tag == b'B' && parse.name.is_empty();
                let request = if unnamed {
                    execution(data, Some(parse), body, rest, limit)
                } else {
                    None
                };
                request
                    .filter(|(execution, _)| execution.name.is_empty())
                    .map(into_request(data))
            }
            b'B' => execution(data, None, body, rest, limit)
                .filter(|(execution, _)| !execution.name.is_empty())
                .map(into_request(data)),
            _ => None,
        }
    }
}

fn into_request<'a>(data: &'a [u8]) -> impl Fn((Execution<'a>, &'a [u8])) -> Request<'a> {
    |(execution, rest)| Request {
        bytes: front(data, rest),
        kind: Kind::Execute(execution),
    }
}

/// What follows the head of Bind up to Sync, and what follows that.
fn execution<'a>(
    data: &'a [u8],
    parse: Option<Parse<'a>>,
    bind: &'a [u8],
    after: &'a [u8],
    limit: usize,
) -> Option<(Execution<'a>, &'a [u8])> {
    // The unnamed portal.
    let names = bind.strip_prefix(&[0])?;
    let name = names.get(..memchr::memchr(0, names)?)?;
    let (mut tag, mut body, mut rest) = next(after, limit)?;
    let describe = tag == b'D' && body == DESCRIBE_PORTAL;
    if describe {
        (tag, body, rest) = next(rest, limit)?;
    }
    if tag != b'E' || body != EXECUTE_ALL {
        return None;
    }
    let (tag, body, rest) = next(rest, limit)?;
    let whole = tag == b'S' && body.is_empty() && data.len() - rest.len() <= limit;
    whole.then(|| {
        let execution = Execution {
            parse,
            bind,
            name,
            describe,
            rest: front(after, rest),
        };
        (execution, rest)
    })
}

/// The frame at the front: its tag, its body and what follows it.
fn next(data: &[u8], limit: usize) -> Option<(u8, &[u8], &[u8])> {
    match frame::scan(data, limit) {
        Scan::Frame { tag, len } => {
            let (frame, rest) = data.split_at_checked(len)?;
            Some((tag, frame::body(frame), rest))
        }
        Scan::NeedMore { .. } | Scan::Malformed(_) => None,
    }
}

/// `data` without `rest`, which is its end.
fn front<'a>(data: &'a [u8], rest: &[u8]) -> &'a [u8] {
    data.get(..data.len() - rest.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Request};

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let len = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag][..], &len, body].concat()
    }

    fn kind(parts: &[(u8, &[u8])]) -> String {
        let bytes: Vec<u8> = parts.iter().flat_map(|(tag, body)| frame(*tag, body)).collect();
        let whole = Request::read(&bytes, 1000);
        for len in 0..bytes.len() {
            let part = Request::read(&bytes[..len], 1000);
            // A prefix is a request only where it is whole, and then it is the same.
            assert!(part.is_none_or(|part| part.bytes == whole.unwrap().bytes));
        }
        assert!(Request::read(&bytes, 4).is_none());
        match whole.map(|request| request.kind) {
            None => "other".to_owned(),
            Some(Kind::Query(text)) => String::from_utf8(text.to_vec()).unwrap(),
            Some(Kind::Execute(execution)) => format!(
                "parse {} name {:?} describe {} rest {}",
                execution.parse.is_some(),
                String::from_utf8_lossy(execution.name),
                execution.describe,
                execution.rest.len()
            ),
        }
    }

    const BIND: &[u8] = b"\0\0\0\0\0\x01\0\0\0\x015\0\0";
    const NAMED: &[u8] = b"\0a\0\0\0\0\0\0\0";
    const PARSE: &[u8] = b"\0SELECT 1\0\0\0";
    const ALL: &[u8] = &[0; 5];

    #[test]
    fn usual_requests() {
        assert_eq!(kind(&[(b'Q', b"SELECT 1\0"), (b'X', b"")]), "SELECT 1");
        let extended = [
            (b'P', PARSE),
            (b'B', BIND),
            (b'D', b"P\0"),
            (b'E', ALL),
            (b'S', b""),
        ];
        assert_eq!(kind(&extended), "parse true name \"\" describe true rest 22");
        let prepared = [(b'B', NAMED), (b'E', ALL), (b'S', b"")];
        assert_eq!(kind(&prepared), "parse false name \"a\" describe false rest 15");
    }

    #[test]
    fn everything_else_is_not() {
        for other in [
            &[(b'Q', &b"no end"[..])][..],
            &[(b'Q', b"NUL\0inside\0")],
            &[(b'X', b"")],
            // Another portal, a row limit, no Execute, no Sync, two executions, a statement from another batch.
            &[(b'B', b"p\0a\0\0\0\0\0\0\0"), (b'E', ALL), (b'S', b"")],
            &[(b'B', NAMED), (b'E', b"\0\0\0\0\x05"), (b'S', b"")],
            &[(b'B', NAMED), (b'S', b"")],
            &[(b'B', NAMED), (b'E', ALL), (b'H', b"")],
            &[(b'B', NAMED), (b'E', ALL), (b'E', ALL), (b'S', b"")],
            &[(b'B', BIND), (b'E', ALL), (b'S', b"")],
            &[(b'B', NAMED), (b'D', b"Sa\0"), (b'E', ALL), (b'S', b"")],
            &[
                (b'P', b"a\0SELECT 1\0\0\0"),
                (b'B', NAMED),
                (b'E', ALL),
                (b'S', b""),
            ],
            &[(b'P', PARSE), (b'B', NAMED), (b'E', ALL), (b'S', b"")],
        ] {
            assert_eq!(kind(other), "other");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8..=255, 0..60)) {
            let _ = Request::read(&bytes, 50);
        }
    }
}
