//! Servers, a monitor of them, and questions to its snapshots.

use cluster::{Postgres, PostgresSpec};
use coherence::Coherence;
use health::{Monitor, ProbeConfig, ProbedEndpoint, ProbedShard, Rest};
use pool::{Address, BackendTarget, Password};
use std::sync::Arc;
use std::time::Duration;
use topology::{
    Endpoint, EndpointId, EndpointState, Health, RegionName, Role, SLOT_COUNT, ShardId, SlotMap, Snapshot,
};

pub(crate) const SHARD: ShardId = ShardId(0);
pub(crate) const ONE: EndpointId = EndpointId(0);
pub(crate) const TWO: EndpointId = EndpointId(1);
/// For what must happen soon, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const CONFIG: ProbeConfig = ProbeConfig {
    interval: Duration::from_millis(100),
    timeout: Duration::from_secs(2),
    failures_until_down: 2,
    rest: Rest {
        after: Duration::from_secs(60),
        interval: Duration::from_secs(60),
    },
};

pub(crate) fn spec() -> PostgresSpec {
    PostgresSpec::new("one")
        .role("ringway", "secret", "SUPERUSER REPLICATION")
        .database("shop", "ringway")
}

fn probed(id: EndpointId, port: u16) -> ProbedEndpoint {
    let mut target = BackendTarget::new(Address::new("127.0.0.1", port), "shop", "ringway");
    target.password = Some(Password::new("secret"));
    let region = RegionName::new("us-east");
    ProbedEndpoint {
        endpoint: Endpoint {
            id,
            shard: SHARD,
            region,
            host: "127.0.0.1".to_owned(),
            port,
        },
        target,
    }
}

pub(crate) fn monitor_of(ports: &[u16], config: ProbeConfig) -> (Monitor, Arc<Coherence>) {
    let coherence = Arc::new(Coherence::new(1, 64));
    let map = Arc::new(SlotMap::new(1, vec![SHARD; usize::from(SLOT_COUNT)]).unwrap());
    let endpoints = (0..)
        .zip(ports)
        .map(|(id, port)| probed(EndpointId(id), *port))
        .collect();
    let shards = vec![ProbedShard {
        name: Arc::from("zero"),
        endpoints,
    }];
    let monitor = Monitor::start(
        RegionName::new("us-east"),
        map,
        shards,
        config,
        Arc::clone(&coherence),
    );
    (monitor, coherence)
}

pub(crate) async fn pair() -> (Postgres, Postgres, Monitor, Arc<Coherence>) {
    let one = Postgres::start(spec()).await.unwrap();
    let two = one.standby("two").await.unwrap();
    let (monitor, coherence) = monitor_of(&[one.port(), two.port()], CONFIG);
    (one, two, monitor, coherence)
}

pub(crate) fn state(snapshot: &Snapshot, id: EndpointId) -> &EndpointState {
    snapshot
        .shard(SHARD)
        .unwrap()
        .endpoints
        .iter()
        .find(|e| e.endpoint.id == id)
        .unwrap()
}

pub(crate) fn up_as(snapshot: &Snapshot, id: EndpointId, role: Role) -> bool {
    let server = state(snapshot, id);
    server.health == Health::Up && server.role == Some(role)
}

pub(crate) fn primary(snapshot: &Snapshot) -> Option<EndpointId> {
    snapshot.shard(SHARD).unwrap().primary().map(|e| e.endpoint.id)
}

pub(crate) async fn both_up(monitor: &Monitor) -> Arc<Snapshot> {
    let both = |s: &Snapshot| up_as(s, ONE, Role::Primary) && up_as(s, TWO, Role::Standby);
    monitor.wait_for(SOON, both).await.expect("both are up")
}

/// Writes a row and gives the insert position after its commit, as the server names it.
pub(crate) async fn write(client: &tokio_postgres::Client) -> String {
    client
        .batch_execute("INSERT INTO t DEFAULT VALUES")
        .await
        .unwrap();
    let row = client
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .await
        .unwrap();
    row.get(0)
}
