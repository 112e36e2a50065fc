//! The publisher's executor: it asks the simulated server for facts and does what the real decisions say.

use crate::mutants::Mutant;
use crate::schedule::{Action, Rng};
use crate::world::*;
use coherence::{
    DecodedTransaction, Publisher, SlotAction, SlotState, StartDecision, StartFacts, TagHash, XidSnapshot,
    on_start,
};
use std::collections::VecDeque;
use topology::{Lsn, Timeline};

impl World {
    /// Starts the publisher of a stream on the legitimate primary, unless one runs there.
    pub(crate) fn start_publisher(&mut self, shard: usize, stream: usize) {
        let horizon = self.next_xid();
        let cluster = &mut self.clusters[shard];
        let index = cluster.legitimate;
        let host = &mut cluster.hosts[index];
        if cluster
            .publishers
            .iter()
            .any(|running| (running.stream, running.host, running.life) == (stream, index, host.life))
        {
            return;
        }
        let slot = host.slots[stream].map_or(SlotState::Missing, |confirmed| SlotState::Resumable {
            confirmed: Lsn(confirmed),
        });
        let timeline = Timeline(host.timeline);
        let facts = StartFacts {
            timeline,
            stored: host.stored,
            witness: host.witness,
            slot,
        };
        let (epoch, from) = match on_start(&facts).unwrap() {
            StartDecision::Resume { epoch, from } => (epoch, from),
            StartDecision::Raise {
                epoch,
                slot: SlotAction::Keep(from),
                ..
            } => (epoch, from),
            StartDecision::Raise {
                epoch,
                slot: SlotAction::Recreate,
                ..
            } => (epoch, Lsn(host.flushed as u64)),
        };
        (host.stored, host.witness, host.slots[stream]) = (Some(epoch), Some(epoch), Some(from.0));
        cluster.publishers.push(Publishing {
            stream,
            host: index,
            life: host.life,
            publisher: Publisher::new(epoch, from, horizon),
            opened: false,
            decoded: from.0 as usize,
            unsent: VecDeque::new(),
        });
        if cluster.publishers.len() > 3 * PROXIES {
            cluster.publishers.remove(0);
        }
    }

    pub(crate) fn publish(&mut self, action: Action, rng: &mut Rng, shard: usize) {
        if self.clusters[shard].publishers.is_empty() {
            return;
        }
        let index = rng.below(self.clusters[shard].publishers.len());
        let publishing = &self.clusters[shard].publishers[index];
        let host = &self.clusters[shard].hosts[publishing.host];
        let alive = host.life == publishing.life && host.role == Role::Primary;
        match action {
            // Without its server a publisher can only send what it has, or end.
            _ if !alive && rng.percent(30) => self.end_publisher(rng, shard, index),
            Action::Send => self.send(shard, index),
            _ if !alive => {}
            // Another publisher has raised the epoch.
            _ if !publishing.publisher.owns(host.witness) => self.end_publisher(rng, shard, index),
            Action::Decode => self.decode(shard, index),
            Action::Poll => self.poll(shard, index),
            Action::AskHeartbeat => {
                let (insert, lies) = (
                    host.insert_position().lsn,
                    self.is(Mutant::HeartbeatBeforeDecoding),
                );
                let publisher = &mut self.clusters[shard].publishers[index].publisher;
                publisher.ask_heartbeat(insert);
                if lies {
                    publisher.decoded_past(insert);
                }
            }
            _ if rng.percent(60) => {
                let (host, stream) = (publishing.host, publishing.stream);
                let confirmed = publishing.publisher.confirmable();
                self.clusters[shard].hosts[host].slots[stream] = Some(confirmed.0);
            }
            _ if rng.percent(30) => self.end_publisher(rng, shard, index),
            _ => {}
        }
    }

    fn end_publisher(&mut self, rng: &mut Rng, shard: usize, index: usize) {
        let cluster = &mut self.clusters[shard];
        let ended = cluster.publishers.remove(index);
        if rng.percent(50) {
            cluster
                .late
                .extend(ended.unsent.into_iter().map(|message| (ended.stream, message)));
        }
    }

    fn decode(&mut self, shard: usize, index: usize) {
        let cluster = &self.clusters[shard];
        let publishing = &cluster.publishers[index];
        let (host, at) = (&cluster.hosts[publishing.host], publishing.decoded);
        if at >= host.flushed {
            return;
        }
        let end = Lsn(at as u64 + 1);
        let transaction = host.log[at].transaction;
        let tags = transaction.map(|transaction| self.change_tags(shard, transaction));
        let lies = self.is(Mutant::HeartbeatBeforeDecoding);
        let publishing = &mut self.clusters[shard].publishers[index];
        publishing.decoded += 1;
        match transaction.zip(tags) {
            None => publishing.publisher.decoded_past(end),
            Some((transaction, tags)) => {
                let decoded = DecodedTransaction {
                    xid: xid(transaction),
                    commit_end: end,
                    tags,
                };
                assert!(publishing.publisher.decoded(decoded).is_ok() || lies);
            }
        }
    }

    fn change_tags(&self, shard: usize, transaction: usize) -> Vec<TagHash> {
        let (tags, transaction) = (&self.tags[shard], &self.transactions[transaction]);
        let mut changed = vec![tags.table()];
        for write in &transaction.writes[shard] {
            changed.push(tags.row([&[write.key][..]]));
            let old = write.old.filter(|_| !self.is(Mutant::NewValuesOnly));
            changed.extend(
                old.into_iter()
                    .chain(write.new)
                    .map(|value| tags.column("c", &[value])),
            );
        }
        if transaction.ddl && !self.is(Mutant::DdlUntold) {
            changed.push(tags.generation());
        }
        changed
    }

    fn poll(&mut self, shard: usize, index: usize) {
        let publishing = &self.clusters[shard].publishers[index];
        let skipped = if publishing.opened {
            Mutant::NoVisibilityWait
        } else {
            Mutant::NoStartWait
        };
        let snapshot = if self.is(skipped) {
            XidSnapshot::new(xid(MAX_TRANSACTIONS), Vec::new())
        } else {
            self.snapshot(shard, publishing.host)
        };
        let publishing = &mut self.clusters[shard].publishers[index];
        if let Some(message) = publishing.publisher.poll(&snapshot).unwrap() {
            publishing.opened = true;
            publishing.unsent.push_back(message);
        }
    }

    fn send(&mut self, shard: usize, index: usize) {
        let cluster = &mut self.clusters[shard];
        let publishing = &mut cluster.publishers[index];
        if let Some(message) = publishing.unsent.pop_front() {
            publishing.publisher.acknowledged(message.to()).unwrap();
            cluster.topics[publishing.stream].push(message);
        }
    }

    pub(crate) fn late_message(&mut self, rng: &mut Rng, shard: usize) {
        let cluster = &mut self.clusters[shard];
        if !cluster.late.is_empty() {
            let (stream, message) = cluster.late.remove(rng.below(cluster.late.len()));
            cluster.topics[stream].push(message);
        }
    }

    pub(crate) fn lose_message(&mut self, rng: &mut Rng, shard: usize, stream: usize) {
        let readers: Vec<usize> = (0..PROXIES)
            .filter(|proxy| self.stream_of(*proxy) == stream && self.proxies[*proxy].up)
            .collect();
        let offsets = readers
            .iter()
            .map(|proxy| self.proxies[*proxy].shards[shard].offset);
        let lowest = offsets.min().unwrap_or(0);
        let topic = &mut self.clusters[shard].topics[stream];
        if lowest >= topic.len() {
            return;
        }
        let lost = lowest + rng.below(topic.len() - lowest);
        topic.remove(lost);
        for proxy in readers {
            let offset = &mut self.proxies[proxy].shards[shard].offset;
            *offset -= usize::from(*offset > lost);
        }
    }

    pub(crate) fn lose_slot(&mut self, shard: usize, stream: usize) {
        let cluster = &mut self.clusters[shard];
        let index = cluster.legitimate;
        let lost = (stream, index, cluster.hosts[index].life);
        cluster.hosts[index].slots[stream] = None;
        cluster
            .publishers
            .retain(|running| (running.stream, running.host, running.life) != lost);
    }
}
