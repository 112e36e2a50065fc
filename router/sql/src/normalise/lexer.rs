//! Where the tokens of SQL end: words, numbers, quotes, dollar quotes, comments.

use super::LiteralKind;
use crate::hints::HINT_PREFIX;
use memchr::memchr;
use std::ops::Range;

/// What a byte starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Space,
    Word,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dash,
    Slash,
    Dot,
    List,
    Close,
    Semicolon,
    Nul,
    Other,
}

pub(super) static CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Word,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b',' | b'(' => Class::List,
            b')' => Class::Close,
            b';' => Class::Semicolon,
            0 => Class::Nul,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
};

pub(super) fn is_word_byte(byte: u8) -> bool {
    matches!(
        CLASS[usize::from(byte)],
        Class::Word | Class::Digit | Class::Dollar
    )
}

pub(super) fn word_end(sql: &[u8], start: usize) -> usize {
    sql.get(start..)
        .and_then(|rest| rest.iter().position(|byte| !is_word_byte(*byte)))
        .map_or(sql.len(), |length| start + length)
}

/// The end of a quoted thing whose quote is at `start`; a doubled quote is part of it.
pub(super) fn quoted_end(sql: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr(quote, sql.get(at..)?)? + 1;
        if sql.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// As [`quoted_end`] for E'...', where a backslash takes the next byte with it.
pub(super) fn escaped_end(sql: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match sql.get(at)? {
            b'\\' => at += 2,
            b'\'' if sql.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The end of `$tag$...$tag$`; `None` for `$1` and everything else that starts with a dollar.
pub(super) fn dollar_end(sql: &[u8], start: usize) -> Option<usize> {
    let rest = sql.get(start + 1..)?;
    let length = memchr(b'$', rest)?;
    let tag = rest.get(..length)?;
    let plain = tag.first().is_none_or(|b| !b.is_ascii_digit()) && tag.iter().all(|b| is_word_byte(*b));
    if !plain {
        return None;
    }
    let delimiter = sql.get(start..start + length + 2)?;
    let body = start + delimiter.len();
    let inside = memchr::memmem::find(sql.get(body..)?, delimiter)?;
    Some(body + inside + delimiter.len())
}

/// The end of a number; `None` where PostgreSQL versions disagree on where it ends (`0x1F`, `1_000`, `1abc`, `1..2`).
pub(super) fn number_end(sql: &[u8], start: usize) -> Option<(usize, LiteralKind)> {
    let digits = |from: usize| {
        sql.get(from..)
            .and_then(|rest| rest.iter().position(|b| !b.is_ascii_digit()))
            .map_or(sql.len(), |length| from + length)
    };
    let mut kind = LiteralKind::Integer;
    let mut at = digits(start);
    if sql.get(at) == Some(&b'.') {
        if sql.get(at + 1) == Some(&b'.') {
            return None;
        }
        kind = LiteralKind::Decimal;
        at = digits(at + 1);
    }
    if matches!(sql.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(sql.get(at + 1), Some(b'+' | b'-')));
        let from = at + 1 + sign;
        let end = digits(from);
        if end == from {
            return None;
        }
        kind = LiteralKind::Decimal;
        at = end;
    }
    match sql.get(at) {
        Some(b'.') => None,
        Some(b) if is_word_byte(*b) => None,
        _ => Some((at, kind)),
    }
}

pub(super) fn line_comment_end(sql: &[u8], start: usize) -> usize {
    sql.get(start..)
        .and_then(|rest| memchr::memchr2(b'\n', b'\r', rest))
        .map_or(sql.len(), |length| start + length)
}

/// The end of a block comment; they nest. `None`: it doesn't end.
pub(super) fn block_comment_end(sql: &[u8], start: usize) -> Option<usize> {
    let mut depth = 1_usize;
    let mut at = start + 2;
    while depth > 0 {
        at += memchr::memchr2(b'*', b'/', sql.get(at..)?)?;
        match (sql.get(at)?, sql.get(at + 1)?) {
            (b'*', b'/') => {
                depth -= 1;
                at += 2;
            }
            (b'/', b'*') => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    Some(at)
}

/// The first byte from `at` on that is neither white space nor comment; `None` for a comment without end.
pub(super) fn skip_blank(sql: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match (sql.get(at), sql.get(at + 1)) {
            (Some(byte), _) if CLASS[usize::from(*byte)] == Class::Space => at += 1,
            (Some(b'-'), Some(b'-')) => at = line_comment_end(sql, at),
            (Some(b'/'), Some(b'*')) => at = block_comment_end(sql, at)?,
            _ => return Some(at),
        }
    }
}

/// The inside of a hint's comment, after its prefix.
fn hint_body(comment: &[u8]) -> Option<&[u8]> {
    let inside = comment
        .strip_prefix(b"/*")?
        .strip_suffix(b"*/")?
        .trim_ascii_start();
    inside.strip_prefix(HINT_PREFIX)
}

pub(super) fn is_hint(comment: &[u8]) -> bool {
    hint_body(comment).is_some()
}

/// The insides of all hint comments of `sql`.
pub(crate) fn hint_comments(sql: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    scan(sql, |token| {
        if let Some(body) = sql.get(token.clone()).and_then(hint_body) {
            // The body ends before the two bytes that close the comment.
            found.push(token.end - 2 - body.len()..token.end - 2);
        }
    });
    found
}

/// The places of `$n` in `sql`, with n.
pub(crate) fn parameters(sql: &[u8]) -> Vec<(Range<usize>, u32)> {
    let mut found = Vec::new();
    scan(sql, |token| {
        let number = sql
            .get(token.clone())
            .and_then(|t| t.strip_prefix(b"$"))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.push((token, number));
        }
    });
    found
}

/// Calls `see` with every token that is more than one byte of punctuation, comments included. Stops at what doesn't end.
fn scan(sql: &[u8], mut see: impl FnMut(Range<usize>)) {
    let mut at = 0;
    while let Some(&byte) = sql.get(at) {
        let end = match CLASS[usize::from(byte)] {
            Class::Word => {
                let end = word_end(sql, at);
                let escaped = matches!(sql.get(at..end), Some(b"e" | b"E")) && sql.get(end) == Some(&b'\'');
                if escaped { escaped_end(sql, end) } else { Some(end) }
            }
            Class::Quote => quoted_end(sql, at, b'\''),
            Class::DoubleQuote => quoted_end(sql, at, b'"'),
            Class::Dollar => dollar_end(sql, at).or_else(|| {
                let digits = sql
                    .get(at + 1..)?
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                Some(at + 1 + digits)
            }),
            Class::Dash if sql.get(at + 1) == Some(&b'-') => Some(line_comment_end(sql, at)),
            Class::Slash if sql.get(at + 1) == Some(&b'*') => block_comment_end(sql, at),
            _ => Some(at + 1),
        };
        let Some(end) = end else { return };
        if end > at + 1 {
            see(at..end);
        }
        at = end;
    }
}
