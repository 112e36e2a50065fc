//! Running cases on both sides.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster::Region;
use cluster::shop::Table;
use tests::{Bound, Extended, Reply, Session, World};

use crate::case::{Case, Expected, Param, Protocol, Step};
use crate::compare;

/// Tables beside the shop's.
const MORE_TABLES: [&str; 5] = ["tags", "codes", "documents", "ledger", "settings"];

/// How the statements are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Query.
    Simple,
    /// Parse, Bind, Execute; parameters and results in text.
    Text,
    /// The same in binary, with the types of the parameters declared.
    Binary,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Simple, Self::Text, Self::Binary];

    /// Whether a case is run in this mode.
    pub(crate) fn takes(self, case: &Case) -> bool {
        match case.protocol {
            Protocol::Any => true,
            Protocol::Simple | Protocol::Together => self == Self::Simple,
            Protocol::Extended => self != Self::Simple,
        }
    }
}

/// How a statement that may be refused came out.
pub(crate) enum Outcome {
    Equal,
    SameError,
    Refused,
    Different(String),
}

/// One session with each side.
pub(crate) struct Sides {
    plain: Session,
    ringway: Session,
    /// For asking the plain server about types.
    types: Session,
    known_types: HashMap<Param, (u32, Option<Vec<u8>>)>,
}

impl Sides {
    pub(crate) fn connect(world: &World, region: Region) -> Result<Self> {
        // What earlier sessions wrote need not have reached the standbys, and this one could not know.
        world.wait(world.cluster().wait_replayed())?;
        let mut ringway = world.connect(region)?;
        know_tables(world, &mut ringway)?;
        Ok(Self {
            plain: Session::connect(&world.straight())?,
            ringway,
            types: Session::connect(&world.straight())?,
            known_types: HashMap::new(),
        })
    }

    /// Runs a case on both sides; what differs.
    pub(crate) fn run(&mut self, case: &Case, mode: Mode) -> Result<Option<String>> {
        if case.protocol == Protocol::Together {
            return self.together(case);
        }
        if case.rollback {
            self.both("BEGIN")?;
        }
        let mut found = None;
        for step in &case.steps {
            let difference = self.step(step, mode).with_context(|| step.sql.clone())?;
            found = difference.map(|difference| format!("{}\n{difference}", step.sql));
            if found.is_some() || step.expected == Expected::Refused {
                break;
            }
        }
        if case.rollback {
            self.both("ROLLBACK")?;
        }
        Ok(found)
    }

    /// Runs a case of one statement, which may be refused.
    pub(crate) fn run_or_refused(&mut self, case: &Case, mode: Mode) -> Result<Outcome> {
        let Some(step) = case.steps.first() else {
            bail!("a case without a statement");
        };
        self.both("BEGIN")?;
        let got = send(&mut self.ringway, step, mode, &[])?;
        let outcome = if compare::refusal(&got).is_none() {
            Outcome::Refused
        } else {
            let expected = send(&mut self.plain, step, mode, &[])?;
            match compare::difference(&expected, &got, step.is_ordered()) {
                None if expected.iter().any(|reply| reply.error().is_some()) => Outcome::SameError,
                None => Outcome::Equal,
                Some(difference) => Outcome::Different(format!("{}\n{difference}", step.sql)),
            }
        };
        self.both("ROLLBACK")?;
        Ok(outcome)
    }

    fn both(&mut self, sql: &str) -> Result<()> {
        self.plain.simple(sql, None)?;
        self.ringway.simple(sql, None)?;
        Ok(())
    }

    fn together(&mut self, case: &Case) -> Result<Option<String>> {
        let statements: Vec<&str> = case.steps.iter().map(|step| step.sql.as_str()).collect();
        let sql = statements.join(";\n");
        let got = self.ringway.simple(&sql, None).with_context(|| sql.clone())?;
        if case.steps.iter().any(|step| step.expected == Expected::Refused) {
            return Ok(compare::refusal(&got).map(|wrong| format!("{sql}\n{wrong}")));
        }
        let expected = self.plain.simple(&sql, None)?;
        let ordered = case.steps.iter().all(Step::is_ordered);
        Ok(compare::difference(&expected, &got, ordered).map(|difference| format!("{sql}\n{difference}")))
    }

    fn step(&mut self, step: &Step, mode: Mode) -> Result<Option<String>> {
        let params = step.params.iter().map(|params| self.bound(params, mode));
        let params: Vec<(Vec<u32>, Bound)> = params.collect::<Result<_>>()?;
        let got = send(&mut self.ringway, step, mode, &params)?;
        if step.expected == Expected::Refused {
            return Ok(compare::refusal(&got));
        }
        let expected = send(&mut self.plain, step, mode, &params)?;
        let difference = compare::difference(&expected, &got, step.is_ordered());
        Ok(difference.or_else(|| self.parameters_that_differ()))
    }

    /// What the servers reported of settings.
    fn parameters_that_differ(&self) -> Option<String> {
        let (plain, ringway) = (&self.plain.parameters, &self.ringway.parameters);
        (plain != ringway)
            .then(|| format!("  reported settings: PostgreSQL {plain:?}\n  Ringway {ringway:?}\n"))
    }

    /// Types and values of one run.
    fn bound(&mut self, params: &[Param], mode: Mode) -> Result<(Vec<u32>, Bound)> {
        let mut types = Vec::new();
        let mut values = Vec::new();
        for param in params {
            if mode == Mode::Text {
                values.push(param.value.as_ref().map(|value| value.clone().into_bytes()));
                continue;
            }
            let (oid, value) = self.in_binary(param)?;
            types.push(oid);
            values.push(value);
        }
        Ok((types, Bound { values }))
    }

    /// A value's type and binary form, as the plain server has them.
    fn in_binary(&mut self, param: &Param) -> Result<(u32, Option<Vec<u8>>)> {
        if let Some(known) = self.known_types.get(param) {
            return Ok(known.clone());
        }
        let value = param
            .value
            .as_ref()
            .map_or("NULL".to_owned(), |v| format!("'{}'", v.replace('\'', "''")));
        let sql = format!("SELECT {value}::{}", param.type_name);
        let run = extended(&sql, &[], &[], true);
        let replies = self.types.extended(&run)?;
        let oid = replies.iter().find_map(|reply| match reply {
            Reply::Columns(columns) => columns.first().map(|column| column.type_oid),
            _ => None,
        });
        let value = replies.iter().find_map(|reply| match reply {
            Reply::Row(values) => values.first().cloned(),
            _ => None,
        });
        let (Some(oid), Some(value)) = (oid, value) else {
            bail!("{sql}: {replies:?}");
        };
        self.known_types.insert(param.clone(), (oid, value.clone()));
        Ok((oid, value))
    }
}

/// Waits until this Ringway has heard of the DDL that ran through the other one; until then it answers 40001, to be
/// tried again.
fn know_tables(world: &World, ringway: &mut Session) -> Result<()> {
    const TURNS: usize = 300;
    const PAUSE: Duration = Duration::from_millis(50);
    let outdated = |replies: &[Reply]| {
        replies
            .iter()
            .filter_map(Reply::error)
            .any(|error| error.code == "40001")
    };
    for table in ["orders", "tags"] {
        let sql = format!("SELECT * FROM {table} LIMIT 1");
        let mut turns = 0;
        while outdated(&ringway.simple(&sql, None)?) {
            turns += 1;
            ensure!(turns < TURNS, "the change of {table} does not become known");
            world.wait(async { tokio::time::sleep(PAUSE).await });
        }
    }
    Ok(())
}

fn extended<'a>(sql: &'a str, types: &'a [u32], bounds: &'a [Bound], binary: bool) -> Extended<'a> {
    const ONCE: &[Bound] = &[Bound { values: Vec::new() }];
    let bounds = if bounds.is_empty() { ONCE } else { bounds };
    // A statement that runs several times has a name, as a driver's has.
    let name = if bounds.len() > 1 { "several" } else { "" };
    Extended {
        name,
        sql,
        types,
        bounds,
        binary,
        max_rows: 0,
        copy: None,
    }
}

fn send(session: &mut Session, step: &Step, mode: Mode, params: &[(Vec<u32>, Bound)]) -> Result<Vec<Reply>> {
    let data = step.data.as_deref().map(str::as_bytes);
    if mode == Mode::Simple {
        return session.simple(&step.sql, data);
    }
    let types = params.first().map_or(&[][..], |(types, _)| types);
    let bounds: Vec<Bound> = params.iter().map(|(_, bound)| bound.clone()).collect();
    let run = extended(&step.sql, types, &bounds, mode == Mode::Binary);
    session.extended(&Extended {
        copy: data,
        max_rows: step.max_rows,
        ..run
    })
}

/// Tables whose rows differ between the sides.
pub(crate) fn tables_that_differ(world: &World) -> Result<Vec<(String, String)>> {
    let mut sides = Sides::connect(world, Region::UsEast)?;
    let tables = Table::ALL.iter().map(|table| table.name()).chain(MORE_TABLES);
    let mut found = Vec::new();
    for table in tables {
        let step = Step {
            sql: format!("SELECT * FROM {table}"),
            ..Step::default()
        };
        if let Some(difference) = sides.step(&step, Mode::Simple)? {
            found.push((table.to_owned(), difference));
        }
    }
    Ok(found)
}
