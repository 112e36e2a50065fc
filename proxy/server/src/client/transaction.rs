//! BEGIN, COMMIT, ROLLBACK and savepoints of a client, over all shards that take part.

use super::backends::quote;
use super::{Client, Failure};
use session::{BlockKind, TransactionBlock};
use sql::{TransactionControl, TransactionModes};
use wire::{ProxyError, Severity, SqlState};

/// 25001: BEGIN inside a block, as a warning.
const ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new(*b"25001");
/// 25P01: COMMIT or SAVEPOINT outside a block.
const NO_ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new(*b"25P01");
/// 3B001: no such savepoint.
const INVALID_SAVEPOINT: SqlState = SqlState::new(*b"3B001");

/// What the client is told of a transaction statement that succeeded.
pub(crate) struct Told {
    /// The command tag.
    pub(crate) tag: &'static str,
    /// A warning before it.
    pub(crate) warning: Option<ProxyError>,
}

impl Told {
    fn tag(tag: &'static str) -> Self {
        Self { tag, warning: None }
    }
}

fn warning(code: SqlState, message: &'static str) -> ProxyError {
    ProxyError::error(code, message).with_severity(Severity::Warning)
}

impl Client {
    /// Carries out transaction control; `text` is the statement as the client wrote it.
    pub(crate) async fn transaction_control(
        &mut self,
        control: &TransactionControl,
        text: &str,
    ) -> Result<Told, Failure> {
        if self.status() == wire::TransactionStatus::Failed
            && matches!(
                control,
                TransactionControl::Begin(_)
                    | TransactionControl::Savepoint(_)
                    | TransactionControl::Release(_)
                    | TransactionControl::Prepare(_)
            )
        {
            return Err(ProxyError::in_failed_transaction().into());
        }
        match control {
            TransactionControl::Begin(modes) => Ok(self.begin(*modes, text)),
            TransactionControl::Commit { chain } => self.commit(*chain).await,
            TransactionControl::Rollback { chain } => self.rollback(*chain).await,
            TransactionControl::Savepoint(name) => self.savepoint(name).await,
            TransactionControl::Release(name) => self.release_savepoint(name).await,
            TransactionControl::RollbackTo(name) => self.rollback_to(name).await,
            TransactionControl::Prepare(_)
            | TransactionControl::CommitPrepared(_)
            | TransactionControl::RollbackPrepared(_) => Err(ProxyError::unsupported(
                "two-phase commit is not available to clients",
                "A prepared transaction belongs to one server; Ringway uses them itself where a transaction wrote on several.",
                "Use COMMIT: it is atomic over all shards.",
            )
            .into()),
        }
    }

    /// BEGIN: no server sees it before the block's first statement.
    pub(crate) fn begin(&mut self, modes: TransactionModes, text: &str) -> Told {
        let tag = if text
            .trim_start()
            .get(..5)
            .is_some_and(|w| w.eq_ignore_ascii_case("start"))
        {
            "START TRANSACTION"
        } else {
            "BEGIN"
        };
        if let Some(block) = &mut self.block {
            if std::mem::replace(&mut block.kind, BlockKind::Explicit) == BlockKind::Implicit {
                // BEGIN in a string of several statements: what ran before it belongs to the block.
                return Told::tag(tag);
            }
            let warning = warning(
                ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress",
            );
            return Told {
                tag,
                warning: Some(warning),
            };
        }
        self.open_block(text, modes);
        Told::tag(tag)
    }

    /// The transaction around statements that were sent together and are not in a block of the client's.
    pub(crate) fn begin_implicit(&mut self) {
        if self.block.is_none() {
            self.open_block("BEGIN", TransactionModes::default());
            if let Some(block) = &mut self.block {
                block.kind = BlockKind::Implicit;
            }
        }
    }

    /// Ends the transaction around statements that were sent together, if it is one of those.
    pub(crate) async fn end_implicit(&mut self) -> Result<(), Failure> {
        if self.block.as_ref().is_none_or(|b| b.kind == BlockKind::Explicit) {
            return Ok(());
        }
        if self.block.as_ref().is_some_and(|b| b.failed) {
            self.rollback_participants().await;
            self.end_block(false);
            return Ok(());
        }
        let committed = self.commit_participants().await;
        self.end_block(committed.is_ok());
        committed
    }

    fn open_block(&mut self, begin_sql: &str, modes: TransactionModes) {
        let read_only = modes.read_only.unwrap_or(false);
        self.block = Some(Box::new(TransactionBlock::new(begin_sql, read_only)));
        self.settings.begin();
        self.info.lost_in_block.set(false);
    }

    /// SET TRANSACTION and its kin inside a block: for the shards in it and for those that join later.
    pub(crate) async fn set_characteristics(
        &mut self,
        modes: TransactionModes,
        text: &str,
    ) -> Result<(), Failure> {
        self.on_all(text).await?;
        if let Some(block) = &mut self.block {
            block.characteristics.push(text.into());
            block.read_only = modes.read_only.unwrap_or(block.read_only);
        }
        Ok(())
    }

    /// COMMIT.
    pub(crate) async fn commit(&mut self, chain: bool) -> Result<Told, Failure> {
        let implicit = self.block.as_ref().is_some_and(|b| b.kind == BlockKind::Implicit);
        if implicit {
            self.end_implicit().await?;
        }
        let Some(block) = &self.block else {
            if chain {
                return Err(outside("COMMIT AND CHAIN").into());
            }
            let warning = warning(NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
            return Ok(Told {
                tag: "COMMIT",
                warning: Some(warning),
            });
        };
        if block.failed {
            return self.rollback(chain).await;
        }
        let next = chain.then(|| (block.begin_sql.clone(), block.read_only));
        let committed = self.commit_participants().await;
        self.end_block(committed.is_ok());
        committed?;
        if let Some(next) = next {
            self.reopen(next);
        }
        Ok(Told::tag("COMMIT"))
    }

    async fn rollback(&mut self, chain: bool) -> Result<Told, Failure> {
        if let Some(block) = &mut self.block
            && block.kind == BlockKind::Implicit
        {
            block.failed = true;
            self.end_implicit().await?;
        }
        let Some(block) = &self.block else {
            if chain {
                return Err(outside("ROLLBACK AND CHAIN").into());
            }
            let warning = warning(NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
            return Ok(Told {
                tag: "ROLLBACK",
                warning: Some(warning),
            });
        };
        let next = chain.then(|| (block.begin_sql.clone(), block.read_only));
        self.rollback_participants().await;
        self.end_block(false);
        if let Some(next) = next {
            self.reopen(next);
        }
        Ok(Told::tag("ROLLBACK"))
    }

    fn reopen(&mut self, (begin_sql, read_only): (Box<str>, bool)) {
        self.block = Some(Box::new(TransactionBlock::new(&begin_sql, read_only)));
        self.settings.begin();
    }

    /// Ends the block here; the servers have ended it already.
    pub(crate) fn end_block(&mut self, committed: bool) {
        let (before, had_local) = (
            self.settings.current().clone(),
            self.settings.local_statements().is_some(),
        );
        self.settings.end(committed);
        self.reading.end_transaction();
        if had_local || before != *self.settings.current() {
            self.context_changed();
        }
        // A rollback took back on the servers what was set in the block, so what was applied before it is applied again; a
        // commit made it stay, on every shard of the block.
        if committed {
            let now = self.settings.current();
            for participant in &mut self.participants {
                participant.backend.state_mut().applied = now.clone();
            }
        }
        self.block = None;
        self.portals.clear();
        self.release_all();
    }

    /// ROLLBACK everywhere. A connection on which even that fails is closed, which rolls back as well.
    pub(crate) async fn rollback_participants(&mut self) {
        let mut at = 0;
        while let Some(participant) = self.participants.get_mut(at) {
            let joined = std::mem::replace(&mut participant.joined, false);
            if !joined || std::mem::take(&mut participant.begin_due) {
                at += 1;
                continue;
            }
            let before = self.participants.len();
            if self.command(at, "ROLLBACK").await.is_err() {
                if self.participants.len() == before {
                    self.discard(at);
                }
                continue;
            }
            at += 1;
        }
    }

    /// Runs a statement of ours on every shard of the block.
    async fn on_all(&mut self, sql: &str) -> Result<(), Failure> {
        for at in 0..self.participants.len() {
            self.command(at, sql).await?;
        }
        Ok(())
    }

    async fn savepoint(&mut self, name: &str) -> Result<Told, Failure> {
        if self.block.is_none() {
            return Err(outside("SAVEPOINT").into());
        }
        self.on_all(&format!("SAVEPOINT {}", quote(name))).await?;
        if let Some(block) = &mut self.block {
            block.savepoint(name);
        }
        self.settings.savepoint(name);
        Ok(Told::tag("SAVEPOINT"))
    }

    async fn release_savepoint(&mut self, name: &str) -> Result<Told, Failure> {
        let Some(block) = &mut self.block else {
            return Err(outside("RELEASE SAVEPOINT").into());
        };
        if !block.release(name) {
            return Err(no_savepoint(name).into());
        }
        self.settings.release(name);
        self.on_all(&format!("RELEASE SAVEPOINT {}", quote(name))).await?;
        Ok(Told::tag("RELEASE"))
    }

    async fn rollback_to(&mut self, name: &str) -> Result<Told, Failure> {
        let Some(block) = &mut self.block else {
            return Err(outside("ROLLBACK TO SAVEPOINT").into());
        };
        // What a lost shard had done can't be brought back to any point.
        if self.info.lost_in_block.get() {
            return Err(ProxyError::backend_lost("in a transaction").into());
        }
        if !block.rollback_to(name) {
            return Err(no_savepoint(name).into());
        }
        self.settings.rollback_to(name);
        self.context_changed();
        self.on_all(&format!("ROLLBACK TO SAVEPOINT {}", quote(name)))
            .await?;
        Ok(Told::tag("ROLLBACK"))
    }
}

fn outside(what: &str) -> ProxyError {
    ProxyError::error(
        NO_ACTIVE_SQL_TRANSACTION,
        format!("{what} can only be used in transaction blocks"),
    )
}

fn no_savepoint(name: &str) -> ProxyError {
    ProxyError::error(INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}
