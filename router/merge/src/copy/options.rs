//! How the data of a COPY is written.

/// The options of a COPY FROM that decide where rows and fields end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOptions {
    /// Text or CSV. The binary format is not split.
    pub format: CopyFormat,
    /// `DELIMITER`: a tab in text, a comma in CSV by default.
    pub delimiter: u8,
    /// `NULL`: `\N` in text, nothing in CSV by default.
    pub null: Vec<u8>,
    /// `HEADER`.
    pub header: Header,
}

/// `FORMAT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyFormat {
    /// `text`: a line per row, with backslash escapes.
    Text,
    /// `csv`: fields may be quoted, and quoted fields may hold line ends.
    Csv(CsvOptions),
}

/// What only CSV has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CsvOptions {
    /// `QUOTE`: `"` by default.
    pub quote: u8,
    /// `ESCAPE`: the quote by default.
    pub escape: u8,
    /// `FORCE_NULL` and `FORCE_NOT_NULL` of the key column.
    pub key_null: KeyNull,
    /// What a line of `\.` is.
    pub end_marker: CsvEndMarker,
}

/// When a field of the key column is NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyNull {
    /// When it is the NULL string and not quoted.
    Unquoted,
    /// When it is the NULL string (`FORCE_NULL`).
    AlsoQuoted,
    /// Never (`FORCE_NOT_NULL`).
    Never,
}

/// What a CSV line of `\.` is: PostgreSQL 18 changed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CsvEndMarker {
    /// The end of the data: servers before 18.
    Ends,
    /// A row: servers from 18 on.
    IsData,
}

/// Whether the first line is a header: every server is told HEADER too and expects one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// The first line is a row.
    Absent,
    /// The first line names the columns (`HEADER` and `HEADER MATCH`).
    Present,
}

impl CopyOptions {
    /// PostgreSQL's defaults of the text format.
    pub fn text() -> Self {
        Self {
            format: CopyFormat::Text,
            delimiter: b'\t',
            null: b"\\N".to_vec(),
            header: Header::Absent,
        }
    }

    /// PostgreSQL's defaults of the CSV format.
    pub fn csv() -> Self {
        let csv = CsvOptions {
            quote: b'"',
            escape: b'"',
            key_null: KeyNull::Unquoted,
            end_marker: CsvEndMarker::Ends,
        };
        Self {
            format: CopyFormat::Csv(csv),
            delimiter: b',',
            null: Vec::new(),
            header: Header::Absent,
        }
    }
}
