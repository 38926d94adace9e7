//! Visiting every state, once.

use std::{
    any::Any,
    collections::{BTreeMap, HashSet},
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use super::{
    bounds::{Beginning, Bounds, Kind},
    defect::Defect,
    digest::Digest,
    node::NEVER,
    step::Step,
    truth::Broken,
    world::{Setting, Trace, World},
};
use streamkeeper::Time;

/// How far it went.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Steps between them.
    pub steps: u64,
    /// The longest way from the beginning without a state twice, as far as it was gone.
    pub depth: usize,
    /// Ends: nothing more can go wrong, and everything has recovered.
    pub ends: u64,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<Kind, u64>,
    /// There is no state that was not visited.
    pub complete: bool,
    /// What was found, if anything.
    pub found: Option<Found>,
}

/// A broken promise, and how it came about.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is broken.
    pub broken: Broken,
    /// What happened, line by line.
    pub story: Vec<String>,
}

/// Visits every state within these bounds, or until a promise is broken. `heard` is told of the states so far, now and
/// then.
pub fn explore(bounds: &Bounds, defect: Option<Defect>, mut heard: impl FnMut(u64)) -> Explored {
    let begun = Instant::now();
    let mut setting = Setting::new(bounds, defect);
    let mut explored =
        Explored { states: 1, steps: 0, depth: 0, ends: 0, struck: BTreeMap::new(), complete: true, found: None };
    let root = match beginning(&setting, None) {
        Ok(root) => root,
        Err(broken) => {
            let mut story = Vec::new();
            let _ = beginning(&setting, Some(&mut story));
            explored.found = Some(Found { broken, story });
            return explored;
        }
    };
    setting.snapshot = Some(root.server.clone());
    let mut seen: HashSet<Digest> = HashSet::from([root.digest()]);
    let mut way: Vec<Visit> = vec![Visit::new(&setting, root.clone(), None)];
    while let Some(visit) = way.last_mut() {
        let Some(step) = visit.left.pop() else {
            explored.ends += u64::from(visit.is_end);
            way.pop();
            continue;
        };
        explored.steps += 1;
        if let Some(kind) = step.kind() {
            *explored.struck.entry(kind).or_default() += 1;
        }
        let next = match take(&visit.world, &setting, step, None) {
            Ok(next) => next,
            Err(broken) => {
                let steps = way.iter().filter_map(|visit| visit.by).chain([step]);
                explored.found = Some(Found { broken, story: story(&setting, &root, steps) });
                explored.complete = false;
                return explored;
            }
        };
        if !seen.insert(next.digest()) {
            continue;
        }
        explored.states += 1;
        way.push(Visit::new(&setting, next, Some(step)));
        explored.depth = explored.depth.max(way.len());
        if explored.states.is_multiple_of(4_096) {
            heard(explored.states);
            let enough = bounds.most.is_some_and(|most| explored.states >= most);
            if enough || bounds.span.is_some_and(|span| begun.elapsed() >= span) {
                explored.complete = false;
                break;
            }
        }
    }
    explored
}

/// A state on the way, and the steps from it that are still to be taken.
struct Visit {
    world: World,
    by: Option<Step>,
    left: Vec<Step>,
    is_end: bool,
}

impl Visit {
    fn new(setting: &Setting, world: World, by: Option<Step>) -> Visit {
        let mut left = world.choices(setting);
        left.reverse();
        Visit { is_end: left.is_empty(), left, world, by }
    }
}

/// Takes a step. A panic of the machine is a broken promise like any other: its invariants are asserted within.
pub(crate) fn take(world: &World, setting: &Setting, step: Step, trace: Trace<'_>) -> Result<World, Broken> {
    panic::catch_unwind(AssertUnwindSafe(|| world.take(setting, step, trace)))
        .unwrap_or_else(|why| Err(Broken { promise: "bounded", how: format!("a consumer panicked: {}", words(&*why)) }))
}

fn words(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| why.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Tells a way step by step.
fn story(setting: &Setting, root: &World, steps: impl Iterator<Item = Step>) -> Vec<String> {
    let (mut world, mut story) = (root.clone(), Vec::new());
    for step in steps {
        let owners: Vec<_> = world.truth.streams.values().map(|stream| stream.owners.clone()).collect();
        let next = panic::catch_unwind(AssertUnwindSafe(|| world.take(setting, step, Some(&mut story))));
        let Ok(Ok(next)) = next else { break };
        world = next;
        if world.truth.streams.values().map(|stream| &stream.owners).ne(&owners) {
            story.push(world.summary());
        }
    }
    story
}

/// The state from which on everything that may happen does.
pub(crate) fn beginning(setting: &Setting, mut trace: Trace<'_>) -> Result<World, Broken> {
    let mut world = World::new(setting);
    let streams: Vec<String> = (1..=setting.bounds.streams).map(|number| format!("orders-{number}")).collect();
    if setting.bounds.from == Beginning::Start {
        streams.iter().for_each(|stream| world.announce(setting, stream));
        for node in 0..world.nodes.len() {
            world.boot(setting, node, trace.as_deref_mut())?;
        }
        return Ok(world.with_faults(setting));
    }
    for node in 0..world.nodes.len() {
        world.boot(setting, node, trace.as_deref_mut())?;
    }
    world = quietly(world, setting, Time::from_millis(100), &mut trace)?;
    streams.iter().for_each(|stream| world.announce(setting, stream));
    for node in 0..world.nodes.len() {
        world.serve_reads(node);
    }
    let heartbeat = setting.bounds.config.heartbeat;
    world = quietly(world, setting, Time::ZERO + heartbeat * 2 - heartbeat / 100, &mut trace)?;
    Ok(world.with_faults(setting))
}

/// Nothing goes wrong until then.
fn quietly(mut world: World, setting: &Setting, until: Time, trace: &mut Trace<'_>) -> Result<World, Broken> {
    world.until = NEVER;
    world.wishes = 1; // there is no end yet
    loop {
        let choices: Vec<Step> =
            world.choices(setting).into_iter().filter(|step| !matches!(step, Step::End(..) | Step::Stop(_))).collect();
        let Some(&step) = choices.first() else { return Ok(world) };
        if step == Step::Pass && world.next(setting).is_none_or(|at| at > until) {
            world.now = until;
            return Ok(world);
        }
        world = world.take(setting, step, trace.as_deref_mut())?;
    }
}
