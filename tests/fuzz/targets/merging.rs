//! Rows of several shards merged into one answer.

use anyhow::{Result, ensure};
use bytes::Bytes;
use merge::{
    Aggregate, ColumnType, MAX_ROWS_HELD, MergeError, MergeKind, MergeSpec, MergeStep, Merger, OrderKey,
};
use wire::Format;
use wire::backend::DataRow;
use wire::frame;

use crate::target::{Script, Target, Trace, variant};

pub(crate) const TARGETS: &[Target] = &[Target::new("merge", merge, scripts)
    .words(WORDS)
    .weight(16)
    .memory(16 * 1024, 256)];

const WORDS: &[&str] = &[
    "2024-02-29",
    "0001-01-01 BC",
    "infinity",
    "-infinity",
    "NaN",
    "1e400",
    "-0",
    "12:00:00",
    "+14",
    ".5",
    "t",
    "f",
    "2024-01-01 12:00:00.5+00",
    "\\x00ff",
    "00000000-0000-0000-0000-000000000000",
    "9223372036854775807",
    "0.0001",
    "1234567890123456789012345678901234567890.12345",
];

const TYPES: [ColumnType; 14] = [
    ColumnType::Bool,
    ColumnType::Int2,
    ColumnType::Int4,
    ColumnType::Int8,
    ColumnType::Numeric,
    ColumnType::Float4,
    ColumnType::Float8,
    ColumnType::TextByBytes,
    ColumnType::BpcharByBytes,
    ColumnType::Bytea,
    ColumnType::Uuid,
    ColumnType::Date,
    ColumnType::Timestamp,
    ColumnType::TimestampTz,
];

fn spec(script: &mut Script<'_>) -> MergeSpec {
    let one = |script: &mut Script<'_>| {
        TYPES
            .get(script.below(TYPES.len()))
            .copied()
            .unwrap_or(ColumnType::Bool)
    };
    let flags = script.byte();
    let count = script.below(3);
    let kind = if flags & 1 == 0 {
        let key = |column| {
            let column_type = one(script);
            OrderKey {
                column,
                column_type,
                descending: flags & 2 != 0,
                nulls_first: flags & 4 != 0,
            }
        };
        MergeKind::Rows {
            order: (0..count).map(key).collect(),
        }
    } else {
        let aggregate = |_| match script.below(4) {
            0 => Aggregate::Count,
            1 => Aggregate::Sum(one(script)),
            2 => Aggregate::Min(one(script)),
            _ => Aggregate::Max(one(script)),
        };
        MergeKind::Aggregates((0..=count).map(aggregate).collect())
    };
    MergeSpec {
        kind,
        offset: u64::from(flags >> 3 & 1),
        limit: (flags & 16 != 0).then_some(2),
        hidden_columns: usize::from(flags >> 5 & 1),
    }
}

/// Rows of any shape, pushed and asked for in any order.
fn merge(input: &[u8], trace: &mut Trace) -> Result<()> {
    const STREAMS: usize = 3;
    let mut script = Script::new(input);
    let spec = spec(&mut script);
    let formats = match script.below(3) {
        0 => vec![],
        1 => vec![Format::Binary],
        _ => vec![Format::Text, Format::Binary],
    };
    let merger = Merger::new(&spec, &formats, STREAMS);
    trace.took(1, &merger);
    let Ok(mut merger) = merger else { return Ok(()) };
    let mut pushed = 0_u64;
    while !script.is_over() {
        let op = script.below(8);
        let stream = script.below(STREAMS + 1);
        let result: Result<(), MergeError> = match op {
            0 => merger.shard_done(stream),
            1 => merger.next_row().map(|step| trace.saw(variant(&step))),
            2 => push(&mut merger, stream, script.bytes(48), &mut pushed),
            _ => {
                let body = row(&mut script);
                push(&mut merger, stream, &body, &mut pushed)
            }
        };
        trace.took(op as u64, &result);
        ensure!(pushed <= (MAX_ROWS_HELD * STREAMS) as u64 + merger.rows_given() + spec.offset + 4096);
        if result.is_err() {
            return Ok(());
        }
    }
    finish(merger, pushed, trace)
}

/// Ends every stream and takes what is left: not more than came.
fn finish(mut merger: Merger, pushed: u64, trace: &mut Trace) -> Result<()> {
    for stream in 0..3 {
        if merger.shard_done(stream).is_err() {
            return Ok(());
        }
    }
    for _ in 0..=pushed + 1 {
        let step = merger.next_row();
        trace.took(9, &step);
        match step {
            Ok(MergeStep::Row(body)) => {
                // What was taken as a row is one; a row that nobody had to look into may be anything.
                trace.took(10, &DataRow::decode(&body));
            }
            Ok(MergeStep::Need(stream)) => anyhow::bail!("stream {stream} is done and still needed"),
            Ok(MergeStep::Done) => return Ok(()),
            Err(_) => return Ok(()),
        }
    }
    anyhow::bail!("more rows than {pushed} come out")
}

fn push(merger: &mut Merger, stream: usize, body: &[u8], pushed: &mut u64) -> Result<(), MergeError> {
    if !merger.has_room(stream) {
        return Ok(());
    }
    *pushed += 1;
    merger.push_row(stream, Bytes::copy_from_slice(body))
}

/// The body of a row whose layout is right.
fn row(script: &mut Script<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let columns = 1 + script.below(3);
    let values: Vec<Option<&[u8]>> = (0..columns)
        .map(|_| match script.byte() {
            255 => None,
            len => Some(script.bytes(usize::from(len % 40))),
        })
        .collect();
    DataRow::encode(&mut out, values.into_iter());
    frame::body(&out).to_vec()
}

fn scripts() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for kind in 0..TYPES.len() as u8 {
        for (flags, texts) in [
            (0_u8, [&b"1"[..], b"2024-01-01 00:00:00+00", b"1.50"]),
            (6, [&b"f"[..], b"2024-01-01", b"NaN"]),
            (48, [&b"\0\0\0\x01"[..], b"\\x6162", b"-5"]),
        ] {
            let mut script = vec![flags, 1, kind, flags / 48];
            for (stream, text) in texts.iter().enumerate() {
                script.extend([3, stream as u8, 1, text.len() as u8]);
                script.extend_from_slice(text);
                script.push(255);
            }
            all.push(script);
        }
        let mut aggregates = vec![1, 1, 1, kind, 2, kind, 0];
        for (stream, text) in [&b"12.5"[..], b"7", b"2024-01-01"].iter().enumerate() {
            aggregates.extend([3, stream as u8, 1, text.len() as u8]);
            aggregates.extend_from_slice(text);
            aggregates.push(text.len() as u8);
            aggregates.extend_from_slice(text);
        }
        all.push(aggregates);
    }
    all
}
