//! Messages of clients: decoded from clients, encoded towards backends.

mod auth;
mod bind;
mod empty;
mod execute;
mod function;
mod named;
mod parse;
mod query;

pub use auth::{Password, SaslInitialResponse, SaslResponse};
pub use bind::{Bind, BindNames};
pub use empty::{encode_flush, encode_sync, encode_terminate};
pub use execute::Execute;
pub use function::FunctionCall;
pub use named::{Close, Describe, Target};
pub use parse::Parse;
pub use query::Query;
