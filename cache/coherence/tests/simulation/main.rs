//! A deterministic simulation of the cache's rules: the real functions of the crate in a world of servers, publishers, a stream,
//! proxies and clients, with crashes, failovers, lost and repeated messages, superseded primaries and restarted standbys.
//!
//! Every read is checked against the acknowledged history. With all rules there is no violation; and each rule taken out
//! (`mutants.rs`) is caught by the same check. Everything follows from the seed.
//!
//! `RINGWAY_SIMULATION_SEEDS=100000 cargo test --release -p coherence --test simulation` looks further.

#![expect(
    clippy::unwrap_used,
    reason = "a wrong step of the simulation must fail loudly"
)]

mod check;
mod mutants;
mod parts;
mod proxies;
mod publishing;
mod reads;
mod schedule;
mod servers;
mod world;

use mutants::{MUTANTS, Mutant};
use schedule::{MOODS, Mood, schedule};
use world::{Counts, World};

const SEEDS: u64 = 3_000;
const STEPS: usize = 2_000;
/// The most seeds that a mutant is tried with; it must be caught within.
const MUTANT_SEEDS: u64 = 20_000;

fn seeds() -> u64 {
    std::env::var("RINGWAY_SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS)
}

/// Runs one seed; the violation says what went wrong.
fn run(seed: u64, mood: Mood, mutant: Option<Mutant>) -> (Option<String>, Counts) {
    let mut world = World::new(seed, mood, mutant);
    for (action, mut rng) in schedule(seed, mood, STEPS) {
        world.run(action, &mut rng);
        if world.violation.is_some() {
            break;
        }
    }
    (world.violation, world.counts)
}

#[test]
fn with_all_rules_no_read_is_older_than_its_level_allows() {
    let mut total = Counts::default();
    for seed in 0..seeds() {
        let mood = MOODS[seed as usize % MOODS.len()];
        let (violation, counts) = run(seed, mood, None);
        assert_eq!(violation, None, "seed {seed}, mood {mood:?}");
        total.reads += counts.reads;
        total.hits += counts.hits;
        total.fills += counts.fills;
        total.standby_reads += counts.standby_reads;
    }
    println!("{} seeds: {total:?}", seeds());
    // A world in which nothing is cached proves nothing.
    assert!(total.hits > seeds() && total.fills > 10 * seeds() && total.standby_reads > seeds() / 2);
}

/// The first seed at which a mutant is caught.
fn caught(mutant: Mutant, mood: Mood) -> Option<(u64, String)> {
    (0..MUTANT_SEEDS).find_map(|seed| run(seed, mood, Some(mutant)).0.map(|violation| (seed, violation)))
}

/// `RINGWAY_SIMULATION_MUTANT=NoFloor` tries one alone.
fn chosen(mutant: Mutant) -> bool {
    std::env::var("RINGWAY_SIMULATION_MUTANT").map_or(true, |name| name == format!("{mutant:?}"))
}

#[test]
fn each_rule_taken_out_is_caught() {
    let mut missed = Vec::new();
    for (mutant, mood) in MUTANTS.iter().filter(|(mutant, _)| chosen(*mutant)) {
        match caught(*mutant, *mood) {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed} ({mood:?}): {violation}"),
            None => missed.push(mutant),
        }
    }
    assert!(
        missed.is_empty(),
        "not caught in {MUTANT_SEEDS} seeds: {missed:?}"
    );
}
