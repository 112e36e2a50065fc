//! What happens to the servers: chosen by a seed, one at a time, healed after a while.

use crate::Stage;
use anyhow::{Context as _, Result};
use cluster::{Region, StopMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tokio::time::sleep;

/// A fault lasts between these.
const LASTS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2_500));

/// From the end of a fault to the next one.
const CALM: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_500));

/// The kinds of faults, as [`Plan::only`] names them.
pub const KINDS: [&str; 11] = [
    "KillInstance",
    "PauseInstance",
    "CutPrimary",
    "CrashPrimary",
    "KillKafka",
    "PauseKafka",
    "KillRedis",
    "PauseRedis",
    "KillMongoDb",
    "KillPartners",
    "PausePartners",
];

/// Which faults are made.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// How many.
    pub count: u32,
    /// What they are drawn from.
    pub seed: u64,
    /// Only of this kind, one of [`KINDS`].
    pub only: Option<&'a str>,
}

/// Something that can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    KillInstance(usize),
    PauseInstance(usize),
    /// Every connection of a primary is ended.
    CutPrimary(usize),
    CrashPrimary(usize),
    KillKafka,
    PauseKafka,
    KillRedis(Region),
    PauseRedis(Region),
    KillMongoDb,
    KillPartners,
    PausePartners,
}

fn choose(stage: &Stage, rng: &mut StdRng) -> Fault {
    let instance = rng.random_range(0..stage.shop.instances().len());
    let shard = rng.random_range(0..stage.cluster.shards().len());
    let region = Region::ALL[rng.random_range(0..2)];
    match rng.random_range(0..14) {
        0 | 1 => Fault::KillInstance(instance),
        2 => Fault::PauseInstance(instance),
        3 | 4 => Fault::CutPrimary(shard),
        5 => Fault::CrashPrimary(shard),
        6 => Fault::KillKafka,
        7 => Fault::PauseKafka,
        8 => Fault::KillRedis(region),
        9 => Fault::PauseRedis(region),
        10 if stage
            .cluster
            .mongodb()
            .is_some_and(|server| server.pid().is_some()) =>
        {
            Fault::KillMongoDb
        }
        11 => Fault::KillPartners,
        _ => Fault::PausePartners,
    }
}

fn between(rng: &mut StdRng, (least, most): (Duration, Duration)) -> Duration {
    rng.random_range(least..=most)
}

/// Makes so many faults, one after the other, and tells each. All of them are healed when it ends.
///
/// # Errors
/// A server doesn't come back.
pub async fn make(
    stage: &Stage,
    Plan { count, seed, only }: Plan<'_>,
    mut tell: impl FnMut(u32, &str),
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 1..=count {
        sleep(between(&mut rng, CALM)).await;
        let fault = loop {
            let fault = choose(stage, &mut rng);
            if only.is_none_or(|only| format!("{fault:?}").starts_with(only)) {
                break fault;
            }
        };
        let lasts = between(&mut rng, LASTS);
        tell(number, &format!("{fault:?} for {} ms", lasts.as_millis()));
        fault
            .happen(stage, lasts)
            .await
            .with_context(|| format!("fault {number}: {fault:?}"))?;
    }
    Ok(())
}

impl Fault {
    async fn happen(self, stage: &Stage, lasts: Duration) -> Result<()> {
        match self {
            Self::KillInstance(number) => {
                let instance = &stage.shop.instances()[number];
                instance.stop(StopMode::Immediate).await?;
                sleep(lasts).await;
                instance.start_again().await?;
            }
            Self::PauseInstance(number) => {
                let instance = &stage.shop.instances()[number];
                instance.pause();
                sleep(lasts).await;
                instance.resume();
            }
            Self::CutPrimary(number) => cut(stage, number).await?,
            Self::CrashPrimary(number) => {
                let primary = &stage.cluster.shards()[number].primary;
                primary.stop(StopMode::Immediate).await?;
                primary.start_again().await?;
            }
            Self::KillKafka => {
                let kafka = stage.cluster.kafka().context("no Kafka")?;
                kafka.stop(StopMode::Immediate).await?;
                sleep(lasts).await;
                kafka.start_again().await?;
            }
            Self::PauseKafka => {
                let kafka = stage.cluster.kafka().context("no Kafka")?;
                kafka.pause();
                sleep(lasts).await;
                kafka.resume();
            }
            Self::KillRedis(region) => {
                let redis = stage.cluster.redis(region).context("no Redis")?;
                redis.stop(StopMode::Immediate).await?;
                sleep(lasts).await;
                redis.start_again().await?;
            }
            Self::PauseRedis(region) => {
                let redis = stage.cluster.redis(region).context("no Redis")?;
                redis.pause();
                sleep(lasts).await;
                redis.resume();
            }
            Self::KillMongoDb => {
                let mongodb = stage.cluster.mongodb().context("no MongoDB")?;
                mongodb.stop(StopMode::Immediate).await?;
                sleep(lasts).await;
                mongodb.start_again().await?;
            }
            Self::KillPartners => {
                let partners = stage.shop.partners();
                partners.stop(StopMode::Immediate).await?;
                sleep(lasts).await;
                partners.start_again().await?;
            }
            Self::PausePartners => {
                let partners = stage.shop.partners();
                partners.pause();
                sleep(lasts).await;
                partners.resume();
            }
        }
        Ok(())
    }
}

/// Ends all connections of clients to a primary but ours.
async fn cut(stage: &Stage, shard: usize) -> Result<()> {
    const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let primary = &stage.cluster.shards()[shard].primary;
    let client = primary.connect(cluster::CONTROL_ROLE, cluster::SHOP).await?;
    client.query_one(CUT, &[]).await?;
    Ok(())
}
