//! Running services.

use super::environment::Environment;
use super::listener::serve;
use super::tasks::Stop;
use super::unit::Service;
use crate::error::{Error, Result};
use crate::web::{Metrics, Together, named, not_found};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The media type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How services are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerSettings {
    /// The most connections.
    pub connections: usize,
    /// Between saying that it isn't ready and not listening any longer: so long it takes until nobody sends requests here.
    pub unready: Duration,
    /// For the requests that are left.
    pub drain: Duration,
    /// For the tasks to end.
    pub tasks: Duration,
    /// Whether `/metrics` is answered: not where everybody can ask.
    pub metrics: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections: 16_384,
            unready: Duration::from_secs(3),
            drain: Duration::from_secs(20),
            tasks: Duration::from_secs(10),
            metrics: true,
        }
    }
}

/// Services that run.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Stop,
    running: JoinHandle<()>,
}

/// What the process's own routes tell of.
#[derive(Clone)]
struct Process {
    draining: Stop,
    metrics: Metrics,
    openapi: Arc<Together>,
}

impl Server {
    /// Begins to run services.
    ///
    /// # Errors
    /// The listener has no address; a service's OpenAPI document can't be written.
    pub fn start(
        listener: TcpListener,
        environment: &Environment,
        services: Vec<Service>,
        settings: ServerSettings,
    ) -> Result<Self> {
        let address = listener.local_addr();
        let address = address.map_err(|error| Error::caller("there is no listener").with_source(error))?;
        let (draining, stop) = (environment.draining.clone(), Stop::new());
        let names: Vec<_> = services.iter().map(Service::name).collect();
        let mut openapi = Together::new(&format!("Ringway's shop: {}", names.join(", ")));
        let mut router = Router::new();
        let mut tasks = JoinSet::new();
        let tasks_stop = Stop::new();
        for service in services {
            tracing::info!(service = service.name(), %address, "a service begins");
            if let Some(document) = service.openapi() {
                openapi.add(named(document, service.name())?, |_| true);
            }
            router = router.merge(service.http).merge(service.grpc);
            for task in service.tasks {
                tasks.spawn(task.run(tasks_stop.clone()));
            }
        }
        let process = Process {
            draining: draining.clone(),
            metrics: environment.metrics.clone(),
            openapi: Arc::new(openapi),
        };
        let router = router
            .merge(own_routes(process, settings.metrics))
            .fallback(not_found);
        let ended = stop.clone();
        let running = tokio::spawn(async move {
            let listening = Stop::new();
            let serving = serve(
                listener,
                router,
                settings.connections,
                listening.clone(),
                settings.drain,
            );
            let ending = async {
                ended.cancelled().await;
                draining.cancel();
                tokio::time::sleep(settings.unready).await;
                listening.cancel();
            };
            tokio::join!(serving, ending);
            tasks_stop.cancel();
            let all = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(settings.tasks, all).await.is_err() {
                tracing::warn!("tasks are cut: they did not end in time");
            }
        });
        Ok(Self {
            address,
            stop,
            running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        // It doesn't panic, and nobody else ends it.
        drop(self.running.await);
    }
}

fn own_routes(process: Process, with_metrics: bool) -> Router {
    let routes = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(openapi));
    let routes = if with_metrics {
        routes.route("/metrics", get(metrics))
    } else {
        routes
    };
    routes.with_state(process)
}

async fn ready(State(process): State<Process>) -> Response {
    if process.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn metrics(State(process): State<Process>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], process.metrics.text()).into_response()
}

async fn openapi(State(process): State<Process>) -> Json<Value> {
    Json(process.openapi.document().clone())
}
