//! One row of aggregates out of the shards' partial ones.

use crate::numeric::Numeric;
use crate::value::Value;
use crate::{Aggregate, ColumnType, MergeError};
use bytes::{BufMut, Bytes, BytesMut};
use std::cmp::Ordering;
use wire::Format;

/// The value of one column so far.
#[derive(Debug)]
pub(crate) enum Accumulator {
    Count(i64),
    SumInt8(Option<i64>),
    SumNumeric(Option<Numeric>),
    /// The value that compares so to the others, and its bytes as a shard sent them.
    Extreme {
        wanted: Ordering,
        column_type: ColumnType,
        best: Option<(Value, Bytes)>,
    },
}

impl Accumulator {
    pub(crate) fn new(aggregate: Aggregate) -> Result<Self, MergeError> {
        let extreme = |wanted, column_type| Accumulator::Extreme {
            wanted,
            column_type,
            best: None,
        };
        match aggregate {
            Aggregate::Count => Ok(Accumulator::Count(0)),
            Aggregate::Sum(ColumnType::Int8) => Ok(Accumulator::SumInt8(None)),
            Aggregate::Sum(ColumnType::Numeric) => Ok(Accumulator::SumNumeric(None)),
            // PostgreSQL's sums are of no other type but money, interval and floats, whose order of adding shows.
            Aggregate::Sum(other) => Err(MergeError::InexactSum(other)),
            Aggregate::Min(column_type) => Ok(extreme(Ordering::Less, column_type)),
            Aggregate::Max(column_type) => Ok(extreme(Ordering::Greater, column_type)),
        }
    }

    /// Adds one shard's partial value.
    pub(crate) fn add(
        &mut self,
        column: usize,
        format: Format,
        raw: Option<&[u8]>,
        body: &Bytes,
    ) -> Result<(), MergeError> {
        let value = Value::decode(column, self.column_type(), format, raw, body)?;
        let out_of_range = MergeError::OutOfRange { column };
        match (self, value) {
            (Accumulator::Count(count), Value::Int(more)) => {
                *count = count.checked_add(more).ok_or(out_of_range)?;
            }
            (Accumulator::Count(_), _) => {
                return Err(MergeError::Value {
                    column,
                    column_type: ColumnType::Int8,
                });
            }
            (_, Value::Null) => {}
            (Accumulator::SumInt8(sum), Value::Int(more)) => {
                *sum = Some(sum.unwrap_or(0).checked_add(more).ok_or(out_of_range)?);
            }
            (Accumulator::SumNumeric(sum), Value::Numeric(more)) => {
                *sum = Some(match sum {
                    None => more,
                    Some(sum) => sum.add(&more).ok_or(out_of_range)?,
                });
            }
            (Accumulator::Extreme { wanted, best, .. }, value) => {
                let better = best
                    .as_ref()
                    .is_none_or(|(best, _)| value.compare(best) == *wanted);
                if let (true, Some(raw)) = (better, raw) {
                    *best = Some((value, body.slice_ref(raw)));
                }
            }
            (Accumulator::SumInt8(_) | Accumulator::SumNumeric(_), _) => {
                return Err(MergeError::Value {
                    column,
                    column_type: ColumnType::Numeric,
                });
            }
        }
        Ok(())
    }

    /// The merged value, in `format`.
    pub(crate) fn finish(&self, format: Format) -> Option<Bytes> {
        let mut out = BytesMut::new();
        match self {
            Accumulator::Count(number) | Accumulator::SumInt8(Some(number)) => match format {
                Format::Text => out.put_slice(number.to_string().as_bytes()),
                Format::Binary => out.put_i64(*number),
            },
            Accumulator::SumNumeric(Some(sum)) => match format {
                Format::Text => sum.put_text(&mut out),
                Format::Binary => sum.put_binary(&mut out),
            },
            Accumulator::Extreme {
                best: Some((_, raw)), ..
            } => return Some(raw.clone()),
            Accumulator::SumInt8(None)
            | Accumulator::SumNumeric(None)
            | Accumulator::Extreme { best: None, .. } => return None,
        }
        Some(out.freeze())
    }

    fn column_type(&self) -> ColumnType {
        match self {
            Accumulator::Count(_) | Accumulator::SumInt8(_) => ColumnType::Int8,
            Accumulator::SumNumeric(_) => ColumnType::Numeric,
            Accumulator::Extreme { column_type, .. } => *column_type,
        }
    }
}
