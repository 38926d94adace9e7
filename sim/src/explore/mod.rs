//! Every life of a small cluster: a few machines, the very ones that ship, and one simulated Redis that runs the very
//! scripts, without network, runtime or chance. From one state, all that can happen next is tried, each time, until no
//! state is left that was not visited; in every one the promises must hold.
//!
//! ```text
//!   World (a value) ── choices() ──▶ Step, Step, Step … ── take() ──▶ World, or a broken promise and its story
//!     consumers: Machine + what is on its way      one Redis as a value      the truth: who was granted what
//! ```
//!
//! What is not tried, so that there is an end, stands in `docs/invariants.md`.

mod bounds;
mod choices;
mod defect;
mod digest;
mod hand;
mod node;
mod search;
mod server;
mod step;
mod take;
#[cfg(test)]
mod tests;
mod truth;
mod walk;
mod world;

pub use bounds::{Beginning, Bounds, Kind};
pub use defect::Defect;
pub use search::{Explored, Found, explore};
pub use truth::Broken;
pub use walk::{Walked, walk};
