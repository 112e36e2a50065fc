//! Clients that write, and clients that read and have every answer judged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::Region;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::history::{Growing, Level, Stepped, Wrong};
use crate::link::{Dice, Link, Protocol, Trouble, number};
use crate::mirror;
use crate::report::Report;
use crate::scene::{BOUND, BUSY, MIRRORED, Scene, WATCHED, canary};

const READ_WATCHED: &str = "SELECT id, ver, canary FROM watched WHERE id = $1";
const READ_MIRROR: &str = "SELECT id, ver FROM mirror WHERE id = $1";
const BUMP: &str = "UPDATE watched SET ver = ver + 1 WHERE id = $1 RETURNING ver";

/// Between two reads of one client that may be answered from the cache.
const READ_PACE: Duration = Duration::from_millis(4);
/// Between two reads of one client at level strong.
const STRONG_PACE: Duration = Duration::from_millis(20);
/// Between two writes of one client. Slow enough that rows are read more than once between two writes.
const WRITE_PACE: Duration = Duration::from_millis(60);
/// After an error, so that a part that is gone isn't asked all the time.
const ERROR_PACE: Duration = Duration::from_millis(25);

/// All rows whose versions grow.
const ALL: [usize; WATCHED] = {
    let mut rows = [0; WATCHED];
    let mut row = 0;
    while row < WATCHED {
        rows[row] = row;
        row += 1;
    }
    rows
};

/// What all clients share.
pub(crate) struct Traffic {
    pub(crate) scene: Arc<Scene>,
    pub(crate) growing: Growing,
    pub(crate) stepped: Stepped,
    pub(crate) report: Report,
    stopped: AtomicBool,
}

impl Traffic {
    pub(crate) fn new(scene: Arc<Scene>) -> Self {
        Self {
            scene,
            growing: Growing::new(WATCHED),
            stepped: Stepped::new(MIRRORED, Some(0)),
            report: Report::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Starts all clients.
    pub(crate) fn start(self: &Arc<Self>) -> Result<JoinSet<Result<()>>> {
        let mut clients = JoinSet::new();
        let mut seed = 0;
        for region in Region::ALL {
            for protocol in [Protocol::Simple, Protocol::Prepared] {
                for level in [Level::Strong, Level::Ryw(BOUND), Level::Bounded(BOUND)] {
                    seed += 1;
                    let reader = Reader::new(self, region, level, protocol, seed)?;
                    clients.spawn(reader.run());
                }
                seed += 1;
                clients.spawn(SessionWriter::new(self, region, protocol, seed)?.run());
            }
            seed += 1;
            clients.spawn(Traveller::new(self, region, seed)?.run());
        }
        for shard in 0..self.scene.cluster.shards().len() {
            seed += 1;
            clients.spawn(bypass(Arc::clone(self), shard, seed));
            clients.spawn(mirror::write(Arc::clone(self), shard));
        }
        Ok(clients)
    }

    /// Tells all clients to end after the statement under way.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Takes note of a statement through a proxy that was not answered.
    pub(crate) async fn trouble(&self, who: &str, began: Instant, trouble: Trouble) {
        match trouble {
            Trouble::Told { code, message } => self.report.error(who, began, Some(&code), &message),
            Trouble::Closed(message) => self.report.error(who, began, None, &message),
            Trouble::Hang => self.report.fault(&format!("{who}: no answer in time")),
        }
        tokio::time::sleep(ERROR_PACE).await;
    }

    /// Raises the version of a row and keeps what was acknowledged.
    pub(crate) async fn bump(&self, link: &mut Link, row: usize) -> Result<i64, Trouble> {
        link.ready().await?;
        self.growing.attempt(row);
        let began = Instant::now();
        let answer = link.row(BUMP, &[id(row)]).await?;
        let version = answer.and_then(|answer| number(&answer, 0).ok());
        let Some(version) = version else {
            return Err(Trouble::Closed("the update found no row".to_owned()));
        };
        // What a write saw is held to the level of the primary: a lost write shows here.
        let before = self.growing.floor(row, began);
        if version <= before {
            self.report.violation(&format!(
                "row {} was raised to {version}, behind {before}",
                id(row)
            ));
        }
        self.growing.acknowledged(row, version);
        Ok(version)
    }

    /// Reads a watched row and judges the answer; `own` gives the session's own version of it, if the session is the same.
    pub(crate) async fn read(
        &self,
        who: &str,
        link: &mut Link,
        level: Level,
        row: usize,
        own: i64,
    ) -> Result<(), Trouble> {
        link.ready().await?;
        let session = link.logins;
        let began = Instant::now();
        let answer = link.row(READ_WATCHED, &[id(row)]).await?;
        // A connection that broke meanwhile was replaced: another session, with no writes of its own.
        let own = if link.logins == session { own } else { 0 };
        let verdict = match &answer {
            Some(answer) if answer.first() != Some(&id(row).to_string()) => {
                Err(Wrong::OtherRow(answer.join(",")))
            }
            Some(answer) if answer.get(2) != Some(&canary(row + 1)) => Err(Wrong::OtherRow(answer.join(","))),
            answer => {
                let found = answer.as_ref().and_then(|answer| number(answer, 1).ok());
                self.growing.judge(row, found, level, began, own)
            }
        };
        self.report.count(match level {
            Level::Strong => "strong",
            Level::Ryw(_) => "ryw",
            Level::Bounded(_) => "bounded",
        });
        if let Err(wrong) = verdict {
            self.report.violation(&format!(
                "{who} read {answer:?} of row {} in {:.1} ms: {wrong:?}; acknowledged: {}",
                id(row),
                began.elapsed().as_secs_f64() * 1e3,
                self.growing.around(row, began),
            ));
        }
        Ok(())
    }

    async fn read_mirror(&self, who: &str, link: &mut Link, level: Level, row: usize) -> Result<(), Trouble> {
        link.ready().await?;
        let began = Instant::now();
        let answer = link.row(READ_MIRROR, &[id(row)]).await?;
        let found = answer.as_ref().and_then(|answer| number(answer, 1).ok());
        let verdict = match &answer {
            Some(answer) if answer.first() != Some(&id(row).to_string()) => {
                Err(Wrong::OtherRow(answer.join(",")))
            }
            _ => self.stepped.judge(row, found, level, began),
        };
        self.report.count("mirror");
        if let Err(wrong) = verdict {
            self.report.violation(&format!(
                "{who} read {found:?} of mirror row {} in {:.1} ms: {wrong:?}",
                id(row),
                began.elapsed().as_secs_f64() * 1e3,
            ));
        }
        Ok(())
    }
}

/// The id of a row.
pub(crate) fn id(row: usize) -> i64 {
    i64::try_from(row + 1).unwrap_or(i64::MAX)
}

/// One of these rows to be written: a calm one now and then.
fn to_write(dice: &mut Dice, rows: &[usize]) -> usize {
    const CALM: usize = 60;
    let any = dice.below(CALM) == 0;
    let candidates: Vec<usize> = rows.iter().copied().filter(|row| any || *row < BUSY).collect();
    candidates[dice.below(candidates.len())]
}

fn name(what: &str, region: Region, level: Level, protocol: Protocol) -> String {
    format!("{what} in {} at {level} ({protocol:?})", region.name())
}

/// Reads rows at one level.
struct Reader {
    traffic: Arc<Traffic>,
    link: Link,
    level: Level,
    who: String,
    dice: Dice,
}

impl Reader {
    fn new(
        traffic: &Arc<Traffic>,
        region: Region,
        level: Level,
        protocol: Protocol,
        seed: u64,
    ) -> Result<Self> {
        let setup = vec![format!("SET ringway.level = '{}'", level.setting())];
        Ok(Self {
            traffic: Arc::clone(traffic),
            link: traffic.scene.link(region, protocol, setup)?,
            level,
            who: name("a reader", region, level, protocol),
            dice: Dice::new(seed),
        })
    }

    async fn run(mut self) -> Result<()> {
        let traffic = Arc::clone(&self.traffic);
        let mut pace = paced(if self.level == Level::Strong {
            STRONG_PACE
        } else {
            READ_PACE
        });
        while !traffic.is_stopped() {
            pace.tick().await;
            let began = Instant::now();
            let read = if self.dice.below(3) == 0 {
                let row = self.dice.below(MIRRORED);
                traffic
                    .read_mirror(&self.who, &mut self.link, self.level, row)
                    .await
            } else {
                let row = self.dice.below(WATCHED);
                traffic.read(&self.who, &mut self.link, self.level, row, 0).await
            };
            if let Err(trouble) = read {
                traffic.trouble(&self.who, began, trouble).await;
            }
        }
        Ok(())
    }
}

/// A session at level ryw that writes and reads what it wrote.
struct SessionWriter {
    traffic: Arc<Traffic>,
    link: Link,
    who: String,
    dice: Dice,
    own: HashMap<usize, i64>,
    session: u64,
}

impl SessionWriter {
    fn new(traffic: &Arc<Traffic>, region: Region, protocol: Protocol, seed: u64) -> Result<Self> {
        Ok(Self {
            traffic: Arc::clone(traffic),
            link: traffic.scene.link(region, protocol, Vec::new())?,
            who: name("a writing session", region, Level::Ryw(BOUND), protocol),
            dice: Dice::new(seed),
            own: HashMap::new(),
            session: 0,
        })
    }

    async fn run(mut self) -> Result<()> {
        let mut pace = paced(WRITE_PACE);
        while !self.traffic.is_stopped() {
            pace.tick().await;
            let began = Instant::now();
            let round = if self.dice.below(6) == 0 {
                self.transaction().await
            } else {
                self.write_and_read().await
            };
            if let Err(trouble) = round {
                let traffic = Arc::clone(&self.traffic);
                traffic.trouble(&self.who, began, trouble).await;
            }
        }
        Ok(())
    }

    async fn write_and_read(&mut self) -> Result<(), Trouble> {
        let row = to_write(&mut self.dice, &ALL);
        self.ready().await?;
        let version = self.traffic.bump(&mut self.link, row).await?;
        self.keep(row, version);
        self.traffic.report.count("writes");
        self.read_own(row).await?;
        // And a row that it may have written long ago.
        let row = self.dice.below(WATCHED);
        self.read_own(row).await
    }

    /// Raises two rows in one transaction, over both shards as often as not.
    async fn transaction(&mut self) -> Result<(), Trouble> {
        let (one, other) = (to_write(&mut self.dice, &ALL), to_write(&mut self.dice, &ALL));
        if one == other {
            return Ok(());
        }
        // In one order everywhere: no deadlocks.
        let rows = [one.min(other), one.max(other)];
        self.ready().await?;
        let outcome = self.raise_both(rows).await;
        match outcome {
            Ok(versions) => {
                for (row, version) in rows.into_iter().zip(versions) {
                    self.traffic.growing.acknowledged(row, version);
                    self.keep(row, version);
                }
                self.traffic.report.count("transactions");
                for row in rows {
                    self.read_own(row).await?;
                }
                Ok(())
            }
            Err(trouble) => {
                if !matches!(trouble, Trouble::Told { .. }) || self.link.run("ROLLBACK").await.is_err() {
                    self.link.drop_connection();
                }
                Err(trouble)
            }
        }
    }

    async fn raise_both(&mut self, rows: [usize; 2]) -> Result<[i64; 2], Trouble> {
        let mut versions = [0; 2];
        let session = self.link.logins;
        self.link.run("BEGIN").await?;
        for (row, version) in rows.into_iter().zip(&mut versions) {
            self.traffic.growing.attempt(row);
            let answer = self.link.row(BUMP, &[id(row)]).await?;
            *version = answer
                .and_then(|answer| number(&answer, 0).ok())
                .unwrap_or_default();
            if self.link.logins != session {
                return Err(Trouble::Closed(
                    "the connection changed in a transaction".to_owned(),
                ));
            }
        }
        self.link.run("COMMIT").await?;
        if self.link.logins != session {
            return Err(Trouble::Closed(
                "the connection changed in a transaction".to_owned(),
            ));
        }
        Ok(versions)
    }

    /// A new session has written nothing.
    async fn ready(&mut self) -> Result<(), Trouble> {
        self.link.ready().await?;
        if self.link.logins != self.session {
            self.session = self.link.logins;
            self.own.clear();
        }
        Ok(())
    }

    fn keep(&mut self, row: usize, version: i64) {
        if self.link.logins == self.session {
            self.own.insert(row, version);
        }
    }

    async fn read_own(&mut self, row: usize) -> Result<(), Trouble> {
        self.ready().await?;
        let own = self.own.get(&row).copied().unwrap_or_default();
        self.traffic
            .read(&self.who, &mut self.link, Level::Ryw(BOUND), row, own)
            .await
    }
}

/// Writes in one region, carries the token to the other, and reads there.
struct Traveller {
    traffic: Arc<Traffic>,
    here: Link,
    there: Link,
    who: String,
    dice: Dice,
}

impl Traveller {
    fn new(traffic: &Arc<Traffic>, region: Region, seed: u64) -> Result<Self> {
        let there = match region {
            Region::UsEast => Region::UsWest,
            Region::UsWest => Region::UsEast,
        };
        Ok(Self {
            traffic: Arc::clone(traffic),
            here: traffic.scene.link(region, Protocol::Simple, Vec::new())?,
            there: traffic.scene.link(there, Protocol::Simple, Vec::new())?,
            who: format!("a traveller from {} to {}", region.name(), there.name()),
            dice: Dice::new(seed),
        })
    }

    async fn run(mut self) -> Result<()> {
        let mut pace = paced(WRITE_PACE);
        while !self.traffic.is_stopped() {
            pace.tick().await;
            let began = Instant::now();
            if let Err(trouble) = self.travel().await {
                let traffic = Arc::clone(&self.traffic);
                traffic.trouble(&self.who, began, trouble).await;
            }
        }
        Ok(())
    }

    async fn travel(&mut self) -> Result<(), Trouble> {
        let row = to_write(&mut self.dice, &ALL);
        let traffic = Arc::clone(&self.traffic);
        self.here.ready().await?;
        let (session, version) = (self.here.logins, traffic.bump(&mut self.here, row).await?);
        let token = self.here.rows("SHOW ringway.token").await?;
        let token = token.into_iter().flatten().next();
        let Some(token) = token else {
            return Err(Trouble::Closed("SHOW ringway.token gave no row".to_owned()));
        };
        self.there.run(&format!("SET ringway.token = '{token}'")).await?;
        // Only the session that wrote has the write in its token.
        let own = if self.here.logins == session { version } else { 0 };
        traffic.report.count("tokens");
        traffic
            .read(&self.who, &mut self.there, Level::Ryw(BOUND), row, own)
            .await
    }
}

/// Writes straight to a shard's primary.
async fn bypass(traffic: Arc<Traffic>, shard: usize, seed: u64) -> Result<()> {
    let mut link = traffic.scene.bypass(shard)?;
    let rows = traffic.scene.watched[shard].clone();
    let mut dice = Dice::new(seed);
    let mut pace = paced(WRITE_PACE);
    while !traffic.is_stopped() {
        pace.tick().await;
        let row = to_write(&mut dice, &rows);
        match traffic.bump(&mut link, row).await {
            Ok(_) => traffic.report.count("direct"),
            Err(Trouble::Hang) => traffic
                .report
                .fault(&format!("the primary of shard {shard}: no answer in time")),
            // The primary itself is gone: nothing that Ringway could do about it.
            Err(Trouble::Told { .. } | Trouble::Closed(_)) => tokio::time::sleep(ERROR_PACE).await,
        }
    }
    Ok(())
}

/// Ticks at this pace; a late tick isn't made up for.
pub(crate) fn paced(period: Duration) -> tokio::time::Interval {
    let mut pace = interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
