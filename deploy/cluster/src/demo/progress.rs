//! What the user sees while the demo comes up: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes: standard error, so that standard output holds the summary alone.
pub(super) struct Progress {
    look: Look,
    begun: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Bars,
    Lines,
}

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

impl Progress {
    pub(super) fn new() -> Self {
        let look = if std::io::stderr().is_terminal() {
            Look::Bars
        } else {
            Look::Lines
        };
        Self {
            look,
            begun: Instant::now(),
        }
    }

    /// Says something once.
    pub(super) fn note(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.begun.elapsed().as_secs_f64());
    }

    /// So many servers are being started.
    pub(super) fn servers(&self, count: usize) -> Servers<'_> {
        let bar = self.bar(
            Some(count as u64),
            "{spinner} [{pos}/{len}] starting servers {msg}",
        );
        Servers { progress: self, bar }
    }

    /// A table is being filled.
    pub(super) fn table(&self, name: &'static str) -> Rows<'_> {
        let bar = self.bar(None, "{spinner} loading {msg}: {pos} rows ({per_sec})");
        if let Some(bar) = &bar {
            bar.set_message(name);
        }
        Rows {
            progress: self,
            bar,
            name,
            begun: Instant::now(),
        }
    }

    fn bar(&self, length: Option<u64>, template: &str) -> Option<ProgressBar> {
        if self.look == Look::Lines {
            return None;
        }
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Some(bar)
    }
}

/// The servers that are being started.
pub(super) struct Servers<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
}

impl Servers<'_> {
    /// This one answers.
    pub(super) fn ready(&self, name: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("({name} is ready)"));
                bar.inc(1);
                bar.suspend(|| self.progress.note(&format!("{name} is ready")));
            }
            None => self.progress.note(&format!("{name} is ready")),
        }
    }

    /// All of them answer.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The rows of a table that are being loaded.
pub(super) struct Rows<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
    name: &'static str,
    begun: Instant,
}

impl Rows<'_> {
    /// So many were sent so far.
    pub(super) fn sent(&self, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(rows);
        }
    }

    /// All of them are stored.
    pub(super) fn finish(self, rows: u64) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        self.progress
            .note(&format!("{}: {rows} rows in {seconds:.1} s", self.name));
    }
}
