//! `ringway check`: the configuration, and what the servers that can be reached lack.

use super::live::{self, Seen};
use crate::cli::{ConfigArgs, Exit, OutputFormat, print_table};
use crate::control::catalog_task::CatalogReader;
use crate::control::install;
use crate::control::link::{self, Link, LinkError};
use crate::control::plane;
use planner::Notice;
use serde_json::Value;
use settings::{Database, Settings};
use topology::Role;

/// What a server must be set to, and why.
const REQUIRED: [(&str, Wanted, &str); 3] = [
    (
        "wal_level",
        Wanted::Is("logical"),
        "without it writes that bypass Ringway are not seen",
    ),
    (
        "max_prepared_transactions",
        Wanted::AtLeast(1),
        "without them a transaction can't write on several shards",
    ),
    (
        "max_replication_slots",
        Wanted::AtLeast(1),
        "the stream needs one",
    ),
];

/// What a setting must be.
enum Wanted {
    Is(&'static str),
    AtLeast(u64),
}

impl Wanted {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == *wanted,
            Self::AtLeast(least) => value.parse::<u64>().is_ok_and(|value| value >= *least),
        }
    }
}

/// One line of the report.
struct Finding {
    what: String,
    state: State,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Could not be looked at.
    Unreachable,
    /// Works, with a trap.
    Notice,
    /// Will not work.
    Wrong,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unreachable => "unreachable",
            Self::Notice => "notice",
            Self::Wrong => "wrong",
        }
    }
}

/// Reports. Exit code 2 for a configuration with mistakes, 3 if a server that answers isn't as it must be.
pub(crate) fn check(args: &ConfigArgs, format: OutputFormat) -> Exit {
    let settings = match super::load_settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    super::run(async {
        let mut findings = vec![Finding {
            what: format!("configuration {}", args.config.display()),
            state: State::Ok,
            detail: format!(
                "{} shards, {} databases",
                settings.shards.len(),
                settings.databases.len()
            ),
        }];
        for database in &settings.databases {
            let seen = live::roles(&settings, &database.dbname).await;
            for seen in &seen {
                findings.extend(Box::pin(server(&settings, database, seen)).await);
            }
            findings.extend(Box::pin(tables(&settings, database, &seen)).await);
        }
        let rows: Vec<Vec<Value>> = findings.iter().map(row).collect();
        print_table(
            &mut std::io::stdout(),
            format,
            &["what", "state", "detail"],
            &rows,
        )?;
        let wrong = findings.iter().any(|finding| finding.state == State::Wrong);
        Ok(if wrong { Exit::Differs } else { Exit::Done })
    })
}

fn row(finding: &Finding) -> Vec<Value> {
    vec![
        finding.what.as_str().into(),
        finding.state.as_str().into(),
        finding.detail.as_str().into(),
    ]
}

async fn server(settings: &Settings, database: &Database, seen: &Seen<'_>) -> Vec<Finding> {
    let endpoint = &seen.server.endpoint;
    let what = format!("server {}:{} {}", endpoint.host, endpoint.port, database.dbname);
    let finding = |state, detail: String| Finding {
        what: what.clone(),
        state,
        detail,
    };
    let role = match &seen.role {
        Ok(role) => *role,
        Err(LinkError::Connect(error)) if error.blame() == pool::Blame::Unreachable => {
            return vec![finding(State::Unreachable, error.to_string())];
        }
        Err(error) => return vec![finding(State::Wrong, error.to_string())],
    };
    if role == Role::Standby {
        return vec![finding(State::Ok, "standby".to_owned())];
    }
    match primary(settings, database, endpoint.id).await {
        Ok(complaints) if complaints.is_empty() => vec![finding(State::Ok, "primary".to_owned())],
        Ok(complaints) => complaints
            .into_iter()
            .map(|complaint| finding(State::Wrong, complaint))
            .collect(),
        Err(error) => vec![finding(State::Wrong, error.to_string())],
    }
}

async fn primary(
    settings: &Settings,
    database: &Database,
    endpoint: topology::EndpointId,
) -> Result<Vec<String>, LinkError> {
    let mut link = Link::open(settings, &database.dbname, endpoint).await?;
    let mut complaints = Vec::new();
    complaints.extend(install::installed(&mut link).await?.complaint());
    for (name, wanted, why) in &REQUIRED {
        let value = link.value(&format!("SHOW {name}")).await?;
        if !wanted.fits(&value) {
            complaints.push(format!("{name} is {value}: {why}"));
        }
    }
    let replication =
        "SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    if link.value(replication).await? != "t" {
        complaints.push(format!(
            "the control user {} lacks REPLICATION",
            link::control_user(settings)?.name
        ));
    }
    link.close().await;
    Ok(complaints)
}

/// What is to be said about the tables of the configuration.
async fn tables(settings: &Settings, database: &Database, seen: &[Seen<'_>]) -> Vec<Finding> {
    let what = format!("tables of {}", database.name);
    let Some(endpoint) = live::primary(seen, database.default_shard) else {
        let detail = "no primary of the default shard can be reached".to_owned();
        return vec![Finding {
            what,
            state: State::Unreachable,
            detail,
        }];
    };
    let loaded = async {
        let target = link::control_target(settings, &database.dbname, endpoint)?;
        CatalogReader::open(&target).await?.load(None, |_| true).await
    };
    match Box::pin(loaded).await {
        Ok(catalog) => planner::check(&catalog, &plane::tables(settings, database))
            .iter()
            .map(|notice| Finding {
                what: what.clone(),
                state: State::Notice,
                detail: said(notice),
            })
            .collect(),
        Err(error) => vec![Finding {
            what,
            state: State::Wrong,
            detail: error.to_string(),
        }],
    }
}

fn said(notice: &Notice) -> String {
    match notice {
        Notice::Missing(table) => format!("{table} does not exist"),
        Notice::NoKeyColumn(table, column) => format!("{table} has no column {column}"),
        Notice::KeyType(table, column) => {
            format!("{table}.{column} has a type or collation that can't be a shard key")
        }
        Notice::NullableKey(table, column) => {
            format!("{table}.{column} may be NULL: all such rows go to one slot")
        }
        Notice::Sequence(table, column) => {
            format!("{table}.{column} counts on each shard by itself: numbers repeat")
        }
        Notice::UniqueWithoutKey(table, columns) => format!(
            "{table}: ({}) is unique only within each shard, as it doesn't hold the shard key",
            columns.join(", ")
        ),
        Notice::Kind(table, kind) => format!("{table} is no table whose rows can be spread: {kind:?}"),
    }
}
