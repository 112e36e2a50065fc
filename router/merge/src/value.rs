//! A column's value in a form that compares as PostgreSQL compares it.
//!
//! Text forms are those that a server prints: what the type's input function would take beyond that is refused.

use crate::iso::{self, IsoError};
use crate::numeric::Numeric;
use crate::{ColumnType, MergeError};
use bytes::Bytes;
use std::cmp::Ordering;
use wire::Format;

/// A value to compare. Two of one column are of one variant, or `Null`.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Float(f64),
    Numeric(Numeric),
    Uuid(u128),
    Bytes(Bytes),
}

/// Why bytes are no value, before the column is known.
enum Fault {
    Malformed,
    DateStyle,
}

impl Value {
    /// The value of a column; `raw` is a part of `body`, which the value may go on holding.
    pub(crate) fn decode(
        column: usize,
        column_type: ColumnType,
        format: Format,
        raw: Option<&[u8]>,
        body: &Bytes,
    ) -> Result<Self, MergeError> {
        let Some(raw) = raw else { return Ok(Value::Null) };
        let value = match format {
            Format::Text => from_text(column_type, raw, body),
            Format::Binary => from_binary(column_type, raw, body).ok_or(Fault::Malformed),
        };
        value.map_err(|fault| match fault {
            Fault::Malformed => MergeError::Value { column, column_type },
            Fault::DateStyle => MergeError::DateStyle { column },
        })
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The order of the type's default operator class; NULLs are the caller's.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Int(left), Value::Int(right)) => left.cmp(right),
            (Value::Float(left), Value::Float(right)) => compare_floats(*left, *right),
            (Value::Numeric(left), Value::Numeric(right)) => left.compare(right),
            (Value::Uuid(left), Value::Uuid(right)) => left.cmp(right),
            (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
            // One column has one type: no other pair of values comes up.
            _ => Ordering::Equal,
        }
    }
}

/// `float8_cmp_internal`: NaN is equal to itself and above everything, and -0 equals 0.
fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right)
        .unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn from_binary(column_type: ColumnType, raw: &[u8], body: &Bytes) -> Option<Value> {
    let value = match column_type {
        ColumnType::Bool => match raw {
            [flag @ (0 | 1)] => Value::Int(i64::from(*flag)),
            _ => return None,
        },
        ColumnType::Int2 => Value::Int(i16::from_be_bytes(raw.try_into().ok()?).into()),
        ColumnType::Int4 | ColumnType::Date => Value::Int(i32::from_be_bytes(raw.try_into().ok()?).into()),
        ColumnType::Int8 | ColumnType::Timestamp | ColumnType::TimestampTz => {
            Value::Int(i64::from_be_bytes(raw.try_into().ok()?))
        }
        ColumnType::Numeric => Value::Numeric(Numeric::from_binary(raw)?),
        ColumnType::Float4 => Value::Float(f32::from_be_bytes(raw.try_into().ok()?).into()),
        ColumnType::Float8 => Value::Float(f64::from_be_bytes(raw.try_into().ok()?)),
        ColumnType::Uuid => Value::Uuid(u128::from_be_bytes(raw.try_into().ok()?)),
        ColumnType::TextByBytes | ColumnType::Bytea => Value::Bytes(body.slice_ref(raw)),
        ColumnType::BpcharByBytes => Value::Bytes(body.slice_ref(without_blanks(raw))),
    };
    Some(value)
}

fn from_text(column_type: ColumnType, raw: &[u8], body: &Bytes) -> Result<Value, Fault> {
    let integer = |min: i64, max: i64| {
        let number = parse_integer(raw).filter(|number| (min..=max).contains(number));
        number.map(Value::Int).ok_or(Fault::Malformed)
    };
    match column_type {
        ColumnType::Bool => match raw {
            b"f" => Ok(Value::Int(0)),
            b"t" => Ok(Value::Int(1)),
            _ => Err(Fault::Malformed),
        },
        ColumnType::Int2 => integer(i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int4 => integer(i32::MIN.into(), i32::MAX.into()),
        ColumnType::Int8 => integer(i64::MIN, i64::MAX),
        ColumnType::Numeric => Numeric::from_text(raw)
            .map(Value::Numeric)
            .ok_or(Fault::Malformed),
        ColumnType::Float4 => parse_float::<f32>(raw).map(|float| Value::Float(float.into())),
        ColumnType::Float8 => parse_float::<f64>(raw).map(Value::Float),
        ColumnType::Uuid => parse_uuid(raw).map(Value::Uuid).ok_or(Fault::Malformed),
        ColumnType::TextByBytes => Ok(Value::Bytes(body.slice_ref(raw))),
        ColumnType::BpcharByBytes => Ok(Value::Bytes(body.slice_ref(without_blanks(raw)))),
        ColumnType::Bytea => parse_bytea(raw).map(Value::Bytes).ok_or(Fault::Malformed),
        ColumnType::Date => iso::parse_date(raw)
            .map(|days| Value::Int(days.into()))
            .map_err(Fault::from),
        ColumnType::Timestamp => iso::parse_timestamp(raw).map(Value::Int).map_err(Fault::from),
        ColumnType::TimestampTz => iso::parse_timestamptz(raw).map(Value::Int).map_err(Fault::from),
    }
}

impl From<IsoError> for Fault {
    fn from(error: IsoError) -> Self {
        match error {
            IsoError::NotIso => Fault::DateStyle,
            IsoError::OutOfRange => Fault::Malformed,
        }
    }
}

/// Without the trailing blanks that `bpcharcmp` leaves out (`bcTruelen`).
fn without_blanks(raw: &[u8]) -> &[u8] {
    let length = raw
        .iter()
        .rposition(|byte| *byte != b' ')
        .map_or(0, |last| last + 1);
    raw.get(..length).unwrap_or(raw)
}

/// What `int8out` prints.
pub(crate) fn parse_integer(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// What `float8out` prints with `extra_float_digits` of 1 or more, the default: the shortest text that reads back.
fn parse_float<F: std::str::FromStr>(raw: &[u8]) -> Result<F, Fault> {
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-');
    let printed = matches!(raw, b"NaN" | b"Infinity" | b"-Infinity") || raw.iter().all(is_number);
    let text = std::str::from_utf8(raw).ok().filter(|_| printed);
    text.and_then(|text| text.parse().ok()).ok_or(Fault::Malformed)
}

/// What `uuid_out` prints.
fn parse_uuid(raw: &[u8]) -> Option<u128> {
    let mut uuid = 0;
    for (at, byte) in raw.iter().enumerate() {
        match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            (_, digit) => uuid = uuid << 4 | u128::from(hex_digit(*digit)?),
        }
    }
    (raw.len() == 36).then_some(uuid)
}

/// What `byteaout` prints under either `bytea_output`: `\x` starts the hex form only, as the escape form doubles it.
fn parse_bytea(raw: &[u8]) -> Option<Bytes> {
    if let Some(digits) = raw.strip_prefix(b"\\x") {
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        return pairs
            .iter()
            .map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?))
            .collect();
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Some(bytes.into())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
