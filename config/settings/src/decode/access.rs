//! Users, their secrets, and the databases that they may name.

use super::Files;
use crate::Secret;
use crate::context::Reported;
use crate::document::{Field, Section};
use crate::error::{Place, Problem, nearest};
use crate::model::{Auth, Database, Settings, Shard, User, slot_part};
use std::collections::BTreeSet;
use topology::ShardId;

/// Names of the admin database.
const ADMIN_DATABASES: [&str; 2] = ["ringway", "pgbouncer"];
/// PostgreSQL's bound of a name, without its zero byte.
const MAX_NAME_BYTES: usize = 63;

/// The keys under which one secret may be given.
pub(super) struct SecretKeys {
    plain: &'static str,
    file: &'static str,
    variable: &'static str,
}

const PASSWORD: SecretKeys = SecretKeys {
    plain: "password",
    file: "password_file",
    variable: "password_env",
};
pub(super) const KEY_SECRET: SecretKeys = SecretKeys {
    plain: "key_secret",
    file: "key_secret_file",
    variable: "key_secret_env",
};
pub(super) const REDIS_URL: SecretKeys = SecretKeys {
    plain: "redis_url",
    file: "redis_url_file",
    variable: "redis_url_env",
};

/// The secret given under one of `keys`, if any.
pub(super) fn secret(
    section: &Section<'_>,
    keys: &SecretKeys,
    files: &Files<'_>,
) -> Result<Option<Field<Secret>>, Reported> {
    let plain = section.secret(keys.plain);
    let file = section.text(keys.file);
    let variable = section.text(keys.variable);
    let (text, place) = match (plain?, file?, variable?) {
        (None, None, None) => return Ok(None),
        (Some(plain), None, None) => (plain.value, plain.place),
        (None, Some(file), None) => (read(section, keys.file, &file, files)?, file.place),
        (None, None, Some(variable)) => {
            let Some(text) = section.context().variable(&variable.value) else {
                let message = format!("environment variable {} is not set", variable.value);
                return Err(section.report(Problem::new(&variable.place, message)));
            };
            (text.to_owned(), variable.place)
        }
        (plain, file, variable) => {
            let place = [plain, file, variable].into_iter().flatten().next_back();
            let place = place.map_or_else(|| section.place(), |field| field.place);
            let message = format!(
                "only one of `{}`, `{}`, `{}`",
                keys.plain, keys.file, keys.variable
            );
            return Err(section.report(Problem::new(&place, message)));
        }
    };
    if text.is_empty() || text.contains('\0') {
        return Err(section.report(Problem::new(&place, "the secret is empty or holds a zero byte")));
    }
    Ok(Some(Field {
        value: Secret::new(&text),
        place,
    }))
}

/// The content of a file without its last line end.
fn read(
    section: &Section<'_>,
    key: &str,
    file: &Field<String>,
    files: &Files<'_>,
) -> Result<String, Reported> {
    let path = files.path(&file.value);
    let text = (files.read)(&path).map_err(|error| {
        let message = format!("`{key}`: cannot read {}: {error}", path.display());
        section.report(Problem::new(&file.place, message))
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A name that PostgreSQL can hold, under `name`.
pub(super) fn name(section: &Section<'_>) -> Result<Field<String>, Reported> {
    let field = section.required_text("name")?;
    if field.value.len() > MAX_NAME_BYTES {
        let message = format!("`name` is longer than {MAX_NAME_BYTES} bytes");
        return Err(section.report(Problem::new(&field.place, message)));
    }
    Ok(field)
}

/// Notes names that occur twice.
pub(super) fn distinct<'a>(
    section: &Section<'_>,
    what: &str,
    names: impl IntoIterator<Item = (String, &'a Place)>,
) -> Result<(), Reported> {
    let mut seen: Vec<(String, &Place)> = Vec::new();
    let mut outcome = Ok(());
    for (name, place) in names {
        match seen.iter().find(|(known, _)| *known == name) {
            Some((_, first)) => {
                let problem = Problem::new(place, format!("{what} `{name}` is configured twice"));
                outcome = Err(section.report(problem.also(first, "first here")));
            }
            None => seen.push((name, place)),
        }
    }
    outcome
}

pub(super) fn auth(root: &Section<'_>, files: &Files<'_>) -> Result<Auth, Reported> {
    let control_user = match root.optional_section("control_user") {
        Some(section) => user(&section, files).map(|(user, _)| user),
        None => {
            let problem = Problem::new(&root.place(), "the configuration has no [control_user]");
            Err(root.report(
                problem.help("the role that the proxy itself uses on the servers: name and password_env"),
            ))
        }
    };
    let users: Vec<_> = root
        .list("user")
        .iter()
        .map(|section| user(section, files))
        .collect();
    let users: Result<Vec<(User, Place)>, Reported> = users.into_iter().collect();
    let section = root.section("auth");
    let admin_users = roles(&section, "admin_users", users.as_deref().ok());
    let stats_users = roles(&section, "stats_users", users.as_deref().ok());
    section.close();
    let users = users?;
    if users.is_empty() {
        let problem = Problem::new(
            &root.place(),
            "the configuration has no [[user]]: nobody could log in",
        );
        return Err(root.report(problem));
    }
    distinct(
        root,
        "user",
        users.iter().map(|(user, place)| (user.name.clone(), place)),
    )?;
    Ok(Auth {
        users: users.into_iter().map(|(user, _)| user).collect(),
        admin_users: admin_users?,
        stats_users: stats_users?,
        control_user: control_user?,
    })
}

fn user(section: &Section<'_>, files: &Files<'_>) -> Result<(User, Place), Reported> {
    let name = name(section);
    let password = secret(section, &PASSWORD, files);
    section.close();
    let (name, password) = (name?, password?);
    let Some(password) = password else {
        let problem = Problem::new(&name.place, format!("user `{}` has no password", name.value));
        return Err(section.report(problem.help("add password_file, password_env or password")));
    };
    if password.value.expose().starts_with("SCRAM-SHA-256$") {
        let problem = Problem::new(
            &password.place,
            format!("the password of `{}` is a verifier", name.value),
        );
        return Err(section.report(problem.help("the password itself is needed to log in to the servers")));
    }
    Ok((
        User {
            name: name.value,
            password: password.value,
        },
        name.place,
    ))
}

/// Names under `key`, each of a configured user.
fn roles(
    section: &Section<'_>,
    key: &'static str,
    users: Option<&[(User, Place)]>,
) -> Result<BTreeSet<String>, Reported> {
    let Some(list) = section.texts(key)? else {
        return Ok(BTreeSet::new());
    };
    let mut names = BTreeSet::new();
    let mut outcome = Ok(());
    for Field { value, place } in list.value {
        if let Some(users) = users
            && !users.iter().any(|(user, _)| user.name == value)
        {
            let known = users.iter().map(|(user, _)| user.name.as_str());
            let problem = Problem::new(&place, format!("`{key}`: no [[user]] is called `{value}`"));
            outcome = Err(section.report(problem.maybe_help(nearest(&value, known))));
        }
        names.insert(value);
    }
    outcome.map(|()| names)
}

pub(super) fn databases(root: &Section<'_>, shards: Option<&[Shard]>) -> Result<Vec<Database>, Reported> {
    let sections = root.list("database");
    if sections.is_empty() {
        return Err(root.report(Problem::new(
            &root.place(),
            "the configuration has no [[database]]",
        )));
    }
    let databases: Vec<_> = sections.iter().map(|section| database(section, shards)).collect();
    let databases = databases.into_iter().collect::<Result<Vec<_>, _>>()?;
    distinct(
        root,
        "database",
        databases
            .iter()
            .map(|(database, place)| (database.name.clone(), place)),
    )?;
    Ok(databases.into_iter().map(|(database, _)| database).collect())
}

fn database(section: &Section<'_>, shards: Option<&[Shard]>) -> Result<(Database, Place), Reported> {
    let name = name(section);
    let dbname = section.text("dbname");
    let default_shard = section.text("default_shard");
    section.close();
    let (name, dbname) = (name?, dbname?);
    if ADMIN_DATABASES.contains(&name.value.as_str()) {
        let message = format!("`{}` is the admin database", name.value);
        return Err(section.report(Problem::new(&name.place, message).help("give the database another name")));
    }
    let default_shard = match default_shard? {
        Some(field) => shard_called(section, &field, shards)?,
        None => ShardId(0),
    };
    let dbname = dbname.map_or_else(|| name.value.clone(), |field| field.value);
    Ok((
        Database {
            name: name.value,
            dbname,
            default_shard,
        },
        name.place,
    ))
}

/// The shard that `field` names. While the shards themselves are wrong, any name will do: that was reported.
pub(super) fn shard_called(
    section: &Section<'_>,
    field: &Field<String>,
    shards: Option<&[Shard]>,
) -> Result<ShardId, Reported> {
    let Some(shards) = shards else {
        return Ok(ShardId(0));
    };
    match shards.iter().find(|shard| *shard.name == field.value) {
        Some(shard) => Ok(shard.id),
        None => {
            let problem = Problem::new(&field.place, format!("no [[shard]] is called `{}`", field.value));
            let help = nearest(&field.value, shards.iter().map(|shard| &*shard.name));
            Err(section.report(problem.maybe_help(help)))
        }
    }
}

/// Replication slots must have names that PostgreSQL takes, and different databases different ones.
pub(super) fn slot_names(root: &Section<'_>, settings: &Settings) -> Result<(), Reported> {
    for (index, database) in settings.databases.iter().enumerate() {
        let slot = settings.slot_name(database);
        if slot.len() > MAX_NAME_BYTES {
            let message =
                format!("the replication slot `{slot}` has a name longer than {MAX_NAME_BYTES} bytes");
            return Err(
                root.report(Problem::new(&root.place(), message).help("shorten proxy_id or slot_prefix"))
            );
        }
        let clash = settings.databases.iter().take(index).find(|other| {
            other.dbname != database.dbname && slot_part(&other.dbname) == slot_part(&database.dbname)
        });
        if let Some(other) = clash {
            let message = format!(
                "databases `{}` and `{}` would share the replication slot `{slot}`",
                other.dbname, database.dbname
            );
            return Err(root.report(Problem::new(&root.place(), message)));
        }
    }
    Ok(())
}
