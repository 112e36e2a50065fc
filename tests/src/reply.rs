//! What a server answers, message by message, in a form that can be compared and read.

use std::fmt;

use anyhow::{Result, bail};
use wire::backend::{CommandComplete, DataRow, ErrorFields, ParameterDescription, RowDescription};
use wire::copy::CopyResponse;
use wire::tag::BackendTag;

/// One message of a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reply {
    /// ParseComplete.
    Parsed,
    /// BindComplete.
    Bound,
    /// CloseComplete.
    Closed,
    /// ParameterDescription: the types.
    Parameters(Vec<u32>),
    /// RowDescription.
    Columns(Vec<Column>),
    /// NoData.
    NoData,
    /// DataRow.
    Row(Vec<Option<Vec<u8>>>),
    /// PortalSuspended.
    Suspended,
    /// CommandComplete: the tag.
    Complete(String),
    /// EmptyQueryResponse.
    Empty,
    /// CopyInResponse: overall format and formats of the columns.
    CopyIn(bool, Vec<i16>),
    /// CopyOutResponse: overall format and formats of the columns.
    CopyOut(bool, Vec<i16>),
    /// CopyData.
    CopyData(Vec<u8>),
    /// CopyDone.
    CopyDone,
    /// NoticeResponse.
    Notice(Fault),
    /// ErrorResponse.
    Error(Fault),
    /// ReadyForQuery: the status.
    Ready(char),
    /// The server closed the connection.
    Gone,
}

/// A column of a result. The table's oid is left out: it differs between servers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The number of the column in its table, or 0.
    pub attribute: i16,
    /// Its type.
    pub type_oid: u32,
    /// The size of the type.
    pub type_len: i16,
    /// The type modifier.
    pub type_modifier: i32,
    /// Text is 0, binary is 1.
    pub format: i16,
}

/// An error or a notice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// `ERROR`, `WARNING`, ...
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// DETAIL, if there is one.
    pub detail: Option<String>,
    /// HINT, if there is one.
    pub hint: Option<String>,
    /// The source routine; `ringway` where Ringway itself speaks.
    pub routine: Option<String>,
}

impl Reply {
    /// The first error of an answer.
    pub fn fault(replies: &[Self]) -> Option<&Fault> {
        replies.iter().find_map(|reply| match reply {
            Self::Error(fault) => Some(fault),
            _ => None,
        })
    }

    /// The first value of an answer's first row, as text.
    pub fn value(replies: &[Self]) -> Option<String> {
        replies.iter().find_map(|reply| match reply {
            Self::Row(values) => Some(String::from_utf8_lossy(values.first()?.as_deref()?).into_owned()),
            _ => None,
        })
    }

    /// Decodes a message; `None` for those that belong to no statement.
    pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<Option<Self>> {
        let Ok(kind) = BackendTag::try_from(tag) else {
            bail!(
                "the server sent a message of the unknown type {:?}",
                char::from(tag)
            );
        };
        let copy = |body| -> Result<(bool, Vec<i16>)> {
            let response = CopyResponse::decode(body)?;
            Ok((
                response.format == wire::Format::Binary,
                response.columns.iter().collect(),
            ))
        };
        Ok(Some(match kind {
            BackendTag::ParseComplete => Self::Parsed,
            BackendTag::BindComplete => Self::Bound,
            BackendTag::CloseComplete => Self::Closed,
            BackendTag::NoData => Self::NoData,
            BackendTag::PortalSuspended => Self::Suspended,
            BackendTag::EmptyQueryResponse => Self::Empty,
            BackendTag::CopyDone => Self::CopyDone,
            BackendTag::CopyData => Self::CopyData(body.to_vec()),
            BackendTag::ParameterDescription => {
                let types = ParameterDescription::decode(body)?.types;
                Self::Parameters(types.iter().map(|oid| oid.0).collect())
            }
            BackendTag::RowDescription => Self::Columns(columns(body)?),
            BackendTag::DataRow => {
                let row = DataRow::decode(body)?;
                Self::Row(row.values.iter().map(|value| value.map(<[u8]>::to_vec)).collect())
            }
            BackendTag::CommandComplete => Self::Complete(text(CommandComplete::decode(body)?.tag)),
            BackendTag::CopyInResponse => {
                let (binary, columns) = copy(body)?;
                Self::CopyIn(binary, columns)
            }
            BackendTag::CopyOutResponse => {
                let (binary, columns) = copy(body)?;
                Self::CopyOut(binary, columns)
            }
            BackendTag::NoticeResponse => Self::Notice(Fault::decode(body)?),
            BackendTag::ErrorResponse => Self::Error(Fault::decode(body)?),
            BackendTag::ReadyForQuery => match body {
                [status] => Self::Ready(char::from(*status)),
                _ => bail!("a ReadyForQuery of {} bytes", body.len()),
            },
            BackendTag::Authentication
            | BackendTag::BackendKeyData
            | BackendTag::CopyBothResponse
            | BackendTag::FunctionCallResponse
            | BackendTag::NegotiateProtocolVersion
            | BackendTag::NotificationResponse
            | BackendTag::ParameterStatus => return Ok(None),
        }))
    }

    /// The error, if this is one.
    pub fn error(&self) -> Option<&Fault> {
        match self {
            Self::Error(fault) => Some(fault),
            _ => None,
        }
    }
}

fn columns(body: &[u8]) -> Result<Vec<Column>> {
    let description = RowDescription::decode(body)?;
    let column = |field: wire::backend::Field<'_>| Column {
        name: text(field.name),
        attribute: field.attribute,
        type_oid: field.type_oid.0,
        type_len: field.type_len,
        type_modifier: field.type_modifier,
        format: field.format,
    };
    Ok(description.iter().map(column).collect())
}

impl Fault {
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        let fields = ErrorFields::decode(body)?;
        let field = |code| fields.get(code).map(text);
        Ok(Self {
            severity: fields.severity().map(text).unwrap_or_default(),
            code: field(b'C').unwrap_or_default(),
            message: text(fields.message()),
            detail: field(b'D'),
            hint: field(b'H'),
            routine: field(b'R'),
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text where the bytes are printable, else hexadecimal.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => format!("{text:?}"),
        _ => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{digits}'")
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns(columns) => {
                f.write_str("columns")?;
                for column in columns {
                    let Column {
                        name,
                        attribute,
                        type_oid,
                        type_len,
                        type_modifier,
                        format,
                    } = column;
                    write!(
                        f,
                        " {name}:{type_oid}({type_len},{type_modifier})#{attribute}/{format}"
                    )?;
                }
                Ok(())
            }
            Self::Row(values) => {
                f.write_str("row")?;
                for value in values {
                    match value {
                        None => f.write_str(" NULL")?,
                        Some(bytes) => write!(f, " {}", readable(bytes))?,
                    }
                }
                Ok(())
            }
            Self::CopyData(bytes) => write!(f, "copy data {}", readable(bytes)),
            Self::Complete(tag) => write!(f, "complete {tag}"),
            Self::Error(fault) => write!(f, "error {fault}"),
            Self::Notice(fault) => write!(f, "notice {fault}"),
            Self::Ready(status) => write!(f, "ready {status}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        for (name, field) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(field) = field {
                write!(f, "; {name}: {field}")?;
            }
        }
        Ok(())
    }
}
