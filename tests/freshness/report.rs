//! What happened while the checker ran: reads, errors and wrong answers, by phase.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong answers and wrong errors that are kept in full; all are counted.
const FINDINGS_KEPT: usize = 40;

/// What clients may run into during a phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tolerance {
    /// No error at all: what is missing is not needed to answer.
    Nothing,
    /// Errors that say what is missing, with one of the SQLSTATEs that the conventions give for it.
    TypedErrors,
    /// As above, and clients may lose their connection: the proxy itself is gone.
    LostConnections,
}

/// SQLSTATEs for servers that are gone, come back or are stopping: our own and those that PostgreSQL gives itself.
const TYPED: [&str; 9] = [
    "08006", "08007", "53300", "57P01", "57P02", "57P03", "40001", "25P02", "57014",
];

/// One stretch of the schedule.
#[derive(Clone, Debug)]
struct Phase {
    name: String,
    tolerance: Tolerance,
    began: Instant,
    ended: Option<Instant>,
    counts: BTreeMap<&'static str, u64>,
    errors: BTreeMap<String, u64>,
    notes: Vec<String>,
}

/// The phases so far, and what was found wrong.
#[derive(Debug)]
pub(crate) struct Report {
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    phases: Vec<Phase>,
    violations: u64,
    faults: u64,
    findings: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next phase begins.
    pub(crate) fn begin(&self, name: &str, tolerance: Tolerance) {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(last) = state.phases.last_mut() {
            last.ended = Some(now);
        }
        state.phases.push(Phase {
            name: name.to_owned(),
            tolerance,
            began: now,
            ended: None,
            counts: BTreeMap::new(),
            errors: BTreeMap::new(),
            notes: Vec::new(),
        });
    }

    /// The last phase is over.
    pub(crate) fn end(&self) {
        if let Some(last) = self.state().phases.last_mut() {
            last.ended = Some(Instant::now());
        }
    }

    /// Something to tell about the phase under way.
    pub(crate) fn note(&self, text: String) {
        if let Some(last) = self.state().phases.last_mut() {
            last.notes.push(text);
        }
    }

    /// Something happened: a read at a level, a write on a road.
    pub(crate) fn count(&self, what: &'static str) {
        if let Some(last) = self.state().phases.last_mut() {
            *last.counts.entry(what).or_default() += 1;
        }
    }

    /// How often that happened so far.
    pub(crate) fn total(&self, what: &str) -> u64 {
        self.state()
            .phases
            .iter()
            .filter_map(|phase| phase.counts.get(what))
            .sum()
    }

    /// A client got an error instead of an answer; `code` is `None` where the connection broke without a word.
    pub(crate) fn error(&self, who: &str, began: Instant, code: Option<&str>, message: &str) {
        let mut state = self.state();
        // The statement may have begun in one phase and failed in the next: the more tolerant one counts.
        let touched = state
            .phases
            .iter()
            .filter(|phase| phase.ended.is_none_or(|end| end >= began));
        let most_tolerant = touched
            .map(|phase| phase.tolerance)
            .max_by_key(|tolerance| *tolerance as u8);
        let allowed = match (most_tolerant, code) {
            (None | Some(Tolerance::Nothing), _) => false,
            (Some(Tolerance::TypedErrors | Tolerance::LostConnections), Some(code)) => TYPED.contains(&code),
            (Some(Tolerance::TypedErrors), None) => false,
            (Some(Tolerance::LostConnections), None) => true,
        };
        let code = code.unwrap_or("closed");
        let name = match state.phases.last_mut() {
            Some(last) => {
                *last.errors.entry(code.to_owned()).or_default() += 1;
                last.name.clone()
            }
            None => return,
        };
        if !allowed {
            state.faults += 1;
            let finding = format!("[{name}] an error that must not be: {who}: {code} {message}");
            state.keep(finding);
        }
    }

    /// A read was answered wrongly.
    pub(crate) fn violation(&self, text: &str) {
        let mut state = self.state();
        state.violations += 1;
        let name = state
            .phases
            .last()
            .map(|phase| phase.name.clone())
            .unwrap_or_default();
        state.keep(format!("[{name}] WRONG ANSWER: {text}"));
    }

    /// Something else that must not be.
    pub(crate) fn fault(&self, text: &str) {
        let mut state = self.state();
        state.faults += 1;
        let name = state
            .phases
            .last()
            .map(|phase| phase.name.clone())
            .unwrap_or_default();
        state.keep(format!("[{name}] {text}"));
    }

    /// Wrong answers so far.
    pub(crate) fn violations(&self) -> u64 {
        self.state().violations
    }

    /// All that was found wrong, and how much more there was; empty if all is well.
    pub(crate) fn findings(&self) -> String {
        let state = self.state();
        if state.violations + state.faults == 0 {
            return String::new();
        }
        let counted = format!(
            "{} wrong answers, {} other faults",
            state.violations, state.faults
        );
        format!("{counted}; the first of them:\n{}", state.findings.join("\n"))
    }

    /// A line for each phase, and the sums.
    pub(crate) fn summary(&self) -> String {
        let state = self.state();
        let mut text = String::new();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for phase in &state.phases {
            let _ = writeln!(text, "{}", line(phase));
            for (what, count) in &phase.counts {
                *sums.entry(what).or_default() += count;
            }
        }
        let sums: Vec<String> = sums
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let _ = write!(
            text,
            "in all: {}; wrong answers {}; other faults {}",
            sums.join(", "),
            state.violations,
            state.faults
        );
        text
    }
}

impl State {
    fn keep(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(finding);
        }
    }
}

fn line(phase: &Phase) -> String {
    let time = phase
        .ended
        .map_or(Duration::ZERO, |end| end.duration_since(phase.began));
    let mut text = format!("{:<34} {:>6.1} s ", phase.name, time.as_secs_f64());
    for (what, count) in &phase.counts {
        let _ = write!(text, " {what} {count}");
    }
    for (code, count) in &phase.errors {
        let _ = write!(text, " {code}:{count}");
    }
    for note in &phase.notes {
        let _ = write!(text, "; {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_against_the_phase_that_does_not_tolerate_it() {
        let report = Report::new();
        report.begin("quiet", Tolerance::Nothing);
        let before = Instant::now();
        report.begin("crash", Tolerance::TypedErrors);
        report.error("reader", before, Some("08006"), "lost");
        assert_eq!(report.findings(), "", "it began before, but failed in the crash");
        report.error("reader", Instant::now(), Some("XX000"), "internal");
        assert!(report.findings().contains("XX000"));
        report.begin("quiet again", Tolerance::Nothing);
        report.error("reader", Instant::now(), Some("08006"), "lost");
        assert!(report.findings().contains("2 other faults"));
    }

    #[test]
    fn a_closed_connection_is_tolerated_only_where_the_proxy_is_gone() {
        let report = Report::new();
        report.begin("proxy restarts", Tolerance::LostConnections);
        report.error("reader", Instant::now(), None, "closed");
        assert_eq!(report.findings(), "");
        report.begin("crash", Tolerance::TypedErrors);
        report.error("reader", Instant::now(), None, "closed");
        assert!(report.findings().contains("1 other fault"));
    }
}
