//! The shape of a text that was cut before, to cut the next text of that shape without reading its tokens.
//!
//! Programs send the same text with other values again and again. Where the bytes between the literals are the same and each
//! literal is of the simplest form, the tokens are the same too, and so is the template.

use super::{Literal, LiteralKind, Normalised, index};
use memchr::memchr;

/// Longer texts, and texts with more literals, are cut anew each time.
const MAX_TEXT: usize = 4096;
const MAX_LITERALS: usize = 64;

/// The bytes of a text between its literals, and what the literals are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Each literal, with the bytes before it.
    parts: Box<[(Box<[u8]>, Simple)]>,
    /// What follows the last literal.
    end: Box<[u8]>,
}

/// A literal whose end shows without knowing what stands around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Simple {
    /// Digits only.
    Digits,
    /// Between two quotes, without a quote in it.
    Quoted,
}

impl Shape {
    /// The shape of `sql`, which was cut into `normalised`. `None` where texts of its shape may have another template.
    pub fn of(sql: &[u8], normalised: &Normalised<'_>) -> Option<Self> {
        if sql.len() > MAX_TEXT || normalised.literals.len() > MAX_LITERALS {
            return None;
        }
        let mut parts = Vec::with_capacity(normalised.literals.len());
        let mut from = 0;
        for literal in normalised.literals {
            let simple = match literal.kind {
                LiteralKind::Integer => Simple::Digits,
                LiteralKind::Quoted => Simple::Quoted,
                LiteralKind::Decimal | LiteralKind::Escaped | LiteralKind::Dollar | LiteralKind::Bits => {
                    return None;
                }
            };
            parts.push((sql.get(from..index(literal.start))?.into(), simple));
            from = index(literal.end);
        }
        Some(Self {
            parts: parts.into(),
            end: sql.get(from..)?.into(),
        })
    }

    /// Cuts `sql` if it is of this shape: its literals are put into `literals`, which is empty. `false`: it may be of
    /// another shape.
    pub fn cut(&self, sql: &[u8], literals: &mut Vec<Literal>) -> bool {
        if sql.len() > MAX_TEXT {
            return false;
        }
        let mut at = 0;
        for (before, simple) in &self.parts {
            let Some(rest) = sql.get(at..).and_then(|rest| rest.strip_prefix(&**before)) else {
                return false;
            };
            let (len, kind) = match simple {
                Simple::Digits => {
                    let other = rest.iter().position(|b| !b.is_ascii_digit());
                    (other.unwrap_or(rest.len()), LiteralKind::Integer)
                }
                Simple::Quoted => (quoted_len(rest), LiteralKind::Quoted),
            };
            if len == 0 {
                return false;
            }
            let start = at + before.len();
            at = start + len;
            // Both fit: the text is short.
            literals.push(Literal {
                start: u32::try_from(start).unwrap_or(u32::MAX),
                end: u32::try_from(at).unwrap_or(u32::MAX),
                kind,
            });
        }
        sql.get(at..) == Some(&*self.end)
    }
}

/// The length of the string at the front; 0 where there is none, or one with a quote in it.
fn quoted_len(rest: &[u8]) -> usize {
    let Some(inner) = rest.strip_prefix(b"'") else {
        return 0;
    };
    match memchr(b'\'', inner) {
        Some(end) if inner.get(end + 1) != Some(&b'\'') => end + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Normaliser;
    use super::*;
    use proptest::prelude::*;

    /// Texts of one shape, nearly.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "SELECT ",
            "a",
            " FROM t WHERE ",
            " = ",
            "5",
            "12345678901234567890",
            "'x'",
            "''",
            "'it''s'",
            "1.5",
            "1e5",
            ".5",
            "5.",
            "-",
            "--c\n",
            "/* c */",
            "/*+ ringway: level=strong */",
            "'",
            "(",
            ")",
            ",",
            " ORDER BY ",
            "1",
            " LIMIT ",
            ";",
            " ",
            "\n",
            "E'a'",
            "N'a'",
            "$1",
            "$$x$$",
            "e",
            "\"q\"",
            "date ",
            "by ",
            "DISTINCT ",
            "B'01'",
            "é",
        ]);
        (prop::collection::vec(piece, 0..12)).prop_map(|pieces| format!("SELECT {}", pieces.concat()))
    }

    /// Other values, or something else, in the place of a byte range.
    fn changed(sql: &str, at: usize, with: &str) -> Vec<u8> {
        let at = at % (sql.len() + 1);
        let mut bytes = sql.as_bytes().to_vec();
        let end = (at + 1).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        bytes
    }

    fn agrees(sql: &[u8], other: &[u8]) -> bool {
        let mut normaliser = Normaliser::new();
        let first = normaliser.normalise(sql);
        let Some(shape) = Shape::of(sql, &first) else {
            return false;
        };
        let (template, exact) = (first.template.to_vec(), first.exact_text_only);
        let mut literals = Vec::new();
        if !shape.cut(other, &mut literals) {
            return false;
        }
        let second = normaliser.normalise(other);
        assert_eq!(
            second.exact_text_only,
            exact,
            "{}",
            String::from_utf8_lossy(other)
        );
        if exact {
            assert_eq!(sql, other);
        } else {
            assert_eq!(second.template, template);
            assert_eq!(second.literals, literals);
        }
        true
    }

    #[test]
    fn other_values_are_cut_alike() {
        let sql = b"UPDATE t SET a = a + -5, b = 'x' WHERE k = 77;";
        assert!(agrees(
            sql,
            b"UPDATE t SET a = a + -123, b = 'other' WHERE k = 1;"
        ));
        assert!(agrees(sql, b"UPDATE t SET a = a + -5, b = '' WHERE k = 77;"));
        for other in [
            &b"UPDATE t SET a = a + -5, b = 'x''y' WHERE k = 77;"[..],
            b"UPDATE t SET a = a + -5.0, b = 'x' WHERE k = 77;",
            b"UPDATE t SET a = a + -5, b = 'x' WHERE k = 77",
            b"UPDATE t SET a = a + -5, b = 'x' WHERE k = ;",
            b"UPDATE u SET a = a + -5, b = 'x' WHERE k = 77;",
        ] {
            assert!(!agrees(sql, other));
        }
        assert!(agrees(b"BEGIN", b"BEGIN"));
        assert!(!agrees(b"BEGIN", b"BEGIN;"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_text_of_a_known_shape_has_its_template(
            sql in text(),
            at in any::<usize>(),
            with in prop::sample::select(vec!["7", "", "42", "'", "''", ".", "e5", "x", " ", "'y'", "-", "\0", "$", "9'"]),
        ) {
            agrees(sql.as_bytes(), sql.as_bytes());
            agrees(sql.as_bytes(), &changed(&sql, at, with));
        }

        #[test]
        fn two_texts(first in text(), second in text()) {
            agrees(first.as_bytes(), second.as_bytes());
        }
    }
}
