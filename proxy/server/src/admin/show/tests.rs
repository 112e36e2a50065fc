//! Every SHOW over one small cluster, with its exact columns and rows.

use super::{columns, render};
use crate::admin::table::{Table, describe};
use crate::admin::{
    AdminCommand, AdminView, CacheKind, CacheRow, ClientRow, ClientState, GateRow, MemoryRow, PoolRow,
    ProxyMode, PublisherRow, ServerConnectionState, ServerRow, StatsAverages, StatsRow, StreamRow,
    StreamState,
};
use bytes::BytesMut;
use expect_test::{Expect, expect};
use session::admin::Show;
use settings::{Input, Settings};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use topology::{
    EndpointId, EndpointState, Epoch, Health, Lsn, Mono, Position, ReplaySample, Role, ShardId, ShardState,
    SlotMap, Snapshot, Timeline,
};
use wire::Format;

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
#[allow(clippy::too_many_lines, reason = "one value, written out")]
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
        used: 0,
        tested: 0,
        size: 10,
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
            local: Some("192.0.2.1:6432".parse().expect("an address")),
            remote_pid: None,
            fd: Some(9),
            connected_at: at,
            request_at: None,
            waited: Duration::from_micros(1_500_020),
            tls: true,
            application_name: "psql".to_owned(),
            prepared_statements: 2,
            pinned: session::state::Pins::LISTEN.union(session::state::Pins::TEMPORARY),
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
            pinned: session::state::Pins::LISTEN,
            remote_pid: 4242,
            tls: false,
            fd: Some(12),
            prepared_statements: Some(3),
            thread: 0,
        }],
        mode: ProxyMode::Active,
        gates: [(
            "shop".to_owned(),
            GateRow {
                paused: true,
                disabled: false,
            },
        )]
        .into(),
        logins: 2,
        memory: vec![MemoryRow {
            name: "client_cache",
            size: 400,
            used: 1,
            free: 0,
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
        assignments: 15,
        client_parses: 4,
        server_parses: 3,
        binds: 12,
        averages: StatsAverages {
            transactions: 1,
            queries: 2,
            received_bytes: 30,
            sent_bytes: 400,
            transaction_time: Duration::from_micros(500),
            query_time: Duration::from_micros(225),
            wait_time: Duration::ZERO,
            assignments: 1,
            ..StatsAverages::default()
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
    let commands = AdminCommand::parse(sql);
    let Ok([AdminCommand::Show(show)]) = commands.as_deref() else {
        panic!("{sql} is no SHOW")
    };
    let table = render(*show, &view());
    assert_eq!(table.columns, columns(*show));
    expect.assert_eq(&text(&table));
}

#[test]
fn connections() {
    check(
        "SHOW POOLS",
        &expect![[r#"
            database | user | cl_active | cl_waiting | cl_active_cancel_req | cl_waiting_cancel_req | sv_active | sv_active_cancel | sv_being_canceled | sv_idle | sv_used | sv_tested | sv_login | maxwait | maxwait_us | pool_mode | load_balance_hosts
            pgbouncer | pgbouncer | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | statement | -
            shop | shop | 0 | 1 | 0 | 0 | 4 | 0 | 0 | 6 | 0 | 0 | 0 | 1 | 500000 | transaction | -"#]],
    );
    check(
        "SHOW CLIENTS",
        &expect![[r#"
            type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | close_needed | ptr | link | remote_pid | tls | application_name | prepared_statements | id | replication | activity | thread | pinned
            C | shop | shop | waiting | 192.0.2.7 | 50001 | 192.0.2.1 | 6432 | 2026-11-22 05:36:47 UTC |  | 1 | 500020 | 0 | 0xc0000000000b | 0x500000000004 | 0 | TLS | psql | 2 | 11 | none | waiting | 0 | listen,temporary"#]],
    );
    check(
        "SHOW SERVERS",
        &expect![[r#"
            type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | close_needed | ptr | link | remote_pid | tls | application_name | prepared_statements | id | replication | shard | region | thread | pinned
            S | shop | shop | active | 10.1.0.1 | 5432 | 10.0.0.9 | 40000 | 2026-11-22 05:36:47 UTC | 2026-11-22 05:37:47 UTC | 0 | 0 | 0 | 0x500000000004 | 0xc0000000000b | 4242 |  | psql | 3 | 4 | none | shard-0 | us-west | 0 | listen"#]],
    );
}

#[test]
fn counters() {
    check(
        "SHOW STATS",
        &expect![[r#"
            database | total_xact_count | total_query_count | total_received | total_sent | total_xact_time | total_query_time | total_wait_time | avg_xact_count | avg_query_count | avg_recv | avg_sent | avg_xact_time | avg_query_time | avg_wait_time | total_server_assignment_count | total_client_parse_count | total_server_parse_count | total_bind_count | avg_server_assignment_count | avg_client_parse_count | avg_server_parse_count | avg_bind_count
            shop | 10 | 20 | 300 | 4000 | 5000 | 4500 | 1 | 1 | 2 | 30 | 400 | 500 | 225 | 0 | 15 | 4 | 3 | 12 | 1 | 0 | 0 | 0"#]],
    );
    check(
        "SHOW STATS_TOTALS",
        &expect![[r#"
            database | xact_count | query_count | bytes_received | bytes_sent | xact_time | query_time | wait_time | server_assignment_count | client_parse_count | server_parse_count | bind_count
            shop | 10 | 20 | 300 | 4000 | 5000 | 4500 | 1 | 15 | 4 | 3 | 12"#]],
    );
    check(
        "SHOW STATS_AVERAGES",
        &expect![[r#"
            database | xact_count | query_count | bytes_received | bytes_sent | xact_time | query_time | wait_time | server_assignment_count | client_parse_count | server_parse_count | bind_count
            shop | 1 | 2 | 30 | 400 | 500 | 225 | 0 | 1 | 0 | 0 | 0"#]],
    );
    check(
        "SHOW LISTS",
        &expect![[r#"
            list | items
            databases | 2
            users | 2
            pools | 2
            free_clients | 0
            used_clients | 1
            login_clients | 2
            free_servers | 0
            used_servers | 1
            dns_names | 0
            dns_zones | 0
            dns_queries | 0
            dns_pending | 0
            shards | 2
            endpoints | 3
            tables | 1
            idle_servers | 0"#]],
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
            name | host | port | database | force_user | pool_size | min_pool_size | reserve_pool | pool_mode | max_connections | current_connections | paused | disabled | reserve_pool_size | server_lifetime | load_balance_hosts | max_client_connections | current_client_connections | default_shard
            pgbouncer | - | 6432 | pgbouncer | pgbouncer | 2 | 0 | 0 | statement | 0 | 0 | 0 | 0 | 0 | 0 | - | 0 | 0 | -
            shop | 10.0.0.1 | 5432 | shop | - | 20 | 0 | 0 | - | 0 | 1 | 1 | 0 | 0 | 3600 | - | 0 | 1 | shard-0"#]],
    );
    check(
        "SHOW USERS",
        &expect![[r#"
            name | pool_mode | pool_size | reserve_pool_size | max_user_connections | current_connections | max_user_client_connections | current_client_connections | admin_rights
            shop | - | - | - | 0 | 1 | 0 | 1 | stats
            ringway | - | - | - | 0 | 0 | 0 | 0 | admin"#]],
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
            SHOW ACTIVE_SOCKETS | sockets of clients and servers that are at work
            SHOW CACHE | what the stores of the cache hold and did
            SHOW CLIENTS | client connections
            SHOW CONFIG | settings, their defaults, and which of them SET and RELOAD can change
            SHOW DATABASES | databases
            SHOW DNS_HOSTS | host names that are kept: none
            SHOW DNS_ZONES | zones that are kept: none
            SHOW FDS | file descriptors of clients and servers
            SHOW HELP | these commands
            SHOW LISTS | how many of everything there are
            SHOW MEM | memory for clients, servers and pools
            SHOW PEERS | peers that share cancel requests: none
            SHOW PEER_POOLS | pools towards peers: none
            SHOW POOLS | clients and server connections of each database and user
            SHOW REPLICAS | servers: role, replay position, lag, round-trip time
            SHOW SERVER_POOLS | pools of server connections, one for each database, user and server
            SHOW SERVERS | server connections
            SHOW SHARDS | shards: primary, slots, healthy servers
            SHOW SLOTS | which shard owns which slots
            SHOW SOCKETS | sockets of clients and servers
            SHOW STATE | whether the proxy is active, paused or suspended
            SHOW STATS | counters and averages of each database
            SHOW STATS_AVERAGES | only the averages
            SHOW STATS_TOTALS | only the counters
            SHOW STREAM | the invalidation stream of each shard
            SHOW TOTALS | counters and averages over all databases
            SHOW USERS | users, their limits and what they may do here
            SHOW VERSION | the version
            SET key = value | change a setting of this process, until RELOAD
            RELOAD | read the configuration again
            PAUSE [db] | close server connections as they come to rest; clients wait
            RESUME [db] | let clients go on after PAUSE, KILL or SUSPEND
            DISABLE db | refuse new clients
            ENABLE db | let them in again
            RECONNECT [db] | replace server connections as they come to rest
            KILL [db] | drop clients and server connections at once, and pause
            KILL_CLIENT id | drop one client (the id is that of SHOW CLIENTS)
            SUSPEND | take nothing more from clients until RESUME
            SHUTDOWN | stop at once
            SHUTDOWN WAIT_FOR_SERVERS | stop when transactions are finished, as on SIGTERM
            SHUTDOWN WAIT_FOR_CLIENTS | stop when all clients have left
            WAIT_CLOSE [db] | wait until connections that RECONNECT or RELOAD has replaced are closed"#]],
    );
    let config = text(&render(Show::Config, &view()));
    assert!(
        config.starts_with("key | value | default | changeable\nadmin_users | ringway |  | yes\n"),
        "{config}"
    );
    assert!(
        config.contains("\nlimits.max_client_conn | 1000 | - | yes\n"),
        "{config}"
    );
    for theirs in [
        "max_client_conn | 1000 | 100 | yes",
        "query_wait_timeout | 120 | 120 | yes",
        "query_timeout | 0 | 0 | yes",
        "max_packet_size | 67108864 | 2147483647 | yes",
        "tcp_keepalive | 1 | 1 | no",
    ] {
        assert!(config.contains(&format!("\n{theirs}\n")), "{theirs}: {config}");
    }
    assert!(
        config.contains("\ncontrol_user.password | *** | - | no\n") && !config.contains("s3cret"),
        "{config}"
    );
}

#[test]
fn pgbouncers_own() {
    check(
        "SHOW SERVER_POOLS",
        &expect![[r#"
        database | user | shard | region | host | port | cl_waiting | sv_active | sv_idle | sv_used | sv_tested | sv_login | maxwait | maxwait_us | pool_size | pool_mode
        shop | shop | shard-0 | us-east | 10.0.0.1 | 5432 | 1 | 4 | 4 | 0 | 0 | 0 | 1 | 500000 | 20 | transaction
        shop | shop | shard-0 | us-west | 10.1.0.1 | 5432 | 0 | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 10 | transaction"#]],
    );
    check(
        "SHOW SOCKETS",
        &expect![[r#"
        type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | close_needed | ptr | link | remote_pid | tls | application_name | recv_pos | pkt_pos | pkt_remain | send_pos | send_remain | pkt_avail | send_avail | prepared_statements | id | replication
        C | shop | shop | cl_waiting | 192.0.2.7 | 50001 | 192.0.2.1 | 6432 | 2026-11-22 05:36:47 UTC |  | 1 | 500020 | 0 | 0xc0000000000b | 0x500000000004 | 0 | TLS | psql | - | - | - | - | - | - | - | 2 | 11 | none
        S | shop | shop | sv_active | 10.1.0.1 | 5432 | 10.0.0.9 | 40000 | 2026-11-22 05:36:47 UTC | 2026-11-22 05:37:47 UTC | 0 | 0 | 0 | 0x500000000004 | 0xc0000000000b | 4242 |  | psql | - | - | - | - | - | - | - | 3 | 4 | none"#]],
    );
    check(
        "SHOW ACTIVE_SOCKETS",
        &expect![[r#"
        type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | close_needed | ptr | link | remote_pid | tls | application_name | recv_pos | pkt_pos | pkt_remain | send_pos | send_remain | pkt_avail | send_avail | prepared_statements | id | replication
        C | shop | shop | cl_waiting | 192.0.2.7 | 50001 | 192.0.2.1 | 6432 | 2026-11-22 05:36:47 UTC |  | 1 | 500020 | 0 | 0xc0000000000b | 0x500000000004 | 0 | TLS | psql | - | - | - | - | - | - | - | 2 | 11 | none
        S | shop | shop | sv_active | 10.1.0.1 | 5432 | 10.0.0.9 | 40000 | 2026-11-22 05:36:47 UTC | 2026-11-22 05:37:47 UTC | 0 | 0 | 0 | 0x500000000004 | 0xc0000000000b | 4242 |  | psql | - | - | - | - | - | - | - | 3 | 4 | none"#]],
    );
    check(
        "SHOW FDS",
        &expect![[r#"
        fd | task | user | database | addr | port | cancel | link | client_encoding | std_strings | datestyle | timezone | password | scram_client_key | scram_server_key
        9 | client | shop | shop | 192.0.2.7 | 50001 | 0 | 12 | - | - | - | - | - | - | -
        12 | server | shop | shop | 10.1.0.1 | 5432 | 0 | 9 | - | - | - | - | - | - | -"#]],
    );
    check(
        "SHOW STATE",
        &expect![[r#"
        key | value
        active | yes
        paused | no
        suspended | no"#]],
    );
    check(
        "SHOW MEM",
        &expect![[r#"
        name | size | used | free | memtotal
        client_cache | 400 | 1 | 0 | 400"#]],
    );
    check(
        "SHOW TOTALS",
        &expect![[r#"
        name | value
        total_xact_count | 10
        total_query_count | 20
        total_client_bytes | 300
        total_server_bytes | 4000
        total_xact_time | 5000
        total_query_time | 4500
        total_wait_time | 1
        avg_xact_count | 1
        avg_query_count | 2
        avg_client_bytes | 30
        avg_server_bytes | 400
        avg_xact_time | 500
        avg_query_time | 225
        avg_wait_time | 0
        total_server_assignment_count | 15
        total_client_parse_count | 4
        total_server_parse_count | 3
        total_bind_count | 12
        avg_server_assignment_count | 1
        avg_client_parse_count | 0
        avg_server_parse_count | 0
        avg_bind_count | 0"#]],
    );
    check(
        "SHOW USERS",
        &expect![[r#"
        name | pool_mode | pool_size | reserve_pool_size | max_user_connections | current_connections | max_user_client_connections | current_client_connections | admin_rights
        shop | - | - | - | 0 | 1 | 0 | 1 | stats
        ringway | - | - | - | 0 | 0 | 0 | 0 | admin"#]],
    );
    check("SHOW DNS_HOSTS", &expect!["hostname | ttl | addrs"]);
    check("SHOW DNS_ZONES", &expect!["zonename | serial | count"]);
    check("SHOW PEERS", &expect!["peer_id | host | port | pool_size"]);
    check(
        "SHOW PEER_POOLS",
        &expect!["database | cl_active_cancel_req | cl_waiting_cancel_req | sv_active_cancel | sv_login"],
    );
}

#[test]
fn the_wire_form_has_a_description_and_the_rows() {
    let mut out = BytesMut::new();
    let table = render(Show::Slots, &view());
    let binary = |place: usize| if place == 0 { Format::Binary } else { Format::Text };
    describe(table.columns, binary, &mut out);
    for row in &table.rows {
        table.encode_row(row, binary, &mut out).expect("small numbers");
    }
    let frames = frames(&out);
    let tags: String = frames.iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags, "TDD");
    let description = wire::backend::RowDescription::decode(frames[0].1).expect("a description");
    let types: Vec<(u32, i16)> = description
        .iter()
        .map(|field| (field.type_oid.0, field.format))
        .collect();
    assert_eq!(types, [(20, 1), (20, 0), (25, 0), (20, 0)]);
    let row = wire::backend::DataRow::decode(frames[2].1).expect("a row");
    assert_eq!(row.values.get(0).flatten(), Some(&8192_i64.to_be_bytes()[..]));
    assert_eq!(row.values.get(1).flatten(), Some(&b"16383"[..]));
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
