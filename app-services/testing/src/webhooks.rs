//! A way for webhooks of somebody who has to know the URL before the scene stands.

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// Passes webhooks on, once it knows where to.
#[derive(Debug)]
pub struct Webhooks {
    address: SocketAddr,
    target: Target,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

type Target = Arc<OnceLock<String>>;

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhooks {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start() -> Result<Self> {
        let target = Target::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", post(pass))
            .with_state(Arc::clone(&target));
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            target,
            task,
        })
    }

    /// Where to send webhooks.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Whoever sends one from here on reaches this URL. The first one that is named stays.
    pub fn pass_on_to(&self, url: &str) {
        // Named twice, it stays the first.
        let _ = self.target.set(url.to_owned());
    }
}

async fn pass(State(target): State<Target>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Some(url) = target.get() else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let sent = reqwest::Client::new()
        .post(url)
        .headers(headers)
        .body(body)
        .send()
        .await;
    sent.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
}
