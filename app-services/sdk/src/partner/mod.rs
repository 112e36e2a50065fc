//! Work that somebody outside does for us: a payment provider, a carrier.
//!
//! What is asked of a [`Partner`] is an [`Errand`]: a row that is committed before anything is sent, and whose id is the idempotency key of
//! every try. A [`Desk`] sends it, and closes it with the partner's verdict in the transaction that acts on it. If no answer comes nobody
//! knows whether it was done; the row stays open, and the desk asks for it by its id until it knows. A verdict that comes by
//! webhook instead, or as well, closes the same row.
//!
//! [`HttpPartner`] speaks the protocol of `protocol`; [`local`] is a partner for tests and demos that fails in all the ways that partners do.
//!
//! **Invariant:** nothing is sent that isn't in an open row; a row is closed once, by whoever learns the verdict first.
//! **Invariant:** webhooks are believed only with a signature that is right and at most five minutes old.

mod deal;
mod desk;
mod http;
pub mod local;
mod protocol;
mod settings;
mod signature;

pub use deal::{Begun, Claimed, Deals, KindOf, NewErrand, Outcome, RefusalOf, Reply, ShownOf, Subject};
pub use desk::{Desk, DeskSettings};
pub use http::{HttpPartner, Secret};
pub use protocol::{Errand, NoAnswer, Partner, Status, Told, Verdict, Webhook};
pub use settings::PartnerSettings;
pub use signature::{SIGNATURE_HEADER, TOLERANCE, sign, verify};
