//! What the proxy counts, and how Prometheus reads it.
//!
//! Each data thread has one [`ThreadStats`] that only it writes, without locks; the control plane adds them up when
//! somebody asks ([`Totals`]), for SHOW STATS ([`StatsPeriod`]) and for `/metrics` ([`exposition`]).
//!
//! **Invariant:** nothing here waits, locks or allocates on a data thread.
//! **Invariant:** labels come from the configuration or from fixed lists, never from a statement.

mod counters;
mod exposition;
mod period;
mod pins;

pub(crate) use counters::{
    CacheResult, Case, DatabaseTotals, ErrorSource, LoginResult, PlanKind, Source, ThreadStats, Totals,
};
pub(crate) use exposition::{CONTENT_TYPE, exposition};
pub(crate) use period::StatsPeriod;
