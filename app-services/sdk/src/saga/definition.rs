//! What a saga consists of and where an outcome leads: pure.

use std::fmt;
use std::time::Duration;

/// A step of a saga.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The action that does it.
    pub action: &'static str,
    /// The action that undoes it, also if it was not done or half done; none if there is nothing to undo.
    pub undo: Option<&'static str>,
    /// How long an instance has for one try of either.
    pub timeout: Duration,
    /// How often doing it is tried before it counts as failed. Undoing is tried until it works.
    pub attempts: u32,
}

/// A saga's steps, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its name, kept with each saga that is started.
    pub name: &'static str,
    /// The steps; sagas under way go by their numbers, so new ones are added at the end, or to a definition of another name.
    pub steps: &'static [Step],
}

/// Where a saga stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Doing the step of this number.
    Doing(usize),
    /// Undoing it.
    Undoing(usize),
    /// All steps are done.
    Done,
    /// All that was done is undone.
    Undone,
}

/// What came of a try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The action has taken effect.
    Done,
    /// It will not, and has not: this is why.
    Refused(String),
    /// It may have or not; it can be tried again.
    Again(String),
}

impl State {
    /// The word that is stored, and the number of the step.
    pub(crate) fn stored(self) -> (&'static str, i32) {
        let number = |step: usize| i32::try_from(step).unwrap_or(i32::MAX);
        match self {
            Self::Doing(step) => ("doing", number(step)),
            Self::Undoing(step) => ("undoing", number(step)),
            Self::Done => ("done", 0),
            Self::Undone => ("undone", 0),
        }
    }

    /// What was stored.
    pub(crate) fn read(word: &str, step: i32) -> Option<Self> {
        let step = usize::try_from(step).ok()?;
        Some(match word {
            "doing" => Self::Doing(step),
            "undoing" => Self::Undoing(step),
            "done" => Self::Done,
            "undone" => Self::Undone,
            _ => return None,
        })
    }

    /// Whether the saga is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Undone)
    }
}

/// Where a saga goes from `state` by the outcome of its `tries`-th try there.
pub fn next(definition: &Definition, state: State, tries: u32, outcome: &Outcome) -> State {
    match (state, outcome) {
        (State::Doing(at), Outcome::Done) if at + 1 < definition.steps.len() => State::Doing(at + 1),
        (State::Doing(_), Outcome::Done) => State::Done,
        // A refused step has had no effect; one that failed may have.
        (State::Doing(at), Outcome::Refused(_)) => undo_before(definition, at),
        (State::Doing(at), Outcome::Again(_)) => {
            let attempts = definition.steps.get(at).map_or(0, |step| step.attempts);
            if tries < attempts {
                state
            } else {
                undo_before(definition, at + 1)
            }
        }
        (State::Undoing(at), Outcome::Done) => undo_before(definition, at),
        (State::Undoing(_), Outcome::Refused(_) | Outcome::Again(_)) => state,
        (State::Done | State::Undone, _) => state,
    }
}

/// Undoes the last step before number `end` that can be undone.
fn undo_before(definition: &Definition, end: usize) -> State {
    let steps = definition
        .steps
        .get(..end)
        .unwrap_or(definition.steps)
        .iter()
        .enumerate();
    let last = steps.rev().find(|(_, step)| step.undo.is_some());
    last.map_or(State::Undone, |(at, _)| State::Undoing(at))
}

/// The table: a line for each step.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "saga {}", self.name)?;
        writeln!(
            f,
            "{:4} {:16} {:16} {:>8} {:>8}",
            "step", "do", "undo", "timeout", "attempts"
        )?;
        for (number, step) in self.steps.iter().enumerate() {
            let (undo, timeout) = (step.undo.unwrap_or("-"), format!("{:?}", step.timeout));
            let attempts = step.attempts;
            writeln!(
                f,
                "{number:<4} {:16} {undo:16} {timeout:>8} {attempts:>8}",
                step.action
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const fn step(action: &'static str, undo: Option<&'static str>) -> Step {
        Step {
            action,
            undo,
            timeout: Duration::from_secs(1),
            attempts: 3,
        }
    }

    const ORDER: Definition = Definition {
        name: "order",
        steps: &[
            step("check", None),
            step("reserve", Some("release")),
            step("pay", Some("refund")),
            step("tell", None),
            step("ship", Some("recall")),
        ],
    };

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            4 => Just(Outcome::Done),
            1 => Just(Outcome::Refused(String::new())),
            3 => Just(Outcome::Again(String::new())),
        ]
    }

    proptest! {
        #[test]
        fn every_saga_ends_with_all_done_or_all_undone(outcomes in prop::collection::vec(any_outcome(), 200)) {
            let (mut state, mut tries) = (State::Doing(0), 0);
            let (mut done, mut undone) = (BTreeSet::new(), BTreeSet::new());
            for outcome in outcomes {
                tries += 1;
                match (state, &outcome) {
                    // What may have been done counts as done.
                    (State::Doing(at), Outcome::Done | Outcome::Again(_)) => {
                        done.insert(at);
                    }
                    (State::Undoing(at), Outcome::Done) => prop_assert!(undone.insert(at), "undone once"),
                    _ => {}
                }
                let to = next(&ORDER, state, tries, &outcome);
                tries = if to == state { tries } else { 0 };
                prop_assert!(tries < 200);
                state = to;
            }
            if state == State::Done {
                prop_assert_eq!(done.len(), ORDER.steps.len());
                prop_assert!(undone.is_empty());
            } else if state == State::Undone {
                // A step that failed and was then refused needn't be undone: the refusal says that it had no effect.
                let needed = |at: &usize| ORDER.steps[*at].undo.is_some();
                let last = done.iter().copied().max().unwrap_or(0);
                for at in done.iter().copied().filter(needed).filter(|at| *at < last) {
                    prop_assert!(undone.contains(&at));
                }
            }
        }

        #[test]
        fn states_are_read_as_they_were_stored(step in 0..9_usize) {
            for state in [State::Doing(step), State::Undoing(step), State::Done, State::Undone] {
                let (word, number) = state.stored();
                prop_assert_eq!(State::read(word, number), Some(state));
            }
        }
    }

    #[test]
    fn the_definition_prints_as_a_table() {
        let table = "\
saga order
step do               undo              timeout attempts
0    check            -                      1s        3
1    reserve          release                1s        3
2    pay              refund                 1s        3
3    tell             -                      1s        3
4    ship             recall                 1s        3
";
        assert_eq!(ORDER.to_string(), table);
    }
}
