//! The commands of the admin database: what was asked.

mod lexer;

use lexer::{Token, statements};
use wire::{ProxyError, sqlstate};

/// What SHOW can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Sockets with something to send or to read.
    ActiveSockets,
    /// The stores of the cache.
    Cache,
    /// Clients.
    Clients,
    /// Settings.
    Config,
    /// Databases.
    Databases,
    /// Names of hosts that are kept.
    DnsHosts,
    /// Zones of them.
    DnsZones,
    /// Open sockets by number.
    Fds,
    /// The commands.
    Help,
    /// Counts of everything.
    Lists,
    /// Memory for clients, servers and pools.
    Mem,
    /// Other processes that share cancel requests.
    Peers,
    /// Pools towards them.
    PeerPools,
    /// Pools.
    Pools,
    /// Servers and how far they have replayed.
    Replicas,
    /// Pools, one for each server.
    ServerPools,
    /// Server connections.
    Servers,
    /// Shards.
    Shards,
    /// Runs of slots.
    Slots,
    /// Clients and server connections with their sockets.
    Sockets,
    /// Whether the proxy is paused.
    State,
    /// Counters and averages.
    Stats,
    /// Averages.
    StatsAverages,
    /// Counters.
    StatsTotals,
    /// The invalidation stream.
    Stream,
    /// Counters and averages over all databases.
    Totals,
    /// Users.
    Users,
    /// The version.
    Version,
}

/// Every SHOW by its name, with what it shows.
pub const SHOWS: [(&str, Show, &str); 28] = [
    (
        "ACTIVE_SOCKETS",
        Show::ActiveSockets,
        "sockets of clients and servers that are at work",
    ),
    ("CACHE", Show::Cache, "what the stores of the cache hold and did"),
    ("CLIENTS", Show::Clients, "client connections"),
    (
        "CONFIG",
        Show::Config,
        "settings, their defaults, and which of them SET and RELOAD can change",
    ),
    ("DATABASES", Show::Databases, "databases"),
    ("DNS_HOSTS", Show::DnsHosts, "host names that are kept: none"),
    ("DNS_ZONES", Show::DnsZones, "zones that are kept: none"),
    ("FDS", Show::Fds, "file descriptors of clients and servers"),
    ("HELP", Show::Help, "these commands"),
    ("LISTS", Show::Lists, "how many of everything there are"),
    ("MEM", Show::Mem, "memory for clients, servers and pools"),
    ("PEERS", Show::Peers, "peers that share cancel requests: none"),
    ("PEER_POOLS", Show::PeerPools, "pools towards peers: none"),
    (
        "POOLS",
        Show::Pools,
        "clients and server connections of each database and user",
    ),
    (
        "REPLICAS",
        Show::Replicas,
        "servers: role, replay position, lag, round-trip time",
    ),
    (
        "SERVER_POOLS",
        Show::ServerPools,
        "pools of server connections, one for each database, user and server",
    ),
    ("SERVERS", Show::Servers, "server connections"),
    ("SHARDS", Show::Shards, "shards: primary, slots, healthy servers"),
    ("SLOTS", Show::Slots, "which shard owns which slots"),
    ("SOCKETS", Show::Sockets, "sockets of clients and servers"),
    (
        "STATE",
        Show::State,
        "whether the proxy is active, paused or suspended",
    ),
    ("STATS", Show::Stats, "counters and averages of each database"),
    ("STATS_AVERAGES", Show::StatsAverages, "only the averages"),
    ("STATS_TOTALS", Show::StatsTotals, "only the counters"),
    ("STREAM", Show::Stream, "the invalidation stream of each shard"),
    ("TOTALS", Show::Totals, "counters and averages over all databases"),
    (
        "USERS",
        Show::Users,
        "users, their limits and what they may do here",
    ),
    ("VERSION", Show::Version, "the version"),
];

/// What an administrator is told of the session at the login, as PostgreSQL would.
pub const REPORTED: [(&str, &str); 9] = [
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), " (Ringway)")),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "GMT"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

/// Commands beside SHOW, with what they do.
pub const ACTIONS: [(&str, &str); 14] = [
    (
        "SET key = value",
        "change a setting of this process, until RELOAD",
    ),
    ("RELOAD", "read the configuration again"),
    (
        "PAUSE [db]",
        "close server connections as they come to rest; clients wait",
    ),
    ("RESUME [db]", "let clients go on after PAUSE, KILL or SUSPEND"),
    ("DISABLE db", "refuse new clients"),
    ("ENABLE db", "let them in again"),
    (
        "RECONNECT [db]",
        "replace server connections as they come to rest",
    ),
    (
        "KILL [db]",
        "drop clients and server connections at once, and pause",
    ),
    (
        "KILL_CLIENT id",
        "drop one client (the id is that of SHOW CLIENTS)",
    ),
    ("SUSPEND", "take nothing more from clients until RESUME"),
    ("SHUTDOWN", "stop at once"),
    (
        "SHUTDOWN WAIT_FOR_SERVERS",
        "stop when transactions are finished, as on SIGTERM",
    ),
    ("SHUTDOWN WAIT_FOR_CLIENTS", "stop when all clients have left"),
    (
        "WAIT_CLOSE [db]",
        "wait until connections that RECONNECT or RELOAD has replaced are closed",
    ),
];

/// How SHUTDOWN ends the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// At once.
    Now,
    /// When transactions are finished.
    WaitForServers,
    /// When the clients have left by themselves.
    WaitForClients,
}

/// What drivers ask of every database, answered here as if there were one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Courtesy {
    /// `SELECT 1`.
    One,
    /// `SELECT version()`.
    Version,
    /// SHOW of a setting that the greeting reported, by its place in [`REPORTED`].
    Reported(usize),
    /// `SHOW transaction_isolation`.
    Isolation,
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminCommand {
    /// Show something.
    Show(Show),
    /// Show what is no matter of the proxy's.
    Courtesy(Courtesy),
    /// A setting of the session that changes nothing here, or the end of all of them: only its tag.
    Ignored(&'static str),
    /// BEGIN.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// Change a setting of the proxy.
    Set {
        /// With or without its section.
        key: String,
        /// As the configuration or PgBouncer writes it.
        value: String,
    },
    /// Read the configuration again.
    Reload,
    /// Close server connections as they come to rest.
    Pause(Option<String>),
    /// Go on.
    Resume(Option<String>),
    /// Refuse new clients.
    Disable(String),
    /// Let them in.
    Enable(String),
    /// Replace server connections.
    Reconnect(Option<String>),
    /// Drop clients and server connections.
    Kill(Option<String>),
    /// Drop one client.
    KillClient(u64),
    /// Take nothing more from clients.
    Suspend,
    /// Stop.
    Shutdown(Shutdown),
    /// Wait for replaced connections.
    WaitClose(Option<String>),
}

/// Settings of a session that drivers set at their start. Answers here don't depend on them.
const SESSION_SETTINGS: [&str; 21] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "jit",
    "lc_messages",
    "lc_monetary",
    "lock_timeout",
    "role",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
    "transaction_isolation",
];

impl AdminCommand {
    /// Reads the commands in a query.
    ///
    /// # Errors
    /// What a client is told about anything else. Like a syntax error in PostgreSQL, it keeps all of them from being run.
    pub fn parse(sql: &str) -> Result<Vec<Self>, ProxyError> {
        statements(sql)?
            .iter()
            .map(|statement| command(statement))
            .collect()
    }

    /// Whether it changes nothing and shows nothing but what may be known to whoever watches.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Show(show) => *show != Show::Fds,
            Self::Courtesy(_) | Self::Ignored(_) | Self::Begin | Self::Commit | Self::Rollback => true,
            Self::Set { .. }
            | Self::Reload
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Reconnect(_)
            | Self::Kill(_)
            | Self::KillClient(_)
            | Self::Suspend
            | Self::Shutdown(_)
            | Self::WaitClose(_) => false,
        }
    }
}

fn command(tokens: &[Token]) -> Result<AdminCommand, ProxyError> {
    let Some((first, rest)) = tokens.split_first() else {
        return Err(syntax_error(tokens));
    };
    let Token::Word(verb) = first else {
        return Err(syntax_error(tokens));
    };
    let database = || one_name(rest).ok_or_else(|| syntax_error(tokens));
    let optional = || match rest {
        [] => Ok(None),
        _ => database().map(Some),
    };
    let required = || match rest {
        [] => Err(ProxyError::error(
            sqlstate::SYNTAX_ERROR,
            "a database is required",
        )),
        _ => database(),
    };
    Ok(match verb.to_ascii_uppercase().as_str() {
        "SHOW" => return show(tokens, rest),
        "SET" => return set(tokens, rest),
        "SELECT" => return select(tokens, rest),
        "RELOAD" if rest.is_empty() => AdminCommand::Reload,
        "SUSPEND" if rest.is_empty() => AdminCommand::Suspend,
        "PAUSE" => AdminCommand::Pause(optional()?),
        "RESUME" => AdminCommand::Resume(optional()?),
        "RECONNECT" => AdminCommand::Reconnect(optional()?),
        "WAIT_CLOSE" => AdminCommand::WaitClose(optional()?),
        "KILL" => AdminCommand::Kill(optional()?),
        "DISABLE" => AdminCommand::Disable(required()?),
        "ENABLE" => AdminCommand::Enable(required()?),
        "KILL_CLIENT" => AdminCommand::KillClient(client_id(tokens, rest)?),
        "SHUTDOWN" => AdminCommand::Shutdown(match rest {
            [] => Shutdown::Now,
            [how] if how.is("WAIT_FOR_SERVERS") => Shutdown::WaitForServers,
            [how] if how.is("WAIT_FOR_CLIENTS") => Shutdown::WaitForClients,
            _ => return Err(syntax_error(tokens)),
        }),
        "BEGIN" | "START" => AdminCommand::Begin,
        "COMMIT" | "END" => AdminCommand::Commit,
        "ROLLBACK" | "ABORT" => AdminCommand::Rollback,
        "DISCARD" if matches!(rest, [all] if all.is("ALL")) => AdminCommand::Ignored("DISCARD ALL"),
        "RESET" if !rest.is_empty() => AdminCommand::Ignored("RESET"),
        _ => return Err(syntax_error(tokens)),
    })
}

fn one_name(tokens: &[Token]) -> Option<String> {
    match tokens {
        [name @ (Token::Word(_) | Token::Name(_) | Token::Text(_))] => Some(name.text()),
        _ => None,
    }
}

fn client_id(tokens: &[Token], rest: &[Token]) -> Result<u64, ProxyError> {
    let id = one_name(rest).ok_or_else(|| syntax_error(tokens))?;
    id.parse().map_err(|_| {
        let message = format!("invalid client id \"{}\"", shortened(&id));
        ProxyError::error(sqlstate::INVALID_TEXT_REPRESENTATION, message)
            .with_hint("SHOW CLIENTS has it in its column id.")
    })
}

fn show(tokens: &[Token], rest: &[Token]) -> Result<AdminCommand, ProxyError> {
    let [what] = rest else {
        return match rest {
            [] => Ok(AdminCommand::Show(Show::Help)),
            [a, b, c] if a.is("TRANSACTION") && b.is("ISOLATION") && c.is("LEVEL") => {
                Ok(AdminCommand::Courtesy(Courtesy::Isolation))
            }
            [a, b] if a.is("TIME") && b.is("ZONE") => {
                Ok(reported("TimeZone").ok_or_else(ProxyError::internal)?)
            }
            _ => Err(syntax_error(tokens)),
        };
    };
    if let Some((_, show, _)) = SHOWS.iter().find(|(name, _, _)| what.is(name)) {
        return Ok(AdminCommand::Show(*show));
    }
    if what.is("transaction_isolation") {
        return Ok(AdminCommand::Courtesy(Courtesy::Isolation));
    }
    reported(&what.text()).ok_or_else(|| {
        let message = format!("unknown SHOW \"{}\"", shortened(&what.text()));
        ProxyError::error(sqlstate::SYNTAX_ERROR, message).with_hint(HELP)
    })
}

fn reported(name: &str) -> Option<AdminCommand> {
    let place = REPORTED
        .iter()
        .position(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(AdminCommand::Courtesy(Courtesy::Reported(place)))
}

/// `SET key = value`, `SET key TO value`, and what drivers set of their session.
fn set(tokens: &[Token], rest: &[Token]) -> Result<AdminCommand, ProxyError> {
    const IGNORED: AdminCommand = AdminCommand::Ignored("SET");
    let rest = match rest {
        [scope, more @ ..] if scope.is("SESSION") || scope.is("LOCAL") => more,
        _ => rest,
    };
    let (key, value) = match rest {
        [what, _, ..] if what.is("CHARACTERISTICS") || what.is("TRANSACTION") || what.is("NAMES") => {
            return Ok(IGNORED);
        }
        [time, zone, _, ..] if time.is("TIME") && zone.is("ZONE") => return Ok(IGNORED),
        [key @ (Token::Word(_) | Token::Name(_)), to, value @ ..]
            if (*to == Token::Symbol('=') || to.is("TO")) && !value.is_empty() =>
        {
            (key.text().to_ascii_lowercase(), value)
        }
        _ => return Err(syntax_error(tokens)),
    };
    if SESSION_SETTINGS.contains(&key.as_str()) {
        return Ok(IGNORED);
    }
    let value = value.iter().map(Token::text).collect();
    Ok(AdminCommand::Set { key, value })
}

fn select(tokens: &[Token], rest: &[Token]) -> Result<AdminCommand, ProxyError> {
    let version = |name: &Token| name.is("version") || name.is("pg_catalog.version");
    match rest {
        [one] if one.is("1") => Ok(AdminCommand::Courtesy(Courtesy::One)),
        [name, Token::Symbol('('), Token::Symbol(')')] if version(name) => {
            Ok(AdminCommand::Courtesy(Courtesy::Version))
        }
        _ => Err(syntax_error(tokens)),
    }
}

const HELP: &str = "SHOW HELP lists the commands.";

fn syntax_error(tokens: &[Token]) -> ProxyError {
    let words: Vec<String> = tokens.iter().map(Token::text).collect();
    let message = format!("invalid command \"{}\"", shortened(&words.join(" ")));
    ProxyError::error(sqlstate::SYNTAX_ERROR, message)
        .with_detail("This is Ringway's own database, without tables or SQL.")
        .with_hint(HELP)
}

/// At most so much of what was asked is repeated.
const MAX_ECHO_CHARS: usize = 40;

fn shortened(word: &str) -> String {
    word.chars().take(MAX_ECHO_CHARS).collect()
}

#[cfg(test)]
mod tests;
