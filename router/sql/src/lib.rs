//! SQL text to facts with PostgreSQL's own grammar; templates.
//!
//! In: the text of a simple Query or of a Parse message. Out: [`Normaliser`] cuts the literals out of a text, so that
//! equal statements share one [template](Normalised::template); [`analyse`] says what each statement is, which tables
//! and columns it names and which values it compares them with; [`rewrite`] writes the texts that single shards get.
//!
//! The grammar is libpg_query's, through pg_query, and not pg_raw_parse: it is PostgreSQL's own parser with a guard on the
//! C stack, and what nests deeper than its tree decoder takes comes back as an error, so hostile text ends as
//! [`ParseError::TooDeep`]. pg_raw_parse walks trees without such a guard and would take the process down.
//!
//! **Invariant:** knows no catalog, no topology, no connections: names are as written. Two texts with equal templates
//! have equal facts but for the values of their literals, because facts are taken from the template itself.
//! A text that does not parse is not judged here: PostgreSQL answers it with its own error.

mod analyse;
mod facts;
mod hints;
mod normalise;
pub mod rewrite;

pub use analyse::{ParseError, analyse};
pub use facts::*;
pub use hints::{CacheHint, HintError, HintLevel, Hints, hints, parse_level};
pub use normalise::{Literal, LiteralKind, MAX_LITERALS, Normalised, Normaliser, Shape, is_relative_time};
