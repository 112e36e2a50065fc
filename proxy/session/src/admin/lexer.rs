//! Cuts the text of a query into statements and words, as far as the admin database has to understand SQL.

use wire::{ProxyError, sqlstate};

/// A piece of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// A bare word or number, as it was written.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A string in single quotes.
    Text(String),
    /// Anything else.
    Symbol(char),
}

impl Token {
    /// Whether it is this keyword, in any case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// What it says, without quotes.
    pub(super) fn text(&self) -> String {
        match self {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => text.clone(),
            Token::Symbol(symbol) => symbol.to_string(),
        }
    }
}

/// The statements of `sql`, each as its tokens; empty ones are left out.
///
/// # Errors
/// 42601 for a quote or comment without its end.
pub(super) fn statements(sql: &str) -> Result<Vec<Vec<Token>>, ProxyError> {
    let mut statements = vec![Vec::new()];
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let (_, behind) = comment
                .split_once("*/")
                .ok_or_else(|| unterminated("/* comment"))?;
            rest = behind;
        } else if first == ';' {
            statements.push(Vec::new());
            rest = rest.get(1..).unwrap_or_default();
        } else if first.is_whitespace() || first == '\0' {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (token, behind) = token(first, rest)?;
            rest = behind;
            if let Some(statement) = statements.last_mut() {
                statement.push(token);
            }
        }
    }
    statements.retain(|statement| !statement.is_empty());
    Ok(statements)
}

fn token(first: char, rest: &str) -> Result<(Token, &str), ProxyError> {
    match first {
        '\'' => quoted(rest, '\'')
            .map(|(text, rest)| (Token::Text(text), rest))
            .ok_or_else(|| unterminated("quoted string")),
        '"' => quoted(rest, '"')
            .map(|(text, rest)| (Token::Name(text), rest))
            .ok_or_else(|| unterminated("quoted identifier")),
        _ if in_word(first) => {
            let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            let end = rest.find("--").map_or(end, |comment| comment.min(end));
            let (word, rest) = rest.split_at(end);
            Ok((Token::Word(word.to_owned()), rest))
        }
        _ => {
            let rest = rest.get(first.len_utf8()..).unwrap_or_default();
            Ok((Token::Symbol(first), rest))
        }
    }
}

/// The text in quotes at the front of `rest`, with doubled quotes made single, and what follows.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = rest.strip_prefix(quote)?;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        text.push_str(part);
        match behind.strip_prefix(quote) {
            Some(more) => {
                text.push(quote);
                rest = more;
            }
            None => return Some((text, behind)),
        }
    }
}

/// Names of settings have points; names of databases often have dashes.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '-')
}

fn unterminated(what: &str) -> ProxyError {
    ProxyError::error(sqlstate::SYNTAX_ERROR, format!("unterminated {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Token, statements};

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn words_names_strings_and_symbols() {
        let sql = "SET log.level='it''s' ; -- a comment; with a semicolon\n/* ; */ PAUSE \"my \"\"db\";;";
        let expected = vec![
            vec![
                word("SET"),
                word("log.level"),
                Token::Symbol('='),
                Token::Text("it's".to_owned()),
            ],
            vec![word("PAUSE"), Token::Name("my \"db".to_owned())],
        ];
        assert_eq!(statements(sql), Ok(expected));
        assert_eq!(statements(" ; \n;\0"), Ok(Vec::new()));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for sql in ["SET a = 'b", "PAUSE \"a", "/* SHOW"] {
            let error = statements(sql).expect_err("no end");
            assert_eq!(error.sqlstate.to_string(), "42601", "{sql}");
        }
    }
}
