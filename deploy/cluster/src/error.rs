//! What can go wrong when a server is started or stopped, and who is at fault.

use std::io;
use std::path::PathBuf;

/// Why a server could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks a program; `deploy/install.sh` installs it.
    #[error("{program} not found (looked in {looked_in}); deploy/install.sh installs it")]
    ProgramMissing {
        /// The program or library that is needed.
        program: &'static str,
        /// Where it was looked for.
        looked_in: String,
    },
    /// Somebody else listens on a port that is wanted.
    #[error("port {port} is taken (wanted for {wanted_for}); stop what listens there and try again")]
    PortTaken {
        /// The port on 127.0.0.1.
        port: u16,
        /// The server that should have had it.
        wanted_for: String,
    },
    /// No free port was found in the range that tests use.
    #[error("no free port between {first} and {last}")]
    NoFreePort {
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// A helper program (initdb, pg_basebackup, StorageTool) ended with an error.
    #[error("{program} failed for {server}:\n{output}")]
    Preparation {
        /// The program that ran.
        program: &'static str,
        /// The server it was run for.
        server: String,
        /// The last lines it printed.
        output: String,
    },
    /// The server ended by itself, or did not get ready within its bound.
    #[error("{server} {what}; its last lines:\n{log}")]
    Server {
        /// The server's name.
        server: String,
        /// What happened, as the rest of a sentence.
        what: String,
        /// The last lines of its log.
        log: String,
    },
    /// A file or folder could not be used.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A server refused an SQL statement or a connection.
    #[error("{server}: {doing}: {message}")]
    Sql {
        /// The server's name.
        server: String,
        /// What was being done.
        doing: String,
        /// The server's answer, with SQLSTATE where it gave one.
        message: String,
    },
    /// The caller asked for something that does not fit together.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// For `map_err`: an I/O error on this path.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// For `map_err`: an SQL error of this server while doing that.
    pub(crate) fn sql(server: &str, doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let (server, doing) = (server.to_owned(), doing.into());
        move |error| Self::Sql {
            server,
            doing,
            message: describe(&error),
        }
    }
}

/// The server's message with SQLSTATE, detail and hint; `Display` of tokio-postgres says only "db error".
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let mut text = format!("{} {}", db.code().code(), db.message());
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}
