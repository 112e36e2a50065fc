//! Scripts made up from seeds: whatever a client sends, in whatever order, it is answered as by PostgreSQL.

use anyhow::{Context, Result};
use wire::frontend::Target::{Portal, Statement};

use crate::place::place;
use crate::script::{Script, same};

/// Scripts in a run.
const SCRIPTS: u64 = 150;
/// Messages of one script.
const MESSAGES: u64 = 40;
/// What begins the last answer.
const END: &str = "the end of it";

const TABLES: &str = "DROP TABLE IF EXISTS r; CREATE TABLE r (a int)";

/// What is run: fine, wrong, empty, several, and transaction control.
const TEXTS: [&str; 14] = [
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
];
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
            2 => script.query(&format!("{text}; {}", numbers.one_of(&TEXTS))),
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

#[test]
fn made_up_scripts() -> Result<()> {
    let place = place()?;
    let tables = Script::default().query(TABLES).ready(1);
    for seed in 1..=SCRIPTS {
        tables.play(&mut place.straight()?)?;
        tables.play(&mut place.behind()?)?;
        let script = made_up(seed);
        let (mut straight, mut through) = (place.straight()?, place.through()?);
        let shown = || format!("seed {seed}");
        let expected = script.play(&mut straight).with_context(shown)?;
        same(
            &format!("seed {seed}"),
            &expected,
            &script.play(&mut through).with_context(shown)?,
        )?;
        straight.close();
        through.close();
    }
    Ok(())
}
