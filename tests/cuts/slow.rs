//! Clients and servers that are slow or silent: memory stays bounded, others are served, and what waits ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use wire::copy::{CopyData, encode_copy_done};

use crate::conversation::{Ids, witness};
use crate::relay::{Direction, Harm};
use crate::scene::{ANSWERED, Layout, SOON, Scene, eventually, first_error, played};

/// What a proxy's memory may grow by for one answer or one COPY, whatever its length; a debug build's buffers included.
const GROWTH_KIB: u64 = 24 * 1024;
/// How long memory is watched.
const WATCHED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Ringway's resident memory.
fn resident_kib(scene: &Scene) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
}

/// The most that memory is above `before`, for a while in which `doing` is called now and then.
fn growth(scene: &Scene, before: u64, mut doing: impl FnMut() -> Result<()>) -> Result<u64> {
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < WATCHED {
        doing()?;
        most = most.max(resident_kib(scene)?.saturating_sub(before));
        thread::park_timeout(LOOK);
    }
    Ok(most)
}

#[test]
fn a_client_that_reads_a_byte_at_a_time_of_a_gigabyte() -> Result<()> {
    const READERS: usize = 2;
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut beside = scene.connect()?;
            witness(&mut beside, &ids, 0)?;
            let before = resident_kib(scene)?;
            let mut slow = Vec::new();
            for _ in 0..READERS {
                let mut session = scene.connect()?;
                session.send_simple("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)")?;
                slow.push(session);
            }
            let mut round = 0;
            let most = growth(scene, before, || {
                round += 1;
                for session in &mut slow {
                    session.read_some(1)?;
                }
                witness(&mut beside, &ids, round)
            })?;
            ensure!(most < GROWTH_KIB * READERS as u64, "memory grew by {most} KiB");
            println!("{layout:?}: memory grew by {most} KiB for {READERS} slow readers");
            drop(slow);
            scene.at_rest()
        })?;
    }
    Ok(())
}

/// COPY data that a server doesn't take.
#[test]
fn a_server_that_takes_no_data() -> Result<()> {
    const PIECES: usize = 2000;
    const PIECE: usize = 32 * 1024;
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut beside = scene.connect()?;
            witness(&mut beside, &ids, 0)?;
            let mut session = scene.connect()?;
            session.simple("BEGIN", None)?;
            let before = resident_kib(scene)?;
            for relay in scene.relays() {
                relay.plan(Direction::ToServer, 2000, Harm::Hold);
            }
            session.send_simple("COPY scratch (id, v) FROM STDIN")?;
            let sent = AtomicUsize::new(0);
            let outcome = thread::scope(|scope| {
                let sending = scope.spawn(|| -> Result<_> {
                    let text = "y".repeat(PIECE);
                    for number in 0..PIECES {
                        let mut frame = Vec::new();
                        let row = format!("{}\t{text}\n", 600_000 + number);
                        CopyData { data: row.as_bytes() }.encode(&mut frame);
                        session.send_bytes(&frame)?;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    let mut end = Vec::new();
                    encode_copy_done(&mut end);
                    session.send_bytes(&end)?;
                    let replies = session.rest()?;
                    session.simple("ROLLBACK", None)?;
                    Ok(replies)
                });
                let most = growth(scene, before, || Ok(()));
                let held = sent.load(Ordering::Relaxed);
                // What is held goes on, and the COPY comes to its end as if nothing had been.
                scene.relays().iter().for_each(|relay| {
                    relay.relent();
                });
                let replies = sending.join().map_err(|_| anyhow!("sending panicked"))??;
                ensure!(first_error(&replies).is_none(), "{replies:?}");
                anyhow::Ok((most?, held))
            });
            let (most, held) = outcome?;
            ensure!(
                held < PIECES,
                "everything was taken in although no server took it"
            );
            ensure!(most < GROWTH_KIB, "memory grew by {most} KiB for {held} pieces");
            println!("{layout:?}: memory grew by {most} KiB, {held} of {PIECES} pieces were taken");
            Ok(())
        })?;
    }
    Ok(())
}

/// A server that says nothing more in the middle of its answer: others go on, and its client can leave.
#[test]
fn a_server_that_falls_silent() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut beside = scene.connect()?;
            for after in [0, 1, 5, 30, 60, 200] {
                let mut session = scene.connect()?;
                witness(&mut session, &ids, 0)?;
                let relay = scene.relay(0)?;
                relay.plan(Direction::ToProxy, after, Harm::Hold);
                let id = ids.on(0, 0);
                session.send_simple(&format!("SELECT repeat(v, 60) FROM kept WHERE id = {id}"))?;
                eventually("silent", || {
                    Ok(if relay.is_done() {
                        vec![]
                    } else {
                        vec![after.to_string()]
                    })
                })?;
                for round in 0..3 {
                    let began = Instant::now();
                    witness(&mut beside, &ids, 2 * round + 1)?;
                    ensure!(began.elapsed() < ANSWERED, "{:?}", began.elapsed());
                }
                drop(session);
                // The connection of the client that has left is given up although its server stays silent.
                eventually("given up", || {
                    let active = scene.show("POOLS")?;
                    let busy = active
                        .iter()
                        .filter(|row| row.get(4).is_some_and(|active| active != "0"));
                    Ok(busy.map(|row| row.join(" ")).collect())
                })?;
                relay.relent();
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Clients that say half of something and then nothing.
#[test]
fn half_a_message_and_then_silence() -> Result<()> {
    const CLIENTS: usize = 10;
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut beside = scene.connect()?;
            let mut silent = Vec::new();
            for number in 0..CLIENTS {
                let mut session = scene.connect()?;
                session.send_bytes(
                    b"Q\0\0\0\x20SELECT pg_sleep(9)"
                        .get(..3 + number)
                        .unwrap_or_default(),
                )?;
                silent.push(session);
            }
            // There are more of them than server connections, and none holds one.
            for round in 0..8 {
                witness(&mut beside, &ids, round)?;
            }
            scene.at_rest()?;
            // Before the login there is a bound for silence.
            let mut before = Vec::new();
            for cut in [0_usize, 1, 4, 7, 8, 20] {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, scene.target().port))?;
                stream.write_all(b"\0\0\0\x30\0\x03\0\0user\0shop\0".get(..cut).unwrap_or_default())?;
                stream.set_read_timeout(Some(SOON))?;
                before.push(stream);
            }
            for mut stream in before {
                let mut words = Vec::new();
                stream.read_to_end(&mut words).context("not sent away")?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
