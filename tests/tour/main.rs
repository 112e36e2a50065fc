//! The tour of README.md, step by step: its commands are run as they stand there, and must print what stands there.
//!
//! A step is a heading `### N.` below `## A tour`. In its `console` blocks, a line `$ ...` starts a program in a shell that has
//! the variables of `.ringway/env`; lines with psql's prompt are what is typed into it; all other lines are what it shows.
//! `<!-- until -->` before a block: what it shows may take a moment, so it is run until it does. `<!-- numbers differ -->`:
//! numbers other than 0 (ports, ages, counters) may be others. Both: `<!-- until; numbers differ -->`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod console;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Backing, Region};
use console::{Block, Environment, Patience};
use tests::{Shared, Size, Target, World, WorldSpec, shared};

static WORLD: Shared<World> = Shared::new();

/// What `make up` starts.
const SPEC: WorldSpec = WorldSpec {
    backing: Backing::Full,
    size: Size::Demo,
    configuration: "",
    schema: "",
};

/// How long a block may take to show what it should: longer than the bound of the cached tables.
const UNTIL_BOUND: Duration = Duration::from_secs(10);
/// Between two tries.
const UNTIL_PAUSE: Duration = Duration::from_millis(200);
/// What the issue asks for.
const STEPS: usize = 6;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("README.md");
    std::fs::read_to_string(path).unwrap()
}

/// The variables of `.ringway/env`, for the servers of the test.
fn environment(world: &World) -> Environment {
    let url = |target: &Target| {
        let Target {
            port,
            user,
            password,
            database,
        } = target;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    };
    Environment(vec![
        ("RINGWAY_URL", url(&world.shop(Region::UsEast))),
        ("RINGWAY_URL_US_WEST", url(&world.shop(Region::UsWest))),
        ("RINGWAY_ADMIN_URL", url(&world.admin(Region::UsEast))),
        ("RINGWAY_HTTP", world.ringway(Region::UsEast).http_url()),
        ("SHARD_0_URL", url(&world.shard(0).unwrap())),
        ("SHARD_1_URL", url(&world.shard(1).unwrap())),
    ])
}

fn step(number: usize) {
    let blocks = console::blocks(&readme(), number).unwrap();
    assert!(!blocks.is_empty(), "README.md has no step {number}");
    let world: Arc<World> = shared(&WORLD, &SPEC).unwrap();
    let environment = environment(&world);
    let wrong: Vec<String> = blocks
        .iter()
        .filter_map(|block| check(&world, &environment, block))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What is wrong with a block.
fn check(world: &World, environment: &Environment, block: &Block) -> Option<String> {
    let started = Instant::now();
    let same = |shown: &str| {
        console::normalised(shown, block.numbers) == console::normalised(&block.text, block.numbers)
    };
    loop {
        let shown = world.wait(block.run(environment)).unwrap();
        if same(&shown) {
            return None;
        }
        if block.patience == Patience::Once || started.elapsed() > UNTIL_BOUND {
            let says = &block.text;
            return Some(format!("README.md says:\n{says}\n\nbut this is shown:\n{shown}"));
        }
        world.wait(async { tokio::time::sleep(UNTIL_PAUSE).await });
    }
}

#[test]
fn step_1_connect_and_look_around() {
    step(1);
}

#[test]
fn step_2_see_where_a_statement_goes() {
    step(2);
}

#[test]
fn step_3_ask_all_shards() {
    step(3);
}

#[test]
fn step_4_change_rows_on_two_shards() {
    step(4);
}

#[test]
fn step_5_read_from_the_cache() {
    step(5);
}

#[test]
fn step_6_look_inside_and_see_a_refusal() {
    step(6);
}

#[test]
fn the_tour_has_six_steps() {
    for number in 1..=STEPS {
        assert!(
            !console::blocks(&readme(), number).unwrap().is_empty(),
            "step {number}"
        );
    }
    assert!(
        console::blocks(&readme(), STEPS + 1).unwrap().is_empty(),
        "a step without a test"
    );
}
