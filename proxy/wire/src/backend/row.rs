//! RowDescription, DataRow and ParameterDescription.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::BackendTag;
use crate::values::{Format, Oid, Oids, Values};
use crate::write::{Buffer, frame, put_count, put_cstr, put_value};

/// One column of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// The table that it comes from, or 0.
    pub table: Oid,
    /// The number of the column in that table, or 0.
    pub attribute: i16,
    /// Its type.
    pub type_oid: Oid,
    /// The size of the type; negative for variable sizes.
    pub type_len: i16,
    /// The type modifier; -1 for none.
    pub type_modifier: i32,
    /// The code of its format; 0 where it isn't known yet.
    pub format: i16,
}

impl<'a> Field<'a> {
    /// A column of type `text`, in text, that comes from no table.
    pub fn text(name: &'a str) -> Self {
        /// The object identifier of `text` in `pg_type`.
        const TEXT: Oid = Oid(25);
        Field::computed(name, TEXT, -1)
    }

    /// A column in text that comes from no table.
    pub fn computed(name: &'a str, type_oid: Oid, type_len: i16) -> Self {
        Field {
            name: name.as_bytes(),
            table: Oid(0),
            attribute: 0,
            type_oid,
            type_len,
            type_modifier: -1,
            format: Format::Text.code(),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Field {
            name: reader.cstr()?,
            table: Oid(reader.u32()?),
            attribute: reader.i16()?,
            type_oid: Oid(reader.u32()?),
            type_len: reader.i16()?,
            type_modifier: reader.i32()?,
            format: reader.i16()?,
        })
    }
}

/// RowDescription: the columns of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowDescription<'a> {
    count: usize,
    raw: &'a [u8],
}

impl<'a> RowDescription<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("RowDescription", body);
        let count = reader.count()?;
        let raw = reader.rest();
        for _ in 0..count {
            Field::read(&mut reader)?;
        }
        reader.end()?;
        Ok(RowDescription { count, raw })
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + 'a {
        let mut reader = Reader::new("RowDescription", self.raw);
        (0..self.count).map_while(move |_| Field::read(&mut reader).ok())
    }

    /// Appends a RowDescription of these columns.
    pub fn encode(buf: &mut impl Buffer, fields: &[Field<'_>]) {
        frame(buf, BackendTag::RowDescription.byte(), |buf| {
            put_count(buf, fields.len());
            for field in fields {
                put_cstr(buf, field.name);
                buf.put_u32(field.table.0);
                buf.put_i16(field.attribute);
                buf.put_u32(field.type_oid.0);
                buf.put_i16(field.type_len);
                buf.put_i32(field.type_modifier);
                buf.put_i16(field.format);
            }
        });
    }
}

/// DataRow: one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRow<'a> {
    /// Its values.
    pub values: Values<'a>,
}

impl<'a> DataRow<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("DataRow", body);
        let values = Values::read("DataRow", &mut reader)?;
        reader.end()?;
        Ok(DataRow { values })
    }

    /// Appends a DataRow of these values; `None` is NULL.
    pub fn encode<'v>(buf: &mut impl Buffer, values: impl ExactSizeIterator<Item = Option<&'v [u8]>>) {
        frame(buf, BackendTag::DataRow.byte(), |buf| {
            put_count(buf, values.len());
            for value in values {
                put_value(buf, value);
            }
        });
    }

    /// Appends a DataRow of texts; `None` is NULL.
    pub fn encode_text(buf: &mut impl Buffer, values: &[Option<&str>]) {
        DataRow::encode(buf, values.iter().map(|value| value.map(str::as_bytes)));
    }
}

/// ParameterDescription: the types of a statement's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterDescription<'a> {
    /// The types.
    pub types: Oids<'a>,
}

impl<'a> ParameterDescription<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ParameterDescription", body);
        let types = Oids::read(&mut reader)?;
        reader.end()?;
        Ok(ParameterDescription { types })
    }

    /// Appends a ParameterDescription of these types.
    pub fn encode(buf: &mut impl Buffer, types: &[Oid]) {
        frame(buf, BackendTag::ParameterDescription.byte(), |buf| {
            put_count(buf, types.len());
            for oid in types {
                buf.put_u32(oid.0);
            }
        });
    }
}
