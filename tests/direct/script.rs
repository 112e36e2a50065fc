//! Messages to be sent, and what comes back as bytes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::Session;
use wire::frontend::{Bind, Close, Describe, Execute, Parse, Query, Target, encode_flush, encode_sync};
use wire::{FormatCodes, Oids, copy};

/// The most messages of one script's answers.
const FRAMES_MAX: usize = 200_000;

/// A message of a server: its tag and its body.
pub(crate) type Frame = (u8, Vec<u8>);

/// What a client does.
#[derive(Clone, Debug)]
enum Step {
    /// Sends bytes in one go.
    Send(Vec<u8>),
    /// Says nothing for so long.
    Pause(Duration),
    /// Reads until so many messages with this tag have come.
    Until(u8, usize),
    /// Reads until a message has this text in it.
    UntilText(&'static str),
}

/// What a client does, one step after the other. What is added goes out together at the next wait.
#[derive(Clone, Default, Debug)]
pub(crate) struct Script {
    steps: Vec<Step>,
    pending: Vec<u8>,
}

impl Script {
    pub(crate) fn query(mut self, sql: &str) -> Self {
        Query { sql: sql.as_bytes() }.encode(&mut self.pending);
        self
    }

    pub(crate) fn parse(mut self, name: &str, sql: &str, types: &[u32]) -> Self {
        let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        Parse {
            name: name.as_bytes(),
            sql: sql.as_bytes(),
            parameter_types: Oids::from_raw(&types).unwrap_or(Oids::NONE),
        }
        .encode(&mut self.pending);
        self
    }

    pub(crate) fn bind(mut self, portal: &str, statement: &str, values: &[&str]) -> Self {
        let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
        Bind::encode(
            &mut self.pending,
            portal.as_bytes(),
            statement.as_bytes(),
            FormatCodes::TEXT,
            &values,
            FormatCodes::TEXT,
        );
        self
    }

    pub(crate) fn describe(mut self, target: Target, name: &str) -> Self {
        Describe {
            target,
            name: name.as_bytes(),
        }
        .encode(&mut self.pending);
        self
    }

    pub(crate) fn execute(mut self, portal: &str, max_rows: i32) -> Self {
        Execute {
            portal: portal.as_bytes(),
            max_rows,
        }
        .encode(&mut self.pending);
        self
    }

    pub(crate) fn close(mut self, target: Target, name: &str) -> Self {
        Close {
            target,
            name: name.as_bytes(),
        }
        .encode(&mut self.pending);
        self
    }

    /// Parse, Bind, Describe and Execute of unnamed objects.
    pub(crate) fn run(self, sql: &str) -> Self {
        self.parse("", sql, &[])
            .bind("", "", &[])
            .describe(Target::Portal, "")
            .execute("", 0)
    }

    /// Parse as a batch of its own.
    pub(crate) fn prepare(self, name: &str, sql: &str) -> Self {
        self.parse(name, sql, &[]).sync()
    }

    /// Bind and Execute of the unnamed portal.
    pub(crate) fn exec(self, statement: &str, values: &[&str]) -> Self {
        self.bind("", statement, values).execute("", 0)
    }

    pub(crate) fn sync(mut self) -> Self {
        encode_sync(&mut self.pending);
        self
    }

    pub(crate) fn flush(mut self) -> Self {
        encode_flush(&mut self.pending);
        self
    }

    pub(crate) fn copy_data(mut self, data: &[u8]) -> Self {
        copy::CopyData { data }.encode(&mut self.pending);
        self
    }

    pub(crate) fn copy_done(mut self) -> Self {
        copy::encode_copy_done(&mut self.pending);
        self
    }

    /// Data for a COPY, once the server has asked for it, and the end of it.
    pub(crate) fn feed(self, data: &[u8]) -> Self {
        self.until(b'G', 1).copy_data(data).copy_done()
    }

    pub(crate) fn copy_fail(mut self, reason: &str) -> Self {
        copy::CopyFail {
            reason: reason.as_bytes(),
        }
        .encode(&mut self.pending);
        self
    }

    /// A message of any kind.
    pub(crate) fn message(mut self, tag: u8, body: &[u8]) -> Self {
        self.pending.push(tag);
        let len = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.pending.extend_from_slice(&len.to_be_bytes());
        self.pending.extend_from_slice(body);
        self
    }

    /// FunctionCall with arguments in binary.
    pub(crate) fn call(self, function: u32, arguments: &[&[u8]]) -> Self {
        let mut body = function.to_be_bytes().to_vec();
        body.extend([0, 1, 0, 1]);
        body.extend(u16::try_from(arguments.len()).unwrap_or(0).to_be_bytes());
        for argument in arguments {
            body.extend(u32::try_from(argument.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(argument);
        }
        body.extend([0, 1]);
        self.message(b'F', &body)
    }

    /// Sends what was added, and waits for so many messages with this tag.
    pub(crate) fn until(mut self, tag: u8, count: usize) -> Self {
        self.steps.push(Step::Send(std::mem::take(&mut self.pending)));
        self.steps.push(Step::Until(tag, count));
        self
    }

    /// Sends what was added, and says nothing for a while.
    pub(crate) fn pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Send(std::mem::take(&mut self.pending)));
        self.steps.push(Step::Pause(time));
        self
    }

    /// Sends what was added, and waits for a message with this text in it.
    pub(crate) fn until_text(mut self, text: &'static str) -> Self {
        self.steps.push(Step::Send(std::mem::take(&mut self.pending)));
        self.steps.push(Step::UntilText(text));
        self
    }

    /// Sends what was added, and waits for so many ReadyForQuery.
    pub(crate) fn ready(self, count: usize) -> Self {
        self.until(b'Z', count)
    }

    /// Plays it; gives all that came.
    pub(crate) fn play(&self, session: &mut Session) -> Result<Vec<Frame>> {
        ensure!(self.pending.is_empty(), "a script that doesn't wait for its end");
        let mut frames = Vec::new();
        for step in &self.steps {
            let mut left = match step {
                Step::Send(bytes) => {
                    session.send_bytes(bytes)?;
                    continue;
                }
                Step::Pause(time) => {
                    std::thread::sleep(*time);
                    continue;
                }
                Step::Until(_, count) => *count,
                Step::UntilText(_) => 1,
            };
            while left > 0 {
                ensure!(frames.len() < FRAMES_MAX, "no end of messages");
                let shown = || format!("waiting for {left} of {step:?}\n{}", show(&frames));
                let Some((tag, body)) = session.frame().with_context(shown)? else {
                    frames.push((0, b"closed".to_vec()));
                    return Ok(frames);
                };
                let found = match step {
                    Step::Until(wanted, _) => tag == *wanted,
                    Step::UntilText(text) => body.windows(text.len()).any(|part| part == text.as_bytes()),
                    Step::Send(_) | Step::Pause(_) => false,
                };
                left -= usize::from(found);
                frames.push(comparable((tag, body)));
            }
        }
        Ok(frames)
    }
}

/// Process ids and the numbers of tables differ.
fn comparable((tag, mut body): Frame) -> Frame {
    /// After a column's name: its table, its place there, its type, its length, its modifier, its format.
    const COLUMN: usize = 18;
    if tag == b'T' {
        let mut at = 2;
        while let Some(end) = body
            .get(at..)
            .and_then(|rest| rest.iter().position(|byte| *byte == 0))
        {
            let start = at + end + 1;
            if let Some(table) = body.get_mut(start..start + 4) {
                table.fill(0);
            }
            at = start + COLUMN;
        }
    }
    if tag == b'A'
        && let Some(pid) = body.get_mut(..4)
    {
        pid.fill(0);
    }
    (tag, body)
}

/// Frames for people.
pub(crate) fn show(frames: &[Frame]) -> String {
    let line = |(tag, body): &Frame| {
        let text: String = body
            .iter()
            .take(300)
            .flat_map(|byte| std::ascii::escape_default(*byte))
            .map(char::from)
            .collect();
        format!("  {} {text}\n", char::from(*tag))
    };
    frames.iter().map(line).collect()
}

/// Compares what two sessions were answered.
pub(crate) fn same(name: &str, straight: &[Frame], through: &[Frame]) -> Result<()> {
    if straight != through {
        bail!(
            "{name}\nPostgreSQL:\n{}Ringway:\n{}",
            show(straight),
            show(through)
        );
    }
    Ok(())
}
