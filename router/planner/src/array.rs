//! The elements of an array parameter (`key = ANY ($1)`), in PostgreSQL's text and binary forms.

use crate::KeyValue;
use crate::evaluate::{ArrayBytes, NoKey, array_bytes, key_type_of_oid};
use crate::resolve::same_family;
use crate::values::Values;
use sql::Value;
use topology::KeyType;

/// What is called with each element.
type Each<'e> = dyn FnMut(Result<KeyValue<'_>, NoKey>) -> Result<(), NoKey> + 'e;

/// Calls `each` with every element that isn't NULL.
pub(crate) fn elements(
    value: &Value,
    key_type: KeyType,
    values: &Values<'_>,
    each: &mut Each<'_>,
) -> Result<(), NoKey> {
    match array_bytes(value, key_type, values) {
        Ok((ArrayBytes::Text(text), element)) => text_elements(&text, element, each),
        Ok((ArrayBytes::Binary(bytes), element)) => {
            binary_elements(bytes, element, each).ok_or(NoKey::Error)?
        }
        // = ANY (NULL) is true of no row.
        Err(NoKey::Nothing) => Ok(()),
        Err(error) => Err(error),
    }
}

/// `{1,2,"a b"}`. Escapes, nesting and explicit bounds are left to the server: they bind nothing.
fn text_elements(text: &[u8], element: KeyType, each: &mut Each<'_>) -> Result<(), NoKey> {
    let inner = text
        .trim_ascii()
        .strip_prefix(b"{")
        .and_then(|t| t.strip_suffix(b"}"))
        .ok_or(NoKey::Unsure)?;
    if inner.iter().any(|b| matches!(b, b'\\' | b'{' | b'}')) {
        return Err(NoKey::Unsure);
    }
    if inner.trim_ascii().is_empty() {
        return Ok(());
    }
    let mut rest = inner;
    loop {
        let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        rest = rest.get(blank..).unwrap_or_default();
        let (item, quoted, after) = match rest.strip_prefix(b"\"") {
            Some(open) => {
                let end = memchr_quote(open).ok_or(NoKey::Unsure)?;
                (
                    open.get(..end).unwrap_or_default(),
                    true,
                    open.get(end + 1..).unwrap_or_default().trim_ascii_start(),
                )
            }
            None => {
                let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
                (
                    rest.get(..end).unwrap_or_default().trim_ascii_end(),
                    false,
                    rest.get(end..).unwrap_or_default(),
                )
            }
        };
        if !quoted && (item.is_empty() || item.contains(&b'"')) {
            return Err(NoKey::Unsure);
        }
        if quoted || !item.eq_ignore_ascii_case(b"null") {
            each(KeyValue::from_text(element, item).map_err(NoKey::from))?;
        }
        match after {
            [] => return Ok(()),
            [b',', next @ ..] => rest = next,
            _ => return Err(NoKey::Unsure),
        }
    }
}

fn memchr_quote(text: &[u8]) -> Option<usize> {
    text.iter().position(|b| *b == b'"')
}

/// `array_recv`'s form: dimensions, a flag, the element's oid, each dimension's length and lower bound, then the elements
/// with their lengths. `None`: not that form.
fn binary_elements(bytes: &[u8], element: KeyType, each: &mut Each<'_>) -> Option<Result<(), NoKey>> {
    let (dimensions, rest) = int(bytes)?;
    let (_has_null, rest) = int(rest)?;
    let (oid, mut rest) = int(rest)?;
    let declared = match u32::try_from(oid).ok().and_then(key_type_of_oid) {
        Some(declared) if same_family(declared, element) => declared,
        _ => return Some(Err(NoKey::Unsure)),
    };
    for _ in 0..dimensions {
        rest = rest.get(8..)?;
    }
    while !rest.is_empty() {
        let (length, after) = int(rest)?;
        if length < 0 {
            rest = after;
            continue;
        }
        let length = usize::try_from(length).ok()?;
        let item = after.get(..length)?;
        rest = after.get(length..)?;
        if let Err(error) = each(KeyValue::from_binary(declared, item).map_err(NoKey::from)) {
            return Some(Err(error));
        }
    }
    Some(Ok(()))
}

fn int(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*head), rest))
}
