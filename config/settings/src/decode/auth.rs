//! Users with their secrets and limits, the rules of who has to show what, and the question for secrets kept on the servers.

use super::access::{PASSWORD, distinct, name, secret};
use super::{Files, sections};
use crate::auth::{Auth, AuthQuery, AuthRules, PoolOverrides, User, UserSecret};
use crate::context::Reported;
use crate::document::{Field, Section};
use crate::error::{Place, Problem, nearest};
use crate::hba::{self, AuthMethod, HbaAddress, HbaConnection, HbaName, HbaRule, Named};
use std::collections::BTreeSet;

/// PgBouncer's question: what a superuser may ask, and a SECURITY DEFINER function instead of `pg_authid` anybody.
const DEFAULT_AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
    FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin";
/// The digits of an md5 hash, behind the word.
const MD5_DIGITS: usize = 32;
/// More rules than anyone reads.
const MAX_RULES: usize = 10_000;

pub(super) fn auth(root: &Section<'_>, files: &Files<'_>) -> Result<Auth, Reported> {
    let control_user = match root.optional_section("control_user") {
        Some(section) => control_user(&section, files).map(Some),
        None => Ok(None),
    };
    let users: Vec<_> = root
        .list("user")
        .iter()
        .map(|section| user(section, files))
        .collect();
    let users: Result<Vec<(User, Place)>, Reported> = users.into_iter().collect();
    let section = root.section("auth");
    let rules = rules(root, &section, files);
    let query = auth_query(&section, users.as_deref().ok());
    // Users that the configuration doesn't list may have rights if they can log in at all.
    let strangers = matches!(query, Ok(Some(_))) || rules.as_ref().is_ok_and(lets_strangers_in);
    let known = users.as_deref().ok().filter(|_| !strangers);
    let admin_users = roles(&section, "admin_users", known);
    let stats_users = roles(&section, "stats_users", known);
    section.close();
    let users = users?;
    if users.is_empty() && !strangers {
        let problem = Problem::new(
            &root.place(),
            "the configuration has no [[user]]: nobody could log in",
        );
        return Err(root.report(problem));
    }
    if !strangers && let Some((user, place)) = users.iter().find(|(user, _)| user.secret.is_none()) {
        let problem = Problem::new(place, format!("user `{}` has no password", user.name));
        return Err(root.report(problem.help("add password_file, password_env or password")));
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
        rules: rules?,
        query: query?,
    })
}

fn lets_strangers_in(rules: &AuthRules) -> bool {
    let asks_no_secret =
        |method: AuthMethod| matches!(method, AuthMethod::Trust | AuthMethod::Cert | AuthMethod::Peer);
    match rules {
        AuthRules::All(method) => asks_no_secret(*method),
        AuthRules::Hba(rules) => rules.iter().any(|rule| asks_no_secret(rule.method)),
    }
}

/// The control user logs in to servers and nowhere else, so a verifier is of no use to it.
fn control_user(section: &Section<'_>, files: &Files<'_>) -> Result<User, Reported> {
    let name = name(section);
    let password = secret(section, &PASSWORD, files);
    section.close();
    let (name, password) = (name?, password?);
    if let Some(password) = &password
        && password.value.expose().starts_with("SCRAM-SHA-256$")
    {
        let problem = Problem::new(
            &password.place,
            format!("the password of `{}` is a verifier", name.value),
        );
        return Err(section.report(problem.help("the password itself is needed to log in to the servers")));
    }
    Ok(User {
        name: name.value,
        secret: password.map(|field| UserSecret::Password(field.value)),
        pool: PoolOverrides::default(),
        max_user_connections: None,
        max_user_client_connections: None,
    })
}

fn user(section: &Section<'_>, files: &Files<'_>) -> Result<(User, Place), Reported> {
    let name = name(section);
    let secret = user_secret(section, files);
    let pool = pool_overrides(section);
    let max_user_connections = sections::limit(section, "max_user_connections");
    let max_user_client_connections = sections::limit(section, "max_user_client_connections");
    section.close();
    let name = name?;
    Ok((
        User {
            name: name.value,
            secret: secret?,
            pool: pool?,
            max_user_connections: max_user_connections?,
            max_user_client_connections: max_user_client_connections?,
        },
        name.place,
    ))
}

fn user_secret(section: &Section<'_>, files: &Files<'_>) -> Result<Option<UserSecret>, Reported> {
    let Some(Field { value, place }) = secret(section, &PASSWORD, files)? else {
        return Ok(None);
    };
    let text = value.expose();
    if text.starts_with("SCRAM-SHA-256$") {
        let parts: Vec<&str> = text.split(['$', ':']).collect();
        return match parts.as_slice() {
            [_, iterations, salt, stored, server]
                if iterations.parse::<u32>().is_ok_and(|n| n > 0)
                    && ![salt, stored, server].iter().any(|part| part.is_empty()) =>
            {
                Ok(Some(UserSecret::Scram(value)))
            }
            _ => Err(section.report(Problem::new(
                &place,
                "the password begins as a SCRAM verifier and isn't one",
            ))),
        };
    }
    let digits = text.strip_prefix("md5").unwrap_or_default();
    if digits.len() == MD5_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(Some(UserSecret::Md5(value)));
    }
    Ok(Some(UserSecret::Password(value)))
}

/// What a user or a database may have otherwise than `[pool]`.
pub(super) fn pool_overrides(section: &Section<'_>) -> Result<PoolOverrides, Reported> {
    let pool_mode = sections::pool_mode_of(section);
    let pool_size = sections::pool_count(section, "pool_size", 1);
    let min_pool_size = sections::pool_count(section, "min_pool_size", 0);
    let reserve_pool_size = sections::pool_count(section, "reserve_pool_size", 0);
    Ok(PoolOverrides {
        pool_mode: pool_mode?,
        pool_size: pool_size?,
        min_pool_size: min_pool_size?,
        reserve_pool_size: reserve_pool_size?,
    })
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

/// `auth_type` for all, or rules: `[[hba]]` or a file.
fn rules(root: &Section<'_>, section: &Section<'_>, files: &Files<'_>) -> Result<AuthRules, Reported> {
    let auth_type = section.text("auth_type");
    let file = section.text("auth_hba_file");
    let listed: Vec<_> = root
        .list("hba")
        .iter()
        .map(|rule| (hba_rule(rule), rule.place()))
        .collect();
    let (auth_type, file) = (auth_type?, file?);
    let first = listed.first().map(|(_, place)| place.clone());
    let listed = listed
        .into_iter()
        .map(|(rule, _)| rule)
        .collect::<Result<Vec<_>, _>>()?;
    let place = file.as_ref().map(|file| file.place.clone()).or(first);
    let asked_for_rules = auth_type.as_ref().is_some_and(|field| field.value == "hba");
    match (auth_type, place) {
        (Some(field), Some(place)) if !asked_for_rules => {
            let problem = Problem::new(&place, format!("rules beside `auth_type = \"{}\"`", field.value));
            Err(section.report(problem.help("leave `auth_type` out, or set it to \"hba\"")))
        }
        (Some(field), None) if asked_for_rules => {
            let problem = Problem::new(&field.place, "`auth_type = \"hba\"` without rules");
            Err(section.report(problem.help("add `auth_hba_file`, or [[hba]] tables")))
        }
        (Some(field), None) => match method_for_all(&field.value) {
            Ok(method) => Ok(AuthRules::All(method)),
            Err(why) => Err(section.report(Problem::new(&field.place, format!("`auth_type`: {why}")))),
        },
        (None, None) => Ok(AuthRules::All(AuthMethod::ScramSha256)),
        (_, Some(place)) => match file {
            Some(file) if !listed.is_empty() => Err(section.report(Problem::new(
                &file.place,
                "both `auth_hba_file` and [[hba]] tables",
            ))),
            Some(file) => hba_file(section, &file, files),
            None if listed.len() > MAX_RULES => {
                Err(section.report(Problem::new(&place, format!("more than {MAX_RULES} rules"))))
            }
            None => Ok(AuthRules::Hba(listed)),
        },
    }
}

fn method_for_all(name: &str) -> Result<AuthMethod, String> {
    // A method that needs TLS or a unix socket refuses whoever comes without.
    match AuthMethod::named(name) {
        Some(method) => Ok(method),
        None => hba::method(name, HbaConnection::Local),
    }
}

fn hba_file(section: &Section<'_>, file: &Field<String>, files: &Files<'_>) -> Result<AuthRules, Reported> {
    let path = files.path(&file.value);
    let text = (files.read)(&path).map_err(|error| {
        let message = format!("`auth_hba_file`: cannot read {}: {error}", path.display());
        section.report(Problem::new(&file.place, message))
    })?;
    match hba::parse_file(&text) {
        Ok(rules) if rules.len() <= MAX_RULES => Ok(AuthRules::Hba(rules)),
        Ok(_) => {
            let message = format!("`auth_hba_file`: more than {MAX_RULES} rules");
            Err(section.report(Problem::new(&file.place, message)))
        }
        Err((line, why)) => {
            let message = format!("`auth_hba_file`: {} line {line}: {why}", path.display());
            Err(section.report(Problem::new(&file.place, message)))
        }
    }
}

fn hba_rule(section: &Section<'_>) -> Result<HbaRule, Reported> {
    let connection = section.required_text("type");
    let databases = hba_names(section, "database", Named::Database);
    let users = hba_names(section, "user", Named::User);
    let address = section.text("address");
    let method = section.required_text("method");
    section.close();
    let (connection, address, method) = (connection?, address?, method?);
    let at = |field: &Field<String>, why: String| section.report(Problem::new(&field.place, why));
    let known = HbaConnection::NAMES
        .iter()
        .find(|(name, _)| *name == connection.value);
    let Some((_, kind)) = known else {
        let why = format!(
            "`type` must be local, host, hostssl or hostnossl, not `{}`",
            connection.value
        );
        return Err(at(&connection, why));
    };
    let address = match &address {
        Some(field) if *kind == HbaConnection::Local => {
            return Err(at(field, "a rule of type `local` has no `address`".to_owned()));
        }
        Some(field) => hba::address(&field.value).map_err(|why| at(field, why))?,
        None => HbaAddress::All,
    };
    Ok(HbaRule {
        connection: *kind,
        databases: databases?,
        users: users?,
        address,
        method: hba::method(&method.value, *kind).map_err(|why| at(&method, why))?,
    })
}

/// A list of names; every name where none is given.
fn hba_names(section: &Section<'_>, key: &'static str, what: Named) -> Result<Vec<HbaName>, Reported> {
    let Some(list) = section.texts(key)? else {
        return Ok(vec![HbaName::All]);
    };
    let names = list.value.iter();
    names
        .map(|field| {
            hba::name(&field.value, what).map_err(|why| section.report(Problem::new(&field.place, why)))
        })
        .collect()
}

/// `auth_user` switches it on; `auth_query` and `auth_dbname` say how and where.
fn auth_query(section: &Section<'_>, users: Option<&[(User, Place)]>) -> Result<Option<AuthQuery>, Reported> {
    let user = section.text("auth_user");
    let sql = section.text("auth_query");
    let dbname = section.text("auth_dbname");
    let (user, sql, dbname) = (user?, sql?, dbname?);
    let Some(user) = user else {
        return match sql.or(dbname) {
            None => Ok(None),
            Some(field) => {
                let problem = Problem::new(&field.place, "a question for secrets and nobody who asks it");
                Err(section.report(problem.help("add `auth_user`")))
            }
        };
    };
    if let Some(users) = users
        && !users.iter().any(|(known, _)| known.name == user.value)
    {
        let problem = Problem::new(
            &user.place,
            format!("`auth_user`: no [[user]] is called `{}`", user.value),
        );
        let known = users.iter().map(|(user, _)| user.name.as_str());
        return Err(section.report(problem.maybe_help(nearest(&user.value, known))));
    }
    Ok(Some(AuthQuery {
        user: user.value,
        sql: sql.map_or_else(|| DEFAULT_AUTH_QUERY.to_owned(), |field| field.value),
        dbname: dbname.map(|field| field.value),
    }))
}
