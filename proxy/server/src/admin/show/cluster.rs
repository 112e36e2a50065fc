//! What SHOW says of the cluster: shards, servers, slots, the stream and the stores of the cache. Ringway's own.

use super::{Columns, Rows, age, health, role, server, shard_name};
use crate::admin::table::Cell;
use crate::admin::table::ColumnType::{Int8, Text};
use crate::admin::view::{AdminView, StreamState};
use settings::StreamTransport;
use topology::{Health, ShardId};

pub(super) const CACHE: Columns = &[("part", Text), ("item", Text), ("value", Int8)];

pub(super) fn cache(view: &AdminView) -> Rows {
    let rows = view.cache.iter();
    rows.map(|row| {
        vec![
            Cell::text(row.part),
            Cell::text(row.item),
            Cell::number(row.value),
        ]
    })
    .collect()
}

pub(super) const SHARDS: Columns = &[
    ("shard", Text),
    ("id", Int8),
    ("primary", Text),
    ("region", Text),
    ("timeline", Int8),
    ("slots", Int8),
    ("endpoints", Int8),
    ("endpoints_up", Int8),
];

pub(super) fn shards(view: &AdminView) -> Rows {
    let rows = view.snapshot.shards.iter().map(|shard| {
        let primary = shard.primary();
        let up = shard
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.health == Health::Up)
            .count();
        vec![
            Cell::text(shard.name.to_string()),
            Cell::number(shard.id),
            Cell::option(primary.map(|state| server(&state.endpoint))),
            Cell::option(primary.map(|state| &state.endpoint.region)),
            Cell::option(primary.map(|state| state.timeline)),
            Cell::number(view.snapshot.map.owned_by(shard.id)),
            Cell::number(shard.endpoints.len()),
            Cell::number(up),
        ]
    });
    rows.collect()
}

pub(super) const REPLICAS: Columns = &[
    ("shard", Text),
    ("region", Text),
    ("host", Text),
    ("port", Int8),
    ("role", Text),
    ("state", Text),
    ("incarnation", Int8),
    ("timeline", Int8),
    ("replay_lsn", Text),
    ("lag_us", Int8),
    ("round_trip_us", Int8),
    ("last_error", Text),
];

pub(super) fn replicas(view: &AdminView) -> Rows {
    let states = view
        .snapshot
        .shards
        .iter()
        .flat_map(|shard| shard.endpoints.iter().map(move |state| (shard, state)));
    let rows = states.map(|(shard, state)| {
        let endpoint = &state.endpoint;
        vec![
            Cell::text(shard.name.to_string()),
            Cell::text(endpoint.region.to_string()),
            Cell::text(endpoint.host.clone()),
            Cell::number(endpoint.port),
            Cell::option(state.role.map(role)),
            Cell::text(health(state.health)),
            Cell::number(state.incarnation),
            Cell::option(state.role.map(|_| state.timeline)),
            Cell::option(state.replay.map(|replay| replay.position.lsn)),
            age(view.now, state.fresh_as_of),
            Cell::micros(state.round_trip),
            Cell::option(state.last_error.as_deref()),
        ]
    });
    rows.collect()
}

pub(super) const SLOTS: Columns = &[
    ("from", Int8),
    ("to", Int8),
    ("shard", Text),
    ("map_version", Int8),
];

pub(super) fn slots(view: &AdminView) -> Rows {
    let mut runs: Vec<(u16, u16, ShardId)> = Vec::new();
    for (slot, shard) in view.snapshot.map.iter() {
        match runs.last_mut() {
            Some((_, to, owner)) if *owner == shard => *to = slot.number(),
            Some(_) | None => runs.push((slot.number(), slot.number(), shard)),
        }
    }
    let rows = runs.into_iter().map(|(from, to, shard)| {
        let version = view.snapshot.map.version();
        vec![
            Cell::number(from),
            Cell::number(to),
            shard_name(view, shard),
            Cell::number(version),
        ]
    });
    rows.collect()
}

pub(super) const STREAM: Columns = &[
    ("shard", Text),
    ("database", Text),
    ("transport", Text),
    ("state", Text),
    ("epoch", Text),
    ("timeline", Int8),
    ("watermark", Text),
    ("lag_us", Int8),
    ("applied", Int8),
    ("gaps", Int8),
    ("slot", Text),
    ("confirmed_lsn", Text),
    ("published", Int8),
    ("last_error", Text),
];

pub(super) fn stream(view: &AdminView) -> Rows {
    let transport = match view.settings.stream.transport {
        StreamTransport::InProcess => "in_process",
        StreamTransport::Kafka { .. } => "kafka",
    };
    let rows = view.stream.iter().map(|row| {
        let (state, epoch, timeline, watermark, lag) = match row.state {
            StreamState::Unknown => ("unknown", Cell::Null, Cell::Null, Cell::Null, Cell::Null),
            StreamState::Following {
                epoch,
                watermark,
                fresh_as_of,
            } => (
                "following",
                Cell::text(epoch.to_string()),
                Cell::number(watermark.timeline),
                Cell::text(watermark.lsn.to_string()),
                age(view.now, fresh_as_of),
            ),
        };
        let publisher = row.publisher.as_ref();
        vec![
            shard_name(view, row.shard),
            Cell::text(row.database.clone()),
            Cell::text(transport),
            Cell::text(state),
            epoch,
            timeline,
            watermark,
            lag,
            Cell::number(row.applied),
            Cell::number(row.gaps),
            Cell::option(publisher.map(|publisher| &publisher.slot)),
            Cell::option(publisher.and_then(|publisher| publisher.confirmed)),
            Cell::option(publisher.map(|publisher| publisher.published)),
            Cell::option(publisher.and_then(|publisher| publisher.last_error.as_ref())),
        ]
    });
    rows.collect()
}
