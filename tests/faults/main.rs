//! Bad input and lost parts: a clear error or the origin's answer, nothing lost, no panic, no hang, and recovery by itself.
//!
//! The tests share running servers and take turns, since each of them breaks something.

mod input;
mod levels;
mod login;
mod lost;
mod parts;
mod pools;
mod running;
mod stage;
mod two_phase;
