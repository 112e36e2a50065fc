//! Session state under transaction pooling: what a client leaves in its session is there for it, for nobody else, and gone
//! when it is gone. The same sessions on plain PostgreSQL say what that is.

mod pins;
mod scenarios;
mod stage;
