//! The one public address of a region: forwards `/api/v1/...` to the services of the same region.
//!
//! In: HTTP from anybody. Out: the same requests to services, with who has asked (`ringway-client`), the causal token, the time that is left and the trace.
//! Also the shop's page for people (`/`), which has nothing from other hosts. Each service verifies the caller's token itself; the gateway refuses what isn't valid before it costs a service anything.
//!
//! **Invariant:** only what the table of [`route`](mod@route) names is reached from outside, by the path that was asked for: never a gRPC method.
//! **Invariant:** a request that comes with the services' key, or says whom it comes from, is not believed.
//! **Invariant:** rates are bounded also while Redis is gone, then for each process.

mod cors;
mod documents;
mod forward;
mod page;
mod regions;
mod route;

use axum::middleware::from_fn_with_state;
use ringway_sdk::breaker::BreakerSettings;
use ringway_sdk::limit::{Limiter, Rate};
use ringway_sdk::rpc::ServiceKey;
use ringway_sdk::service::{Environment, Service};
use ringway_sdk::{Error, Guard, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;

ringway_sdk::refusals! {
    /// What the gateway refuses by itself.
    pub enum Refusal {
        /// No service answers there.
        NoRoute = NOT_FOUND "no-such-route" "there is nothing at this path",
        /// A path with `..` in it, or the like.
        CrookedPath = BAD_REQUEST "crooked-path" "the path is not written plainly",
    }
}

/// The service that answers a path; none if the gateway doesn't pass it on.
pub fn service_of(path: &str) -> Option<&'static str> {
    route::of(path)
}

/// How the gateway is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often an address may ask.
    pub by_address: Rate,
    /// How often a user may ask.
    pub by_user: Rate,
    /// When a service that fails is left alone.
    pub breaker: BreakerSettings,
    /// The gateways of all regions, as people reach them.
    pub regions: BTreeMap<String, String>,
    /// Where customers' browsers turn a card into a token of the payment provider.
    pub card_tokens: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let per = Duration::from_secs(60);
        Self {
            by_address: Rate { calls: 6_000, per },
            by_user: Rate { calls: 1_200, per },
            breaker: BreakerSettings::default(),
            regions: BTreeMap::new(),
            card_tokens: None,
        }
    }
}

/// A service behind the gateway.
#[derive(Debug)]
struct Behind {
    url: String,
    guard: Guard,
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Gateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    behind: BTreeMap<&'static str, Behind>,
    key: ServiceKey,
    by_address: Limiter,
    by_user: Limiter,
    documents: documents::Documents,
    regions: regions::Regions,
    card_tokens: Option<String>,
}

/// The service. It has a listener of its own: the paths that it forwards are those of the services.
///
/// # Errors
/// The environment's Redis has a malformed URL; a service's address isn't known.
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .pool_max_idle_per_host(256)
        .build()
        .map_err(|error| Error::setting(format!("no HTTP client: {error}")))?;
    let address = |name: &'static str| {
        let url = environment.peers.get(name)?.trim_end_matches('/').to_owned();
        Some((
            name,
            Behind {
                url,
                guard: Guard::new(settings.breaker),
            },
        ))
    };
    let behind = route::services().filter_map(address).collect();
    let redis = environment.redis.as_deref();
    let gateway = Gateway(Arc::new(Shared {
        http,
        behind,
        key: environment.service_key.clone(),
        by_address: Limiter::new("gateway-address", settings.by_address, redis)?,
        by_user: Limiter::new("gateway-user", settings.by_user, redis)?,
        documents: documents::Documents::default(),
        regions: regions::Regions {
            here: environment.region.clone(),
            gateways: settings.regions,
        },
        card_tokens: settings.card_tokens,
    }));
    let routes = OpenApiRouter::new()
        .route("/api/v1/{*path}", axum::routing::any(forward::forward))
        .route("/.well-known/jwks.json", axum::routing::get(forward::forward))
        .route("/api/regions", axum::routing::get(regions::show))
        .route("/api/openapi.json", axum::routing::get(documents::merged))
        .route("/docs", axum::routing::get(documents::page))
        .route("/api/shop", axum::routing::get(page::shop))
        .route("/", axum::routing::get(page::page))
        .route("/page/{file}", axum::routing::get(page::file))
        .layer(from_fn_with_state(gateway.clone(), cors::through))
        .with_state(gateway);
    Ok(Service::new("gateway", environment).http(routes))
}
