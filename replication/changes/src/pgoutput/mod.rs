//! The messages of the `pgoutput` plugin, protocol version 1 (chapter "Logical Replication Message Formats" of PostgreSQL's manual).
//!
//! Version 1 has no streamed and no prepared transactions: the server sends a transaction whole, at its COMMIT or COMMIT
//! PREPARED, and leaves out what a subtransaction rolled back.

mod cursor;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod tuple;

pub use tuple::{Tuple, Value};

use topology::Lsn;

/// The most columns that a table can have in PostgreSQL (`MaxTupleAttributeNumber`).
pub const MAX_COLUMNS: usize = 1664;

/// A table's object id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelationId(pub u32);

/// Why bytes are no message: the server speaks another protocol, or the connection is corrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early.
    #[error("it ends too early")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow its end")]
    Trailing,
    /// A kind of message, tuple or value that this version of the protocol doesn't have.
    #[error("unknown tag 0x{0:02x}")]
    Tag(u8),
    /// A name that is not UTF-8, which the connection asked for.
    #[error("a name is not UTF-8")]
    Text,
    /// More columns than a table can have.
    #[error("{0} columns")]
    Columns(usize),
}

/// One message; names and values borrow from the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit record begins.
        commit: Lsn,
        /// The low half of its top-level id.
        xid: u32,
    },
    /// It is complete.
    Commit {
        /// Where its commit record begins.
        commit: Lsn,
        /// Where its commit record ends.
        end: Lsn,
    },
    /// The transaction came here by replication.
    Origin {
        /// Its commit at the origin.
        commit: Lsn,
        /// The origin's name.
        name: &'a str,
    },
    /// How a table looks from here on, in this session of decoding.
    Relation(Relation<'a>),
    /// A type that is not built in.
    Type {
        /// The type.
        id: u32,
    },
    /// A new row.
    Insert {
        /// The table.
        relation: RelationId,
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row.
    Update {
        /// The table.
        relation: RelationId,
        /// What the log holds of the row before.
        old: OldRow<'a>,
        /// The row after.
        new: Tuple<'a>,
    },
    /// A removed row.
    Delete {
        /// The table.
        relation: RelationId,
        /// What the log holds of the row.
        old: OldRow<'a>,
    },
    /// Emptied tables.
    Truncate {
        /// The tables, those reached by CASCADE among them.
        relations: Vec<RelationId>,
    },
    /// What someone wrote by `pg_logical_emit_message`.
    Logical {
        /// Whether it belongs to the transaction; others appear even if theirs rolls back.
        transactional: bool,
        /// Who is meant.
        prefix: &'a str,
        /// What is said.
        content: &'a [u8],
    },
}

/// What the log holds of a row before its change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OldRow<'a> {
    /// Nothing: the columns of the replica identity did not change.
    Unchanged,
    /// The columns of the replica identity; the others are null here.
    Key(Tuple<'a>),
    /// All columns (REPLICA IDENTITY FULL).
    Full(Tuple<'a>),
}

/// How a table looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation<'a> {
    /// Its id.
    pub id: RelationId,
    /// Its schema.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its published columns, in the order of every tuple.
    pub columns: Vec<Column<'a>>,
}

/// A column of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column<'a> {
    /// Whether it belongs to the replica identity.
    pub in_identity: bool,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Message<'a> {
    /// Reads one message, which must fill `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        read::message(bytes)
    }
}
