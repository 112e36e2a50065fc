//! COPY data that a server wrote, split again; and data that nobody wrote, given to the server and to the splitter.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use merge::CopyError;
use merge::copy::{
    CopyFormat, CopyOptions, CopyRow, CsvEndMarker, CsvOptions, Header, KeyNull, RowKey, RowSplitter,
};
use std::pin::pin;
use support::{Random, server};
use tokio_postgres::Client;

const ROWS: usize = 2_000;
const INPUTS: usize = 2_500;

/// Options as the statement has them and as the splitter takes them.
fn formats() -> Vec<(&'static str, CopyOptions)> {
    let (text, csv) = (CopyOptions::text(), CopyOptions::csv());
    let with = |quote, escape, key_null| {
        CopyFormat::Csv(CsvOptions {
            quote,
            escape,
            key_null,
            end_marker: CsvEndMarker::Ends,
        })
    };
    let other_csv = CopyOptions {
        format: with(b'\'', b'\\', KeyNull::Unquoted),
        delimiter: b'|',
        null: b"null".to_vec(),
        header: Header::Present,
    };
    vec![
        ("FORMAT text", text.clone()),
        (
            "FORMAT text, DELIMITER '|', NULL 'null', HEADER",
            CopyOptions {
                delimiter: b'|',
                null: b"null".to_vec(),
                header: Header::Present,
                ..text
            },
        ),
        ("FORMAT csv", csv.clone()),
        (
            "FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER '|', NULL 'null', HEADER",
            other_csv,
        ),
    ]
}

type Split = (Vec<u8>, Option<Option<Vec<u8>>>);

/// Rows with their keys: `None` for the header, then `None` for NULL.
fn split(options: &CopyOptions, column: usize, chunks: &[Bytes]) -> Result<Vec<Split>, CopyError> {
    let mut splitter = RowSplitter::new(options.clone(), column)?;
    let mut rows = Vec::new();
    let mut take = |row: CopyRow<'_>| {
        let key = match row.key {
            RowKey::Header => None,
            RowKey::Value(value) => Some(Some(value.into_owned())),
            RowKey::Null => Some(None),
            // Only data that the server refuses has none here.
            RowKey::Missing => Some(Some(b"missing".to_vec())),
        };
        rows.push((row.bytes.to_vec(), key));
        Ok::<(), CopyError>(())
    };
    for chunk in chunks {
        splitter.feed(chunk, &mut take)?;
    }
    splitter.finish(&mut take)?;
    Ok(rows)
}

async fn copy_out(client: &Client, sql: &str) -> Bytes {
    let mut stream = pin!(client.copy_out(sql).await.unwrap());
    let mut data = Vec::new();
    while let Some(chunk) = stream.next().await {
        data.extend_from_slice(&chunk.unwrap());
    }
    data.into()
}

async fn copy_in(client: &Client, sql: &str, data: Bytes) -> Result<u64, tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in(sql).await?);
    sink.send(data).await?;
    sink.finish().await
}

async fn texts(client: &Client, sql: &str) -> Vec<Option<Vec<u8>>> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| row.get::<_, Option<String>>(0).map(String::into_bytes))
        .collect()
}

#[tokio::test]
async fn what_a_server_wrote_is_split_and_taken_back() {
    const ALPHABET: [&str; 16] = [
        "a",
        "\\",
        ".",
        "\\.",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\"",
        "'",
        ",",
        "|",
        "\\N",
        "nul",
        "é漢",
        "\u{8}\u{b}",
    ];
    let (_server, client) = server("copy-split").await;
    client
        .batch_execute("CREATE TABLE t (id int, k text, x text)")
        .await
        .unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3)").await.unwrap();
    let mut random = Random(11);
    for id in 0..ROWS {
        let mut value = || (random.below(10) > 0).then(|| random.text(&ALPHABET, 6));
        client
            .execute(&insert, &[&(id as i32), &value(), &value()])
            .await
            .unwrap();
    }
    client
        .batch_execute("CREATE TABLE back (id int, k text, x text)")
        .await
        .unwrap();
    let expected = texts(&client, "SELECT k FROM t ORDER BY id").await;
    for (sql, options) in formats() {
        for force in ["", ", FORCE_QUOTE *"] {
            if !force.is_empty() && options.format == CopyFormat::Text {
                continue;
            }
            let data = copy_out(
                &client,
                &format!("COPY (SELECT * FROM t ORDER BY id) TO STDOUT ({sql}{force})"),
            )
            .await;
            let step = 1 + random.below(300);
            let chunks: Vec<_> = data.chunks(step).map(Bytes::copy_from_slice).collect();
            let rows = split(&options, 1, &chunks).unwrap();
            let keys: Vec<_> = rows.iter().filter_map(|(_, key)| key.clone()).collect();
            assert_eq!(keys, expected, "{sql}{force}");

            client.batch_execute("TRUNCATE back").await.unwrap();
            for shard in 0..2 {
                let of_shard = rows
                    .iter()
                    .enumerate()
                    .filter(|(at, (_, key))| key.is_none() || at % 2 == shard);
                let part: Vec<u8> = of_shard.flat_map(|(_, (bytes, _))| bytes.clone()).collect();
                copy_in(&client, &format!("COPY back FROM STDIN ({sql})"), part.into())
                    .await
                    .unwrap();
            }
            let differing = "SELECT count(*) FROM ((TABLE t EXCEPT ALL TABLE back) UNION ALL (TABLE back EXCEPT ALL TABLE t)) d";
            let differing: i64 = client.query_one(differing, &[]).await.unwrap().get(0);
            assert_eq!(differing, 0, "{sql}{force}");
        }
    }
}

/// Arbitrary input: where the server takes it, rows and keys are the same; where it finds line ends, quotes or the end
/// marker wrong, the splitter does too, as no single shard may see it.
#[tokio::test]
async fn what_nobody_wrote_is_read_as_the_server_reads_it() {
    const ALPHABET: [&str; 14] = [
        "a", "N", "\\", ".", "\n", "\n", "\r", "\"", "'", "1", "x4", "\\.\n", "null", "é",
    ];
    let (_server, client) = server("copy-arbitrary").await;
    client
        .batch_execute("CREATE TABLE t (n int GENERATED ALWAYS AS IDENTITY, k text)")
        .await
        .unwrap();
    let mut random = Random(13);
    let (mut taken, mut refused) = (0, 0);
    for (sql, options) in formats() {
        for _ in 0..INPUTS / 4 {
            let data = random.text(&ALPHABET, 14);
            client.batch_execute("TRUNCATE t").await.unwrap();
            let copy = format!("COPY t (k) FROM STDIN ({sql})");
            let copied = copy_in(&client, &copy, Bytes::from(data.clone())).await;
            let chunks: Vec<_> = data
                .as_bytes()
                .chunks(1 + random.below(5))
                .map(Bytes::copy_from_slice)
                .collect();
            let rows = split(&options, 0, &chunks);
            match copied {
                Ok(_) => {
                    taken += 1;
                    // An end marker after data on its line: PostgreSQL 15 drops the marker, 18 refuses it, we too.
                    if rows == Err(CopyError::CorruptEndMarker) {
                        continue;
                    }
                    let rows = rows.unwrap_or_else(|error| panic!("{data:?} ({sql}): {error}"));
                    let keys: Vec<_> = rows.into_iter().filter_map(|(_, key)| key).collect();
                    assert_eq!(
                        keys,
                        texts(&client, "SELECT k FROM t ORDER BY n").await,
                        "{data:?} ({sql})"
                    );
                }
                Err(error) => {
                    refused += 1;
                    let message = error
                        .as_db_error()
                        .map(|error| error.message().to_owned())
                        .unwrap_or_default();
                    let hidden_by_splitting = ["literal ", "unquoted ", "end-of-copy"];
                    if hidden_by_splitting.iter().any(|part| message.starts_with(part)) {
                        assert!(
                            rows.is_err(),
                            "{data:?} ({sql}) is taken, PostgreSQL says {message}"
                        );
                    }
                }
            }
        }
    }
    assert!(
        taken > INPUTS / 4 && refused > INPUTS / 20,
        "{taken} taken, {refused} refused"
    );
}
