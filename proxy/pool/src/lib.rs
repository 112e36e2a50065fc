//! Backend sockets: connect, authenticate, check out, limits.
//!
//! In: where a server is and who logs in ([`BackendTarget`]), the clock of the caller. Out: authenticated connections
//! ([`BackendConnection`]), lent for a transaction at a time ([`Pool`], [`Lease`]), and errors that say who is at fault.
//!
//! [`Stream`] is the socket type of both sides of the proxy: the task of a client reads its backend's socket itself.
//!
//! **Invariant:** no SQL is looked into, and which server a statement goes to is decided elsewhere.
//! **Invariant:** a pool lives on one thread (`Rc`, `!Send`): no lock, no channel between threads.
//! **Invariant:** a connection is lent again only after [`Lease::release`]; a lease that is dropped closes its connection.
//! **Invariant:** every wait is bounded: connecting and logging in, cancelling, the queue (in length and in time).
//! **Invariant:** passwords are in no `Debug` output and in no error; a cleartext password goes over TLS only, unless allowed.

mod auth;
mod cancel;
pub mod certificate;
mod connect;
mod connection;
mod control;
pub mod decide;
mod errand;
mod error;
mod pool;
mod quota;
mod scram;
mod stream;
mod target;
mod tls;

pub use cancel::{CANCEL_TIMEOUT, cancel};
pub use connect::{connect, open};
pub use connection::{BackendConnection, ServerParameters};
pub use control::{ControlConnection, ControlError, QueryResult};
pub use error::{Blame, CheckoutError, ConnectError, ServerError};
pub use pool::{
    Connector, Lease, Needs, Pool, PoolConfig, PoolStats, Server, ServerInfo, ServerState, Waiting,
};
pub use quota::Quota;
pub use stream::{IdleCheck, Keepalive, Stream, TcpOptions};
pub use target::{Address, BackendTarget, Password, Replication, ScramKeys};
pub use tls::{ServerTls, TlsConfigError, TlsMode};
