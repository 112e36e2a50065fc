//! Messages that nobody would want to hold: they pass through in pieces.

use anyhow::{Result, ensure};

use crate::place::place;
use crate::script::{Script, same, show};

/// A long value.
const LONG: usize = 96 << 20;
/// What Ringway may hold of all this.
const HELD: usize = 8 << 20;

#[test]
fn long_messages_pass_in_pieces() -> Result<()> {
    let place = place()?;
    let (mut straight, mut through) = (place.straight()?, place.through()?);
    // The connection is there, and its buffers have the size they take anyhow.
    let small = Script::default().query("SELECT repeat('x', 1000000)").ready(1);
    small.play(&mut straight)?;
    small.play(&mut through)?;
    let before = place.peak_memory()?;
    let value = "v".repeat(LONG);
    let scripts = [
        Script::default()
            .parse("s", "SELECT length($1::text), md5($1)", &[25])
            .bind("", "s", &[&value])
            .execute("", 0)
            .sync()
            .run("SELECT 'after'")
            .sync()
            .ready(2),
        Script::default()
            .query(&format!("SELECT length('{value}')"))
            .query("SELECT 'after'")
            .ready(2),
        Script::default()
            .query("CREATE TEMP TABLE c (b text)")
            .query("COPY c FROM STDIN")
            .copy_data(value.as_bytes())
            .copy_done()
            .query("SELECT length(b) FROM c; DROP TABLE c")
            .ready(3),
        Script::default()
            .parse("", "SELECT 1/length($1::text), 1/0", &[25])
            .bind("", "", &[&value])
            .execute("", 0)
            .bind("", "", &[&value])
            .execute("", 0)
            .sync()
            .ready(1),
        Script::default()
            .call(1317, &[value.as_bytes()])
            .query("SELECT 'after'")
            .ready(2),
    ];
    for (n, script) in scripts.iter().enumerate() {
        let expected = script.play(&mut straight)?;
        let got = script.play(&mut through)?;
        same(&format!("script {n}"), &expected, &got)?;
        let grown = place.peak_memory()?.saturating_sub(before);
        ensure!(
            grown < HELD,
            "script {n}: {grown} bytes more in use\n{}",
            show(&got)
        );
    }
    Ok(())
}

/// A client that doesn't read what it asked for.
#[test]
fn a_slow_client_does_not_fill_the_memory() -> Result<()> {
    let place = place()?;
    let mut slow = place.through()?;
    let before = place.peak_memory()?;
    slow.send_simple("SELECT repeat('x', 1000) FROM generate_series(1, 200000)")?;
    // Others are served meanwhile.
    let mut other = place.through()?;
    for _ in 0..200 {
        Script::default().query("SELECT 1").ready(1).play(&mut other)?;
    }
    let grown = place.peak_memory()?.saturating_sub(before);
    ensure!(grown < HELD, "{grown} bytes more in use");
    let rows = slow.rest()?.len();
    ensure!(rows > 200_000, "{rows} messages");
    Ok(())
}
