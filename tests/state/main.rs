//! Session state under transaction pooling: what a client leaves in its session is there for it, for nobody else, and gone
//! when it is gone. The same sessions on plain PostgreSQL say what that is.

#![allow(
    clippy::disallowed_methods,
    reason = "the proxy is asked again and again until a bound"
)]

mod pins;
mod scenarios;
mod stage;
