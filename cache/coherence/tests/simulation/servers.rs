//! What servers and writers do: transactions, the log, replication, failover, crashes.

use crate::mutants::Mutant;
use crate::schedule::Rng;
use crate::world::*;
use topology::Timeline;

/// After this long without an answer a client gives up: the outcome is unknown to it.
const PATIENCE: u64 = 25 * TICK;

impl World {
    pub(crate) fn open_write(&mut self, rng: &mut Rng, shard: usize) {
        let session = rng.below(self.sizes[2]);
        let proxy = self.sessions[session].proxy;
        if self.sessions[session].busy
            || self.transactions.len() >= MAX_TRANSACTIONS
            || !self.proxies[proxy].up
        {
            return;
        }
        let (several, ddl) = (self.sizes[0] > 1 && rng.percent(15), rng.percent(6));
        let mut writes: [Vec<Write>; SHARDS] = Default::default();
        let mut places = [None; SHARDS];
        for at in (0..SHARDS).filter(|at| *at == shard || several) {
            let host = self.proxies[proxy].shards[at].primary;
            if self.clusters[at].hosts[host].role != Role::Primary {
                return;
            }
            let timeline = self.primary_timeline(proxy, at, host);
            let server = &self.clusters[at].hosts[host];
            if ddl && server.locks.iter().any(Option::is_some) {
                return;
            }
            let first = rng.below(self.sizes[3]) as u8;
            for key in (first..)
                .take(1 + usize::from(rng.percent(20)))
                .map(|key| key % KEYS)
            {
                if server.locks[usize::from(key)].is_some() {
                    return;
                }
                let old = server.last_value(at, key, &self.transactions);
                let mut new = if rng.percent(25) {
                    None
                } else {
                    Some(rng.below(usize::from(VALUES)) as u8)
                };
                if old.is_none() && new.is_none() {
                    new = Some(0);
                }
                writes[at].push(Write { key, old, new });
            }
            places[at] = Some(Place {
                host,
                life: server.life,
                end: 0,
                timeline,
            });
        }
        let index = self.transactions.len();
        for at in 0..SHARDS {
            let Some(place) = places[at] else { continue };
            let locks = &mut self.clusters[at].hosts[place.host].locks;
            let locked = |key: u8| ddl || writes[at].iter().any(|write| write.key == key);
            (0..KEYS)
                .filter(|key| locked(*key))
                .for_each(|key| locks[usize::from(key)] = Some(index));
        }
        let (sent, asynchronous) = (self.mono(proxy), rng.percent(self.asynchronous));
        self.sessions[session].busy = true;
        self.transactions.push(Transaction {
            session: Some(session),
            proxy,
            writes,
            ddl,
            places,
            stage: Stage::Open,
            asynchronous,
            sent,
            acknowledged: None,
        });
    }

    fn lives(&self, index: usize) -> bool {
        let gone = |(shard, place): (usize, &Option<Place>)| {
            place.is_some_and(|place| self.clusters[shard].hosts[place.host].life != place.life)
        };
        !self.transactions[index].places.iter().enumerate().any(gone)
    }

    pub(crate) fn write_commit(&mut self, rng: &mut Rng) {
        let open: Vec<usize> = (0..self.transactions.len())
            .filter(|index| self.transactions[*index].stage == Stage::Open)
            .collect();
        let Some(index) = rng.pick(&open) else { return };
        if !self.lives(index) {
            return self.abort(index);
        }
        let now = self.now();
        self.transactions[index].stage = Stage::Committed(now);
        for shard in 0..SHARDS {
            let Some(place) = &mut self.transactions[index].places[shard] else {
                continue;
            };
            let cluster = &mut self.clusters[shard];
            place.end = cluster.append(place.host, Some(index));
            cluster.hosts[place.host].invisible.push(index);
            if place.host != cluster.legitimate {
                cluster.lost[index] = now;
            }
        }
    }

    fn abort(&mut self, index: usize) {
        let transaction = &mut self.transactions[index];
        transaction.stage = Stage::Aborted;
        for shard in 0..SHARDS {
            transaction.writes[shard].clear();
            let Some(place) = transaction.places[shard] else {
                continue;
            };
            let locks = &mut self.clusters[shard].hosts[place.host].locks;
            locks
                .iter_mut()
                .filter(|lock| **lock == Some(index))
                .for_each(|lock| *lock = None);
        }
        if let Some(session) = transaction.session.take() {
            self.sessions[session].busy = false;
        }
    }

    pub(crate) fn flush(&mut self, rng: &mut Rng, shard: usize) {
        let host = &mut self.clusters[shard].hosts[rng.below(HOSTS)];
        if host.role == Role::Primary && host.flushed < host.log.len() {
            host.flushed += 1 + rng.below(host.log.len() - host.flushed);
        }
    }

    pub(crate) fn become_visible(&mut self, rng: &mut Rng, shard: usize) {
        let cluster = &self.clusters[shard];
        let mut ready = Vec::new();
        for (host, server) in cluster
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, server)| server.role == Role::Primary)
        {
            for &index in &server.invisible {
                let transaction = &self.transactions[index];
                let end = transaction.places[shard].map_or(0, |place| place.end as usize);
                let waits = !transaction.asynchronous || cluster.synchronous;
                let received = |other: &Host| {
                    other.role == Role::Standby
                        && other.follows == host
                        && other.timeline == server.timeline
                        && other.log.len() >= end
                };
                let replicated = !cluster.synchronous || cluster.hosts.iter().any(received);
                if (!waits || server.flushed >= end) && replicated {
                    ready.push((host, index));
                }
            }
        }
        let Some((host, index)) = rng.pick(&ready) else {
            return;
        };
        let server = &mut self.clusters[shard].hosts[host];
        server.invisible.retain(|other| *other != index);
        server.visible |= bit(index);
        server
            .locks
            .iter_mut()
            .filter(|lock| **lock == Some(index))
            .for_each(|lock| *lock = None);
        self.note_state(shard, host);
    }

    pub(crate) fn acknowledge(&mut self, rng: &mut Rng) {
        let mut ready = Vec::new();
        for (index, transaction) in self.transactions.iter().enumerate() {
            let Stage::Committed(at) = transaction.stage else {
                continue;
            };
            if transaction.session.is_none() {
                continue;
            }
            let everywhere = transaction.places.iter().enumerate().all(|(shard, place)| {
                place.is_none_or(|place| self.clusters[shard].hosts[place.host].visible & bit(index) != 0)
            });
            if !self.lives(index) || (!everywhere && self.now() - at > PATIENCE) {
                ready.push((index, false));
            } else if everywhere {
                ready.push((index, true));
            }
        }
        let Some((index, known)) = rng.pick(&ready) else {
            return;
        };
        let (now, proxy) = (self.now(), self.transactions[index].proxy);
        let arrived = self.mono(proxy);
        let Some(session) = self.transactions[index].session.take() else {
            return;
        };
        self.sessions[session].busy = false;
        if !known {
            return;
        }
        self.transactions[index].acknowledged = Some(now);
        self.sessions[session].own |= bit(index);
        let since = if self.is(Mutant::PendingSinceSent) {
            self.transactions[index].sent
        } else {
            arrived
        };
        for (shard, place) in self.transactions[index].places.iter().enumerate() {
            if let Some(place) = place.filter(|_| !self.is(Mutant::WritesForgotten)) {
                self.sessions[session]
                    .positions
                    .wrote(shard_id(shard), place.timeline, since);
            }
        }
    }

    pub(crate) fn receive(&mut self, rng: &mut Rng, shard: usize) {
        let host = rng.below(HOSTS);
        let hosts = &mut self.clusters[shard].hosts;
        let (standby, source) = (&hosts[host], &hosts[hosts[host].follows]);
        let have = standby.log.len();
        let follows = standby.role == Role::Standby
            && source.role == Role::Primary
            && source.timeline == standby.timeline;
        if follows && have < source.flushed {
            let records = source.log[have..have + 1 + rng.below(source.flushed - have)].to_vec();
            hosts[host].log.extend(records);
        }
    }

    pub(crate) fn replay(&mut self, rng: &mut Rng, shard: usize) {
        let host = rng.below(HOSTS);
        let early = self.is(Mutant::ReplayBeforeRedo);
        let server = &mut self.clusters[shard].hosts[host];
        if server.role != Role::Standby {
            return;
        }
        let redo = |server: &mut Host| {
            if let Some(index) = server.log[server.redone].transaction {
                server.visible |= bit(index);
            }
            server.redone += 1;
        };
        if early && server.replayed > server.redone {
            redo(server);
        } else if early && server.replayed < server.log.len() {
            server.replayed += 1;
        } else if server.redone > server.replayed {
            server.replayed = server.redone;
        } else if server.redone < server.log.len() {
            redo(server);
        }
        self.note_state(shard, host);
    }

    pub(crate) fn renew_lease(&mut self, shard: usize) {
        let now = self.now();
        let cluster = &mut self.clusters[shard];
        if !cluster.promoting {
            cluster.hosts[cluster.legitimate].lease = now + LEASE;
        }
    }

    /// First the decision, after which no lease is renewed; then, when the lease is over, the promotion. The old primary lives on.
    pub(crate) fn failover(&mut self, rng: &mut Rng, shard: usize) {
        let now = self.now();
        let no_lease = self.is(Mutant::NoLease);
        let cluster = &mut self.clusters[shard];
        let old = cluster.legitimate;
        if !cluster.promoting {
            cluster.promoting = true;
            return;
        }
        if !no_lease && now <= cluster.hosts[old].lease {
            return;
        }
        let mut candidates: Vec<usize> = (0..HOSTS)
            .filter(|host| {
                let server = &cluster.hosts[*host];
                server.role == Role::Standby
                    && server.timeline == cluster.hosts[old].timeline
                    && server.follows == old
            })
            .collect();
        if cluster.synchronous {
            candidates.sort_by_key(|host| cluster.hosts[*host].log.len());
            candidates.drain(..candidates.len().saturating_sub(1));
        }
        let Some(new) = rng.pick(&candidates) else { return };
        cluster.timeline += 1;
        let before = cluster.hosts[old].logged(cluster.hosts[old].log.len());
        // The row of the epoch is in the log like any other: the last rise may not have been replicated.
        let stored = if rng.percent(70) {
            cluster.hosts[old].stored
        } else {
            cluster.hosts[new].stored
        };
        let server = &mut cluster.hosts[new];
        (server.redone, server.replayed) = (server.log.len(), server.log.len());
        server.visible = server.logged(server.log.len());
        (server.role, server.timeline, server.stored) = (Role::Primary, cluster.timeline, stored);
        (server.witness, server.slots) = (None, [None; PROXIES]);
        server.invisible.clear();
        server.locks = [None; KEYS as usize];
        (server.lease, server.promoted_at) = (now + LEASE, now);
        let kept = server.visible;
        cluster.append(new, None);
        cluster.hosts[new].flushed = cluster.hosts[new].log.len();
        (cluster.legitimate, cluster.promoting) = (new, false);
        cluster.note_lost(before & !kept, now);
        self.note_state(shard, new);
    }

    /// A crash restart on the same timeline: what wasn't flushed is gone, also if it was visible.
    pub(crate) fn crash(&mut self, shard: usize) {
        let now = self.now();
        let keeps_witness = self.is(Mutant::NoRaiseAfterCrash);
        let cluster = &mut self.clusters[shard];
        let host = cluster.legitimate;
        let server = &mut cluster.hosts[host];
        let before = server.logged(server.log.len());
        server.life += 1;
        server.log.truncate(server.flushed);
        server.visible = server.logged(server.log.len());
        server.invisible.clear();
        server.locks = [None; KEYS as usize];
        if !keeps_witness {
            server.witness = None;
        }
        let kept = server.visible;
        cluster.note_lost(before & !kept, now);
        self.note_state(shard, host);
    }

    pub(crate) fn restart_standby(&mut self, rng: &mut Rng, shard: usize) {
        let (host, back) = (rng.below(HOSTS), rng.below(4));
        let server = &mut self.clusters[shard].hosts[host];
        if server.role != Role::Standby {
            return;
        }
        server.life += 1;
        server.redone = server.replayed.min(server.redone).saturating_sub(back);
        server.replayed = server.redone;
        server.visible = server.logged(server.redone);
        if rng.percent(50) {
            server.log.truncate(server.redone);
        }
        self.note_state(shard, host);
    }

    /// A host that doesn't follow the legitimate primary is pointed to it, and rewound if its log has parted.
    pub(crate) fn repoint(&mut self, rng: &mut Rng, shard: usize) {
        let host = rng.below(HOSTS);
        let cluster = &mut self.clusters[shard];
        let primary = cluster.legitimate;
        let (timeline, stored) = (cluster.hosts[primary].timeline, cluster.hosts[primary].stored);
        let server = &cluster.hosts[host];
        let follows =
            server.role == Role::Standby && server.follows == primary && server.timeline == timeline;
        if host == primary || follows || (server.role == Role::Primary && rng.percent(60)) {
            return;
        }
        let common = server
            .log
            .iter()
            .zip(&cluster.hosts[primary].log)
            .take_while(|(a, b)| a == b)
            .count();
        let back = rng.below(3);
        let server = &mut cluster.hosts[host];
        if server.role == Role::Primary || server.redone > common {
            server.life += 1;
            (server.role, server.witness, server.slots) = (Role::Standby, None, [None; PROXIES]);
            server.redone = common.saturating_sub(back);
            server.replayed = server.redone;
            server.visible = server.logged(server.redone);
            server.invisible.clear();
            server.locks = [None; KEYS as usize];
        }
        server.replayed = server.replayed.min(common);
        server.log.truncate(common);
        (server.follows, server.timeline, server.flushed, server.stored) = (primary, timeline, 0, stored);
        self.note_state(shard, host);
    }

    pub(crate) fn nudge(&mut self, shard: usize) {
        let host = self.clusters[shard].legitimate;
        self.clusters[shard].append(host, None);
    }

    /// The timeline of a primary, asked on a connection to it once it was known to be one.
    pub(crate) fn primary_timeline(&mut self, proxy: usize, shard: usize, host: usize) -> Timeline {
        let connection = self.connect(proxy, shard, host);
        if self.is(Mutant::ConnectionTimelineKept) {
            connection.timeline
        } else {
            Timeline(self.clusters[shard].hosts[host].timeline)
        }
    }
}

impl Cluster {
    fn note_lost(&mut self, lost: Mask, now: u64) {
        (0..MAX_TRANSACTIONS)
            .filter(|index| lost & bit(*index) != 0)
            .for_each(|index| self.lost[index] = now);
    }
}
