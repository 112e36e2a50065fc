//! The parameters of a StartupMessage.

use wire::startup::{ProtocolVersion, StartupMessage};
use wire::{ProxyError, sqlstate};

use super::exchange::Proof;
use super::{Authenticated, NEWEST, options};

/// The prefix of options of the protocol itself, as opposed to settings of the session.
const PROTOCOL_OPTION: &[u8] = b"_pq_.";

/// What a StartupMessage asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) version: ProtocolVersion,
    pub(crate) user: String,
    pub(crate) database: String,
    /// In the order in which they apply.
    pub(crate) settings: Vec<(String, Vec<u8>)>,
    /// The names of the `_pq_.` options, none of which is known here.
    pub(crate) protocol_options: Vec<Vec<u8>>,
}

impl Parameters {
    /// Reads and checks them as PostgreSQL does (`ProcessStartupPacket`, `process_startup_options`).
    pub(crate) fn read(message: &StartupMessage<'_>) -> Result<Self, ProxyError> {
        let mut user: &[u8] = b"";
        let mut database: &[u8] = b"";
        let mut command_line: &[u8] = b"";
        let mut settings = Vec::new();
        let mut protocol_options = Vec::new();
        for (name, value) in message.parameters() {
            match name {
                b"user" => user = value,
                b"database" => database = value,
                b"options" => command_line = value,
                b"replication" => refuse_replication(value)?,
                _ if name.starts_with(PROTOCOL_OPTION) => protocol_options.push(name.to_vec()),
                _ => settings.push((setting_name(name)?, value.to_vec())),
            }
        }
        if user.is_empty() {
            return Err(ProxyError::authorization(
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        let mut in_order = options::parse(command_line)?;
        in_order.append(&mut settings);
        let user = utf8(user, "user name")?;
        let database = if database.is_empty() {
            user.clone()
        } else {
            utf8(database, "database name")?
        };
        Ok(Parameters {
            version: message.version,
            user,
            database,
            settings: in_order,
            protocol_options,
        })
    }
}

impl Parameters {
    /// The client, once it has proved who it is.
    pub(super) fn authenticated(&self, proof: Proof) -> Authenticated {
        Authenticated {
            user: self.user.clone(),
            database: self.database.clone(),
            settings: self.settings.clone(),
            version: self.version.min(NEWEST),
            proof,
        }
    }
}

pub(super) fn setting_name(name: &[u8]) -> Result<String, ProxyError> {
    String::from_utf8(name.to_vec()).map_err(|_| {
        let name = String::from_utf8_lossy(name);
        ProxyError::fatal(
            sqlstate::UNDEFINED_OBJECT,
            format!("unrecognized configuration parameter \"{name}\""),
        )
    })
}

fn utf8(name: &[u8], what: &str) -> Result<String, ProxyError> {
    String::from_utf8(name.to_vec()).map_err(|_| {
        ProxyError::authorization(format!("the {what} in the startup packet is not valid UTF-8"))
    })
}

/// Replication needs a server of one's own; `replication=off` is an ordinary connection.
fn refuse_replication(value: &[u8]) -> Result<(), ProxyError> {
    match (value, parse_bool(value)) {
        (b"database", _) | (_, Some(true)) => Err(ProxyError::fatal(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "replication connections are not supported",
        )
        .with_hint("Connect to the server itself.")),
        (_, Some(false)) => Ok(()),
        (_, None) => {
            let value = String::from_utf8_lossy(value);
            Err(ProxyError::fatal(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"replication\": \"{value}\""),
            )
            .with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."))
        }
    }
}

/// A boolean as PostgreSQL reads it (`parse_bool`): any unambiguous beginning of the words, in any case.
fn parse_bool(value: &[u8]) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &[u8], shortest: usize| value.len() >= shortest && word.starts_with(&value);
    if begins(b"true", 1) || begins(b"yes", 1) || begins(b"on", 2) || value == b"1" {
        Some(true)
    } else if begins(b"false", 1) || begins(b"no", 1) || begins(b"off", 2) || value == b"0" {
        Some(false)
    } else {
        None
    }
}
