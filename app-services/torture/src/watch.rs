//! What a steady run measures beside answers: how soon customers are told of a confirmation in either region, and where reads were answered from.

use crate::Stage;
use crate::load::Customers;
use anyhow::{Context as _, Result, ensure};
use cluster::Region;
use serde_json::Value;
use shop_testing::person::word;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use uuid::Uuid;

/// What the customers of a category hear of.
const CONFIRMED: &str = "order-confirmed";

/// The counter of Ringway's reads.
const READS: &str = "ringway_reads_total{";

/// When an order's confirmation came to a socket of a region, in milliseconds since 1970 by this machine's clock.
type Heard = HashMap<(Uuid, Region), i64>;

/// Customers with a socket in each region.
#[derive(Debug)]
pub struct Watch {
    heard: Arc<Mutex<Heard>>,
    _listening: JoinSet<()>,
}

impl Watch {
    /// Opens sockets in both regions for so many of the customers; they are listened to until it is dropped.
    ///
    /// # Errors
    /// A socket is refused.
    pub async fn begin(stage: &Stage, customers: &Customers, count: usize) -> Result<Self> {
        let shop = stage.addresses()?;
        let (heard, mut listening) = (Arc::<Mutex<Heard>>::default(), JoinSet::new());
        for person in customers.some(count) {
            for region in Region::ALL {
                let mut socket = shop.socket(region, &person.client.moved_to(region)).await?;
                let heard = Arc::clone(&heard);
                listening.spawn(async move {
                    while let Ok(told) = socket.next().await {
                        note(&told, region, &heard);
                    }
                });
            }
        }
        Ok(Self {
            heard,
            _listening: listening,
        })
    }

    /// How long after its confirmation each order's customer was told, by the region of the socket.
    pub fn delays(&self, confirmed_at: &HashMap<Uuid, i64>) -> BTreeMap<&'static str, Vec<Duration>> {
        let mut delays: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for ((order, region), at) in heard.iter() {
            if let Some(confirmed) = confirmed_at.get(order) {
                let delay = u64::try_from(at - confirmed).unwrap_or_default();
                delays
                    .entry(region.name())
                    .or_default()
                    .push(Duration::from_millis(delay));
            }
        }
        delays
    }
}

fn note(told: &Value, region: Region, heard: &Mutex<Heard>) {
    let order = word(&told["data"], "order_id")
        .ok()
        .and_then(|id| id.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let (Some(order), CONFIRMED) = (order, told["category"].as_str().unwrap_or_default()) {
        let at = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        // Once more after a reconnection.
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((order, region))
            .or_insert(at);
    }
}

/// How many reads each Ringway has answered from where, since it was started.
///
/// # Errors
/// One doesn't answer.
pub async fn reads(stage: &Stage) -> Result<BTreeMap<String, u64>> {
    let mut reads = BTreeMap::new();
    for region in Region::ALL {
        let (status, text) = stage.ringways.of(region).get("/metrics").await?;
        ensure!(status == 200, "/metrics says {status}");
        for line in text.lines().filter_map(|line| line.strip_prefix(READS)) {
            let (labels, count) = line.rsplit_once(' ').context("a metric without a value")?;
            let source = labels
                .split_once("source=\"")
                .and_then(|(_, rest)| rest.split('"').next())
                .context("a read without a source")?;
            *reads.entry(source.to_owned()).or_default() += count.parse::<f64>()? as u64;
        }
    }
    Ok(reads)
}
