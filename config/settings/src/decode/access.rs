//! Secrets, names, and the databases that users may name.

use super::{Files, auth, sections};
use crate::Secret;
use crate::context::Reported;
use crate::document::{Field, Section};
use crate::error::{Place, Problem, nearest};
use crate::hba::AuthMethod;
use crate::model::{Database, Settings, Shard, slot_part};
use topology::ShardId;

/// Names of the admin database.
const ADMIN_DATABASES: [&str; 2] = ["ringway", "pgbouncer"];
/// The name of a database that stands for all that aren't listed, as in PgBouncer.
const WILDCARD: &str = "*";
/// PostgreSQL's bound of a name, without its zero byte.
const MAX_NAME_BYTES: usize = 63;

/// The keys under which one secret may be given.
pub(super) struct SecretKeys {
    plain: &'static str,
    file: &'static str,
    variable: &'static str,
}

pub(super) const PASSWORD: SecretKeys = SecretKeys {
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

/// The databases that clients may name.
pub(super) struct Databases {
    pub(super) listed: Vec<Database>,
    /// What any other name stands for.
    pub(super) wildcard: Option<Database>,
}

pub(super) fn databases(root: &Section<'_>, shards: Option<&[Shard]>) -> Result<Databases, Reported> {
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
    let databases = databases.into_iter().map(|(database, _)| database);
    let (wildcard, listed): (Vec<_>, Vec<_>) = databases.partition(|database| database.name == WILDCARD);
    Ok(Databases {
        listed,
        wildcard: wildcard.into_iter().next(),
    })
}

fn database(section: &Section<'_>, shards: Option<&[Shard]>) -> Result<(Database, Place), Reported> {
    let name = name(section);
    let dbname = section.text("dbname");
    let default_shard = section.text("default_shard");
    let pool = auth::pool_overrides(section);
    let max_db_connections = sections::limit(section, "max_db_connections");
    let max_db_client_connections = sections::limit(section, "max_db_client_connections");
    section.close();
    let (name, dbname) = (name?, dbname?);
    if ADMIN_DATABASES.contains(&name.value.as_str()) {
        let message = format!("`{}` is the admin database", name.value);
        return Err(section.report(Problem::new(&name.place, message).help("give the database another name")));
    }
    if let (WILDCARD, Some(dbname)) = (name.value.as_str(), &dbname) {
        let message = "a database under every name can't have one `dbname` on the servers";
        return Err(section.report(Problem::new(&dbname.place, message)));
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
            pool: pool?,
            max_db_connections: max_db_connections?,
            max_db_client_connections: max_db_client_connections?,
        },
        name.place,
    ))
}

/// What can only be checked once everything else is known: which databases need a control user, and whether there can be a database
/// under every name.
pub(super) fn needs(root: &Section<'_>, settings: &Settings) -> Result<(), Reported> {
    if let Some(wildcard) = &settings.wildcard
        && settings.needs(wildcard).routing()
    {
        let problem = Problem::new(
            &root.place(),
            "a [[database]] called `*` needs all its tables on one shard, on one server, and none of them cached",
        );
        return Err(root.report(problem.help("list the databases by their names")));
    }
    if settings.auth.rules.ask_for(AuthMethod::Cert) && settings.listen.client_tls.authorities().is_none() {
        let problem = Problem::new(
            &root.place(),
            "the method `cert` needs certificates of clients to be checked",
        );
        return Err(root.report(problem.help("set client_tls_sslmode and client_tls_ca_file in [listen]")));
    }
    let needy = settings
        .databases
        .iter()
        .find(|database| settings.needs(database).routing());
    if let (Some(database), None) = (needy, &settings.auth.control_user) {
        let problem = Problem::new(
            &root.place(),
            format!(
                "the configuration has no [control_user], which database `{}` needs",
                database.name
            ),
        );
        return Err(root.report(
            problem.help("the role that the proxy itself uses on the servers: name and password_env"),
        ));
    }
    Ok(())
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
