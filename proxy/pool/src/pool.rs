//! A pool of connections to one server as one user, on one thread.

mod inner;
mod lease;
mod waiters;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use topology::Mono;

use crate::connection::BackendConnection;
use crate::decide::{Admission, Limits};
use crate::error::{CheckoutError, ConnectError};
use crate::quota::Quota;
use inner::Inner;
pub use lease::{Lease, Server};
pub use waiters::Waiting;

/// Opens one connection. Called again for every connection that the pool needs.
pub type Connector = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<BackendConnection, ConnectError>>>>>;

/// What a pool needs.
pub struct PoolConfig<S> {
    /// The bounds.
    pub limits: Limits,
    /// Opens a connection; must itself be bounded in time.
    pub connect: Connector,
    /// Makes the caller's state for a fresh connection (statements known there, settings applied).
    pub new_state: Rc<dyn Fn(&BackendConnection) -> S>,
    /// The clock.
    pub clock: Rc<dyn Fn() -> Mono>,
    /// Bounds that the pool shares with others.
    pub quotas: Arc<[Arc<Quota>]>,
}

impl<S> fmt::Debug for PoolConfig<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConfig")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Whether a connection is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// At rest.
    Idle,
    /// Lent.
    Active,
    /// Being tried before it is lent.
    Tested,
}

/// One connection, for `SHOW SERVERS` and for choosing which ones to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerInfo {
    /// Unique within its pool.
    pub id: u64,
    /// The process id of the backend; 0 where unknown.
    pub pid: u32,
    /// At rest or lent.
    pub state: ServerState,
    /// When it was opened.
    pub opened_at: Mono,
    /// When it was last lent or returned.
    pub used_at: Mono,
    /// How often it has been lent.
    pub checkouts: u64,
    /// Whether it will be closed when it is returned.
    pub condemned: bool,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The address of our side; `None` for unix sockets.
    pub local_addr: Option<std::net::SocketAddr>,
    /// The number of our socket.
    pub fd: i32,
}

/// How much looking after a pool needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing is open, and nobody waits.
    Nothing,
    /// Connections rest or are lent: they grow old.
    Rest,
    /// Somebody waits or is opened a connection, connections are missing, or others may want what rests here.
    Attention,
}

/// The figures of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// The most connections there may be, without the reserve.
    pub max_size: usize,
    /// Connections at rest.
    pub idle: usize,
    /// Connections lent.
    pub active: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Connections being tried.
    pub testing: usize,
    /// Of those at rest, the ones that are tried before they are lent.
    pub stale: usize,
    /// Checkouts that wait.
    pub waiting: usize,
    /// How long the one that has waited longest has waited.
    pub max_wait: Duration,
    /// Checkouts that got a connection, ever.
    pub checkouts_total: u64,
    /// Those of them that had to wait.
    pub waits_total: u64,
    /// How long they waited, all together, the unsuccessful ones included.
    pub wait_time_total: Duration,
    /// Checkouts that waited in vain until `wait_timeout`.
    pub timeouts_total: u64,
    /// Connections opened, ever.
    pub opened_total: u64,
    /// Connections closed, ever.
    pub closed_total: u64,
    /// Attempts to connect that failed, ever.
    pub connect_failures_total: u64,
}

/// A pool. Clones are handles of the same pool.
///
/// Opens connections in the background by `tokio::task::spawn_local`, so it lives in a `LocalRuntime` or a `LocalSet`.
pub struct Pool<S: 'static>(Rc<Inner<S>>);

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Pool(Rc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("load", &self.0.load())
            .finish_non_exhaustive()
    }
}

impl<S: 'static> Pool<S> {
    /// An empty pool. Nothing is opened before the first checkout or [`Pool::maintain`].
    pub fn new(config: PoolConfig<S>) -> Self {
        Pool(Inner::new(config))
    }

    /// Lends the connection that was returned last, if one is idle and nobody waits. Never waits and never opens one.
    #[inline]
    pub fn try_checkout(&self) -> Option<Lease<S>> {
        self.try_checkout_at(self.0.now())
    }

    /// The same for a caller who knows the time.
    #[inline]
    pub fn try_checkout_at(&self, now: Mono) -> Option<Lease<S>> {
        if self.0.lends() {
            self.0.lend_idle(now)
        } else {
            None
        }
    }

    /// Joins the queue for the next connection that is returned or opened, in the order of the calls.
    ///
    /// # Errors
    /// See [`CheckoutError`]: those that are known at once.
    pub fn queue(&self) -> Result<Waiting<S>, CheckoutError> {
        if self.0.is_draining() {
            return Err(CheckoutError::Draining);
        }
        let now = self.0.now();
        match self.0.admit(now) {
            Admission::Wait => Ok(self.0.wait(now)),
            Admission::RefuseFull => Err(CheckoutError::QueueFull),
            Admission::RefuseFailing => Err(self.0.last_failure()),
        }
    }

    /// Lends this connection, if it is idle.
    pub fn try_checkout_server(&self, id: u64) -> Option<Lease<S>> {
        if self.0.lends() {
            self.0.lend_server(id, self.0.now())
        } else {
            None
        }
    }

    /// Lends a connection: an idle one, or the next one returned or opened, in the order of the calls. Giving up the call is safe.
    ///
    /// # Errors
    /// See [`CheckoutError`]. After `wait_timeout` the next [`Pool::maintain`] ends it.
    pub async fn checkout(&self) -> Result<Lease<S>, CheckoutError> {
        if !self.0.is_draining()
            && let Some(lease) = self.try_checkout()
        {
            return Ok(lease);
        }
        let mut waiting = self.queue()?;
        poll_fn(|cx| waiting.poll(cx)).await
    }

    /// The figures of the moment.
    pub fn stats(&self) -> PoolStats {
        self.0.stats()
    }

    /// Calls `visit` for every connection.
    pub fn for_each_server(&self, visit: impl FnMut(&ServerInfo)) {
        self.0.for_each_server(visit);
    }

    /// Closes what has expired, was closed by the server, or exceeds the limits; opens what is missing to `min_size`; refuses
    /// who has waited longer than `wait_timeout`.
    /// To be called about once a second.
    pub fn maintain(&self) {
        self.0.maintain();
    }

    /// How much looking after it needs until something new happens to it.
    pub fn needs(&self) -> Needs {
        self.0.needs()
    }

    /// Closes every connection for which `condemn` says so: idle ones at once, lent ones when they are returned.
    pub fn close_where(&self, condemn: impl Fn(&ServerInfo) -> bool) {
        self.0.close_where(condemn);
    }

    /// Closes all idle connections at once. Lent ones aren't touched.
    pub fn close_idle(&self) {
        self.0.close_idle();
    }

    /// Replaces every connection as it comes to rest, those being opened included (`RECONNECT`, another endpoint, another password).
    pub fn reconnect(&self) {
        self.0.reconnect();
    }

    /// Lends nothing from here on, and closes connections as they come to rest: checkouts wait; or lends again.
    pub fn hold(&self, held: bool) {
        self.0.hold(held);
    }

    /// Whether somebody waits for a connection that a bound shared with other pools keeps from being opened.
    pub fn is_starved(&self) -> bool {
        self.0.is_starved()
    }

    /// Closes the connection that has rested longest, for a pool that is starved; `false`: none rests.
    pub fn yield_one(&self) -> bool {
        self.0.yield_one()
    }

    /// Opens what is missing, where a bound shared with other pools may allow it by now.
    pub fn open_missing(&self) {
        self.0.open_missing();
    }

    /// Sets other bounds. Surplus connections are closed as they come to rest.
    pub fn set_limits(&self, limits: Limits) {
        self.0.set_limits(limits);
    }

    /// Opens connections by `connect` from here on, and replaces the others as [`Pool::reconnect`] does.
    pub fn set_connector(&self, connect: Connector) {
        self.0.set_connector(connect);
        self.0.reconnect();
    }

    /// Refuses further checkouts and those that wait, closes idle connections, and lent ones when they are returned. Final.
    pub fn drain(&self) {
        self.0.drain();
    }
}

#[cfg(test)]
mod tests;
