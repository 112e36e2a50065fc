//! The table of targets.

mod cache;
mod conversation;
mod copy;
mod keys;
mod merging;
mod messages;
mod replication;
mod requests;
mod session;
mod settings;
mod sql;
mod startup;

use crate::target::Target;

/// Every target.
pub(crate) fn all() -> Vec<Target> {
    [
        messages::TARGETS,
        startup::TARGETS,
        requests::TARGETS,
        session::TARGETS,
        conversation::TARGETS,
        copy::TARGETS,
        merging::TARGETS,
        keys::TARGETS,
        replication::TARGETS,
        cache::TARGETS,
        sql::TARGETS,
        settings::TARGETS,
    ]
    .concat()
}
