//! All services in one process, in two regions, each with a gateway before it.

use anyhow::Result;
use cluster::{MongoDb, Programs};
use ringway_sdk::partner::local::LocalPartner;
use ringway_sdk::partner::{PartnerSettings, Secret};
use ringway_sdk::service::{Environment, Server, ServerSettings, Service};
use ringway_sdk::web::{Keys, Signer};
use ringway_sdk::{Context, Database};
use serde_json::Value;
use shop_testing::{BOUND, Backing, Client, Region, Scene, Webhooks};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// What signing keys are sealed with.
pub(crate) const SEAL: &str = "the-seal-of-signing-keys";
/// What the payment provider knows us by.
pub(crate) const PROVIDER_SECRET: &str = "the-secret-of-the-provider";
/// What the carrier knows us by.
pub(crate) const CARRIER_SECRET: &str = "the-secret-of-the-carrier";

/// The shop.
pub(crate) struct Room {
    pub(crate) scene: Scene,
    /// The OpenAPI document of each service.
    pub(crate) documents: BTreeMap<&'static str, Value>,
    /// A key that all services know, for tokens as the user service doesn't make them.
    pub(crate) signer: Signer,
    gateways: [Server; 2],
    _mongodb: Option<MongoDb>,
    _partners: [LocalPartner; 2],
    _webhooks: [Webhooks; 2],
}

type Documents = Mutex<BTreeMap<&'static str, Value>>;

/// How the user service is run.
pub(crate) fn user_settings() -> shop_user::Settings {
    shop_user::Settings::new(SEAL.into())
}

/// The user service's keys, and one more.
fn keys(database: &Database, signer: &Signer) -> Keys {
    let (database, more) = (database.clone(), signer.public().clone());
    Keys::new(move || {
        let (database, more) = (database.clone(), more.clone());
        async move {
            let context = Context::background().with_timeout(BOUND);
            let keys = shop_user::public_keys(&database, &context, &user_settings()).await;
            let mut keys = keys.map_err(|problem| problem.to_string())?;
            keys.keys.push(more);
            Ok(keys)
        }
    })
}

fn services(
    environment: &mut Environment,
    [payment, shipping]: &[PartnerSettings; 2],
    signer: &Signer,
    documents: &Documents,
) -> Result<Vec<Service>> {
    environment.keys = keys(&environment.database, signer);
    let own = environment.peers["notification"].clone();
    let services = vec![
        shop_user::service(environment, user_settings())?,
        shop_product::service(environment)?,
        shop_order::service(environment, shop_order::Settings::default())?,
        shop_inventory::service(environment, shop_inventory::Settings::default())?,
        shop_payment::service(environment, payment)?,
        shop_shipping::service(environment, shipping)?,
        shop_notification::service(environment, shop_notification::Settings::new(&own))?,
        shop_analytics::service(environment)?,
        shop_fraud::service(environment, shop_fraud::Settings::default())?,
        shop_recommendation::service(environment)?,
    ];
    let mut documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
    for service in &services {
        let document = service.openapi().map(serde_json::to_value).transpose()?;
        documents.insert(service.name(), document.unwrap_or_default());
    }
    Ok(services)
}

/// A gateway on a port of its own.
pub(crate) async fn gateway(environment: &Environment, settings: shop_gateway::Settings) -> Result<Server> {
    let service = shop_gateway::service(environment, settings)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at_once = ServerSettings {
        unready: Duration::ZERO,
        ..ServerSettings::default()
    };
    Ok(Server::start(listener, environment, vec![service], at_once)?)
}

impl Room {
    /// Starts everything. Without a MongoDB the read models are off.
    pub(crate) async fn start() -> Result<Self> {
        let mongodb = match (MongoDb::elsewhere(), Programs::mongodb()) {
            (None, Err(missing)) => {
                println!("WITHOUT READ MODELS: {missing}");
                None
            }
            _ => Some(MongoDb::start().await?),
        };
        let webhooks = [Webhooks::start().await?, Webhooks::start().await?];
        let provider = shop_payment::local::provider(Secret::new(PROVIDER_SECRET), webhooks[0].url());
        let carrier = shop_shipping::local::carrier(Secret::new(CARRIER_SECRET), webhooks[1].url());
        let at = [
            shop_payment::local::listen(&provider, 0).await?,
            carrier.listen(0, axum::Router::new()).await?,
        ];
        let [payment, shipping] = at.map(|address| format!("http://{address}"));
        let partners = [
            PartnerSettings::new(&payment, Secret::new(PROVIDER_SECRET)),
            PartnerSettings::new(&shipping, Secret::new(CARRIER_SECRET)),
        ];
        let (documents, signer, usual) = (
            Documents::default(),
            Signer::generate()?,
            shop_gateway::Settings::default,
        );
        let scene = Box::pin(Scene::start(Backing::Full, |environment| {
            environment.mongodb = mongodb.as_ref().map(MongoDb::uri);
            services(environment, &partners, &signer, &documents)
        }))
        .await?;
        for (webhooks, of) in webhooks.iter().zip(["payments", "shipments"]) {
            webhooks.pass_on_to(&format!("{}/api/v1/{of}/webhook", scene.url(Region::UsWest)));
        }
        let gateways = [
            gateway(scene.environment(Region::UsEast), usual()).await?,
            gateway(scene.environment(Region::UsWest), usual()).await?,
        ];
        let room = Self {
            scene,
            documents: documents.into_inner()?,
            signer,
            gateways,
            _mongodb: mongodb,
            _partners: [provider, carrier],
            _webhooks: webhooks,
        };
        shop_product::seed::seed(room.scene.environment(Region::UsEast), 8)
            .await
            .map_err(ringway_sdk::web::Problem::from)?;
        room.scene.cluster.wait_replayed().await?;
        Ok(room)
    }

    /// Whether there are read models.
    pub(crate) fn has_read_models(&self) -> bool {
        self._mongodb.is_some()
    }

    /// The gateways' addresses, us-east first.
    pub(crate) fn gateways(&self) -> [String; 2] {
        [0, 1].map(|at| format!("http://{}", self.gateways[at].address()))
    }

    /// The services' own addresses, us-east first.
    pub(crate) fn services(&self) -> [String; 2] {
        Region::ALL.map(|region| self.scene.url(region))
    }

    /// Somebody at the gateway who hasn't signed in.
    pub(crate) fn anybody(&self) -> Client {
        self.scene.client_of(self.gateways(), Region::UsEast)
    }

    /// Ends it in order.
    pub(crate) async fn end(self) {
        let [east, west] = self.gateways;
        tokio::join!(east.stop(), west.stop());
        self.scene.stop_services().await;
    }
}
