//! What a service does by itself.

use crate::retry::{BudgetSettings, Policy};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Ends when the task is to end.
pub type Stop = CancellationToken;

/// A task that ran for so long had begun well.
const WELL: Duration = Duration::from_secs(60);

/// Pauses before a task begins again.
const RESTARTS: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(10),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// How a task is begun, once and again.
#[derive(Clone)]
pub(crate) struct Task {
    name: String,
    begin: Arc<dyn Fn(Stop) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.name).finish()
    }
}

impl Task {
    pub(crate) fn new<F, Fut>(name: String, begin: F) -> Self
    where
        F: Fn(Stop) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            begin: Arc::new(move |stop| Box::pin(begin(stop))),
        }
    }

    /// Runs it until it is to stop, again if it ends before.
    pub(crate) async fn run(self, stop: Stop) {
        let mut failures = 1;
        loop {
            let began = Instant::now();
            let ended = AssertUnwindSafe((self.begin)(stop.clone())).catch_unwind().await;
            if stop.is_cancelled() {
                return;
            }
            failures = if began.elapsed() >= WELL { 2 } else { failures + 1 };
            match ended {
                Ok(()) => tracing::error!(task = self.name, "a task has ended, and begins again"),
                Err(_) => tracing::error!(task = self.name, "a task has panicked, and begins again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESTARTS.pause(failures, rand::random())) => {}
            }
        }
    }
}
