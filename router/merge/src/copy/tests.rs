//! Rows and keys out of COPY data. tests/postgres.rs compares with what a server wrote.

use super::*;
use crate::CopyError;
use proptest::prelude::*;

/// The rows of `data` cut into pieces of at most `step` bytes: their bytes and keys.
fn split_by(
    options: CopyOptions,
    key_column: usize,
    data: &[u8],
    step: usize,
) -> Result<Vec<(Vec<u8>, RowKey<'static>)>, CopyError> {
    let mut splitter = RowSplitter::new(options, key_column)?;
    let mut rows = Vec::new();
    let mut take = |row: CopyRow<'_>| {
        rows.push((row.bytes.to_vec(), owned(row.key)));
        Ok::<(), CopyError>(())
    };
    for chunk in data.chunks(step.max(1)) {
        splitter.feed(chunk, &mut take)?;
    }
    splitter.finish(&mut take)?;
    Ok(rows)
}

fn owned(key: RowKey<'_>) -> RowKey<'static> {
    match key {
        RowKey::Value(value) => RowKey::Value(value.into_owned().into()),
        RowKey::Header => RowKey::Header,
        RowKey::Null => RowKey::Null,
        RowKey::Missing => RowKey::Missing,
    }
}

/// The keys, after making sure that any cutting gives the same rows and that no byte of them is lost.
fn keys(options: &CopyOptions, key_column: usize, data: &str) -> Result<Vec<String>, CopyError> {
    let whole = split_by(options.clone(), key_column, data.as_bytes(), usize::MAX);
    for step in 1..8 {
        assert_eq!(
            split_by(options.clone(), key_column, data.as_bytes(), step),
            whole,
            "{data:?} by {step}"
        );
    }
    let whole = whole?;
    let bytes: Vec<u8> = whole.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    assert!(data.as_bytes().starts_with(&bytes), "{data:?}");
    let show = |key: &RowKey<'_>| match key {
        RowKey::Value(value) => format!("={}", String::from_utf8_lossy(value)),
        other => format!("{other:?}"),
    };
    Ok(whole.iter().map(|(_, key)| show(key)).collect())
}

fn csv() -> (CopyOptions, CsvOptions) {
    let options = CopyOptions::csv();
    match options.format {
        CopyFormat::Csv(csv) => (options, csv),
        CopyFormat::Text => panic!("CSV by name"),
    }
}

#[test]
fn text_rows_and_their_keys() {
    let text = CopyOptions::text();
    assert_eq!(keys(&text, 0, "1\ta\n2\tb\n").unwrap(), ["=1", "=2"]);
    assert_eq!(keys(&text, 1, "1\ta\n2\tb").unwrap(), ["=a", "=b"]);
    assert_eq!(
        keys(&text, 1, "1\t\\N\n2\n\n3\t\n").unwrap(),
        ["Null", "Missing", "Missing", "="]
    );
    assert_eq!(keys(&text, 0, "").unwrap(), Vec::<String>::new());
    // Escapes: of the delimiter, of line ends, by letter, octal and hexadecimal; and a lone last backslash.
    assert_eq!(keys(&text, 0, "a\\\tb\tx\n").unwrap(), ["=a\tb"]);
    assert_eq!(keys(&text, 1, "a\\\tb\tx\n").unwrap(), ["=x"]);
    assert_eq!(keys(&text, 0, "a\\\nb\nc\\nd\n").unwrap(), ["=a\nb", "=c\nd"]);
    assert_eq!(
        keys(&text, 0, "\\101\\x42\\x\\q\\\\\\1018\n").unwrap(),
        ["=ABxq\\A8"]
    );
    assert_eq!(keys(&text, 0, "a\\").unwrap(), ["=a"]);
    // An escaped N is a letter only where it is not the whole field.
    assert_eq!(keys(&text, 0, "\\Na\n\\N\n").unwrap(), ["=Na", "Null"]);
}

#[test]
fn the_end_marker_ends_the_data() {
    let text = CopyOptions::text();
    assert_eq!(keys(&text, 0, "1\n\\.\n2\n").unwrap(), ["=1"]);
    assert_eq!(keys(&text, 0, "1\n\\."), Err(CopyError::CorruptEndMarker));
    assert_eq!(keys(&text, 0, "1\r\n\\.\r\nrest\\.x").unwrap(), ["=1"]);
    assert_eq!(keys(&text, 0, "1\n\\.2\n"), Err(CopyError::CorruptEndMarker));
    assert_eq!(keys(&text, 0, "1\\.\n"), Err(CopyError::CorruptEndMarker));
    let (options, csv) = csv();
    assert_eq!(keys(&options, 0, "1\n\\.\n2\n").unwrap(), ["=1"]);
    assert_eq!(
        keys(&options, 0, "a\\.\n\\.b\n\"\n\\.\n\"\n\\.").unwrap(),
        ["=a\\.", "=\\.b", "=\n\\.\n", "=\\."]
    );
    let newer = CopyFormat::Csv(CsvOptions {
        end_marker: CsvEndMarker::IsData,
        ..csv
    });
    assert_eq!(
        keys(
            &CopyOptions {
                format: newer,
                ..options
            },
            0,
            "\\.\n2\n"
        )
        .unwrap(),
        ["=\\.", "=2"]
    );
}

#[test]
fn the_first_line_end_decides() {
    let text = CopyOptions::text();
    assert_eq!(keys(&text, 0, "1\r\n2\r\n").unwrap(), ["=1", "=2"]);
    assert_eq!(keys(&text, 0, "1\r2\r").unwrap(), ["=1", "=2"]);
    assert_eq!(keys(&text, 0, "1\r2").unwrap(), ["=1", "=2"]);
    let literal = |found| {
        Err(CopyError::MixedLineEnds {
            how: "literal",
            found,
        })
    };
    assert_eq!(keys(&text, 0, "1\n2\r3\n"), literal("carriage return"));
    assert_eq!(keys(&text, 0, "1\r\n2\n"), literal("newline"));
    assert_eq!(keys(&text, 0, "1\r\n2\r3"), literal("carriage return"));
    assert_eq!(keys(&text, 0, "1\r\n2\r"), literal("carriage return"));
    assert_eq!(keys(&text, 0, "1\r2\n"), literal("newline"));
    let unquoted = |found| {
        Err(CopyError::MixedLineEnds {
            how: "unquoted",
            found,
        })
    };
    assert_eq!(
        keys(&CopyOptions::csv(), 0, "1\n\"\r\"\n2\r\n"),
        unquoted("carriage return")
    );
    assert_eq!(
        keys(&CopyOptions::csv(), 0, "1\r\n\"\n\"\r\n2\n"),
        unquoted("newline")
    );
}

#[test]
fn csv_rows_and_their_keys() {
    let (options, csv) = csv();
    assert_eq!(keys(&options, 1, "1,a\n2,\"b,c\"\n").unwrap(), ["=a", "=b,c"]);
    assert_eq!(
        keys(&options, 0, "\"a\nb\",1\n\"c\"\"d\",2\ne\"f\"g,3\n").unwrap(),
        ["=a\nb", "=c\"d", "=efg"]
    );
    assert_eq!(
        keys(&options, 1, "1,\n2,\"\"\n3\n").unwrap(),
        ["Null", "=", "Missing"]
    );
    assert_eq!(keys(&options, 0, "1\n\"a\n").unwrap(), ["=1", "Missing"]);

    let backslash = CopyFormat::Csv(CsvOptions { escape: b'\\', ..csv });
    let backslash = CopyOptions {
        format: backslash,
        ..options.clone()
    };
    assert_eq!(
        keys(&backslash, 0, "\"a\\\"\n\\\\\",1\n\"b\\n\",2\n\\,3\n").unwrap(),
        ["=a\"\n\\", "=b\\n", "=\\"]
    );

    let force = |key_null| {
        let format = CopyFormat::Csv(CsvOptions { key_null, ..csv });
        CopyOptions {
            format,
            null: b"x".to_vec(),
            ..options.clone()
        }
    };
    assert_eq!(
        keys(&force(KeyNull::Unquoted), 0, "x\n\"x\"\n").unwrap(),
        ["Null", "=x"]
    );
    assert_eq!(
        keys(&force(KeyNull::AlsoQuoted), 0, "x\n\"x\"\n").unwrap(),
        ["Null", "Null"]
    );
    assert_eq!(
        keys(&force(KeyNull::Never), 0, "x\n\"x\"\n").unwrap(),
        ["=x", "=x"]
    );
}

#[test]
fn the_header_is_told_apart() {
    let text = CopyOptions {
        header: Header::Present,
        ..CopyOptions::text()
    };
    assert_eq!(keys(&text, 0, "id\n1\n").unwrap(), ["Header", "=1"]);
    let csv = CopyOptions {
        header: Header::Present,
        ..CopyOptions::csv()
    };
    assert_eq!(keys(&csv, 0, "\"i\nd\",x\n1,2\n").unwrap(), ["Header", "=1"]);
    assert_eq!(keys(&csv, 0, "").unwrap(), Vec::<String>::new());
    assert_eq!(keys(&csv, 0, "\"id\n1\n").unwrap(), ["Header"]);
}

#[test]
fn a_row_is_bounded_whether_it_comes_at_once_or_in_pieces() {
    let data = "x".repeat(33) + "\n";
    for step in [1, 7, 100] {
        let mut splitter = RowSplitter::new(CopyOptions::text(), 0)
            .unwrap()
            .with_max_row_bytes(32);
        let mut fed = Ok(());
        for chunk in data.as_bytes().chunks(step) {
            fed = fed.and_then(|()| splitter.feed(chunk, |_| Ok::<(), CopyError>(())));
        }
        assert_eq!(fed, Err(CopyError::RowTooLong { limit: 32 }), "by {step}");
    }
}

#[test]
fn a_quote_of_the_end_marker_is_refused() {
    let (options, csv) = csv();
    let format = CopyFormat::Csv(CsvOptions { quote: b'\\', ..csv });
    assert!(matches!(
        RowSplitter::new(CopyOptions { format, ..options }, 0),
        Err(CopyError::Unsupported(_))
    ));
}

fn all_options() -> Vec<CopyOptions> {
    let (options, csv) = csv();
    let escape = CopyFormat::Csv(CsvOptions { escape: b'\\', ..csv });
    let text = CopyOptions::text();
    vec![
        CopyOptions {
            delimiter: b'|',
            null: b"NULL".to_vec(),
            ..text.clone()
        },
        text,
        CopyOptions {
            format: escape,
            header: Header::Present,
            ..options.clone()
        },
        options,
    ]
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_rows(
        data in "([a-c\\\\\"\\.,\t|N0-7x]|\n|\r\n|\r){0,40}", step in 1_usize..10, column in 0_usize..3,
    ) {
        for options in all_options() {
            let whole = split_by(options.clone(), column, data.as_bytes(), usize::MAX);
            prop_assert_eq!(split_by(options, column, data.as_bytes(), step), whole);
        }
    }

    #[test]
    fn any_bytes_are_split_or_refused(data in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..50) {
        for options in all_options() {
            let mut splitter = RowSplitter::new(options, 1).unwrap().with_max_row_bytes(64);
            let mut given = 0;
            let mut failed = false;
            for chunk in data.chunks(step) {
                failed = failed || splitter.feed(chunk, |row| {
                    given += row.bytes.len();
                    assert!(row.bytes.len() <= 64);
                    Ok::<(), CopyError>(())
                }).is_err();
            }
            prop_assert!(given <= data.len());
        }
    }
}
