//! The text of a one-dimensional PostgreSQL array of text or numbers, such as `{a,"b c",NULL}`.

/// Text that is no such array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the text of an array")]
pub(crate) struct NotAnArray;

/// Reads the elements; a null is refused, as no column that is read here holds one.
pub(crate) fn parse(text: &str) -> Result<Vec<String>, NotAnArray> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or(NotAnArray)?;
    let mut elements = Vec::new();
    if inner.is_empty() {
        return Ok(elements);
    }
    let mut rest = inner.chars().peekable();
    loop {
        let element = if rest.next_if_eq(&'"').is_some() {
            quoted(&mut rest)?
        } else {
            plain(&mut rest)?
        };
        elements.push(element);
        match rest.next() {
            Some(',') => {}
            None => return Ok(elements),
            Some(_) => return Err(NotAnArray),
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted(rest: &mut Chars<'_>) -> Result<String, NotAnArray> {
    let mut element = String::new();
    loop {
        match rest.next().ok_or(NotAnArray)? {
            '"' => return Ok(element),
            '\\' => element.push(rest.next().ok_or(NotAnArray)?),
            other => element.push(other),
        }
    }
}

fn plain(rest: &mut Chars<'_>) -> Result<String, NotAnArray> {
    let mut element = String::new();
    while let Some(next) = rest.next_if(|next| *next != ',') {
        if matches!(next, '{' | '}' | '"' | '\\') {
            return Err(NotAnArray);
        }
        element.push(next);
    }
    if element.is_empty() || element.eq_ignore_ascii_case("null") {
        return Err(NotAnArray);
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::{NotAnArray, parse};
    use proptest::prelude::*;

    fn print(elements: &[String]) -> String {
        let quote = |element: &String| format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\""));
        format!("{{{}}}", elements.iter().map(quote).collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn quoted_elements_come_back(elements in prop::collection::vec(any::<String>(), 0..5)) {
            prop_assert_eq!(parse(&print(&elements)), Ok(elements));
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[{},"\\a-cN ]{0,12}"#) {
            if let Ok(elements) = parse(&text) {
                prop_assert_eq!(parse(&print(&elements)), Ok(elements));
            }
        }
    }

    #[test]
    fn what_postgres_prints() {
        assert_eq!(parse("{}"), Ok(vec![]));
        assert_eq!(
            parse(r#"{public,"a b","NULL","say \"hi\"","\\"}"#).unwrap(),
            ["public", "a b", "NULL", "say \"hi\"", "\\"]
        );
        for text in [
            "",
            "{",
            "a",
            "{a",
            "{a,}",
            "{,}",
            "{NULL}",
            "{{a}}",
            "{\"a}",
            "{\"a\"b}",
            "[0:1]={a,b}",
        ] {
            assert_eq!(parse(text), Err(NotAnArray), "{text}");
        }
    }
}
