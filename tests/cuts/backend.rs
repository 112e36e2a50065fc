//! The server's side cut at every byte of a conversation, held there, or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tests::{Reply, Session};

use crate::conversation::{self, Conversation, Ids, Step, clear, scratch, witness};
use crate::relay::{Direction, Harm};
use crate::scene::{ANSWERED, Layout, Scene, first_error, played};

/// Bytes from one cut to the next. Every residue comes up over the conversations; `RINGWAY_CUT_STEP=1` cuts at every byte.
const STEP: u64 = 7;

pub(crate) fn step() -> u64 {
    let set = std::env::var("RINGWAY_CUT_STEP").ok();
    set.and_then(|step| step.parse().ok()).unwrap_or(STEP)
}

/// What a client may be told of a server that went away, before and while it is asked to commit.
const LOST: [&str; 3] = ["08006", "57P01", "08007"];

/// What came of a step.
type Answers = Vec<Vec<Reply>>;

fn run(session: &mut Session, steps: &[Step]) -> Answers {
    let mut answers = Vec::new();
    for step in steps {
        // A client that can't even send has been sent away.
        let answer = step.run(session).unwrap_or_else(|_| vec![Reply::Gone]);
        let gone = answer.last() == Some(&Reply::Gone);
        answers.push(answer);
        if gone {
            break;
        }
    }
    answers
}

/// The answers are those of an unharmed run up to a place, and there the error says what happened. Gives its SQLSTATE.
fn judge(expected: &Answers, found: &Answers) -> Result<Option<String>> {
    let Some(at) = expected
        .iter()
        .zip(found)
        .position(|(expected, found)| expected != found)
    else {
        ensure!(expected.len() == found.len(), "it breaks off after {found:?}");
        return Ok(None);
    };
    let (Some(wanted), Some(told)) = (expected.get(at), found.get(at)) else {
        bail!("no step {at}");
    };
    let Some(fault) = first_error(told) else {
        bail!("step {at}: neither the answer nor an error: {told:?}");
    };
    ensure!(LOST.contains(&fault.code.as_str()), "step {at}: {fault}");
    let place = told.iter().position(|reply| reply.error().is_some()).unwrap_or(0);
    let notices = |reply: &&Reply| !matches!(reply, Reply::Notice(_));
    let before: Vec<&Reply> = told.iter().take(place).filter(notices).collect();
    let right: Vec<&Reply> = wanted.iter().filter(notices).take(before.len()).collect();
    ensure!(
        before == right,
        "step {at}: before the error comes {before:?} instead of {right:?}"
    );
    let end = told.last();
    ensure!(
        matches!(end, Some(Reply::Ready('I' | 'E') | Reply::Gone)),
        "step {at} ends with {end:?}"
    );
    let known: BTreeSet<&Reply> = expected.iter().flatten().collect();
    for reply in found.iter().skip(at + 1).flatten() {
        let is_data = matches!(reply, Reply::Row(_) | Reply::CopyData(_));
        ensure!(
            !is_data || known.contains(reply),
            "after the error comes {reply:?}"
        );
    }
    Ok(Some(fault.code.clone()))
}

/// What the cuts of a conversation came to.
#[derive(Default)]
struct Tally {
    cuts: usize,
    codes: BTreeMap<String, usize>,
}

/// Cuts the connections to one shard at every byte of a conversation, in both directions.
fn cut_everywhere(
    scene: &Scene,
    ids: &Ids,
    talk: &Conversation,
    (shard, harm): (usize, Harm),
    tally: &mut Tally,
) -> Result<()> {
    let relay = scene.relay(shard)?;
    let mut beside = scene.connect()?;
    let mut round = 0;
    for direction in Direction::BOTH {
        let mut after = 0;
        loop {
            round += 1;
            let steps = (talk.steps)(ids, round);
            let leaves = (talk.leaves)(ids, round);
            witness(&mut beside, ids, round)?;
            let mut unharmed = scene.connect()?;
            let expected = run(&mut unharmed, &steps);
            if expected.iter().any(|answer| first_error(answer).is_some()) {
                bail!("unharmed: {expected:?}");
            }
            if !leaves.is_empty() {
                clear(scene)?;
            }
            let mut session = scene.connect()?;
            relay.plan(direction, after, harm);
            let began = Instant::now();
            let found = run(&mut session, &steps);
            let lasted = began.elapsed();
            drop(session);
            let cut = relay.relent();
            let place = || {
                format!(
                    "{}: {harm:?} after byte {after} {direction:?} of shard {shard}",
                    talk.name
                )
            };
            ensure!(
                lasted < ANSWERED,
                "{}: answered after {lasted:?}: {found:?}",
                place()
            );
            let told = judge(&expected, &found).with_context(place)?;
            if !leaves.is_empty() {
                settled(scene, leaves, told.as_deref()).with_context(place)?;
            }
            *tally.codes.entry(told.unwrap_or_default()).or_default() += 1;
            if !cut {
                break;
            }
            tally.cuts += 1;
            after += step();
        }
    }
    Ok(())
}

/// All rows are there, or none, and all if the client was told so. `told` is the error, if there was one.
fn settled(scene: &Scene, mut leaves: Vec<i64>, told: Option<&str>) -> Result<()> {
    scene.recovered()?;
    scene.at_rest()?;
    leaves.sort_unstable();
    let found = scratch(scene)?;
    ensure!(
        found == leaves || (found.is_empty() && told.is_some()),
        "{found:?} of {leaves:?} are there, told {told:?}"
    );
    ensure!(
        found.is_empty() || told != Some("08006"),
        "told that it was lost, but it was committed"
    );
    clear(scene)
}

fn cuts(layout: Layout, name: &str, harm: Harm) -> Result<()> {
    played(layout, |scene| {
        let ids = Ids::find(scene)?;
        let talk = conversation::all(layout)
            .into_iter()
            .find(|talk| talk.name == name)
            .context("no such conversation")?;
        let mut tally = Tally::default();
        for shard in 0..scene.relays().len() {
            cut_everywhere(scene, &ids, &talk, (shard, harm), &mut tally)?;
        }
        println!(
            "{layout:?}, {name}, {harm:?}: {} cuts, told: {:?}",
            tally.cuts, tally.codes
        );
        Ok(())
    })
}

macro_rules! cuts {
    ($($test:ident: $layout:ident, $name:literal, $harm:ident;)*) => {
        $(#[test] fn $test() -> Result<()> { cuts(Layout::$layout, $name, Harm::$harm) })*
    };
}

cuts! {
    a_select_on_one_server: Direct, "select", Cut;
    prepared_statements_on_one_server: Direct, "prepared", Cut;
    portions_on_one_server: Direct, "portions", Cut;
    a_block_on_one_server: Direct, "block", Cut;
    a_block_by_batches_on_one_server: Direct, "block by batches", Cut;
    copy_in_on_one_server: Direct, "copy in", Cut;
    copy_out_on_one_server: Direct, "copy out", Cut;
    settings_on_one_server: Direct, "settings", Cut;
    a_select_routed: Routed, "select", Cut;
    prepared_statements_routed: Routed, "prepared", Cut;
    portions_routed: Routed, "portions", Cut;
    a_block_routed: Routed, "block", Cut;
    a_block_by_batches_routed: Routed, "block by batches", Cut;
    copy_in_routed: Routed, "copy in", Cut;
    settings_routed: Routed, "settings", Cut;
    a_scatter: Routed, "scatter", Cut;
    a_commit_on_both_shards: Routed, "both shards", Cut;
    a_commit_on_both_shards_with_all_connections: Routed, "both shards", CutAll;
}
