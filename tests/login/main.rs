//! Logins of every kind, by libpq and by raw bytes: who is let in, who is refused, and in whose words.

mod limits;
mod methods;
mod protocol;
mod servers;
mod stage;
mod tls;
mod wildcard;
