//! Probes of every server: which is up, which is a shard's primary, how far and how fresh each standby is.
//!
//! In: the servers and a login of the control user. Out: a [`topology::Snapshot`] published behind an atomic pointer
//! whenever something changed, samples of each primary recorded in [`coherence::Coherence`], and samples on demand for
//! those who have to know where a primary stands after a moment ([`SampleRequests`]).
//!
//! **Invariant:** no clock of another host takes part: every time is this host's [`boot_time`], read before a question is sent.
//! **Invariant:** a standby's position is what it has replayed, on the timeline that it replays; never what it has received.
//! **Invariant:** only the primary that is trusted at that moment gives samples; a server that says it is a primary on an older
//! timeline than any server of its shard has shown is published as down.
//! **Invariant:** a probe has a bound in time and in size; there is one connection to a server and one question under way.
//! **Invariant:** touches no client's connection and no server's data.
//!
//! # Without a failover provider
//! Nobody tells this crate about promotions: it finds out by asking. So until it has seen the newer timeline, a primary that was
//! replaced and still runs passes for the primary: reads at every level may be answered by it, its samples count as freshness,
//! and writes that it acknowledges are lost to the shard. A proxy that starts while only the old primary is within its reach
//! can't tell at all. Two standbys promoted apart stand on one timeline: the one seen first stays trusted. A provider with
//! leases ([`coherence::ShardCoherence::set_lease`]) or with fencing closes these gaps.

mod board;
mod clock;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod monitor;
mod observation;
mod pace;
mod probe;
mod question;
mod requests;

pub use clock::boot_time;
pub use error::ProbeError;
pub use monitor::{Monitor, ProbedEndpoint, ProbedShard};
pub use pace::{Pace, Rest};
pub use probe::ProbeConfig;
pub use requests::{SampleError, SampleRequests};
