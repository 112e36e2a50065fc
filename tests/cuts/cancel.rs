//! Cancel requests, at random and by many: each ends the statement of the client that it names, and nobody else's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use tests::{Reply, Session};

use crate::conversation::{Ids, witness};
use crate::scene::{Layout, Scene, eventually, first_error, played};

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(5);
const BYSTANDERS: usize = 6;
const SHOOTERS: usize = 4;
/// A statement that nobody lets come to its end.
const LONG: &str = "SELECT pg_sleep(20)";
/// From the first request until the statement is over.
const CANCELLED: Duration = Duration::from_secs(6);
/// Between two requests for the same statement.
const AGAIN: Duration = Duration::from_millis(15);
/// Not an error of the storm: the client waited for a connection, of which there are few.
const BUSY: &str = "53300";

/// Runs statements that nobody cancels, until the storm is over.
fn bystander(scene: &Scene, ids: &Ids, number: usize, over: &AtomicBool) -> Result<usize> {
    let mut session = scene.connect()?;
    let mut done = 0;
    while !over.load(Ordering::Acquire) {
        if done % 3 == 0 {
            let sql = format!("SELECT 'bystander {number} {done}' FROM pg_sleep(0.005)");
            let replies = session.simple(&sql, None)?;
            if let Some(fault) = first_error(&replies) {
                ensure!(fault.code == BUSY, "bystander {number}: {fault}");
            } else {
                let word = Reply::Row(vec![Some(format!("bystander {number} {done}").into_bytes())]);
                ensure!(replies.contains(&word), "bystander {number}: {replies:?}");
            }
        } else {
            witness(&mut session, ids, number * 100 + done)?;
        }
        done += 1;
    }
    Ok(done)
}

/// Runs long statements and cancels them, with requests that come early, late and several times.
fn shooter(scene: &Scene, number: usize, over: &AtomicBool) -> Result<usize> {
    let mut session = scene.connect()?;
    let mut cancelled = 0;
    while !over.load(Ordering::Acquire) {
        session.send_simple(LONG)?;
        let answered = AtomicBool::new(false);
        let canceller = session.canceller()?;
        let began = Instant::now();
        let replies = thread::scope(|scope| {
            scope.spawn(|| {
                while !answered.load(Ordering::Acquire) && began.elapsed() < CANCELLED {
                    thread::park_timeout(AGAIN * u32::try_from(number % 3).unwrap_or(0));
                    // One that the proxy can't take now is sent again.
                    let _ = canceller.send();
                }
            });
            let replies = session.rest();
            answered.store(true, Ordering::Release);
            replies
        })?;
        let Some(fault) = first_error(&replies) else {
            bail!("shooter {number}: {replies:?} after {:?}", began.elapsed())
        };
        ensure!(
            matches!(fault.code.as_str(), "57014" | BUSY),
            "shooter {number}: {fault}"
        );
        ensure!(
            began.elapsed() < CANCELLED,
            "shooter {number}: {:?}",
            began.elapsed()
        );
        cancelled += 1;
    }
    Ok(cancelled)
}

#[test]
fn a_storm_of_cancels_hits_nobody_else() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let over = AtomicBool::new(false);
            let (served, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                let mut all = Vec::new();
                for number in 0..BYSTANDERS {
                    let (ids, over, served) = (&ids, &over, &served);
                    all.push(scope.spawn(move || {
                        served.fetch_add(bystander(scene, ids, number, over)?, Ordering::Relaxed);
                        anyhow::Ok(())
                    }));
                }
                for number in 0..SHOOTERS {
                    let (over, cancelled) = (&over, &cancelled);
                    all.push(scope.spawn(move || {
                        cancelled.fetch_add(shooter(scene, number, over)?, Ordering::Relaxed);
                        anyhow::Ok(())
                    }));
                }
                let began = Instant::now();
                while began.elapsed() < STORM && !all.iter().any(thread::ScopedJoinHandle::is_finished) {
                    thread::park_timeout(AGAIN);
                }
                over.store(true, Ordering::Release);
                all.into_iter()
                    .try_for_each(|one| one.join().map_err(|_| anyhow!("a client panicked"))?)
            })?;
            println!("{layout:?}: {served:?} statements served beside {cancelled:?} cancelled");
            ensure!(served.load(Ordering::Relaxed) > 0 && cancelled.load(Ordering::Relaxed) > 0);
            Ok(())
        })?;
    }
    Ok(())
}

/// A request after the statement's end finds the connection with somebody else, or at rest.
#[test]
fn a_late_cancel_does_not_hit_who_has_the_connection_next() -> Result<()> {
    const ROUNDS: usize = 60;
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut first = scene.connect()?;
            let mut next = scene.connect()?;
            for round in 0..ROUNDS {
                let canceller = first.canceller()?;
                // The request is on its way when the statement ends.
                first.send_simple("SELECT 1")?;
                thread::scope(|scope| {
                    let sent = scope.spawn(move || canceller.send());
                    let replies = first.rest()?;
                    let hit = first_error(&replies).is_none_or(|fault| fault.code == "57014");
                    ensure!(hit, "{replies:?}");
                    for more in 0..4 {
                        witness(&mut next, &ids, round + more)?;
                    }
                    sent.join().map_err(|_| anyhow!("the canceller panicked"))?
                })?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A statement on both shards is cancelled on both.
#[test]
fn a_cancel_reaches_every_shard() -> Result<()> {
    played(Layout::Routed, |scene| {
        let mut holders: Vec<Session> = (0..2)
            .map(|shard| Session::connect(&scene.straight(shard)?))
            .collect::<Result<_>>()?;
        for holder in &mut holders {
            holder.simple("BEGIN; LOCK TABLE kept IN ACCESS EXCLUSIVE MODE", None)?;
        }
        let waiting = |wanted: &str| {
            let mut left = Vec::new();
            for shard in 0..2 {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
                let found = scene.ask(shard, sql)?;
                if found != wanted {
                    left.push(found);
                }
            }
            Ok(left)
        };
        let mut session = scene.connect()?;
        session.send_simple("SELECT count(*) FROM kept")?;
        eventually("it waits on both", || waiting("1"))?;
        session.cancel()?;
        let replies = session.rest()?;
        let fault = first_error(&replies).ok_or_else(|| anyhow!("{replies:?}"))?;
        ensure!(fault.code == "57014", "{fault}");
        eventually("it waits nowhere", || waiting("0"))?;
        for holder in &mut holders {
            holder.simple("ROLLBACK", None)?;
        }
        holders.into_iter().for_each(Session::close);
        Ok(())
    })
}

/// A key that nobody has is answered like any other, and cancels nothing.
#[test]
fn a_key_that_nobody_has_cancels_nothing() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let mut session = scene.connect()?;
            session.send_simple("SELECT 'undisturbed' FROM pg_sleep(0.4)")?;
            for guess in 0..20_u8 {
                session.canceller()?.with_other_secret(guess).send()?;
            }
            let replies = session.rest()?;
            let word = Reply::Row(vec![Some(b"undisturbed".to_vec())]);
            ensure!(replies.contains(&word), "{replies:?}");
            Ok(())
        })?;
    }
    Ok(())
}
