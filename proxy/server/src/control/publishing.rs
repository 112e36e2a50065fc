//! Sees to it that the shards publish the changes of the tables that are cached, and of no others.
//!
//! **Invariant:** a table is reported as published only if every shard that has rows of it said so after the tickets of the
//! catalog were taken; a shard that could not be asked has no ticket, so that nothing of it is kept.

use crate::control::catalog::{self, CatalogError};
use crate::control::catalog_task::{CatalogReader, LoadError};
use crate::control::link;
use crate::shared::DatabaseContext;
use planner::{Catalog, Tables};
use settings::Settings;
use std::collections::{HashMap, HashSet};
use topology::{EndpointId, ShardId, Sharding, TableName};

/// The tables of a shard, and whether it publishes them.
type Publication = HashMap<TableName, bool>;

/// What the shards other than the default one said.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(HashMap<ShardId, Publication>);

impl Elsewhere {
    /// Whether this shard could be asked.
    pub(crate) fn answered(&self, shard: ShardId) -> bool {
        self.0.contains_key(&shard)
    }

    /// Whether all the shards that were asked and have rows of `table` publish it.
    pub(crate) fn publishes(&self, tables: &Tables, table: &TableName) -> bool {
        let Some(config) = tables.get(table) else {
            return true;
        };
        self.0
            .iter()
            .filter(|(shard, _)| has_rows(&config.sharding, **shard))
            .all(|(_, publication)| publication.get(table).copied().unwrap_or(false))
    }
}

fn has_rows(sharding: &Sharding, shard: ShardId) -> bool {
    match sharding {
        Sharding::Hash { .. } | Sharding::Reference => true,
        Sharding::Single { shard: home } => *home == shard,
    }
}

/// Connections to the shards, and what was asked of them.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    readers: HashMap<ShardId, CatalogReader>,
    /// Tables that a server was told of: it publishes them as soon as they are made.
    told: HashSet<(EndpointId, TableName)>,
    /// What is in the log already.
    said: HashMap<(ShardId, TableName), String>,
}

impl Publishing {
    /// Asks the shards other than the default one.
    pub(crate) async fn look(&mut self, settings: &Settings, database: &DatabaseContext) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        if !database.needs.stream() {
            return elsewhere;
        }
        for shard in settings.shards.iter().map(|shard| shard.id) {
            if shard == database.config.default_shard {
                continue;
            }
            match self.publication(settings, database, shard).await {
                Ok(publication) => {
                    elsewhere.0.insert(shard, publication);
                }
                Err(error) => {
                    // Whether the server is up is the probes' matter.
                    tracing::debug!(%shard, %error, "a shard's publication can't be read");
                    self.readers.remove(&shard);
                }
            }
        }
        elsewhere
    }

    async fn publication(
        &mut self,
        settings: &Settings,
        database: &DatabaseContext,
        shard: ShardId,
    ) -> Result<Publication, LoadError> {
        let reader = reader(&mut self.readers, settings, database, shard).await?;
        Ok(catalog::publication(reader.client()).await?)
    }

    /// Asks for every cached table that a shard doesn't publish. Whether anything was changed.
    pub(crate) async fn ask(
        &mut self,
        settings: &Settings,
        database: &DatabaseContext,
        here: &Catalog,
        elsewhere: &Elsewhere,
    ) -> bool {
        let mut changed = false;
        let cached = settings.tables.iter().filter(|table| table.cache.is_some());
        for table in cached.filter(|_| database.needs.stream()) {
            for shard in settings.shards.iter().map(|shard| shard.id) {
                if !has_rows(&table.sharding, shard) {
                    continue;
                }
                let known = match elsewhere.0.get(&shard) {
                    Some(publication) => publication.get(&table.name).copied(),
                    None if shard == database.config.default_shard => {
                        here.table(&table.name).map(|table| table.published)
                    }
                    None => continue,
                };
                changed |= self.ask_for(settings, database, shard, &table.name, known).await;
            }
        }
        changed
    }

    /// `known`: whether the table is published there; `None` if there is none.
    async fn ask_for(
        &mut self,
        settings: &Settings,
        database: &DatabaseContext,
        shard: ShardId,
        table: &TableName,
        known: Option<bool>,
    ) -> bool {
        let Ok(endpoint) = link::primary_of(&database.snapshot(), shard) else {
            return false;
        };
        let told = self.told.contains(&(endpoint, table.clone()));
        if known == Some(true) || (known.is_none() && told) {
            return false;
        }
        let asking = async {
            let reader = reader(&mut self.readers, settings, database, shard).await?;
            let names: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&table.schema, &table.name];
            reader
                .client()
                .execute("SELECT ringway.publish($1, $2)", &names)
                .await
                .map_err(CatalogError::from)?;
            Ok::<_, LoadError>(())
        };
        match asking.await {
            Ok(()) => {
                self.said.remove(&(shard, table.clone()));
                self.told.insert((endpoint, table.clone()));
                known == Some(false)
            }
            Err(error) => {
                self.complain(shard, table, &error);
                false
            }
        }
    }

    fn complain(&mut self, shard: ShardId, table: &TableName, error: &LoadError) {
        let text = error.to_string();
        let place = (shard, table.clone());
        if self.said.get(&place) != Some(&text) {
            tracing::warn!(%shard, %table, %error, "the table can't be cached yet: its changes are not published");
            self.said.insert(place, text);
        }
    }
}

/// An open connection to the primary of `shard`.
async fn reader<'a>(
    readers: &'a mut HashMap<ShardId, CatalogReader>,
    settings: &Settings,
    database: &DatabaseContext,
    shard: ShardId,
) -> Result<&'a mut CatalogReader, LoadError> {
    let endpoint = link::primary_of(&database.snapshot(), shard)?;
    if !readers
        .get(&shard)
        .is_some_and(|reader| reader.is_usable(endpoint))
    {
        let target = link::control_target(settings, &database.config.dbname, endpoint)?;
        readers.insert(shard, CatalogReader::open_on(&target, endpoint).await?);
    }
    readers
        .get_mut(&shard)
        .ok_or(LoadError::Link(link::LinkError::NoPrimary(shard)))
}
