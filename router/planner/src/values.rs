//! The values that a template is bound to.

/// The values of a statement's parameters: literals of a simple Query's text, or what Bind carries.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// None: a text that is its own template, without parameters.
    None,
    /// The literals that [`sql::Normaliser`] cut out of `sql`.
    Literals {
        /// The whole text.
        sql: &'a [u8],
        /// Its literals.
        literals: &'a [sql::Literal],
    },
    /// A Bind message.
    Bind {
        /// The values; `None` is NULL.
        values: &'a [Option<&'a [u8]>],
        /// Format codes as in the message: none (all text), one for all, or one each; 0 text, 1 binary.
        formats: &'a [i16],
        /// The types declared in Parse; missing and 0 are unknown.
        types: &'a [u32],
    },
}
