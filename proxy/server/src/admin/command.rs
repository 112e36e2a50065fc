//! The commands of the admin database: what was asked, and who may ask it.

use settings::AdminRights;
use wire::{ProxyError, sqlstate};

/// What SHOW can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Show {
    /// The stores of the cache.
    Cache,
    /// Clients.
    Clients,
    /// Settings.
    Config,
    /// Databases.
    Databases,
    /// The commands.
    Help,
    /// Counts of everything.
    Lists,
    /// Pools.
    Pools,
    /// Servers and how far they have replayed.
    Replicas,
    /// Server connections.
    Servers,
    /// Shards.
    Shards,
    /// Runs of slots.
    Slots,
    /// Counters and averages.
    Stats,
    /// Averages.
    StatsAverages,
    /// Counters.
    StatsTotals,
    /// The invalidation stream.
    Stream,
    /// Users.
    Users,
    /// The version.
    Version,
}

/// Every SHOW by its name, with what it shows.
pub(crate) const SHOWS: [(&str, Show, &str); 17] = [
    ("CACHE", Show::Cache, "what the stores of the cache hold and did"),
    ("CLIENTS", Show::Clients, "client connections"),
    (
        "CONFIG",
        Show::Config,
        "settings, and which of them RELOAD can change",
    ),
    ("DATABASES", Show::Databases, "databases"),
    ("HELP", Show::Help, "these commands"),
    ("LISTS", Show::Lists, "how many of everything there are"),
    ("POOLS", Show::Pools, "pools of server connections"),
    (
        "REPLICAS",
        Show::Replicas,
        "servers: role, replay position, lag, round-trip time",
    ),
    ("SERVERS", Show::Servers, "server connections"),
    ("SHARDS", Show::Shards, "shards: primary, slots, healthy servers"),
    ("SLOTS", Show::Slots, "which shard owns which slots"),
    ("STATS", Show::Stats, "counters and averages of each database"),
    ("STATS_AVERAGES", Show::StatsAverages, "only the averages"),
    ("STATS_TOTALS", Show::StatsTotals, "only the counters"),
    ("STREAM", Show::Stream, "the invalidation stream of each shard"),
    ("USERS", Show::Users, "users and what they may do here"),
    ("VERSION", Show::Version, "the version"),
];

/// Commands beside SHOW, with what they do.
pub(crate) const ACTIONS: [(&str, &str); 2] = [
    ("RELOAD", "read the configuration again"),
    ("SHUTDOWN", "finish what is under way and stop, as on SIGTERM"),
];

/// Commands of PgBouncer and of the plan that are not there.
const UNAVAILABLE: [&str; 11] = [
    "PAUSE",
    "RESUME",
    "RECONNECT",
    "KILL",
    "KILL_CLIENT",
    "SUSPEND",
    "ENABLE",
    "DISABLE",
    "WAIT_CLOSE",
    "SET",
    "EXPLAIN",
];

/// One command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AdminCommand {
    /// Nothing but blanks and semicolons: EmptyQueryResponse.
    Empty,
    /// Show something.
    Show(Show),
    /// Read the configuration again.
    Reload,
    /// Drain and stop.
    Shutdown,
}

impl AdminCommand {
    /// Reads one command: in any case, with semicolons behind it.
    ///
    /// # Errors
    /// What a client is told about anything else: the commands that there are.
    pub(crate) fn parse(sql: &str) -> Result<Self, ProxyError> {
        let text = sql.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\0');
        let words: Vec<String> = text
            .split_ascii_whitespace()
            .map(str::to_ascii_uppercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if text.contains(';') {
            let message = "the admin database takes one command at a time";
            return Err(ProxyError::error(sqlstate::SYNTAX_ERROR, message));
        }
        match words.as_slice() {
            [] => Ok(Self::Empty),
            ["SHOW"] => show("HELP"),
            ["SHOW", what @ ..] => show(&what.join(" ")),
            ["RELOAD"] => Ok(Self::Reload),
            ["SHUTDOWN"] | ["SHUTDOWN", "WAIT_FOR_SERVERS"] => Ok(Self::Shutdown),
            [first, ..] if UNAVAILABLE.contains(first) => Err(ProxyError::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("{first} is not available yet"),
            )
            .with_hint(list())),
            [first, ..] => {
                let message = format!("unknown command \"{}\" in the admin database", shortened(first));
                Err(ProxyError::error(sqlstate::SYNTAX_ERROR, message)
                    .with_detail("This is Ringway's own database, without tables or SQL.")
                    .with_hint(list()))
            }
        }
    }

    /// Refuses what `rights` don't allow.
    ///
    /// # Errors
    /// 42501 for everything but SHOW to those who may only look, and for everything to the others.
    pub(crate) fn authorise(self, rights: AdminRights) -> Result<(), ProxyError> {
        match (rights, self) {
            (AdminRights::Admin, _) | (AdminRights::Stats, Self::Empty | Self::Show(_)) => Ok(()),
            (AdminRights::Stats, Self::Reload | Self::Shutdown) => Err(ProxyError::error(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                "only admin_users may use this command",
            )
            .with_detail("You are in stats_users, who may SHOW.")),
            (AdminRights::None, _) => Err(not_allowed()),
        }
    }
}

/// What a user is told who may not even log in to the admin database.
pub(crate) fn not_allowed() -> ProxyError {
    ProxyError::fatal(
        sqlstate::INSUFFICIENT_PRIVILEGE,
        "permission denied for the admin database",
    )
    .with_detail("It is for the users in admin_users and stats_users.")
}

fn show(what: &str) -> Result<AdminCommand, ProxyError> {
    match SHOWS.iter().find(|(name, _, _)| *name == what) {
        Some((_, show, _)) => Ok(AdminCommand::Show(*show)),
        None => {
            let message = format!("unknown SHOW \"{}\"", shortened(what));
            Err(ProxyError::error(sqlstate::SYNTAX_ERROR, message).with_hint(list()))
        }
    }
}

/// The list of commands.
fn list() -> String {
    let shows = SHOWS
        .iter()
        .map(|(name, _, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    let actions = ACTIONS
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    format!("Commands: SHOW {shows}; {actions}.")
}

/// At most so much of what was asked is repeated.
const MAX_ECHO_CHARS: usize = 40;

fn shortened(word: &str) -> String {
    word.chars().take(MAX_ECHO_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::{ACTIONS, AdminCommand, SHOWS, Show};
    use expect_test::{Expect, expect};
    use settings::AdminRights;
    use wire::ProxyError;

    #[test]
    fn commands_in_any_case_and_with_semicolons() {
        for (sql, command) in [
            ("SHOW POOLS;", AdminCommand::Show(Show::Pools)),
            ("  show\n stats_Totals ;; ", AdminCommand::Show(Show::StatsTotals)),
            ("show", AdminCommand::Show(Show::Help)),
            ("Reload", AdminCommand::Reload),
            ("SHUTDOWN WAIT_FOR_SERVERS;", AdminCommand::Shutdown),
            (" ; ", AdminCommand::Empty),
            ("", AdminCommand::Empty),
        ] {
            assert_eq!(AdminCommand::parse(sql), Ok(command), "{sql}");
        }
        for (name, show, _) in SHOWS {
            assert_eq!(
                AdminCommand::parse(&format!("SHOW {name}")),
                Ok(AdminCommand::Show(show))
            );
        }
        for (name, _) in ACTIONS {
            assert!(AdminCommand::parse(name).is_ok(), "{name}");
        }
    }

    fn told(error: &ProxyError) -> String {
        let mut text = error.to_string();
        for part in [&error.detail, &error.hint].into_iter().flatten() {
            text.push('\n');
            text.push_str(part);
        }
        text
    }

    fn check(sql: &str, expect: &Expect) {
        expect.assert_eq(&told(&AdminCommand::parse(sql).expect_err("not a command")));
    }

    #[test]
    fn anything_else_names_the_commands() {
        check(
            "SELECT * FROM pg_class",
            &expect![[r#"
            ERROR: 42601: unknown command "SELECT" in the admin database
            This is Ringway's own database, without tables or SQL.
            Commands: SHOW CACHE, CLIENTS, CONFIG, DATABASES, HELP, LISTS, POOLS, REPLICAS, SERVERS, SHARDS, SLOTS, STATS, STATS_AVERAGES, STATS_TOTALS, STREAM, USERS, VERSION; RELOAD, SHUTDOWN."#]],
        );
        check(
            "SHOW POOL",
            &expect![[r#"
            ERROR: 42601: unknown SHOW "POOL"
            Commands: SHOW CACHE, CLIENTS, CONFIG, DATABASES, HELP, LISTS, POOLS, REPLICAS, SERVERS, SHARDS, SLOTS, STATS, STATS_AVERAGES, STATS_TOTALS, STREAM, USERS, VERSION; RELOAD, SHUTDOWN."#]],
        );
        check(
            "SHOW POOLS STATS",
            &expect![[r#"
            ERROR: 42601: unknown SHOW "POOLS STATS"
            Commands: SHOW CACHE, CLIENTS, CONFIG, DATABASES, HELP, LISTS, POOLS, REPLICAS, SERVERS, SHARDS, SLOTS, STATS, STATS_AVERAGES, STATS_TOTALS, STREAM, USERS, VERSION; RELOAD, SHUTDOWN."#]],
        );
        check(
            "pause shop",
            &expect![[r#"
            ERROR: 0A000: PAUSE is not available yet
            Commands: SHOW CACHE, CLIENTS, CONFIG, DATABASES, HELP, LISTS, POOLS, REPLICAS, SERVERS, SHARDS, SLOTS, STATS, STATS_AVERAGES, STATS_TOTALS, STREAM, USERS, VERSION; RELOAD, SHUTDOWN."#]],
        );
        check(
            "SHOW POOLS; SHOW STATS",
            &expect!["ERROR: 42601: the admin database takes one command at a time"],
        );
    }

    #[test]
    fn rights() {
        for (name, _, _) in SHOWS {
            let command = AdminCommand::parse(&format!("SHOW {name}")).expect("a command");
            assert_eq!(command.authorise(AdminRights::Admin), Ok(()));
            assert_eq!(command.authorise(AdminRights::Stats), Ok(()));
            assert!(
                command
                    .authorise(AdminRights::None)
                    .is_err_and(|error| error.is_fatal())
            );
        }
        for command in [AdminCommand::Reload, AdminCommand::Shutdown] {
            assert_eq!(command.authorise(AdminRights::Admin), Ok(()));
            let error = command.authorise(AdminRights::Stats).expect_err("only SHOW");
            assert_eq!(
                (error.sqlstate.to_string(), error.is_fatal()),
                ("42501".to_owned(), false)
            );
        }
    }
}
