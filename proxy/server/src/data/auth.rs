//! What a client has to show: the rule for it, and the secret of its user.

use crate::access::secrets::{self, KnownSecret};
use crate::admin;
use crate::data::peer::Peer;
use crate::data::thread::Thread;
use crate::shared;
use pool::ControlConnection;
use session::startup::Credential;
use settings::{AuthMethod, AuthQuery, LoginAttempt, Settings, shown_host};
use std::time::Duration;
use topology::EndpointId;
use wire::{ProxyError, sqlstate};

/// The bound of a server's answer to `auth_query`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Where the system keeps the names of its users.
const PASSWD: &str = "/etc/passwd";
/// How connections for `auth_query` call themselves in `pg_stat_activity`.
const APPLICATION_NAME: &str = "ringway auth_query";

/// Who connects, as far as the connection itself tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection<'a> {
    /// Where from.
    pub(crate) peer: Peer,
    /// Whether through TLS.
    pub(crate) tls: bool,
    /// The certificate that it showed, which a trusted authority has signed.
    pub(crate) certificate: Option<&'a [u8]>,
}

/// What is asked of a client, with the secret that it is asked by.
#[derive(Debug)]
pub(crate) struct Demand {
    /// For the handshake.
    pub(crate) credential: Credential,
    /// What was known.
    pub(crate) secret: Option<KnownSecret>,
}

impl From<Credential> for Demand {
    fn from(credential: Credential) -> Self {
        Self {
            credential,
            secret: None,
        }
    }
}

impl From<ProxyError> for Demand {
    fn from(error: ProxyError) -> Self {
        Credential::Refused(Box::new(error)).into()
    }
}

/// Finds out what `user` has to show to be let into `database`.
pub(crate) async fn demand(
    thread: &Thread,
    connection: Connection<'_>,
    user: &str,
    database: &str,
) -> Demand {
    let settings = thread.shared.settings.load_full();
    let attempt = LoginAttempt {
        address: connection.peer.tcp().map(|address| address.ip()),
        tls: connection.tls,
        user,
        database,
    };
    let Some(method) = settings.auth.rules.method(&attempt) else {
        return no_rule(&attempt).into();
    };
    match method {
        AuthMethod::Trust => Credential::Trust.into(),
        AuthMethod::Reject => rejected(&attempt).into(),
        AuthMethod::Cert => by_certificate(connection, user).into(),
        AuthMethod::Peer => by_peer(connection.peer, user).into(),
        AuthMethod::Password if !connection.tls && attempt.address.is_some() => {
            ProxyError::authorization("passwords in clear are taken over TLS only")
                .with_hint("Connect with sslmode=require or stricter.")
                .into()
        }
        AuthMethod::ScramSha256 | AuthMethod::ScramSha256Plus | AuthMethod::Md5 | AuthMethod::Password => {
            match secret(thread, &settings, user, database).await {
                Ok(secret) => Demand {
                    credential: secrets::credential(method, secret.as_ref()),
                    secret,
                },
                Err(error) => error.into(),
            }
        }
    }
}

/// PostgreSQL's words; there the rules are always those of `pg_hba.conf`.
fn no_rule(attempt: &LoginAttempt<'_>) -> ProxyError {
    ProxyError::authorization(format!("no pg_hba.conf entry for {}", described(attempt)))
}

fn rejected(attempt: &LoginAttempt<'_>) -> ProxyError {
    ProxyError::authorization(format!(
        "pg_hba.conf rejects connection for {}",
        described(attempt)
    ))
}

fn described(attempt: &LoginAttempt<'_>) -> String {
    let encryption = if attempt.tls {
        "SSL encryption"
    } else {
        "no encryption"
    };
    format!(
        "host \"{}\", user \"{}\", database \"{}\", {encryption}",
        shown_host(attempt.address),
        attempt.user,
        attempt.database
    )
}

fn by_certificate(connection: Connection<'_>, user: &str) -> Credential {
    let Some(certificate) = connection.certificate else {
        return refused("connection requires a valid client certificate");
    };
    match pool::certificate::common_name(certificate) {
        Some(name) if name == user => Credential::Trust,
        _ => refused(format!("certificate authentication failed for user \"{user}\"")),
    }
}

fn by_peer(peer: Peer, user: &str) -> Credential {
    let Peer::Unix(process) = peer else {
        return refused("peer authentication is for unix sockets");
    };
    let users = std::fs::read_to_string(PASSWD).unwrap_or_default();
    match user_of(&users, process.uid) {
        Some(name) if name == user => Credential::Trust,
        _ => refused(format!("Peer authentication failed for user \"{user}\"")),
    }
}

/// The name of a user in the form of `/etc/passwd`.
fn user_of(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then_some(name)
    })
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Credential {
    Credential::Refused(Box::new(ProxyError::authorization(message)))
}

/// The secret of `user`: the configuration's, or what a server says. `None`: there is none, or no such user.
async fn secret(
    thread: &Thread,
    settings: &Settings,
    user: &str,
    database: &str,
) -> Result<Option<KnownSecret>, ProxyError> {
    let secrets = &thread.shared.secrets;
    if let Some(configured) = secrets.configured(user) {
        return Ok(Some(configured));
    }
    let Some(query) = &settings.auth.query else {
        return Ok(None);
    };
    let Some((dbname, endpoint)) = asked(thread, settings, query, database) else {
        return Ok(None);
    };
    if let Some(found) = secrets.found(&dbname, user, health::boot_time()) {
        return Ok(Some(found));
    }
    let _turn = secrets.turn_to_ask().await;
    // Somebody else may have asked in the meantime.
    if let Some(found) = secrets.found(&dbname, user, health::boot_time()) {
        return Ok(Some(found));
    }
    let answer = ask(thread, settings, query, &dbname, endpoint, user).await?;
    Ok(answer.and_then(|text| secrets.note_found(&dbname, user, &text, health::boot_time())))
}

/// The database, as servers call it, in which the secret of a client of `database` is looked for, and the server to ask. `None`: there
/// is no such database.
fn asked(
    thread: &Thread,
    settings: &Settings,
    query: &AuthQuery,
    database: &str,
) -> Option<(String, EndpointId)> {
    let named = query.dbname.as_deref().unwrap_or(database);
    if let Some(context) = thread.shared.listed(named) {
        let snapshot = context.snapshot();
        let primary = snapshot.shard(context.config.default_shard)?.primary()?;
        return Some((context.config.dbname.clone(), primary.endpoint.id));
    }
    if query.dbname.is_none() && admin::DATABASES.contains(&named) {
        // The admin database is on no server; any database will do.
        let first = thread
            .shared
            .databases
            .first()
            .map(|context| context.config.name.clone())?;
        return asked(thread, settings, query, &first);
    }
    let wildcard = settings.wildcard.as_ref()?;
    let server = settings.shard(wildcard.default_shard)?.endpoints.first()?;
    Some((named.to_owned(), server.endpoint.id))
}

/// Asks a server for the secret of `user`.
async fn ask(
    thread: &Thread,
    settings: &Settings,
    query: &AuthQuery,
    dbname: &str,
    endpoint: EndpointId,
    user: &str,
) -> Result<Option<String>, ProxyError> {
    let (mut target, _) =
        shared::target(settings, &query.user, dbname, endpoint).ok_or_else(ProxyError::internal)?;
    target.password = thread.shared.secrets.for_server(&query.user);
    target
        .parameters
        .push(("application_name".to_owned(), APPLICATION_NAME.to_owned()));
    let connection = match pool::connect(&target, health::boot_time).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%endpoint, %error, "auth_query: can't connect to the server");
            return match error.server_error() {
                Some(server) if server.sqlstate() == sqlstate::INVALID_CATALOG_NAME => {
                    Err(ProxyError::unknown_database(dbname))
                }
                _ => Err(cannot_ask()),
            };
        }
    };
    let mut connection = ControlConnection::new(connection);
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, connection.query(&query.sql, &[user])).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(%endpoint, %error, "auth_query failed");
            return Err(cannot_ask());
        }
        Err(_) => {
            tracing::warn!(%endpoint, "auth_query was not answered in time");
            return Err(cannot_ask());
        }
    };
    connection.close().await;
    // Name and secret; NULL is a user that has none.
    Ok(answer
        .rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().nth(1))
        .flatten())
}

fn cannot_ask() -> ProxyError {
    ProxyError::fatal(
        sqlstate::CONNECTION_FAILURE,
        "the server could not be asked for the user's secret",
    )
    .with_hint("The proxy's log says why.")
}

#[cfg(test)]
mod tests {
    use super::user_of;

    #[test]
    fn users_of_the_system() {
        let users = "root:x:0:0:root:/root:/bin/bash\n# x\nbroken\n:x:7:\njo:x:1000:1000::/home/jo:/bin/sh\n";
        assert_eq!(user_of(users, 0), Some("root"));
        assert_eq!(user_of(users, 1000), Some("jo"));
        assert_eq!(user_of(users, 7), None);
        assert_eq!(user_of(users, 1), None);
    }
}
