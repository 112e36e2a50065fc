//! The statement files.
//!
//! A case is one or more statements without an empty line between them; each ends with `;` at a line's end. They run in
//! one session, one message each. Lines that start with `---` are comments. Lines that start with `-- ` say something about
//! the next statement:
//!
//! | line | meaning |
//! |---|---|
//! | `-- refused` | Ringway answers 0A000 with a reason and a hint |
//! | `-- params: int8=42 \| text=a b \| int4=null` | a run by the extended protocol with these values; several lines are several runs of one prepared statement |
//! | `-- rows: 5` | Execute asks for 5 rows at a time |
//! | `-- ordered`, `-- unordered` | overrides the guess that rows are in order where the statement says ORDER BY |
//!
//! or about the whole case:
//!
//! | line | meaning |
//! |---|---|
//! | `-- rollback` | in a transaction that is rolled back |
//! | `-- simple`, `-- extended` | in this protocol only |
//! | `-- together` | all statements in one Query |
//!
//! After `COPY ... FROM STDIN` the data follows, up to a line `\.`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Statements that run one after the other in one session.
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) rollback: bool,
    pub(crate) protocol: Protocol,
}

/// How a case may be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Any,
    Simple,
    Together,
    Extended,
}

/// One statement.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) expected: Expected,
    pub(crate) params: Vec<Vec<Param>>,
    pub(crate) max_rows: i32,
    pub(crate) order: Order,
    pub(crate) data: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expected {
    #[default]
    Equal,
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    #[default]
    Guess,
    Ordered,
    Unordered,
}

/// The value of a parameter, in text; `None` is NULL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Param {
    pub(crate) type_name: String,
    pub(crate) value: Option<String>,
}

impl Step {
    /// Whether the order of the rows counts.
    pub(crate) fn is_ordered(&self) -> bool {
        match self.order {
            Order::Guess => self.sql.to_uppercase().contains("ORDER BY"),
            Order::Ordered => true,
            Order::Unordered => false,
        }
    }
}

impl Case {
    /// The first statement on one line: what a case is called by.
    pub(crate) fn title(&self) -> String {
        self.steps
            .first()
            .map(|step| squeezed(&step.sql))
            .unwrap_or_default()
    }
}

pub(crate) fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cases of all files of a folder, in the order of their names.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<(String, Vec<Case>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("a file without a name")?
            .to_owned();
        let text = fs::read_to_string(&path)?;
        files.push((name.clone(), parse(&text).with_context(|| name)?));
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let mut reading = Reading::default();
    while let Some((number, line)) = lines.next() {
        let at = || format!("line {number}");
        if line.starts_with("---") {
            continue;
        }
        if line.trim().is_empty() && reading.step.sql.is_empty() {
            ensure!(
                reading.step_is_fresh(),
                "line {number}: an annotation without a statement"
            );
            cases.extend(reading.take());
        } else if let Some(annotation) = line.strip_prefix("-- ").filter(|_| reading.step.sql.is_empty()) {
            reading.start(number);
            reading.annotate(annotation).with_context(at)?;
        } else {
            reading.start(number);
            reading.step.sql.push_str(line);
            reading.step.sql.push('\n');
            if line.trim_end().ends_with(';') {
                if is_copy_in(&reading.step.sql) {
                    let data = lines
                        .by_ref()
                        .map(|(_, line)| line)
                        .take_while(|line| *line != "\\.");
                    reading.step.data = Some(data.map(|line| format!("{line}\n")).collect());
                }
                reading.end_step();
            }
        }
    }
    ensure!(reading.step.sql.is_empty(), "the last statement has no end");
    cases.extend(reading.take());
    Ok(cases)
}

fn is_copy_in(sql: &str) -> bool {
    let sql = squeezed(sql).to_uppercase();
    sql.starts_with("COPY ") && sql.contains(" FROM STDIN")
}

/// The case that is being read.
#[derive(Default)]
struct Reading {
    case: Option<Case>,
    step: Step,
    annotated: bool,
}

impl Reading {
    fn start(&mut self, line: usize) {
        let new = || Case {
            line,
            steps: Vec::new(),
            rollback: false,
            protocol: Protocol::Any,
        };
        self.case.get_or_insert_with(new);
    }

    fn step_is_fresh(&self) -> bool {
        !self.annotated
    }

    fn take(&mut self) -> Option<Case> {
        self.case.take().filter(|case| !case.steps.is_empty())
    }

    fn end_step(&mut self) {
        let mut step = std::mem::take(&mut self.step);
        self.annotated = false;
        let sql = step.sql.trim().trim_end_matches(';').to_owned();
        step.sql = sql;
        if let Some(case) = &mut self.case {
            if !step.params.is_empty() || step.max_rows > 0 {
                case.protocol = Protocol::Extended;
            }
            case.steps.push(step);
        }
    }

    fn annotate(&mut self, annotation: &str) -> Result<()> {
        let Some(case) = &mut self.case else { return Ok(()) };
        let first = case.steps.is_empty();
        let (word, rest) = annotation.split_once(": ").unwrap_or((annotation, ""));
        self.annotated = true;
        match word {
            "refused" => self.step.expected = Expected::Refused,
            "ordered" => self.step.order = Order::Ordered,
            "unordered" => self.step.order = Order::Unordered,
            "rows" => self.step.max_rows = rest.parse()?,
            "params" => self.step.params.push(params(rest)?),
            "rollback" if first => case.rollback = true,
            "simple" if first => case.protocol = Protocol::Simple,
            "extended" if first => case.protocol = Protocol::Extended,
            "together" if first => case.protocol = Protocol::Together,
            _ => bail!("what is {annotation:?}?"),
        }
        Ok(())
    }
}

fn params(text: &str) -> Result<Vec<Param>> {
    let one = |part: &str| {
        let (type_name, value) = part
            .trim_start()
            .split_once('=')
            .context("a parameter is type=value")?;
        let value = (value != "null").then(|| value.to_owned());
        Ok(Param {
            type_name: type_name.to_owned(),
            value,
        })
    };
    text.split(" | ").map(one).collect()
}
