//! Literals cut out of a text, so that statements that differ in their values share one plan.
//!
//! `SELECT * FROM t WHERE a = 5` becomes the template `SELECT * FROM t WHERE a = $1` with the literal `5`. The
//! template is itself SQL: facts are taken from it, so equal templates have equal facts by construction. What
//! decides the structure stays in the template (ordinals of ORDER BY, typed literals such as `date '...'`), and a text
//! whose template might mean something else than the text is marked [`exact_text_only`](Normalised::exact_text_only).
//!
//! Assumes `standard_conforming_strings = on`; the planner refuses to turn it off.

use crate::hints::HINT_PREFIX;
use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// How many literals a template may have; longer texts are planned by themselves.
pub const MAX_LITERALS: usize = 4096;

/// A literal of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Literal {
    /// Its first byte.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
    /// How it is written.
    pub kind: LiteralKind,
}

/// How a literal is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LiteralKind {
    /// Digits.
    Integer,
    /// Digits with a point or an exponent.
    Decimal,
    /// `'...'`.
    Quoted,
    /// `E'...'`.
    Escaped,
    /// `$tag$...$tag$`.
    Dollar,
    /// `B'...'` or `X'...'`.
    Bits,
}

impl Literal {
    /// Its bytes in the text that it was found in, quotes included.
    pub fn source<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(index(self.start)..index(self.end)).unwrap_or_default()
    }

    /// Its value: without quotes, doubled quotes made single. `None` for an escape string with a backslash and for bit
    /// strings, whose values this crate doesn't compute.
    pub fn value<'a>(&self, sql: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let source = self.source(sql);
        match self.kind {
            LiteralKind::Integer | LiteralKind::Decimal => Some(Cow::Borrowed(source)),
            LiteralKind::Quoted => unquote(source.get(1..source.len().saturating_sub(1))?),
            LiteralKind::Escaped => {
                let inner = source.get(2..source.len().saturating_sub(1))?;
                if memchr(b'\\', inner).is_some() {
                    None
                } else {
                    unquote(inner)
                }
            }
            LiteralKind::Dollar => {
                let tag = memchr(b'$', source.get(1..)?)? + 2;
                source.get(tag..source.len().checked_sub(tag)?).map(Cow::Borrowed)
            }
            LiteralKind::Bits => None,
        }
    }
}

fn unquote(inner: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'\'', inner).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr(b'\'', rest) {
        value.extend_from_slice(rest.get(..=at)?);
        rest = rest.get(at + 2..)?;
    }
    value.extend_from_slice(rest);
    Some(Cow::Owned(value))
}

/// A text cut into template and literals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Normalised<'a> {
    /// The text with `$1`, `$2`, ... for its literals; the whole text where [`exact_text_only`](Self::exact_text_only).
    pub template: &'a [u8],
    /// The literals, in order: the first is `$1`. Empty where [`exact_text_only`](Self::exact_text_only).
    pub literals: &'a [Literal],
    /// The text is its own template.
    pub exact_text_only: bool,
}

/// Cuts texts; owns the buffers that it reuses.
#[derive(Debug, Default)]
pub struct Normaliser {
    template: Vec<u8>,
    literals: Vec<Literal>,
}

impl Normaliser {
    /// With empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts `sql`. Never fails: what it doesn't understand is its own template.
    pub fn normalise<'a>(&'a mut self, sql: &'a [u8]) -> Normalised<'a> {
        self.template.clear();
        self.literals.clear();
        let whole = u32::try_from(sql.len()).is_ok()
            && Cutter::new(sql, &mut self.template, &mut self.literals)
                .run()
                .is_some();
        if whole {
            Normalised {
                template: &self.template,
                literals: &self.literals,
                exact_text_only: false,
            }
        } else {
            Normalised {
                template: sql,
                literals: &[],
                exact_text_only: true,
            }
        }
    }
}

/// The token before the one at hand.
#[derive(Clone, Copy)]
enum Previous {
    Nothing,
    Word(usize, usize),
    /// `,` or `(`, after which a number may be an ordinal.
    ListStart,
    /// `)`, after which a string may belong to a type with modifiers.
    Close,
    Other,
}

struct Cutter<'a> {
    sql: &'a [u8],
    at: usize,
    /// Everything before is in the template.
    copied: usize,
    previous: Previous,
    /// BY or DISTINCT occurred: numbers at the start of a list may be ordinals.
    ordinals: bool,
    template: &'a mut Vec<u8>,
    literals: &'a mut Vec<Literal>,
}

impl<'a> Cutter<'a> {
    fn new(sql: &'a [u8], template: &'a mut Vec<u8>, literals: &'a mut Vec<Literal>) -> Self {
        Self {
            sql,
            at: 0,
            copied: 0,
            previous: Previous::Nothing,
            ordinals: false,
            template,
            literals,
        }
    }

    /// `None`: the text is its own template.
    fn run(mut self) -> Option<()> {
        while let Some(&byte) = self.sql.get(self.at) {
            match CLASS[usize::from(byte)] {
                Class::Space => self.at += 1,
                Class::Word => self.word()?,
                Class::Digit => self.number()?,
                Class::Quote => self.quoted(self.at, LiteralKind::Quoted)?,
                Class::DoubleQuote => {
                    let start = self.at;
                    self.at = quoted_end(self.sql, start, b'"')?;
                    self.previous = Previous::Word(start, self.at);
                }
                Class::Dollar => self.dollar()?,
                Class::Dash if self.peek(1) == Some(b'-') => {
                    self.comment(line_comment_end(self.sql, self.at))?
                }
                Class::Slash if self.peek(1) == Some(b'*') => self.block_comment()?,
                Class::Dot if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number()?,
                // Two dots are one token, which no SQL statement has.
                Class::Dot if self.peek(1) == Some(b'.') => return None,
                Class::List => self.step(Previous::ListStart),
                Class::Close => self.step(Previous::Close),
                Class::Semicolon => {
                    // Only white space and comments may follow: more statements are planned by their whole text.
                    if skip_blank(self.sql, self.at + 1).is_none_or(|end| end != self.sql.len()) {
                        return None;
                    }
                    self.step(Previous::Other);
                }
                Class::Nul => return None,
                Class::Dash | Class::Slash | Class::Dot | Class::Other => self.step(Previous::Other),
            }
        }
        self.template.extend_from_slice(self.sql.get(self.copied..)?);
        Some(())
    }

    fn step(&mut self, previous: Previous) {
        self.at += 1;
        self.previous = previous;
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        self.at = word_end(self.sql, start);
        let word = self.sql.get(start..self.at)?;
        if let (Some(b'\''), &[prefix]) = (self.peek(0), word) {
            return match prefix {
                b'e' | b'E' => self.quoted(start, LiteralKind::Escaped),
                b'b' | b'B' | b'x' | b'X' => self.quoted(start, LiteralKind::Bits),
                // N'...' is a typed literal; any other letter is a type's name before a string.
                _ => None,
            };
        }
        if matches!(word, b"u" | b"U") && self.peek(0) == Some(b'&') {
            return None;
        }
        match self.previous {
            Previous::Nothing if !starts_templated_statement(word) => return None,
            _ => {}
        }
        match word.len() {
            2 if word.eq_ignore_ascii_case(b"by") => self.ordinals = true,
            8 if word.eq_ignore_ascii_case(b"distinct") => self.ordinals = true,
            _ => {}
        }
        self.previous = Previous::Word(start, self.at);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let (end, kind) = number_end(self.sql, start)?;
        self.at = end;
        let ordinal = self.ordinals
            && match self.previous {
                Previous::ListStart => true,
                Previous::Word(from, to) => self.sql.get(from..to)?.eq_ignore_ascii_case(b"by"),
                _ => false,
            };
        if ordinal {
            self.previous = Previous::Other;
            return Some(());
        }
        self.literal(start, kind)
    }

    /// A string that starts at `start` (its prefix) and whose quote is at `self.at`.
    fn quoted(&mut self, start: usize, kind: LiteralKind) -> Option<()> {
        self.at = match kind {
            LiteralKind::Escaped => escaped_end(self.sql, self.at)?,
            // Bit strings have no doubled quotes.
            LiteralKind::Bits => self.at + 2 + memchr(b'\'', self.sql.get(self.at + 1..)?)?,
            _ => quoted_end(self.sql, self.at, b'\'')?,
        };
        // 'a' <newline> 'b' is one literal: rare enough to plan by its text.
        let after = skip_blank(self.sql, self.at)?;
        if self.sql.get(after) == Some(&b'\'') {
            return None;
        }
        self.string(start, kind)
    }

    fn dollar(&mut self) -> Option<()> {
        let start = self.at;
        self.at = dollar_end(self.sql, start)?;
        self.string(start, LiteralKind::Dollar)
    }

    fn string(&mut self, start: usize, kind: LiteralKind) -> Option<()> {
        let typed = match self.previous {
            Previous::Word(from, to) => !takes_plain_string(self.sql.get(from..to)?),
            Previous::Close => true,
            _ => false,
        };
        if typed {
            self.previous = Previous::Other;
            return Some(());
        }
        self.literal(start, kind)
    }

    /// Replaces the bytes from `start` to `self.at` by the next `$n`.
    fn literal(&mut self, start: usize, kind: LiteralKind) -> Option<()> {
        let before = start.checked_sub(1).and_then(|at| self.sql.get(at));
        let glued = before.is_some_and(|b| is_word_byte(*b)) || self.peek(0).is_some_and(is_word_byte);
        if glued || self.literals.len() >= MAX_LITERALS {
            return None;
        }
        self.template.extend_from_slice(self.sql.get(self.copied..start)?);
        self.copied = self.at;
        self.literals.push(Literal {
            start: u32::try_from(start).ok()?,
            end: u32::try_from(self.at).ok()?,
            kind,
        });
        push_parameter(self.template, self.literals.len());
        self.previous = Previous::Other;
        Some(())
    }

    /// A comment is white space to PostgreSQL, so one space stands for it; hints stay.
    fn comment(&mut self, end: usize) -> Option<()> {
        self.template
            .extend_from_slice(self.sql.get(self.copied..self.at)?);
        // A line comment may be what separates the two halves of 'a' 'b': keep the kind of white space.
        self.template
            .push(if self.peek(0) == Some(b'-') { b'\n' } else { b' ' });
        self.at = end;
        self.copied = end;
        Some(())
    }

    fn block_comment(&mut self) -> Option<()> {
        let end = block_comment_end(self.sql, self.at)?;
        if is_hint(self.sql.get(self.at..end)?) {
            self.at = end;
            return Some(());
        }
        self.comment(end)
    }
}

/// Whether a text, read as a date or time, means another one whenever it is read.
pub fn is_relative_time(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
    // 'today 12:00' is relative too.
    let mut words = text.split(|b| !b.is_ascii_alphabetic());
    words.any(|word| WORDS.iter().any(|relative| word.eq_ignore_ascii_case(relative)))
        && text.len() <= LONGEST_TIME
}

/// Longer texts are no times.
const LONGEST_TIME: usize = 64;

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn push_parameter(template: &mut Vec<u8>, number: usize) {
    template.push(b'$');
    let mut digits = [0_u8; 8];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 && at > 0 {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        }
        rest /= 10;
    }
    template.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Statements whose literals are values; in all others they may be anything.
fn starts_templated_statement(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 6] = [b"select", b"insert", b"update", b"delete", b"with", b"values"];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Keywords after which a string is a plain value and not the literal of the type that the word names.
fn takes_plain_string(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 26] = [
        b"select",
        b"where",
        b"and",
        b"or",
        b"not",
        b"like",
        b"ilike",
        b"between",
        b"when",
        b"then",
        b"else",
        b"on",
        b"having",
        b"returning",
        b"by",
        b"limit",
        b"offset",
        b"in",
        b"to",
        b"escape",
        b"from",
        b"using",
        b"case",
        b"distinct",
        b"all",
        b"is",
    ];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// What a byte starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
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

static CLASS: [Class; 256] = {
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

fn is_word_byte(byte: u8) -> bool {
    matches!(
        CLASS[usize::from(byte)],
        Class::Word | Class::Digit | Class::Dollar
    )
}

fn word_end(sql: &[u8], start: usize) -> usize {
    sql.get(start..)
        .and_then(|rest| rest.iter().position(|byte| !is_word_byte(*byte)))
        .map_or(sql.len(), |length| start + length)
}

/// The end of a quoted thing whose quote is at `start`; a doubled quote is part of it.
fn quoted_end(sql: &[u8], start: usize, quote: u8) -> Option<usize> {
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
fn escaped_end(sql: &[u8], start: usize) -> Option<usize> {
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
fn dollar_end(sql: &[u8], start: usize) -> Option<usize> {
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
fn number_end(sql: &[u8], start: usize) -> Option<(usize, LiteralKind)> {
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

fn line_comment_end(sql: &[u8], start: usize) -> usize {
    sql.get(start..)
        .and_then(|rest| memchr::memchr2(b'\n', b'\r', rest))
        .map_or(sql.len(), |length| start + length)
}

/// The end of a block comment; they nest. `None`: it doesn't end.
fn block_comment_end(sql: &[u8], start: usize) -> Option<usize> {
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
fn skip_blank(sql: &[u8], mut at: usize) -> Option<usize> {
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

fn is_hint(comment: &[u8]) -> bool {
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

#[cfg(test)]
mod tests;
