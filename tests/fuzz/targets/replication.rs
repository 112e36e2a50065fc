//! What a primary's write-ahead log says, and the positions and snapshots that servers name.

use std::str::FromStr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use changes::pgoutput::{MAX_COLUMNS, Message, OldRow, Tuple};
use coherence::XidSnapshot;
use topology::Lsn;

use crate::mutate::Shape;
use crate::target::{Target, Trace, seeds, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("pgoutput", pgoutput, messages)
        .words(&[
            "\0",
            "n",
            "u",
            "t\0\0\0\x01a",
            "N",
            "K",
            "O",
            "public\0",
            "pg_catalog\0",
        ])
        .weight(16)
        .memory(512, 64),
    Target::new("positions", positions, texts)
        .shape(Shape::Text)
        .words(&["/", ":", ",", "0", "FFFFFFFF", "+", "-", "18446744073709551615"])
        .weight(8)
        .memory(512, 32),
    Target::new("incoming", incoming, stream_messages)
        .weight(4)
        .memory(512, 80),
    Target::new("catalog-rows", catalog_rows, relations)
        .shape(Shape::Text)
        .words(&[
            "{",
            "}",
            "\"",
            "\\",
            ",",
            "|",
            "NULL",
            "{a,\"b c\"}",
            "4294967295",
        ])
        .weight(6)
        .memory(512, 64),
    Target::new("probe-answers", probe_answers, answers)
        .shape(Shape::Text)
        .words(&[
            "|",
            "t",
            "f",
            "NULL",
            "0/0",
            "-1",
            " ",
            "8192",
            "000000010000000000000003",
            "\u{20ac}",
        ])
        .weight(6)
        .memory(1024, 64),
];

fn pgoutput(input: &[u8], trace: &mut Trace) -> Result<()> {
    let decoded = Message::decode(input);
    trace.took(1, &decoded);
    let Ok(message) = decoded else { return Ok(()) };
    trace.saw(variant(&message));
    match &message {
        Message::Relation(relation) => {
            ensure!(relation.columns.len() <= MAX_COLUMNS && !relation.schema.is_empty());
        }
        Message::Insert { new, .. } => tuple(new, input)?,
        Message::Update { old, new, .. } => {
            old_row(old, input)?;
            tuple(new, input)?;
        }
        Message::Delete { old, .. } => old_row(old, input)?,
        Message::Truncate { relations } => ensure!(relations.len() * 4 <= input.len()),
        Message::Logical { content, .. } => ensure!(content.len() < input.len()),
        Message::Begin { .. } | Message::Commit { .. } | Message::Origin { .. } | Message::Type { .. } => {}
    }
    Ok(())
}

fn old_row(old: &OldRow<'_>, input: &[u8]) -> Result<()> {
    match old {
        OldRow::Unchanged => Ok(()),
        OldRow::Key(row) | OldRow::Full(row) => tuple(row, input),
    }
}

fn tuple(row: &Tuple<'_>, input: &[u8]) -> Result<()> {
    ensure!(row.len() <= MAX_COLUMNS && row.len() <= input.len());
    ensure!(row.value(row.len()).is_none());
    ensure!(row.is_empty() || row.value(row.len() - 1).is_some());
    Ok(())
}

fn messages() -> Vec<Vec<u8>> {
    seeds([
        b"B\0\0\0\0\x01\0\0\x10\0\x02\0\0\0\0\0\0\0\0\x03\x09",
        b"C\0\0\0\0\0\x01\0\0\x10\0\0\0\0\x01\0\0\x20\0\x02\0\0\0\0\0\0",
        b"O\0\0\0\0\x01\0\0\x10origin\0",
        b"R\0\0\x40\0public\0users\0d\0\x02\x01user_id\0\0\0\0\x14\xff\xff\xff\xff\0name\0\0\0\0\x19\xff\xff\xff\xff",
        b"Y\0\0\x40\x01public\0mood\0",
        b"I\0\0\x40\0N\0\x02t\0\0\0\x0242t\0\0\0\x03Zoe",
        b"U\0\0\x40\0N\0\x02t\0\0\0\x0242u",
        b"U\0\0\x40\0K\0\x02t\0\0\0\x0241nN\0\x02t\0\0\0\x0242u",
        b"U\0\0\x40\0O\0\x01nN\0\x01t\0\0\0\0",
        b"D\0\0\x40\0K\0\x02t\0\0\0\x0242n",
        b"T\0\0\0\x02\x01\0\0\x40\0\0\0\x40\x01",
        b"M\x01\0\0\0\0\x01\0\0\x10ringway\0\0\0\0\x05hello",
    ])
}

/// The stream that the log comes in: what it holds is the rest of the message, nothing copied.
fn incoming(input: &[u8], trace: &mut Trace) -> Result<()> {
    let read = changes::fuzzing::incoming(Bytes::copy_from_slice(input));
    trace.took(1, &read);
    if let Ok(Some(change)) = read {
        ensure!(input.first() == Some(&b'w') && input.ends_with(&change) && change.len() + 25 == input.len());
        trace.took(2, &Message::decode(&change));
    }
    Ok(())
}

fn stream_messages() -> Vec<Vec<u8>> {
    let change = [&b"w"[..], &[0; 24], b"I\0\0\x40\0N\0\x01t\0\0\0\x0242"].concat();
    let keepalive = [&b"k"[..], &[0; 16], &[1]].concat();
    vec![change, keepalive, b"w\0\0".to_vec()]
}

/// The values of a row, as a text tells them: between bars, `NULL` for none.
fn values(text: &str) -> Vec<Option<String>> {
    let value = |value: &str| (value != "NULL").then(|| value.to_owned());
    text.split('|').map(value).collect()
}

/// Rows of the log's own catalog, and the arrays in them.
fn catalog_rows(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let mut values = text.split('|');
    let mut next = || values.next().unwrap_or_default();
    let row = [next(), next(), next(), next(), next(), next()];
    trace.took(1, &changes::fuzzing::relation(row));
    for value in row {
        let elements = changes::fuzzing::array(value);
        trace.saw(
            2 + elements
                .as_ref()
                .map_or(0, |elements| elements.len().min(8) as u64),
        );
        if let Some(elements) = elements {
            let quoted = |element: &String| element.replace('\\', "\\\\").replace('"', "\\\"");
            let printed: Vec<String> = elements.iter().map(|e| format!("\"{}\"", quoted(e))).collect();
            let again = changes::fuzzing::array(&format!("{{{}}}", printed.join(",")));
            ensure!(
                again.as_ref() == Some(&elements),
                "{elements:?} is read as {again:?}"
            );
        }
    }
    Ok(())
}

fn relations() -> Vec<Vec<u8>> {
    seeds([
        b"16384|public|users|{user_id}|{}|{}",
        b"16385|public|part|{a,\"b c\"}|{\"x\\\"y\"}|{16384,16386}",
    ])
}

/// What a probed server says of itself.
fn probe_answers(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let row = values(text);
    let answer = health::fuzzing::answer(&row);
    trace.saw(
        answer
            .as_ref()
            .map_or_else(|error| error.to_string().len() as u64, |_| 1),
    );
    if let Ok(timeline) = &answer {
        ensure!(row.len() == 7 && timeline.is_some() == row.get(2).is_some_and(Option::is_some));
    }
    trace.took(2, &health::fuzzing::replay_timeline(&row));
    Ok(())
}

fn answers() -> Vec<Vec<u8>> {
    seeds([
        b"f|0/3000148|0000000A0000000000000003 328 8192|-2|17|t|42949672963",
        b"t|NULL|NULL|5|17|f|NULL",
        b"t|0/5|NULL|5|17|f|NULL",
        b"f|0/3004018|000000010000000000000003 16408 8192|5|17|t|1",
        b"5|12|0/1|NULL",
    ])
}

fn positions(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let lsn = Lsn::from_str(text);
    trace.took(1, &lsn);
    if let Ok(lsn) = lsn {
        ensure!(Lsn::from_str(&lsn.to_string()) == Ok(lsn));
    }
    let snapshot = XidSnapshot::from_str(text);
    trace.took(2, &snapshot);
    Ok(())
}

fn texts() -> Vec<Vec<u8>> {
    seeds([
        b"16/B374D848",
        b"0/0",
        b"FFFFFFFF/FFFFFFFF",
        b"10:20:10,14,15",
        b"1:1:",
        b"7:9:8",
    ])
}
