//! Literals cut out of a text, so that statements that differ in their values share one plan.
//!
//! `SELECT * FROM t WHERE a = 5` becomes the template `SELECT * FROM t WHERE a = $1` with the literal `5`. The
//! template is itself SQL: facts are taken from it, so equal templates have equal facts by construction. What
//! decides the structure stays in the template (ordinals of ORDER BY, typed literals such as `date '...'`), and a text
//! whose template might mean something else than the text is marked [`exact_text_only`](Normalised::exact_text_only).
//!
//! Assumes `standard_conforming_strings = on`; the planner refuses to turn it off.

mod lexer;
mod shape;

use lexer::{
    CLASS, Class, block_comment_end, dollar_end, escaped_end, is_hint, is_word_byte, line_comment_end,
    number_end, quoted_end, skip_blank, word_end,
};
pub(crate) use lexer::{hint_comments, parameters};
use memchr::memchr;
pub use shape::Shape;
use std::borrow::Cow;

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

#[cfg(test)]
mod tests;
