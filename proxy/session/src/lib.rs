//! What the messages of a connection mean at the moment they arrive: the protocol state of clients and of
//! backends, free of I/O.
//!
//! In: frames that `wire` scanned, and the clock's or the server's word where one is needed. Out: values that say
//! what to send, what to expect back and what of it the client may see.
//!
//! **Invariant:** knows nothing about sockets, timers, routing or pools. A statement's plan travels through here as an
//! opaque value.

pub mod admin;
mod backend;
pub mod intake;
mod prepared;
pub mod relay;
mod replies;
pub mod requests;
pub mod scram;
mod settings;
pub mod startup;
pub mod state;
mod transaction;
pub mod usual;

pub use backend::{BackendState, Injection, Naming};
pub use prepared::{ClientStatements, GlobalStatements, Meaning, Prepared, ServerName, StatementId};
pub use replies::{Disposition, Expected, Outcome, Owed, ReplyTracker};
pub use settings::{SettingName, Settings, SettingsScope, quote_literal};
pub use transaction::{BlockKind, TransactionBlock};
