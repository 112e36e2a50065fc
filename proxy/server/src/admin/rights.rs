//! Who may give which command of the admin database.

use session::admin::AdminCommand;
use settings::AdminRights;
use wire::{ProxyError, sqlstate};

/// Refuses what `rights` don't allow.
///
/// # Errors
/// 42501 for what changes something, and for file descriptors, to those who may only look; for everything to the others.
pub(crate) fn authorise(command: &AdminCommand, rights: AdminRights) -> Result<(), ProxyError> {
    match (rights, command.only_looks()) {
        (AdminRights::Admin, _) | (AdminRights::Stats, true) => Ok(()),
        (AdminRights::Stats, false) => Err(ProxyError::error(
            sqlstate::INSUFFICIENT_PRIVILEGE,
            "only admin_users may use this command",
        )
        .with_detail("You are in stats_users, who may SHOW.")),
        (AdminRights::None, _) => Err(not_allowed()),
    }
}

/// What a user is told who may not even log in to the admin database.
pub(crate) fn not_allowed() -> ProxyError {
    ProxyError::fatal(
        sqlstate::INSUFFICIENT_PRIVILEGE,
        "permission denied for the admin database",
    )
    .with_detail("It is for the users in admin_users and stats_users.")
}

#[cfg(test)]
mod tests {
    use super::authorise;
    use session::admin::{AdminCommand, SHOWS, Show};
    use settings::AdminRights;

    fn one(sql: &str) -> AdminCommand {
        let mut commands = AdminCommand::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(commands.len(), 1, "{sql}");
        commands.remove(0)
    }

    #[test]
    fn rights() {
        for (name, show, _) in SHOWS {
            let command = one(&format!("SHOW {name}"));
            assert_eq!(authorise(&command, AdminRights::Admin), Ok(()));
            assert_eq!(
                authorise(&command, AdminRights::Stats).is_ok(),
                show != Show::Fds,
                "{name}"
            );
            assert!(authorise(&command, AdminRights::None).is_err_and(|error| error.is_fatal()));
        }
        for sql in [
            "RELOAD",
            "SHUTDOWN",
            "PAUSE",
            "RESUME",
            "SUSPEND",
            "DISABLE a",
            "ENABLE a",
            "RECONNECT",
            "KILL a",
            "KILL_CLIENT 1",
            "WAIT_CLOSE",
            "SET query_timeout = 1",
        ] {
            let command = one(sql);
            assert_eq!(authorise(&command, AdminRights::Admin), Ok(()));
            let error = authorise(&command, AdminRights::Stats).expect_err("only SHOW");
            assert_eq!(
                (error.sqlstate.to_string(), error.is_fatal()),
                ("42501".to_owned(), false)
            );
        }
    }
}
