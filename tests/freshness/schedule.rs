//! What goes wrong, one thing after another, and how long it takes until all is well again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{CONTROL_ROLE, Region, SHOP, StopMode};
use tokio::time::sleep;

use crate::link::{Link, Protocol, Trouble};
use crate::report::Tolerance;
use crate::scene::{BOUND, cache_hits};
use crate::traffic::Traffic;

/// From the moment at which the missing part is back until everything is answered and the cache is used.
const RECOVERY_BOUND: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(50);
/// For a commit to be held, and for all to be released.
const HELD_BOUND: Duration = Duration::from_secs(10);

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    RedisFlushed,
    RedisRestarted,
    KafkaRestarted,
    PrimaryCrashed,
    StandbyRestarted,
    CommitHeld,
    RingwayRestarted,
    RingwayKilled,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::RedisFlushed,
        Self::RedisRestarted,
        Self::KafkaRestarted,
        Self::PrimaryCrashed,
        Self::StandbyRestarted,
        Self::CommitHeld,
        Self::RingwayRestarted,
        Self::RingwayKilled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RedisFlushed => "Redis flushed",
            Self::RedisRestarted => "Redis stopped and started",
            Self::KafkaRestarted => "Kafka stopped and started",
            Self::PrimaryCrashed => "a primary crashed and started",
            Self::StandbyRestarted => "a standby restarted",
            Self::CommitHeld => "a commit held by an absent standby",
            Self::RingwayRestarted => "Ringway in us-east restarted",
            Self::RingwayKilled => "Ringway in us-east killed",
        }
    }

    fn tolerance(self) -> Tolerance {
        match self {
            Self::RedisFlushed | Self::RedisRestarted | Self::KafkaRestarted => Tolerance::Nothing,
            Self::PrimaryCrashed | Self::StandbyRestarted | Self::CommitHeld => Tolerance::TypedErrors,
            Self::RingwayRestarted | Self::RingwayKilled => Tolerance::LostConnections,
        }
    }
}

/// Carries the schedule out.
pub(crate) struct Schedule<'a> {
    traffic: &'a Traffic,
    /// How long each quiet stretch lasts, and what is stopped stays away at the least.
    stretch: Duration,
    admins: Vec<(Region, Link)>,
    probes: Vec<(Region, Link)>,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(traffic: &'a Traffic, stretch: Duration) -> Result<Self> {
        let scene = &traffic.scene;
        let mut admins = Vec::new();
        let mut probes = Vec::new();
        for region in Region::ALL {
            admins.push((region, scene.admin(region)?));
            let setup = vec!["SET ringway.level = 'strong'".to_owned()];
            probes.push((region, scene.link(region, Protocol::Simple, setup)?));
        }
        Ok(Self {
            traffic,
            stretch,
            admins,
            probes,
        })
    }

    /// Waits until the traffic that has just begun is answered, from the cache too, then lets it be for a stretch.
    pub(crate) async fn warm_up(&mut self) -> Result<()> {
        self.traffic.report.begin("start", Tolerance::Nothing);
        self.recover().await?;
        self.quiet().await
    }

    /// Does the damage, repairs it, waits until all is well, and lets it be for a stretch.
    pub(crate) async fn run(&mut self, fault: Fault) -> Result<()> {
        self.traffic.report.begin(fault.name(), fault.tolerance());
        self.damage(fault).await.with_context(|| fault.name())?;
        self.recover()
            .await
            .with_context(|| format!("after: {}", fault.name()))?;
        self.quiet().await
    }

    async fn damage(&self, fault: Fault) -> Result<()> {
        let scene = &self.traffic.scene;
        let first = &scene.cluster.shards()[0];
        match fault {
            Fault::RedisFlushed => {
                for region in Region::ALL {
                    scene.cluster.redis(region).context("no Redis")?.flush().await?;
                }
            }
            Fault::RedisRestarted => {
                for region in Region::ALL {
                    scene
                        .cluster
                        .redis(region)
                        .context("no Redis")?
                        .stop(StopMode::Immediate)
                        .await?;
                }
                self.write_calm_rows().await?;
                sleep(self.stretch).await;
                for region in Region::ALL {
                    scene
                        .cluster
                        .redis(region)
                        .context("no Redis")?
                        .start_again()
                        .await?;
                }
            }
            Fault::KafkaRestarted => {
                let kafka = scene.cluster.kafka().context("no Kafka")?;
                kafka.stop(StopMode::Immediate).await?;
                self.write_calm_rows().await?;
                // Longer than the bound: only the closed gates keep the answers fresh.
                sleep(self.stretch + BOUND).await;
                kafka.start_again().await?;
            }
            Fault::PrimaryCrashed => {
                self.write_calm_rows().await?;
                first.primary.stop(StopMode::Immediate).await?;
                sleep(self.stretch / 2).await;
                first.primary.start_again().await?;
            }
            Fault::StandbyRestarted => {
                first.standby.stop(StopMode::Fast).await?;
                self.write_calm_rows().await?;
                sleep(self.stretch / 2).await;
                first.standby.start_again().await?;
            }
            Fault::CommitHeld => self.hold_commits().await?,
            Fault::RingwayRestarted => self.restart_ringway(StopMode::Fast).await?,
            Fault::RingwayKilled => self.restart_ringway(StopMode::Immediate).await?,
        }
        Ok(())
    }

    async fn restart_ringway(&self, mode: StopMode) -> Result<()> {
        let ringway = self.traffic.scene.ringway(Region::UsEast);
        ringway.stop(mode).await?;
        self.write_calm_rows().await?;
        ringway.start_again().await?;
        Ok(())
    }

    /// Commits on the first shard are in its log, but neither visible nor acknowledged, for longer than the bound.
    async fn hold_commits(&self) -> Result<()> {
        const NAMES: &str = "synchronous_standby_names";
        let primary = &self.traffic.scene.cluster.shards()[0].primary;
        primary.configure(&[(NAMES, "absent")]).await?;
        let held = self.wait_held(|count| count > 0).await;
        let held_back = async {
            // Read meanwhile, and not written again for long: an answer that lacks these commits must not outlive them.
            let written = self.write_calm_rows();
            let released = async {
                sleep(self.stretch + BOUND).await;
                primary.configure(&[(NAMES, "")]).await
            };
            let (written, released) = tokio::join!(written, released);
            released?;
            written
        };
        if held.is_ok() {
            held_back.await?;
        }
        // Also where no commit was held.
        primary.configure(&[(NAMES, "")]).await?;
        held.context("no commit was held")?;
        self.wait_held(|count| count == 0)
            .await
            .context("commits are still held")
    }

    /// Raises the calm rows of all shards, straight at the primaries.
    async fn write_calm_rows(&self) -> Result<()> {
        let scene = &self.traffic.scene;
        let shard = async |shard: usize| {
            let mut link = scene.bypass(shard)?;
            for row in scene.calm(shard) {
                match self.traffic.bump(&mut link, row).await {
                    Ok(_) => {}
                    Err(trouble) => bail!("writing calm row {row} straight to shard {shard}: {trouble:?}"),
                }
            }
            Ok(())
        };
        let all = (0..scene.watched.len()).map(shard);
        futures_util::future::try_join_all(all)
            .await
            .map(|_done: Vec<()>| ())
    }

    async fn wait_held(&self, condition: impl Fn(i64) -> bool) -> Result<()> {
        let primary = &self.traffic.scene.cluster.shards()[0].primary;
        let client = primary.connect(CONTROL_ROLE, SHOP).await?;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let deadline = Instant::now() + HELD_BOUND;
        while Instant::now() < deadline {
            if condition(client.query_one(sql, &[]).await?.get(0)) {
                return Ok(());
            }
            sleep(POLL).await;
        }
        bail!("not within {HELD_BOUND:?}")
    }

    /// Waits until both proxies read and write on every shard, and their caches answer.
    async fn recover(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut base: Vec<Option<u64>> = vec![None; self.admins.len()];
        let mut missing = String::new();
        while began.elapsed() < RECOVERY_BOUND {
            match self.look(&mut base).await {
                Ok(()) => {
                    let note = format!("well after {:.1} s", began.elapsed().as_secs_f64());
                    self.traffic.report.note(note);
                    return Ok(());
                }
                Err(what) => missing = what,
            }
            sleep(POLL).await;
        }
        bail!("no recovery within {RECOVERY_BOUND:?}: {missing}")
    }

    /// One look; says what is missing.
    async fn look(&mut self, base: &mut [Option<u64>]) -> Result<(), String> {
        let rows: Vec<usize> = self
            .traffic
            .scene
            .watched
            .iter()
            .filter_map(|rows| rows.first().copied())
            .collect();
        for (region, probe) in &mut self.probes {
            let who = format!("the probe in {}", region.name());
            for row in &rows {
                let told = |trouble: Trouble| format!("{who}, row {row}: {trouble:?}");
                self.traffic.bump(probe, *row).await.map_err(told)?;
                let level = crate::history::Level::Strong;
                self.traffic
                    .read(&who, probe, level, *row, 0)
                    .await
                    .map_err(told)?;
            }
        }
        for ((region, admin), base) in self.admins.iter_mut().zip(base) {
            let hits = cache_hits(admin)
                .await
                .map_err(|trouble| format!("SHOW CACHE: {trouble:?}"))?;
            match base {
                // A restart counts from zero again.
                Some(before) if hits > *before => {}
                Some(before) if hits == *before => {
                    return Err(format!(
                        "the cache in {} does not answer ({hits} hits)",
                        region.name()
                    ));
                }
                _ => {
                    *base = Some(hits);
                    return Err(format!("the cache in {} was not seen to answer", region.name()));
                }
            }
        }
        Ok(())
    }

    /// Lets the traffic be, without errors, and sees to it that the cache was used.
    async fn quiet(&mut self) -> Result<()> {
        self.traffic.report.begin("  quiet", Tolerance::Nothing);
        let before = self.hits().await?;
        sleep(self.stretch).await;
        let after = self.hits().await?;
        for (n, (region, _)) in self.admins.iter().enumerate() {
            let answered = after[n].saturating_sub(before[n]);
            self.traffic
                .report
                .note(format!("{} hits in {}", answered, region.name()));
            if answered == 0 {
                self.traffic
                    .report
                    .fault(&format!("the cache in {} was not used", region.name()));
            }
        }
        Ok(())
    }

    async fn hits(&mut self) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for (region, admin) in &mut self.admins {
            let hits = cache_hits(admin).await;
            match hits {
                Ok(hits) => all.push(hits),
                Err(trouble) => bail!("SHOW CACHE in {}: {trouble:?}", region.name()),
            }
        }
        Ok(all)
    }
}
