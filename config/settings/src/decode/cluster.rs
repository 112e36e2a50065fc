//! Shards with their servers, and how the tables are spread over them.

use super::access::{distinct, name, shard_called};
use super::{Files, sections};
use crate::context::Reported;
use crate::document::{Choice, Field, Section};
use crate::error::{Place, Problem, nearest};
use crate::model::{Database, ServerTls, Shard, ShardEndpoint};
use crate::units::parse_duration;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use topology::{
    CacheLevel, CachePolicy, Endpoint, EndpointId, GateClosed, RegionName, ShardId, Sharding, TableConfig,
    TableName,
};

/// More shards than anyone runs, and few enough for a 16-bit number.
const MAX_SHARDS: usize = 1024;
/// Endpoints have 16-bit numbers.
const MAX_ENDPOINTS: usize = 65536;
const DEFAULT_SCHEMA: &str = "public";
const DEFAULT_REPLICA_BOUND: Duration = Duration::from_secs(10);
const DEFAULT_CACHE_BOUND: Duration = Duration::from_secs(2);
const DEFAULT_CACHE_TTL: Duration = Duration::from_secs(5 * 60);
const DEFAULT_CACHE_BYTES: u64 = 64 << 10;
/// Bounds of freshness: below, nothing qualifies; above, nobody means it.
const BOUND: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
const TTL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 24 * 60 * 60);
const CACHED_BYTES: RangeInclusive<u64> = 1..=(64 << 20);

#[derive(Clone, Copy)]
enum ServerTlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const SERVER_TLS_MODES: [Choice<ServerTlsMode>; 5] = [
    ("disable", Ok(ServerTlsMode::Disable)),
    ("prefer", Ok(ServerTlsMode::Prefer)),
    ("require", Ok(ServerTlsMode::Require)),
    ("verify-ca", Ok(ServerTlsMode::VerifyCa)),
    ("verify-full", Ok(ServerTlsMode::VerifyFull)),
];

#[derive(Clone, Copy)]
enum Kind {
    Hash,
    Reference,
    Single,
}

const KINDS: [Choice<Kind>; 5] = [
    ("hash", Ok(Kind::Hash)),
    ("reference", Ok(Kind::Reference)),
    ("single", Ok(Kind::Single)),
    ("range", Err("sharding by range is not available yet")),
    ("list", Err("sharding by list is not available yet")),
];

const NEVER_CACHED: Result<CacheLevel, &str> = Err("reads at this level are never answered from the cache");
const CACHE_LEVELS: [Choice<CacheLevel>; 4] = [
    ("ryw", Ok(CacheLevel::Ryw)),
    ("bounded", Ok(CacheLevel::Bounded)),
    ("session", Err("this level is not available yet")),
    ("strong", NEVER_CACHED),
];

pub(super) fn shards(
    root: &Section<'_>,
    files: &Files<'_>,
    regions: Option<&Field<Vec<Field<String>>>>,
) -> Result<Vec<Shard>, Reported> {
    let sections = root.list("shard");
    if sections.is_empty() || sections.len() > MAX_SHARDS {
        let message = format!(
            "the configuration has {} [[shard]]; 1 to {MAX_SHARDS} are needed",
            sections.len()
        );
        return Err(root.report(Problem::new(&root.place(), message)));
    }
    let known: Option<Vec<&str>> =
        regions.map(|list| list.value.iter().map(|region| region.value.as_str()).collect());
    let mut next_endpoint: u16 = 0;
    let mut shards = Vec::new();
    let mut outcome = Ok(());
    for (id, section) in (0..).map(ShardId).zip(&sections) {
        match shard(section, files, id, known.as_deref(), &mut next_endpoint) {
            Ok(shard) => shards.push(shard),
            Err(reported) => outcome = Err(reported),
        }
    }
    outcome?;
    distinct(
        root,
        "shard",
        shards
            .iter()
            .map(|(shard, place, _)| (shard.name.to_string(), place)),
    )?;
    let servers = shards.iter().flat_map(|(shard, _, places)| {
        let addresses = shard
            .endpoints
            .iter()
            .map(|e| format!("{}:{}", e.endpoint.host, e.endpoint.port));
        addresses.zip(places)
    });
    distinct(root, "the server", servers)?;
    Ok(shards.into_iter().map(|(shard, _, _)| shard).collect())
}

type Placed = (Shard, Place, Vec<Place>);

fn shard(
    section: &Section<'_>,
    files: &Files<'_>,
    id: ShardId,
    regions: Option<&[&str]>,
    next_endpoint: &mut u16,
) -> Result<Placed, Reported> {
    let name = name(section);
    let sections = section.list("endpoint");
    section.close();
    let mut endpoints = Vec::new();
    let mut places = Vec::new();
    let mut outcome = Ok(());
    for server in &sections {
        let number = EndpointId(*next_endpoint);
        *next_endpoint = next_endpoint.checked_add(1).ok_or_else(|| {
            section.report(Problem::new(
                &server.place(),
                format!("more than {MAX_ENDPOINTS} endpoints"),
            ))
        })?;
        match endpoint(server, files, id, number, regions) {
            Ok((endpoint, place)) => {
                endpoints.push(endpoint);
                places.push(place);
            }
            Err(reported) => outcome = Err(reported),
        }
    }
    let name = name?;
    outcome?;
    if endpoints.is_empty() {
        let problem = Problem::new(
            &name.place,
            format!("shard `{}` has no [[shard.endpoint]]", name.value),
        );
        return Err(section.report(problem));
    }
    Ok((
        Shard {
            id,
            name: Arc::from(name.value),
            endpoints,
        },
        name.place,
        places,
    ))
}

fn endpoint(
    section: &Section<'_>,
    files: &Files<'_>,
    shard: ShardId,
    id: EndpointId,
    regions: Option<&[&str]>,
) -> Result<(ShardEndpoint, Place), Reported> {
    let region = section
        .required_text("region")
        .and_then(|field| region(section, &field, regions));
    let host = section.required_text("host");
    let port = sections::port(section, "port");
    let tls = server_tls(section, files);
    section.close();
    let (region, host) = (region?, host?);
    let Some(port) = port? else {
        return Err(section.report(Problem::new(&section.place(), "[[shard.endpoint]] has no `port`")));
    };
    if host.value.contains(char::is_whitespace) {
        return Err(section.report(Problem::new(&host.place, "`host` holds a blank")));
    }
    let endpoint = Arc::new(Endpoint {
        id,
        shard,
        region,
        host: host.value,
        port: port.value,
    });
    Ok((ShardEndpoint { endpoint, tls: tls? }, port.place))
}

fn region(
    section: &Section<'_>,
    field: &Field<String>,
    known: Option<&[&str]>,
) -> Result<RegionName, Reported> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !field.value.bytes().all(plain) {
        let message = format!(
            "a region's name is letters, digits, - _ and ., not `{}`",
            field.value
        );
        return Err(section.report(Problem::new(&field.place, message)));
    }
    match known {
        Some(known) if !known.contains(&field.value.as_str()) => {
            let problem = Problem::new(&field.place, format!("unknown region `{}`", field.value));
            let help = nearest(&field.value, known.iter().copied());
            let help = help.unwrap_or_else(|| format!("`regions` lists {}", known.join(", ")));
            Err(section.report(problem.help(help)))
        }
        Some(_) | None => Ok(RegionName::new(&field.value)),
    }
}

/// The proxy's own region: one that has a server.
pub(super) fn own_region(
    root: &Section<'_>,
    field: &Field<String>,
    shards: Option<&[Shard]>,
) -> Result<RegionName, Reported> {
    let mut known: Vec<&str> = Vec::new();
    for server in shards.unwrap_or(&[]).iter().flat_map(|shard| &shard.endpoints) {
        let name = server.endpoint.region.as_str();
        if !known.contains(&name) {
            known.push(name);
        }
    }
    // While the shards themselves are wrong, any name will do: that was reported.
    if shards.is_none() || known.contains(&field.value.as_str()) {
        return region(root, field, None);
    }
    let problem = Problem::new(
        &field.place,
        format!("unknown region `{}`: no endpoint is there", field.value),
    );
    let help = nearest(&field.value, known.iter().copied());
    Err(root.report(problem.help(help.unwrap_or_else(|| format!("endpoints are in {}", known.join(", "))))))
}

fn server_tls(section: &Section<'_>, files: &Files<'_>) -> Result<ServerTls, Reported> {
    let mode = section.choice("server_tls_sslmode", &SERVER_TLS_MODES, ServerTlsMode::Disable);
    let ca_file = section.text("server_tls_ca_file");
    let (mode, ca_file) = (mode?, ca_file?.map(|field| files.path(&field.value)));
    match (mode, ca_file) {
        (ServerTlsMode::Disable, _) => Ok(ServerTls::Disable),
        (ServerTlsMode::Prefer, _) => Ok(ServerTls::Prefer),
        (ServerTlsMode::Require, _) => Ok(ServerTls::Require),
        (ServerTlsMode::VerifyCa, Some(ca_file)) => Ok(ServerTls::VerifyCa { ca_file }),
        (ServerTlsMode::VerifyFull, Some(ca_file)) => Ok(ServerTls::VerifyFull { ca_file }),
        (ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull, None) => {
            let message = "checking the server's certificate needs `server_tls_ca_file`";
            Err(section.report(Problem::new(&section.place(), message)))
        }
    }
}

pub(super) fn tables(
    root: &Section<'_>,
    shards: Option<&[Shard]>,
    databases: Option<&[Database]>,
) -> Result<Vec<TableConfig>, Reported> {
    let tables: Vec<_> = root
        .list("table")
        .iter()
        .map(|section| table(section, shards, databases))
        .collect();
    let tables = tables.into_iter().collect::<Result<Vec<_>, _>>()?;
    distinct(
        root,
        "table",
        tables
            .iter()
            .map(|(table, place)| (table.name.to_string(), place)),
    )?;
    Ok(tables.into_iter().map(|(table, _)| table).collect())
}

fn table(
    section: &Section<'_>,
    shards: Option<&[Shard]>,
    databases: Option<&[Database]>,
) -> Result<(TableConfig, Place), Reported> {
    let name = table_name(section);
    let sharding = sharding(section, shards, databases);
    let replica_bound = section.time("replica_bound", BOUND, DEFAULT_REPLICA_BOUND);
    let cache = section
        .optional_section("cache")
        .map(|section| cache_policy(&section))
        .transpose();
    section.close();
    let (name, place) = name?;
    Ok((
        TableConfig {
            name,
            sharding: sharding?,
            cache: cache?,
            replica_bound: replica_bound?,
        },
        place,
    ))
}

fn table_name(section: &Section<'_>) -> Result<(TableName, Place), Reported> {
    let Field { value, place } = section.required_text("name")?;
    let (schema, table) = value.split_once('.').unwrap_or((DEFAULT_SCHEMA, &value));
    if schema.is_empty() || table.is_empty() || table.contains('.') || value.contains(['"', ' ']) {
        let message = format!("a table is written \"table\" or \"schema.table\", not `{value}`");
        return Err(
            section.report(Problem::new(&place, message).help("as the catalog holds it, without quotes"))
        );
    }
    Ok((TableName::new(schema, table), place))
}

fn sharding(
    section: &Section<'_>,
    shards: Option<&[Shard]>,
    databases: Option<&[Database]>,
) -> Result<Sharding, Reported> {
    let kind = section.required_choice("sharding", &KINDS);
    let column = section.text("column");
    let colocation = section.text("colocation");
    let shard = section.text("shard");
    let (kind, column, colocation, shard) = (kind?.value, column?, colocation?, shard?);
    let out_of_place = |key: &str, field: &Field<String>, kind: &str| {
        let message = format!("`{key}` is for tables with sharding = \"{kind}\"");
        Err(section.report(Problem::new(&field.place, message)))
    };
    if let (Some(field), Kind::Reference | Kind::Single) = (&column, kind) {
        return out_of_place("column", field, "hash");
    }
    if let (Some(field), Kind::Reference | Kind::Single) = (&colocation, kind) {
        return out_of_place("colocation", field, "hash");
    }
    if let (Some(field), Kind::Reference | Kind::Hash) = (&shard, kind) {
        return out_of_place("shard", field, "single");
    }
    match kind {
        Kind::Reference => Ok(Sharding::Reference),
        Kind::Single => Ok(Sharding::Single {
            shard: single_shard(section, shard, shards, databases)?,
        }),
        Kind::Hash => {
            let Some(column) = column else {
                let message = "a table with sharding = \"hash\" needs `column`, its shard key";
                return Err(section.report(Problem::new(&section.place(), message)));
            };
            let colocation = colocation.map_or_else(|| column.value.clone(), |field| field.value);
            Ok(Sharding::Hash {
                column: column.value,
                colocation,
            })
        }
    }
}

fn single_shard(
    section: &Section<'_>,
    given: Option<Field<String>>,
    shards: Option<&[Shard]>,
    databases: Option<&[Database]>,
) -> Result<ShardId, Reported> {
    if let Some(field) = given {
        return shard_called(section, &field, shards);
    }
    let mut defaults = databases
        .unwrap_or(&[])
        .iter()
        .map(|database| database.default_shard);
    let first = defaults.next().unwrap_or(ShardId(0));
    if defaults.all(|shard| shard == first) {
        return Ok(first);
    }
    let message = "this table needs `shard`: the databases have different default shards";
    Err(section.report(Problem::new(&section.place(), message)))
}

fn cache_policy(section: &Section<'_>) -> Result<CachePolicy, Reported> {
    let level = section.choice("level", &CACHE_LEVELS, CacheLevel::Ryw);
    let bound = section.time("bound", BOUND, DEFAULT_CACHE_BOUND);
    let ttl = section.time("ttl", TTL, DEFAULT_CACHE_TTL);
    let max_bytes = section.size("max_bytes", CACHED_BYTES, DEFAULT_CACHE_BYTES);
    let on_gate_closed = gate_closed(section);
    section.close();
    Ok(CachePolicy {
        level: level?,
        bound: bound?,
        ttl: ttl?,
        max_bytes: sections::machine_size(section, max_bytes?)?,
        on_gate_closed: on_gate_closed?,
    })
}

fn gate_closed(section: &Section<'_>) -> Result<GateClosed, Reported> {
    let Some(Field { value, place }) = section.text("on_gate_closed")? else {
        return Ok(GateClosed::Origin);
    };
    let stale = || {
        value
            .strip_prefix("stale(")?
            .strip_suffix(')')
            .and_then(parse_duration)
    };
    match value.as_str() {
        "origin" => Ok(GateClosed::Origin),
        "error" => Ok(GateClosed::Error),
        _ => match stale().filter(|span| BOUND.contains(span)) {
            Some(span) => Ok(GateClosed::Stale(span)),
            None => {
                let message = format!(
                    "`on_gate_closed` must be one of origin, error, stale(TIME) such as stale(10s), not `{value}`"
                );
                Err(section
                    .report(Problem::new(&place, message).maybe_help(nearest(&value, ["origin", "error"]))))
            }
        },
    }
}
