//! One server of MongoDB's protocol on 127.0.0.1: FerretDB over SQLite (`deploy/mongodb`), without authentication.
//!
//! `RINGWAY_MONGODB_URI` names another one, which is then used and neither started nor ended.

use std::env;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::launch::{Daemon, Folder, Kind, Launch};
use crate::{Error, OnDrop, Placement, PortLock, Programs, StopMode, reserve_port};

/// Names a server that is there already.
const URI: &str = "RINGWAY_MONGODB_URI";
/// From the start of the process until it listens, on a busy machine.
const START_BOUND: Duration = Duration::from_secs(30);

/// A server of MongoDB's protocol. Dropping it ends it, if it was started here.
#[derive(Debug)]
pub struct MongoDb(At);

#[derive(Debug)]
enum At {
    Elsewhere(String),
    Here { daemon: Box<Daemon>, port: PortLock },
}

impl MongoDb {
    /// The server that `RINGWAY_MONGODB_URI` names.
    pub fn elsewhere() -> Option<String> {
        env::var(URI).ok().filter(|uri| !uri.is_empty())
    }

    /// Starts a server on a free port, with a temporary folder, unless another is named.
    pub async fn start() -> Result<Self, Error> {
        Self::start_at("mongodb", reserve_port()?, Placement::Temporary).await
    }

    /// Starts a server with this name, port and folder, unless another is named.
    pub(crate) async fn start_at(name: &str, port: PortLock, placement: Placement) -> Result<Self, Error> {
        if let Some(uri) = Self::elsewhere() {
            return Ok(Self(At::Elsewhere(uri)));
        }
        let program = Programs::mongodb()?;
        let folder = Folder::create(placement, name)?;
        let data = folder.path().join("data");
        let launch = Launch {
            program,
            arguments: vec![port.port().to_string(), data.display().to_string()],
            environment: Vec::new(),
            user: None,
        };
        let server = Self(At::Here {
            daemon: Box::new(Daemon::new(name, Kind::MongoDb, folder, launch)),
            port,
        });
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the server after [`MongoDb::stop`]; it has what it had.
    pub async fn start_again(&self) -> Result<(), Error> {
        let At::Here { daemon, port } = &self.0 else {
            return Err(not_ours());
        };
        daemon.spawn()?;
        let listens = || async {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port.port()))
                .await
                .is_ok()
        };
        daemon.wait_ready(START_BOUND, listens).await
    }

    /// Ends the server: with SIGTERM, or abruptly with SIGKILL.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        match &self.0 {
            At::Elsewhere(_) => Err(not_ours()),
            At::Here { daemon, .. } => daemon.stop(Kind::MongoDb.recipe(mode.manner())).await,
        }
    }

    /// Where it is, for a client: `mongodb://127.0.0.1:PORT/` or what the environment says.
    pub fn uri(&self) -> String {
        match &self.0 {
            At::Elsewhere(uri) => uri.clone(),
            At::Here { port, .. } => format!("mongodb://127.0.0.1:{}/", port.port()),
        }
    }

    /// The running server's process id, if it was started here.
    pub fn pid(&self) -> Option<i32> {
        match &self.0 {
            At::Elsewhere(_) => None,
            At::Here { daemon, .. } => daemon.pid(),
        }
    }

    /// Chooses what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        if let At::Here { daemon, .. } = &mut self.0 {
            daemon.set_on_drop(on_drop);
        }
    }
}

fn not_ours() -> Error {
    Error::Usage(format!("the server that {URI} names is not ours to start or end"))
}
