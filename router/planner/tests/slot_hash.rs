//! The slot hash and the canonical texts against a running PostgreSQL server: 100,000 random keys of every type.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use cluster::{Postgres, PostgresSpec};
use futures_util::SinkExt;
use planner::{KeyValue, slot_of, slot_of_null};
use std::fmt::Write;
use std::pin::pin;
use tokio_postgres::Client;
use topology::{KeyType, SLOT_COUNT};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KEYS: u64 = 100_000;
const SEED: u64 = 20_240_229;
/// Rows of COPY data sent at once.
const BATCH: usize = 5_000;

/// Random numbers that are the same in every run.
struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Numbers of every magnitude, not only the largest ones.
    fn number(&mut self) -> i64 {
        (self.next() as i64) >> self.below(64)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.below(200) == 0 {
            self.below(3000)
        } else {
            self.below(40)
        };
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        const ALPHABET: [char; 16] = [
            'a',
            'Z',
            '0',
            ' ',
            '\t',
            '\n',
            '\r',
            '\\',
            '\'',
            '"',
            '\u{1}',
            'ß',
            'é',
            '漢',
            '🦀',
            '\u{10FFFF}',
        ];
        self.bytes()
            .iter()
            .map(|byte| ALPHABET[usize::from(byte % 16)])
            .collect()
    }
}

/// A column type of the server, its key type, and a value of it in binary format.
struct Kind {
    sql_type: &'static str,
    key_type: KeyType,
    edges: Vec<Vec<u8>>,
    random: fn(&mut Random) -> Vec<u8>,
}

fn int4(numbers: &[i32]) -> Vec<Vec<u8>> {
    numbers
        .iter()
        .map(|number| number.to_be_bytes().to_vec())
        .collect()
}

fn int8(numbers: &[i64]) -> Vec<Vec<u8>> {
    numbers
        .iter()
        .map(|number| number.to_be_bytes().to_vec())
        .collect()
}

fn numbers() -> Vec<Kind> {
    vec![
        Kind {
            sql_type: "int2",
            key_type: KeyType::Int2,
            edges: [i16::MIN, -1, 0, 1, i16::MAX]
                .map(|number| number.to_be_bytes().to_vec())
                .to_vec(),
            random: |random| (random.number() as i16).to_be_bytes().to_vec(),
        },
        Kind {
            sql_type: "int4",
            key_type: KeyType::Int4,
            edges: int4(&[i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX]),
            random: |random| (random.number() as i32).to_be_bytes().to_vec(),
        },
        Kind {
            sql_type: "int8",
            key_type: KeyType::Int8,
            edges: int8(&[
                i64::MIN,
                i64::MIN + 1,
                -(1 << 32),
                -1,
                0,
                1,
                (1 << 32) - 1,
                1 << 32,
                i64::MAX,
            ]),
            random: |random| random.number().to_be_bytes().to_vec(),
        },
    ]
}

fn strings() -> Vec<Kind> {
    let texts = [
        "",
        " ",
        "a",
        "12345678901",
        "123456789012",
        "1234567890123",
        "\\N",
        "größe",
        "e\u{301}",
    ];
    let long = "x".repeat(100_000);
    let texts: Vec<_> = texts
        .iter()
        .chain([&long.as_str()])
        .map(|text| text.as_bytes().to_vec())
        .collect();
    vec![
        Kind {
            sql_type: "text",
            key_type: KeyType::Text,
            edges: texts.clone(),
            random: |random| random.text().into_bytes(),
        },
        Kind {
            sql_type: "varchar",
            key_type: KeyType::Text,
            edges: texts.clone(),
            random: |random| random.text().into_bytes(),
        },
        Kind {
            sql_type: "uuid",
            key_type: KeyType::Uuid,
            edges: vec![vec![0; 16], vec![0xff; 16]],
            random: |random| [random.next().to_be_bytes(), random.next().to_be_bytes()].concat(),
        },
        Kind {
            sql_type: "bytea",
            key_type: KeyType::Bytea,
            edges: texts,
            random: Random::bytes,
        },
    ]
}

fn times() -> Vec<Kind> {
    vec![
        Kind {
            sql_type: "date",
            key_type: KeyType::Date,
            edges: int4(&[
                i32::MIN,
                i32::MAX,
                -2_451_545,
                -730_120,
                -730_119,
                -1,
                0,
                59,
                2_145_031_948,
            ]),
            random: |random| {
                let range = if random.below(2) == 0 {
                    2_147_483_493
                } else {
                    2_500_000
                };
                (random.below(range) as i32 - 2_451_545).to_be_bytes().to_vec()
            },
        },
        Kind {
            sql_type: "timestamptz",
            key_type: KeyType::TimestampTz,
            edges: int8(&[
                i64::MIN,
                i64::MAX,
                -211_813_488_000_000_000,
                -63_082_281_600_000_001,
                -63_082_281_600_000_000,
                -1,
                0,
                9_223_371_331_199_999_999,
            ]),
            random: |random| {
                let micros = random.below(9_223_371_331_200_000_000) as i64 - 211_813_488_000_000_000;
                // Whole seconds and milliseconds print differently.
                let unit = [1, 1_000, 1_000_000][random.below(3) as usize];
                (micros / unit * unit).to_be_bytes().to_vec()
            },
        },
    ]
}

/// One line of COPY's text format: canonical text, the same as the key, the slot.
fn put_line(out: &mut String, canonical: &str, slot: u16) {
    let escaped = canonical
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t");
    writeln!(out, "{escaped}\t{escaped}\t{slot}").unwrap();
}

async fn load(client: &Client, kind: &Kind) -> u64 {
    let mut random = Random { seed: SEED, drawn: 0 };
    let sink = client.copy_in("COPY keys FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    let mut remaining = KEYS;
    let mut edges = kind.edges.iter().cloned();
    while remaining > 0 {
        let mut lines = String::new();
        for _ in 0..BATCH.min(remaining as usize) {
            let binary = edges.next().unwrap_or_else(|| (kind.random)(&mut random));
            let key = KeyValue::from_binary(kind.key_type, &binary).unwrap();
            let canonical = key.canonical_text();
            let from_text = KeyValue::from_text(kind.key_type, canonical.as_bytes()).unwrap();
            assert_eq!(from_text, key, "{}", kind.sql_type);
            put_line(&mut lines, &canonical, slot_of(&key).number());
            remaining -= 1;
        }
        sink.send(Bytes::from(lines)).await.unwrap();
    }
    sink.finish().await.unwrap()
}

async fn check(client: &Client, kind: &Kind) {
    let sql_type = kind.sql_type;
    let tables = format!(
        "DROP TABLE IF EXISTS keys, parent;
         CREATE TABLE parent (k {sql_type}) PARTITION BY HASH (k);
         CREATE UNLOGGED TABLE keys (canonical text, k {sql_type}, slot int)"
    );
    client.batch_execute(&tables).await.unwrap();
    assert_eq!(load(client, kind).await, KEYS);
    let differing = format!(
        "SELECT canonical, k::text, slot FROM keys
         WHERE NOT satisfies_hash_partition('parent'::regclass, {SLOT_COUNT}, slot, k) OR canonical <> k::text
         LIMIT 1"
    );
    if let Some(row) = client.query_opt(&differing, &[]).await.unwrap() {
        let (ours, theirs, slot): (String, String, i32) = (row.get(0), row.get(1), row.get(2));
        panic!("{sql_type}: {ours:?} ({theirs:?} on the server) is not in slot {slot}");
    }
    let all = "SELECT count(*), count(DISTINCT slot) FROM keys";
    let row = client.query_one(all, &[]).await.unwrap();
    let (keys, slots): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(keys as u64, KEYS);
    assert!(
        slots > 1000,
        "{sql_type}: only {slots} slots: the keys are not spread"
    );
    let null = format!(
        "SELECT satisfies_hash_partition('parent'::regclass, {SLOT_COUNT}, {}, NULL::{sql_type})",
        slot_of_null()
    );
    assert!(
        client.query_one(&null, &[]).await.unwrap().get::<_, bool>(0),
        "{sql_type} NULL"
    );
}

#[tokio::test]
async fn slots_are_those_of_satisfies_hash_partition() {
    let server = Postgres::start(PostgresSpec::new("slot-hash")).await.unwrap();
    let client = server.connect(PostgresSpec::SUPERUSER, "postgres").await.unwrap();
    client
        .batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, DMY'")
        .await
        .unwrap();
    for kind in numbers().into_iter().chain(strings()).chain(times()) {
        check(&client, &kind).await;
    }
}
