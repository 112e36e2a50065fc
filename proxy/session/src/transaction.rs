//! The transaction block that the client believes it is in.
//!
//! BEGIN is lazy: the block exists here first, and a shard joins it at its first statement.

use wire::TransactionStatus;

/// Who opened a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    /// The client, by BEGIN.
    Explicit,
    /// Several statements sent together: it ends with them.
    Implicit,
}

/// An open transaction block, before and after shards have joined it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionBlock {
    /// Who opened it.
    pub kind: BlockKind,
    /// The client's own BEGIN, sent as it is to every shard that joins.
    pub begin_sql: Box<str>,
    /// Whether BEGIN said READ ONLY.
    pub read_only: bool,
    /// SET TRANSACTION and the like that a shard which joins later needs too, in order.
    pub characteristics: Vec<Box<str>>,
    /// Savepoints that stand, oldest first: a shard that joins later has to have them as well.
    pub savepoints: Vec<Box<str>>,
    /// Whether a statement failed in it.
    pub failed: bool,
}

impl TransactionBlock {
    /// The block that `begin_sql` opens.
    pub fn new(begin_sql: &str, read_only: bool) -> Self {
        Self {
            kind: BlockKind::Explicit,
            begin_sql: begin_sql.into(),
            read_only,
            characteristics: Vec::new(),
            savepoints: Vec::new(),
            failed: false,
        }
    }

    /// What the client is told.
    pub fn status(&self) -> TransactionStatus {
        match (self.kind, self.failed) {
            (BlockKind::Implicit, _) => TransactionStatus::Idle,
            (BlockKind::Explicit, true) => TransactionStatus::Failed,
            (BlockKind::Explicit, false) => TransactionStatus::InTransaction,
        }
    }

    /// Whether a plain BEGIN opened it: that can't fail, so it may be sent together with the first statement.
    pub fn begin_is_plain(&self) -> bool {
        let word = self.begin_sql.trim().trim_end_matches(';').trim_end();
        word.eq_ignore_ascii_case("BEGIN") || word.eq_ignore_ascii_case("START TRANSACTION")
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push(name.into());
    }

    /// RELEASE SAVEPOINT: it and all after it are gone. `false`: there is none of that name.
    pub fn release(&mut self, name: &str) -> bool {
        self.position(name).is_some_and(|at| {
            self.savepoints.truncate(at);
            true
        })
    }

    /// ROLLBACK TO SAVEPOINT: all after it are gone and the block is sound again. `false`: none of that name.
    pub fn rollback_to(&mut self, name: &str) -> bool {
        self.position(name).is_some_and(|at| {
            self.savepoints.truncate(at + 1);
            self.failed = false;
            true
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|s| s.as_ref() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionBlock;
    use wire::TransactionStatus;

    #[test]
    fn only_a_begin_without_options_is_plain() {
        for (sql, plain) in [
            ("BEGIN", true),
            (" begin ; ", true),
            ("start transaction", true),
            ("BEGIN READ WRITE", false),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", false),
        ] {
            assert_eq!(TransactionBlock::new(sql, false).begin_is_plain(), plain, "{sql}");
        }
    }

    #[test]
    fn savepoints_nest_and_heal() {
        let mut block = TransactionBlock::new("BEGIN", false);
        block.savepoint("a");
        block.savepoint("b");
        block.savepoint("a");
        block.failed = true;
        assert_eq!(block.status(), TransactionStatus::Failed);
        assert!(block.rollback_to("b"));
        assert_eq!(block.status(), TransactionStatus::InTransaction);
        assert_eq!(block.savepoints.len(), 2);
        assert!(block.release("a"));
        assert!(block.savepoints.is_empty());
        assert!(!block.release("b"));
        assert!(!block.rollback_to("b"));
    }
}
