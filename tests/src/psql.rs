//! The real `psql`: with its input from a pipe, or at a terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::Programs;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use crate::Target;

/// For one run of psql.
const RUN_BOUND: Duration = Duration::from_secs(60);
/// For psql at a terminal to show something.
const SHOW_BOUND: Duration = Duration::from_secs(20);
/// Pieces of a terminal's output that wait to be looked at.
const PIECES: usize = 1024;

/// psql for one target.
#[derive(Clone, Debug)]
pub struct Psql {
    target: Target,
    runtime: Handle,
}

/// What a run of psql printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
    /// The exit code.
    pub code: Option<i32>,
}

impl Psql {
    pub(crate) fn new(target: &Target, runtime: Handle) -> Self {
        Self {
            target: target.clone(),
            runtime,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let Target {
            port, user, database, ..
        } = &self.target;
        let words = format!("-X -P pager=off -h 127.0.0.1 -p {port} -U {user} {database}");
        words.split(' ').map(str::to_owned).collect()
    }

    /// Runs psql with this on its standard input.
    ///
    /// # Errors
    /// psql could not be started, or did not end in time.
    pub fn run(&self, input: &str) -> Result<Printed> {
        self.run_with(&[], input)
    }

    /// As [`Psql::run`], with more words on the command line.
    ///
    /// # Errors
    /// psql could not be started, or did not end in time.
    pub fn run_with(&self, words: &[&str], input: &str) -> Result<Printed> {
        let mut command = tokio::process::Command::new(Programs::postgres()?.join("psql"));
        command
            .args(words)
            .args(self.arguments())
            .env("PGPASSWORD", &self.target.password)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        self.runtime.block_on(async {
            let mut child = command.spawn().context("psql could not be started")?;
            let mut stdin = child.stdin.take().context("no standard input")?;
            let feed = async {
                // psql may end before it has read all, as with ON_ERROR_STOP.
                let _ = stdin.write_all(input.as_bytes()).await;
                drop(stdin);
            };
            let both = async { tokio::join!(feed, child.wait_with_output()).1 };
            let output = tokio::time::timeout(RUN_BOUND, both)
                .await
                .context("psql did not end")??;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(Printed {
                out: text(&output.stdout),
                err: text(&output.stderr),
                code: output.status.code(),
            })
        })
    }

    /// Starts psql at a terminal of its own.
    ///
    /// # Errors
    /// `script` or psql could not be started.
    pub fn at_terminal(&self) -> Result<Terminal> {
        let program = Programs::postgres()?.join("psql");
        let line = format!("{} -n {}", program.display(), self.arguments().join(" "));
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .env("PGPASSWORD", &self.target.password)
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("script could not be started")?;
        let keys = child.stdin.take().context("no standard input")?;
        let mut shown = child.stdout.take().context("no standard output")?;
        let (sender, pieces) = sync_channel(PIECES);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = shown.read(&mut piece) {
                let text = String::from_utf8_lossy(piece.get(..read).unwrap_or_default()).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Ok(Terminal {
            child,
            keys,
            pieces,
            shown: String::new(),
        })
    }
}

/// psql at a terminal. Dropping it closes the terminal, which ends psql.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    pieces: Receiver<String>,
    shown: String,
}

impl Terminal {
    /// The key Ctrl-C.
    pub const CTRL_C: &'static str = "\x03";

    /// Types keys.
    ///
    /// # Errors
    /// The terminal is closed.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush().context("the terminal is closed")
    }

    /// Waits until `text` is shown, and gives everything shown up to and with it since the last call.
    ///
    /// # Errors
    /// It isn't shown in time.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        let started = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                return Ok(self.shown.drain(..at + text.len()).collect());
            }
            let left = SHOW_BOUND.saturating_sub(started.elapsed());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.shown.push_str(&piece),
                Err(_) => bail!("{text:?} was not shown; this was:\n{}", self.shown),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // `script` ends psql by closing its terminal. Either may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
