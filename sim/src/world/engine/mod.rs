//! The engine `core`: the machines that ship, and the simulated Redis, without network, shell or runtime; for volume. The
//! director, the server with all that befalls it, the facts and the judges are those of the other engines; what differs is
//! what lies between a plan and them.
//!
//! ```text
//!   director ──▶ State (one agenda)
//!                  nodes: Process = Machine + what the shell would be, as data + the application   ── bytes ──┐
//!                  producer                                                                         ── bytes ──┤
//!                  network: how long bytes take, and whether they come at all                                  ▼
//!                  served: the simulated Redis, and who listens to its word                         ◀── bytes ─┘
//! ```
//!
//! A call's commands are made, and its answers understood, by the shell's own code, one after the other, each when the
//! answer before it is there: a future that nobody but [`UnderWay`](crate::calls::UnderWay) polls. Connections, leases,
//! the outbox and the lives of processes are modelled: what the shell does with them is not tested here.

mod application;
mod clock;
mod fit;
mod links;
mod network;
mod node;
mod process;
mod producer;
mod state;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use streamkeeper::Time;

pub use fit::Unfit;
use node::Consumer;
use producer::Producers;
use state::{Engine, State};

use super::{Fleet, Outcome, actor::Actor, director::Director, judged, scene::Scene, server::Server};
use crate::{plan::Plan, stage::time::TrueTime};

/// Runs a plan, and judges what happened. One that does not [fit](Plan::fits_core) fails, with that.
pub(super) fn run(plan: &Plan, fleet: &Fleet) -> Outcome {
    let brought = fleet.handler.is_some() || !fleet.settings.is_empty();
    let foreign = brought.then(|| "the engine `core` has no handlers and settings but the plan's".to_owned());
    if let Some(why) = plan.fits_core().map_err(|unfit| unfit.to_string()).err().or(foreign) {
        let panics = vec![why];
        return Outcome {
            facts: Vec::new(),
            end: Time::ZERO,
            violations: Vec::new(),
            panics,
            sometimes: BTreeMap::new(),
        };
    }
    let time = TrueTime::told();
    let scene = Scene::new(time.clock(0));
    let server = Server::new(plan, scene.clone());
    let state = State::new(plan, time, scene.clone(), server.only());
    let state = Rc::new(RefCell::new(state));
    let consumer = |index| Rc::new(Consumer { index, state: state.clone() }) as Rc<dyn Actor>;
    let consumers = (0..plan.consumers.len()).map(consumer).collect();
    let producers = Rc::new(Producers(state.clone()));
    let mut director = Director::new(plan, Box::new(Engine(state)), scene, consumers, producers, server);
    let mut outcome = judged(plan, &mut director);
    // What they would do never happens here.
    outcome.sometimes.retain(|name, _| !name.contains("Go peer"));
    outcome
}
