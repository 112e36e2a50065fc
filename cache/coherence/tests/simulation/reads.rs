//! Reads: lookups, flights to the origin, and what is kept of their answers.

use crate::mutants::Mutant;
use crate::proxies::endpoint;
use crate::schedule::Rng;
use crate::world::*;
use coherence::{
    Entry, EntryPart, FillTicket, ReadLevel, StandbyOffer, WriteNeed, check_use, primary_qualifies,
    standby_qualifies,
};
use std::time::Duration;
use topology::{Epoch, Lsn, Mono, Position, ReplaySample};

/// Long enough to outlive most accidents, short enough to be met.
const TTL: Duration = Duration::from_nanos(400 * TICK);

impl World {
    pub(crate) fn start_read(&mut self, rng: &mut Rng, shard: usize) {
        let session = rng.below(self.sizes[2]);
        let proxy = self.sessions[session].proxy;
        if self.sessions[session].busy || !self.proxies[proxy].up {
            return;
        }
        let key = rng.below(self.sizes[3]) as u8;
        let query = match rng.below(10) {
            0..=4 => Query::Row(shard, key),
            5 | 6 => Query::Column(shard, rng.below(usize::from(VALUES)) as u8),
            7 => Query::TwoRows(shard, key, (key + 1) % KEYS),
            8 => Query::Table(shard),
            _ if self.sizes[0] == 1 => Query::Table(shard),
            _ => Query::RowOnEach(key, rng.below(self.sizes[3]) as u8),
        };
        let reader = Waiter {
            session,
            level: level(rng.below(10)),
            begin: self.now(),
        };
        self.sessions[session].busy = true;
        if reader.level != ReadLevel::Strong && rng.percent(40) {
            let same = |flight: &&mut Flight| flight.query == query && flight.proxy == proxy;
            if let Some(flight) = self.flights.iter_mut().find(same) {
                flight.waiters.push(reader);
                return;
            }
        }
        if !rng.percent(20)
            && let Some(kept) = self.fetch(rng, proxy, query)
            && self.usable(proxy, &kept, &reader)
        {
            self.sessions[session].busy = false;
            return self.show_kept(query, &kept, &reader);
        }
        self.depart(
            rng,
            Flight {
                reader,
                proxy,
                query,
                legs: [None, None],
                waiters: Vec::new(),
            },
        );
    }

    fn fetch(&self, rng: &mut Rng, proxy: usize, query: Query) -> Option<Kept> {
        let local = self.proxies[proxy].local.get(&query);
        let stored = self.redis.get(&query).and_then(|versions| versions.last());
        match (local, stored) {
            (Some(kept), Some(_)) if rng.percent(60) => Some(kept.clone()),
            (_, Some(stored)) => {
                let (entry, rest) = Entry::decode(&stored.header, self.clocks(proxy)).unwrap();
                assert!(rest.is_empty());
                Some(Kept {
                    entry,
                    seen: stored.seen,
                })
            }
            (kept, None) => kept.cloned(),
        }
    }

    fn usable(&mut self, proxy: usize, kept: &Kept, reader: &Waiter) -> bool {
        let now = self.mono(proxy);
        let forged = match self.mutant {
            Some(Mutant::NoEpochCheck) => {
                let epochs: Vec<Epoch> = (0..SHARDS)
                    .map(|shard| epoch_of(&self.view(proxy, shard)))
                    .collect();
                forge(&kept.entry, |part| (epochs[part.shard().index()], part.fill()))
            }
            Some(Mutant::FirstShardOnly) => {
                Entry::new(kept.entry.parts().first().cloned(), kept.entry.deadline()).unwrap()
            }
            _ => kept.entry.clone(),
        };
        if self.is(Mutant::PendingSatisfied) {
            let views: Vec<_> = (0..SHARDS).map(|shard| self.view(proxy, shard)).collect();
            let session = &mut self.sessions[reader.session];
            views.iter().enumerate().for_each(|(shard, view)| {
                session.positions.need_for(shard_id(shard), view);
            });
            if session.positions.pending().next().is_some() {
                let mut nobody = coherence::SessionPositions::new();
                return check_use(
                    &forged,
                    reader.level,
                    &mut nobody,
                    &self.proxies[proxy].coherence,
                    now,
                )
                .is_ok();
            }
        }
        let positions = &mut self.sessions[reader.session].positions;
        check_use(
            &forged,
            reader.level,
            positions,
            &self.proxies[proxy].coherence,
            now,
        )
        .is_ok()
    }

    /// Chooses a server for each shard; without one for all, the read fails.
    fn depart(&mut self, rng: &mut Rng, mut flight: Flight) {
        for shard in flight.query.shards() {
            let Some(leg) = self.leg(rng, &flight, shard) else {
                self.sessions[flight.reader.session].busy = false;
                return;
            };
            flight.legs[shard] = Some(leg);
        }
        self.flights.push(flight);
    }

    fn leg(&mut self, rng: &mut Rng, flight: &Flight, shard: usize) -> Option<Leg> {
        let (proxy, level) = (flight.proxy, flight.reader.level);
        let begin = Mono(flight.reader.begin + self.proxies[proxy].clock);
        let believed = self.proxies[proxy].shards[shard].primary;
        self.provide_lease(proxy, shard, believed);
        let (view, now) = (self.view(proxy, shard), self.mono(proxy));
        let mut need = self.sessions[flight.reader.session]
            .positions
            .need_for(shard_id(shard), &view);
        if self.is(Mutant::PendingSatisfied) && matches!(need, WriteNeed::Pending { .. }) {
            need = WriteNeed::None;
        }
        let mut options = Vec::new();
        if self.clusters[shard].hosts[believed].role == Role::Primary {
            let timeline = self.primary_timeline(proxy, shard, believed);
            if primary_qualifies(&view, level, need, (endpoint(believed), timeline), begin).is_ok() {
                let claimed = if self.is(Mutant::AnyPrimaryTimeline) {
                    epoch_of(&view).timeline()
                } else {
                    timeline
                };
                options.push((
                    believed,
                    true,
                    FillTicket::on_primary(shard_id(shard), &view, claimed).ok(),
                ));
            }
        }
        for host in (0..HOSTS).filter(|host| *host != believed) {
            let Some(sample) = self.proxies[proxy].shards[shard].replay[host] else {
                continue;
            };
            let connection = self.connect(proxy, shard, host);
            let opened_at = if self.is(Mutant::NoConnectionRule) {
                Mono(0)
            } else {
                connection.opened_at
            };
            let level = match level {
                ReadLevel::Bounded { .. } if self.is(Mutant::LagIgnored) => {
                    ReadLevel::Bounded { bound: Duration::MAX }
                }
                level => level,
            };
            let offer = StandbyOffer { sample, opened_at };
            if standby_qualifies(&view, level, need, &offer, now).is_ok() {
                let ticket = FillTicket::on_standby(shard_id(shard), &view, &sample, opened_at).ok();
                options.push((host, false, ticket));
            }
        }
        let (host, primary, ticket) = rng.pick(&options)?;
        let life = self.connect(proxy, shard, host).life;
        let insert_before = self.clusters[shard].hosts[host].log.len() as u64;
        self.counts.standby_reads += u64::from(!primary);
        Some(Leg {
            host,
            primary,
            life,
            ticket,
            epoch: epoch_of(&view),
            insert_before,
            seen: None,
        })
    }

    /// A server executes one leg of a flight.
    pub(crate) fn execute(&mut self, rng: &mut Rng) {
        let waiting = |leg: &Leg| leg.seen.is_none();
        let ready: Vec<usize> = (0..self.flights.len())
            .filter(|index| self.flights[*index].legs.iter().flatten().any(waiting))
            .collect();
        let Some(index) = rng.pick(&ready) else { return };
        let flight = &mut self.flights[index];
        let leg = flight
            .legs
            .iter_mut()
            .enumerate()
            .find_map(|(shard, leg)| leg.as_mut().filter(|leg| waiting(leg)).map(|leg| (shard, leg)));
        let Some((shard, leg)) = leg else { return };
        let host = &self.clusters[shard].hosts[leg.host];
        if host.life == leg.life && (!leg.primary || host.role == Role::Primary) {
            leg.seen = Some(host.visible);
            return;
        }
        let failed = self.flights.remove(index);
        for waiter in failed.waiters.into_iter().chain([failed.reader]) {
            self.sessions[waiter.session].busy = false;
        }
    }

    /// The answer of a flight arrives: it is shown, kept, and given to whoever waited for it.
    pub(crate) fn answer(&mut self, rng: &mut Rng) {
        let done = |flight: &Flight| flight.legs.iter().flatten().all(|leg| leg.seen.is_some());
        let ready: Vec<usize> = (0..self.flights.len())
            .filter(|index| done(&self.flights[*index]))
            .collect();
        let Some(index) = rng.pick(&ready) else { return };
        let flight = self.flights.remove(index);
        let seen: [Mask; SHARDS] =
            std::array::from_fn(|shard| flight.legs[shard].as_ref().and_then(|leg| leg.seen).unwrap_or(0));
        self.sessions[flight.reader.session].busy = false;
        self.check(&flight.reader, flight.query, &seen, "the origin");
        let kept = self.entry(&flight, &seen).map(|entry| Kept { entry, seen });
        if let Some(kept) = &kept {
            self.counts.fills += 1;
            self.proxies[flight.proxy]
                .local
                .insert(flight.query, kept.clone());
            if self.redis_writes.len() < 6 {
                self.redis_writes.push((flight.query, flight.proxy, kept.clone()));
            }
        }
        for waiter in flight.waiters {
            self.sessions[waiter.session].busy = false;
            let Some(kept) = &kept else { continue };
            if self.is(Mutant::WaitersUnchecked) || self.usable(flight.proxy, kept, &waiter) {
                self.show_kept(flight.query, kept, &waiter);
            }
        }
    }

    fn entry(&self, flight: &Flight, seen: &[Mask; SHARDS]) -> Option<Entry> {
        let mut parts = Vec::new();
        for shard in flight.query.shards() {
            let leg = flight.legs[shard].as_ref()?;
            let ticket = if self.is(Mutant::FillAfter) {
                self.late_ticket(flight.proxy, shard, leg)
            } else {
                leg.ticket
            };
            let mut tags = self.part_tags(shard, flight.query);
            if let (true, Query::Row(_, key)) = (self.is(Mutant::NoTagForAbsence), flight.query)
                && self.relevant(shard, Part::Row(key)) & seen[shard] == 0
            {
                tags.remove(0);
            }
            parts.push(ticket?.with_tags(tags).ok()?);
        }
        let entry = Entry::new(parts, self.mono(flight.proxy).plus(TTL)).ok()?;
        let leg = |part: &EntryPart| flight.legs[part.shard().index()].as_ref();
        match self.mutant {
            Some(Mutant::FillAtInsert) => Some(forge(&entry, |part| match leg(part) {
                Some(leg) if leg.primary => (part.epoch(), Lsn(leg.insert_before)),
                _ => (part.epoch(), part.fill()),
            })),
            Some(Mutant::EpochAtAnswer) => Some(forge(&entry, |part| {
                (
                    epoch_of(&self.view(flight.proxy, part.shard().index())),
                    part.fill(),
                )
            })),
            _ => Some(entry),
        }
    }

    /// The mutant's ticket: taken when the answer is there.
    fn late_ticket(&self, proxy: usize, shard: usize, leg: &Leg) -> Option<FillTicket> {
        let (view, host) = (self.view(proxy, shard), &self.clusters[shard].hosts[leg.host]);
        if epoch_of(&view) != leg.epoch {
            return None;
        }
        if leg.primary {
            return FillTicket::on_primary(shard_id(shard), &view, topology::Timeline(host.timeline)).ok();
        }
        let position = Position::new(host.timeline_at(host.replayed), Lsn(host.replayed as u64));
        let sample = ReplaySample {
            position,
            asked_at: self.mono(proxy),
        };
        FillTicket::on_standby(shard_id(shard), &view, &sample, Mono(0)).ok()
    }

    fn show_kept(&mut self, query: Query, kept: &Kept, reader: &Waiter) {
        self.counts.hits += 1;
        self.check(reader, query, &kept.seen, "the cache");
    }

    pub(crate) fn redis_write(&mut self, rng: &mut Rng) {
        if self.redis_writes.is_empty() {
            return;
        }
        let (query, proxy, kept) = self.redis_writes.remove(rng.below(self.redis_writes.len()));
        let mut header = Vec::new();
        kept.entry.encode_into(&mut header, self.clocks(proxy));
        let versions = self.redis.entry(query).or_default();
        versions.push(Stored {
            header,
            seen: kept.seen,
        });
        if versions.len() > 4 {
            versions.remove(0);
        }
    }

    /// Redis loses everything, or fails over to a replica with older values.
    pub(crate) fn redis_loses(&mut self, rng: &mut Rng) {
        if rng.percent(50) {
            return self.redis.clear();
        }
        self.redis
            .values_mut()
            .filter(|versions| versions.len() > 1)
            .for_each(|versions| {
                versions.pop();
            });
    }
}

/// A copy of an entry with other epochs and fill positions: made by patching its bytes, since nothing else lets one.
fn forge(entry: &Entry, change: impl Fn(&EntryPart) -> (Epoch, Lsn)) -> Entry {
    let clocks = coherence::WallAnchor {
        mono: Mono(0),
        unix_millis: 0,
    };
    let mut bytes = Vec::new();
    entry.encode_into(&mut bytes, clocks);
    let mut at = 13;
    for part in entry.parts() {
        let (epoch, fill) = change(part);
        bytes[at + 2..at + 10].copy_from_slice(&epoch.0.to_be_bytes());
        bytes[at + 10..at + 18].copy_from_slice(&fill.0.to_be_bytes());
        at += 22 + 8 * part.tags().len();
    }
    Entry::decode(&bytes, clocks).unwrap().0
}
