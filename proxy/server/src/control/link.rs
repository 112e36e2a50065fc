//! A connection of the control user, for small questions.

use crate::access::secrets::password_of;
use crate::shared;
use pool::{BackendTarget, ConnectError, ControlConnection, ControlError, QueryResult};
use settings::Settings;
use std::time::Duration;
use topology::{EndpointId, ShardId, Snapshot};
use wire::SqlState;

/// The bound of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The bound of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How these connections call themselves in `pg_stat_activity`.
const APPLICATION_NAME: &str = "ringway control";

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody knows a primary of the shard.
    #[error("shard {0} has no primary that is known")]
    NoPrimary(ShardId),
    /// The settings have no such server, or its TLS can't be used.
    #[error("server {0} can't be connected to by these settings")]
    Settings(EndpointId),
    /// The settings have no control user.
    #[error("the configuration has no [control_user]")]
    NoControlUser,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server said no, or the connection broke.
    #[error(transparent)]
    Server(#[from] ControlError),
    /// It didn't answer.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// Its answer is not what was asked for.
    #[error("the answer can't be read: {0}")]
    Answer(&'static str),
}

impl LinkError {
    /// The server's SQLSTATE, where it said no.
    pub(crate) fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Server(ControlError::Server(error)) => Some(error.sqlstate()),
            _ => None,
        }
    }
}

/// The server that the probes take for the primary of `shard`.
pub(crate) fn primary_of(snapshot: &Snapshot, shard: ShardId) -> Result<EndpointId, LinkError> {
    let primary = snapshot.shard(shard).and_then(topology::ShardState::primary);
    primary
        .map(|server| server.endpoint.id)
        .ok_or(LinkError::NoPrimary(shard))
}

/// Where the control user finds `dbname` on `endpoint`.
pub(crate) fn control_target(
    settings: &Settings,
    dbname: &str,
    endpoint: EndpointId,
) -> Result<BackendTarget, LinkError> {
    target_as(settings, control_user(settings)?, dbname, endpoint)
}

/// The role that the proxy itself uses.
pub(crate) fn control_user(settings: &Settings) -> Result<&settings::User, LinkError> {
    settings
        .auth
        .control_user
        .as_ref()
        .ok_or(LinkError::NoControlUser)
}

fn target_as(
    settings: &Settings,
    user: &settings::User,
    dbname: &str,
    endpoint: EndpointId,
) -> Result<BackendTarget, LinkError> {
    let (mut target, _) =
        shared::target(settings, &user.name, dbname, endpoint).ok_or(LinkError::Settings(endpoint))?;
    target.password = password_of(user);
    target.connect_timeout = CONNECT_TIMEOUT;
    let name = ("application_name".to_owned(), APPLICATION_NAME.to_owned());
    target.parameters.push(name);
    Ok(target)
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link(ControlConnection);

impl Link {
    /// Connects as the control user.
    ///
    /// # Errors
    /// When the server can't be reached or refuses.
    pub(crate) async fn open(
        settings: &Settings,
        dbname: &str,
        endpoint: EndpointId,
    ) -> Result<Self, LinkError> {
        Self::open_as(settings, control_user(settings)?, dbname, endpoint).await
    }

    /// Connects as `user`.
    ///
    /// # Errors
    /// When the server can't be reached or refuses.
    pub(crate) async fn open_as(
        settings: &Settings,
        user: &settings::User,
        dbname: &str,
        endpoint: EndpointId,
    ) -> Result<Self, LinkError> {
        Self::connect(&target_as(settings, user, dbname, endpoint)?).await
    }

    /// Connects.
    ///
    /// # Errors
    /// When the server can't be reached or refuses.
    pub(crate) async fn connect(target: &BackendTarget) -> Result<Self, LinkError> {
        let connection = pool::connect(target, health::boot_time).await?;
        Ok(Self(ControlConnection::new(connection)))
    }

    /// Runs `sql`: one result for each statement in it. After an error other than the server's own the link is unusable.
    ///
    /// # Errors
    /// The server's, or none of its answers in time.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Vec<QueryResult>, LinkError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.0.simple_query(sql)).await {
            Ok(results) => Ok(results?),
            Err(_) => Err(LinkError::Silent(ANSWER_TIMEOUT)),
        }
    }

    /// The rows of the only statement in `sql`.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, LinkError> {
        Ok(self
            .ask(sql)
            .await?
            .pop()
            .map(|result| result.rows)
            .unwrap_or_default())
    }

    /// The only value of the only row.
    ///
    /// # Errors
    /// As [`Link::ask`], and when there is none.
    pub(crate) async fn value(&mut self, sql: &str) -> Result<String, LinkError> {
        let row = self.rows(sql).await?.into_iter().next();
        let value = row.and_then(|row| row.into_iter().next()).flatten();
        value.ok_or(LinkError::Answer("not one value"))
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}

/// `text` as an SQL literal, whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn literals_hold_their_quotes() {
        assert_eq!(literal("a"), "'a'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
