//! The control plane: probes, catalogs, the invalidation stream and the recovery of transactions, on a runtime of its own.
//!
//! In: the settings and what the servers say. Out: what the data threads read ([`crate::shared::DatabaseContext`]).
//!
//! **Invariant:** touches no client's socket; a statement waits for it only where it changed the catalog.

pub(crate) mod catalog;
pub(crate) mod catalog_task;
pub(crate) mod install;
pub(crate) mod link;
pub(crate) mod plane;
mod publishing;
pub(crate) mod recovery;
pub(crate) mod recovery_task;
pub(crate) mod status;
pub(crate) mod stream;
mod view;

pub(crate) use view::{Status, admin_view};

#[cfg(test)]
pub(crate) mod testing;
