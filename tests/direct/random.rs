//! Scripts made up from seeds: whatever a client sends, in whatever order, it is answered as by PostgreSQL.

use anyhow::{Context, Result};
use wire::frontend::Target::{Portal, Statement};

use crate::place::place;
use crate::script::{Frame, Script, same};

/// Scripts in a run, unless the environment says how many.
const SCRIPTS: u64 = 300;
/// The environment: the first seed and how many, as in `1000+5000`.
const SEEDS: &str = "RINGWAY_DIRECT_SEEDS";
/// Messages of one script.
const MESSAGES: u64 = 40;
/// What begins the last answer.
const END: &str = "the end of it";

const TABLES: &str = "CREATE TABLE IF NOT EXISTS r (a int); TRUNCATE r";

/// What is run: fine, wrong, empty, transaction control, settings, and statements prepared in SQL.
const TEXTS: [&str; 24] = [
    "SELECT 1",
    "SELECT count(*) FROM r",
    "INSERT INTO r VALUES (7) RETURNING a",
    "SELECT n FROM generate_series(1, 5) n",
    "SELECT 1/0",
    "SELEC",
    "",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "SELECT nothing",
    "SHOW application_name",
    "SET application_name = 'z'",
    "PREPARE a AS SELECT 4",
    "EXECUTE a",
    "EXPLAIN (COSTS off) EXECUTE a",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "RESET ALL",
    "SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY name",
    "SELECT count(*) FROM pg_prepared_statements",
];
/// The settings of the session's beginning are in force again when the string is over.
const RESETS: [&str; 2] = ["RESET ALL", "DISCARD ALL"];
const NAMES: [&str; 3] = ["", "a", "b"];

/// Numbers that only depend on a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let at = self.below(all.len() as u64);
        all.get(at as usize).copied().unwrap_or_default()
    }
}

/// A script, cut into parts that are each sent at once; the answer to a part begins while the next one is sent.
fn made_up(seed: u64) -> Script {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut script = Script::default();
    for _ in 0..numbers.below(MESSAGES) + 1 {
        let (text, name, portal) = (
            numbers.one_of(&TEXTS),
            numbers.one_of(&NAMES),
            numbers.one_of(&NAMES),
        );
        script = match numbers.below(16) {
            0 | 1 => script.query(text),
            2 => {
                let second = numbers.one_of(&TEXTS);
                let shown = RESETS.contains(&text) && second.starts_with("SHOW");
                let text = if shown { "SELECT 2" } else { text };
                script.query(&format!("{text}; {second}"))
            }
            3 | 4 => script.parse(name, text, &[]),
            5 | 6 => script.bind(portal, name, &[]),
            7 => script.describe(Portal, portal),
            8 => script.describe(Statement, name),
            9 | 10 => script.execute(portal, (numbers.below(3) * 2) as i32),
            11 => script.close(Statement, name),
            12 => script.close(Portal, portal),
            13 => script.flush(),
            14 => script.run(text),
            _ => script.sync(),
        };
    }
    script
        .sync()
        .query("ROLLBACK")
        .query(&format!("SELECT 'x' AS \"{END}\""))
        .until_text(END)
        .ready(1)
}

fn seeds() -> Result<std::ops::Range<u64>> {
    let Ok(asked) = std::env::var(SEEDS) else {
        return Ok(1..SCRIPTS + 1);
    };
    let (first, count) = asked.split_once('+').context("FIRST+COUNT")?;
    let first: u64 = first.parse()?;
    Ok(first..first + count.parse::<u64>()?)
}

/// Frames without reports of settings: of one that changes there and back the server reports nothing, and the proxy can't
/// always tell.
fn without_reports(mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.retain(|(tag, _)| *tag != b'S');
    frames
}

#[test]
fn made_up_scripts() -> Result<()> {
    let place = place()?;
    let tables = Script::default().query(TABLES).ready(1);
    for seed in seeds()? {
        tables.play(&mut place.straight()?)?;
        tables.play(&mut place.behind()?)?;
        let script = made_up(seed);
        let (mut straight, mut through) = (place.straight()?, place.through()?);
        let shown = || format!("seed {seed}: {script:?}");
        let expected = without_reports(script.play(&mut straight).with_context(shown)?);
        let got = without_reports(script.play(&mut through).with_context(shown)?);
        same(&format!("seed {seed}"), &expected, &got)?;
        straight.close();
        through.close();
    }
    Ok(())
}
