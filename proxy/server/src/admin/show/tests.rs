//! Every SHOW over one small cluster, with its exact columns and rows.

use super::render;
use crate::admin::command::Show;
use crate::admin::table::Table;
use crate::admin::{
    AdminCommand, AdminView, CacheKind, CacheRow, ClientRow, ClientState, PoolRow, PublisherRow,
    ServerConnectionState, ServerRow, StatsAverages, StatsRow, StreamRow, StreamState,
};
use bytes::BytesMut;
use expect_test::{Expect, expect};
use settings::{Input, Settings};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use topology::{
    EndpointId, EndpointState, Epoch, Health, Lsn, Mono, Position, ReplaySample, Role, ShardId, ShardState,
    SlotMap, Snapshot, Timeline,
};

const CONFIGURATION: &str = r#"
region = "us-east"
[auth]
admin_users = ["ringway"]
stats_users = ["shop"]
[control_user]
name = "ringway"
password = "s3cret"
[[user]]
name = "shop"
password = "s3cret"
[[user]]
name = "ringway"
password = "s3cret"
[[database]]
name = "shop"
[[shard]]
name = "shard-0"
endpoint = [
    { region = "us-east", host = "10.0.0.1", port = 5432 },
    { region = "us-west", host = "10.1.0.1", port = 5432 },
]
[[shard]]
name = "shard-1"
endpoint = [{ region = "us-east", host = "/run/pg", port = 5433 }]
[[table]]
name = "orders"
sharding = "hash"
column = "user_id"
"#;

fn settings() -> Settings {
    let read_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let input = Input {
        path: Path::new("ringway.toml"),
        text: CONFIGURATION,
        read_file: &read_file,
    };
    Settings::parse(input, []).expect("valid")
}

fn snapshot(settings: &Settings, now: Mono) -> Snapshot {
    let state = |server: &settings::ShardEndpoint| EndpointState {
        endpoint: Arc::clone(&server.endpoint),
        health: Health::Up,
        role: Some(Role::Primary),
        incarnation: 1,
        timeline: Timeline(3),
        replay: None,
        fresh_as_of: None,
        round_trip: Duration::from_micros(240),
        last_error: None,
    };
    let mut shards: Vec<ShardState> = settings
        .shards
        .iter()
        .map(|shard| ShardState {
            id: shard.id,
            name: Arc::clone(&shard.name),
            endpoints: shard.endpoints.iter().map(state).collect(),
        })
        .collect();
    let standby = &mut shards[0].endpoints[1];
    standby.role = Some(Role::Standby);
    let position = Position::new(Timeline(3), Lsn(0x1_0000_2A00));
    standby.replay = Some(ReplaySample {
        position,
        asked_at: now,
    });
    standby.fresh_as_of = Some(now.minus(Duration::from_millis(35)));
    let lost = &mut shards[1].endpoints[0];
    lost.health = Health::Down;
    lost.role = None;
    lost.last_error = Some(Arc::from("connection refused"));
    let owners = (0..topology::SLOT_COUNT)
        .map(|slot| ShardId(slot / 8192))
        .collect();
    let map = Arc::new(SlotMap::new(4, owners).expect("an owner for each"));
    Snapshot {
        version: 9,
        region: settings.region.clone(),
        map,
        shards,
    }
}

/// A small cluster with one client, and two data threads.
pub(crate) fn view() -> AdminView {
    let now = Mono(10_000_000_000);
    let settings = settings();
    let at = UNIX_EPOCH + Duration::from_secs(1_795_325_807);
    let pool = |endpoint, waiting, active| PoolRow {
        database: "shop".to_owned(),
        user: "shop".to_owned(),
        endpoint: EndpointId(endpoint),
        waiting,
        active,
        idle: 2,
        connecting: 0,
        max_wait: Duration::from_micros(1_500_000 * u64::try_from(waiting).expect("small")),
    };
    let following = StreamState::Following {
        epoch: Epoch::new(Timeline(3), 2),
        watermark: Position::new(Timeline(3), Lsn(0x1_0000_2B00)),
        fresh_as_of: Some(now.minus(Duration::from_millis(12))),
    };
    let stream = |shard, state, publisher| StreamRow {
        shard: ShardId(shard),
        database: "shop".to_owned(),
        state,
        applied: 7,
        gaps: 1,
        publisher,
    };
    let publisher = PublisherRow {
        slot: "ringway_shop_us_east_6432".to_owned(),
        confirmed: Some(Lsn(0x1_0000_2B00)),
        published: 7,
        last_error: None,
    };
    AdminView {
        snapshot: Arc::new(snapshot(&settings, now)),
        settings: Arc::new(settings),
        now,
        stats: vec![stats_row()],
        pools: vec![pool(0, 0, 1), pool(1, 0, 0), pool(0, 1, 3)],
        clients: vec![ClientRow {
            id: 11,
            user: "shop".to_owned(),
            database: "shop".to_owned(),
            state: ClientState::Waiting,
            peer: Some("192.0.2.7:50001".parse().expect("an address")),
            local: None,
            connected_at: at,
            request_at: None,
            waited: Duration::from_micros(1_500_020),
            links: vec![4, 5],
            tls: true,
            application_name: "psql".to_owned(),
            prepared_statements: 2,
            thread: 0,
        }],
        servers: vec![ServerRow {
            id: 4,
            user: "shop".to_owned(),
            database: "shop".to_owned(),
            state: ServerConnectionState::Active,
            endpoint: EndpointId(1),
            local: Some("10.0.0.9:40000".parse().expect("an address")),
            connected_at: at,
            request_at: Some(at + Duration::from_secs(60)),
            close_needed: false,
            link: Some(11),
            remote_pid: 4242,
            tls: false,
            thread: 0,
        }],
        cache: vec![
            CacheRow {
                part: "memory",
                item: "entries",
                value: 3,
                kind: CacheKind::Items,
            },
            CacheRow {
                part: "memory",
                item: "bytes",
                value: 1234,
                kind: CacheKind::Bytes,
            },
            CacheRow {
                part: "redis",
                item: "errors",
                value: 1,
                kind: CacheKind::Events,
            },
        ],
        stream: vec![
            stream(0, following, Some(publisher)),
            stream(1, StreamState::Unknown, None),
        ],
    }
}

fn stats_row() -> StatsRow {
    StatsRow {
        database: "shop".to_owned(),
        transactions: 10,
        queries: 20,
        received_bytes: 300,
        sent_bytes: 4000,
        transaction_time: Duration::from_millis(5),
        query_time: Duration::from_micros(4500),
        wait_time: Duration::from_micros(1),
        averages: StatsAverages {
            transactions: 1,
            queries: 2,
            received_bytes: 30,
            sent_bytes: 400,
            transaction_time: Duration::from_micros(500),
            query_time: Duration::from_micros(225),
            wait_time: Duration::ZERO,
        },
    }
}

/// The table with ` | ` between values and `-` for NULL.
fn text(table: &Table) -> String {
    let head = table
        .columns
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(" | ");
    let mut out = vec![head];
    for row in &table.rows {
        assert_eq!(row.len(), table.columns.len());
        out.push(
            row.iter()
                .map(|cell| cell.as_str().unwrap_or("-"))
                .collect::<Vec<_>>()
                .join(" | "),
        );
    }
    out.join("\n")
}

fn check(sql: &str, expect: &Expect) {
    let Ok(AdminCommand::Show(show)) = AdminCommand::parse(sql) else {
        panic!("{sql} is no SHOW")
    };
    expect.assert_eq(&text(&render(show, &view())));
}

#[test]
fn connections() {
    check(
        "SHOW POOLS",
        &expect![[r#"
        database | user | cl_active | cl_waiting | sv_active | sv_idle | sv_login | maxwait | maxwait_us | pool_mode | shard | region | host | port
        shop | shop | 4 | 1 | 4 | 4 | 0 | 1 | 500000 | transaction | shard-0 | us-east | 10.0.0.1 | 5432
        shop | shop | 0 | 0 | 0 | 2 | 0 | 0 | 0 | transaction | shard-0 | us-west | 10.1.0.1 | 5432"#]],
    );
    check(
        "SHOW CLIENTS",
        &expect![[r#"
        type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | link | tls | application_name | prepared_statements | id | thread
        C | shop | shop | waiting | 192.0.2.7 | 50001 | unix | - | 2026-11-22 05:36:47 UTC | - | 1 | 500020 | 4,5 | TLS | psql | 2 | 11 | 0"#]],
    );
    check(
        "SHOW SERVERS",
        &expect![[r#"
        type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | close_needed | link | remote_pid | tls | id | thread | shard | region
        S | shop | shop | active | 10.1.0.1 | 5432 | 10.0.0.9 | 40000 | 2026-11-22 05:36:47 UTC | 2026-11-22 05:37:47 UTC | 0 | 11 | 4242 |  | 4 | 0 | shard-0 | us-west"#]],
    );
}

#[test]
fn counters() {
    check(
        "SHOW STATS",
        &expect![[r#"
        database | total_xact_count | total_query_count | total_received | total_sent | total_xact_time | total_query_time | total_wait_time | avg_xact_count | avg_query_count | avg_recv | avg_sent | avg_xact_time | avg_query_time | avg_wait_time
        shop | 10 | 20 | 300 | 4000 | 5000 | 4500 | 1 | 1 | 2 | 30 | 400 | 500 | 225 | 0"#]],
    );
    check(
        "SHOW STATS_TOTALS",
        &expect![[r#"
        database | xact_count | query_count | bytes_received | bytes_sent | xact_time | query_time | wait_time
        shop | 10 | 20 | 300 | 4000 | 5000 | 4500 | 1"#]],
    );
    check(
        "SHOW STATS_AVERAGES",
        &expect![[r#"
        database | xact_count | query_count | bytes_received | bytes_sent | xact_time | query_time | wait_time
        shop | 1 | 2 | 30 | 400 | 500 | 225 | 0"#]],
    );
    check(
        "SHOW LISTS",
        &expect![[r#"
        list | items
        databases | 1
        users | 2
        pools | 2
        used_clients | 1
        free_servers | 0
        used_servers | 1
        shards | 2
        endpoints | 3
        tables | 1"#]],
    );
}

#[test]
fn cluster() {
    check(
        "SHOW SHARDS",
        &expect![[r#"
        shard | id | primary | region | timeline | slots | endpoints | endpoints_up
        shard-0 | 0 | 10.0.0.1:5432 | us-east | 3 | 8192 | 2 | 2
        shard-1 | 1 | - | - | - | 8192 | 1 | 0"#]],
    );
    check(
        "SHOW REPLICAS",
        &expect![[r#"
        shard | region | host | port | role | state | incarnation | timeline | replay_lsn | lag_us | round_trip_us | last_error
        shard-0 | us-east | 10.0.0.1 | 5432 | primary | up | 1 | 3 | - | - | 240 | -
        shard-0 | us-west | 10.1.0.1 | 5432 | standby | up | 1 | 3 | 1/2A00 | 35000 | 240 | -
        shard-1 | us-east | /run/pg | 5433 | - | down | 1 | - | - | - | 240 | connection refused"#]],
    );
    check(
        "SHOW SLOTS",
        &expect![[r#"
        from | to | shard | map_version
        0 | 8191 | shard-0 | 4
        8192 | 16383 | shard-1 | 4"#]],
    );
    check(
        "SHOW STREAM",
        &expect![[r#"
        shard | database | transport | state | epoch | timeline | watermark | lag_us | applied | gaps | slot | confirmed_lsn | published | last_error
        shard-0 | shop | in_process | following | 3.2 | 3 | 1/2B00 | 12000 | 7 | 1 | ringway_shop_us_east_6432 | 1/2B00 | 7 | -
        shard-1 | shop | in_process | unknown | - | - | - | - | 7 | 1 | - | - | - | -"#]],
    );
    check(
        "SHOW CACHE",
        &expect![[r#"
        part | item | value
        memory | entries | 3
        memory | bytes | 1234
        redis | errors | 1"#]],
    );
}

#[test]
fn configuration() {
    check(
        "SHOW DATABASES",
        &expect![[r#"
        name | database | pool_size | min_pool_size | reserve_pool | pool_mode | current_connections | default_shard
        shop | shop | 20 | 0 | 0 | transaction | 1 | shard-0"#]],
    );
    check(
        "SHOW USERS",
        &expect![[r#"
        name | admin_rights
        shop | stats
        ringway | admin"#]],
    );
    check(
        "SHOW VERSION",
        &expect![[r#"
        version
        Ringway 0.1.0"#]],
    );
    check(
        "SHOW HELP",
        &expect![[r#"
        command | what
        SHOW CACHE | what the stores of the cache hold and did
        SHOW CLIENTS | client connections
        SHOW CONFIG | settings, and which of them RELOAD can change
        SHOW DATABASES | databases
        SHOW HELP | these commands
        SHOW LISTS | how many of everything there are
        SHOW POOLS | pools of server connections
        SHOW REPLICAS | servers: role, replay position, lag, round-trip time
        SHOW SERVERS | server connections
        SHOW SHARDS | shards: primary, slots, healthy servers
        SHOW SLOTS | which shard owns which slots
        SHOW STATS | counters and averages of each database
        SHOW STATS_AVERAGES | only the averages
        SHOW STATS_TOTALS | only the counters
        SHOW STREAM | the invalidation stream of each shard
        SHOW USERS | users and what they may do here
        SHOW VERSION | the version
        RELOAD | read the configuration again
        SHUTDOWN | finish what is under way and stop, as on SIGTERM"#]],
    );
    let config = text(&render(Show::Config, &view()));
    assert!(
        config.starts_with("key | value | changeable\ncluster | ringway | no\n"),
        "{config}"
    );
    assert!(
        config.contains("\nlimits.max_client_conn | 1000 | yes\n"),
        "{config}"
    );
    assert!(
        config.contains("\ncontrol_user.password | *** | no\n") && !config.contains("s3cret"),
        "{config}"
    );
}

#[test]
fn the_wire_form_has_a_description_the_rows_and_the_tag() {
    let mut out = BytesMut::new();
    render(Show::Slots, &view()).encode(&mut out);
    let tags: Vec<char> = frames(&out).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags, ['T', 'D', 'D', 'C']);
    let (_, description) = frames(&out)[0];
    let description = wire::backend::RowDescription::decode(description).expect("a description");
    let types: Vec<u32> = description.iter().map(|field| field.type_oid.0).collect();
    assert_eq!(types, [20, 20, 25, 20]);
}

fn frames(mut bytes: &[u8]) -> Vec<(char, &[u8])> {
    let mut frames = Vec::new();
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).expect("small") - 4;
        let (body, rest) = rest.split_at(length);
        frames.push((char::from(*tag), body));
        bytes = rest;
    }
    frames
}
