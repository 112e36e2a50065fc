//! One field of a row, decoded as the server decodes it.

use super::{CopyFormat, CopyOptions, CsvOptions, KeyNull, RowKey};
use std::borrow::Cow;

/// The key of a line without its line end.
pub(super) fn key_of<'a>(options: &CopyOptions, column: usize, line: &'a [u8]) -> RowKey<'a> {
    let mut rest = line;
    for at in 0..=column {
        // Fields before the key are walked over, not decoded.
        let wanted = if at == column { Output::Lent } else { Output::Skip };
        let field = match options.format {
            CopyFormat::Text => text_field(options.delimiter, rest, wanted),
            CopyFormat::Csv(csv) => csv_field(options.delimiter, csv, rest, wanted),
        };
        if at == column {
            return field.into_key(options);
        }
        match field.after {
            Some(after) => rest = after,
            None => break,
        }
    }
    RowKey::Missing
}

/// What comes of a field's value.
enum Output {
    /// Nothing: the field is not wanted.
    Skip,
    /// The value is the raw bytes so far, as most keys are to their end.
    Lent,
    /// The value differs from the raw bytes.
    Decoded(Vec<u8>),
}

impl Output {
    fn push(&mut self, byte: u8) {
        if let Output::Decoded(bytes) = self {
            bytes.push(byte);
        }
    }

    /// From here on the value is not `raw` and what follows it.
    fn part_from(&mut self, raw: &[u8]) {
        if matches!(self, Output::Lent) {
            *self = Output::Decoded(raw.to_vec());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Bare,
    Quoted,
}

struct Field<'a> {
    raw: &'a [u8],
    decoded: Output,
    quoting: Quoting,
    /// What follows the delimiter; `None` after the last field.
    after: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    fn into_key(self, options: &CopyOptions) -> RowKey<'a> {
        let value = match self.decoded {
            Output::Decoded(decoded) => Cow::Owned(decoded),
            Output::Lent | Output::Skip => Cow::Borrowed(self.raw),
        };
        let is_null = self.quoting == Quoting::Bare && self.raw == options.null;
        let rule = match options.format {
            CopyFormat::Text => KeyNull::Unquoted,
            CopyFormat::Csv(csv) => csv.key_null,
        };
        match rule {
            KeyNull::Never => RowKey::Value(value),
            KeyNull::AlsoQuoted if is_null || *value == *options.null => RowKey::Null,
            KeyNull::Unquoted if is_null => RowKey::Null,
            KeyNull::AlsoQuoted | KeyNull::Unquoted => RowKey::Value(value),
        }
    }
}

/// A field of the text format (`CopyReadAttributesText`).
fn text_field(delimiter: u8, line: &[u8], mut decoded: Output) -> Field<'_> {
    let mut rest = line;
    let raw_before = |rest: &[u8]| line.get(..line.len() - rest.len()).unwrap_or(line);
    loop {
        // Where the server takes the raw field to end, to compare it with the NULL string.
        let raw = raw_before(rest);
        rest = match rest {
            [b'\\', escaped @ ..] if !escaped.is_empty() => {
                let (byte, after) = unescape(escaped);
                decoded.part_from(raw);
                decoded.push(byte);
                after
            }
            [] | [b'\\'] => {
                return Field {
                    raw,
                    decoded,
                    quoting: Quoting::Bare,
                    after: None,
                };
            }
            [byte, after @ ..] if *byte == delimiter => {
                return Field {
                    raw,
                    decoded,
                    quoting: Quoting::Bare,
                    after: Some(after),
                };
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        };
    }
}

/// The byte that is meant by what follows a backslash, and what follows that.
fn unescape(escaped: &[u8]) -> (u8, &[u8]) {
    match escaped {
        [b'0'..=b'7', ..] => number(escaped, 3, 8),
        [b'x', digits @ ..] if digits.first().is_some_and(u8::is_ascii_hexdigit) => number(digits, 2, 16),
        [b'b', after @ ..] => (0x08, after),
        [b'f', after @ ..] => (0x0c, after),
        [b'n', after @ ..] => (b'\n', after),
        [b'r', after @ ..] => (b'\r', after),
        [b't', after @ ..] => (b'\t', after),
        [b'v', after @ ..] => (0x0b, after),
        [byte, after @ ..] => (*byte, after),
        [] => (b'\\', escaped),
    }
}

/// Up to `max` digits; of three octal ones the low eight bits count.
fn number(digits: &[u8], max: usize, radix: u32) -> (u8, &[u8]) {
    let value = |digit: &u8| char::from(*digit).to_digit(radix);
    let count = digits
        .iter()
        .take(max)
        .take_while(|digit| value(digit).is_some())
        .count();
    let (digits, after) = digits.split_at(count);
    let sum = digits
        .iter()
        .filter_map(value)
        .fold(0, |sum, digit| sum * radix + digit);
    ((sum & 0xff) as u8, after)
}

/// A field of the CSV format (`CopyReadAttributesCSV`). The splitter made sure that quotes are closed.
fn csv_field(delimiter: u8, csv: CsvOptions, line: &[u8], mut decoded: Output) -> Field<'_> {
    let mut rest = line;
    let mut quoting = Quoting::Bare;
    let raw_before = |rest: &[u8]| line.get(..line.len() - rest.len()).unwrap_or(line);
    loop {
        let raw = raw_before(rest);
        rest = match rest {
            [] => {
                return Field {
                    raw,
                    decoded,
                    quoting,
                    after: None,
                };
            }
            [byte, after @ ..] if *byte == delimiter => {
                return Field {
                    raw,
                    decoded,
                    quoting,
                    after: Some(after),
                };
            }
            [byte, after @ ..] if *byte == csv.quote => {
                quoting = Quoting::Quoted;
                decoded.part_from(raw);
                quoted_part(csv, after, &mut decoded)
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        };
    }
}

/// Reads up to the closing quote and gives what follows it.
fn quoted_part<'a>(csv: CsvOptions, inside: &'a [u8], decoded: &mut Output) -> &'a [u8] {
    let mut rest = inside;
    loop {
        rest = match rest {
            [] => return rest,
            [escape, next, after @ ..]
                if *escape == csv.escape && (*next == csv.escape || *next == csv.quote) =>
            {
                decoded.push(*next);
                after
            }
            [byte, after @ ..] if *byte == csv.quote => return after,
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        };
    }
}
