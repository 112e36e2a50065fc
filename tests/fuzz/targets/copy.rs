//! COPY data cut into rows.

use anyhow::{Result, ensure};
use merge::CopyError;
use merge::copy::{CopyFormat, CopyOptions, CsvEndMarker, CsvOptions, Header, KeyNull, RowKey, RowSplitter};

use crate::mutate::Shape;
use crate::target::{Script, Target, Trace, seeds, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("copy-text", text, texts)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(12)
        .memory(4096, 64),
    Target::new("copy-csv", csv, csvs)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(12)
        .memory(4096, 64),
];

const WORDS: &[&str] = &[
    "\n", "\r", "\r\n", "\t", ",", "\\", "\\N", "\\.", "\\.\n", "\\x41", "\\101", "\\\\", "\"", "\"\"", "'",
    "NULL",
];

fn text(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let first = script.byte();
    let options = CopyOptions {
        format: CopyFormat::Text,
        delimiter: if first & 1 == 0 { b'\t' } else { b'|' },
        null: if first & 2 == 0 {
            b"\\N".to_vec()
        } else {
            Vec::new()
        },
        header: header(first),
    };
    split(&options, &mut script, trace)
}

fn csv(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let first = script.byte();
    let csv = CsvOptions {
        quote: if first & 1 == 0 { b'"' } else { b'\'' },
        escape: if first & 2 == 0 { b'"' } else { b'\\' },
        key_null: match first >> 3 & 3 {
            0 => KeyNull::Unquoted,
            1 => KeyNull::AlsoQuoted,
            _ => KeyNull::Never,
        },
        end_marker: if first & 32 == 0 {
            CsvEndMarker::Ends
        } else {
            CsvEndMarker::IsData
        },
    };
    let options = CopyOptions {
        format: CopyFormat::Csv(csv),
        delimiter: b',',
        null: if first & 64 == 0 {
            Vec::new()
        } else {
            b"NULL".to_vec()
        },
        header: header(first),
    };
    split(&options, &mut script, trace)
}

fn header(first: u8) -> Header {
    if first & 4 == 0 {
        Header::Absent
    } else {
        Header::Present
    }
}

/// A row as it was given.
#[derive(PartialEq, Eq, Debug)]
struct Row {
    len: usize,
    key: Option<Vec<u8>>,
    kind: u64,
}

/// Rows are the same however the data was cut, and together they are the data.
fn split(options: &CopyOptions, script: &mut Script<'_>, trace: &mut Trace) -> Result<()> {
    let (column, cut) = (script.below(4), 1 + script.below(16));
    let data = std::mem::replace(script, Script::new(&[])).rest();
    let (whole, whole_end) = rows(options, column, data.len().max(1), data)?;
    let (pieces, pieces_end) = rows(options, column, cut, data)?;
    ensure!(whole == pieces, "cut by {cut}: {pieces:?} instead of {whole:?}");
    ensure!(
        whole_end == pieces_end,
        "cut by {cut}: {pieces_end:?} instead of {whole_end:?}"
    );
    trace.took(1, &whole_end);
    for row in &whole {
        trace.saw(row.kind);
    }
    let given: usize = whole.iter().map(|row| row.len).sum();
    ensure!(given <= data.len());
    if matches!(whole_end, Ok(false)) {
        ensure!(given == data.len(), "{given} of {} bytes came out", data.len());
    }
    Ok(())
}

type End = std::result::Result<bool, CopyError>;

fn rows(options: &CopyOptions, column: usize, cut: usize, data: &[u8]) -> Result<(Vec<Row>, End)> {
    let mut splitter = RowSplitter::new(options.clone(), column)?;
    let (mut rows, mut place, mut misplaced) = (Vec::new(), 0, false);
    let mut take = |row: merge::copy::CopyRow<'_>| {
        misplaced |= data.get(place..place + row.bytes.len()) != Some(row.bytes);
        place += row.bytes.len();
        let kind = variant(&row.key);
        let key = match row.key {
            RowKey::Value(value) => Some(value.into_owned()),
            RowKey::Header | RowKey::Null | RowKey::Missing => None,
        };
        rows.push(Row {
            len: row.bytes.len(),
            key,
            kind,
        });
        Ok::<(), CopyError>(())
    };
    let fed = data
        .chunks(cut)
        .try_for_each(|chunk| splitter.feed(chunk, &mut take));
    let end = fed.and_then(|()| splitter.finish(&mut take));
    let end = end.map(|()| splitter.has_ended());
    ensure!(!misplaced, "a row holds other bytes than came");
    Ok((rows, end))
}

fn texts() -> Vec<Vec<u8>> {
    seeds([
        b"\0\0\x051\tone\n2\ttwo\n",
        b"\0\x01\x031\t\\N\r\n2\ta\\tb\\x41\r\n\\.\r\n",
        b"\x05\0\x02k|v\n1|\\\n|x\n",
        b"\x02\x01\0\\101\t\t\r3\t\\\\.\r",
    ])
}

fn csvs() -> Vec<Vec<u8>> {
    seeds([
        b"\0\0\x051,one\n2,\"two\nlines\"\n",
        b"\x04\x01\x03k,v\r\n1,\"a\"\"b\"\r\n\\.\r\n",
        b"\x23\x01\x02'it\\'s',\\.\n\\.\n",
        b"\x58\0\x02NULL,\"NULL\"\n\"\",\n\"open",
    ])
}
