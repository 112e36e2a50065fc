//! What a client sends, cut into requests: the same ones however it arrives.

use anyhow::{Result, ensure};
use bytes::BytesMut;
use session::intake::{HELD_BATCH, HELD_MESSAGE, Intake};
use session::requests::{Assembled, Assembler, BatchEnd, MAX_BATCH_MESSAGES, Request};
use session::usual::{self, Kind};
use wire::frame::{self, Header, MAX_LARGE_LEN, MAX_SMALL_LEN};

use crate::mutate::Shape;
use crate::target::{Script, Target, Trace};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("intake", intake, scripts)
        .weight(8)
        .memory(MEMORY, 256),
    Target::new("requests", requests, scripts)
        .weight(8)
        .memory(MEMORY, 256),
    Target::new("usual-requests", usual, usual_requests)
        .shape(Shape::Frames)
        .weight(8)
        .memory(4096, 128),
];

/// The streams themselves, twice, as they grow.
const MEMORY: usize = 8 * MAX_STREAM;
/// Long enough for messages that go on in pieces.
const MAX_STREAM: usize = 160 << 10;
/// Every tag of a client, and some that are none.
const TAGS: &[u8] = b"QPBDECSHFXdcfp?Z";
/// What a message that is held may have.
const LIMITS: [usize; 4] = [64, 4096, 20_000, 100_000];

/// A client's bytes and the pieces in which they come.
struct Arrival {
    bytes: Vec<u8>,
    limit: usize,
    pieces: Vec<usize>,
}

impl Arrival {
    fn read(script: &mut Script<'_>) -> Self {
        let limit = LIMITS.get(script.below(LIMITS.len())).copied().unwrap_or(64);
        let pieces = (0..script.below(12)).map(|_| piece(script.byte())).collect();
        let mut bytes = Vec::new();
        while !script.is_over() && bytes.len() < MAX_STREAM {
            let choice = script.below(8);
            let tag = TAGS.get(script.below(TAGS.len())).copied().unwrap_or(0);
            let count = usize::from(script.byte());
            match choice {
                0 => bytes.extend_from_slice(script.bytes(count)),
                // Long ones, of a thousand bytes for each of `count`.
                1 => frame_of(tag, count << 10, count << 10, &mut bytes),
                // Less than is announced.
                2 => frame_of(tag, count << 10, count << 6, &mut bytes),
                _ => {
                    let body = script.bytes(count % 32);
                    frame_of(tag, body.len(), 0, &mut bytes);
                    bytes.extend_from_slice(body);
                }
            }
        }
        bytes.truncate(MAX_STREAM);
        Self { bytes, limit, pieces }
    }

    /// Gives what has arrived after each piece.
    fn in_pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        let mut sizes = self.pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
        std::iter::from_fn(move || {
            let size = sizes.next().unwrap_or(usize::MAX).min(rest.len());
            let (piece, after) = rest.split_at(size);
            rest = after;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Sizes of pieces: mostly small, sometimes as long as what a socket gives.
fn piece(byte: u8) -> usize {
    match byte {
        0..200 => usize::from(byte) + 1,
        _ => usize::from(byte) << 7,
    }
}

fn frame_of(tag: u8, announced: usize, present: usize, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend(u32::try_from(announced + 4).unwrap_or(4).to_be_bytes());
    out.resize(out.len() + present, b'x');
}

/// The messages that were taken, and the error that ended them.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    messages: Vec<(u8, usize)>,
    error: Option<String>,
}

/// Takes messages as the direct way does.
fn take<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Result<Taken> {
    let (mut intake, mut input) = (Intake::default(), Vec::new());
    let (mut messages, mut came, mut counted) = (Vec::new(), 0, 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        came += piece.len();
        loop {
            let streamed = intake.stream(input.len());
            input.drain(..streamed);
            if intake.is_streaming() {
                ensure!(input.is_empty());
                break;
            }
            let front = match intake.front(&input, limit) {
                Ok(Some(front)) => front,
                Ok(None) => break,
                Err(error) => {
                    let error = Some(error.message.to_string());
                    return Ok(Taken { messages, error });
                }
            };
            ensure!(
                front.have <= front.len
                    && front.have <= input.len()
                    && front.is_whole() == (front.have == front.len)
            );
            ensure!(front.is_whole() || front.len > HELD_MESSAGE);
            messages.push((front.tag, front.len));
            let used = intake.consume(front);
            ensure!(used == front.have);
            input.drain(..used);
        }
        let longest = HELD_MESSAGE.max(limit).max(MAX_SMALL_LEN);
        ensure!(
            input.len() <= HELD_BATCH + longest,
            "{} bytes are held",
            input.len()
        );
        counted += intake.take_count();
        ensure!(
            counted + input.len() == came,
            "{counted} bytes counted, {} held of {came}",
            input.len()
        );
    }
    Ok(Taken {
        messages,
        error: None,
    })
}

/// The messages as their lengths say.
fn by_the_lengths(bytes: &[u8]) -> Vec<(u8, usize)> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while let Ok(Some(Header { tag, len })) = frame::header(rest, MAX_LARGE_LEN) {
        all.push((tag, len));
        rest = rest.get(len..).unwrap_or_default();
    }
    all
}

/// The intake of the direct way.
fn intake(input: &[u8], trace: &mut Trace) -> Result<()> {
    let arrival = Arrival::read(&mut Script::new(input));
    let whole = take(std::iter::once(arrival.bytes.as_slice()), arrival.limit)?;
    let pieces = take(arrival.in_pieces(), arrival.limit)?;
    for (tag, len) in &whole.messages {
        trace.saw(u64::from(*tag) ^ (len.ilog2() as u64) << 8);
    }
    trace.saw(whole.error.as_ref().map_or(0, |error| error.len() as u64));
    let expected = by_the_lengths(&arrival.bytes);
    for taken in [&whole, &pieces] {
        ensure!(expected.starts_with(&taken.messages), "{taken:?} of {expected:?}");
    }
    // Without an error the end of a long batch may have been waited for in one case and not in the other.
    let agree = (whole.error.is_none() && pieces.error.is_none()) || whole == pieces;
    ensure!(agree, "whole {whole:?}, in pieces {pieces:?}");
    Ok(())
}

/// Requests as the routed way takes them: how long each is and what, and the error that ended them.
#[derive(Debug, PartialEq, Eq)]
struct Requests {
    taken: Vec<(usize, Vec<u8>)>,
    error: Option<String>,
}

/// A request as the tags of its messages.
fn tags(request: &Request, input: &[u8]) -> Result<Vec<u8>> {
    let mut tags = Vec::new();
    match request {
        Request::Query(message) => {
            ensure!(message.frame.start == 0 && input.get(message.frame.clone()).is_some());
            tags.push(message.tag);
        }
        Request::Batch(messages, end) => {
            ensure!(messages.len() <= MAX_BATCH_MESSAGES);
            let mut at = 0;
            for message in messages {
                ensure!(message.frame.start == at && input.get(at) == Some(&message.tag));
                ensure!(input.get(message.body()).is_some());
                at = message.frame.end;
                tags.push(message.tag);
            }
            tags.push(if *end == BatchEnd::Sync { b'S' } else { b'H' });
        }
        Request::FunctionCall => tags.push(b'F'),
        Request::StrayCopy => tags.push(b'd'),
        Request::Terminate => tags.push(b'X'),
    }
    Ok(tags)
}

fn assemble<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Result<Requests> {
    let (mut assembler, mut input, mut taken) = (Assembler::default(), Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match assembler.next(&input, limit) {
                Ok(Assembled::NeedMore) => break,
                Ok(Assembled::Request(request, used)) => {
                    ensure!(used <= input.len() && used <= limit, "{used} of {limit}");
                    taken.push((used, tags(&request, &input)?));
                    input.drain(..used);
                    ensure!(assembler.is_idle());
                }
                Err(error) => {
                    let error = Some(error.message.to_string());
                    return Ok(Requests { taken, error });
                }
            }
        }
        ensure!(input.len() <= limit, "{} bytes are held of {limit}", input.len());
    }
    Ok(Requests { taken, error: None })
}

/// The requests of the routed way are the same in whatever pieces they come, and the bound holds for each.
fn requests(input: &[u8], trace: &mut Trace) -> Result<()> {
    let arrival = Arrival::read(&mut Script::new(input));
    let whole = assemble(std::iter::once(arrival.bytes.as_slice()), arrival.limit)?;
    let pieces = assemble(arrival.in_pieces(), arrival.limit)?;
    for (used, tags) in &whole.taken {
        trace.saw(u64::from(used.ilog2()) ^ (tags.len().min(9) as u64) << 8);
    }
    trace.saw(whole.error.as_ref().map_or(0, |error| error.len() as u64));
    ensure!(whole == pieces, "whole {whole:?}, in pieces {pieces:?}");
    Ok(())
}

/// Where the short way sees a request, it is the one that the other ways see.
fn usual(input: &[u8], trace: &mut Trace) -> Result<()> {
    const LIMIT: usize = 1500;
    let read = usual::Request::read(input, LIMIT);
    trace.saw(u64::from(read.is_some()));
    let Some(request) = read else { return Ok(()) };
    let len = request.bytes.len();
    ensure!(input.starts_with(request.bytes) && len <= LIMIT);
    for cut in 0..len {
        let part = input.get(..cut).unwrap_or_default();
        ensure!(
            usual::Request::read(part, LIMIT).is_none(),
            "{cut} bytes are a request"
        );
    }
    let assembled = Assembler::default().next(input, LIMIT);
    let Ok(Assembled::Request(other, used)) = assembled else {
        anyhow::bail!("{assembled:?}");
    };
    ensure!(used == len);
    match (request.kind, other) {
        (Kind::Query(text), Request::Query(message)) => {
            ensure!(input.get(message.body()).and_then(|body| body.strip_suffix(&[0])) == Some(text));
        }
        (Kind::Execute(execution), Request::Batch(messages, BatchEnd::Sync)) => {
            let expected = match (&execution.parse, execution.describe) {
                (Some(_), true) => &b"PBDE"[..],
                (Some(_), false) => b"PBE",
                (None, true) => b"BDE",
                (None, false) => b"BE",
            };
            trace.saw(expected.len() as u64);
            ensure!(
                messages
                    .iter()
                    .map(|message| message.tag)
                    .eq(expected.iter().copied())
            );
            let mut out = BytesMut::new();
            let name = std::str::from_utf8(execution.name).unwrap_or("other");
            execution.encode_as(name, &mut out);
            ensure!(std::str::from_utf8(execution.name).is_err() || request.bytes.ends_with(&out));
        }
        (kind, other) => anyhow::bail!("{kind:?} is {other:?}"),
    }
    Ok(())
}

fn usual_requests() -> Vec<Vec<u8>> {
    let frame = |tag: u8, body: &[u8]| {
        let mut out = Vec::new();
        frame_of(tag, body.len(), 0, &mut out);
        [&out, body].concat()
    };
    let parse = frame(b'P', b"\0SELECT $1\0\0\x01\0\0\0\x17");
    let bind = |name: &[u8]| frame(b'B', &[b"\0", name, b"\0\0\0\0\x01\0\0\0\x0242\0\0"].concat());
    let (describe, execute) = (frame(b'D', b"P\0"), frame(b'E', &[0; 5]));
    let sync = frame(b'S', b"");
    vec![
        frame(b'Q', b"SELECT 1\0"),
        [&parse[..], &bind(b""), &describe, &execute, &sync].concat(),
        [&parse[..], &bind(b""), &execute, &sync].concat(),
        [&bind(b"s1")[..], &execute, &sync, &frame(b'Q', b"x\0")].concat(),
        [&bind(b"s1")[..], &describe, &execute, &sync].concat(),
    ]
}

fn scripts() -> Vec<Vec<u8>> {
    let at = |tag: u8| TAGS.iter().position(|known| *known == tag).unwrap_or(0) as u8;
    let small = |tag: u8, body: &[u8]| [&[7, at(tag), body.len() as u8][..], body].concat();
    let long = |tag: u8, kib: u8| vec![1, at(tag), kib];
    let batch = [
        small(b'P', b"\0SELECT 1\0\0\0"),
        small(b'B', &[0; 8]),
        small(b'E', &[0; 5]),
        small(b'S', b""),
    ]
    .concat();
    let query = small(b'Q', b"SELECT 1\0");
    vec![
        [&[2, 3, 1, 7, 250][..], &batch, &query].concat(),
        [&[3, 5, 255, 255, 9, 240, 3][..], &long(b'B', 90), &batch].concat(),
        [
            &[1, 2, 4, 255][..],
            &long(b'd', 60),
            &long(b'd', 3),
            &small(b'c', b""),
        ]
        .concat(),
        [&[0, 1, 30][..], &long(b'P', 5), &query].concat(),
        [&[2, 1, 3][..], &query, &[2, at(b'D'), 12], &query].concat(),
    ]
}
