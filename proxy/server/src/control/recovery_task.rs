//! The recovery: looks for prepared parts that nobody finishes any more, and brings them to their outcome.
//!
//! **Invariant:** nothing is rolled back before the home shard has recorded "aborted".
//! **Invariant:** a part that is younger than [`GRACE`] is left alone: its client may still be at work.
//! **Invariant:** a decision is forgotten only when no shard holds a part of it, and nobody can ask for it any more.

use crate::control::link::{self, Link, LinkError};
use crate::control::recovery::{self, Gid, PREFIX, PartName, Verdict};
use arc_swap::ArcSwap;
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use topology::{ShardId, Snapshot};

/// The pause between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_secs(5);
/// How old a prepared part has to be before anybody but its client touches it.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How old a decision has to be before it is forgotten.
pub(crate) const DECISION_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often old decisions are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The most decisions of one shard that are forgotten at a time.
const FORGET_BATCH: usize = 1_000;
/// The most parts of one shard that are looked at in one round.
const MAX_PARTS: usize = 10_000;

/// What the recovery of one database did and has to do.
#[derive(Debug, Default)]
pub(crate) struct RecoveryStats {
    /// Parts older than the grace period that were left over from the last round.
    pub(crate) in_doubt: AtomicU64,
    /// Parts committed.
    pub(crate) committed: AtomicU64,
    /// Parts rolled back.
    pub(crate) rolled_back: AtomicU64,
    /// Attempts that failed: a shard that can't be reached or says no.
    pub(crate) failures: AtomicU64,
    /// Decisions forgotten.
    pub(crate) forgotten: AtomicU64,
}

/// The ages that decide; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// See [`GRACE`].
    pub(crate) grace: Duration,
    /// See [`DECISION_AGE`].
    pub(crate) decision: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            grace: GRACE,
            decision: DECISION_AGE,
        }
    }
}

/// The recovery of one database.
#[derive(Debug)]
pub(crate) struct Recovery {
    dbname: String,
    stats: Arc<RecoveryStats>,
    ages: Ages,
    /// What has been complained about, so that it is said once.
    said: BTreeSet<String>,
}

/// What is open during one round.
struct Round<'a> {
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    links: HashMap<ShardId, Link>,
}

/// A part that nobody has finished.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FoundPart {
    name: PartName,
    owner: String,
}

impl Recovery {
    /// For the database that the servers call `dbname`.
    pub(crate) fn new(dbname: &str, stats: Arc<RecoveryStats>, ages: Ages) -> Self {
        Self {
            dbname: dbname.to_owned(),
            stats,
            ages,
            said: BTreeSet::new(),
        }
    }

    /// Rounds without end.
    pub(crate) async fn run(mut self, settings: Arc<ArcSwap<Settings>>, snapshots: Arc<ArcSwap<Snapshot>>) {
        let mut ticks = interval(ROUND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forget_at = Instant::now() + FORGET_INTERVAL;
        loop {
            ticks.tick().await;
            let forget = Instant::now() >= forget_at;
            if forget {
                forget_at = Instant::now() + FORGET_INTERVAL;
            }
            let (settings, snapshot) = (settings.load_full(), snapshots.load_full());
            self.round(&settings, &snapshot, forget).await;
        }
    }

    /// Looks at every shard once, and finishes what it can.
    pub(crate) async fn round(&mut self, settings: &Settings, snapshot: &Snapshot, forget: bool) {
        let mut round = Round {
            settings,
            snapshot,
            links: HashMap::new(),
        };
        let mut parts: BTreeMap<Gid, Vec<FoundPart>> = BTreeMap::new();
        // Every part whatever its age: a young one too keeps its decision from being forgotten.
        let mut alive = BTreeSet::new();
        let mut complete = true;
        for shard in &snapshot.shards {
            match self.parts_on(&mut round, shard.id, &mut alive).await {
                Ok(found) => found
                    .into_iter()
                    .for_each(|part| parts.entry(part.name.gid.clone()).or_default().push(part)),
                Err(error) => {
                    complete = false;
                    self.failed(&mut round, shard.id, "list its prepared transactions", &error);
                }
            }
        }
        let mut left = 0;
        for (gid, parts) in parts {
            left += self.settle(&mut round, &gid, parts).await;
        }
        self.stats.in_doubt.store(left, Ordering::Relaxed);
        if forget && complete {
            for shard in &snapshot.shards {
                if let Err(error) = self.forget_on(&mut round, shard.id, &alive).await {
                    self.failed(&mut round, shard.id, "forget its old decisions", &error);
                }
            }
        }
        for (_, link) in round.links {
            link.close().await;
        }
    }

    /// The parts on `shard` that are old enough; the transactions of all of them go to `alive`.
    async fn parts_on(
        &mut self,
        round: &mut Round<'_>,
        shard: ShardId,
        alive: &mut BTreeSet<Gid>,
    ) -> Result<Vec<FoundPart>, LinkError> {
        let grace = self.ages.grace.as_secs_f64();
        let sql = format!(
            "SELECT gid, owner, prepared < pg_catalog.clock_timestamp() - {grace} * interval '1 second' \
             FROM pg_catalog.pg_prepared_xacts \
             WHERE database = pg_catalog.current_database() AND gid LIKE '{PREFIX}:%' \
             ORDER BY prepared LIMIT {MAX_PARTS}"
        );
        let rows = round.link(&self.dbname, shard).await?.rows(&sql).await?;
        self.said.retain(|said| !said.starts_with(&failure_of(shard)));
        let mut found = Vec::new();
        for row in rows {
            let [Some(name), Some(owner), Some(old)] = row.as_slice() else {
                return Err(LinkError::Answer("three values"));
            };
            let Some(name) = PartName::parse(name).filter(|name| name.shard == shard) else {
                self.say_once(format!("{shard} {name}"), || {
                    tracing::warn!(%shard, gid = name, "a prepared transaction has a name like ours but isn't: it is left alone");
                });
                continue;
            };
            alive.insert(name.gid.clone());
            if old == "t" {
                let owner = owner.clone();
                found.push(FoundPart { name, owner });
            }
        }
        Ok(found)
    }

    /// Brings the parts of one transaction to its outcome. Gives how many are left.
    async fn settle(&mut self, round: &mut Round<'_>, gid: &Gid, parts: Vec<FoundPart>) -> u64 {
        let (verdict, recorded_by) = match self.outcome(round, gid).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed(round, gid.home(), "ask for a decision", &error);
                return u64::try_from(parts.len()).unwrap_or(u64::MAX);
            }
        };
        let mut left = 0;
        for part in parts {
            if verdict == Verdict::Committed && recorded_by != part.owner {
                let gid = part.name.to_string();
                self.say_once(gid.clone(), || {
                    tracing::error!(gid, owner = part.owner, recorded_by, "somebody else than its owner recorded this transaction as committed: it is left alone");
                });
                left += 1;
                continue;
            }
            match self.finish(round, &part, verdict).await {
                Ok(()) => {
                    let counter = match verdict {
                        Verdict::Committed => &self.stats.committed,
                        Verdict::Aborted => &self.stats.rolled_back,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(gid = %part.name, ?verdict, "finished a transaction that was left prepared");
                }
                Err(error) => {
                    left += 1;
                    self.failed(round, part.name.shard, "finish a prepared transaction", &error);
                }
            }
        }
        left
    }

    async fn outcome(&self, round: &mut Round<'_>, gid: &Gid) -> Result<(Verdict, String), LinkError> {
        let home = round.link(&self.dbname, gid.home()).await?;
        let verdict = recovery::decide(home, gid).await?;
        Ok((verdict, recovery::recorded_by(home, gid).await?))
    }

    async fn finish(
        &self,
        round: &mut Round<'_>,
        part: &FoundPart,
        verdict: Verdict,
    ) -> Result<(), LinkError> {
        let (settings, shard) = (round.settings, part.name.shard);
        let endpoint = link::primary_of(round.snapshot, shard)?;
        let as_owner = async || {
            let user = settings
                .auth
                .user(&part.owner)
                .ok_or(LinkError::Answer("an owner of the settings"))?;
            Link::open_as(settings, user, &self.dbname, endpoint).await
        };
        let server = round.link(&self.dbname, shard).await?;
        recovery::finish(server, &part.name.to_string(), verdict, as_owner).await
    }

    /// Forgets old decisions of this home shard. A transaction that began before a decision may still come and record its
    /// commit, so such a decision stays; a session that can't be looked into counts as one.
    async fn forget_on(
        &self,
        round: &mut Round<'_>,
        shard: ShardId,
        alive: &BTreeSet<Gid>,
    ) -> Result<(), LinkError> {
        let age = self.ages.decision.as_secs_f64();
        let home = round.link(&self.dbname, shard).await?;
        let sql = format!(
            "SELECT d.gid FROM ringway.decision d \
             WHERE d.decided_at < pg_catalog.clock_timestamp() - {age} * interval '1 second' AND NOT EXISTS ( \
                 SELECT FROM pg_catalog.pg_stat_activity a \
                 WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() \
                     AND (a.xact_start <= d.decided_at OR a.query = '<insufficient privilege>')) \
             ORDER BY d.decided_at LIMIT {FORGET_BATCH}"
        );
        let rows = home.rows(&sql).await?;
        let gids = rows
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten());
        let old: Vec<String> = gids
            .filter(|gid| Gid::parse(gid).is_some_and(|gid| gid.home() == shard && !alive.contains(&gid)))
            .map(|gid| link::literal(&gid))
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        let sql = format!("SELECT ringway.forget_decisions(ARRAY[{}])", old.join(", "));
        let forgotten = home.value(&sql).await?.parse().unwrap_or(0);
        self.stats.forgotten.fetch_add(forgotten, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a failure, says it once until the shard answers again, and drops the connection.
    fn failed(&mut self, round: &mut Round<'_>, shard: ShardId, what: &str, error: &LinkError) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        round.links.remove(&shard);
        let database = self.dbname.clone();
        self.say_once(format!("{}{what}", failure_of(shard)), || {
            tracing::warn!(%shard, database, %error, "the recovery of transactions can't {what}");
        });
    }

    fn say_once(&mut self, key: String, say: impl FnOnce()) {
        /// More complaints than this are not remembered.
        const MAX_SAID: usize = 10_000;
        if self.said.len() < MAX_SAID && self.said.insert(key) {
            say();
        }
    }
}

/// Begins the keys of what was said about a shard that fails.
fn failure_of(shard: ShardId) -> String {
    format!("failure {shard} ")
}

impl Round<'_> {
    /// The connection to the primary of `shard`.
    async fn link(&mut self, dbname: &str, shard: ShardId) -> Result<&mut Link, LinkError> {
        use std::collections::hash_map::Entry;
        match self.links.entry(shard) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let endpoint = link::primary_of(self.snapshot, shard)?;
                let mut link = Link::open(self.settings, dbname, endpoint).await?;
                if link.value("SELECT pg_catalog.pg_is_in_recovery()").await? != "f" {
                    return Err(LinkError::NoPrimary(shard));
                }
                Ok(place.insert(link))
            }
        }
    }
}

#[cfg(test)]
mod tests;
