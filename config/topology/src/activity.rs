//! Whether anybody uses a database.

/// Whether statements come for a database: while none do, what is kept up for them may go slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// They do, or the next one waits.
    Busy,
    /// None has come for some time.
    Resting,
}
