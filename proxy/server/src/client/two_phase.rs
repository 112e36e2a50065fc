//! The end of a transaction over the shards that took part in it.
//!
//! One shard wrote: its COMMIT is the transaction's. Several wrote: every writer but one prepares; that one, the *home*
//! shard, commits together with a row that says so (`ringway.record_commit`), and from this moment the transaction is
//! committed whatever happens; the others follow. Whoever finds a prepared part later asks the home shard for the
//! decision and finishes it (`control::recovery`), so a proxy may die at any point.

use super::{Client, Failure};
use crate::control::recovery::{self, Gid, Verdict};
use wire::{ProxyError, sqlstate};

impl Client {
    /// Commits what the participants did, or rolls all of it back and says why.
    pub(crate) async fn commit_participants(&mut self) -> Result<(), Failure> {
        if self.info.lost_in_block.get() {
            self.rollback_participants().await;
            return Err(ProxyError::backend_lost("in a transaction").into());
        }
        let writers = self.participants.iter().filter(|p| p.joined && p.wrote).count();
        let committed = if writers > 1 {
            self.commit_two_phase().await
        } else {
            self.commit_one_phase().await
        };
        if committed.is_err() {
            self.rollback_participants().await;
        }
        committed
    }

    /// The readers first: their COMMIT can still fail (a serialization failure), and then nothing may stay.
    async fn commit_one_phase(&mut self) -> Result<(), Failure> {
        self.commit_readers().await?;
        match self.participants.iter().position(|p| p.joined && p.wrote) {
            Some(writer) => self.commit_at(writer, "COMMIT").await,
            None => Ok(()),
        }
    }

    async fn commit_readers(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(participant) = self.participants.get_mut(at) {
            if participant.joined && !participant.wrote {
                if !std::mem::take(&mut participant.begin_due) {
                    self.command(at, "COMMIT").await?;
                }
                if let Some(participant) = self.participants.get_mut(at) {
                    participant.joined = false;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// COMMIT on one participant, which may have written. A lost answer leaves the outcome unknown.
    async fn commit_at(&mut self, at: usize, sql: &str) -> Result<(), Failure> {
        let before = self.participants.len();
        let tag = match self.command(at, sql).await {
            Ok(tag) => tag,
            Err(Failure::Proxy(_)) if self.participants.len() < before => {
                return Err(ProxyError::commit_unknown().into());
            }
            Err(failure) => return Err(failure),
        };
        if let Some(participant) = self.participants.get_mut(at) {
            participant.joined = false;
        }
        if tag == "ROLLBACK" {
            return Err(ProxyError::error(
                sqlstate::IN_FAILED_SQL_TRANSACTION,
                "the transaction was rolled back",
            )
            .into());
        }
        self.note_write_acknowledged(at);
        Ok(())
    }

    async fn commit_two_phase(&mut self) -> Result<(), Failure> {
        self.commit_readers().await?;
        let Some(home) = self.participants.iter().position(|p| p.joined && p.wrote) else {
            return Err(ProxyError::internal().into());
        };
        let gid = Gid::new(
            self.participants
                .get(home)
                .map_or(topology::ShardId(0), |p| p.backend.shard),
        );
        self.prepare_others(home, &gid).await?;
        let decided = self.commit_home(home, &gid).await;
        let settings = self.thread.shared.settings.load_full();
        let verdict = match decided {
            Ok(()) => Verdict::Committed,
            Err(Failure::ClientGone) => return Err(Failure::ClientGone),
            // The home shard said no, or nothing: what stands in its decision table is the outcome.
            Err(failure) => match recovery::ask_decision(&settings, &self.database, &gid).await {
                Ok(Verdict::Committed) => Verdict::Committed,
                Ok(Verdict::Aborted) => {
                    self.finish_prepared(&gid, Verdict::Aborted).await;
                    return Err(match failure {
                        Failure::Proxy(error)
                            if error.sqlstate == sqlstate::TRANSACTION_RESOLUTION_UNKNOWN =>
                        {
                            ProxyError::backend_lost("while committing; the transaction was rolled back")
                                .into()
                        }
                        failure => failure,
                    });
                }
                Err(_) => {
                    self.participants.retain(|p| p.prepared.is_none());
                    return Err(ProxyError::commit_unknown().into());
                }
            },
        };
        if self.finish_prepared(&gid, verdict).await {
            return Ok(());
        }
        Err(ProxyError::commit_unknown()
            .with_detail(
                "The transaction is committed, but a shard that took part can't be reached to show it yet.",
            )
            .into())
    }

    /// PREPARE TRANSACTION on every writer but the home shard. When one fails, those that had prepared roll back.
    async fn prepare_others(&mut self, home: usize, gid: &Gid) -> Result<(), Failure> {
        for at in 0..self.participants.len() {
            let Some(shard) = self
                .participants
                .get(at)
                .filter(|p| at != home && p.joined && p.wrote)
                .map(|p| p.backend.shard)
            else {
                continue;
            };
            let sql = format!("PREPARE TRANSACTION '{}'", gid.on(shard));
            let before = self.participants.len();
            let outcome = match self.command(at, &sql).await {
                // A block that had failed is rolled back instead of prepared, and only the tag says so.
                Ok(tag) if tag == "ROLLBACK" => Err(Failure::Proxy(ProxyError::in_failed_transaction())),
                Ok(_) => Ok(()),
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(()) => {
                    if let Some(participant) = self.participants.get_mut(at) {
                        participant.joined = false;
                        participant.prepared = Some(gid.on(shard));
                    }
                }
                Err(failure) => {
                    if self.participants.len() < before {
                        // Perhaps only the answer was lost. A part that can't be reached is left to recovery.
                        let settings = self.thread.shared.settings.load_full();
                        let _: Result<(), _> =
                            recovery::finish_part(&settings, &self.database, shard, gid, Verdict::Aborted)
                                .await;
                    }
                    self.finish_prepared(gid, Verdict::Aborted).await;
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    async fn commit_home(&mut self, home: usize, gid: &Gid) -> Result<(), Failure> {
        self.command(
            home,
            &format!("SELECT ringway.record_commit('{}')", gid.decision()),
        )
        .await?;
        self.commit_at(home, "COMMIT").await
    }

    /// COMMIT PREPARED or ROLLBACK PREPARED wherever a part was prepared. `false`: one could not be reached; recovery will
    /// finish it.
    async fn finish_prepared(&mut self, gid: &Gid, verdict: Verdict) -> bool {
        let settings = self.thread.shared.settings.load_full();
        let mut all = true;
        let mut at = 0;
        while let Some(participant) = self.participants.get_mut(at) {
            let Some(part) = participant.prepared.take() else {
                at += 1;
                continue;
            };
            let shard = participant.backend.shard;
            let before = self.participants.len();
            if self.command(at, &verdict.finish(&part)).await.is_ok() {
                if verdict == Verdict::Committed {
                    self.note_write_acknowledged(at);
                }
                at += 1;
                continue;
            }
            if self.participants.len() == before {
                self.discard(at);
            }
            all &= recovery::finish_part(&settings, &self.database, shard, gid, verdict)
                .await
                .is_ok();
            if verdict == Verdict::Committed {
                self.positions_after_recovery(shard);
            }
        }
        all
    }
}
