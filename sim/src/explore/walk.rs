//! Walking through a world at random, for long: deeper than every life can be visited, and wider than two faults.
//!
//! Trouble and calm come by turns. In trouble one step in some thirty is a fault or a wish; in calm nothing goes wrong,
//! and every stream must find its owner. Finished streams are followed by new ones.

use std::{ops::ControlFlow, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use streamkeeper::Time;

use super::{
    bounds::Bounds,
    defect::Defect,
    node::NEVER,
    search::{Found, beginning, take},
    step::Step,
    truth::Broken,
    world::{Setting, Trace, World},
};

/// How a walk went.
#[derive(Clone, Debug)]
pub struct Walked {
    /// Steps.
    pub steps: u64,
    /// Faults and wishes among them.
    pub strikes: u64,
    /// How much time has passed in the world.
    pub passed: Duration,
    /// What was found, if anything.
    pub found: Option<Found>,
}

const TROUBLE: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(12);
/// One step in so many goes wrong.
const RARITY: u32 = 30;

/// Walks for so long, as the seed has it. The same seed always walks the same way.
pub fn walk(bounds: &Bounds, defect: Option<Defect>, seed: u64, length: Duration) -> Walked {
    let mut walk = Walk::new(bounds, defect.clone(), seed);
    let mut walked = Walked { steps: 0, strikes: 0, passed: Duration::ZERO, found: None };
    let outcome = walk.go(length, &mut walked, None);
    if let ControlFlow::Break(broken) = outcome {
        let (mut again, mut story) = (Walk::new(bounds, defect, seed), Vec::new());
        let mut ignored = walked.clone();
        let _ = again.go(length, &mut ignored, Some(&mut story));
        walked.found = Some(Found { broken, story });
    }
    walked
}

struct Walk {
    setting: Setting,
    world: Result<World, Broken>,
    dice: SmallRng,
    announced: usize,
}

impl Walk {
    fn new(bounds: &Bounds, defect: Option<Defect>, seed: u64) -> Walk {
        let mut setting = Setting::new(bounds, defect);
        let world = beginning(&setting, None);
        if let Ok(world) = &world {
            setting.snapshot = Some(world.server.clone());
        }
        Walk { setting, world, dice: SmallRng::seed_from_u64(seed), announced: bounds.streams }
    }

    fn go(&mut self, length: Duration, walked: &mut Walked, mut trace: Trace<'_>) -> ControlFlow<Broken> {
        let mut world = match self.world.clone() {
            Ok(world) => world,
            Err(broken) => return ControlFlow::Break(broken),
        };
        let (begun, mut phase) = (world.now, Phase { trouble: true, until: world.now + TROUBLE });
        (walked.steps, walked.strikes) = (0, 0);
        while world.now < begun + length {
            walked.passed = world.now.since(begun);
            walked.steps += 1;
            if world.now >= phase.until {
                phase = self.turn(&mut world, phase);
            }
            (world.faults, world.wishes, world.until) = (9, 9, NEVER); // chance decides, no budget
            if phase.trouble && self.dice.random_ratio(1, RARITY) {
                self.announce_what_is_missing(&mut world);
            }
            let step = self.choose(&world, phase.trouble);
            walked.strikes += u64::from(is_strike(step));
            world = match take(&world, &self.setting, step, trace.as_deref_mut()) {
                Ok(world) => world,
                Err(broken) => return ControlFlow::Break(broken),
            };
        }
        walked.passed = world.now.since(begun);
        ControlFlow::Continue(())
    }

    /// Trouble begins or ends. What does not run is started for the calm; behind it, everything is as new.
    fn turn(&mut self, world: &mut World, phase: Phase) -> Phase {
        let trouble = !phase.trouble;
        if trouble {
            world.recovered(&self.setting);
        }
        Phase { trouble, until: world.now + if trouble { TROUBLE } else { CALM } }
    }

    /// What was finished, or what Redis has forgotten, is followed by something new.
    fn announce_what_is_missing(&mut self, world: &mut World) {
        let setting = &self.setting;
        let there = world.truth.streams.iter().filter(|at| world.is_to_be_owned(setting, *at)).count();
        for _ in there..setting.bounds.streams {
            self.announced += 1;
            world.announce(setting, &format!("orders-{}", self.announced));
            (0..world.nodes.len()).for_each(|node| world.serve_reads(node));
        }
    }

    /// A step by chance: mostly one that goes well.
    fn choose(&mut self, world: &World, trouble: bool) -> Step {
        let choices = world.choices(&self.setting);
        // In calm, who does not run starts first of all; and somebody always runs.
        let (running, standing): (Vec<usize>, Vec<usize>) =
            (0..world.nodes.len()).partition(|node| world.life(*node).is_running());
        if let Some(node) = standing.first().filter(|_| !trouble || running.is_empty()) {
            return Step::Boot(*node);
        }
        let strikes = trouble && self.dice.random_ratio(1, RARITY);
        let wanted: Vec<Step> = choices.iter().copied().filter(|step| is_strike(*step) == strikes).collect();
        let any = wanted.choose(&mut self.dice).or(choices.first());
        any.copied().unwrap_or(Step::Pass)
    }
}

#[derive(Clone, Copy)]
struct Phase {
    trouble: bool,
    until: Time,
}

fn is_strike(step: Step) -> bool {
    step.is_fault() || matches!(step, Step::End(..) | Step::Stop(_))
}
