//! What is counted of requests.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The prefix of all names.
const PREFIX: &str = "ringway_shop";

/// The first bucket of times, in seconds; each further one is twice as wide.
const FIRST_BUCKET: f64 = 0.001;
const BUCKETS: u16 = 14;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Request {
    /// The service.
    service: &'static str,
    /// HTTP's method; `grpc` for a call of another service.
    method: &'static str,
    /// The route as it was declared, never the path itself.
    route: String,
    /// The HTTP status, or gRPC's code.
    status: u16,
}

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    seconds: Family<Request, Histogram>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let seconds: Family<Request, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS)));
        registry.register(
            "request_seconds",
            "Time until a request was answered, by service, method, route and status",
            seconds.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            seconds,
        }
    }
}

impl Metrics {
    /// Adds metrics of a service's own.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request was answered.
    pub(crate) fn answered(
        &self,
        service: &'static str,
        method: &'static str,
        route: &str,
        status: u16,
        took: Duration,
    ) {
        let request = Request {
            service,
            method,
            route: route.to_owned(),
            status,
        };
        self.seconds.get_or_create(&request).observe(took.as_secs_f64());
    }

    /// OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut all = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String can't fail.
        let _ = text::encode(&mut all, &registry);
        all
    }
}
