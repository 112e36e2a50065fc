//! What comes from the invalidation stream, from Redis, and from clients that carry a token.

use anyhow::{Result, ensure};
use coherence::{
    Applied, Entry, MAX_ENTRY_SHARDS, MAX_ENTRY_TAGS, MAX_TAGS, MAX_TOKEN_SHARDS, SessionPositions,
    ShardCoherence, StreamMessage, TagHash, Token, WallAnchor,
};
use store::Kept;
use topology::{Epoch, Lsn, Mono};
use xxhash_rust::xxh3::xxh3_64;

use crate::mutate::Shape;
use crate::target::{Target, Trace, seeds, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("stream-messages", stream_messages, messages)
        .words(NUMBERS)
        .weight(16)
        .memory(1024, 16),
    Target::new("stream", stream, streams)
        .words(NUMBERS)
        .weight(4)
        .memory(64 * 1024, 64),
    Target::new("entries", entries, headers)
        .words(NUMBERS)
        .weight(12)
        .memory(1024, 32),
    Target::new("kept", kept, values)
        .words(NUMBERS)
        .weight(12)
        .memory(1024, 32),
    Target::new("tokens", tokens, token_texts)
        .shape(Shape::Text)
        .words(&["rw1", "/", ":", "0", "1", "ffff", "ffffffffffffffff", "+"])
        .weight(8)
        .memory(1024, 32),
];

const NUMBERS: &[&str] = &["\0\0\0\0", "\0\0\0\x01", "\0\0\0\x02", "\0", "\x01", "\x02"];
const CLOCKS: WallAnchor = WallAnchor {
    mono: Mono(5_000_000_000),
    unix_millis: 1_700_000_000_000,
};

fn stream_messages(input: &[u8], trace: &mut Trace) -> Result<()> {
    let decoded = StreamMessage::decode(input);
    trace.took(1, &decoded);
    if let Ok(message) = decoded {
        trace.saw(variant(&message.kind()));
        ensure!(message.tags().len() <= MAX_TAGS && message.from() <= message.to());
        ensure!(
            message.encode() == input,
            "there is another encoding of {message:?}"
        );
    }
    Ok(())
}

/// Messages one after the other into a shard's state: its watermark never goes back within an epoch.
fn stream(input: &[u8], trace: &mut Trace) -> Result<()> {
    const CELLS: usize = 64;
    const LEN: usize = 46;
    let shard = ShardCoherence::new(CELLS);
    for bytes in input.chunks(LEN) {
        let Ok(message) = StreamMessage::decode(bytes) else {
            continue;
        };
        let before = (shard.view().epoch(), shard.view().watermark());
        let applied = shard.apply(&message);
        trace.saw(variant(&applied));
        let after = (shard.view().epoch(), shard.view().watermark());
        ensure!(
            after.0 >= before.0,
            "{applied:?} takes the epoch from {before:?} to {after:?}"
        );
        if before.0 == after.0 {
            ensure!(
                after.1 >= before.1,
                "{applied:?} takes the watermark from {before:?} to {after:?}"
            );
        }
        if matches!(applied, Applied::InOrder) {
            for tag in message.tags() {
                let newest = shard.view().newest_change(*tag);
                ensure!(
                    newest >= Some(message.to()),
                    "{tag:?} changed, the cell says {newest:?}"
                );
            }
        }
    }
    Ok(())
}

fn entries(input: &[u8], trace: &mut Trace) -> Result<()> {
    let decoded = Entry::decode(input, CLOCKS);
    trace.took(1, &decoded);
    let Ok((entry, rest)) = decoded else { return Ok(()) };
    ensure!(rest.len() < input.len() && entry.parts().len() <= MAX_ENTRY_SHARDS);
    ensure!(
        entry
            .parts()
            .iter()
            .all(|part| part.tags().len() <= MAX_ENTRY_TAGS)
    );
    let mut again = Vec::new();
    entry.encode_into(&mut again, CLOCKS);
    again.extend_from_slice(rest);
    // The deadline is the one field that may be cut to what a clock here can show.
    ensure!(again.len() == input.len() && again.get(9..) == input.get(9..));
    Ok(())
}

/// Redis values, with a true checksum in front of whatever follows.
fn kept(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut value = b"RWv1".to_vec();
    value.extend_from_slice(&xxh3_64(input).to_be_bytes());
    value.extend_from_slice(input);
    let decoded = Kept::decode(&value, CLOCKS);
    trace.took(1, &decoded);
    if let Ok(kept) = decoded {
        ensure!(kept.key().len() + kept.rows().len() < input.len());
    }
    // And one whose checksum is somebody else's.
    if let Some(last) = value.last_mut() {
        *last ^= 1;
    }
    ensure!(Kept::decode(&value, CLOCKS).is_err(), "a damaged value is taken");
    Ok(())
}

fn tokens(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let parsed = Token::parse(text, u64::MAX, u16::MAX);
    trace.took(1, &parsed);
    if let Ok(token) = parsed {
        ensure!(token.positions().count() <= MAX_TOKEN_SHARDS);
        let printed = token.to_string();
        ensure!(
            Token::parse(&printed, u64::MAX, u16::MAX).as_ref() == Ok(&token),
            "printed as {printed}"
        );
        let mut session = SessionPositions::new();
        session.adopt(&token, Mono(1));
    }
    Ok(())
}

fn messages() -> Vec<Vec<u8>> {
    let tags = vec![TagHash(5), TagHash(6)];
    let epoch = Epoch(0x1_0000_0002);
    [
        StreamMessage::transactions(epoch, Lsn(3), Lsn(9), tags),
        StreamMessage::heartbeat(epoch, Lsn(9), Lsn(10)),
    ]
    .into_iter()
    .flatten()
    .map(|message| message.encode())
    .collect()
}

/// Messages of one length, so that a stream can be cut into them again.
fn streams() -> Vec<Vec<u8>> {
    let message = |epoch, from, to, first| {
        let tags = vec![TagHash(first), TagHash(first + 1)];
        StreamMessage::transactions(Epoch(epoch), Lsn(from), Lsn(to), tags).map(|message| message.encode())
    };
    let epoch = 0x1_0000_0001;
    [
        vec![
            message(epoch, 1, 5, 1),
            message(epoch, 5, 9, 2),
            message(epoch, 9, 9, 3),
        ],
        vec![
            message(epoch, 1, 5, 1),
            message(epoch, 7, 9, 2),
            message(epoch + 1, 1, 2, 7),
        ],
        vec![
            message(epoch + 1, 1, 5, 1),
            message(epoch, 5, 9, 2),
            message(epoch + 1, 5, 6, 7),
        ],
    ]
    .into_iter()
    .map(|stream| stream.into_iter().flatten().collect::<Vec<_>>().concat())
    .collect()
}

/// Version, deadline, number of parts, and for each part shard, epoch, fill, tags.
fn headers() -> Vec<Vec<u8>> {
    let mut header = b"\x01\0\0\x01\x8b\xcf\xe5\x68\x64\0\0\0\x02".to_vec();
    for shard in [0_u8, 1] {
        header.extend([0, shard]);
        header.extend(0x1_0000_0001_u64.to_be_bytes());
        header.extend(77_u64.to_be_bytes());
        header.extend(2_u32.to_be_bytes());
        header.extend(5_u64.to_be_bytes());
        header.extend(6_u64.to_be_bytes());
    }
    header.extend(b"rows");
    vec![header]
}

fn values() -> Vec<Vec<u8>> {
    headers()
        .into_iter()
        .map(|header| [&b"\0\0\0\x03key"[..], &header].concat())
        .collect()
}

fn token_texts() -> Vec<Vec<u8>> {
    seeds([
        b"rw1/1",
        b"rw1/2/0:1:16B374D848/1:2:0",
        b"rw1/ffffffffffffffff/ffff:ffffffff:ffffffffffffffff",
    ])
}
