//! Merged answers against those of one PostgreSQL: the same rows whole, and cut into three shards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use merge::{Aggregate, ColumnType, MergeKind, MergeSpec, MergeStep, Merger, OrderKey};
use std::error::Error;
use support::{Random, server};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};
use wire::Format;
use wire::backend::DataRow;

const ROWS: usize = 3_000;
const SHARDS: usize = 3;

const COLUMNS: [(&str, &str, ColumnType); 15] = [
    ("b", "bool", ColumnType::Bool),
    ("i2", "int2", ColumnType::Int2),
    ("i4", "int4", ColumnType::Int4),
    ("i8", "int8", ColumnType::Int8),
    ("n", "numeric", ColumnType::Numeric),
    ("n2", "numeric(12,2)", ColumnType::Numeric),
    ("f4", "float4", ColumnType::Float4),
    ("f8", "float8", ColumnType::Float8),
    ("t", "text COLLATE \"C\"", ColumnType::TextByBytes),
    ("c", "char(6) COLLATE \"C\"", ColumnType::BpcharByBytes),
    ("y", "bytea", ColumnType::Bytea),
    ("u", "uuid", ColumnType::Uuid),
    ("d", "date", ColumnType::Date),
    ("ts", "timestamp", ColumnType::Timestamp),
    ("tz", "timestamptz", ColumnType::TimestampTz),
];

/// The value as the server sent it.
struct Raw(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(raw.to_vec())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn body(values: &[Option<Vec<u8>>]) -> Bytes {
    let mut frame = Vec::new();
    DataRow::encode(&mut frame, values.iter().map(Option::as_deref));
    Bytes::from(frame).slice(5..)
}

/// The bodies of the DataRows that answer `sql`.
async fn rows(client: &Client, format: Format, sql: &str) -> Vec<Bytes> {
    match format {
        Format::Binary => {
            let rows = client.query(sql, &[]).await.unwrap();
            let values =
                |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.get::<_, Raw>(at).0).collect();
            rows.iter()
                .map(|row| body(&Vec::from_iter::<Vec<_>>(values(row))))
                .collect()
        }
        Format::Text => {
            let mut bodies = Vec::new();
            for message in client.simple_query(sql).await.unwrap() {
                if let SimpleQueryMessage::Row(row) = message {
                    let value = |at| row.get(at).map(|text: &str| text.as_bytes().to_vec());
                    bodies.push(body(&(0..row.len()).map(value).collect::<Vec<_>>()));
                }
            }
            bodies
        }
    }
}

/// The merged answer of the shards' answers, taken exactly as the merger asks for them.
fn merge_all(spec: &MergeSpec, format: Format, shards: Vec<Vec<Bytes>>) -> Vec<Bytes> {
    let mut merger = Merger::new(spec, &[format], shards.len()).unwrap();
    let mut shards: Vec<_> = shards.into_iter().map(Vec::into_iter).collect();
    let mut answer = Vec::new();
    loop {
        match merger.next_row().unwrap() {
            MergeStep::Row(body) => answer.push(body),
            MergeStep::Done => return answer,
            MergeStep::Need(stream) => match shards[stream].next() {
                Some(body) => merger.push_row(stream, body).unwrap(),
                None => merger.shard_done(stream).unwrap(),
            },
        }
    }
}

/// The same statement on one server and, `WHERE shard = n`, on its parts.
async fn check(
    client: &Client,
    spec: &MergeSpec,
    format: Format,
    whole: &str,
    part: impl Fn(usize) -> String,
) {
    let expected = rows(client, format, whole).await;
    let mut shards = Vec::new();
    for shard in 0..SHARDS {
        shards.push(rows(client, format, &part(shard)).await);
    }
    let merged = merge_all(spec, format, shards);
    assert_eq!(merged.len(), expected.len(), "{whole} in {format:?}");
    for (at, (merged, expected)) in merged.iter().zip(&expected).enumerate() {
        assert_eq!(merged, expected, "{whole} in {format:?}, row {at}");
    }
}

fn literal(random: &mut Random, column: &str) -> String {
    if random.below(15) == 0 {
        return "NULL".to_owned();
    }
    let number = (random.next() as i64) >> random.below(64);
    let text = match column {
        "b" => (number % 2 == 0).to_string(),
        "i2" => (number as i16).to_string(),
        "i4" => (number as i32).to_string(),
        "i8" => number.to_string(),
        "n" if random.below(40) == 0 => random
            .pick(&["NaN", "Infinity", "-Infinity", "0", "1e300", "1e-300"])
            .to_string(),
        "n" => {
            let digits = random.text(&["0", "9", "12", "5", "0000", "9999"], 30);
            let fraction = random.text(&["0", "9", "12", "5", "0000", "9999"], 30);
            format!("{}{digits}0.{fraction}7", if number < 0 { "-" } else { "" })
        }
        "n2" => format!("{}.{:02}", number % 1_000_000_000, number.unsigned_abs() % 100),
        "f4" | "f8" if random.below(10) == 0 => random
            .pick(&["NaN", "Infinity", "-Infinity", "0", "-0"])
            .to_string(),
        "f4" => (f32::from_bits(number as u32 & 0x3fff_ffff) * if number % 2 == 0 { 1.0 } else { -1.0 })
            .to_string(),
        "f8" => (number as f64 / 1000.0).to_string(),
        "t" | "c" => {
            let text = random.text(&["a", "B", " ", "é", "漢", "\u{1}", "🦀"], 6);
            text.chars().take(6).collect()
        }
        "y" => format!("\\x{}", random.text(&["00", "ff", "5c", "61", "0a"], 6)),
        "u" => format!("{:016x}{:016x}", random.next(), random.next() >> random.below(64)),
        "d" | "ts" | "tz" if random.below(20) == 0 => random.pick(&["infinity", "-infinity"]).to_string(),
        "d" => format!("{}::int + date '2000-01-01'", number % 700_000),
        _ => format!("timestamp '2000-01-01' + {} * interval '1 us'", number >> 8),
    };
    match column {
        "d" | "ts" if text.contains("2000") => text,
        "tz" if text.contains("2000") => format!("({text}) AT TIME ZONE 'UTC'"),
        _ => format!("'{text}'"),
    }
}

async fn fill(client: &Client) {
    let mut random = Random(7);
    let definitions: Vec<_> = COLUMNS
        .iter()
        .map(|(name, sql_type, _)| format!("{name} {sql_type}"))
        .collect();
    let create = format!("CREATE TABLE r (id int4, shard int4, {})", definitions.join(", "));
    client.batch_execute(&create).await.unwrap();
    for batch in 0..ROWS / 100 {
        let mut values = Vec::new();
        for id in batch * 100..(batch + 1) * 100 {
            let row: Vec<_> = COLUMNS
                .iter()
                .map(|(name, ..)| literal(&mut random, name))
                .collect();
            values.push(format!("({id}, {}, {})", random.below(SHARDS), row.join(", ")));
        }
        let insert = format!("INSERT INTO r VALUES {}", values.join(", "));
        client.batch_execute(&insert).await.unwrap();
    }
}

/// Session settings that change how values are printed, all of them allowed.
const SETTINGS: [&str; 2] = [
    "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; SET bytea_output = hex",
    "SET DateStyle = 'ISO, DMY'; SET TimeZone = 'America/St_Johns'; SET bytea_output = escape",
];

async fn check_order(client: &Client) {
    let id = OrderKey {
        column: 0,
        column_type: ColumnType::Int4,
        descending: false,
        nulls_first: false,
    };
    for (name, _, column_type) in COLUMNS {
        for (descending, nulls_first) in [(false, false), (true, true), (false, true), (true, false)] {
            let key = OrderKey {
                column: 1,
                column_type,
                descending,
                nulls_first,
            };
            let order = vec![key, id];
            let spec = MergeSpec {
                kind: MergeKind::Rows { order },
                offset: 3,
                limit: Some(ROWS as u64 / 2),
                hidden_columns: 0,
            };
            let direction = if descending { "DESC" } else { "ASC" };
            let nulls = if nulls_first { "FIRST" } else { "LAST" };
            let order_by = format!("ORDER BY {name} {direction} NULLS {nulls}, id");
            let limit = ROWS / 2;
            let whole = format!("SELECT id, {name}, t FROM r {order_by} LIMIT {limit} OFFSET 3");
            let part = |shard| {
                let limit = limit + 3;
                format!("SELECT id, {name}, t FROM r WHERE shard = {shard} {order_by} LIMIT {limit}")
            };
            for format in [Format::Text, Format::Binary] {
                check(client, &spec, format, &whole, part).await;
            }
        }
    }
}

#[tokio::test]
async fn rows_are_merged_in_the_order_of_one_server() {
    let (_server, client) = server("merge-order").await;
    fill(&client).await;
    for settings in SETTINGS {
        client.batch_execute(settings).await.unwrap();
        check_order(&client).await;
    }
}

#[tokio::test]
async fn aggregates_are_those_of_one_server() {
    let (_server, client) = server("merge-aggregates").await;
    fill(&client).await;
    let sum = |of| Aggregate::Sum(of);
    let mut select = vec![
        "count(*)", "count(n)", "sum(i2)", "sum(i4)", "sum(i8)", "sum(n)", "sum(n2)",
    ];
    let mut aggregates = vec![
        Aggregate::Count,
        Aggregate::Count,
        sum(ColumnType::Int8),
        sum(ColumnType::Int8),
    ];
    aggregates.extend([sum(ColumnType::Numeric); 3]);
    let mut extremes = Vec::new();
    for (name, _, column_type) in COLUMNS {
        // Types without min and max in PostgreSQL 15.
        if !matches!(
            column_type,
            ColumnType::Bool | ColumnType::Bytea | ColumnType::Uuid
        ) {
            extremes.push(format!("min({name}), max({name})"));
            aggregates.extend([Aggregate::Min(column_type), Aggregate::Max(column_type)]);
        }
    }
    select.extend(extremes.iter().map(String::as_str));
    let select = select.join(", ");
    let spec = MergeSpec {
        kind: MergeKind::Aggregates(aggregates),
        offset: 0,
        limit: None,
        hidden_columns: 0,
    };
    for settings in SETTINGS {
        client.batch_execute(settings).await.unwrap();
        for subset in 0..60 {
            // Subsets of all sizes, down to none, so that shards without rows take part.
            let (modulus, below) = (97, 97 / (subset + 1));
            let filter = format!("(id + {subset}) % {modulus} < {below}");
            let whole = format!("SELECT {select} FROM r WHERE {filter}");
            let part = |shard| format!("SELECT {select} FROM r WHERE {filter} AND shard = {shard}");
            for format in [Format::Text, Format::Binary] {
                check(&client, &spec, format, &whole, part).await;
            }
        }
    }
}

#[tokio::test]
async fn dates_in_another_style_are_refused() {
    let (_server, client) = server("merge-datestyle").await;
    for style in ["SQL, DMY", "SQL, MDY", "Postgres, MDY", "German"] {
        client
            .batch_execute(&format!("SET DateStyle = '{style}'"))
            .await
            .unwrap();
        let sql =
            "SELECT date '2024-03-04', timestamp '2024-03-04 05:06:07', timestamptz '2024-03-04 05:06:07+00'";
        let row = rows(&client, Format::Text, sql).await.remove(0);
        for (column, column_type) in [ColumnType::Date, ColumnType::Timestamp, ColumnType::TimestampTz]
            .iter()
            .enumerate()
        {
            let key = OrderKey {
                column,
                column_type: *column_type,
                descending: false,
                nulls_first: false,
            };
            let kind = MergeKind::Rows { order: vec![key] };
            let spec = MergeSpec {
                kind,
                offset: 0,
                limit: None,
                hidden_columns: 0,
            };
            let mut merger = Merger::new(&spec, &[], 1).unwrap();
            let refused = merger.push_row(0, row.clone());
            assert_eq!(refused, Err(merge::MergeError::DateStyle { column }), "{style}");
        }
    }
}
