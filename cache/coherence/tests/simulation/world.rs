//! The simulated world as a whole: its time, its steps, and what the servers would say of themselves.

use crate::mutants::Mutant;
use crate::schedule::{Action, Mood, Rng};
use coherence::{ReadLevel, ShardView, TableTags, TagHash, ViewGuard, WallAnchor, Xid, XidSnapshot};
use std::collections::HashMap;
use std::time::Duration;
use topology::{Epoch, Mono, ShardId, TableName};

pub(crate) use crate::parts::*;

const FIRST_XID: u64 = 100;

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) fills: u64,
    pub(crate) standby_reads: u64,
}

pub(crate) struct World {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) tick: u64,
    pub(crate) step: u64,
    pace: usize,
    pub(crate) flap: usize,
    pub(crate) asynchronous: usize,
    /// How many shards, proxies, sessions and keys this seed uses.
    pub(crate) sizes: [usize; 4],
    /// Each proxy reads a slot of its own and keeps the stream to itself; otherwise one publisher tells all.
    pub(crate) own_slots: bool,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) redis: HashMap<Query, Vec<Stored>>,
    pub(crate) redis_writes: Vec<(Query, usize, Kept)>,
    pub(crate) tags: Vec<TableTags>,
    /// When a strong read first showed each transaction, by shard.
    pub(crate) strongly_seen: [Vec<u64>; SHARDS],
    pub(crate) counts: Counts,
    pub(crate) violation: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, mood: Mood, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng(seed ^ 0xAB_CDEF);
        let clusters = (0..SHARDS).map(|_| Cluster::new(rng.percent(50))).collect();
        let proxies = (0..PROXIES)
            .map(|index| Proxy::new(index < 2, rng.next() % (4_000 * TICK)))
            .collect();
        let sizes = [
            1 + rng.below(SHARDS),
            2 + rng.below(PROXIES - 1),
            1 + rng.below(SESSIONS),
            1 + rng.below(usize::from(KEYS)),
        ];
        let table = TableName::new("public", "t");
        Self {
            mutant,
            tick: 100,
            step: 1,
            pace: [3, 8, 15, 30, 80][rng.below(5)],
            flap: mood.flap(&mut rng),
            asynchronous: mood.asynchronous(),
            sizes,
            own_slots: rng.percent(30),
            transactions: Vec::new(),
            clusters,
            proxies,
            sessions: (0..SESSIONS)
                .map(|index| Session {
                    proxy: index % 2,
                    ..Session::default()
                })
                .collect(),
            flights: Vec::new(),
            redis: HashMap::new(),
            redis_writes: Vec::new(),
            tags: (0..SHARDS)
                .map(|shard| TableTags::new(&format!("d{shard}"), &table))
                .collect(),
            strongly_seen: std::array::from_fn(|_| vec![u64::MAX; MAX_TRANSACTIONS]),
            counts: Counts::default(),
            violation: None,
        }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The stream that a proxy applies.
    pub(crate) fn stream_of(&self, proxy: usize) -> usize {
        if self.own_slots { proxy } else { 0 }
    }

    /// The world's own time: no host knows it.
    pub(crate) fn now(&self) -> u64 {
        self.tick * TICK + self.step
    }

    /// The clock of a proxy.
    pub(crate) fn mono(&self, proxy: usize) -> Mono {
        let now = if self.is(Mutant::CoarseClock) {
            self.tick * TICK
        } else {
            self.now()
        };
        Mono(now + self.proxies[proxy].clock)
    }

    pub(crate) fn clocks(&self, proxy: usize) -> WallAnchor {
        WallAnchor {
            mono: self.mono(proxy),
            unix_millis: 1_700_000_000_000 + self.now() / 1_000_000,
        }
    }

    pub(crate) fn view(&self, proxy: usize, shard: usize) -> ViewGuard {
        self.proxies[proxy]
            .coherence
            .shard(shard_id(shard))
            .unwrap()
            .view()
    }

    /// What a fresh snapshot on a host says. A transaction that runs there and is newer than the last finished one is in no list.
    pub(crate) fn snapshot(&self, shard: usize, host: usize) -> XidSnapshot {
        let server = &self.clusters[shard].hosts[host];
        let unfinished = |index: &usize| {
            let transaction = &self.transactions[*index];
            let here = transaction.places[shard]
                .is_some_and(|place| place.host == host && place.life == server.life);
            here && (transaction.stage == Stage::Open || server.invisible.contains(index))
        };
        let count = self.transactions.len();
        let finished = (0..count)
            .rev()
            .find(|index| !unfinished(index))
            .map_or(0, |index| index + 1);
        let running = (0..finished).filter(unfinished).map(xid).collect();
        let xmax = if self.is(Mutant::ListedOnly) {
            xid(MAX_TRANSACTIONS)
        } else {
            xid(finished)
        };
        XidSnapshot::new(xmax, running)
    }

    pub(crate) fn next_xid(&self) -> Xid {
        xid(self.transactions.len())
    }

    pub(crate) fn part_tags(&self, shard: usize, query: Query) -> Vec<TagHash> {
        let tags = &self.tags[shard];
        let of = |part: Part| match part {
            Part::Row(key) => tags.row([&[key][..]]),
            Part::Column(value) => tags.column("c", &[value]),
            Part::Table => tags.table(),
        };
        query
            .parts(shard)
            .into_iter()
            .map(of)
            .chain([tags.generation()])
            .collect()
    }

    /// The transactions that an answer of this part depends on.
    pub(crate) fn relevant(&self, shard: usize, part: Part) -> Mask {
        let touches = |transaction: &Transaction| {
            let ddl =
                transaction.ddl && transaction.places[shard].is_some() && transaction.stage != Stage::Open;
            let by_row = |write: &Write| match part {
                Part::Row(key) => write.key == key,
                Part::Column(value) => write.old == Some(value) || write.new == Some(value),
                Part::Table => true,
            };
            ddl || transaction.writes[shard].iter().any(by_row)
        };
        let hits = self
            .transactions
            .iter()
            .enumerate()
            .filter(|(_, transaction)| touches(transaction));
        hits.fold(0, |mask, (index, _)| mask | bit(index))
    }

    pub(crate) fn note_state(&mut self, shard: usize, host: usize) {
        let visible = self.clusters[shard].hosts[host].visible;
        let states = &mut self.clusters[shard].states;
        if !states.contains(&visible) {
            states.push(visible);
        }
    }

    pub(crate) fn run(&mut self, action: Action, rng: &mut Rng) {
        self.step += 1;
        if rng.below(1000) < self.pace {
            self.tick += 1;
        } else if rng.below(2000) == 0 {
            self.tick += rng.below(20) as u64;
        }
        let (shard, proxy) = (rng.below(self.sizes[0]), rng.below(self.sizes[1]));
        match action {
            Action::OpenWrite => self.open_write(rng, shard),
            Action::WriteCommit => self.write_commit(rng),
            Action::Flush => self.flush(rng, shard),
            Action::BecomeVisible => self.become_visible(rng, shard),
            Action::Acknowledge => self.acknowledge(rng),
            Action::StartRead => self.start_read(rng, shard),
            Action::Execute => self.execute(rng),
            Action::Answer => self.answer(rng),
            Action::RedisWrite => self.redis_write(rng),
            Action::Receive => self.receive(rng, shard),
            Action::Replay => self.replay(rng, shard),
            Action::SampleStandby => self.sample_standby(rng, shard, proxy),
            Action::SamplePrimary => self.sample_primary(rng, shard, proxy),
            Action::LearnPrimary => self.learn_primary(rng, shard, proxy),
            Action::StartPublisher => self.start_publisher(shard, self.stream_of(proxy)),
            Action::Decode | Action::Poll | Action::AskHeartbeat | Action::Send | Action::Confirm => {
                self.publish(action, rng, shard);
            }
            Action::LateMessage => self.late_message(rng, shard),
            Action::Apply => self.apply(rng, shard, proxy),
            Action::RenewLease => self.renew_lease(shard),
            Action::MoveSession => self.move_session(rng, proxy),
            Action::Nudge => self.nudge(shard),
            Action::Failover => self.failover(rng, shard),
            Action::Crash => self.crash(shard),
            Action::RestartStandby => self.restart_standby(rng, shard),
            Action::Repoint => self.repoint(rng, shard),
            Action::RedisLoses => self.redis_loses(rng),
            Action::RestartProxy => self.restart_proxy(rng, proxy),
            Action::LoseMessage => self.lose_message(rng, shard, self.stream_of(proxy)),
            Action::LoseSlot => self.lose_slot(shard, self.stream_of(proxy)),
        }
    }
}

pub(crate) fn shard_id(shard: usize) -> ShardId {
    ShardId(shard as u16)
}

pub(crate) fn xid(transaction: usize) -> Xid {
    Xid(FIRST_XID + transaction as u64)
}

pub(crate) fn level(kind: usize) -> ReadLevel {
    let bound = Duration::from_nanos(BOUND);
    match kind {
        0 => ReadLevel::Strong,
        1..=6 => ReadLevel::Ryw { bound },
        _ => ReadLevel::Bounded { bound },
    }
}

/// The epoch of a stream, for lies about it.
pub(crate) fn epoch_of(view: &ShardView) -> Epoch {
    view.epoch().unwrap_or_default()
}
