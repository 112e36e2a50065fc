//! What proxies do beside reads: apply the stream, sample servers, start anew, hand sessions over.

use crate::mutants::Mutant;
use crate::schedule::Rng;
use crate::world::*;
use coherence::{
    Coherence, Lease, MessageKind, PrimarySample, SessionPositions, ShardView, StreamMessage, Token,
    TokenDecision,
};
use topology::{EndpointId, Epoch, Lsn, Mono, Position, ReplaySample, Timeline};

impl World {
    /// The proxy's connection to a server: opened anew if the server has restarted since.
    pub(crate) fn connect(&mut self, proxy: usize, shard: usize, host: usize) -> Connection {
        let opened_at = self.mono(proxy);
        let server = &self.clusters[shard].hosts[host];
        let (life, timeline) = (server.life, Timeline(server.timeline));
        let slot = &mut self.proxies[proxy].shards[shard].connections[host];
        match slot {
            Some(connection) if connection.life == life => *connection,
            _ => *slot.insert(Connection {
                life,
                opened_at,
                timeline,
            }),
        }
    }

    pub(crate) fn apply(&mut self, rng: &mut Rng, shard: usize, proxy: usize) {
        let (stream, offset) = (self.stream_of(proxy), self.proxies[proxy].shards[shard].offset);
        if !self.proxies[proxy].up || offset >= self.clusters[shard].topics[stream].len() {
            return;
        }
        let bytes = self.clusters[shard].topics[stream][offset].encode();
        let message = self.misread(StreamMessage::decode(&bytes).unwrap(), &self.view(proxy, shard));
        self.proxies[proxy]
            .coherence
            .shard(shard_id(shard))
            .unwrap()
            .apply(&message);
        // Now and then the reader's own offset is lost, and messages come twice.
        let next = if rng.percent(4) {
            offset.saturating_sub(rng.below(3))
        } else {
            offset + 1
        };
        self.proxies[proxy].shards[shard].offset = next;
    }

    /// The lies of the mutants that concern the stream.
    fn misread(&self, message: StreamMessage, view: &ShardView) -> StreamMessage {
        let same_epoch = view.epoch() == Some(message.epoch());
        match self.mutant {
            Some(Mutant::NoFloor) if !same_epoch => relabel(&message, message.epoch(), Lsn(0)),
            Some(Mutant::NoGapRule) if same_epoch => {
                let watermark = view.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
                relabel(&message, message.epoch(), message.from().min(watermark))
            }
            Some(Mutant::EndedEpochApplied) if message.epoch() < epoch_of(view) => {
                relabel(&message, epoch_of(view), message.from())
            }
            _ => message,
        }
    }

    pub(crate) fn provide_lease(&self, proxy: usize, shard: usize, host: usize) {
        if self.is(Mutant::NoLease) {
            return;
        }
        let (server, clock) = (&self.clusters[shard].hosts[host], self.proxies[proxy].clock);
        let (since, until) = (Mono(server.promoted_at + clock), Mono(server.lease + clock));
        let lease = Lease::Held {
            holder: endpoint(host),
            since,
            until,
        };
        self.proxies[proxy]
            .coherence
            .shard(shard_id(shard))
            .unwrap()
            .set_lease(lease);
    }

    /// Asks a standby for its replay position, or receives its answer.
    pub(crate) fn sample_standby(&mut self, rng: &mut Rng, shard: usize, proxy: usize) {
        let host = rng.below(HOSTS);
        let server = &self.clusters[shard].hosts[host];
        if !self.proxies[proxy].up || server.role != Role::Standby {
            return;
        }
        let now = self.mono(proxy);
        let received = self.is(Mutant::FillAtReceived);
        let lsn = if received {
            server.log.len()
        } else {
            server.replayed
        };
        let position = Position::new(server.timeline_at(lsn), Lsn(lsn as u64));
        let state = &mut self.proxies[proxy].shards[shard];
        match state.asking_replay[host].take() {
            Some(asked_at) => state.replay[host] = Some(ReplaySample { position, asked_at }),
            None if rng.percent(50) => {
                state.replay[host] = Some(ReplaySample {
                    position,
                    asked_at: now,
                })
            }
            None => state.asking_replay[host] = Some(now),
        }
    }

    /// One question to a primary at a time: it is asked, answered, and the answer arrives.
    pub(crate) fn sample_primary(&mut self, rng: &mut Rng, shard: usize, proxy: usize) {
        if !self.proxies[proxy].up {
            return;
        }
        let now = self.mono(proxy);
        let state = &mut self.proxies[proxy].shards[shard];
        let Some(asking) = state.asking else {
            let host = if rng.percent(self.flap * 3) {
                rng.below(HOSTS)
            } else {
                state.primary
            };
            let server = &self.clusters[shard].hosts[host];
            if server.role == Role::Primary {
                state.asking = Some(Asking {
                    host,
                    life: server.life,
                    asked_at: now,
                    answer: None,
                });
            }
            return;
        };
        let server = &self.clusters[shard].hosts[asking.host];
        match asking.answer {
            None if server.life != asking.life || server.role != Role::Primary => state.asking = None,
            None => {
                let answer = Some((server.insert_position(), server.witness));
                state.asking = Some(Asking { answer, ..asking });
            }
            Some((position, witness)) => {
                state.asking = None;
                let witness = if self.is(Mutant::NoWitness) {
                    self.view(proxy, shard).epoch()
                } else {
                    witness
                };
                let asked_at = if self.is(Mutant::SampleTimeAtAnswer) {
                    now
                } else {
                    asking.asked_at
                };
                self.provide_lease(proxy, shard, asking.host);
                let sample = PrimarySample {
                    server: endpoint(asking.host),
                    asked_at,
                    position,
                    witness,
                };
                self.proxies[proxy]
                    .coherence
                    .shard(shard_id(shard))
                    .unwrap()
                    .record_sample(&sample, now);
            }
        }
    }

    pub(crate) fn learn_primary(&mut self, rng: &mut Rng, shard: usize, proxy: usize) {
        let host = if rng.percent(self.flap) {
            rng.below(HOSTS)
        } else {
            self.clusters[shard].legitimate
        };
        self.proxies[proxy].shards[shard].primary = host;
    }

    pub(crate) fn restart_proxy(&mut self, rng: &mut Rng, proxy: usize) {
        let (ended, kept) = std::mem::take(&mut self.flights)
            .into_iter()
            .partition(|flight| flight.proxy == proxy);
        self.flights = kept;
        let ended: Vec<Flight> = ended;
        for waiter in ended
            .into_iter()
            .flat_map(|flight| flight.waiters.into_iter().chain([flight.reader]))
        {
            self.sessions[waiter.session].busy = false;
        }
        for transaction in self
            .transactions
            .iter_mut()
            .filter(|transaction| transaction.proxy == proxy)
        {
            if matches!(transaction.stage, Stage::Committed(_)) {
                transaction
                    .session
                    .take()
                    .into_iter()
                    .for_each(|session| self.sessions[session].busy = false);
            }
        }
        for session in 0..SESSIONS {
            let idle_here = self.sessions[session].proxy == proxy && !self.sessions[session].busy;
            if idle_here && !self.hand_over(session, proxy, (proxy + 1) % 2) {
                // Its last token is gone with the proxy: the client begins a session of its own.
                self.sessions[session] = Session {
                    proxy: (proxy + 1) % 2,
                    ..Session::default()
                };
            }
        }
        let restarted = &mut self.proxies[proxy];
        restarted.up = true;
        restarted.local.clear();
        restarted.coherence = Coherence::new(SHARDS as u16, CELLS);
        for shard in 0..SHARDS {
            let length = self.clusters[shard].topics[self.stream_of(proxy)].len();
            let offset = length - rng.below(6).min(length);
            let believed = self.proxies[proxy].shards[shard].primary;
            let primary = if rng.percent(50) {
                self.clusters[shard].legitimate
            } else {
                believed
            };
            self.proxies[proxy].shards[shard] = ProxyShard {
                offset,
                primary,
                ..ProxyShard::default()
            };
        }
    }

    pub(crate) fn move_session(&mut self, rng: &mut Rng, proxy: usize) {
        let session = rng.below(self.sizes[2]);
        let from = self.sessions[session].proxy;
        if !self.sessions[session].busy && self.proxies[proxy].up && from != proxy {
            self.hand_over(session, from, proxy);
        }
    }

    /// Takes a session to another proxy by its token; false if it can't be had.
    fn hand_over(&mut self, session: usize, from: usize, to: usize) -> bool {
        let now = self.mono(to);
        let views: Vec<_> = (0..SHARDS).map(|shard| self.view(from, shard)).collect();
        let (lost, without) = (self.is(Mutant::TokenLost), self.is(Mutant::TokenWithoutPending));
        let moving = &mut self.sessions[session];
        for (shard, view) in views.iter().enumerate() {
            moving.positions.need_for(shard_id(shard), view);
        }
        let text = match moving.positions.token(MAP_VERSION) {
            TokenDecision::Ready(token) if !lost => token.to_string(),
            TokenDecision::ResolveFirst(_) if !lost && !without => return false,
            _ => format!("rw1/{MAP_VERSION:x}"),
        };
        let token = Token::parse(&text, MAP_VERSION, SHARDS as u16).unwrap();
        moving.positions = SessionPositions::new();
        moving.positions.adopt(&token, now);
        moving.proxy = to;
        true
    }
}

pub(crate) fn endpoint(host: usize) -> EndpointId {
    EndpointId(host as u16)
}

fn relabel(message: &StreamMessage, epoch: Epoch, from: Lsn) -> StreamMessage {
    match message.kind() {
        MessageKind::Heartbeat => StreamMessage::heartbeat(epoch, from, message.to()),
        MessageKind::Transactions => {
            StreamMessage::transactions(epoch, from, message.to(), message.tags().to_vec())
        }
    }
    .unwrap()
}
