//! Settings and snapshots of servers that tests started.

use settings::{Input, Settings};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use topology::{EndpointState, Health, RegionName, Role, ShardId, ShardState, SlotMap, Snapshot, Timeline};

/// Shards of one server each at these ports, database `shop`, control user `control`.
pub(crate) fn settings(ports: &[u16]) -> Settings {
    let mut text = "region = \"here\"\n\
        [control_user]\nname = \"control\"\npassword = \"control\"\n\
        [[user]]\nname = \"app\"\npassword = \"app\"\n\
        [[database]]\nname = \"shop\"\ndefault_shard = \"shard-0\"\n"
        .to_owned();
    for (number, port) in ports.iter().enumerate() {
        write!(
            text,
            "[[shard]]\nname = \"shard-{number}\"\n[[shard.endpoint]]\nregion = \"here\"\nhost = \"127.0.0.1\"\nport = {port}\n"
        )
        .unwrap();
    }
    let input = Input {
        path: Path::new("test.toml"),
        text: &text,
        read_file: &|path| std::fs::read_to_string(path),
    };
    Settings::parse(input, []).unwrap_or_else(|error| panic!("{error}"))
}

/// All of them up, and primaries.
pub(crate) fn snapshot(ports: &[u16]) -> Snapshot {
    let settings = settings(ports);
    let state = |endpoint: &settings::ShardEndpoint| EndpointState {
        endpoint: Arc::clone(&endpoint.endpoint),
        health: Health::Up,
        role: Some(Role::Primary),
        incarnation: 1,
        timeline: Timeline(1),
        replay: None,
        fresh_as_of: None,
        round_trip: Duration::ZERO,
        last_error: None,
    };
    let shards = settings.shards.iter().map(|shard| ShardState {
        id: shard.id,
        name: Arc::clone(&shard.name),
        endpoints: shard.endpoints.iter().map(state).collect(),
    });
    Snapshot {
        version: 1,
        region: RegionName::new("here"),
        map: Arc::new(SlotMap::new(1, vec![ShardId(0); usize::from(topology::SLOT_COUNT)]).unwrap()),
        shards: shards.collect(),
    }
}
