//! What a client says in the tests: scripted, with the answers that it gets when nothing is harmed.

use anyhow::{Context, Result, ensure};
use tests::{Bound, Extended, Reply, Session};

use crate::scene::{Layout, Scene, first_error, rows};

/// The rows of `kept`: what is cut is found by its id, so that no two rounds disturb each other.
const ROWS: usize = 4000;

/// Ids by the shard that their rows live on.
#[derive(Clone, Debug)]
pub(crate) struct Ids(Vec<Vec<i64>>);

impl Ids {
    /// Fills `kept` and looks where its rows went.
    pub(crate) fn find(scene: &Scene) -> Result<Self> {
        let mut session = scene.connect()?;
        let present = rows(&session.simple("SELECT count(*) FROM kept", None)?)?;
        if present != [[ROWS.to_string()]] {
            let data: String = (1..=ROWS).map(|id| format!("{id}\trow {id}\n")).collect();
            let replies = session.simple("COPY kept (id, v) FROM STDIN", Some(data.as_bytes()))?;
            ensure!(first_error(&replies).is_none(), "{replies:?}");
        }
        let shards = (0..scene.relays().len()).map(|shard| {
            let ids = scene.ask(shard, "SELECT string_agg(id::text, ',' ORDER BY id) FROM kept")?;
            Ok(ids.split(',').map(str::parse).collect::<Result<Vec<i64>, _>>()?)
        });
        Ok(Self(shards.collect::<Result<_>>()?))
    }

    /// An id on a shard; each round has its own.
    pub(crate) fn on(&self, shard: usize, round: usize) -> i64 {
        let ids = self
            .0
            .get(shard)
            .or(self.0.first())
            .map_or(&[][..], Vec::as_slice);
        ids.get(round % ids.len().max(1)).copied().unwrap_or(0)
    }
}

/// One request of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// By the simple protocol, with the data for a COPY.
    Simple(String, Option<&'static str>),
    /// By the extended protocol: prepared under a name, run with one parameter, read in portions of so many rows.
    Extended {
        name: &'static str,
        sql: String,
        parameter: Option<String>,
        portion: i32,
        copy: Option<&'static str>,
    },
}

impl Step {
    pub(crate) fn simple(sql: impl Into<String>) -> Self {
        Self::Simple(sql.into(), None)
    }

    /// Runs it; an answer that breaks off ends with [`Reply::Gone`].
    pub(crate) fn run(&self, session: &mut Session) -> Result<Vec<Reply>> {
        match self {
            Self::Simple(sql, copy) => session.simple(sql, copy.map(str::as_bytes)),
            Self::Extended {
                name,
                sql,
                parameter,
                portion,
                copy,
            } => session.extended(&Extended {
                name,
                sql,
                types: &[],
                bounds: &[Bound {
                    values: parameter
                        .iter()
                        .map(|value| Some(value.clone().into_bytes()))
                        .collect(),
                }],
                binary: false,
                max_rows: *portion,
                copy: copy.map(str::as_bytes),
            }),
        }
    }
}

/// A script, made anew for each round.
#[derive(Clone, Copy)]
pub(crate) struct Conversation {
    pub(crate) name: &'static str,
    pub(crate) steps: fn(&Ids, usize) -> Vec<Step>,
    /// The rows of `scratch` that it leaves behind once its last step is acknowledged.
    pub(crate) leaves: fn(&Ids, usize) -> Vec<i64>,
}

fn nothing(_: &Ids, _: usize) -> Vec<i64> {
    Vec::new()
}

fn select(ids: &Ids, round: usize) -> Vec<Step> {
    vec![Step::simple(format!(
        "SELECT id, v FROM kept WHERE id = {}",
        ids.on(0, round)
    ))]
}

fn prepared(ids: &Ids, round: usize) -> Vec<Step> {
    let run = |name, parameter| Step::Extended {
        name,
        sql: "SELECT v FROM kept WHERE id = $1::bigint".to_owned(),
        parameter: Some(i64::to_string(&parameter)),
        portion: 0,
        copy: None,
    };
    vec![run("named", ids.on(0, round)), run("", ids.on(0, round + 1))]
}

fn portions(_: &Ids, _: usize) -> Vec<Step> {
    vec![Step::Extended {
        name: "",
        sql: "SELECT 'row ' || n FROM generate_series(1, 12) AS g(n)".to_owned(),
        parameter: None,
        portion: 5,
        copy: None,
    }]
}

fn block(ids: &Ids, round: usize) -> Vec<Step> {
    let id = ids.on(0, round);
    vec![
        Step::simple("BEGIN"),
        Step::simple(format!("INSERT INTO scratch VALUES ({id}, 'block')")),
        Step::simple(format!("SELECT v FROM scratch WHERE id = {id}")),
        Step::simple("COMMIT"),
    ]
}

fn block_by_batches(ids: &Ids, round: usize) -> Vec<Step> {
    let id = ids.on(0, round);
    let run = |sql: String| Step::Extended {
        name: "",
        sql,
        parameter: None,
        portion: 0,
        copy: None,
    };
    vec![
        run("BEGIN".to_owned()),
        run(format!("INSERT INTO scratch VALUES ({id}, 'block')")),
        run("COMMIT".to_owned()),
    ]
}

fn one(ids: &Ids, round: usize) -> Vec<i64> {
    vec![ids.on(0, round)]
}

const COPIED: &str = "900001\tcopied\n900002\tcopied\n900003\tcopied\n900004\tcopied\n";

fn copy_in(_: &Ids, _: usize) -> Vec<Step> {
    let copy = "COPY scratch (id, v) FROM STDIN".to_owned();
    vec![
        Step::simple("BEGIN"),
        Step::Simple(copy.clone(), Some(COPIED)),
        Step::simple("ROLLBACK"),
        Step::simple("BEGIN"),
        Step::Extended {
            name: "",
            sql: copy,
            parameter: None,
            portion: 0,
            copy: Some(COPIED),
        },
        Step::simple("ROLLBACK"),
    ]
}

fn copy_out(ids: &Ids, round: usize) -> Vec<Step> {
    let id = ids.on(0, round);
    vec![Step::simple(format!(
        "COPY (SELECT id, v, repeat('x', 40) FROM kept WHERE id BETWEEN {id} AND {id} + 9 ORDER BY id) TO STDOUT"
    ))]
}

fn settings(ids: &Ids, round: usize) -> Vec<Step> {
    vec![
        Step::simple(format!("SET application_name = 'cut {round}'")),
        Step::simple(format!("SELECT v FROM kept WHERE id = {}", ids.on(0, round))),
        Step::simple("RESET application_name"),
    ]
}

fn scatter(_: &Ids, _: usize) -> Vec<Step> {
    vec![
        Step::simple("SELECT id, v FROM kept ORDER BY id LIMIT 6"),
        Step::simple("SELECT count(*), max(id) FROM kept"),
    ]
}

fn both_shards(ids: &Ids, round: usize) -> Vec<Step> {
    let insert = |shard| {
        let id = ids.on(shard, round);
        Step::simple(format!("INSERT INTO scratch VALUES ({id}, 'both')"))
    };
    vec![
        Step::simple("BEGIN"),
        insert(0),
        insert(1),
        Step::simple("COMMIT"),
    ]
}

fn both(ids: &Ids, round: usize) -> Vec<i64> {
    vec![ids.on(0, round), ids.on(1, round)]
}

const fn conversation(name: &'static str, steps: fn(&Ids, usize) -> Vec<Step>) -> Conversation {
    Conversation {
        name,
        steps,
        leaves: nothing,
    }
}

const SHARED: [Conversation; 7] = [
    conversation("select", select),
    conversation("prepared", prepared),
    conversation("portions", portions),
    Conversation {
        name: "block",
        steps: block,
        leaves: one,
    },
    Conversation {
        name: "block by batches",
        steps: block_by_batches,
        leaves: one,
    },
    conversation("copy in", copy_in),
    conversation("settings", settings),
];
const DIRECT: [Conversation; 1] = [conversation("copy out", copy_out)];
const ROUTED: [Conversation; 2] = [
    conversation("scatter", scatter),
    Conversation {
        name: "both shards",
        steps: both_shards,
        leaves: both,
    },
];

/// The scripts for a layout.
pub(crate) fn all(layout: Layout) -> Vec<Conversation> {
    let mut all = SHARED.to_vec();
    match layout {
        Layout::Direct => all.extend(DIRECT),
        Layout::Routed => all.extend(ROUTED),
    }
    all
}

/// A client beside the one that is harmed: it reads a row of its own, and gets exactly that.
pub(crate) fn witness(session: &mut Session, ids: &Ids, round: usize) -> Result<()> {
    let id = ids.on(round, round / 2);
    let found = rows(&session.simple(&format!("SELECT id, v FROM kept WHERE id = {id}"), None)?)
        .with_context(|| format!("the witness, round {round}"))?;
    ensure!(
        found == [[id.to_string(), format!("row {id}")]],
        "the witness got {found:?}"
    );
    Ok(())
}

/// Which rows `scratch` holds on all shards.
pub(crate) fn scratch(scene: &Scene) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    for shard in 0..scene.relays().len() {
        let ids = scene.ask(shard, "SELECT string_agg(id::text, ',') FROM scratch")?;
        for id in ids.split(',').filter(|id| !id.is_empty()) {
            all.push(id.parse()?);
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Empties `scratch`, past Ringway.
pub(crate) fn clear(scene: &Scene) -> Result<()> {
    scene.recovered()?;
    for shard in 0..scene.relays().len() {
        scene.ask(shard, "DELETE FROM scratch")?;
    }
    Ok(())
}
