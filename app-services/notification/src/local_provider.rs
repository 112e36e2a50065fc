//! A provider for tests and the demo: it speaks the protocol of [`HttpProvider`](crate::HttpProvider), and misbehaves when it is asked to.
//!
//! Whom a letter goes to says how: an address that begins with `fails` gets 503, `refused` 422; `late` is taken, but the answer comes after anybody
//! has stopped waiting, and only the second time is it answered at once. A key is taken once.

use crate::channels::Letter;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than anybody waits.
const LATE: Duration = Duration::from_secs(30);

/// The most letters that are remembered.
const MAX_LETTERS: usize = 100_000;

type Taken = Arc<Mutex<HashMap<String, (Letter, u32)>>>;

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct LocalProvider {
    address: SocketAddr,
    taken: Taken,
    running: JoinHandle<()>,
}

impl LocalProvider {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> std::io::Result<Self> {
        Self::listen(0).await
    }

    /// Starts it on a port of this machine.
    ///
    /// # Errors
    /// The port can't be had.
    pub async fn listen(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let taken = Taken::default();
        let router = Router::new()
            .route("/v1/messages", post(take))
            .with_state(Arc::clone(&taken));
        let running = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the local provider has ended");
            }
        });
        Ok(Self {
            address,
            taken,
            running,
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The letters that it took for somebody, each with how often it was handed over.
    pub fn letters_to(&self, to: &str) -> Vec<(Letter, u32)> {
        lock(&self.taken)
            .values()
            .filter(|(letter, _)| letter.to == to)
            .cloned()
            .collect()
    }
}

impl Drop for LocalProvider {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn lock(taken: &Taken) -> MutexGuard<'_, HashMap<String, (Letter, u32)>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(taken): State<Taken>, headers: HeaderMap, Json(letter): Json<Letter>) -> StatusCode {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let Some(key) = key else {
        return StatusCode::BAD_REQUEST;
    };
    if letter.to.starts_with("fails") {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if letter.to.starts_with("refused") {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let late = letter.to.starts_with("late");
    let times = {
        let mut taken = lock(&taken);
        if taken.len() >= MAX_LETTERS {
            return StatusCode::TOO_MANY_REQUESTS;
        }
        let (_, times) = taken.entry(key.to_owned()).or_insert((letter, 0));
        *times += 1;
        *times
    };
    if late && times == 1 {
        tokio::time::sleep(LATE).await;
    }
    StatusCode::ACCEPTED
}
