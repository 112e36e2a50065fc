//! Keeps the catalog of one database: reads it from the default shard's primary at the start, when somebody asks, after the
//! primary changed, and at an interval.
//!
//! **Invariant:** never from a standby: a catalog that is behind would make plans for tables that look otherwise.

use crate::control::catalog::{self, CatalogError};
use crate::control::install::{self, Installed};
use crate::control::link::{self, LinkError};
use crate::control::publishing::Publishing;
use crate::shared::{DatabaseContext, LoadedCatalog};
use arc_swap::ArcSwap;
use coherence::FillTicket;
use planner::{Catalog, Tables};
use pool::BackendTarget;
use settings::Settings;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::NoTls;
use topology::{EndpointId, ShardId, TableName};

/// How often the catalog is read without anybody asking: so late is DDL seen that went past this proxy.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The pause after a failed attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The bound of reading it.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the catalog can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is no primary or no connection to it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Connecting failed before the login.
    #[error(transparent)]
    Connect(#[from] pool::ConnectError),
    /// The login failed or the connection broke.
    #[error("{}", server_text(.0))]
    Login(#[from] tokio_postgres::Error),
    /// The server can't be read, or says what isn't known.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It took too long.
    #[error("the catalog was not read within {LOAD_TIMEOUT:?}")]
    Silent,
    /// The server is a standby.
    #[error("the server is in recovery: it is no primary")]
    InRecovery,
}

/// tokio_postgres says what the server said only in the source of its error.
fn server_text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{}: {}", said.code().code(), said.message()),
        None => error.to_string(),
    }
}

/// A connection that catalogs are read over.
#[derive(Debug)]
pub(crate) struct CatalogReader {
    client: tokio_postgres::Client,
    endpoint: Option<EndpointId>,
}

impl CatalogReader {
    /// Connects to the server at `target`.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn open(target: &BackendTarget) -> Result<Self, LoadError> {
        let opening = async {
            let stream = pool::open(target).await?;
            let mut config = tokio_postgres::Config::new();
            config
                .user(&target.user)
                .dbname(&target.database)
                .application_name("ringway catalog")
                // TLS, where it is asked for, is below this already.
                .ssl_mode(tokio_postgres::config::SslMode::Disable);
            if let Some(password) = target.password.as_ref().and_then(pool::Password::clear) {
                config.password(password);
            }
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            // Ends when the client is dropped, or by an error that the client sees too.
            tokio::spawn(connection);
            Ok(Self {
                client,
                endpoint: None,
            })
        };
        timeout(target.connect_timeout, Box::pin(opening))
            .await
            .map_err(|_| LoadError::Silent)?
    }

    /// The same, remembering whose it is.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn open_on(target: &BackendTarget, endpoint: EndpointId) -> Result<Self, LoadError> {
        let mut reader = Self::open(target).await?;
        reader.endpoint = Some(endpoint);
        Ok(reader)
    }

    /// Whether it is open, and to this server.
    pub(crate) fn is_usable(&self, endpoint: EndpointId) -> bool {
        self.endpoint == Some(endpoint) && !self.client.is_closed()
    }

    /// The connection.
    pub(crate) fn client(&self) -> &tokio_postgres::Client {
        &self.client
    }

    /// Reads the catalog, if the server is a primary; `elsewhere` says whether the other shards publish a table. Gives `previous` itself back if nothing changed.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn load(
        &mut self,
        previous: Option<&Arc<Catalog>>,
        elsewhere: impl Fn(&TableName) -> bool,
    ) -> Result<Arc<Catalog>, LoadError> {
        let loading = async {
            let row = self
                .client
                .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])
                .await?;
            if row.try_get::<_, bool>(0)? {
                return Err(LoadError::InRecovery);
            }
            Ok(catalog::load(&mut self.client, previous, elsewhere).await?)
        };
        timeout(LOAD_TIMEOUT, Box::pin(loading))
            .await
            .map_err(|_| LoadError::Silent)?
    }
}

/// The task.
#[derive(Debug)]
pub(crate) struct CatalogTask {
    settings: Arc<ArcSwap<Settings>>,
    database: Arc<DatabaseContext>,
    reader: Option<CatalogReader>,
    previous: Option<Arc<Catalog>>,
    /// The configuration of the tables that `previous` was published under.
    tables: Arc<Tables>,
    publishing: Publishing,
    /// The lives of primaries that were found to have the install script.
    fit: HashMap<ShardId, (EndpointId, u64)>,
}

impl CatalogTask {
    /// For a database of which nothing was read.
    pub(crate) fn new(settings: Arc<ArcSwap<Settings>>, database: Arc<DatabaseContext>) -> Self {
        Self {
            settings,
            tables: database.tables.load_full(),
            database,
            reader: None,
            previous: None,
            publishing: Publishing::default(),
            fit: HashMap::new(),
        }
    }

    /// Reads without end. `versions` tells of every snapshot.
    pub(crate) async fn run(mut self, mut versions: watch::Receiver<u64>) {
        let mut ticks = interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut primary = None;
        loop {
            let wait_for_primary = async {
                loop {
                    let found =
                        link::primary_of(&self.database.snapshot(), self.database.config.default_shard).ok();
                    if found != primary && found.is_some() {
                        return;
                    }
                    if versions.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            };
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.database.reload_requested() => {}
                () = wait_for_primary => {}
            }
            primary = link::primary_of(&self.database.snapshot(), self.database.config.default_shard).ok();
            if self.database.needs.schema() {
                self.check_installed().await;
            }
            // Whoever asked before this moment is answered by what is read from here on.
            let answers = self.database.reload_requests();
            match self.load().await {
                Ok(loaded) => {
                    self.previous = Some(Arc::clone(&loaded.catalog));
                    self.database.status.catalog_error.store(None);
                    self.database.publish_catalog(loaded, answers);
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn load(&mut self) -> Result<LoadedCatalog, LoadError> {
        let endpoint = link::primary_of(&self.database.snapshot(), self.database.config.default_shard)?;
        let settings = self.settings.load_full();
        let mut reader = match self.reader.take().filter(|reader| reader.is_usable(endpoint)) {
            Some(reader) => reader,
            None => {
                let target = link::control_target(&settings, &self.database.config.dbname, endpoint)?;
                CatalogReader::open_on(&target, endpoint).await?
            }
        };
        let mut tickets = self.tickets();
        let tables = self.database.tables.load_full();
        let elsewhere = self.publishing.look(&settings, &self.database).await;
        for (shard, ticket) in (0..).map(ShardId).zip(&mut tickets) {
            let is_known = shard == self.database.config.default_shard || elsewhere.answered(shard);
            *ticket = ticket.take_if(|_| is_known);
        }
        let mut catalog = reader
            .load(self.previous.as_ref(), |table| {
                elsewhere.publishes(&tables, table)
            })
            .await?;
        let asking = self
            .publishing
            .ask(&settings, &self.database, &catalog, &elsewhere);
        if Box::pin(asking).await {
            // What is published from here on is seen by the next look.
            self.database.request_reload();
        }
        if !Arc::ptr_eq(&tables, &self.tables) {
            // Plans are remembered by the catalog's version: those made for other tables must not be found again.
            Arc::make_mut(&mut catalog).version += 1;
            self.tables = tables;
        }
        // After an error the connection is not used again.
        self.reader = Some(reader);
        Ok(LoadedCatalog { catalog, tickets })
    }

    /// Where each shard's stream stands before the catalog is read.
    fn tickets(&self) -> Vec<Option<FillTicket>> {
        let snapshot = self.database.snapshot();
        let ticket = |shard: &topology::ShardState| {
            let timeline = shard.primary()?.timeline;
            let view = self.database.coherence.shard(shard.id)?.view();
            FillTicket::on_primary(shard.id, &view, timeline).ok()
        };
        snapshot.shards.iter().map(ticket).collect()
    }

    async fn failed(&mut self, error: &LoadError) {
        let text = error.to_string();
        let said = &self.database.status.catalog_error;
        if said.load().as_ref().is_none_or(|said| **said != text) {
            tracing::warn!(database = %self.database.config.name, %error, "the catalog can't be read");
            said.store(Some(Arc::new(text)));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        // Whoever waits for a load still waits.
        self.database.repeat_reload();
    }

    /// Asks each primary once in its life whether the install script was run there; one that is not fit, every time.
    async fn check_installed(&mut self) {
        let snapshot = self.database.snapshot.load_full();
        for shard in &snapshot.shards {
            let Some(primary) = shard.primary() else { continue };
            let life = (primary.endpoint.id, primary.incarnation);
            let Some(status) = self.database.status.shard(shard.id) else {
                continue;
            };
            if self.fit.get(&shard.id) == Some(&life) {
                continue;
            }
            let settings = self.settings.load_full();
            match install::check(&settings, &self.database.config.dbname, life.0).await {
                Ok(Installed::Yes) => {
                    self.fit.insert(shard.id, life);
                    status.unfit.store(None);
                }
                Ok(found) => complain(status, &shard.name, found.complaint()),
                // That the server can't be reached is the probes' matter; a login that is refused is not seen by them alone.
                Err(LinkError::Connect(error)) if error.blame() == pool::Blame::Unreachable => {}
                Err(error) => complain(status, &shard.name, Some(error.to_string())),
            }
        }
    }
}

fn complain(status: &crate::control::status::ShardStatus, shard: &str, what: Option<String>) {
    let Some(what) = what else { return };
    if status.unfit.load().as_ref().is_none_or(|said| **said != what) {
        tracing::error!(shard, reason = %what, "a shard can't be used as it is");
        status.unfit.store(Some(Arc::new(what)));
    }
}
