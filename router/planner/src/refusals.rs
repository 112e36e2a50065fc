//! The refusals, each with its reason and what helps.

use crate::plan::{Refusal, Route};

/// `feature_not_supported`.
const NOT_SUPPORTED: &str = "0A000";

fn refusal(message: &str, reason: String, hint: &str) -> Refusal {
    Refusal {
        sqlstate: NOT_SUPPORTED,
        message: message.to_owned(),
        reason,
        hint: hint.to_owned(),
    }
}

/// A statement that would need rows of several shards in a way that isn't merged.
pub(crate) fn across(reason: impl Into<String>, hint: &str) -> Refusal {
    refusal(
        "the statement cannot be answered across shards",
        reason.into(),
        hint,
    )
}

pub(crate) fn unsupported(what: &str, reason: &str, hint: &str) -> Refusal {
    refusal(what, reason.to_owned(), hint)
}

pub(crate) fn other(sqlstate: &'static str, message: &str, reason: &str, hint: &str) -> Refusal {
    Refusal {
        sqlstate,
        ..refusal(message, reason.to_owned(), hint)
    }
}

impl From<Refusal> for Route {
    fn from(refusal: Refusal) -> Self {
        Route::Refuse(Box::new(refusal))
    }
}

pub(crate) const BIND_KEY: &str =
    "Compare the shard key of every sharded table with one constant or parameter (key = ...).";
pub(crate) const JOIN_KEY: &str =
    "Join the sharded tables on their shard keys, or make the smaller table a reference table.";
