//! What the simulated world is made of: transactions, servers, publishers, proxies, sessions, reads under way.

use coherence::{Coherence, Entry, FillTicket, Publisher, ReadLevel, SessionPositions, StreamMessage};
use std::collections::{HashMap, VecDeque};
use topology::{Epoch, Lsn, Mono, Position, ReplaySample, Timeline};

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

impl Cluster {
    pub(crate) fn new(synchronous: bool) -> Self {
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
    pub(crate) fn new(up: bool, clock: u64) -> Self {
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
