//! COPY over two shards that one side gives up: nobody waits for the other, and no connection keeps an answer for the next client.

use anyhow::{Result, bail, ensure};
use tests::{Extended, Reply};

use crate::conversation::{Ids, witness};
use crate::scene::{Layout, Scene, first_error, played};

/// A COPY that ends in this error, and then the same connections for others.
fn refused(scene: &Scene, ids: &Ids, sql: &str, data: &str, extended: bool, code: &str) -> Result<()> {
    let mut session = scene.connect()?;
    let replies = if extended {
        session.extended(&Extended {
            copy: Some(data.as_bytes()),
            ..Extended::once(sql)
        })?
    } else {
        session.simple(sql, Some(data.as_bytes()))?
    };
    let Some(fault) = first_error(&replies) else {
        bail!("{sql}: no error: {replies:?}")
    };
    ensure!(fault.code == code, "{sql}: {fault}");
    ensure!(replies.last() == Some(&Reply::Ready('I')), "{replies:?}");
    for round in 0..8 {
        witness(&mut session, ids, round)?;
        witness(&mut scene.connect()?, ids, round)?;
    }
    scene.at_rest()
}

#[test]
fn a_copy_that_is_refused_in_the_middle_leaves_connections_that_answer_what_they_are_asked() -> Result<()> {
    played(Layout::Routed, |scene| {
        let ids = Ids::find(scene)?;
        for extended in [false, true] {
            let copy = "COPY scratch (id, v) FROM STDIN";
            refused(scene, &ids, copy, "800001\ta\nno number\tb\n", extended, "22P02")?;
            // The server's own error, in the middle of the data and after its end.
            refused(
                scene,
                &ids,
                copy,
                "800001\ta\n800002\n800003\tc\n",
                extended,
                "22P04",
            )?;
            refused(scene, &ids, copy, "800001\ta\n800001\ta\n", extended, "23505")?;
        }
        Ok(())
    })
}

/// Only one shard lets the COPY begin.
#[test]
fn a_copy_that_one_shard_refuses_does_not_wait_for_the_other() -> Result<()> {
    played(Layout::Routed, |scene| {
        let ids = Ids::find(scene)?;
        for shard in 0..scene.relays().len() {
            scene.ask(shard, "REVOKE INSERT ON scratch FROM shop")?;
            let outcome = [false, true].iter().try_for_each(|extended| {
                let copy = "COPY scratch (id, v) FROM STDIN";
                refused(scene, &ids, copy, "800001\ta\n800002\tb\n", *extended, "42501")
            });
            scene.ask(shard, "GRANT INSERT ON scratch TO shop")?;
            outcome?;
        }
        Ok(())
    })
}
