//! One Apache Kafka broker (KRaft: broker and controller in one process), on 127.0.0.1.

mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::launch::{Daemon, Folder, Kind, Launch};
use crate::programs::run_helper;
use crate::{Error, OnDrop, Placement, PortLock, Programs, StopMode, reserve_port};

/// From the start of the process until it names itself in its metadata; Java takes its time on a
/// busy machine.
const START_BOUND: Duration = Duration::from_secs(90);
/// Bounds of the Java heap: enough for a few topics, small enough for a laptop.
const HEAP: [&str; 2] = ["-Xms128m", "-Xmx256m"];
/// Any valid id does: one broker, one cluster, one folder.
const CLUSTER_ID: &str = "cmluZ3dheS1sb2NhbC0wMQ";

/// A running (or stopped) Kafka broker. Dropping it ends the broker and removes a temporary folder.
#[derive(Debug)]
pub struct Kafka {
    daemon: Daemon,
    broker: PortLock,
    /// Kept for the broker: it listens there for its own controller.
    _controller: PortLock,
}

impl Kafka {
    /// Starts a broker on free ports, with a temporary folder.
    pub async fn start() -> Result<Self, Error> {
        Self::start_at("kafka", reserve_port()?, reserve_port()?, Placement::Temporary).await
    }

    /// Starts a broker with this name, these ports and this folder.
    pub(crate) async fn start_at(
        name: &str,
        broker: PortLock,
        controller: PortLock,
        placement: Placement,
    ) -> Result<Self, Error> {
        let folder = Folder::create(placement, name)?;
        let classpath = format!("{}/*", Programs::kafka_libs()?.display());
        let config = write_config(folder.path(), broker.port(), controller.port())?;
        let mut format = Command::new(Programs::java()?);
        format.args([
            "-cp",
            &classpath,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
        ]);
        format.arg(&config);
        run_helper("StorageTool", name, format).await?;
        let arguments = HEAP.into_iter().chain(TUNING).map(str::to_owned).chain([
            "-cp".to_owned(),
            classpath,
            "kafka.Kafka".to_owned(),
            config.display().to_string(),
        ]);
        let launch = Launch {
            program: Programs::java()?,
            arguments: arguments.collect(),
            environment: Vec::new(),
            user: None,
        };
        let daemon = Daemon::new(name, Kind::Kafka, folder, launch);
        let kafka = Self {
            daemon,
            broker,
            _controller: controller,
        };
        kafka.start_again().await?;
        Ok(kafka)
    }

    /// Starts the broker after [`Kafka::stop`], with what it had written.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.daemon.spawn()?;
        let ready = || async { wire::brokers(self.port()).await.is_ok_and(|brokers| brokers == 1) };
        self.daemon.wait_ready(START_BOUND, ready).await
    }

    /// Ends the broker: with SIGTERM, or abruptly with SIGKILL.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::Kafka.recipe(mode.manner())).await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.broker.port()
    }

    /// `127.0.0.1:PORT`, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The last lines of the broker's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    /// The running broker's process id.
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
}

/// For a quick start of a small process whose warnings (slf4j-simple) end up in the server's log.
const TUNING: [&str; 5] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// Writes the broker's configuration; returns its path. A broker that was killed comes back when its session has ended: after 9 s, by default.
fn write_config(folder: &Path, broker: u16, controller: u16) -> Result<PathBuf, Error> {
    let config = folder.join("server.properties");
    let text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=67108864
num.network.threads=1
socket.listen.backlog.size=1024
num.io.threads=2
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
",
        data = folder.join("data").display(),
    );
    fs::write(&config, text).map_err(Error::file(&config))?;
    Ok(config)
}
