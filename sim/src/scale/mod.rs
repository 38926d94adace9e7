//! A large fleet without network or runtime: the machines that ship, the scripts that ship and simulated Redis servers
//! on one agenda of events. It tells how load, calls and takeovers grow with consumers and streams: `docs/scale.md`.
//!
//! ```text
//!   agenda: what happens when ──▶ World ──▶ Node (a Machine)  ── call ──▶ after the latency, the queue of a Shard
//!                                           answer, pushes  ◀── after the server's time and the latency ── Redis
//! ```
//!
//! What is executed is real: every call runs its script in the simulated Redis. How long it takes there is modelled: one
//! thread per server, calls queue, each costs what [`Costs`] says.

pub(crate) mod agenda;
mod costs;
mod fleet;
mod law;
mod ledger;
mod node;
mod report;
mod serve;
mod server;
#[cfg(test)]
mod tests;
mod traffic;
mod world;

pub use costs::{Costs, UnknownCost};
pub use fleet::{Fleet, Unfit};
pub use law::Law;
pub use ledger::Share;
pub use report::{Period, Rate, Report, Worst};
pub use world::{Progress, run};
