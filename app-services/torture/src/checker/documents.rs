//! Documents: each order in the history's read model, in the state in which it is, and each event in the analytics'.

use super::{LOOK, Order, Report};
use crate::Stage;
use anyhow::Result;
use cluster::MongoDb;
use futures_util::TryStreamExt;
use mongodb::Client;
use ringway_sdk::projection::bson::Document;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use uuid::Uuid;

/// A read model's collection: its name begins and ends so, with the generation between.
type Named = (&'static str, &'static str);

const HISTORY: Named = ("order_history_g", "_order");
const ANALYTICS: Named = ("analytics_g", "_event");

pub(super) async fn check(
    stage: &Stage,
    orders: &BTreeMap<Uuid, Order>,
    events: &BTreeMap<Uuid, String>,
    began: Instant,
    bound: Duration,
    report: &mut Report,
) -> Result<()> {
    let Some(uri) = stage.cluster.mongodb().map(MongoDb::uri) else {
        return Ok(());
    };
    let client = Client::with_uri_str(&uri).await?;
    let orders: BTreeMap<String, String> = orders
        .iter()
        .map(|(id, order)| (id.to_string(), order.state.clone()))
        .collect();
    let events = events
        .iter()
        .map(|(id, topic)| (id.to_string(), topic.clone()))
        .collect();
    let mut compare = async |what: &'static str, named, field, expected: BTreeMap<String, String>| {
        let mut found = documents(&client, named, field).await?;
        while found != expected && began.elapsed() < bound {
            sleep(LOOK).await;
            found = documents(&client, named, field).await?;
        }
        report.count(what, found.len());
        let differs = expected
            .iter()
            .filter(|(id, value)| found.get(*id) != Some(value));
        report.wrong(&format!("{what}: missing or other ones"), differs);
        let too_many = found.keys().filter(|id| !expected.contains_key(*id));
        report.wrong(&format!("{what}: of nothing"), too_many);
        Ok::<_, anyhow::Error>(())
    };
    compare("documents of orders", HISTORY, "state", orders).await?;
    compare("documents of events", ANALYTICS, "topic", events).await
}

/// The documents of a collection by their ids, with the text of a field.
async fn documents(client: &Client, named: Named, field: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for database in client.list_database_names().await? {
        let database = client.database(&database);
        let mut names = database.list_collection_names().await?;
        names.retain(|name| name.starts_with(named.0) && name.ends_with(named.1));
        for name in names {
            let collection = database.collection::<Document>(&name);
            let mut documents = collection.find(Document::new()).await?;
            while let Some(document) = documents.try_next().await? {
                let text = document.get_str(field)?;
                found.insert(document.get_str("_id")?.to_owned(), text.to_owned());
            }
        }
    }
    Ok(found)
}
