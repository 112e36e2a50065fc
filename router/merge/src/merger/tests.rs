//! The merge on rows made by hand and on random ones. tests/postgres.rs compares with a server.

use super::*;
use crate::{Aggregate, ColumnType};
use proptest::prelude::*;

type Row<'a> = &'a [Option<&'a str>];

fn body(values: &[Option<Vec<u8>>]) -> Bytes {
    let values: Vec<_> = values
        .iter()
        .map(|value| value.clone().map(Bytes::from))
        .collect();
    row::of_values(&values)
}

fn text_body(values: Row<'_>) -> Bytes {
    let values: Vec<_> = values
        .iter()
        .map(|value| value.map(|value| value.as_bytes().to_vec()))
        .collect();
    body(&values)
}

fn shown(body: &Bytes) -> String {
    let values = DataRow::decode(body).unwrap().values;
    let show =
        |value: Option<&[u8]>| value.map_or("NULL".to_owned(), |v| String::from_utf8_lossy(v).into_owned());
    values.iter().map(show).collect::<Vec<_>>().join("|")
}

/// Feeds the merger exactly what it asks for and gives the answer.
fn run(merger: &mut Merger, shards: &[Vec<Bytes>]) -> Result<Vec<Bytes>, MergeError> {
    let mut shards: Vec<_> = shards.iter().map(|rows| rows.iter()).collect();
    let mut answer = Vec::new();
    loop {
        match merger.next_row()? {
            MergeStep::Row(body) => answer.push(body),
            MergeStep::Done => return Ok(answer),
            MergeStep::Need(stream) => match shards[stream].next() {
                Some(body) => merger.push_row(stream, body.clone())?,
                None => merger.shard_done(stream)?,
            },
        }
    }
}

fn merged(spec: &MergeSpec, shards: &[&[Row<'_>]]) -> Result<Vec<String>, MergeError> {
    let mut merger = Merger::new(spec, &[], shards.len())?;
    let shards: Vec<Vec<_>> = shards
        .iter()
        .map(|rows| rows.iter().map(|row| text_body(row)).collect())
        .collect();
    let answer = run(&mut merger, &shards)?;
    assert_eq!(merger.command_tag(), format!("SELECT {}", answer.len()));
    Ok(answer.iter().map(shown).collect())
}

fn key(column: usize, column_type: ColumnType) -> OrderKey {
    OrderKey {
        column,
        column_type,
        descending: false,
        nulls_first: false,
    }
}

fn rows(order: Vec<OrderKey>) -> MergeSpec {
    MergeSpec {
        kind: MergeKind::Rows { order },
        offset: 0,
        limit: None,
        hidden_columns: 0,
    }
}

fn aggregates(aggregates: Vec<Aggregate>) -> MergeSpec {
    MergeSpec {
        kind: MergeKind::Aggregates(aggregates),
        offset: 0,
        limit: None,
        hidden_columns: 0,
    }
}

#[test]
fn ordered_streams_with_offset_limit_and_a_hidden_key() {
    let spec = MergeSpec {
        offset: 1,
        limit: Some(3),
        hidden_columns: 1,
        ..rows(vec![key(1, ColumnType::Int4)])
    };
    let a: [Row<'_>; 3] = [
        &[Some("a"), Some("1")],
        &[Some("c"), Some("3")],
        &[Some("z"), None],
    ];
    let b: [Row<'_>; 3] = [
        &[Some("b"), Some("2")],
        &[Some("d"), Some("10")],
        &[Some("e"), Some("11")],
    ];
    assert_eq!(merged(&spec, &[&a, &b]).unwrap(), ["b", "c", "d"]);
}

#[test]
fn nulls_stand_where_the_key_says_whatever_the_direction() {
    for (descending, nulls_first, expected) in [
        (false, false, ["1", "2", "NULL"]),
        (false, true, ["NULL", "1", "2"]),
        (true, false, ["2", "1", "NULL"]),
        (true, true, ["NULL", "2", "1"]),
    ] {
        let spec = rows(vec![OrderKey {
            descending,
            nulls_first,
            ..key(0, ColumnType::Int8)
        }]);
        let shards: [&[Row<'_>]; 3] = [&[&[Some("2")]], &[&[None]], &[&[Some("1")]]];
        assert_eq!(
            merged(&spec, &shards).unwrap(),
            expected,
            "{descending} {nulls_first}"
        );
    }
}

#[test]
fn equal_keys_fall_to_the_next_key_and_then_to_the_first_stream() {
    let second = OrderKey {
        descending: true,
        nulls_first: true,
        ..key(1, ColumnType::TextByBytes)
    };
    let spec = rows(vec![key(0, ColumnType::Bool), second]);
    let a: [Row<'_>; 2] = [
        &[Some("f"), Some("x"), Some("a")],
        &[Some("t"), Some("b"), Some("a")],
    ];
    let b: [Row<'_>; 3] = [
        &[Some("f"), Some("y"), Some("b")],
        &[Some("f"), Some("x"), Some("b")],
        &[Some("t"), Some("a"), Some("b")],
    ];
    assert_eq!(
        merged(&spec, &[&a, &b]).unwrap(),
        ["f|y|b", "f|x|a", "f|x|b", "t|b|a", "t|a|b"]
    );
}

#[test]
fn rows_without_an_order_come_one_after_the_other() {
    let spec = MergeSpec {
        offset: 1,
        ..rows(vec![])
    };
    let shards: [&[Row<'_>]; 3] = [&[&[Some("1")], &[Some("2")]], &[], &[&[Some("3")]]];
    assert_eq!(merged(&spec, &shards).unwrap(), ["2", "3"]);
}

#[test]
fn aggregates_add_up_and_take_the_extremes() {
    let spec = aggregates(vec![
        Aggregate::Count,
        Aggregate::Sum(ColumnType::Int8),
        Aggregate::Sum(ColumnType::Numeric),
        Aggregate::Min(ColumnType::Date),
        Aggregate::Max(ColumnType::Numeric),
        Aggregate::Max(ColumnType::TextByBytes),
    ]);
    let a: [Row<'_>; 1] = [&[
        Some("2"),
        Some("-5"),
        Some("0.1"),
        Some("2024-01-02"),
        Some("9.5"),
        Some("b"),
    ]];
    let b: [Row<'_>; 1] = [&[
        Some("3"),
        None,
        Some("9.925"),
        Some("0044-03-15 BC"),
        Some("10"),
        Some("aa"),
    ]];
    let c: [Row<'_>; 1] = [&[Some("0"), None, None, None, None, None]];
    assert_eq!(
        merged(&spec, &[&a, &b, &c]).unwrap(),
        ["5|-5|10.025|0044-03-15 BC|10|b"]
    );
    assert_eq!(merged(&spec, &[&c, &c]).unwrap(), ["0|NULL|NULL|NULL|NULL|NULL"]);
    let skipped = MergeSpec {
        offset: 1,
        ..spec.clone()
    };
    assert_eq!(merged(&skipped, &[&a, &b]).unwrap(), Vec::<String>::new());
    let none = MergeSpec {
        limit: Some(0),
        ..spec
    };
    assert_eq!(merged(&none, &[&a, &b]).unwrap(), Vec::<String>::new());
}

#[test]
fn aggregates_in_binary() {
    let spec = aggregates(vec![Aggregate::Count, Aggregate::Max(ColumnType::Float8)]);
    let shard = |count: i64, max: f64| {
        vec![body(&[
            Some(count.to_be_bytes().to_vec()),
            Some(max.to_be_bytes().to_vec()),
        ])]
    };
    let mut merger = Merger::new(&spec, &[Format::Binary], 2).unwrap();
    let answer = run(&mut merger, &[shard(1, f64::INFINITY), shard(2, f64::NAN)]).unwrap();
    assert_eq!(answer, [shard(3, f64::NAN)[0].clone()]);
}

#[test]
fn what_can_not_be_merged_is_an_error() {
    let by = |column_type| rows(vec![key(0, column_type)]);
    let malformed = |column_type| MergeError::Value {
        column: 0,
        column_type,
    };
    for (spec, value, error) in [
        (by(ColumnType::Int4), "2147483648", malformed(ColumnType::Int4)),
        (by(ColumnType::Int8), "1x", malformed(ColumnType::Int8)),
        (by(ColumnType::Bool), "true", malformed(ColumnType::Bool)),
        (by(ColumnType::Float8), "inf", malformed(ColumnType::Float8)),
        (by(ColumnType::Bytea), "\\x0", malformed(ColumnType::Bytea)),
        (
            by(ColumnType::Uuid),
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            malformed(ColumnType::Uuid),
        ),
        (
            by(ColumnType::Date),
            "01/02/2024",
            MergeError::DateStyle { column: 0 },
        ),
        (
            by(ColumnType::TimestampTz),
            "Tue Jan 02 03:04:05 2024 UTC",
            MergeError::DateStyle { column: 0 },
        ),
        (
            rows(vec![key(1, ColumnType::Int4)]),
            "1",
            MergeError::Columns { needed: 2, found: 1 },
        ),
        (
            MergeSpec {
                hidden_columns: 2,
                ..rows(vec![])
            },
            "1",
            MergeError::Columns { needed: 2, found: 1 },
        ),
        (
            aggregates(vec![Aggregate::Count; 2]),
            "1",
            MergeError::Columns { needed: 2, found: 1 },
        ),
        (
            aggregates(vec![Aggregate::Sum(ColumnType::Float8)]),
            "1",
            MergeError::InexactSum(ColumnType::Float8),
        ),
    ] {
        assert_eq!(merged(&spec, &[&[&[Some(value)]]]), Err(error), "{value}");
    }
    let count = aggregates(vec![Aggregate::Count]);
    let largest: [Row<'_>; 1] = [&[Some("9223372036854775807")]];
    assert_eq!(
        merged(&count, &[&largest, &largest]),
        Err(MergeError::OutOfRange { column: 0 })
    );
    assert_eq!(
        merged(&count, &[&largest, &[]]),
        Err(MergeError::AggregateRows { stream: 1 })
    );
    let two: [Row<'_>; 2] = [&[Some("1")], &[Some("1")]];
    assert_eq!(
        merged(&count, &[&two]),
        Err(MergeError::AggregateRows { stream: 0 })
    );
    assert_eq!(
        merged(&count, &[&[&[None]]]),
        Err(MergeError::Value {
            column: 0,
            column_type: ColumnType::Int8
        })
    );
}

#[test]
fn a_stream_holds_no_more_than_its_bound() {
    let mut merger = Merger::new(&rows(vec![key(0, ColumnType::Int4)]), &[], 2).unwrap();
    let mut taken = 0;
    while merger.has_room(0) {
        merger.push_row(0, text_body(&[Some("1")])).unwrap();
        taken += 1;
    }
    assert_eq!(taken, MAX_ROWS_HELD);
    let refused = merger.push_row(0, text_body(&[Some("1")]));
    assert_eq!(refused, Err(MergeError::Unexpected { stream: 0 }));
    assert_eq!(merger.next_row(), Ok(MergeStep::Need(1)));

    let large = "x".repeat(MAX_BYTES_HELD);
    merger.push_row(1, text_body(&[Some("2"), Some(&large)])).unwrap();
    assert!(!merger.has_room(1));
    assert!(!merger.has_room(2));
}

#[test]
fn rows_beyond_the_limit_are_dropped() {
    let spec = MergeSpec {
        limit: Some(1),
        ..rows(vec![])
    };
    let mut merger = Merger::new(&spec, &[], 1).unwrap();
    merger.push_row(0, text_body(&[Some("1")])).unwrap();
    assert!(matches!(merger.next_row(), Ok(MergeStep::Row(_))));
    assert_eq!(merger.next_row(), Ok(MergeStep::Done));
    for _ in 0..MAX_ROWS_HELD * 2 {
        merger.push_row(0, text_body(&[Some("2")])).unwrap();
    }
    assert_eq!(merger.shard_done(0), Ok(()));
    assert_eq!(merger.next_row(), Ok(MergeStep::Done));
    assert_eq!(merger.rows_given(), 1);
}

#[test]
fn floats_compare_as_postgresql_has_them() {
    let spec = rows(vec![key(0, ColumnType::Float8)]);
    let a: [Row<'_>; 4] = [
        &[Some("-Infinity")],
        &[Some("-0")],
        &[Some("1e-07")],
        &[Some("NaN")],
    ];
    let b: [Row<'_>; 4] = [
        &[Some("-1.5e+300")],
        &[Some("0")],
        &[Some("Infinity")],
        &[Some("NaN")],
    ];
    let expected = [
        "-Infinity",
        "-1.5e+300",
        "-0",
        "0",
        "1e-07",
        "Infinity",
        "NaN",
        "NaN",
    ];
    assert_eq!(merged(&spec, &[&a, &b]).unwrap(), expected);
}

#[test]
fn blanks_at_the_end_count_in_text_and_not_in_bpchar() {
    let a: [Row<'_>; 1] = [&[Some("a "), Some("1")]];
    let b: [Row<'_>; 2] = [&[Some("a"), Some("0")], &[Some("b"), Some("0")]];
    let with = |column_type| rows(vec![key(0, column_type), key(1, ColumnType::Int2)]);
    assert_eq!(
        merged(&with(ColumnType::TextByBytes), &[&a, &b]).unwrap(),
        ["a|0", "a |1", "b|0"]
    );
    let c: [Row<'_>; 1] = [&[Some("a  "), Some("2")]];
    assert_eq!(
        merged(&with(ColumnType::BpcharByBytes), &[&c, &b]).unwrap(),
        ["a|0", "a  |2", "b|0"]
    );
}

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

proptest! {
    /// Random sorted streams come out sorted, nothing lost, cut by offset and limit.
    #[test]
    fn sorted_streams_make_a_sorted_answer(
        mut shards in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..20), 1..5),
        offset in 0_u64..10, limit in prop::option::of(0_u64..30), format in 0..2,
    ) {
        let format = if format == 0 { Format::Text } else { Format::Binary };
        let encode = |number: &i16| body(&[Some(match format {
            Format::Text => number.to_string().into_bytes(),
            Format::Binary => number.to_be_bytes().to_vec(),
        })]);
        shards.iter_mut().for_each(|shard| shard.sort_unstable());
        let mut expected: Vec<i16> = shards.concat();
        expected.sort_unstable();
        let expected: Vec<_> = expected.iter().skip(offset as usize)
            .take(limit.map_or(usize::MAX, |limit| limit as usize)).map(encode).collect();
        let spec = MergeSpec { offset, limit, ..rows(vec![key(0, ColumnType::Int2)]) };
        let mut merger = Merger::new(&spec, &[format], shards.len()).unwrap();
        let bodies: Vec<Vec<_>> = shards.iter().map(|shard| shard.iter().map(encode).collect()).collect();
        prop_assert_eq!(run(&mut merger, &bodies).unwrap(), expected);
    }

    #[test]
    fn any_body_is_merged_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..80), hidden in 0_usize..3, column in 0_usize..3,
    ) {
        let bytes = Bytes::from(bytes);
        for column_type in TYPES {
            let spec = MergeSpec { hidden_columns: hidden, ..rows(vec![key(column, column_type)]) };
            for format in [Format::Text, Format::Binary] {
                let mut merger = Merger::new(&spec, &[format], 1).unwrap();
                let _ = merger.push_row(0, bytes.clone()).and_then(|()| merger.next_row());
            }
        }
    }

    #[test]
    fn any_value_is_merged_or_refused(value in prop::collection::vec(any::<u8>(), 0..40), text in "[-0-9.NaIinfty:+ \\\\xe]{0,20}") {
        for raw in [value, text.into_bytes()] {
            let bytes = body(&[Some(raw)]);
            for column_type in TYPES {
                for (spec, format) in [
                    (rows(vec![key(0, column_type)]), Format::Text),
                    (rows(vec![key(0, column_type)]), Format::Binary),
                    (aggregates(vec![Aggregate::Max(column_type)]), Format::Text),
                    (aggregates(vec![Aggregate::Sum(ColumnType::Numeric)]), Format::Binary),
                ] {
                    let mut merger = Merger::new(&spec, &[format], 1).unwrap();
                    let _ = merger.push_row(0, bytes.clone())
                        .and_then(|()| merger.shard_done(0))
                        .and_then(|()| merger.next_row());
                }
            }
        }
    }
}
