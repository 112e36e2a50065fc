//! An answer of the admin database: columns and rows of text.

use bytes::BytesMut;
use std::borrow::Cow;
use std::time::Duration;
use wire::Oid;
use wire::backend::{CommandComplete, DataRow, Field, RowDescription};

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ColumnType {
    /// `text`
    Text,
    /// `bigint`
    Int8,
}

impl ColumnType {
    fn field(self, name: &str) -> Field<'_> {
        /// The object identifier of `bigint` in `pg_type`.
        const INT8: Oid = Oid(20);
        match self {
            Self::Text => Field::text(name),
            Self::Int8 => Field::computed(name, INT8, 8),
        }
    }
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
    pub(crate) columns: &'static [(&'static str, ColumnType)],
    /// Rows, each with a value for every column.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Appends RowDescription, the rows and CommandComplete: all of a simple query's answer but ReadyForQuery.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let fields: Vec<Field<'_>> = self.columns.iter().map(|(name, kind)| kind.field(name)).collect();
        RowDescription::encode(out, &fields);
        for row in &self.rows {
            let values: Vec<Option<&str>> = row.iter().map(Cell::as_str).collect();
            DataRow::encode_text(out, &values);
        }
        CommandComplete { tag: b"SHOW" }.encode(out);
    }
}
