//! Reads that a standby answers otherwise than its primary, however much it has replayed: of the server's role, its settings and
//! statistics, and of what isn't in the log. Through one endpoint the answer is the primary's.

use crate::catalog::TableKind;
use crate::keys::Resolved;
use crate::resolve::Place;
use sql::Query;

/// Settings that a standby has otherwise than its primary: a client may write, and drivers ask for just that.
const SETTINGS: [&str; 2] = ["transaction_read_only", "in_hot_standby"];

/// Functions that tell of one server and are not volatile; those that are go to the primary anyway.
const FUNCTIONS: [&str; 27] = [
    // Which setting is asked for is a value of the statement.
    "current_setting",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_conf_load_time",
    "pg_current_logfile",
    "pg_current_snapshot",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_cursor",
    "pg_get_replication_slots",
    "pg_lock_status",
    "pg_postmaster_start_time",
    "pg_prepared_statement",
    "pg_prepared_xact",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_settings_get_flags",
    "pg_show_all_settings",
    "pg_walfile_name",
    "pg_walfile_name_offset",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
];

/// Views of one server's memory and files.
const VIEWS: [&str; 16] = [
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_backend_memory_contexts",
    "pg_config",
    "pg_cursors",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_locks",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_replication_origin_status",
    "pg_replication_slots",
    "pg_sequences",
    "pg_settings",
    "pg_shmem_allocations",
];

/// Whether SHOW of a setting is for the primary.
pub(super) fn is_setting(name: &str) -> bool {
    SETTINGS.contains(&name)
}

/// Whether a query is for the primary.
pub(super) fn is_query(query: &Query, resolved: &Resolved<'_>) -> bool {
    let mut names = query.functions.iter().map(|call| call.function.name.as_str());
    // Functions that users have made may have these names too: the primary answers them as well.
    names.any(|name| FUNCTIONS.binary_search(&name).is_ok() || name.starts_with("pg_stat_get_"))
        || resolved
            .placed
            .values()
            .any(|placed| match placed.table.map(|table| table.kind) {
                // Of sequences the log is ahead by what may be handed out without it; of unlogged tables it has nothing.
                Some(TableKind::Sequence | TableKind::Unlogged) => true,
                _ => placed.place == Place::System && is_view(&placed.name.name),
            })
}

fn is_view(name: &str) -> bool {
    VIEWS.binary_search(&name).is_ok() || name.starts_with("pg_stat_") || name.starts_with("pg_statio_")
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, VIEWS};

    #[test]
    fn lists_are_sorted() {
        assert!(FUNCTIONS.is_sorted() && VIEWS.is_sorted());
    }
}
