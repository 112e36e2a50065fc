//! Inputs that broke something once.

/// The target, the input, and what it did.
pub(crate) const ALL: &[(&str, &[u8], &str)] = &[(
    "key-values",
    b"\x069720368547758074024-02-29",
    "the year of a date overflowed before it was refused for its length",
)];

/// The inputs for a target.
pub(crate) fn of(target: &str) -> Vec<&'static [u8]> {
    ALL.iter()
        .filter(|(name, ..)| *name == target)
        .map(|(_, input, _)| *input)
        .collect()
}
