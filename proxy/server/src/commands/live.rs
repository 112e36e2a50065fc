//! What a command asks the servers, without the probes of a running proxy.

use crate::control::link::{Link, LinkError};
use futures_util::future::join_all;
use settings::{Settings, ShardEndpoint};
use topology::{EndpointId, Role, ShardId};

/// What a server said of itself.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// The server.
    pub(super) server: &'a ShardEndpoint,
    /// Its role, or why it didn't say.
    pub(super) role: Result<Role, LinkError>,
}

/// Asks every server for its role, all at once.
pub(super) async fn roles<'a>(settings: &'a Settings, dbname: &str) -> Vec<Seen<'a>> {
    let asked = settings.endpoints().map(|server| {
        Box::pin(async move {
            let role = role(settings, dbname, server.endpoint.id).await;
            Seen { server, role }
        })
    });
    join_all(asked).await
}

async fn role(settings: &Settings, dbname: &str, endpoint: EndpointId) -> Result<Role, LinkError> {
    let mut link = Link::open(settings, dbname, endpoint).await?;
    let recovering = link.value("SELECT pg_catalog.pg_is_in_recovery()").await;
    link.close().await;
    Ok(if recovering? == "f" {
        Role::Primary
    } else {
        Role::Standby
    })
}

/// The primary of `shard` among those.
pub(super) fn primary(seen: &[Seen<'_>], shard: ShardId) -> Option<EndpointId> {
    let of_shard = seen.iter().filter(|seen| seen.server.endpoint.shard == shard);
    let mut primaries = of_shard.filter(|seen| matches!(seen.role, Ok(Role::Primary)));
    primaries.next().map(|seen| seen.server.endpoint.id)
}

/// Why `shard` has no primary, in the words of its servers.
pub(super) fn no_primary(settings: &Settings, seen: &[Seen<'_>], shard: ShardId) -> anyhow::Error {
    let name = settings.shard(shard).map_or("?", |shard| &*shard.name);
    let servers = seen
        .iter()
        .filter(|seen| seen.server.endpoint.shard == shard)
        .map(|seen| {
            let endpoint = &seen.server.endpoint;
            let said = match &seen.role {
                Ok(Role::Primary) => "a primary".to_owned(),
                Ok(Role::Standby) => "a standby".to_owned(),
                Err(error) => error.to_string(),
            };
            format!("{}:{}: {said}", endpoint.host, endpoint.port)
        });
    anyhow::anyhow!(
        "no primary of {name} can be reached ({})",
        servers.collect::<Vec<_>>().join("; ")
    )
}
