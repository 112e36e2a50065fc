//! What a caller has to see: the causal token, as it travels between services. Pure.
//!
//! The text is Ringway's own (`SHOW ringway.token`) or the word `strong`. Causalities form a lattice: [`Causality::join`] is what
//! two calls made side by side bring back together.

use crate::error::{Error, Result};
use coherence::Token;
use std::fmt;

/// The name of the HTTP header and of the gRPC metadata that carry it.
pub const TOKEN_HEADER: &str = "ringway-token";

/// What stands for [`Causality::Strong`].
const STRONG: &str = "strong";

/// What must be in the answers to a caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Causality {
    /// Nothing in particular.
    #[default]
    Nothing,
    /// The writes up to the positions of a token.
    After(Token),
    /// Everything acknowledged so far: a write was made whose position could not be learned (its shard's primary was lost right
    /// after). Reads go to the primaries until the caller starts anew without a token.
    Strong,
}

impl Causality {
    /// Reads the value of [`TOKEN_HEADER`].
    ///
    /// # Errors
    /// The caller's fault: it isn't what a service of ours gave.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" => Ok(Self::Nothing),
            STRONG => Ok(Self::Strong),
            text => Token::read(text)
                .map(Self::After)
                .map_err(|error| Error::caller("the ringway-token is malformed").with_source(error)),
        }
    }

    /// What must be in the answers to a caller who has seen both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Strong, _) | (_, Self::Strong) => Self::Strong,
            (Self::Nothing, known) | (known, Self::Nothing) => known.clone(),
            (Self::After(a), Self::After(b)) => Self::After(a.joined(b)),
        }
    }
}

/// The value of the header; empty for [`Causality::Nothing`], which has no header.
impl fmt::Display for Causality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::After(token) => token.fmt(f),
            Self::Strong => f.write_str(STRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_causality() -> impl Strategy<Value = Causality> {
        let after = (0..3_u8, 1..9_u8, 1..9_u8).prop_map(|(shard, timeline, lsn)| {
            Causality::parse(&format!("rw1/1/{shard}:{timeline}:{lsn}")).unwrap()
        });
        prop_oneof![Just(Causality::Nothing), Just(Causality::Strong), after]
    }

    proptest! {
        #[test]
        fn joining_is_a_lattice(a in any_causality(), b in any_causality(), c in any_causality()) {
            prop_assert_eq!(a.join(&b), b.join(&a));
            prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
            prop_assert_eq!(a.join(&a), a.clone());
            prop_assert_eq!(a.join(&Causality::Nothing), a);
        }

        #[test]
        fn what_is_written_is_read_again(a in any_causality(), b in any_causality()) {
            let joined = a.join(&b);
            prop_assert_eq!(Causality::parse(&joined.to_string()).unwrap(), joined);
        }

        #[test]
        fn anything_else_is_the_callers_fault(text in "\\PC{1,40}") {
            if let Err(error) = Causality::parse(&text) {
                prop_assert_eq!(error.blame(), crate::Blame::Caller);
            }
        }
    }
}
