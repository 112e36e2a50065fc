//! A data thread: its clients' sockets, its server connections and what they share.

pub(crate) mod accept;
pub(crate) mod admin_session;
pub(crate) mod auth;
pub(crate) mod backend;
pub(crate) mod cancels;
pub(crate) mod client_info;
pub(crate) mod duplex;
pub(crate) mod greetings;
pub(crate) mod hold;
pub(crate) mod io;
pub(crate) mod listen;
pub(crate) mod login;
pub(crate) mod maintenance;
pub(crate) mod oversight;
pub(crate) mod peer;
pub(crate) mod plans;
pub(crate) mod relay;
pub(crate) mod reset;
pub(crate) mod rows;
#[cfg(test)]
mod sizes;
pub(crate) mod thread;
mod vacating;
