//! Scripts of the raw protocol, played on PostgreSQL and through Ringway.

mod batches;
mod copy;
mod names;
mod strings;

use anyhow::Result;

use crate::place::{Place, place};
use crate::script::{Script, same};

/// What every script finds.
const TABLES: &str = "DROP TABLE IF EXISTS t, u; CREATE TABLE t (a int PRIMARY KEY, b text); \
    INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 10) n; CREATE TABLE u (a int)";

pub(crate) fn script() -> Script {
    Script::default()
}

/// Plays scripts one after the other, each in the same session on both sides.
fn compare(place: &Place, name: &str, scripts: &[Script]) -> Result<()> {
    let tables = script().query(TABLES).ready(1);
    tables.play(&mut place.straight()?)?;
    tables.play(&mut place.behind()?)?;
    let (mut straight, mut through) = (place.straight()?, place.through()?);
    for (n, script) in scripts.iter().enumerate() {
        let expected = script.play(&mut straight)?;
        same(
            &format!("{name}, part {n}"),
            &expected,
            &script.play(&mut through)?,
        )?;
    }
    Ok(())
}

pub(crate) fn compare_each(cases: &[(&str, Script)]) -> Result<()> {
    let place = place()?;
    for (name, script) in cases {
        compare(&place, name, std::slice::from_ref(script))?;
    }
    Ok(())
}
