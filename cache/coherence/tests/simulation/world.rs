//! The simulated world: servers with their logs, publishers, the stream, proxies, sessions, and what each knows.

use crate::mutants::Mutant;
use crate::schedule::{Action, Mood, Rng};
use coherence::{
    Coherence, Entry, FillTicket, Publisher, ReadLevel, SessionPositions, ShardView, StreamMessage,
    TableTags, TagHash, ViewGuard, WallAnchor, Xid, XidSnapshot,
};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use topology::{Epoch, Lsn, Mono, Position, ReplaySample, ShardId, TableName, Timeline};

pub(crate) const SHARDS: usize = 2;
pub(crate) const HOSTS: usize = 3;
pub(crate) const PROXIES: usize = 3;
pub(crate) const SESSIONS: usize = 4;
pub(crate) const KEYS: u8 = 3;
pub(crate) const VALUES: u8 = 2;
/// Transactions are bits of a mask.
pub(crate) const MAX_TRANSACTIONS: usize = 120;
/// Few, so that tags collide.
pub(crate) const CELLS: usize = 16;
/// One tick of the world, in nanoseconds; each step takes one nanosecond more.
pub(crate) const TICK: u64 = 20_000_000;
pub(crate) const BOUND: u64 = 12 * TICK;
pub(crate) const LEASE: u64 = 8 * TICK;
pub(crate) const MAP_VERSION: u64 = 3;
const FIRST_XID: u64 = 100;

/// A set of transactions.
pub(crate) type Mask = u128;

pub(crate) fn bit(transaction: usize) -> Mask {
    1 << transaction
}

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Query {
    Row(usize, u8),
    Column(usize, u8),
    TwoRows(usize, u8, u8),
    Table(usize),
    RowOnEach(u8, u8),
}

/// What of one shard an answer shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Row(u8),
    Column(u8),
    Table,
}

impl Query {
    pub(crate) fn parts(self, shard: usize) -> Vec<Part> {
        match self {
            Query::Row(s, key) if s == shard => vec![Part::Row(key)],
            Query::Column(s, value) if s == shard => vec![Part::Column(value)],
            Query::TwoRows(s, a, b) if s == shard => vec![Part::Row(a), Part::Row(b)],
            Query::Table(s) if s == shard => vec![Part::Table],
            Query::RowOnEach(a, b) => vec![Part::Row(if shard == 0 { a } else { b })],
            _ => vec![],
        }
    }

    pub(crate) fn shards(self) -> impl Iterator<Item = usize> {
        (0..SHARDS).filter(move |shard| !self.parts(*shard).is_empty())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) key: u8,
    pub(crate) old: Option<u8>,
    pub(crate) new: Option<u8>,
}

/// Where a transaction runs on a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) end: u64,
    pub(crate) timeline: Timeline,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Open,
    Committed(u64),
    Aborted,
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// Who waits for its acknowledgement.
    pub(crate) session: Option<usize>,
    pub(crate) proxy: usize,
    pub(crate) writes: [Vec<Write>; SHARDS],
    pub(crate) ddl: bool,
    pub(crate) places: [Option<Place>; SHARDS],
    pub(crate) stage: Stage,
    pub(crate) asynchronous: bool,
    pub(crate) sent: Mono,
    pub(crate) acknowledged: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) timeline: u32,
    pub(crate) unique: u32,
    pub(crate) transaction: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Primary,
    Standby,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) role: Role,
    pub(crate) timeline: u32,
    pub(crate) log: Vec<Record>,
    pub(crate) flushed: usize,
    pub(crate) redone: usize,
    pub(crate) replayed: usize,
    pub(crate) visible: Mask,
    /// Rises with each restart.
    pub(crate) life: u32,
    pub(crate) follows: usize,
    pub(crate) locks: [Option<usize>; KEYS as usize],
    /// Recorded in the log, not yet visible.
    pub(crate) invisible: Vec<usize>,
    /// What each stream's slot confirmed.
    pub(crate) slots: [Option<u64>; PROXIES],
    pub(crate) lease: u64,
    pub(crate) promoted_at: u64,
    pub(crate) stored: Option<Epoch>,
    pub(crate) witness: Option<Epoch>,
}

impl Host {
    /// The timeline of the record before `at`: that of replay, where `at` is the replay position.
    pub(crate) fn timeline_at(&self, at: usize) -> Timeline {
        Timeline(if at == 0 { 1 } else { self.log[at - 1].timeline })
    }

    pub(crate) fn logged(&self, end: usize) -> Mask {
        self.log[..end]
            .iter()
            .filter_map(|record| record.transaction)
            .fold(0, |mask, t| mask | bit(t))
    }

    pub(crate) fn insert_position(&self) -> Position {
        Position::new(Timeline(self.timeline), Lsn(self.log.len() as u64))
    }

    /// The value of a row as the last writer in the log left it.
    pub(crate) fn last_value(&self, shard: usize, key: u8, transactions: &[Transaction]) -> Option<u8> {
        let written = self.log.iter().rev().filter_map(|record| record.transaction);
        let mut values = written.flat_map(|t| transactions[t].writes[shard].iter().rev());
        values.find(|write| write.key == key).and_then(|write| write.new)
    }
}

/// A process that reads a slot; it may outlive its right to.
pub(crate) struct Publishing {
    pub(crate) stream: usize,
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) publisher: Publisher,
    pub(crate) opened: bool,
    pub(crate) decoded: usize,
    pub(crate) unsent: VecDeque<StreamMessage>,
}

pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    pub(crate) legitimate: usize,
    pub(crate) timeline: u32,
    pub(crate) promoting: bool,
    pub(crate) synchronous: bool,
    /// The messages of each stream.
    pub(crate) topics: [Vec<StreamMessage>; PROXIES],
    pub(crate) publishers: Vec<Publishing>,
    /// Messages of dead publishers that may still arrive.
    pub(crate) late: Vec<(usize, StreamMessage)>,
    pub(crate) states: Vec<Mask>,
    /// When each transaction was lost by a failover or a crash.
    pub(crate) lost: Vec<u64>,
    pub(crate) unique: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) life: u32,
    pub(crate) opened_at: Mono,
    pub(crate) timeline: Timeline,
}

/// The question to a primary that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) asked_at: Mono,
    pub(crate) answer: Option<(Position, Option<Epoch>)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyShard {
    pub(crate) offset: usize,
    pub(crate) primary: usize,
    pub(crate) replay: [Option<ReplaySample>; HOSTS],
    pub(crate) asking_replay: [Option<Mono>; HOSTS],
    pub(crate) connections: [Option<Connection>; HOSTS],
    pub(crate) asking: Option<Asking>,
}

/// A kept answer: its header, and what its snapshot held.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) entry: Entry,
    pub(crate) seen: [Mask; SHARDS],
}

/// The same in the shared store.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) header: Vec<u8>,
    pub(crate) seen: [Mask; SHARDS],
}

pub(crate) struct Proxy {
    pub(crate) up: bool,
    pub(crate) clock: u64,
    pub(crate) coherence: Coherence,
    pub(crate) shards: Vec<ProxyShard>,
    pub(crate) local: HashMap<Query, Kept>,
}

#[derive(Default)]
pub(crate) struct Session {
    pub(crate) proxy: usize,
    pub(crate) busy: bool,
    pub(crate) positions: SessionPositions,
    pub(crate) own: Mask,
}

pub(crate) struct Leg {
    pub(crate) host: usize,
    pub(crate) primary: bool,
    pub(crate) life: u32,
    pub(crate) ticket: Option<FillTicket>,
    pub(crate) epoch: Epoch,
    pub(crate) insert_before: u64,
    pub(crate) seen: Option<Mask>,
}

pub(crate) struct Waiter {
    pub(crate) session: usize,
    pub(crate) level: ReadLevel,
    pub(crate) begin: u64,
}

/// A read at the origin that is under way, with those who wait for the same.
pub(crate) struct Flight {
    pub(crate) reader: Waiter,
    pub(crate) proxy: usize,
    pub(crate) query: Query,
    pub(crate) legs: [Option<Leg>; SHARDS],
    pub(crate) waiters: Vec<Waiter>,
}

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

impl Cluster {
    fn new(synchronous: bool) -> Self {
        let host = |index| Host {
            role: if index == 0 { Role::Primary } else { Role::Standby },
            timeline: 1,
            log: Vec::new(),
            flushed: 0,
            redone: 0,
            replayed: 0,
            visible: 0,
            life: 1,
            follows: 0,
            locks: [None; KEYS as usize],
            invisible: Vec::new(),
            slots: [None; PROXIES],
            lease: 0,
            promoted_at: 0,
            stored: None,
            witness: None,
        };
        Self {
            hosts: (0..HOSTS).map(host).collect(),
            legitimate: 0,
            timeline: 1,
            promoting: false,
            synchronous,
            topics: Default::default(),
            publishers: Vec::new(),
            late: Vec::new(),
            states: vec![0],
            lost: vec![u64::MAX; MAX_TRANSACTIONS],
            unique: 0,
        }
    }

    /// Appends a record to a primary's log.
    pub(crate) fn append(&mut self, host: usize, transaction: Option<usize>) -> u64 {
        self.unique += 1;
        let unique = self.unique;
        let host = &mut self.hosts[host];
        host.log.push(Record {
            timeline: host.timeline,
            unique,
            transaction,
        });
        host.log.len() as u64
    }
}

impl Proxy {
    fn new(up: bool, clock: u64) -> Self {
        let shards = vec![ProxyShard::default(); SHARDS];
        Self {
            up,
            clock,
            coherence: Coherence::new(SHARDS as u16, CELLS),
            shards,
            local: HashMap::new(),
        }
    }
}
