//! What kind of PostgreSQL is wanted, and the files that say so to the server.

use std::fmt::{self, Write};
use std::path::Path;

use crate::Placement;

/// A role to create once the server runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// The role's name.
    pub name: String,
    /// Its password, stored as a SCRAM-SHA-256 verifier.
    pub password: String,
    /// What `CREATE ROLE` takes besides LOGIN and PASSWORD: `SUPERUSER`, `REPLICATION`, or nothing.
    pub attributes: String,
}

/// A PostgreSQL server to start: SCRAM on 127.0.0.1, logical decoding and two-phase commit enabled,
/// UTF8 with the locale C.UTF-8, time zone UTC.
///
/// It has the superuser `postgres` and the replication role [`PostgresSpec::REPLICATOR`].
#[derive(Clone)]
pub struct PostgresSpec {
    /// Names the server in errors, folders and (for a standby) `application_name`.
    pub name: String,
    /// The port on 127.0.0.1; a free one if none is given.
    pub port: Option<u16>,
    /// Where data and log are kept.
    pub placement: Placement,
    /// Password of the superuser `postgres`.
    pub superuser_password: String,
    /// Password of the replication role.
    pub replication_password: String,
    /// Roles to create.
    pub roles: Vec<Role>,
    /// Databases to create, each with its owner.
    pub databases: Vec<(String, String)>,
    /// Settings for `postgresql.conf` that come last and so win.
    pub settings: Vec<(String, String)>,
    /// `pg_hba.conf`, if it is not to ask everybody for a SCRAM password.
    pub hba: Option<String>,
}

impl PostgresSpec {
    /// The superuser that every server has.
    pub const SUPERUSER: &'static str = "postgres";
    /// The role that standbys stream as.
    pub const REPLICATOR: &'static str = "replicator";

    /// A server for a test: temporary folder, free port, password `postgres`, and no waiting for
    /// the disk (`fsync=off`: it survives every crash but the machine's).
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: None,
            placement: Placement::Temporary,
            superuser_password: "postgres".to_owned(),
            replication_password: "replicator".to_owned(),
            roles: Vec::new(),
            databases: Vec::new(),
            settings: vec![("fsync".to_owned(), "off".to_owned())],
            hba: None,
        }
    }

    /// With this role, which may log in; `attributes` as in [`Role::attributes`].
    #[must_use]
    pub fn role(mut self, name: &str, password: &str, attributes: &str) -> Self {
        self.roles.push(Role {
            name: name.to_owned(),
            password: password.to_owned(),
            attributes: attributes.to_owned(),
        });
        self
    }

    /// With this database; create its owner with [`PostgresSpec::role`] or name `postgres`.
    #[must_use]
    pub fn database(mut self, name: &str, owner: &str) -> Self {
        self.databases.push((name.to_owned(), owner.to_owned()));
        self
    }

    /// With this line of `postgresql.conf`; the last one of a key counts.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With this `pg_hba.conf`: who has to prove what. Without it everybody shows a SCRAM password.
    #[must_use]
    pub fn hba(mut self, file: &str) -> Self {
        self.hba = Some(file.to_owned());
        self
    }

    /// The password of a role, if this specification knows it.
    pub(crate) fn password_of(&self, role: &str) -> Option<&str> {
        match role {
            Self::SUPERUSER => Some(&self.superuser_password),
            Self::REPLICATOR => Some(&self.replication_password),
            _ => self
                .roles
                .iter()
                .find(|known| known.name == role)
                .map(|known| known.password.as_str()),
        }
    }

    /// The statements that make the roles and databases, to run as the superuser.
    pub(super) fn bootstrap_sql(&self) -> Vec<String> {
        let replicator = Role {
            name: Self::REPLICATOR.to_owned(),
            password: self.replication_password.clone(),
            attributes: "REPLICATION".to_owned(),
        };
        let roles = std::iter::once(&replicator).chain(&self.roles).map(|role| {
            let (name, password) = (quote_name(&role.name), quote_text(&role.password));
            format!("CREATE ROLE {name} LOGIN PASSWORD {password} {}", role.attributes)
        });
        let databases = self
            .databases
            .iter()
            .map(|(name, owner)| format!("CREATE DATABASE {} OWNER {}", quote_name(name), quote_name(owner)));
        roles.chain(databases).collect()
    }

    /// `postgresql.conf`. `upstream` is a standby's connection string and slot.
    pub(super) fn config_file(&self, port: u16, sockets: &Path, upstream: Option<(&str, &str)>) -> String {
        /// `sockaddr_un.sun_path` holds 107 bytes and the socket's own name takes up to 20.
        const SOCKET_FOLDER_MAX: usize = 85;
        let sockets = sockets.display().to_string();
        let sockets = if sockets.len() <= SOCKET_FOLDER_MAX {
            sockets
        } else {
            String::new()
        };
        let port = port.to_string();
        let mut all: Vec<(&str, &str)> = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", &sockets),
        ];
        all.extend(BASE_SETTINGS);
        if let Some((conninfo, slot)) = upstream {
            all.push(("primary_conninfo", conninfo));
            all.push(("primary_slot_name", slot));
        }
        all.extend(
            self.settings
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        all.iter().fold(String::new(), |mut text, (key, value)| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key} = {}", quote_text(value));
            text
        })
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Role")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PostgresSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the passwords.
        f.debug_struct("PostgresSpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Everybody who comes by TCP from this machine, or by the socket, shows a SCRAM password.
pub(super) const HBA_FILE: &str = "\
local all         all              scram-sha-256
host  all         all 127.0.0.1/32 scram-sha-256
local replication all              scram-sha-256
host  replication all 127.0.0.1/32 scram-sha-256
";

/// What every server gets. A standby must not have less than its primary.
const BASE_SETTINGS: [(&str, &str); 17] = [
    ("wal_level", "logical"),
    ("max_connections", "400"),
    ("max_prepared_transactions", "200"),
    ("max_replication_slots", "32"),
    ("max_wal_senders", "32"),
    ("hot_standby", "on"),
    ("wal_receiver_status_interval", "1s"),
    ("password_encryption", "scram-sha-256"),
    ("shared_buffers", "32MB"),
    ("max_wal_size", "1GB"),
    ("max_slot_wal_keep_size", "4GB"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %u@%d "),
    ("lc_messages", "C"),
    // Parallel workers of several servers on one small machine only wait for each other.
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
];

/// `"name"`, with quotes doubled.
pub(super) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, with quotes doubled; also the quoting of `postgresql.conf`.
pub(super) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_setting_comes_after_ours() {
        let spec = PostgresSpec::new("a")
            .setting("jit", "on")
            .role("o'b\"c", "p'w", "");
        let file = spec.config_file(5000, Path::new("/tmp/x"), None);
        assert!(
            file.find("jit = 'off'").unwrap() < file.find("jit = 'on'").unwrap(),
            "{file}"
        );
        assert!(
            spec.bootstrap_sql()
                .contains(&"CREATE ROLE \"o'b\"\"c\" LOGIN PASSWORD 'p''w' ".to_owned())
        );
        assert_eq!(spec.password_of("o'b\"c"), Some("p'w"));
    }

    #[test]
    fn a_folder_too_long_for_a_socket_goes_without() {
        let deep = format!("/tmp/{}", "x".repeat(90));
        let file = PostgresSpec::new("a").config_file(5000, Path::new(&deep), None);
        assert!(file.contains("unix_socket_directories = ''"), "{file}");
    }
}
