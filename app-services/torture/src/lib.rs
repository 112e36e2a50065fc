//! The shop under load while its servers are killed and paused, and a checker of what is left.
//!
//! In: a seed, a rate, a number of faults. Out: what customers were answered, how fast, and everything that is not as it should be.
//!
//! A [`stage`] is a real cluster of two regions with the shop's services as processes. [`load`] is its customers, [`faults`] what happens to its
//! servers, [`watch`] who is told when, and [`checker`] asks the servers themselves, past Ringway and the services, whether what is left agrees with what customers were told and
//! what the payment provider did. [`mutant`] breaks an outbox or an inbox by triggers, to show that the checker sees it.
//!
//! **Invariant:** every wait is bounded, and dropping the stage ends what it started.
//! **Invariant:** the checker believes no service: it reads tables at the primaries, topics, and the provider's journal.

pub mod checker;
pub mod events;
pub mod faults;
pub mod load;
pub mod mutant;
pub mod stage;
pub mod watch;

pub use shop_testing::Processes as Stage;
