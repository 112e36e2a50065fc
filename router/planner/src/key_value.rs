//! The value of a shard key, typed as PostgreSQL hashes it.
//!
//! In: a value in PostgreSQL's text or binary format, with the [`KeyType`] that it is of. Out: a [`KeyValue`] that
//! [`slot_of`](crate::slot_of) takes, and its canonical text for cache tags.
//!
//! **Invariant:** what reads differently under another session setting or server version is refused, never guessed.
//! Text is UTF-8: a caller whose client and server encodings differ must not route by a text key.

use merge::iso::{self, IsoError};
use std::borrow::Cow;
use std::fmt;
use topology::KeyType;

/// The value of a shard key. NULL is not one: see [`slot_of_null`](crate::slot_of_null).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyValue<'a> {
    /// `smallint`, `integer` and `bigint`: equal numbers are equal keys.
    Int(i64),
    /// `text` and `varchar`.
    Text(Cow<'a, str>),
    /// `uuid`.
    Uuid([u8; 16]),
    /// `bytea`.
    Bytea(Cow<'a, [u8]>),
    /// `date`: days since 2000-01-01.
    Date(i32),
    /// `timestamptz`: microseconds since 2000-01-01 00:00 UTC.
    TimestampTz(i64),
}

/// Why a value can't be used as a shard key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// PostgreSQL refuses the value too, whatever the settings: any server may be asked to say so.
    #[error("invalid value for a shard key of type {0:?}")]
    Malformed(KeyType),
    /// PostgreSQL refuses the value too: too large or too small for its type.
    #[error("value out of range for a shard key of type {0:?}")]
    OutOfRange(KeyType),
    /// PostgreSQL may take the value, but as what depends on the session or the server's version.
    #[error("the meaning of this {0:?} value depends on session settings or the server's version")]
    Unsure(KeyType),
}

impl<'a> KeyValue<'a> {
    /// The value that PostgreSQL reads from this text form.
    ///
    /// # Errors
    /// [`KeyError`]: it is none of the type, or not surely.
    pub fn from_text(key_type: KeyType, text: &'a [u8]) -> Result<Self, KeyError> {
        match key_type {
            KeyType::Int2 => int_from_text(key_type, text, i64::from(i16::MIN), i64::from(i16::MAX)),
            KeyType::Int4 => int_from_text(key_type, text, i64::from(i32::MIN), i64::from(i32::MAX)),
            KeyType::Int8 => int_from_text(key_type, text, i64::MIN, i64::MAX),
            KeyType::Text => text_from_bytes(text),
            KeyType::Uuid => uuid_from_text(text)
                .map(KeyValue::Uuid)
                .ok_or(KeyError::Malformed(key_type)),
            KeyType::Bytea => bytea_from_text(text).ok_or(KeyError::Malformed(key_type)),
            KeyType::Date => iso::parse_date(text)
                .map(KeyValue::Date)
                .map_err(|e| from_iso(key_type, e)),
            KeyType::TimestampTz => iso::parse_timestamptz(text)
                .map(KeyValue::TimestampTz)
                .map_err(|e| from_iso(key_type, e)),
        }
    }

    /// The value that PostgreSQL reads from this binary form.
    ///
    /// # Errors
    /// [`KeyError`]: it is none of the type.
    pub fn from_binary(key_type: KeyType, bytes: &'a [u8]) -> Result<Self, KeyError> {
        match key_type {
            KeyType::Int2 => fixed(key_type, bytes).map(|b| KeyValue::Int(i16::from_be_bytes(b).into())),
            KeyType::Int4 => fixed(key_type, bytes).map(|b| KeyValue::Int(i32::from_be_bytes(b).into())),
            KeyType::Int8 => fixed(key_type, bytes).map(|b| KeyValue::Int(i64::from_be_bytes(b))),
            KeyType::Text => text_from_bytes(bytes),
            KeyType::Uuid => fixed(key_type, bytes).map(KeyValue::Uuid),
            KeyType::Bytea => Ok(KeyValue::Bytea(Cow::Borrowed(bytes))),
            KeyType::Date => {
                let days = i32::from_be_bytes(fixed(key_type, bytes)?);
                in_range(key_type, iso::is_valid_date(days), KeyValue::Date(days))
            }
            KeyType::TimestampTz => {
                let micros = i64::from_be_bytes(fixed(key_type, bytes)?);
                in_range(
                    key_type,
                    iso::is_valid_timestamp(micros),
                    KeyValue::TimestampTz(micros),
                )
            }
        }
    }

    /// The text that PostgreSQL prints for the value under `DateStyle = ISO`, `TimeZone = UTC` and
    /// `bytea_output = hex`. The [`Display`](fmt::Display) form is the same and needs no allocation of its own.
    pub fn canonical_text(&self) -> Cow<'_, str> {
        match self {
            KeyValue::Text(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }

    /// Whether a column surely holds the value as it is once it is stored there: its length or precision may cut it.
    /// `varchar(n)` drops blanks beyond its length; `timestamptz(p)` rounds.
    pub fn is_stored_uncut(&self) -> bool {
        const MICROS_PER_SECOND: i64 = 1_000_000;
        match self {
            KeyValue::Text(text) => !text.ends_with(' '),
            KeyValue::TimestampTz(micros) => micros % MICROS_PER_SECOND == 0,
            KeyValue::Int(_) | KeyValue::Uuid(_) | KeyValue::Bytea(_) | KeyValue::Date(_) => true,
        }
    }

    /// The same value, owning its bytes.
    pub fn into_owned(self) -> KeyValue<'static> {
        match self {
            KeyValue::Int(number) => KeyValue::Int(number),
            KeyValue::Text(text) => KeyValue::Text(Cow::Owned(text.into_owned())),
            KeyValue::Uuid(bytes) => KeyValue::Uuid(bytes),
            KeyValue::Bytea(bytes) => KeyValue::Bytea(Cow::Owned(bytes.into_owned())),
            KeyValue::Date(days) => KeyValue::Date(days),
            KeyValue::TimestampTz(micros) => KeyValue::TimestampTz(micros),
        }
    }
}

impl fmt::Display for KeyValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyValue::Int(number) => fmt::Display::fmt(number, f),
            KeyValue::Text(text) => f.write_str(text),
            KeyValue::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(at, byte)| {
                let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{hyphen}{byte:02x}")
            }),
            KeyValue::Bytea(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            KeyValue::Date(days) => iso::write_date(f, *days),
            KeyValue::TimestampTz(micros) => iso::write_timestamptz_utc(f, *micros),
        }
    }
}

/// `int2in`, `int4in`, `int8in`: blanks around, a sign, decimal digits.
fn int_from_text(key_type: KeyType, text: &[u8], min: i64, max: i64) -> Result<KeyValue<'_>, KeyError> {
    let text = trim_c_spaces(text);
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits.is_empty() {
        // PostgreSQL 16 and later read 0x1F, 0o17, 0b11 and 1_000; earlier ones refuse them.
        let newer_form =
            digits.contains(&b'_') || matches!(digits, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
        let error = if newer_form {
            KeyError::Unsure
        } else {
            KeyError::Malformed
        };
        return Err(error(key_type));
    }
    // Counted downwards, so that the smallest number needs no case of its own.
    let below_zero = digits
        .iter()
        .try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
        })
        .ok_or(KeyError::OutOfRange(key_type))?;
    let number = if negative {
        Some(below_zero)
    } else {
        below_zero.checked_neg()
    };
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(KeyValue::Int(number)),
        _ => Err(KeyError::OutOfRange(key_type)),
    }
}

/// Without what C's `isspace` calls blank at both ends.
fn trim_c_spaces(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

fn text_from_bytes(bytes: &[u8]) -> Result<KeyValue<'_>, KeyError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(KeyValue::Text(Cow::Borrowed(text))),
        _ => Err(KeyError::Malformed(KeyType::Text)),
    }
}

/// `uuid_in`: 32 hexadecimal digits, a hyphen allowed after every four, braces allowed around.
fn uuid_from_text(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        let [high, low, tail @ ..] = rest else { return None };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        rest = match tail {
            [b'-', after @ ..] if at % 2 == 1 && at < 15 => after,
            _ => tail,
        };
    }
    rest.is_empty().then_some(uuid)
}

/// `byteain`: `\x` and hexadecimal digits, with blanks between bytes; else the escape form.
fn bytea_from_text(text: &[u8]) -> Option<KeyValue<'_>> {
    if let Some(digits) = text.strip_prefix(b"\\x") {
        return bytea_from_hex(digits).map(|bytes| KeyValue::Bytea(Cow::Owned(bytes)));
    }
    if !text.contains(&b'\\') {
        return Some(KeyValue::Bytea(Cow::Borrowed(text)));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
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
    Some(KeyValue::Bytea(Cow::Owned(bytes)))
}

fn bytea_from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut rest = digits;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b' ' | b'\n' | b'\t' | b'\r', after) => after,
            (high, [low, after @ ..]) => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                after
            }
            (_, []) => return None,
        };
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn fixed<const N: usize>(key_type: KeyType, bytes: &[u8]) -> Result<[u8; N], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Malformed(key_type))
}

fn in_range(key_type: KeyType, holds: bool, value: KeyValue<'_>) -> Result<KeyValue<'_>, KeyError> {
    if holds {
        Ok(value)
    } else {
        Err(KeyError::OutOfRange(key_type))
    }
}

fn from_iso(key_type: KeyType, error: IsoError) -> KeyError {
    match error {
        IsoError::NotIso => KeyError::Unsure(key_type),
        IsoError::OutOfRange => KeyError::OutOfRange(key_type),
    }
}

#[cfg(test)]
mod tests;
