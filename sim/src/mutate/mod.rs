//! The test of the tests of the scripts: each file of `io/src/lua` is changed in one place, and somebody should notice.
//! A change that nobody notices is harmless, or a test is missing. Scripts are sent to the server as text, so nothing is
//! built anew for a change: the simulated server runs another text in place of the one that it is sent.
//!
//! ```text
//!   file ── operators ──▶ mutants ──▶ sequences ─▶ tests of the calls ─▶ every life ─▶ seeds ──▶ survived
//!                                        └───────────────┴── noticed: caught ─┴──────────┘
//! ```
//!
//! Nobody here changes files. `survivors.txt` lists who may survive, and why; `docs/invariants.md` has the figures.

mod judges;
mod known;
mod mutant;
mod operators;
#[cfg(test)]
mod tests;
mod tokens;

pub use judges::{Planted, by_exploring, by_seeds, by_sequences, hear, is_explored};
pub use known::Known;
pub use mutant::{Mutant, files, mutants};
pub use operators::Operator;
