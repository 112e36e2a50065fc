//! Servers that say what is none: a byte damaged anywhere in what passes between the proxy and them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::Reply;

use crate::backend::step;
use crate::conversation::{Ids, witness};
use crate::relay::{Direction, Harm};
use crate::scene::{Layout, Scene, played};

/// How long a client waits before it gives up: a damaged length may make either side wait for bytes that never come.
const PATIENCE: Duration = Duration::from_millis(400);

fn damage_everywhere(scene: &Scene, ids: &Ids, direction: Direction) -> Result<usize> {
    let relay = scene.relay(0)?;
    let mut beside = scene.connect()?;
    let (mut damaged, mut after) = (0_usize, 0);
    loop {
        let place = || format!("byte {after} {direction:?} damaged");
        // The one connection of the pool that is lent next is known to be sound.
        witness(&mut beside, ids, damaged)?;
        let mut session = scene.connect()?;
        session.wait_at_most(PATIENCE)?;
        relay.plan(direction, after, Harm::Damage);
        let sql = format!("SELECT id, v FROM kept WHERE id = {}", ids.on(0, damaged));
        // Whatever comes, or nothing: the values themselves may be what was damaged.
        let answered = session.simple(&sql, None);
        let done = relay.relent();
        let usable = answered.is_ok_and(|replies| matches!(replies.last(), Some(Reply::Ready('I'))));
        if usable {
            session.wait_at_most(crate::scene::ANSWERED)?;
            witness(&mut session, ids, damaged).with_context(place)?;
        }
        drop(session);
        witness(&mut beside, ids, damaged + 1).with_context(place)?;
        scene.at_rest().with_context(place)?;
        if !done {
            return Ok(damaged);
        }
        damaged += 1;
        after += step();
    }
}

#[test]
fn a_damaged_byte_anywhere_is_noticed_or_passed_on() -> Result<()> {
    for layout in Layout::BOTH {
        played(layout, |scene| {
            let ids = Ids::find(scene)?;
            for direction in Direction::BOTH {
                let damaged = damage_everywhere(scene, &ids, direction)?;
                ensure!(damaged > 0);
                println!("{layout:?} {direction:?}: {damaged} bytes damaged");
            }
            Ok(())
        })?;
    }
    Ok(())
}
