//! Who is connected where: in the Redis of each region.
//!
//! `notification:instance:NAME` is the address of an instance, for ten seconds, renewed every three: one that was killed is forgotten. A set
//! `notification:user:ID` names the instances that hold sockets of a user; what it says of an instance that is gone, or that holds none any more, does no
//! harm. One task writes the sets, each time as the [`Hub`] is at that moment, so the last word is the right one.
//!
//! **Invariant:** nothing is lost with Redis: it only makes delivery fast. Without it the instance looks at the shards more often.

use crate::hub::Hub;
use futures_util::future::join_all;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline, RedisError, cmd, pipe};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

/// How long an instance is believed to live, and how often it says that it does.
const ALIVE_SECONDS: u64 = 10;
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long a user's set is kept, and how often it is renewed.
const USER_SECONDS: u64 = 2 * 3_600;
const RENEWAL: Duration = Duration::from_secs(1_800);

/// For one answer of Redis.
const ANSWER_BOUND: Duration = Duration::from_millis(500);

/// A region whose Redis did not answer is left alone for so long.
const REST: Duration = Duration::from_secs(1);

/// How long the address of an instance is remembered.
const ADDRESS_FRESH: Duration = Duration::from_secs(1);

/// The most addresses that are remembered.
const MAX_ADDRESSES: usize = 1_024;

/// The most users in one step, and waiting for theirs.
const BATCH: usize = 256;
const WAITING: usize = 4_096;

/// How long a socket waits for being known to others.
const KNOWN_BOUND: Duration = Duration::from_secs(1);

/// How long a ticket is valid.
const TICKET_SECONDS: u64 = 30;

/// How fast messages come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// At once, from the instance that knows of them.
    Direct,
    /// When the shards are looked at.
    Polling,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Polling => "polling",
        }
    }
}

/// A user is to be written down as it is.
#[derive(Debug)]
struct Note {
    user_id: Uuid,
    done: Option<oneshot::Sender<()>>,
}

/// A region's Redis.
struct Region {
    name: String,
    connection: ConnectionManager,
    rests_until: Mutex<Option<Instant>>,
}

/// The registry. Clones share it.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

/// Of instances, by the region's number and their name: where each listens, and when that was learnt.
type Addresses = HashMap<(usize, String), (Option<String>, Instant)>;

struct Shared {
    regions: Vec<Region>,
    own: String,
    instance: String,
    address: String,
    up: AtomicBool,
    asked: mpsc::Sender<Note>,
    asking: tokio::sync::Mutex<mpsc::Receiver<Note>>,
    addresses: Mutex<Addresses>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("instance", &self.0.instance)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn user_key(user_id: Uuid) -> String {
    format!("notification:user:{user_id}")
}

fn instance_key(instance: &str) -> String {
    format!("notification:instance:{instance}")
}

fn ticket_key(ticket: &str) -> String {
    format!("notification:ticket:{ticket}")
}

impl Region {
    /// What Redis answers, unless it rests.
    async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<T> {
        if lock(&self.rests_until).is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let mut connection = self.connection.clone();
        let answer = timeout(ANSWER_BOUND, commands.query_async(&mut connection)).await;
        let why = match answer {
            Ok(Ok(answer)) => {
                *lock(&self.rests_until) = None;
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(region = self.name, why, "a region's Redis");
        *lock(&self.rests_until) = Some(Instant::now() + REST);
        None
    }
}

impl Registry {
    /// The registry of an instance, that others reach at `address`; `urls` are the regions' Redis.
    pub(crate) fn new(
        urls: &BTreeMap<String, String>,
        own: &str,
        instance: &str,
        address: &str,
    ) -> Result<Self, RedisError> {
        let connect = |(name, url): (&String, &String)| {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(ANSWER_BOUND))
                .set_response_timeout(Some(ANSWER_BOUND));
            let client = Client::open(url.as_str())?;
            Ok(Region {
                name: name.clone(),
                connection: ConnectionManager::new_lazy_with_config(client, config)?,
                rests_until: Mutex::default(),
            })
        };
        let regions = urls.iter().map(connect).collect::<Result<_, RedisError>>()?;
        let (asked, asking) = mpsc::channel(WAITING);
        Ok(Self(Arc::new(Shared {
            regions,
            own: own.to_owned(),
            instance: instance.to_owned(),
            address: address.to_owned(),
            up: AtomicBool::new(false),
            asked,
            asking: tokio::sync::Mutex::new(asking),
            addresses: Mutex::default(),
        })))
    }

    fn own(&self) -> Option<&Region> {
        self.0.regions.iter().find(|region| region.name == self.0.own)
    }

    /// Whether others know who is connected here.
    pub(crate) fn mode(&self) -> Mode {
        match self.0.up.load(Ordering::Relaxed) {
            true => Mode::Direct,
            false => Mode::Polling,
        }
    }

    /// Whether an address is our own.
    pub(crate) fn is_own(&self, address: &str) -> bool {
        self.0.address == address
    }

    /// Has a user written down, and waits until others can know it; without Redis, not for long.
    pub(crate) async fn note(&self, user_id: Uuid) {
        let (done, is_done) = oneshot::channel();
        let done = Some(done);
        let noting = async {
            // Both fail only when the instance ends.
            if self.0.asked.send(Note { user_id, done }).await.is_ok() {
                drop(is_done.await);
            }
        };
        drop(timeout(KNOWN_BOUND, noting).await);
    }

    /// Has a user written down some time. What doesn't fit stays as it was: a name too many does no harm.
    pub(crate) fn note_later(&self, user_id: Uuid) {
        drop(self.0.asked.try_send(Note { user_id, done: None }));
    }

    /// Writes down who is connected, as long as it is polled.
    pub(crate) async fn write(&self, hub: &Hub) {
        let mut asking = self.0.asking.lock().await;
        let mut batch = Vec::with_capacity(BATCH);
        while asking.recv_many(&mut batch, BATCH).await > 0 {
            let users: Vec<Uuid> = batch.iter().map(|note| note.user_id).collect();
            self.write_down(hub, &users).await;
            for note in batch.drain(..) {
                if let Some(done) = note.done {
                    // Who asked may wait no longer.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn write_down(&self, hub: &Hub, users: &[Uuid]) -> bool {
        let mut commands = pipe();
        for &user_id in users {
            let key = user_key(user_id);
            if hub.holds(user_id) {
                commands.sadd(&key, &self.0.instance).ignore();
                commands
                    .expire(&key, i64::try_from(USER_SECONDS).unwrap_or(i64::MAX))
                    .ignore();
            } else {
                commands.srem(&key, &self.0.instance).ignore();
            }
        }
        let Some(own) = self.own() else { return false };
        let written = own.ask::<()>(&commands).await.is_some();
        if !written {
            self.0.up.store(false, Ordering::Relaxed);
        }
        written
    }

    /// Says that the instance lives, as long as it is polled. After Redis was gone, or has forgotten, everybody is written down again.
    pub(crate) async fn live(&self, hub: &Hub) {
        let Some(own) = self.own() else {
            return std::future::pending().await;
        };
        let mut renewed = Instant::now();
        loop {
            let mut set = cmd("SET");
            set.arg(instance_key(&self.0.instance)).arg(&self.0.address);
            set.arg("EX").arg(ALIVE_SECONDS).arg("GET");
            let mut commands = pipe();
            commands.add_command(set);
            let known = own.ask::<(Option<String>,)>(&commands).await;
            let was_up = self.0.up.load(Ordering::Relaxed);
            let up = match known {
                None => false,
                Some((Some(_),)) if was_up && renewed.elapsed() < RENEWAL => true,
                Some(_) => {
                    renewed = Instant::now();
                    self.write_all(hub).await
                }
            };
            if up != was_up {
                tracing::info!(up, region = self.0.own, "the registry of connections");
                self.0.up.store(up, Ordering::Relaxed);
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    async fn write_all(&self, hub: &Hub) -> bool {
        for users in hub.users().chunks(BATCH) {
            if !self.write_down(hub, users).await {
                return false;
            }
        }
        true
    }

    /// Forgets the instance: it ends.
    pub(crate) async fn leave(&self) {
        self.0.up.store(false, Ordering::Relaxed);
        if let Some(own) = self.own() {
            let mut commands = pipe();
            commands.del(instance_key(&self.0.instance)).ignore();
            own.ask::<()>(&commands).await;
        }
    }

    /// The addresses of the instances, in all regions, that hold sockets of a user.
    pub(crate) async fn holders(&self, user_id: Uuid) -> Vec<String> {
        let asked = (0..self.0.regions.len()).map(|number| self.holders_in(number, user_id));
        let mut holders: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    async fn holders_in(&self, number: usize, user_id: Uuid) -> Vec<String> {
        let Some(region) = self.0.regions.get(number) else {
            return Vec::new();
        };
        let mut commands = pipe();
        commands.smembers(user_key(user_id));
        let answer = region.ask::<(Vec<String>,)>(&commands).await;
        let mut holders = Vec::new();
        for instance in answer.map(|(names,)| names).unwrap_or_default() {
            holders.extend(self.address(number, region, instance).await);
        }
        holders
    }

    async fn address(&self, number: usize, region: &Region, instance: String) -> Option<String> {
        let place = (number, instance);
        let known = lock(&self.0.addresses).get(&place).cloned();
        if let Some((address, at)) = known
            && at.elapsed() < ADDRESS_FRESH
        {
            return address;
        }
        let mut commands = pipe();
        commands.get(instance_key(&place.1));
        let (address,) = region.ask::<(Option<String>,)>(&commands).await?;
        let mut addresses = lock(&self.0.addresses);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.clear();
        }
        addresses.insert(place, (address.clone(), Instant::now()));
        address
    }

    /// A ticket that opens one connection for a user, in this region; none without Redis.
    pub(crate) async fn ticket(&self, user_id: Uuid) -> Option<String> {
        let ticket = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let mut commands = pipe();
        commands
            .set_ex(ticket_key(&ticket), user_id.to_string(), TICKET_SECONDS)
            .ignore();
        self.own()?.ask::<()>(&commands).await?;
        Some(ticket)
    }

    /// Whose ticket it is; from then on nobody's. `None` if Redis doesn't answer.
    pub(crate) async fn redeem(&self, ticket: &str) -> Option<Option<Uuid>> {
        let mut commands = pipe();
        commands.get_del(ticket_key(ticket));
        let (user_id,) = self.own()?.ask::<(Option<String>,)>(&commands).await?;
        Some(user_id.and_then(|text| text.parse().ok()))
    }
}
