//! One Redis server: a cache without persistence, on 127.0.0.1.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use rustix::process::Signal;

use crate::launch::{Daemon, Folder, Kind, Launch, Manner};
use crate::{Error, OnDrop, Placement, PortLock, Programs, StopMode, reserve_port};

/// From the start of the process until it answers PING, on a busy machine.
const START_BOUND: Duration = Duration::from_secs(30);
/// For one answer.
const ANSWER_BOUND: Duration = Duration::from_secs(5);

/// A running (or stopped) Redis. Dropping it ends the server and removes a temporary folder.
#[derive(Debug)]
pub struct Redis {
    daemon: Daemon,
    port: PortLock,
}

impl Redis {
    /// Starts a Redis on a free port, with a temporary folder.
    pub async fn start() -> Result<Self, Error> {
        Self::start_at("redis", reserve_port()?, Placement::Temporary).await
    }

    /// Starts a Redis with this name, port and folder.
    pub(crate) async fn start_at(name: &str, port: PortLock, placement: Placement) -> Result<Self, Error> {
        let folder = Folder::create(placement, name)?;
        let options = [
            ("--port", port.port().to_string()),
            ("--bind", Ipv4Addr::LOCALHOST.to_string()),
            ("--dir", folder.path().display().to_string()),
            ("--save", String::new()),
            ("--appendonly", "no".to_owned()),
            ("--maxmemory", "256mb".to_owned()),
            ("--maxmemory-policy", "allkeys-lru".to_owned()),
        ];
        let arguments = options
            .into_iter()
            .flat_map(|(key, value)| [key.to_owned(), value])
            .collect();
        let launch = Launch {
            program: Programs::redis()?,
            arguments,
            environment: Vec::new(),
            user: None,
        };
        let redis = Self {
            daemon: Daemon::new(name, Kind::Redis, folder, launch),
            port,
        };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Starts the server after [`Redis::stop`]; it comes back empty.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.daemon.spawn()?;
        self.daemon
            .wait_ready(START_BOUND, || async { self.ask("PING", "+PONG").await.is_ok() })
            .await
    }

    /// Ends the server: with SIGTERM, or abruptly with SIGKILL.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::Redis.recipe(mode.manner())).await
    }

    /// Forgets all keys (`FLUSHALL`).
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask("FLUSHALL", "+OK").await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    /// The running server's process id.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }

    /// Stops the process without ending it (SIGSTOP).
    pub fn pause(&self) {
        self.daemon.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.daemon.signal(Signal::CONT);
    }

    /// Chooses what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.daemon.set_on_drop(on_drop);
    }

    /// Sends an inline command and compares the first line of the answer.
    async fn ask(&self, command: &str, expected: &str) -> Result<(), Error> {
        let exchange = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).await?;
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        match tokio::time::timeout(ANSWER_BOUND, exchange).await {
            Ok(Ok(answer)) if answer == expected.as_bytes() => Ok(()),
            Ok(Ok(answer)) => Err(self.daemon.trouble(format!(
                "answered {command} with {}",
                String::from_utf8_lossy(&answer)
            ))),
            Ok(Err(error)) => Err(self.daemon.trouble(format!("did not answer {command}: {error}"))),
            Err(_) => Err(self.daemon.trouble(format!("did not answer {command} in time"))),
        }
    }
}

impl StopMode {
    pub(crate) fn manner(self) -> Manner {
        match self {
            Self::Fast => Manner::Orderly,
            Self::Immediate => Manner::AtOnce,
        }
    }
}
