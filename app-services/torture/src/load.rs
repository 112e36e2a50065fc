//! The customers: an open loop of what people do in a shop, from both regions, at a rate that doesn't wait for answers.
//!
//! What changes something is asked again, under its key, until there is an answer that says what became of it: so it is known what must be there.

use crate::Stage;
use crate::stage::CATALOGUE;
use anyhow::Result;
use cluster::{PerRegion, Region};
use futures_util::{StreamExt, TryStreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shop_testing::person::{Person, address, word};
use shop_testing::{Answer, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

/// An answer is waited for so long; then it is asked again.
const ANSWER_BOUND: Duration = Duration::from_secs(12);

/// Something that changes things is asked for so long before it counts as never answered.
const ASKING_BOUND: Duration = Duration::from_secs(90);

/// A session's token is valid for ten minutes.
const SIGN_IN_AGAIN: Duration = Duration::from_secs(300);

/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Of so many looks one asks where its answer came from. It isn't timed: to ask costs a little.
const ASKING_WHENCE: u32 = 4;

/// Registrations at a time: each costs a good deal of computing.
const REGISTERING: usize = 4;

/// What somebody does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// Looks for products by words.
    Search,
    /// Looks at a product.
    Product,
    /// Looks at an order.
    Status,
    /// Looks at all orders.
    History,
    /// Looks at the cart.
    Cart,
    /// Puts something into the cart.
    Add,
    /// Orders what is in it.
    Checkout,
    /// Takes an order back.
    Cancel,
}

/// How often what is done, in shares of 100.
pub type Mix = &'static [(Call, u32)];

/// Customers who mostly look: 80% of the requests are reads. (Checking out is two of them.)
pub const LOOKING: Mix = &[
    (Call::Search, 22),
    (Call::Product, 33),
    (Call::Status, 14),
    (Call::History, 8),
    (Call::Cart, 12),
    (Call::Checkout, 10),
    (Call::Cancel, 1),
];

/// Customers who mostly buy.
pub const BUYING: Mix = &[
    (Call::Search, 10),
    (Call::Product, 15),
    (Call::Status, 15),
    (Call::History, 8),
    (Call::Cart, 4),
    (Call::Checkout, 44),
    (Call::Cancel, 4),
];

/// The cards, by how often they are used in 100: all the ways in which the provider behaves.
const CARDS: [(u32, &str); 7] = [
    (82, "4242"),
    (4, "0002"),
    (4, "0010"),
    (3, "0028"),
    (2, "0036"),
    (2, "0044"),
    (3, "0051"),
];

/// What customers were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Orders that were accepted, with whose they are.
    pub accepted: BTreeMap<Uuid, Uuid>,
    /// Checkouts and cancellations that were refused, by the problem.
    pub refused: BTreeMap<String, u64>,
    /// What was asked for again and again, and never answered.
    pub unknown: Vec<String>,
    /// Reads that failed.
    pub failed_reads: u64,
    /// What was not begun, because all customers were busy.
    pub skipped: u64,
    /// How long good answers took, at the first try.
    pub took: BTreeMap<Call, Vec<Duration>>,
    /// Where the answers to some of the looks came from.
    pub whence: BTreeMap<(Call, String), u64>,
}

/// A customer, with a way to each instance.
struct Customer {
    user_id: Uuid,
    ways: Vec<Client>,
    orders: Vec<Uuid>,
    person: Person,
    signed_in: Instant,
}

/// The customers, and what they were told.
pub struct Customers {
    idle: Arc<Mutex<Vec<Customer>>>,
    told: Arc<Mutex<Told>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an answer says what has become of it.
fn is_final(answer: &Answer) -> bool {
    answer.status < 500 && ![401, 408, 429].contains(&answer.status) && answer.body["retryable"] != true
}

impl Customers {
    /// Registers so many, half in each region.
    ///
    /// # Errors
    /// A registration fails.
    pub async fn register(stage: &Stage, count: usize) -> Result<Self> {
        let instances = stage.shop.instances();
        let (mut regions, mut ways) = (Vec::new(), Vec::new());
        for one in instances {
            let gateways = PerRegion {
                us_east: one.url(),
                us_west: one.url(),
            };
            regions.push(one.region());
            ways.push((one.region(), gateways));
        }
        let shop = stage.addresses()?;
        let registering = futures_util::stream::iter(0..count).map(async |number| {
            let region = if number % 2 == 0 {
                Region::UsEast
            } else {
                Region::UsWest
            };
            let person = shop.newcomer(region).await?;
            let ways = ways
                .iter()
                .map(|(region, gateways)| person.client.at(gateways.clone(), *region));
            Ok::<_, anyhow::Error>(Customer {
                user_id: person.user_id,
                ways: ways.collect(),
                orders: Vec::new(),
                person,
                signed_in: Instant::now(),
            })
        });
        let customers: Vec<Customer> = registering.buffer_unordered(REGISTERING).try_collect().await?;
        Ok(Self {
            idle: Arc::new(Mutex::new(customers)),
            told: Arc::default(),
        })
    }

    /// Some of those who do nothing at the moment.
    pub fn some(&self, count: usize) -> Vec<Person> {
        lock(&self.idle)
            .iter()
            .take(count)
            .map(|customer| customer.person.clone())
            .collect()
    }

    /// Begins so many things a second, until the time is over or `stop` ends, and waits for those that were begun.
    pub async fn use_the_shop(&self, mix: Mix, rate: u32, seed: u64, stop: impl Future<Output = ()>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut begun = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = ticks.tick() => {}
            }
            while begun.try_join_next().is_some() {}
            let taken = {
                let mut idle = lock(&self.idle);
                match idle.len() {
                    0 => None,
                    some => Some(idle.swap_remove(rng.random_range(0..some))),
                }
            };
            let Some(mut customer) = taken else {
                lock(&self.told).skipped += 1;
                continue;
            };
            let call = pick(mix, &mut rng);
            let (idle, told) = (Arc::clone(&self.idle), Arc::clone(&self.told));
            let mut rng = StdRng::seed_from_u64(rng.random());
            begun.spawn(async move {
                customer.act(call, &mut rng, &told).await;
                lock(&idle).push(customer);
            });
        }
        while begun.join_next().await.is_some() {}
    }

    /// What they were told, once.
    pub fn told(&self) -> Told {
        std::mem::take(&mut lock(&self.told))
    }
}

fn pick(mix: Mix, rng: &mut StdRng) -> Call {
    let all: u32 = mix.iter().map(|(_, share)| share).sum();
    let mut drawn = rng.random_range(0..all);
    for (call, share) in mix {
        if drawn < *share {
            return *call;
        }
        drawn -= share;
    }
    Call::Product
}

fn product(rng: &mut StdRng) -> Uuid {
    shop_product::seed::product_id(rng.random_range(0..CATALOGUE.products))
}

fn card(rng: &mut StdRng) -> String {
    let mut drawn = rng.random_range(0..100);
    for (share, digits) in CARDS {
        if drawn < share {
            return shop_payment::local::token(digits);
        }
        drawn -= share;
    }
    shop_payment::local::token("4242")
}

impl Customer {
    fn way(&self, rng: &mut StdRng) -> Client {
        self.ways[rng.random_range(0..self.ways.len())].clone()
    }

    async fn act(&mut self, call: Call, rng: &mut StdRng, told: &Mutex<Told>) {
        const WORDS: [&str; 6] = [
            "wireless keyboard",
            "kettle",
            "wireles keybord",
            "running shoes",
            "linen",
            "bord game",
        ];
        if self.signed_in.elapsed() > SIGN_IN_AGAIN {
            self.sign_in(rng).await;
        }
        let order = (!self.orders.is_empty()).then(|| self.orders[rng.random_range(0..self.orders.len())]);
        match (call, order) {
            (Call::Search, _) => {
                let words = WORDS[rng.random_range(0..WORDS.len())].replace(' ', "%20");
                self.look(call, &format!("/api/v1/products?q={words}"), rng, told)
                    .await;
            }
            (Call::Status, Some(order)) => {
                self.look(call, &format!("/api/v1/orders/{order}"), rng, told)
                    .await;
            }
            (Call::Product | Call::Status, _) => {
                let path = format!("/api/v1/products/{}", product(rng));
                self.look(Call::Product, &path, rng, told).await;
            }
            (Call::History, _) => self.look(call, "/api/v1/orders", rng, told).await,
            (Call::Cart, _) => self.look(call, "/api/v1/cart", rng, told).await,
            (Call::Cancel, Some(order)) => {
                let path = format!("/api/v1/orders/{order}/cancel");
                self.change(call, "POST", &path, json!({}), rng, told).await;
            }
            (Call::Add | Call::Checkout | Call::Cancel, _) => self.buy(rng, told).await,
        }
    }

    /// Signs in again; if that fails, the next call tries it too.
    async fn sign_in(&mut self, rng: &mut StdRng) {
        let way = self.way(rng);
        if let Ok(Ok(bearer)) = timeout(ANSWER_BOUND, self.person.sign_in(&way)).await {
            for way in &mut self.ways {
                way.renew(bearer.clone());
            }
            self.signed_in = Instant::now();
        }
    }

    async fn look(&self, call: Call, path: &str, rng: &mut StdRng, told: &Mutex<Told>) {
        let (mut way, asks_whence) = (self.way(rng), rng.random_ratio(1, ASKING_WHENCE));
        if asks_whence {
            way = way.reporting();
        }
        let began = Instant::now();
        let answer = timeout(ANSWER_BOUND, way.get(path)).await;
        let mut told = lock(told);
        match answer {
            Ok(Ok(answer)) if answer.status == 200 && asks_whence => {
                let source = answer.source().unwrap_or("elsewhere").to_owned();
                *told.whence.entry((call, source)).or_default() += 1;
            }
            Ok(Ok(answer)) if answer.status == 200 => {
                told.took.entry(call).or_default().push(began.elapsed());
            }
            _ => told.failed_reads += 1,
        }
    }

    async fn buy(&mut self, rng: &mut StdRng, told: &Mutex<Told>) {
        let item = format!("/api/v1/cart/items/{}", product(rng));
        let quantity = json!({ "quantity": rng.random_range(1..=3) });
        let added = self.change(Call::Add, "PUT", &item, quantity, rng, told).await;
        if added.is_none() {
            return;
        }
        let checkout = json!({
            "address": address(),
            "shipping_service": "standard",
            "payment_token": card(rng),
        });
        let placed = self
            .change(Call::Checkout, "POST", "/api/v1/orders", checkout, rng, told)
            .await;
        let Some(order_id) = placed.and_then(|order| word(&order, "order_id").ok()?.parse().ok()) else {
            return;
        };
        self.orders.push(order_id);
        lock(told).accepted.insert(order_id, self.user_id);
    }

    /// Asks until it is known what has become of it; gives the answer if it was done.
    async fn change(
        &self,
        call: Call,
        method: &str,
        path: &str,
        body: Value,
        rng: &mut StdRng,
        told: &Mutex<Told>,
    ) -> Option<Value> {
        let key = Uuid::from_u128(rng.random()).to_string();
        let (began, mut is_first) = (Instant::now(), true);
        while began.elapsed() < ASKING_BOUND {
            let way = self.way(rng);
            let asked = async {
                match method {
                    "PUT" => way.put(path, body.clone()).await,
                    _ => way.post_once(path, &key, body.clone()).await,
                }
            };
            let answer = timeout(ANSWER_BOUND, asked).await;
            if let Ok(Ok(answer)) = answer
                && is_final(&answer)
            {
                let mut told = lock(told);
                if answer.status < 300 {
                    if is_first {
                        told.took.entry(call).or_default().push(began.elapsed());
                    }
                    return Some(answer.body);
                }
                let problem = answer.problem().to_owned();
                *told.refused.entry(format!("{call:?}: {problem}")).or_default() += 1;
                return None;
            }
            is_first = false;
            sleep(PAUSE).await;
        }
        lock(told)
            .unknown
            .push(format!("{call:?} {path} of {}", self.user_id));
        None
    }
}

/// The median and the 95th and 99th percentile.
pub fn percentiles(took: &[Duration]) -> Option<[Duration; 3]> {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
            .copied()
    };
    Some([at(50)?, at(95)?, at(99)?])
}
