//! The whole text over one small cluster.

use super::exposition;
use crate::admin::tests::view;
use crate::metrics::{CacheResult, ErrorSource, LoginResult, PlanKind, ThreadStats, Totals};
use expect_test::expect;
use std::collections::BTreeSet;
use std::time::Duration;
use topology::EndpointId;

fn scrape() -> String {
    let thread = ThreadStats::new(1, 3);
    thread.add_request();
    thread.set_clients(1);
    thread.add_login(LoginResult::Accepted);
    thread.add_error(ErrorSource::Client);
    thread.add_statement(EndpointId(1));
    thread.database(0).query(Duration::from_micros(100));
    thread.database(0).query(Duration::from_secs(100));
    thread.database(0).plan(PlanKind::Single);
    thread.database(0).cache(CacheResult::Memory);
    exposition(Totals::of([&thread]), view()).expect("text")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one document")]
fn the_text_without_empty_samples() {
    let text = scrape();
    let shown = |line: &&str| !line.ends_with(" 0") && !line.ends_with(" 0.0");
    expect![[r##"
        # HELP ringway_build This proxy
        # TYPE ringway_build info
        ringway_build_info{version="0.1.0",region="us-east",proxy_id="us-east-6432"} 1
        # HELP ringway_map_version Version of the slot map in use
        # TYPE ringway_map_version gauge
        ringway_map_version 4
        # HELP ringway_slots Slots owned
        # TYPE ringway_slots gauge
        ringway_slots{shard="shard-0"} 8192
        ringway_slots{shard="shard-1"} 8192
        # HELP ringway_clients Clients connected
        # TYPE ringway_clients gauge
        ringway_clients 1
        # HELP ringway_pinned_connections Server connections that a client keeps between transactions, by what keeps it
        # TYPE ringway_pinned_connections gauge
        # HELP ringway_pins How often a client came to keep a server connection, by what kept it
        # TYPE ringway_pins counter
        # HELP ringway_logins Client connections begun, by how that ended
        # TYPE ringway_logins counter
        ringway_logins_total{result="accepted"} 1
        # HELP ringway_requests Requests of clients
        # TYPE ringway_requests counter
        ringway_requests_total 1
        # HELP ringway_errors Errors sent to clients, by whose fault they are
        # TYPE ringway_errors counter
        ringway_errors_total{source="client"} 1
        # HELP ringway_query_seconds Time of a statement
        # TYPE ringway_query_seconds histogram
        # UNIT ringway_query_seconds seconds
        ringway_query_seconds_sum{database="shop"} 100.0001
        ringway_query_seconds_count{database="shop"} 2
        ringway_query_seconds_bucket{le="0.000131072",database="shop"} 1
        ringway_query_seconds_bucket{le="0.000262144",database="shop"} 1
        ringway_query_seconds_bucket{le="0.000524288",database="shop"} 1
        ringway_query_seconds_bucket{le="0.001048576",database="shop"} 1
        ringway_query_seconds_bucket{le="0.002097152",database="shop"} 1
        ringway_query_seconds_bucket{le="0.004194304",database="shop"} 1
        ringway_query_seconds_bucket{le="0.008388608",database="shop"} 1
        ringway_query_seconds_bucket{le="0.016777216",database="shop"} 1
        ringway_query_seconds_bucket{le="0.033554432",database="shop"} 1
        ringway_query_seconds_bucket{le="0.067108864",database="shop"} 1
        ringway_query_seconds_bucket{le="0.134217728",database="shop"} 1
        ringway_query_seconds_bucket{le="0.268435456",database="shop"} 1
        ringway_query_seconds_bucket{le="0.536870912",database="shop"} 1
        ringway_query_seconds_bucket{le="1.073741824",database="shop"} 1
        ringway_query_seconds_bucket{le="2.147483648",database="shop"} 1
        ringway_query_seconds_bucket{le="4.294967296",database="shop"} 1
        ringway_query_seconds_bucket{le="8.589934592",database="shop"} 1
        ringway_query_seconds_bucket{le="17.179869184",database="shop"} 1
        ringway_query_seconds_bucket{le="34.359738368",database="shop"} 1
        ringway_query_seconds_bucket{le="68.719476736",database="shop"} 1
        ringway_query_seconds_bucket{le="+Inf",database="shop"} 2
        # HELP ringway_transaction_seconds Time of a transaction
        # TYPE ringway_transaction_seconds histogram
        # UNIT ringway_transaction_seconds seconds
        # HELP ringway_wait_seconds Time that a client waited for a server connection
        # TYPE ringway_wait_seconds histogram
        # UNIT ringway_wait_seconds seconds
        # HELP ringway_received_bytes Bytes from clients
        # TYPE ringway_received_bytes counter
        # UNIT ringway_received_bytes bytes
        # HELP ringway_sent_bytes Bytes to clients
        # TYPE ringway_sent_bytes counter
        # UNIT ringway_sent_bytes bytes
        # HELP ringway_plans Statements by plan
        # TYPE ringway_plans counter
        ringway_plans_total{database="shop",plan="single"} 1
        # HELP ringway_cache_lookups Statements that the cache may answer, by what it had
        # TYPE ringway_cache_lookups counter
        ringway_cache_lookups_total{database="shop",result="memory"} 1
        # HELP ringway_reads Reads by where they were answered: from memory, Redis, a replica or the primary
        # TYPE ringway_reads counter
        # HELP ringway_server_connections Server connections by state
        # TYPE ringway_server_connections gauge
        ringway_server_connections{database="shop",shard="shard-0",region="us-east",endpoint="10.0.0.1:5432",state="active"} 4
        ringway_server_connections{database="shop",shard="shard-0",region="us-east",endpoint="10.0.0.1:5432",state="idle"} 4
        ringway_server_connections{database="shop",shard="shard-0",region="us-west",endpoint="10.1.0.1:5432",state="idle"} 2
        # HELP ringway_clients_waiting Clients waiting for a server connection
        # TYPE ringway_clients_waiting gauge
        ringway_clients_waiting{database="shop",shard="shard-0",region="us-east",endpoint="10.0.0.1:5432"} 1
        # HELP ringway_endpoint_up Whether the last probes of the server succeeded
        # TYPE ringway_endpoint_up gauge
        ringway_endpoint_up{shard="shard-0",region="us-east",endpoint="10.0.0.1:5432"} 1
        ringway_endpoint_up{shard="shard-0",region="us-west",endpoint="10.1.0.1:5432"} 1
        # HELP ringway_endpoint_primary Whether the server says that it is a primary
        # TYPE ringway_endpoint_primary gauge
        ringway_endpoint_primary{shard="shard-0",region="us-east",endpoint="10.0.0.1:5432"} 1
        # HELP ringway_endpoint_round_trip_seconds Smoothed round-trip time of a probe
        # TYPE ringway_endpoint_round_trip_seconds gauge
        # UNIT ringway_endpoint_round_trip_seconds seconds
        ringway_endpoint_round_trip_seconds{shard="shard-0",region="us-east",endpoint="10.0.0.1:5432"} 0.00024
        ringway_endpoint_round_trip_seconds{shard="shard-0",region="us-west",endpoint="10.1.0.1:5432"} 0.00024
        ringway_endpoint_round_trip_seconds{shard="shard-1",region="us-east",endpoint="/run/pg:5433"} 0.00024
        # HELP ringway_replica_lag_seconds Everything acknowledged longer ago has been replayed, as far as is proved
        # TYPE ringway_replica_lag_seconds gauge
        # UNIT ringway_replica_lag_seconds seconds
        ringway_replica_lag_seconds{shard="shard-0",region="us-west",endpoint="10.1.0.1:5432"} 0.035
        # HELP ringway_endpoint_statements Statements sent to the server
        # TYPE ringway_endpoint_statements counter
        ringway_endpoint_statements_total{shard="shard-0",region="us-west",endpoint="10.1.0.1:5432"} 1
        # HELP ringway_cache_events What the stores of the cache did
        # TYPE ringway_cache_events counter
        ringway_cache_events_total{part="redis",item="errors"} 1
        # HELP ringway_cache_bytes Bytes in the stores of the cache, and their bounds
        # TYPE ringway_cache_bytes gauge
        # UNIT ringway_cache_bytes bytes
        ringway_cache_bytes{part="memory",item="bytes"} 1234
        # HELP ringway_cache_items What the stores of the cache hold
        # TYPE ringway_cache_items gauge
        ringway_cache_items{part="memory",item="entries"} 3
        # HELP ringway_stream_following Whether the invalidation stream is being followed; else the cache is not used
        # TYPE ringway_stream_following gauge
        ringway_stream_following{shard="shard-0",database="shop"} 1
        # HELP ringway_stream_lag_seconds Everything acknowledged longer ago has been applied, as far as is proved
        # TYPE ringway_stream_lag_seconds gauge
        # UNIT ringway_stream_lag_seconds seconds
        ringway_stream_lag_seconds{shard="shard-0",database="shop"} 0.012
        # HELP ringway_stream_messages Messages applied
        # TYPE ringway_stream_messages counter
        ringway_stream_messages_total{shard="shard-0",database="shop"} 7
        ringway_stream_messages_total{shard="shard-1",database="shop"} 7
        # HELP ringway_stream_gaps Gaps seen
        # TYPE ringway_stream_gaps counter
        ringway_stream_gaps_total{shard="shard-0",database="shop"} 1
        ringway_stream_gaps_total{shard="shard-1",database="shop"} 1
        # EOF"##]].assert_eq(&text.lines().filter(shown).collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_sample_occurs_twice_and_every_family_is_declared_once() {
    let text = scrape();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name))
        .collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("s3cret"));
}
