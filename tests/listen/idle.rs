//! What clients cost that are logged in and rest.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::process::{Place, SOON, connect};

/// So many clients rest.
const CLIENTS: usize = 2000;
/// Clients that log in at the same time.
const LOGINS: usize = 8;
/// Of memory for each. A debug build keeps more in its futures.
const MAX_BYTES: u64 = if cfg!(debug_assertions) { 3584 } else { 2560 };
/// Clients that come and go before memory is read: what is made once is made.
const WARM_UP: usize = 256;
/// How long the proxy is watched at rest.
const REST: Duration = Duration::from_secs(3);
/// CPU time that the proxy may use at rest, as a part of the time: generous, this is a debug build on a busy machine.
const MAX_CPU: f64 = 0.1;
/// How often a data thread may wake in that time: it has next to nothing to see to.
const MAX_WAKEUPS: u64 = 3;

#[test]
fn resting_clients_cost_little() -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?;
    let place = Place::new()?;
    let running = place.start("first", &[])?;
    drop(clients(&place, WARM_UP)?);
    let empty = settled(running.id())?;
    let resting = clients(&place, CLIENTS)?;
    let full = settled(running.id())?;
    let each = full.saturating_sub(empty) / CLIENTS as u64;
    println!("{each} bytes for each of {CLIENTS} clients");
    ensure!(
        each <= MAX_BYTES,
        "each resting client takes {each} bytes of memory"
    );

    let (before, awake) = (cpu_time(running.id())?, wakeups(running.id())?);
    let began = Instant::now();
    std::thread::sleep(REST);
    let share = (cpu_time(running.id())? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    ensure!(share <= MAX_CPU, "at rest the proxy uses {share:.3} of a CPU");
    let woken: Vec<u64> = wakeups(running.id())?
        .iter()
        .zip(&awake)
        .map(|(after, before)| after - before)
        .collect();
    println!("at rest: {share:.5} of a CPU, data threads woke {woken:?} times in {REST:?}");
    ensure!(
        woken.len() == 2 && woken.iter().all(|count| *count <= MAX_WAKEUPS),
        "data threads woke {woken:?} times in {REST:?}"
    );
    // They are all there still.
    for client in resting.iter().step_by(CLIENTS / 10) {
        place.runtime.block_on(client.batch_execute("SELECT 1"))?;
    }
    Ok(())
}

/// Logged in, and answered once.
fn clients(place: &Place, count: usize) -> Result<Vec<Client>> {
    place.runtime.block_on(async {
        let turns = Arc::new(Semaphore::new(LOGINS));
        let mut logins = JoinSet::new();
        for _ in 0..count {
            let (login, turns) = (place.login(false), Arc::clone(&turns));
            logins.spawn(async move {
                let _turn = turns.acquire().await?;
                let client = connect(&login).await?;
                client.batch_execute("SELECT 1").await?;
                anyhow::Ok(client)
            });
        }
        let mut clients = Vec::with_capacity(count);
        while let Some(client) = logins.join_next().await {
            clients.push(client??);
        }
        Ok(clients)
    })
}

/// The memory that the process has for itself, without its program's pages, once it doesn't change any more.
fn settled(process: u32) -> Result<u64> {
    let deadline = Instant::now() + SOON;
    let mut last = resident(process)?;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let memory = resident(process)?;
        if memory.abs_diff(last) < 64 << 10 {
            return Ok(memory);
        }
        ensure!(Instant::now() < deadline, "its memory changes all the time");
        last = memory;
    }
}

fn resident(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .context("no memory")?;
    let number = line.split_whitespace().next().context("no number")?;
    Ok(number.parse::<u64>()? * 1024)
}

/// How often each data thread has slept and was woken, so far.
fn wakeups(process: u32) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(text) = fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        if value("Name:").is_some_and(|name| name.starts_with("ringway-data")) {
            counts.push(value("voluntary_ctxt_switches:").context("no count")?.parse()?);
        }
    }
    Ok(counts)
}

/// CPU time used so far, over all threads.
fn cpu_time(process: u32) -> Result<Duration> {
    let mut all = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A helper thread may have ended since the folder was read.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        all += text.split(' ').next().context("no time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(all))
}
