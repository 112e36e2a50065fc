//! What a request may say.

use crate::rpc::Status;
use std::fmt;
use std::ops::RangeInclusive;

/// A field of a message between services that isn't what was agreed on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

/// A value in a customer's request that can't be; this is why, for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// So many characters, space around them not counting as the least, and none that PostgreSQL can't store.
///
/// # Errors
/// Fewer, more, or one that can't be stored.
pub fn check_length(field: &str, text: &str, bounds: RangeInclusive<usize>) -> Result<(), Invalid> {
    let (least, most) = bounds.into_inner();
    if text.trim().chars().count() >= least && text.chars().count() <= most && !text.contains('\0') {
        return Ok(());
    }
    Err(Invalid(format!("{field} has {least} to {most} characters")))
}

/// A number, if it is within its bounds.
///
/// # Errors
/// It is out of them.
pub fn check_bounds<T: PartialOrd + fmt::Display>(
    field: &str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<T, Invalid> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (least, most) = bounds.into_inner();
    Err(Invalid(format!("{field} is from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(check_length("name", "räv", 1..=3), Ok(()));
        for text in ["", "  ", "on  ", "a\0"] {
            let refused = check_length("name", text, 1..=3).unwrap_err();
            assert_eq!(refused.to_string(), "name has 1 to 3 characters");
        }
        assert_eq!(check_bounds("limit", 100, 1..=100), Ok(100));
        let refused = check_bounds("limit", 0, 1..=100).unwrap_err();
        assert_eq!(refused.to_string(), "limit is from 1 to 100");
    }
}
