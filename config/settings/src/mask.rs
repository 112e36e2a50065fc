//! Hides secrets in the text that errors show.

use std::ops::Range;

/// Keys whose values are secrets. Their `_file` and `_env` relatives are not.
pub(crate) const SECRET_KEYS: [&str; 3] = ["password", "key_secret", "redis_url"];
/// Parts of words that make a word look like a secret's key, misspelt ones too.
const SUSPICIOUS: [&str; 4] = ["pass", "word", "secret", "url"];
/// Slips of the pen within which a word counts as a secret's key.
const NEAR: usize = 2;

/// The `text` of a document that could be read, with what may be a secret replaced by as many `*`: offsets stay right.
///
/// `known` are the places that hold secrets. Beside them the rest of a line is hidden after a word that looks like a
/// secret's key, such as in a comment.
pub(crate) fn masked(text: &str, known: &[Range<usize>]) -> String {
    let mut hidden: Vec<Range<usize>> = known.to_vec();
    let line_end = |end: usize| {
        text.get(end..)
            .and_then(|rest| rest.find('\n'))
            .map_or(text.len(), |at| end + at)
    };
    hidden.extend(
        words(text)
            .filter(|word| suspicious(word.1))
            .map(|(end, _)| end..line_end(end)),
    );
    starred(text, |at| hidden.iter().any(|range| range.contains(&at)))
}

/// The `text` of a document that could not be read, without anything but the heads of tables and what stands before the
/// first `=` of a line: where the structure isn't known, any value may be a secret.
pub(crate) fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let is_head =
            content.starts_with('[') && content.ends_with(']') && !content.contains(['=', '"', '\'']);
        let shown = if is_head {
            line.len()
        } else {
            line.find('=').unwrap_or(0)
        };
        out.push_str(&starred(line, |at| at >= shown));
    }
    out
}

fn starred(text: &str, hidden: impl Fn(usize) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if hidden(at) && !matches!(c, '\n' | '\r' | ' ' | '=') {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// The words of `text`, each with its end.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| {
            let start = word.as_ptr().addr() - text.as_ptr().addr();
            (start + word.len(), word)
        })
}

fn suspicious(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let near = || {
        SECRET_KEYS
            .iter()
            .any(|key| strsim::osa_distance(&word, key) <= NEAR)
    };
    let looks_like_one = SUSPICIOUS.iter().any(|part| word.contains(part)) || near();
    looks_like_one && !word.ends_with("_file") && !word.ends_with("_env")
}

#[cfg(test)]
mod tests {
    use super::{masked, without_values};
    use expect_test::{Expect, expect};

    fn check(text: &str, expect: &Expect) {
        let out = masked(text, &[]);
        assert_eq!(out.len(), text.len());
        expect.assert_eq(&out);
    }

    #[test]
    fn what_follows_a_secrets_key_is_hidden() {
        check(
            "name = 'a'\npassword = \"hunter2\"\nport = 1",
            &expect![[r#"
            name = 'a'
            password = *********
            port = 1"#]],
        );
        check(
            "a = { b = 1, \"password\" = 'x' }\nc = 2",
            &expect![[r#"
            a = { b = 1, "password* = *** *
            c = 2"#]],
        );
        check(
            "# pasword = 'x'\nc = 2",
            &expect![[r#"
            # pasword = ***
            c = 2"#]],
        );
        check(
            "# rdis_url = 'x'\nc = 2",
            &expect![[r#"
            # rdis_url = ***
            c = 2"#]],
        );
    }

    #[test]
    fn files_and_variables_are_shown() {
        check(
            "password_file = \"x\"\npassword_env='Y'\nport = 1",
            &expect![[r#"
            password_file = "x"
            password_env='Y'
            port = 1"#]],
        );
    }

    #[test]
    fn no_value_is_shown_of_what_is_not_toml() {
        let text = "# a b\n[[user]]\nname = \"x\"\npas}ord = \"ümlaut\"\n'''\nsecret\n''' ]\n[\"x\"]";
        let out = without_values(text);
        assert_eq!(out.len(), text.len());
        expect![[r#"
            * * *
            [[user]]
            name = ***
            pas}ord = *********
            ***
            ******
            *** *
            *****"#]]
        .assert_eq(&out);
    }
}
