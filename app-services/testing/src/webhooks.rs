//! A way for webhooks of somebody who has to know the URL before the scene stands.

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::net::TcpListener;

/// Passes webhooks on, once it knows where to.
#[derive(Debug)]
pub struct Webhooks {
    address: SocketAddr,
    way: Arc<Way>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

#[derive(Debug, Default)]
struct Way {
    target: OnceLock<String>,
    /// What was answered with success, as somebody on the way would have recorded it.
    recorded: Mutex<Vec<(HeaderMap, Bytes)>>,
}

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
        let way = Arc::<Way>::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/", post(pass)).with_state(Arc::clone(&way));
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, way, task })
    }

    /// Where to send webhooks.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Whoever sends one from here on reaches this URL. The first one that is named stays.
    pub fn pass_on_to(&self, url: &str) {
        // Named twice, it stays the first.
        let _ = self.way.target.set(url.to_owned());
    }

    /// Sends everything that was taken once more, the newest first: as it was, with its signature. What was answered.
    pub async fn send_again(&self) -> Vec<StatusCode> {
        let recorded = self.way.recorded().clone();
        let mut answers = Vec::new();
        for (headers, body) in recorded.into_iter().rev() {
            answers.push(self.way.pass(headers, body).await);
        }
        answers
    }
}

impl Way {
    async fn pass(&self, headers: HeaderMap, body: Bytes) -> StatusCode {
        let Some(url) = self.target.get() else {
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        let request = reqwest::Client::new().post(url).headers(headers).body(body);
        request
            .send()
            .await
            .map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Vec<(HeaderMap, Bytes)>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(way): State<Arc<Way>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = way.pass(headers.clone(), body.clone()).await;
    if status.is_success() {
        way.recorded().push((headers, body));
    }
    status
}
