//! Many clients in a process of their own: clients and proxy in one would share a bound of open files, and the CPU time of
//! one couldn't be told from the other's.
//!
//! The crowd is this program itself, started with a hidden command. It prints a line of JSON when all clients are logged in,
//! and works or rests until its input ends or its time is over.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

use crate::pgbench::Address;
use crate::servers::ACCOUNTS;

/// The variable that holds the password: other users can read a command line.
const PASSWORD: &str = "RINGWAY_BENCH_PASSWORD";
/// Clients that log in at the same time.
const LOGINS: usize = 16;
/// For all of them to have logged in.
const LOGIN_BOUND: Duration = Duration::from_secs(300);
/// For the crowd to say what it saw, after its time is over.
const ANSWER_BOUND: Duration = Duration::from_secs(60);

/// What a crowd does.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Crowd {
    /// The proxy's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    #[arg(long)]
    user: String,
    #[arg(long)]
    database: String,
    /// So many clients.
    #[arg(long)]
    clients: usize,
    /// How long they work; 0: they rest.
    #[arg(long)]
    seconds: u64,
}

/// What the clients of a crowd saw while they worked.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub(crate) struct Seen {
    /// Answers in all.
    pub(crate) answers: u64,
    /// Of the client that got the fewest.
    pub(crate) fewest: u64,
    /// Of the one that got the most.
    pub(crate) most: u64,
    /// Half of the answers took no longer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 of 100.
    pub(crate) p99_ms: f64,
    /// All of them.
    pub(crate) max_ms: f64,
}

/// A crowd that runs. Dropped, it ends.
pub(crate) struct Running {
    // The crowd ends when its input does.
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a crowd, and returns when all clients are logged in and have been answered once.
    pub(crate) async fn start(address: &Address, clients: usize, seconds: u64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "crowd",
                "--port",
                &address.port.to_string(),
                "--user",
                &address.user,
            ])
            .args(["--database", &address.database, "--clients", &clients.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .env(PASSWORD, &address.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mut running = Self {
            _child: child,
            lines: BufReader::new(output).lines(),
        };
        running.line(LOGIN_BOUND).await?;
        Ok(running)
    }

    /// What the clients saw, once their time is over.
    pub(crate) async fn seen(mut self, seconds: u64) -> Result<Seen> {
        let line = self.line(Duration::from_secs(seconds) + ANSWER_BOUND).await?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn line(&mut self, bound: Duration) -> Result<String> {
        let line = tokio::time::timeout(bound, self.lines.next_line()).await;
        line.context("the clients take too long")??
            .context("a client failed")
    }
}

/// Takes as many open files as the system lets this process have.
fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?;
    Ok(())
}

/// Is a crowd.
pub(crate) async fn be(crowd: &Crowd) -> Result<()> {
    raise_file_limit()?;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(crowd.port)
        .user(&crowd.user)
        .dbname(&crowd.database)
        .password(std::env::var(PASSWORD)?)
        .application_name("crowd");
    let clients = log_in(&config, crowd.clients).await?;
    println!("{}", clients.len());
    if crowd.seconds == 0 {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        ended.await??;
        return Ok(());
    }
    let seen = work(clients, Duration::from_secs(crowd.seconds)).await?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

async fn log_in(config: &Config, count: usize) -> Result<Vec<Client>> {
    let turns = Arc::new(Semaphore::new(LOGINS));
    let mut logins = JoinSet::new();
    for number in 0..count {
        let (config, turns) = (config.clone(), Arc::clone(&turns));
        logins.spawn(async move {
            let _turn = turns.acquire().await?;
            let (client, connection) = config.connect(NoTls).await?;
            // Its error is the client's error too.
            tokio::spawn(connection);
            ask(&client, number).await?;
            anyhow::Ok(client)
        });
    }
    let mut clients = Vec::with_capacity(count);
    while let Some(client) = logins.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

async fn ask(client: &Client, number: usize) -> Result<()> {
    let key = number % ACCOUNTS as usize + 1;
    let sql = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {key}");
    client.simple_query(&sql).await?;
    Ok(())
}

async fn work(clients: Vec<Client>, time: Duration) -> Result<Seen> {
    let begin = Arc::new(Barrier::new(clients.len()));
    let mut working = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let begin = Arc::clone(&begin);
        working.spawn(async move {
            begin.wait().await;
            let end = Instant::now() + time;
            let mut waits = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                ask(&client, number + waits.len()).await?;
                waits.push(asked.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut all = Vec::new();
    while let Some(waits) = working.join_next().await {
        all.push(waits??);
    }
    Ok(summary(all))
}

fn summary(waits: Vec<Vec<Duration>>) -> Seen {
    let counts = || waits.iter().map(|waits| waits.len() as u64);
    let (fewest, most, answers) = (counts().min(), counts().max(), counts().sum());
    let mut all: Vec<Duration> = waits.into_iter().flatten().collect();
    all.sort_unstable();
    let part = |hundredths: usize| {
        let at = (all.len() * hundredths).div_ceil(100).saturating_sub(1);
        all.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    };
    Seen {
        answers,
        fewest: fewest.unwrap_or(0),
        most: most.unwrap_or(0),
        p50_ms: part(50),
        p99_ms: part(99),
        max_ms: part(100),
    }
}

#[cfg(test)]
mod tests {
    use super::summary;
    use std::time::Duration;

    #[test]
    fn waits_are_summed_up() {
        let waits = |from: u64, to: u64| (from..=to).map(Duration::from_millis).collect();
        let seen = summary(vec![waits(1, 60), waits(61, 100)]);
        assert_eq!((seen.answers, seen.fewest, seen.most), (100, 40, 60));
        assert_eq!((seen.p50_ms, seen.p99_ms, seen.max_ms), (50.0, 99.0, 100.0));
        assert_eq!(summary(Vec::new()).answers, 0);
    }
}
