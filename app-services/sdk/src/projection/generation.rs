//! The document store: generations of a projection's collections, and the alias that says which of them is served.

use super::change::Projection;
use crate::error::{Blame, Error, Result, Retry};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, IndexOptions};
use mongodb::{Client, Collection, Database, IndexModel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// For one answer of the document store.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// How long a reader may go by an alias that it has read.
pub(crate) const ALIAS_BOUND: Duration = Duration::from_millis(500);

/// MongoDB's code of a key that is there already.
const DUPLICATE_KEY: i32 = 11_000;

/// Where documents are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct DocumentSettings {
    /// `mongodb://...`; it may hold a password.
    pub uri: String,
    /// The database.
    pub database: String,
}

impl std::fmt::Debug for DocumentSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentSettings")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A document store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Documents(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: DocumentSettings,
    database: OnceCell<Database>,
    server: OnceCell<Server>,
}

/// What answers. They differ in what is looked up by a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Server {
    MongoDb,
    FerretDb,
}

impl Documents {
    /// The store at this place. It is looked for when it is first used.
    pub fn new(settings: DocumentSettings) -> Self {
        Self(Arc::new(Shared {
            settings,
            database: OnceCell::new(),
            server: OnceCell::new(),
        }))
    }

    async fn database(&self) -> Result<&Database> {
        self.0.database.get_or_try_init(|| self.connect()).await
    }

    pub(crate) async fn server(&self) -> Result<Server> {
        let asked = async {
            let question = self.database().await?.run_command(doc! { "buildInfo": 1 });
            let answer = bounded(question.into_future()).await?;
            Ok(
                match answer.contains_key("ferretdb") || answer.contains_key("ferretdbVersion") {
                    true => Server::FerretDb,
                    false => Server::MongoDb,
                },
            )
        };
        self.0.server.get_or_try_init(|| asked).await.copied()
    }

    /// Reads the URI, and asks for the servers' names where it says so.
    async fn connect(&self) -> Result<Database> {
        let settings = &self.0.settings;
        let malformed = |error| Error::caller("the document store's URI is malformed").with_source(error);
        let mut options = ClientOptions::parse(&settings.uri).await.map_err(malformed)?;
        options.app_name = Some("ringway-sdk".to_owned());
        options.connect_timeout = Some(ANSWER_BOUND);
        options.server_selection_timeout = Some(ANSWER_BOUND / 2);
        let client = Client::with_options(options).map_err(malformed)?;
        Ok(client.database(&settings.database))
    }

    async fn meta(&self, projection: &Projection) -> Result<Collection<Document>> {
        let database = self.database().await?;
        Ok(database.collection(&format!("{}_meta", projection.name)))
    }

    /// A collection of a generation.
    pub(crate) async fn collection(
        &self,
        projection: &Projection,
        generation: u32,
        name: &str,
    ) -> Result<Collection<Document>> {
        let database = self.database().await?;
        Ok(database.collection(&format!("{}_g{generation}_{name}", projection.name)))
    }

    /// The generation that is served.
    pub(crate) async fn served(&self, projection: &Projection) -> Result<Option<u32>> {
        let alias = bounded(
            self.meta(projection)
                .await?
                .find_one(doc! { "_id": "alias" })
                .into_future(),
        )
        .await?;
        let number = alias.and_then(|alias| alias.get_i64("generation").ok());
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// Takes a number that no generation had, and makes its indexes.
    pub(crate) async fn new_generation(&self, projection: &Projection) -> Result<u32> {
        let mut number = self
            .generations(projection)
            .await?
            .into_iter()
            .max()
            .unwrap_or_default();
        loop {
            number += 1;
            let taken = doc! { "_id": format!("g{number}"), "number": i64::from(number) };
            if !is_known(bounded(self.meta(projection).await?.insert_one(taken).into_future()).await)? {
                break;
            }
        }
        for collection in projection.collections {
            for fields in collection.indexes {
                let keys: Document = fields
                    .iter()
                    .map(|field| match field.strip_prefix('-') {
                        Some(field) => (field.to_owned(), (-1).into()),
                        None => ((*field).to_owned(), 1.into()),
                    })
                    .collect();
                let name = format!("{}_{number}_{}", collection.name, fields.join("_"));
                let options = IndexOptions::builder().name(name).build();
                let model = IndexModel::builder().keys(keys).options(options).build();
                let indexed = self.collection(projection, number, collection.name).await?;
                bounded(indexed.create_index(model).into_future()).await?;
            }
        }
        Ok(number)
    }

    /// Serves a generation from here on, unless a later one is served.
    pub(crate) async fn serve(&self, projection: &Projection, generation: u32) -> Result<()> {
        let number = i64::from(generation);
        let older = doc! { "_id": "alias", "generation": { "$lt": number } };
        let meta = self.meta(projection).await?;
        let switched = meta
            .update_one(older, doc! { "$set": { "generation": number } })
            .upsert(true);
        is_known(bounded(switched.into_future()).await).map(drop)
    }

    /// Removes the generations before the one that is served.
    pub(crate) async fn forget_before(&self, projection: &Projection, served: u32) -> Result<()> {
        for number in self.generations(projection).await? {
            if number >= served {
                continue;
            }
            let names = projection
                .collections
                .iter()
                .map(|collection| collection.name)
                .chain(["heads"]);
            for name in names {
                let dropped = self.collection(projection, number, name).await?;
                bounded(dropped.drop().into_future()).await?;
            }
            let taken = doc! { "_id": format!("g{number}") };
            bounded(self.meta(projection).await?.delete_one(taken).into_future()).await?;
        }
        Ok(())
    }

    async fn generations(&self, projection: &Projection) -> Result<Vec<u32>> {
        let found = bounded(self.meta(projection).await?.find(doc! {}).into_future()).await?;
        let all: Vec<Document> = bounded(found.try_collect()).await?;
        let numbers = all.iter().filter_map(|one| one.get_i64("number").ok());
        Ok(numbers.filter_map(|number| u32::try_from(number).ok()).collect())
    }
}

/// What a service reads.
#[derive(Clone, Debug)]
pub struct ReadModel {
    documents: Documents,
    projection: Projection,
    alias: Arc<Mutex<Option<(Instant, u32)>>>,
}

impl ReadModel {
    /// The read model of a projection.
    pub fn new(documents: &Documents, projection: Projection) -> Self {
        Self {
            documents: documents.clone(),
            projection,
            alias: Arc::default(),
        }
    }

    /// A collection of the generation that is served. It is good for one question: after a rebuild another one is served.
    ///
    /// # Errors
    /// The document store doesn't answer; no generation was ever built to the end.
    pub async fn collection(&self, name: &str) -> Result<Collection<Document>> {
        let known = *self.alias.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.filter(|(at, _)| at.elapsed() < ALIAS_BOUND);
        let generation = match fresh {
            Some((_, generation)) => generation,
            None => {
                let asked = Instant::now();
                let served = self.documents.served(&self.projection).await?;
                let served = served.ok_or_else(|| {
                    Error::new(Blame::Database, Retry::Safe, "the read model is not built yet")
                })?;
                *self.alias.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, served));
                served
            }
        };
        self.documents
            .collection(&self.projection, generation, name)
            .await
    }

    /// The first documents that a filter finds, in this order.
    ///
    /// # Errors
    /// As [`ReadModel::collection`].
    pub async fn find(
        &self,
        name: &str,
        filter: Document,
        order: Document,
        limit: u16,
    ) -> Result<Vec<Document>> {
        let collection = self.collection(name).await?;
        let asked = collection.find(filter).sort(order).limit(i64::from(limit));
        bounded(async { asked.await?.try_collect().await }).await
    }

    /// What an aggregation gives: at most `limit` documents.
    ///
    /// # Errors
    /// As [`ReadModel::collection`].
    pub async fn aggregate(
        &self,
        name: &str,
        mut pipeline: Vec<Document>,
        limit: u16,
    ) -> Result<Vec<Document>> {
        let collection = self.collection(name).await?;
        pipeline.push(doc! { "$limit": i64::from(limit) });
        bounded(async { collection.aggregate(pipeline).await?.try_collect().await }).await
    }
}

/// Waits for an answer.
pub(crate) async fn bounded<T>(doing: impl Future<Output = Result<T, mongodb::error::Error>>) -> Result<T> {
    match tokio::time::timeout(ANSWER_BOUND, doing).await {
        Ok(answer) => answer.map_err(|error| {
            let known = is_duplicate(&error);
            let retry = if known { Retry::Never } else { Retry::Safe };
            let blame = if known { Blame::Conflict } else { Blame::Database };
            Error::new(blame, retry, "the document store did not do what it was asked").with_source(error)
        }),
        Err(_) => Err(Error::new(
            Blame::Database,
            Retry::Safe,
            "the document store does not answer",
        )),
    }
}

/// Whether a key was there already.
pub(crate) fn is_known<T>(result: Result<T>) -> Result<bool> {
    match result {
        Ok(_) => Ok(false),
        Err(error) if error.blame() == Blame::Conflict => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}
