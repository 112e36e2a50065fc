//! The server connection of a client of a direct database: taken when a message needs it, brought to what the client expects.

use super::{Client, Direct, Ended};
use crate::client::Failure;
use crate::metrics::{PlanKind, Source};
use planner::{Access, Effects, Plan, Route};
use session::Expected;
use std::time::Duration;
use wire::frontend::Query;

impl Client {
    /// Has a connection. `false`: there is none to be had, and the client was told.
    pub(super) async fn server(&mut self, direct: &mut Direct) -> Result<bool, Ended> {
        if !self.participants.is_empty() {
            if !direct.is_open() && direct.tracker.is_done() {
                self.apply_settings_direct(direct);
            }
            return Ok(true);
        }
        match self.acquire_direct(direct).await {
            Ok(()) => {
                direct.names.unnamed.leave();
                self.close_own_names(direct);
                self.apply_settings_direct(direct);
                Ok(true)
            }
            Err(failure) => match self.report(failure) {
                crate::client::Flow::Continue => Ok(false),
                crate::client::Flow::Close => Err(Ended),
            },
        }
    }

    async fn acquire_direct(&mut self, direct: &Direct) -> Result<(), Failure> {
        if self.database.needs.stream() {
            // Where other servers or the cache may answer, what is written has a position to be known.
            let plan = Plan {
                route: Route::Utility { shard: direct.shard },
                access: Access::Write,
                cache: None,
                replica_bound: Duration::MAX,
                hints: sql::Hints::default(),
                effects: Effects::NONE,
            };
            return Box::pin(self.acquire(direct.shard, &plan)).await.map(|_| ());
        }
        self.database.wake().await;
        let choice = self.choose_primary(direct.shard)?;
        let lent = self.lend(&choice).await?;
        self.hold(lent);
        Ok(())
    }

    /// Another client's own names are of no concern to this one.
    fn close_own_names(&mut self, direct: &mut Direct) {
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        for name in state.take_own_names() {
            super::statements::close(direct, &name, out);
        }
    }

    /// Sends the settings in which the connection differs ahead of the client's message.
    fn apply_settings_direct(&mut self, direct: &mut Direct) {
        let wanted = self.settings.current();
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        if state.applied == *wanted {
            return;
        }
        if let Some(sql) = state.applied.statements_towards(wanted) {
            Query { sql: sql.as_bytes() }.encode(out);
            direct.tracker.expect(Expected::InjectedQuery);
        }
        state.applied = wanted.clone();
    }

    pub(super) fn count_statement(&mut self) {
        let stats = self.thread.stats.database(self.database.index);
        stats.plan(PlanKind::Single);
        self.source = Source::Primary;
    }

    /// Here all reads are the primary's.
    pub(super) fn count_read(&self, access: Access) {
        if access == Access::Read {
            let stats = self.thread.stats.database(self.database.index);
            stats.read(Source::Primary);
        }
    }

    /// A failure of ours that ends the connection.
    pub(super) fn failed(&mut self, direct: &Direct, failure: Failure) -> Ended {
        match failure {
            Failure::Proxy(error) => self.end(direct, error),
            other => {
                let _ = self.report(other);
                Ended
            }
        }
    }
}
