//! Hides secrets in the text that errors show.

use std::ops::Range;

/// Keys whose values are secrets. Their `_file` and `_env` relatives are not.
pub(crate) const SECRET_KEYS: [&str; 3] = ["password", "key_secret", "redis_url"];

/// `text` with everything that may be a secret replaced by as many `*`, so that offsets stay right.
///
/// `known` are the secrets' own places, where the document could be read. Beside them whatever follows a secret's key
/// is hidden to the end of its line (of its multi-line string): that also works where the document can't be read.
pub(crate) fn masked(text: &str, known: &[Range<usize>]) -> String {
    let mut hidden: Vec<Range<usize>> = known.to_vec();
    for key in SECRET_KEYS {
        hidden.extend(
            text.match_indices(key)
                .filter_map(|(at, _)| assigned(text, at + key.len())),
        );
    }
    let stars = |at: usize, c: char| hidden.iter().any(|range| range.contains(&at)) && c != '\n';
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if stars(at, c) {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// The bytes after the `=` that follows a key ending at `end`, if one does.
fn assigned(text: &str, end: usize) -> Option<Range<usize>> {
    let rest = text.get(end..)?;
    let blanks = rest.len() - rest.trim_start_matches(['"', '\'', ' ', '\t']).len();
    let value = rest.get(blanks..)?.strip_prefix('=')?;
    let start = end + blanks + 1;
    let body = value.trim_start_matches([' ', '\t']);
    let skipped = value.len() - body.len();
    let multi = ["\"\"\"", "'''"]
        .into_iter()
        .find(|quote| body.starts_with(quote));
    let length = match multi {
        Some(quote) => body
            .get(3..)
            .and_then(|inner| inner.find(quote))
            .map_or(body.len(), |at| at + 6),
        None => body.find('\n').unwrap_or(body.len()),
    };
    Some(start + skipped..start + skipped + length)
}

#[cfg(test)]
mod tests {
    use super::masked;
    use expect_test::{Expect, expect};

    fn check(text: &str, expect: &Expect) {
        let out = masked(text, &[]);
        assert_eq!(out.len(), text.len());
        expect.assert_eq(&out);
    }

    #[test]
    fn values_of_secret_keys_are_hidden() {
        check(
            "name = 'a'\npassword = \"hunter2\nport = 1",
            &expect![[r#"
            name = 'a'
            password = ********
            port = 1"#]],
        );
        check(
            "a = { \"password\" = 'x', b = 1 }\nc = 2",
            &expect![[r#"
            a = { "password" = ************
            c = 2"#]],
        );
        check(
            "key_secret = \"\"\"one\ntwo\"\"\"\nc = 2",
            &expect![[r#"
            key_secret = ******
            ******
            c = 2"#]],
        );
    }

    #[test]
    fn files_and_variables_are_shown() {
        check(
            "password_file = \"x\"\npassword_env='Y'",
            &expect![[r#"
            password_file = "x"
            password_env='Y'"#]],
        );
    }
}
