//! The text that Prometheus scrapes.

use super::counters::{BUCKETS, CaseTotals, HistogramTotal, bucket_ends};
use super::{Case, DatabaseTotals, Totals};
use crate::admin::{AdminView, CacheKind, CacheRow, StreamRow, StreamState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use session::state::Pins;
use std::fmt;
use std::time::Duration;
use topology::{Endpoint, Health, Role, ShardId};

/// What `/metrics` is served as.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything in OpenMetrics' text form.
///
/// # Errors
/// Only if a metric can't be written as text, which would be a fault of ours.
pub(crate) fn exposition(totals: Totals, view: AdminView) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("ringway");
    registry.register_collector(Box::new(Scrape { totals, view }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// One scrape: what was counted and seen just before.
#[derive(Debug)]
struct Scrape {
    totals: Totals,
    view: AdminView,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let out = &mut encoder;
        self.process(out)?;
        self.clients(out)?;
        self.databases(out)?;
        self.pools(out)?;
        self.servers(out)?;
        self.cache(out)?;
        self.stream(out)
    }
}

/// For samples that carry none.
type NoLabels = [(&'static str, &'static str); 0];

/// A label's name and value.
type Label = (&'static str, String);

fn counter(family: &mut MetricEncoder<'_>, labels: &[Label], value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(family.encode_family(&labels)?)
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &[Label], value: u64) -> fmt::Result {
    gauge_alone(family.encode_family(&labels)?, value)
}

fn gauge_alone(encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}

fn seconds(family: &mut MetricEncoder<'_>, labels: &[Label], time: Duration) -> fmt::Result {
    ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&labels)?)
}

fn cases<C: Case>(
    family: &mut MetricEncoder<'_>,
    labels: &[Label],
    name: &'static str,
    totals: &CaseTotals<C>,
) -> fmt::Result {
    for (case, value) in totals.iter() {
        counter(family, &[labels, &[(name, case.to_owned())]].concat(), value)?;
    }
    Ok(())
}

fn histogram(family: &mut MetricEncoder<'_>, labels: &[Label], total: &HistogramTotal) -> fmt::Result {
    let mut buckets = [(0.0, 0); BUCKETS];
    for (bucket, (end, count)) in buckets
        .iter_mut()
        .zip(bucket_ends().into_iter().zip(total.buckets))
    {
        *bucket = (end, count);
    }
    let mut encoder = family.encode_family(&labels)?;
    encoder.encode_histogram::<NoLabels>(total.time.as_secs_f64(), total.count(), &buckets, None)
}

impl Scrape {
    fn process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let settings = &self.view.settings;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("region", settings.region.as_str()),
            ("proxy_id", settings.proxy_id.as_str()),
        ];
        out.encode_descriptor("build", "This proxy", None, MetricType::Info)?
            .encode_info(&labels)?;
        let help = "Version of the slot map in use";
        let family = out.encode_descriptor("map_version", help, None, MetricType::Gauge)?;
        gauge_alone(family, self.view.snapshot.map.version())?;
        let mut family = out.encode_descriptor("slots", "Slots owned", None, MetricType::Gauge)?;
        for shard in &self.view.snapshot.shards {
            let owned = self.view.snapshot.map.owned_by(shard.id);
            gauge(&mut family, &[("shard", shard.name.to_string())], number(owned))?;
        }
        Ok(())
    }

    fn clients(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let family = out.encode_descriptor("clients", "Clients connected", None, MetricType::Gauge)?;
        gauge_alone(family, self.totals.clients)?;
        let help = "Server connections that a client keeps between transactions, by what keeps it";
        let mut family = out.encode_descriptor("pinned_connections", help, None, MetricType::Gauge)?;
        for ((_, reason), (held, _)) in Pins::NAMES.iter().zip(self.totals.pins) {
            gauge(&mut family, &[("reason", (*reason).to_owned())], held)?;
        }
        let help = "How often a client came to keep a server connection, by what kept it";
        let mut family = out.encode_descriptor("pins", help, None, MetricType::Counter)?;
        for ((_, reason), (_, taken)) in Pins::NAMES.iter().zip(self.totals.pins) {
            counter(&mut family, &[("reason", (*reason).to_owned())], taken)?;
        }
        let help = "Client connections begun, by how that ended";
        let mut family = out.encode_descriptor("logins", help, None, MetricType::Counter)?;
        cases(&mut family, &[], "result", &self.totals.logins)?;
        let family = out.encode_descriptor("requests", "Requests of clients", None, MetricType::Counter)?;
        ConstCounter::new(self.totals.requests).encode(family)?;
        let help = "Errors sent to clients, by whose fault they are";
        let mut family = out.encode_descriptor("errors", help, None, MetricType::Counter)?;
        cases(&mut family, &[], "source", &self.totals.errors)
    }

    fn databases(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = self
            .view
            .settings
            .databases
            .iter()
            .map(|database| [("database", database.name.clone())]);
        let all: Vec<([Label; 1], &DatabaseTotals)> = names.zip(&self.totals.databases).collect();
        let unit = Some(&Unit::Seconds);
        let mut family =
            out.encode_descriptor("query", "Time of a statement", unit, MetricType::Histogram)?;
        for (labels, total) in &all {
            histogram(&mut family, labels, &total.queries)?;
        }
        let mut family = out.encode_descriptor(
            "transaction",
            "Time of a transaction",
            unit,
            MetricType::Histogram,
        )?;
        for (labels, total) in &all {
            histogram(&mut family, labels, &total.transactions)?;
        }
        let help = "Time that a client waited for a server connection";
        let mut family = out.encode_descriptor("wait", help, unit, MetricType::Histogram)?;
        for (labels, total) in &all {
            histogram(&mut family, labels, &total.waits)?;
        }
        let unit = Some(&Unit::Bytes);
        let mut family =
            out.encode_descriptor("received", "Bytes from clients", unit, MetricType::Counter)?;
        for (labels, total) in &all {
            counter(&mut family, labels, total.received)?;
        }
        let mut family = out.encode_descriptor("sent", "Bytes to clients", unit, MetricType::Counter)?;
        for (labels, total) in &all {
            counter(&mut family, labels, total.sent)?;
        }
        let mut family = out.encode_descriptor("plans", "Statements by plan", None, MetricType::Counter)?;
        for (labels, total) in &all {
            cases(&mut family, labels, "plan", &total.plans)?;
        }
        let help = "Statements that the cache may answer, by what it had";
        let mut family = out.encode_descriptor("cache_lookups", help, None, MetricType::Counter)?;
        for (labels, total) in &all {
            cases(&mut family, labels, "result", &total.cache)?;
        }
        let help = "Reads by where they were answered: from memory, Redis, a replica or the primary";
        let mut family = out.encode_descriptor("reads", help, None, MetricType::Counter)?;
        for (labels, total) in &all {
            cases(&mut family, labels, "source", &total.reads)?;
        }
        Ok(())
    }

    fn pools(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sums = self.pool_sums();
        let help = "Server connections by state";
        let mut family = out.encode_descriptor("server_connections", help, None, MetricType::Gauge)?;
        for (labels, sum) in &sums {
            for (state, count) in [
                ("active", sum.active),
                ("idle", sum.idle),
                ("login", sum.connecting),
            ] {
                let labels = [&labels[..], &[("state", state.to_owned())]].concat();
                gauge(&mut family, &labels, number(count))?;
            }
        }
        let help = "Clients waiting for a server connection";
        let mut family = out.encode_descriptor("clients_waiting", help, None, MetricType::Gauge)?;
        for (labels, sum) in &sums {
            gauge(&mut family, labels, number(sum.waiting))?;
        }
        Ok(())
    }

    /// Pools added up over users and data threads, for each database and server.
    fn pool_sums(&self) -> Vec<(Vec<Label>, PoolSum)> {
        let settings = &self.view.settings;
        let databases = settings.databases.iter();
        let pairs = databases.flat_map(|database| settings.endpoints().map(move |server| (database, server)));
        pairs
            .map(|(database, server)| {
                let mut sum = PoolSum::default();
                for pool in &self.view.pools {
                    if pool.endpoint == server.endpoint.id && pool.database == database.name {
                        sum.active += pool.active;
                        sum.idle += pool.idle + pool.used;
                        sum.connecting += pool.connecting;
                        sum.waiting += pool.waiting;
                    }
                }
                let database = [("database", database.name.clone())];
                (
                    [&database[..], &self.server_labels(&server.endpoint)].concat(),
                    sum,
                )
            })
            .collect()
    }

    fn server_labels(&self, endpoint: &Endpoint) -> [Label; 3] {
        [
            ("shard", self.shard_name(endpoint.shard)),
            ("region", endpoint.region.to_string()),
            ("endpoint", format!("{}:{}", endpoint.host, endpoint.port)),
        ]
    }

    fn shard_name(&self, id: ShardId) -> String {
        self.view
            .settings
            .shard(id)
            .map_or_else(String::new, |shard| shard.name.to_string())
    }

    fn servers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let endpoints = self
            .view
            .snapshot
            .shards
            .iter()
            .flat_map(|shard| &shard.endpoints);
        let states: Vec<_> = endpoints
            .map(|state| (self.server_labels(&state.endpoint), state))
            .collect();
        let help = "Whether the last probes of the server succeeded";
        let mut family = out.encode_descriptor("endpoint_up", help, None, MetricType::Gauge)?;
        for (labels, state) in &states {
            gauge(&mut family, labels, u64::from(state.health == Health::Up))?;
        }
        let help = "Whether the server says that it is a primary";
        let mut family = out.encode_descriptor("endpoint_primary", help, None, MetricType::Gauge)?;
        for (labels, state) in &states {
            gauge(&mut family, labels, u64::from(state.role == Some(Role::Primary)))?;
        }
        let unit = Some(&Unit::Seconds);
        let help = "Smoothed round-trip time of a probe";
        let mut family = out.encode_descriptor("endpoint_round_trip", help, unit, MetricType::Gauge)?;
        for (labels, state) in &states {
            seconds(&mut family, labels, state.round_trip)?;
        }
        let help = "Everything acknowledged longer ago has been replayed, as far as is proved";
        let mut family = out.encode_descriptor("replica_lag", help, unit, MetricType::Gauge)?;
        for (labels, state) in &states {
            if let Some(fresh) = state.fresh_as_of {
                seconds(&mut family, labels, self.view.now.since(fresh))?;
            }
        }
        let help = "Statements sent to the server";
        let mut family = out.encode_descriptor("endpoint_statements", help, None, MetricType::Counter)?;
        for (server, statements) in self.view.settings.endpoints().zip(&self.totals.endpoints) {
            counter(&mut family, &self.server_labels(&server.endpoint), *statements)?;
        }
        Ok(())
    }

    fn cache(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let rows = |kind| self.view.cache.iter().filter(move |row| row.kind == kind);
        let labels = |row: &CacheRow| [("part", row.part.to_owned()), ("item", row.item.to_owned())];
        let help = "What the stores of the cache did";
        let mut family = out.encode_descriptor("cache_events", help, None, MetricType::Counter)?;
        for row in rows(CacheKind::Events) {
            counter(&mut family, &labels(row), row.value)?;
        }
        let help = "Bytes in the stores of the cache, and their bounds";
        let mut family = out.encode_descriptor("cache", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for row in rows(CacheKind::Bytes) {
            gauge(&mut family, &labels(row), row.value)?;
        }
        let help = "What the stores of the cache hold";
        let mut family = out.encode_descriptor("cache_items", help, None, MetricType::Gauge)?;
        for row in rows(CacheKind::Items) {
            gauge(&mut family, &labels(row), row.value)?;
        }
        Ok(())
    }

    fn stream(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let labels = |row: &StreamRow| {
            [
                ("shard", self.shard_name(row.shard)),
                ("database", row.database.clone()),
            ]
        };
        let help = "Whether the invalidation stream is being followed; else the cache is not used";
        let mut family = out.encode_descriptor("stream_following", help, None, MetricType::Gauge)?;
        for row in &self.view.stream {
            gauge(
                &mut family,
                &labels(row),
                u64::from(matches!(row.state, StreamState::Following { .. })),
            )?;
        }
        let help = "Everything acknowledged longer ago has been applied, as far as is proved";
        let mut family =
            out.encode_descriptor("stream_lag", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for row in &self.view.stream {
            if let StreamState::Following {
                fresh_as_of: Some(fresh),
                ..
            } = row.state
            {
                seconds(&mut family, &labels(row), self.view.now.since(fresh))?;
            }
        }
        let mut family =
            out.encode_descriptor("stream_messages", "Messages applied", None, MetricType::Counter)?;
        for row in &self.view.stream {
            counter(&mut family, &labels(row), row.applied)?;
        }
        let mut family = out.encode_descriptor("stream_gaps", "Gaps seen", None, MetricType::Counter)?;
        for row in &self.view.stream {
            counter(&mut family, &labels(row), row.gaps)?;
        }
        Ok(())
    }
}

/// Connections and waiting clients of several pools.
#[derive(Default)]
struct PoolSum {
    active: usize,
    idle: usize,
    connecting: usize,
    waiting: usize,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
