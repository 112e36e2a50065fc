//! New inputs from known ones: bytes, words and numbers changed, inputs spliced, frames moved about.

use wire::frame::{self, Scan};

use crate::random::Random;

/// How an input is built, which decides what changes make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Bytes of a layout of their own.
    Bytes,
    /// Messages with tag and length: most changes keep the lengths true, so that decoders get far.
    Frames,
    /// Text: words and characters matter.
    Text,
}

/// What the changes of a target draw from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Material {
    pub(crate) shape: Shape,
    /// Pieces that mean something to the decoder.
    pub(crate) words: &'static [&'static str],
    pub(crate) max_len: usize,
}

/// Lengths and counts at the borders of their types.
const NUMBERS: [i64; 22] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    127,
    128,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x3fff_ffff,
    0x7fff_fffb,
    0x7fff_ffff,
    -0x8000_0000,
    i64::MAX,
    i64::MIN,
];
const BYTES: [u8; 16] = [
    0, 1, 4, 8, 0x20, 0x27, 0x22, 0x24, 0x2f, 0x5c, 0x7f, 0x80, 0xc3, 0xe2, 0xf0, 0xff,
];
/// The most changes to one input.
const CHANGES: usize = 5;

/// A new input: `base` changed a few times, parts of `other` in it.
pub(crate) fn mutate(base: &[u8], other: &[u8], material: &Material, random: &mut Random) -> Vec<u8> {
    let mut input = if random.once_in(64) {
        (0..random.below(96)).map(|_| random.byte()).collect()
    } else {
        base.to_vec()
    };
    for _ in 0..=random.below(CHANGES) {
        if material.shape == Shape::Frames && !random.once_in(4) {
            change_frames(&mut input, other, material, random);
        } else {
            change(&mut input, other, material, random);
        }
    }
    input.truncate(material.max_len);
    input
}

/// One change that knows nothing of messages.
fn change(input: &mut Vec<u8>, other: &[u8], material: &Material, random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(12) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            let new = *random.pick(&BYTES).unwrap_or(&0);
            if let Some(byte) = input.get_mut(at) {
                *byte = new;
            }
        }
        2 => {
            let new: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
            input.splice(at..at, new);
        }
        3 => {
            let end = (at + 1 + random.below(16)).min(input.len());
            input.drain(at.min(end)..end);
        }
        4 => input.truncate(at),
        5 => {
            let piece = piece_of(input, random);
            input.splice(at..at, piece);
        }
        6 => {
            let piece = piece_of(other, random);
            input.splice(at..at, piece);
        }
        7 => {
            input.truncate(at);
            input.extend_from_slice(other.get(random.below(other.len() + 1)..).unwrap_or_default());
        }
        8 => put_number(input, at, random),
        _ => put_word(input, at, material, random),
    }
}

/// A word, or a decimal number where the input is text.
fn put_word(input: &mut Vec<u8>, at: usize, material: &Material, random: &mut Random) {
    let number = if material.shape == Shape::Text && random.once_in(4) {
        random.pick(&NUMBERS).map(ToString::to_string)
    } else {
        None
    };
    let word = match &number {
        Some(number) => number.as_bytes(),
        None => random
            .pick(material.words)
            .map_or(&b"\0"[..], |word| word.as_bytes()),
    };
    let replaced = if random.once_in(2) { word.len() } else { 0 };
    let end = (at + replaced).min(input.len());
    input.splice(at..end, word.iter().copied());
}

/// A big-endian number of two, four or eight bytes over what is there: often the length of what follows, or nearly.
fn put_number(input: &mut [u8], at: usize, random: &mut Random) {
    let rest = i64::try_from(input.len().saturating_sub(at)).unwrap_or(0);
    let number = if random.once_in(3) {
        rest + i64::try_from(random.below(9)).unwrap_or(0) - 4
    } else {
        *random.pick(&NUMBERS).unwrap_or(&0)
    };
    let bytes = number.to_be_bytes();
    let width = *random.pick(&[2, 4, 4, 8]).unwrap_or(&4);
    let from = bytes.get(bytes.len() - width..).unwrap_or_default();
    for (place, byte) in input.iter_mut().skip(at).zip(from) {
        *place = *byte;
    }
}

fn piece_of(from: &[u8], random: &mut Random) -> Vec<u8> {
    let start = random.below(from.len() + 1);
    let end = (start + random.below(40)).min(from.len());
    from.get(start..end).unwrap_or_default().to_vec()
}

/// A message of an input.
struct Message {
    tag: u8,
    body: Vec<u8>,
}

/// One change to the messages of an input, whose lengths are made true again.
fn change_frames(input: &mut Vec<u8>, other: &[u8], material: &Material, random: &mut Random) {
    let (mut messages, rest) = messages_of(input);
    let at = random.below(messages.len());
    match random.below(8) {
        0 if !messages.is_empty() => {
            messages.remove(at);
        }
        1 if !messages.is_empty() => {
            let with = random.below(messages.len());
            messages.swap(at, with);
        }
        2 => {
            let (theirs, _) = messages_of(other);
            messages.extend(theirs.into_iter().skip(random.below(4)).take(3));
        }
        3 => {
            if let Some(message) = messages.get_mut(at) {
                message.tag = *random.pick(b"QPBDECSHFXdcfpRK23GHWIVvnNAt1sZT?\0").unwrap_or(&0);
            }
        }
        4 => {
            if let Some(Message { tag, body }) = messages.get(at) {
                let copy = Message {
                    tag: *tag,
                    body: body.clone(),
                };
                messages.insert(at, copy);
            }
        }
        _ => {
            if let Some(message) = messages.get_mut(at) {
                change(&mut message.body, other, material, random);
            }
        }
    }
    input.clear();
    for Message { tag, body } in &messages {
        input.push(*tag);
        let len = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        input.extend_from_slice(&len.to_be_bytes());
        input.extend_from_slice(body);
    }
    input.extend_from_slice(&rest);
}

fn messages_of(input: &[u8]) -> (Vec<Message>, Vec<u8>) {
    let mut messages = Vec::new();
    let mut rest = input;
    while let Scan::Frame { tag, len } = frame::scan(rest, usize::MAX) {
        let (whole, after) = rest.split_at(len);
        messages.push(Message {
            tag,
            body: frame::body(whole).to_vec(),
        });
        rest = after;
    }
    (messages, rest.to_vec())
}
