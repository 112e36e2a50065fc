//! An answer of the admin database: columns and rows of text.

use bytes::BytesMut;
use std::borrow::Cow;
use std::time::Duration;
use wire::backend::{DataRow, Field, RowDescription};
use wire::{Format, Oid, ProxyError, sqlstate};

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ColumnType {
    /// `text`
    Text,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric`; only whole numbers.
    Numeric,
    /// `bytea`; only NULL.
    Bytea,
}

impl ColumnType {
    fn field(self, name: &str) -> Field<'_> {
        // The object identifiers of `pg_type`, and the sizes of the types.
        let (oid, len) = match self {
            Self::Text => return Field::text(name),
            Self::Int4 => (23, 4),
            Self::Int8 => (20, 8),
            Self::Numeric => (1700, -1),
            Self::Bytea => (17, -1),
        };
        Field::computed(name, Oid(oid), len)
    }

    /// The value in PostgreSQL's binary form.
    ///
    /// # Errors
    /// 22003 for a number that the type can't hold.
    fn binary(self, text: &str) -> Result<Vec<u8>, ProxyError> {
        let out_of_range = || {
            let message = format!("value \"{text}\" is out of range");
            ProxyError::error(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
        };
        Ok(match self {
            Self::Text | Self::Bytea => text.as_bytes().to_vec(),
            Self::Int4 => text
                .parse::<i32>()
                .map_err(|_| out_of_range())?
                .to_be_bytes()
                .to_vec(),
            Self::Int8 => text
                .parse::<i64>()
                .map_err(|_| out_of_range())?
                .to_be_bytes()
                .to_vec(),
            Self::Numeric => numeric(text.parse().map_err(|_| out_of_range())?),
        })
    }
}

/// `numeric` in binary: its digits to the base 10,000, the largest first, without zeros at the end.
fn numeric(number: u128) -> Vec<u8> {
    const BASE: u128 = 10_000;
    let mut digits: Vec<u16> = Vec::new();
    let mut rest = number;
    while rest > 0 {
        digits.push(u16::try_from(rest % BASE).unwrap_or_default());
        rest /= BASE;
    }
    digits.reverse();
    let weight = u16::try_from(digits.len().saturating_sub(1)).unwrap_or_default();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let count = u16::try_from(digits.len()).unwrap_or_default();
    // The sign and the digits behind the point are both 0.
    let head = [count, weight, 0, 0];
    head.into_iter()
        .chain(digits)
        .flat_map(u16::to_be_bytes)
        .collect()
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// SQL's NULL.
    Null,
    /// Anything else, as text.
    Text(Cow<'static, str>),
}

impl Cell {
    /// Text.
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Text, or NULL.
    pub(crate) fn option(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Null, |value| Self::Text(value.to_string().into()))
    }

    /// A number.
    pub(crate) fn number(number: impl ToString) -> Self {
        Self::Text(number.to_string().into())
    }

    /// A time in microseconds.
    pub(crate) fn micros(time: Duration) -> Self {
        Self::number(time.as_micros())
    }

    /// The value as text; `None` for NULL.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text),
        }
    }
}

/// Columns and rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    /// Names and types.
    pub(crate) columns: Columns,
    /// Rows, each with a value for every column.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// Names and types.
pub(crate) type Columns = &'static [(&'static str, ColumnType)];

/// Appends RowDescription. `format` gives that of each column.
pub(crate) fn describe(columns: Columns, format: impl Fn(usize) -> Format, out: &mut BytesMut) {
    let field = |(place, (name, kind)): (usize, &(&'static str, ColumnType))| Field {
        format: format(place).code(),
        ..kind.field(name)
    };
    let fields: Vec<Field<'_>> = columns.iter().enumerate().map(field).collect();
    RowDescription::encode(out, &fields);
}

impl Table {
    /// Appends one row, each of its values in the format that `format` gives its column.
    ///
    /// # Errors
    /// 22003 for a number that its type can't hold in binary.
    pub(crate) fn encode_row(
        &self,
        row: &[Cell],
        format: impl Fn(usize) -> Format,
        out: &mut BytesMut,
    ) -> Result<(), ProxyError> {
        let value = |(place, (cell, (_, kind))): (usize, (&Cell, &(&'static str, ColumnType)))| {
            let Some(text) = cell.as_str() else {
                return Ok(None);
            };
            match format(place) {
                Format::Text => Ok(Some(text.as_bytes().to_vec())),
                Format::Binary => kind.binary(text).map(Some),
            }
        };
        let values: Result<Vec<Option<Vec<u8>>>, ProxyError> =
            row.iter().zip(self.columns).enumerate().map(value).collect();
        let values = values?;
        DataRow::encode(out, values.iter().map(Option::as_deref));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ColumnType, numeric};

    #[test]
    fn whole_numbers_in_binary() {
        let parts = |number| -> Vec<u16> {
            let bytes = numeric(number);
            bytes
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect()
        };
        assert_eq!(parts(0), [0, 0, 0, 0]);
        assert_eq!(parts(7), [1, 0, 0, 0, 7]);
        assert_eq!(parts(10_000), [1, 1, 0, 0, 1]);
        assert_eq!(parts(123_456_789), [3, 2, 0, 0, 1, 2345, 6789]);
        assert_eq!(ColumnType::Int4.binary("5"), Ok(vec![0, 0, 0, 5]));
        let error = ColumnType::Int4.binary("3000000000").expect_err("too large");
        assert_eq!(error.sqlstate.to_string(), "22003");
    }
}
