//! Who may come in, by what, and how many: secrets of users, counts of clients, databases that are made on demand.

pub(crate) mod admission;
pub(crate) mod secrets;
pub(crate) mod wildcard;
