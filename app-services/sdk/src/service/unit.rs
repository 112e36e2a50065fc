//! One service, as a value.

use super::environment::{Environment, Primary};
use super::table::Table;
use super::tasks::{Stop, Task};
use crate::context::Context;
use crate::database::{Database, Reader, Transaction};
use crate::error::Result;
use crate::events::{
    Consumer, ConsumerSettings, Event, Failure, Relay, RelaySettings, TopicSettings, ensure_topics,
};
use crate::level::Level;
use crate::partner::{Deals, Desk};
use crate::projection::Projector;
use crate::purge::{Purge, PurgeSettings};
use crate::rpc::{Gate, through as through_grpc};
use crate::saga::{Call, Definition, Orchestrator, Outcome};
use crate::store::Store;
use crate::web::{Edge, complete, through, wrong_method};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use http::HeaderValue;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::NoTls;
use tonic::server::NamedService;
use tower::ServiceExt;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Between two looks for sagas that this process has not started, or that wait for another try.
const SAGA_POLL: Duration = Duration::from_millis(250);

/// Between two looks at an outbox that was empty.
const RELAY_POLL: Duration = Duration::from_millis(50);

/// A service: its tables, its routes, what it does by itself.
pub struct Service {
    name: &'static str,
    environment: Environment,
    schema: Vec<String>,
    tables: String,
    table_names: Vec<String>,
    topics: Vec<String>,
    retry_topics: Vec<String>,
    pub(crate) http: Router,
    pub(crate) openapi: Option<OpenApi>,
    pub(crate) grpc: Router,
    pub(crate) tasks: Vec<Task>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service that does nothing yet.
    pub fn new(name: &'static str, environment: &Environment) -> Self {
        Self {
            name,
            environment: environment.clone(),
            schema: Vec::new(),
            tables: String::new(),
            table_names: Vec::new(),
            topics: Vec::new(),
            retry_topics: Vec::new(),
            http: Router::new(),
            openapi: None,
            grpc: Router::new(),
            tasks: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The SDK's tables of this store, and for each shard a relay of its outbox and a purge of its old rows.
    #[must_use]
    pub fn store(mut self, store: &Store) -> Self {
        self.schema.extend(store.schema());
        self.tables.push_str(&store.ringway_tables());
        self.table_names.extend(store.table_names());
        for Primary { shard, url } in self.environment.primaries.clone() {
            let store = store.clone();
            let name = format!("purge of {} on shard {shard}", store.name());
            self.tasks.push(Task::new(name, move |stop| {
                let purge = Purge::new(&store, &url, PurgeSettings::default(), NoTls);
                async move {
                    match purge {
                        Ok(purge) => purge.run(stop.cancelled()).await,
                        Err(error) => tracing::error!(%error, "a purge can't begin"),
                    }
                }
            }));
        }
        let Some(kafka) = self.environment.kafka.clone() else {
            tracing::warn!(
                service = self.name,
                "there is no Kafka: events stay in the outbox"
            );
            return self;
        };
        for Primary { shard, url } in self.environment.primaries.clone() {
            let (store, kafka) = (store.clone(), kafka.clone());
            let name = format!("relay of {} on shard {shard}", store.name());
            self.tasks.push(Task::new(name, move |stop| {
                let mut settings = RelaySettings::new(url.clone(), shard, kafka.clone());
                settings.poll = RELAY_POLL;
                let relay = Relay::new(&store, settings, NoTls);
                async move {
                    match relay {
                        Ok(relay) => relay.run(stop.cancelled()).await,
                        Err(error) => tracing::error!(%error, "a relay can't begin"),
                    }
                }
            }));
        }
        self
    }

    /// The table of a desk's errands, and the task that asks for open ones.
    #[must_use]
    pub fn desk<D: Deals>(mut self, desk: &Desk<D>) -> Self {
        let name = desk.table_name();
        let section =
            format!("\n[[table]]\nname = \"{name}\"\nsharding = \"hash\"\ncolumn = \"shard_key\"\n");
        self.schema.extend(desk.schema());
        self.tables.push_str(&section);
        self.table_names.push(name);
        let desk = desk.clone();
        self.task("errands", move |stop| desk.clone().settle_until(stop))
    }

    /// DDL, one statement after the other; each may be run again. Run on every shard, through Ringway, by [`install`].
    #[must_use]
    pub fn schema(mut self, statements: &[&str]) -> Self {
        self.schema
            .extend(statements.iter().map(|statement| (*statement).to_owned()));
        self
    }

    /// How Ringway is to spread a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push_str(&table.to_string());
        self.table_names.push(table.name().to_owned());
        self
    }

    /// A topic that it publishes to.
    #[must_use]
    pub fn topic(mut self, topic: &str) -> Self {
        self.topics.push(topic.to_owned());
        self
    }

    /// Routes of HTTP, with their OpenAPI document. Their layer is put around them here.
    #[must_use]
    pub fn http(mut self, routes: OpenApiRouter) -> Self {
        let edge = Arc::new(self.edge());
        let (router, document) = routes.split_for_parts();
        let router = router
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(Arc::clone(&edge), through))
            .layer(DefaultBodyLimit::max(edge.limits.body));
        self.http = self.http.merge(router);
        let document = complete(document, self.name);
        self.openapi = Some(match self.openapi {
            Some(before) => before.merge_from(document),
            None => document,
        });
        self
    }

    /// A gRPC service: the generated server around a handler.
    #[must_use]
    pub fn grpc<S>(mut self, server: S) -> Self
    where
        S: tonic::codegen::Service<http::Request<tonic::body::Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        let gate = Arc::new(Gate(self.edge()));
        let served =
            server.map_request(|request: axum::extract::Request| request.map(tonic::body::Body::new));
        let router = Router::new()
            .route_service(&format!("/{}/{{*method}}", S::NAME), served)
            .layer(from_fn_with_state(gate, through_grpc));
        self.grpc = self.grpc.merge(router);
        self
    }

    /// Acts on events of these kinds of a topic, once in effect, in the name of the service: with the inbox of `store`, and the retry
    /// topics that belong to it.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn consumer<F, Fut>(
        self,
        store: &Store,
        topic: &str,
        kinds: &'static [&'static str],
        work: F,
    ) -> Result<Self>
    where
        F: Fn(Transaction, Arc<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let name = self.name;
        let settings = |kafka| ConsumerSettings::new(kafka, topic, name).only(kinds);
        self.consumer_with(store, settings, work)
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn consumer_with<F, Fut>(
        mut self,
        store: &Store,
        settings: impl FnOnce(crate::events::KafkaSettings) -> ConsumerSettings,
        work: F,
    ) -> Result<Self>
    where
        F: Fn(Transaction, Arc<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Some(kafka) = self.environment.kafka.clone() else {
            tracing::warn!(service = self.name, "there is no Kafka: no events are acted on");
            return Ok(self);
        };
        let mut settings = settings(kafka);
        let instance = || format!("{}.{}", self.environment.instance, self.name);
        settings.instance.get_or_insert_with(instance);
        let topic = settings.topics.topic().to_owned();
        let name = format!("consumer {} of {topic}", settings.topics.consumer());
        let consumer = Consumer::new(&self.environment.database, store, settings)?;
        self.topics.push(topic);
        self.retry_topics.extend(consumer.retry_topics());
        let (consumer, work) = (Arc::new(consumer), Arc::new(work));
        self.tasks.push(Task::new(name, move |stop| {
            let (consumer, work) = (Arc::clone(&consumer), Arc::clone(&work));
            async move {
                let acting = consumer.run(move |tx, event| work(tx, event));
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = acting => if let Err(error) = ended {
                        tracing::error!(%error, "a consumer failed");
                    },
                }
            }
        }));
        Ok(self)
    }

    /// Moves the sagas of a definition on.
    #[must_use]
    pub fn saga<F, Fut>(mut self, store: &Store, definition: Definition, act: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let orchestrator = Orchestrator::new(&self.environment.database, store, definition, SAGA_POLL);
        let act = Arc::new(act);
        let name = format!("saga {}", definition.name);
        self.tasks.push(Task::new(name, move |stop| {
            let (orchestrator, act) = (orchestrator.clone(), Arc::clone(&act));
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = orchestrator.run(move |call| act(call)) => {}
                }
            }
        }));
        self
    }

    /// Keeps a read model up to date; without a projector it is off, and the log says so.
    #[must_use]
    pub fn projection(mut self, projector: Option<Projector>) -> Self {
        let Some(projector) = projector.map(Arc::new) else {
            tracing::warn!(
                service = self.name,
                "READ MODELS ARE OFF: they need a MongoDB and a Kafka"
            );
            return self;
        };
        let name = format!("projection of {}", self.name);
        self.tasks.push(Task::new(name, move |stop| {
            let projector = Arc::clone(&projector);
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = projector.run() => {}
                }
            }
        }));
        self
    }

    /// Something that it does by itself until `Stop` ends. It is begun again if it ends before.
    #[must_use]
    pub fn task<F, Fut>(mut self, name: &str, begin: F) -> Self
    where
        F: Fn(Stop) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.tasks
            .push(Task::new(format!("{} of {}", name, self.name), begin));
        self
    }

    /// The `[[table]]` sections for Ringway's configuration.
    pub fn ringway_tables(&self) -> &str {
        &self.tables
    }

    /// The OpenAPI document, if it has routes.
    pub fn openapi(&self) -> Option<&OpenApi> {
        self.openapi.as_ref()
    }

    fn edge(&self) -> Edge {
        let environment = &self.environment;
        Edge {
            service: self.name,
            region: HeaderValue::from_str(&environment.region)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            keys: environment.keys.clone(),
            limits: environment.limits,
            metrics: environment.metrics.clone(),
            key: environment.service_key.clone(),
        }
    }
}

/// Between two questions whether a table is known.
const KNOWN_POLL: Duration = Duration::from_millis(50);

/// Waits until the Ringway of `database` knows the tables of services: those that others have made through another Ringway it finds by and by.
///
/// # Errors
/// The last one when the context's time is over.
pub async fn wait_known(database: &Database, context: &Context, services: &[Service]) -> Result<()> {
    for name in services.iter().flat_map(|service| &service.table_names) {
        // A service's own word, no input.
        let sql = format!("SELECT 1 FROM {name} LIMIT 1");
        let look = async |reader: Reader| reader.query(&sql, &[]).await;
        while let Err(error) = database
            .read::<_, crate::Error, _, _>(context, Level::Strong, look)
            .await
        {
            if context.deadline().left() == Some(Duration::ZERO) {
                return Err(error);
            }
            tokio::time::sleep(KNOWN_POLL).await;
        }
    }
    Ok(())
}

/// Makes the tables and topics of services that are missing.
///
/// # Errors
/// Ringway's or Kafka's.
pub async fn install(environment: &Environment, services: &[Service], topics: TopicSettings) -> Result<()> {
    let context = Context::background();
    for statement in services.iter().flat_map(|service| &service.schema) {
        let run = async |tx: Transaction| -> Result<()> { tx.execute(statement, &[]).await.map(drop) };
        environment.database.transaction(&context, run).await?;
    }
    let Some(kafka) = &environment.kafka else {
        return Ok(());
    };
    let all = |of: fn(&Service) -> &[String]| -> BTreeSet<&str> {
        services.iter().flat_map(of).map(String::as_str).collect()
    };
    for (names, settings) in [
        (all(|service| &service.topics), topics),
        (all(|service| &service.retry_topics), topics.of_retries()),
    ] {
        if !names.is_empty() {
            ensure_topics(kafka, &Vec::from_iter(names), settings).await?;
        }
    }
    Ok(())
}
