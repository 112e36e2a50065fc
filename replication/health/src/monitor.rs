//! The probes of all servers, and where their findings go.

use crate::board::{Board, Change};
use crate::clock::boot_time;
use crate::observation::{Observation, Place};
use crate::pace::Pace;
use crate::probe::{Occasion, ProbeConfig, Prober};
use crate::requests::{SampleRequests, Source};
use arc_swap::ArcSwap;
use coherence::{Coherence, PrimarySample};
use pool::BackendTarget;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use topology::{Endpoint, EndpointId, Mono, Position, RegionName, ShardId, SlotMap, Snapshot};

/// A server and how the control user logs in to it.
#[derive(Clone, Debug)]
pub struct ProbedEndpoint {
    /// The server.
    pub endpoint: Endpoint,
    /// Address, TLS and login. The probes choose `replication` and `connect_timeout` themselves.
    pub target: BackendTarget,
}

/// A shard with its servers.
#[derive(Clone, Debug)]
pub struct ProbedShard {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its servers, in the order of the configuration.
    pub endpoints: Vec<ProbedEndpoint>,
}

/// Probes that run until this is dropped.
#[derive(Debug)]
pub struct Monitor {
    findings: Arc<Findings>,
    _probers: JoinSet<()>,
}

/// What the probers of all servers share.
#[derive(Debug)]
pub(crate) struct Findings {
    board: Mutex<Board>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    version: watch::Sender<u64>,
    coherence: Arc<Coherence>,
    requests: SampleRequests,
    pace: Arc<Pace>,
}

impl Monitor {
    /// Begins to probe, on the runtime that this is called in. `shards` are in the order of their numbers, and `coherence`
    /// has as many.
    pub fn start(
        region: RegionName,
        map: Arc<SlotMap>,
        shards: Vec<ProbedShard>,
        config: ProbeConfig,
        coherence: Arc<Coherence>,
    ) -> Self {
        let requests = SampleRequests::new(shards.len());
        let endpoints = |shard: &ProbedShard| shard.endpoints.iter().map(|e| e.endpoint.clone()).collect();
        let servers = shards
            .iter()
            .map(|shard| (Arc::clone(&shard.name), endpoints(shard)));
        let mut board = Board::new(region, map, servers);
        let first = board.publish(|_, _| None);
        let findings = Arc::new(Findings {
            version: watch::Sender::new(first.version),
            snapshot: Arc::new(ArcSwap::from_pointee(first)),
            board: Mutex::new(board),
            coherence,
            requests,
            pace: Arc::new(Pace::new(config.interval.min(config.timeout))),
        });
        let mut probers = JoinSet::new();
        for (number, shard) in (0..).zip(shards) {
            for server in shard.endpoints {
                let prober = Prober::new(
                    ShardId(number),
                    server.endpoint.id,
                    server.target,
                    config,
                    Arc::clone(&findings),
                );
                probers.spawn(prober.run());
            }
        }
        let keeper = Arc::clone(&findings);
        probers.spawn(async move {
            let asked = |moment| keeper.all_asked_since(moment);
            keeper.pace.keep(config.rest, asked).await;
        });
        Self {
            findings,
            _probers: probers,
        }
    }

    /// Asks nobody: of each shard the first server is taken at the configuration's word, as a primary that is up. For databases
    /// where no decision hangs on what a probe would say; a server that is down shows itself when it is connected to.
    pub fn fixed(region: RegionName, map: Arc<SlotMap>, shards: Vec<(Arc<str>, Vec<Endpoint>)>) -> Self {
        let requests = SampleRequests::new(shards.len());
        requests.shut_down();
        let mut board = Board::new(region, map, shards);
        board.believe();
        let snapshot = board.publish(|_, _| None);
        Self {
            findings: Arc::new(Findings {
                version: watch::Sender::new(snapshot.version),
                snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
                board: Mutex::new(board),
                coherence: Arc::new(Coherence::new(0, 0)),
                requests,
                // Nobody is asked, so nobody rests.
                pace: Arc::new(Pace::new(Duration::ZERO)),
            }),
            _probers: JoinSet::new(),
        }
    }

    /// Where the newest snapshot is found, for any thread.
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.findings.snapshot)
    }

    /// The version of the newest snapshot, to wait for the next.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.findings.version.subscribe()
    }

    /// A handle for samples on demand.
    pub fn samples(&self) -> SampleRequests {
        self.findings.requests.clone()
    }

    /// How often the servers are asked.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.findings.pace)
    }

    /// Publishes another map of slots.
    pub fn set_map(&self, map: Arc<SlotMap>) {
        let mut board = self.findings.board();
        board.set_map(map);
        self.findings.publish(&mut board);
    }

    /// Waits for a snapshot that `wanted` says yes to, at most for `bound`.
    pub async fn wait_for(
        &self,
        bound: Duration,
        wanted: impl Fn(&Snapshot) -> bool,
    ) -> Option<Arc<Snapshot>> {
        let mut versions = self.versions();
        let found = versions.wait_for(|_| wanted(&self.findings.snapshot.load()));
        tokio::time::timeout(bound, found).await.ok()?.ok()?;
        // A later one may have replaced it since: the caller wants one that fits.
        Some(self.findings.snapshot.load_full()).filter(|snapshot| wanted(snapshot))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.findings.requests.shut_down();
    }
}

impl Findings {
    /// Handles of the samples on demand.
    pub(crate) fn requests(&self) -> &SampleRequests {
        &self.requests
    }

    /// How often the servers are asked.
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Waits until every server that is not down was asked since `moment`.
    async fn all_asked_since(&self, moment: Mono) {
        let mut versions = self.version.subscribe();
        while !self.board().all_asked_since(moment) {
            // The sender lives in `self`, so this can't end by its loss.
            let _alive = versions.changed().await;
        }
    }

    /// Whether `endpoint` is the primary whose samples count.
    pub(crate) fn trusts(&self, shard: ShardId, endpoint: EndpointId) -> bool {
        self.board().trusted(shard) == Some(endpoint)
    }

    /// Takes what a server said. Its sample is recorded before anybody learns of it, so that whoever is told finds it there.
    pub(crate) fn answered(
        &self,
        shard: ShardId,
        endpoint: EndpointId,
        seen: &Observation,
        occasion: Occasion,
    ) -> Change {
        let mut board = self.board();
        let change = board.answered(shard, endpoint, seen);
        if let Place::Insert { witness, .. } = seen.place
            && board.trusted(shard) == Some(endpoint)
        {
            let sample = PrimarySample {
                server: endpoint,
                asked_at: seen.asked_at,
                position: seen.position(),
                witness,
            };
            if let Some(coherence) = self.coherence.shard(shard) {
                coherence.record_sample(&sample, boot_time());
            }
            self.requests.answer(shard, sample);
        }
        self.settle(&board, shard);
        // Samples that somebody asked for come by the thousand; a snapshot of each would tell nobody anything.
        if change == Change::Structure || occasion == Occasion::Due {
            self.publish(&mut board);
        }
        change
    }

    /// Takes that a server is down.
    pub(crate) fn failed(&self, shard: ShardId, endpoint: EndpointId, why: &str) -> Change {
        let mut board = self.board();
        let change = board.failed(shard, endpoint, why);
        self.settle(&board, shard);
        if change == Change::Structure {
            self.publish(&mut board);
        }
        change
    }

    fn settle(&self, board: &Board, shard: ShardId) {
        let source = match board.trusted(shard) {
            Some(_) => Source::Primary,
            None if board.all_asked(shard) => Source::Nobody,
            None => Source::Unsettled,
        };
        self.requests.set_source(shard, source);
    }

    fn publish(&self, board: &mut Board) {
        let snapshot = board.publish(|shard, position| self.freshness(shard, position));
        let version = snapshot.version;
        self.snapshot.store(Arc::new(snapshot));
        self.version.send_replace(version);
    }

    fn freshness(&self, shard: ShardId, position: Position) -> Option<Mono> {
        self.coherence.shard(shard)?.view().freshness_of(position)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing that can panic runs under this lock, so a poisoned one still holds a whole board.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
