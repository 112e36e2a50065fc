//! The names of settings that applications have made up (`app.tenant`).
//!
//! A server takes any name with a dot, and lists none of them: it can only be asked for a setting by its name. Names are
//! gathered from the texts and values that clients send and from the functions and policies that the database holds.

use std::collections::BTreeSet;

/// Names that are remembered; those that come later are left out.
const MAX_NAMES: usize = 256;
/// The longest name.
const MAX_NAME: usize = 128;

/// What is known of the code in the database: the names that stand in it, each in a row, and a row ` dynamic` if some code
/// makes up names as it runs. Without backslashes, which mean something else where `standard_conforming_strings` is off.
pub const CODE_QUESTION: &str = "WITH code AS (
    SELECT p.prosrc AS body FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
    AND p.prosrc OPERATOR(pg_catalog.~*) '(set_config|current_setting|[[:<:]]set[[:>:]])'
    UNION ALL SELECT pg_catalog.concat(pg_catalog.pg_get_expr(polqual, polrelid), ' ',
        pg_catalog.pg_get_expr(polwithcheck, polrelid)) FROM pg_catalog.pg_policy)
    SELECT DISTINCT m[1], '' FROM code, pg_catalog.regexp_matches(body,
    '(?:''|[[:<:]]set[[:space:]]+(?:session[[:space:]]+)?)([a-z_][a-z0-9_$]*(?:[.][a-z_][a-z0-9_$]*)+)', 'gi') AS m
    UNION ALL SELECT ' dynamic', '' WHERE EXISTS (SELECT 1 FROM code WHERE
    body OPERATOR(pg_catalog.~*) 'set_config[[:space:]]*[(][[:space:]]*[^''[:space:]]'
    OR (body OPERATOR(pg_catalog.~*) '[[:<:]]execute[[:>:]]'
    AND body OPERATOR(pg_catalog.~*) '''[[:space:]]*set[[:space:]]'))";

/// Names of such settings.
#[derive(Debug, Default)]
pub struct CustomNames(BTreeSet<Box<str>>);

impl CustomNames {
    /// Takes in the names that stand in an SQL text: as a string, or after SET.
    pub fn learn_text(&mut self, text: &[u8]) {
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.');
        let mut at = 0;
        while let Some(offset) = text
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| *b == b'.'))
        {
            let dot = at + offset;
            let before = text.get(..dot).unwrap_or_default();
            let start = before.iter().rposition(|b| !is_part(b)).map_or(0, |p| p + 1);
            let after = text.get(dot..).unwrap_or_default();
            let end = dot + after.iter().position(|b| !is_part(b)).unwrap_or(after.len());
            at = end;
            let before = text.get(..start).unwrap_or_default();
            let quoted = before.last() == Some(&b'\'') && text.get(end) == Some(&b'\'');
            if quoted || follows_set(before) {
                self.learn(text.get(start..end).unwrap_or_default());
            }
        }
    }

    /// Takes in a value that may be a name.
    pub fn learn(&mut self, value: &[u8]) {
        if self.0.len() < MAX_NAMES
            && is_custom(value)
            && let Ok(name) = std::str::from_utf8(value)
        {
            self.0.insert(name.to_ascii_lowercase().into());
        }
    }

    /// The names, and those of `others`, as an array of PostgreSQL.
    pub fn array<'n>(&'n self, others: impl Iterator<Item = &'n str>) -> String {
        let mut array = String::from("{");
        let mut names: BTreeSet<&str> = self.0.iter().map(AsRef::as_ref).collect();
        names.extend(others);
        for name in names {
            if array.len() > 1 {
                array.push(',');
            }
            array.push('"');
            for c in name.chars() {
                if matches!(c, '"' | '\\') {
                    array.push('\\');
                }
                array.push(c);
            }
            array.push('"');
        }
        array.push('}');
        array
    }
}

/// Whether words end with SET, SET SESSION or SET LOCAL.
fn follows_set(before: &[u8]) -> bool {
    const LONGEST: usize = 64;
    let tail = before
        .get(before.len().saturating_sub(LONGEST)..)
        .unwrap_or_default();
    let mut words = tail
        .split(|b| b.is_ascii_whitespace() || *b == b';')
        .filter(|word| !word.is_empty())
        .rev();
    let is = |word: Option<&[u8]>, what: &[u8]| word.is_some_and(|word| word.eq_ignore_ascii_case(what));
    let last = words.next();
    is(last, b"SET") || ((is(last, b"SESSION") || is(last, b"LOCAL")) && is(words.next(), b"SET"))
}

/// Words with dots between them.
fn is_custom(name: &[u8]) -> bool {
    let word = |part: &[u8]| {
        part.first()
            .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
            && part
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
    };
    name.len() <= MAX_NAME && name.contains(&b'.') && name.split(|b| *b == b'.').all(word)
}

#[cfg(test)]
mod tests {
    use super::CustomNames;

    fn learned(text: &str) -> String {
        let mut names = CustomNames::default();
        names.learn_text(text.as_bytes());
        names.array(std::iter::empty())
    }

    #[test]
    fn names_stand_in_strings_and_after_set() {
        assert_eq!(
            learned("SELECT set_config('App.Tenant', 'x.y ', false)"),
            r#"{"app.tenant"}"#
        );
        assert_eq!(
            learned("SET a.b = 1;set  session c.d.e to 2"),
            r#"{"a.b","c.d.e"}"#
        );
        assert_eq!(
            learned("SELECT t.a, 1.5, 'a.', '.b', 'a..b', 'a b.c' FROM s.t"),
            "{}"
        );
        assert_eq!(learned("."), "{}");
    }

    #[test]
    fn others_are_added_once_and_quoted() {
        let mut names = CustomNames::default();
        names.learn(b"a.b");
        let others = ["a.b", "c.\"d"];
        assert_eq!(names.array(others.into_iter()), r#"{"a.b","c.\"d"}"#);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut names = CustomNames::default();
            names.learn_text(&text);
            names.learn(&text);
        }

        #[test]
        fn a_name_in_a_string_is_found(name in "[a-z_][a-z0-9_]{0,5}(\\.[a-z_][a-z0-9_]{0,5}){1,2}") {
            let text = format!("SELECT f('{name}')");
            assert_eq!(learned(&text), format!("{{\"{name}\"}}"));
        }
    }
}
