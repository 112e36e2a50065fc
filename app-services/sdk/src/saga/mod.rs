//! Sagas: a row of steps over several services, each of them undone if a later one is refused.
//!
//! A [`Definition`] is a table that can be printed. Where a saga stands is a row beside the order that it drives, written by the transaction that
//! places the order; an [`Orchestrator`] moves it on. Any number of instances may run, and any of them may be killed: what one had in hand
//! is taken up by another when its step's time is over.
//!
//! **Invariant:** a saga ends `done` with every step done, or `undone` with every step that may have been done undone.
//! **Invariant:** of several instances only the one that took a step last can record its outcome.

mod definition;
mod orchestrator;

pub use definition::{Definition, Outcome, State, Step, next};
pub use orchestrator::{Call, Orchestrator};
