//! Where rows end, over chunks cut anywhere.

use super::fields::key_of;
use super::{CopyFormat, CopyOptions, CsvEndMarker, CsvOptions, Header};
use crate::CopyError;
use std::borrow::Cow;

/// The longest row that is taken: a row is held until its end is known.
pub const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;
/// A buffer of more than this is given back after the long row that needed it.
const KEPT_CAPACITY: usize = 64 * 1024;
/// The line that ends the data.
const END_MARKER: &[u8] = b"\\.";

/// A row of a COPY stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyRow<'a> {
    /// Its bytes as they came, line end included (the last row may have none).
    pub bytes: &'a [u8],
    /// The value that decides where it goes.
    pub key: RowKey<'a>,
}

/// The key column of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowKey<'a> {
    /// Not a row but the header line: for every shard, as each server is told HEADER too.
    Header,
    /// The value, in PostgreSQL's text format.
    Value(Cow<'a, [u8]>),
    /// NULL.
    Null,
    /// There is none: the row has too few columns, or the data ended inside a quoted field. Any server refuses the row
    /// and says why.
    Missing,
}

/// Splits a COPY stream into rows.
#[derive(Debug)]
pub struct RowSplitter {
    options: CopyOptions,
    key_column: usize,
    max_row_bytes: usize,
    header: Header,
    line_end: LineEnd,
    scan: Scan,
    /// The row whose end has not come: empty while rows lie in one chunk.
    partial: Vec<u8>,
}

/// How lines end in this data: the first one decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineEnd {
    Unknown,
    Newline,
    CarriageReturn,
    Both,
}

/// What the bytes so far leave open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scan {
    Plain,
    /// Text: the next byte belongs to the backslash.
    Backslash,
    /// Text: the same, and the backslash is the first byte of the row.
    FirstBackslash,
    /// CSV: in a quoted field.
    Quoted,
    /// CSV: in a quoted field after the escape character, where that is not the quote.
    QuotedEscape,
    /// After a carriage return that a newline may follow.
    CarriageReturn,
    /// After the end marker: the server ignores the rest.
    Ended,
}

impl RowSplitter {
    /// A splitter for data written under `options`, of which the column at `key_column` (from 0, in the order of the
    /// COPY's column list) is wanted.
    ///
    /// # Errors
    /// [`CopyError::Unsupported`] for a quote character that is a part of the end marker.
    pub fn new(options: CopyOptions, key_column: usize) -> Result<Self, CopyError> {
        if let CopyFormat::Csv(CsvOptions {
            quote: b'\\' | b'.', ..
        }) = options.format
        {
            return Err(CopyError::Unsupported("a backslash or period as QUOTE"));
        }
        Ok(Self {
            header: options.header,
            options,
            key_column,
            max_row_bytes: MAX_ROW_BYTES,
            line_end: LineEnd::Unknown,
            scan: Scan::Plain,
            partial: Vec::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn with_max_row_bytes(self, max_row_bytes: usize) -> Self {
        Self {
            max_row_bytes,
            ..self
        }
    }

    /// Whether the end marker came: what follows is ignored, as the server does.
    pub fn has_ended(&self) -> bool {
        self.scan == Scan::Ended
    }

    /// Takes the next bytes and gives every row that they complete.
    ///
    /// # Errors
    /// [`CopyError`], or what `on_row` returned; the stream can't be continued then.
    pub fn feed<E: From<CopyError>>(
        &mut self,
        chunk: &[u8],
        mut on_row: impl FnMut(CopyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        while self.scan != Scan::Ended {
            let Some(end) = self.scan_line(rest)? else {
                return self.keep(rest).map_err(E::from);
            };
            let (row, after) = rest.split_at(end.at);
            rest = after;
            if self.partial.is_empty() {
                self.give(row, end.length, &mut on_row)?;
            } else {
                self.keep(row)?;
                self.give_partial(end.length, &mut on_row)?;
            }
        }
        Ok(())
    }

    /// Takes the end of the data and gives the last row, where no line end came after it.
    ///
    /// # Errors
    /// [`CopyError`], or what `on_row` returned.
    pub fn finish<E: From<CopyError>>(
        &mut self,
        mut on_row: impl FnMut(CopyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let end_length = match self.scan {
            Scan::Ended => return Ok(()),
            Scan::CarriageReturn => {
                self.carriage_return_alone()?;
                1
            }
            Scan::Plain | Scan::Backslash | Scan::FirstBackslash | Scan::Quoted | Scan::QuotedEscape => 0,
        };
        if self.partial.is_empty() {
            Ok(())
        } else {
            self.give_partial(end_length, &mut on_row)
        }
    }

    /// Goes through `bytes`, the continuation of what `scan` tells of, up to the end of the row.
    fn scan_line(&mut self, bytes: &[u8]) -> Result<Option<RowEnd>, CopyError> {
        let mut at = 0;
        loop {
            at += self.uninteresting(bytes.get(at..).unwrap_or_default());
            let Some(byte) = bytes.get(at).copied() else {
                return Ok(None);
            };
            if self.scan == Scan::CarriageReturn {
                self.scan = Scan::Plain;
                if byte == b'\n' {
                    self.line_end = LineEnd::Both;
                    return Ok(Some(RowEnd {
                        at: at + 1,
                        length: 2,
                    }));
                }
                self.carriage_return_alone()?;
                return Ok(Some(RowEnd { at, length: 1 }));
            }
            let is_first = at == 0 && self.partial.is_empty();
            at += 1;
            match (self.scan, byte) {
                (Scan::Plain, b'\n') => {
                    self.newline()?;
                    return Ok(Some(RowEnd { at, length: 1 }));
                }
                (Scan::Plain, b'\r') => match self.line_end {
                    LineEnd::CarriageReturn => return Ok(Some(RowEnd { at, length: 1 })),
                    LineEnd::Unknown | LineEnd::Both => self.scan = Scan::CarriageReturn,
                    LineEnd::Newline => return Err(self.mixed("carriage return")),
                },
                (state, byte) => self.scan = self.after_byte(state, byte, is_first)?,
            }
        }
    }

    /// How many bytes at the start change nothing.
    fn uninteresting(&self, bytes: &[u8]) -> usize {
        let next = match (self.scan, self.options.format) {
            (Scan::Plain, CopyFormat::Text) => memchr::memchr3(b'\n', b'\r', b'\\', bytes),
            (Scan::Plain, CopyFormat::Csv(csv)) => memchr::memchr3(b'\n', b'\r', csv.quote, bytes),
            (Scan::Quoted, CopyFormat::Csv(csv)) => memchr::memchr2(csv.quote, csv.escape, bytes),
            _ => return 0,
        };
        next.unwrap_or(bytes.len())
    }

    /// What `byte` leaves open, where it is no line end.
    fn after_byte(&self, state: Scan, byte: u8, is_first: bool) -> Result<Scan, CopyError> {
        match (self.options.format, state) {
            (CopyFormat::Text, Scan::Plain) if byte == b'\\' && is_first => Ok(Scan::FirstBackslash),
            (CopyFormat::Text, Scan::Plain) if byte == b'\\' => Ok(Scan::Backslash),
            (CopyFormat::Text, Scan::Backslash) if byte == b'.' => Err(CopyError::CorruptEndMarker),
            (CopyFormat::Csv(csv), Scan::Plain) if byte == csv.quote => Ok(Scan::Quoted),
            (CopyFormat::Csv(csv), Scan::Quoted) if byte == csv.quote => Ok(Scan::Plain),
            (CopyFormat::Csv(csv), Scan::Quoted) if byte == csv.escape => Ok(Scan::QuotedEscape),
            (CopyFormat::Csv(_), Scan::Quoted | Scan::QuotedEscape) => Ok(Scan::Quoted),
            _ => Ok(Scan::Plain),
        }
    }

    fn newline(&mut self) -> Result<(), CopyError> {
        match self.line_end {
            LineEnd::Unknown | LineEnd::Newline => {
                self.line_end = LineEnd::Newline;
                Ok(())
            }
            LineEnd::CarriageReturn | LineEnd::Both => Err(self.mixed("newline")),
        }
    }

    fn carriage_return_alone(&mut self) -> Result<(), CopyError> {
        match self.line_end {
            LineEnd::Unknown | LineEnd::CarriageReturn => {
                self.line_end = LineEnd::CarriageReturn;
                Ok(())
            }
            LineEnd::Newline | LineEnd::Both => Err(self.mixed("carriage return")),
        }
    }

    fn mixed(&self, found: &'static str) -> CopyError {
        let how = match self.options.format {
            CopyFormat::Text => "literal",
            CopyFormat::Csv(_) => "unquoted",
        };
        CopyError::MixedLineEnds { how, found }
    }

    /// Adds to the row whose end has not come.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        self.check_length(self.partial.len().saturating_add(bytes.len()))?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<(), CopyError> {
        let limit = self.max_row_bytes;
        if length > limit {
            Err(CopyError::RowTooLong { limit })
        } else {
            Ok(())
        }
    }

    fn give_partial<E: From<CopyError>>(
        &mut self,
        end_length: usize,
        on_row: &mut impl FnMut(CopyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut partial = std::mem::take(&mut self.partial);
        let given = self.give(&partial, end_length, on_row);
        if partial.capacity() <= KEPT_CAPACITY {
            partial.clear();
            self.partial = partial;
        }
        given
    }

    /// Hands over a row, or takes it for what it is: the header or the end of the data.
    fn give<E: From<CopyError>>(
        &mut self,
        bytes: &[u8],
        end_length: usize,
        on_row: &mut impl FnMut(CopyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check_length(bytes.len())?;
        let line = bytes
            .get(..bytes.len().saturating_sub(end_length))
            .unwrap_or_default();
        if self.is_end_marker(line, end_length)? {
            self.scan = Scan::Ended;
            return Ok(());
        }
        let key = match self.header {
            Header::Present => {
                self.header = Header::Absent;
                RowKey::Header
            }
            Header::Absent if matches!(self.scan, Scan::Quoted | Scan::QuotedEscape) => RowKey::Missing,
            Header::Absent => key_of(&self.options, self.key_column, line),
        };
        on_row(CopyRow { bytes, key })
    }

    /// Whether this line ends the data. To the server a last line without its end does not.
    fn is_end_marker(&self, line: &[u8], end_length: usize) -> Result<bool, CopyError> {
        let is_marker = line == END_MARKER && end_length > 0;
        match self.options.format {
            CopyFormat::Text if line.starts_with(END_MARKER) && !is_marker => {
                Err(CopyError::CorruptEndMarker)
            }
            CopyFormat::Text => Ok(is_marker),
            CopyFormat::Csv(csv) => Ok(is_marker && csv.end_marker == CsvEndMarker::Ends),
        }
    }
}

/// Where a row ends in the bytes that were looked at.
struct RowEnd {
    /// After its last byte.
    at: usize,
    /// How many bytes the line end has.
    length: usize,
}
