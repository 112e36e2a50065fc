//! The client's side cut at every byte of what it says, and of what it reads.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests::Session;
use wire::copy::{CopyData, encode_copy_done};
use wire::frontend::{
    Bind, Close, Describe, Execute, Parse, Query, Target as Named, encode_flush, encode_sync,
    encode_terminate,
};
use wire::{FormatCodes, Oids};

use crate::backend::step;
use crate::conversation::{Ids, clear, scratch, witness};
use crate::scene::{ANSWERED, Layout, Scene, eventually, played};

/// After so many cuts everything must be at rest; in between others are served at once.
const BATCH: usize = 24;

fn query(sql: &str, out: &mut Vec<u8>) {
    Query { sql: sql.as_bytes() }.encode(out);
}

fn extended(name: &str, sql: &str, value: Option<&str>, out: &mut Vec<u8>) {
    let name = name.as_bytes();
    Parse {
        name,
        sql: sql.as_bytes(),
        parameter_types: Oids::NONE,
    }
    .encode(out);
    Describe {
        target: Named::Statement,
        name,
    }
    .encode(out);
    let values: Vec<Option<&[u8]>> = value.iter().map(|value| Some(value.as_bytes())).collect();
    Bind::encode(out, b"", name, FormatCodes::TEXT, &values, FormatCodes::TEXT);
    Execute {
        portal: b"",
        max_rows: 0,
    }
    .encode(out);
}

/// A session of everything, as bytes: what a client sends without waiting.
fn script(ids: &Ids, round: usize) -> Vec<u8> {
    let (here, there) = (ids.on(0, round), ids.on(1, round));
    let mut out = Vec::new();
    query(&format!("SELECT v FROM kept WHERE id = {here}"), &mut out);
    extended(
        "s",
        "SELECT v FROM kept WHERE id = $1::bigint",
        Some(&there.to_string()),
        &mut out,
    );
    encode_flush(&mut out);
    encode_sync(&mut out);
    query("BEGIN", &mut out);
    query(&format!("INSERT INTO scratch VALUES ({here}, 'cut')"), &mut out);
    extended(
        "",
        "UPDATE scratch SET v = 'cut again' WHERE id = $1::bigint",
        Some(&here.to_string()),
        &mut out,
    );
    encode_sync(&mut out);
    query("SAVEPOINT a", &mut out);
    query(
        &format!("INSERT INTO scratch VALUES ({there} + 100000, 'cut')"),
        &mut out,
    );
    query("ROLLBACK TO a", &mut out);
    query("COMMIT", &mut out);
    Close {
        target: Named::Statement,
        name: b"s",
    }
    .encode(&mut out);
    encode_sync(&mut out);
    out
}

/// COPY in a block, by both protocols.
fn copying(_: &Ids, _: usize) -> Vec<u8> {
    let copy = "COPY scratch (id, v) FROM STDIN";
    let mut out = Vec::new();
    query("BEGIN", &mut out);
    query(copy, &mut out);
    for row in [&b"700001\ta\n7000"[..], b"02\tb\n", b"700003\tc\n"] {
        CopyData { data: row }.encode(&mut out);
    }
    encode_copy_done(&mut out);
    extended("", copy, None, &mut out);
    encode_sync(&mut out);
    CopyData {
        data: b"700004\td\n700005\te\n",
    }
    .encode(&mut out);
    encode_copy_done(&mut out);
    encode_sync(&mut out);
    query("ROLLBACK", &mut out);
    encode_terminate(&mut out);
    out
}

type Script = fn(&Ids, usize) -> Vec<u8>;

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    /// The socket is closed without a word.
    Close,
    /// It says nothing more and reads on.
    Finish,
}

fn cut_everywhere(scene: &Scene, ids: &Ids, script: Script, leave: Leave) -> Result<usize> {
    let mut beside = scene.connect()?;
    let (mut cuts, mut at) = (0, 0);
    loop {
        let bytes = script(ids, cuts);
        let part = bytes.get(..at).unwrap_or(&bytes);
        let place = || format!("gone after {} of {} bytes ({leave:?})", part.len(), bytes.len());
        let mut session = scene.connect()?;
        session.send_bytes(part).with_context(place)?;
        match leave {
            Leave::Close => drop(session),
            Leave::Finish => {
                session.finish_sending()?;
                let began = Instant::now();
                session.until_closed().with_context(place)?;
                ensure!(began.elapsed() < ANSWERED, "{}: {:?}", place(), began.elapsed());
            }
        }
        let began = Instant::now();
        witness(&mut beside, ids, cuts).with_context(place)?;
        ensure!(
            began.elapsed() < ANSWERED,
            "{}: the witness waited {:?}",
            place(),
            began.elapsed()
        );
        cuts += 1;
        if cuts.is_multiple_of(BATCH) {
            scene.at_rest().with_context(place)?;
        }
        if at >= bytes.len() {
            break;
        }
        at += usize::try_from(step())?;
    }
    scene.at_rest()?;
    whole_or_not_at_all(scene)?;
    clear(scene)?;
    Ok(cuts)
}

/// What is in `scratch` was committed whole.
fn whole_or_not_at_all(scene: &Scene) -> Result<()> {
    for shard in 0..scene.relays().len() {
        let halves = scene.ask(
            shard,
            "SELECT count(*) FROM scratch WHERE v <> 'cut again' OR id > 100000",
        )?;
        ensure!(
            halves == "0",
            "half a transaction was committed: {:?}",
            scratch(scene)?
        );
    }
    Ok(())
}

fn cuts(layout: Layout, script: Script, leave: Leave) -> Result<()> {
    played(layout, |scene| {
        let ids = Ids::find(scene)?;
        let cuts = cut_everywhere(scene, &ids, script, leave)?;
        println!("{layout:?}, {leave:?}: {cuts} clients gone");
        Ok(())
    })
}

macro_rules! cuts {
    ($($test:ident: $layout:ident, $script:ident, $leave:ident;)*) => {
        $(#[test] fn $test() -> Result<()> { cuts(Layout::$layout, $script, Leave::$leave) })*
    };
}

cuts! {
    gone_anywhere_on_one_server: Direct, script, Close;
    gone_anywhere_routed: Routed, script, Close;
    silent_anywhere_on_one_server: Direct, script, Finish;
    silent_anywhere_routed: Routed, script, Finish;
    gone_in_copy_on_one_server: Direct, copying, Close;
    gone_in_copy_routed: Routed, copying, Close;
    silent_in_copy_on_one_server: Direct, copying, Finish;
    silent_in_copy_routed: Routed, copying, Finish;
}

/// A client that leaves while rows come: the statement doesn't go on for nobody.
#[test]
fn gone_while_rows_come() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let mut beside = scene.connect()?;
            for (round, taken) in [0, 1, 7, 4096, 70_000].into_iter().enumerate() {
                let sql = "SELECT repeat('x', 1000), n FROM generate_series(1, 1000000) AS g(n)";
                let mut session = scene.connect()?;
                session.send_simple(sql)?;
                session.read_some(taken)?;
                drop(session);
                witness(&mut beside, &ids, round)?;
            }
            scene.at_rest()
        })?;
    }
    Ok(())
}

/// A client that leaves while its statement waits for a lock.
#[test]
fn gone_while_a_statement_waits() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            let id = ids.on(0, 0);
            let mut holder = scene.connect()?;
            holder.simple("BEGIN", None)?;
            holder.simple(&format!("SELECT v FROM kept WHERE id = {id} FOR UPDATE"), None)?;
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let is = |count: &str| {
                let found = scene.ask(0, waiting)?;
                Ok(if found == count { vec![] } else { vec![found] })
            };
            let mut sessions: Vec<Session> = (0..2).map(|_| scene.connect()).collect::<Result<_>>()?;
            for session in &mut sessions {
                session.send_simple(&format!("UPDATE kept SET v = v WHERE id = {id}"))?;
            }
            eventually("both wait", || is("2"))?;
            drop(sessions);
            eventually("nobody waits", || is("0"))?;
            holder.simple("ROLLBACK", None)?;
            holder.close();
            scene.at_rest()
        })?;
    }
    Ok(())
}
