//! The oracle: the same statements on one plain PostgreSQL and through Ringway over two shards, in the simple and the
//! extended protocol, in text and in binary, in both regions. Rows, columns, types, command tags, notices, transaction states and SQLSTATEs
//! must be equal; where a case says `refused`, Ringway must answer 0A000 with a reason and a hint.
//!
//! The statements are in `statements/*.sql`; [`case`] says how they are written. What is known to differ is in
//! `known_failures.txt`, each with a reason: an entry that no longer fails fails the test.

mod case;
mod compare;
mod known;
mod random;
mod run;

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use case::{Case, Expected};
use cluster::{Backing, Region};
use known::KnownFailures;
use run::{Mode, Outcome, Sides};
use tests::{Shared, Size, World, WorldSpec, shared};

static WORLD: Shared<World> = Shared::new();

/// The shop, and tables with other kinds of keys and columns.
const SPEC: WorldSpec = WorldSpec {
    backing: Backing::Embedded,
    size: Size::Small,
    configuration: include_str!("tables.toml"),
    schema: include_str!("tables.sql"),
};

/// One test at a time: each sees the rows that the other changes.
static TURN: Mutex<()> = Mutex::new(());

/// What is promised of the suite's size.
const STATEMENTS_MIN: usize = 300;
/// Runs only the files whose name contains this.
const ONLY: &str = "DIFFERENTIAL_ONLY";

#[test]
fn ringway_answers_as_one_postgresql() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let only = std::env::var(ONLY).unwrap_or_default();
    let files = case::read_all(&folder.join("statements")).unwrap();
    let statements: usize = files
        .iter()
        .flat_map(|(_, cases)| cases)
        .map(|case| case.steps.len())
        .sum();
    assert!(statements >= STATEMENTS_MIN, "only {statements} statements");
    let mut known = KnownFailures::read(&folder.join("known_failures.txt")).unwrap();

    let world = shared(&WORLD, &SPEC).unwrap();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut totals = Totals::default();
    let mut wrong = Vec::new();
    for (file, cases) in files.iter().filter(|(file, _)| file.contains(&only)) {
        for (region, mode) in doors() {
            let mut sides = Sides::connect(&world, region).unwrap();
            for case in cases.iter().filter(|case| mode.takes(case)) {
                let difference = sides.run(case, mode).unwrap();
                totals.count(case);
                let Some(difference) = difference else { continue };
                if !known.expects(file, case) {
                    let line = case.line;
                    wrong.push(format!("{file}:{line} in {mode:?} {region:?}\n{difference}"));
                }
                // Whatever state the case has left is not the next one's.
                sides = Sides::connect(&world, region).unwrap();
            }
        }
    }
    for (table, difference) in run::tables_that_differ(&world).unwrap() {
        wrong.push(format!("the rows of {table} differ in the end\n{difference}"));
    }
    if only.is_empty() {
        wrong.extend(
            known
                .that_passed()
                .map(|entry| format!("listed as a known failure, but passes: {entry}")),
        );
    }
    // Past the test harness, which shows what is printed only if the test fails.
    writeln!(
        std::io::stderr(),
        "differential: {statements} statements; {} compared and {} refused in all modes and regions; {} known failures; {} wrong",
        totals.compared,
        totals.refused,
        known.len(),
        wrong.len(),
    )
    .unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

/// How many statements are made up.
const RANDOM_STATEMENTS: usize = 1000;
/// Other numbers give other statements.
const RANDOM_FROM: &str = "DIFFERENTIAL_SEED";

#[test]
fn made_up_statements_are_answered_as_by_one_postgresql_or_refused() {
    let from: usize = std::env::var(RANDOM_FROM).map_or(0, |seed| seed.parse().unwrap());
    let world = shared(&WORLD, &SPEC).unwrap();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut refused, mut failed) = (0, 0);
    let mut wrong = Vec::new();
    for (region, mode) in doors().filter(|(_, mode)| *mode != Mode::Text) {
        let mut sides = Sides::connect(&world, region).unwrap();
        for number in from..from + RANDOM_STATEMENTS {
            let case = random::case(number);
            match sides.run_or_refused(&case, mode).unwrap() {
                Outcome::Equal => {}
                Outcome::SameError => failed += 1,
                Outcome::Refused => refused += 1,
                Outcome::Different(difference) => {
                    wrong.push(format!("number {number} in {mode:?} {region:?}\n{difference}"));
                    sides = Sides::connect(&world, region).unwrap();
                }
            }
        }
    }
    let all = RANDOM_STATEMENTS * 4;
    writeln!(
        std::io::stderr(),
        "differential: {all} made-up runs; {refused} refused; {failed} with the same error; {} wrong",
        wrong.len()
    )
    .unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    assert!(
        refused * 4 < all,
        "more than a quarter is refused: this shows little"
    );
}

/// The ways in: each Ringway in each mode. The one in us-west reads from the standbys.
fn doors() -> impl Iterator<Item = (Region, Mode)> {
    let modes = |region| Mode::ALL.into_iter().map(move |mode| (region, mode));
    Region::ALL.into_iter().flat_map(modes)
}

#[derive(Default)]
struct Totals {
    compared: usize,
    refused: usize,
}

impl Totals {
    fn count(&mut self, case: &Case) {
        for step in &case.steps {
            match step.expected {
                Expected::Equal => self.compared += 1,
                Expected::Refused => self.refused += 1,
            }
        }
    }
}
