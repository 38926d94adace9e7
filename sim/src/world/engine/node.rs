//! A consumer of the engine: one process after the other under one name, each with a machine and the plan's application.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use rand::{SeedableRng, rngs::SmallRng};
use streamkeeper::{ConsumerId, protocol::Protocol};
use streamkeeper_core::{
    config::Config,
    keys::Keys,
    streams::{Event, Machine},
};

use super::{
    application::Application,
    clock::OwnClock,
    process::{Happening, Process, START, Timer},
    state::State,
};
use crate::{
    facts::{What, Who, millis},
    plan::{ConsumerPlan, Plan, Point},
    world::{
        SERVICE,
        actor::Actor,
        checkpoints::Armed,
        consumer::{Order, RESTART},
        seeds,
    },
};

/// A consumer.
pub(super) struct Node {
    plan: ConsumerPlan,
    seed: u64,
    /// How many processes it has had.
    lives: u32,
    name: String,
    is_up: bool,
    pub(super) finishing: bool,
    /// How long it is waited before a process that has ended by itself is started again.
    pause: Duration,
    pub(super) process: Option<Box<Process>>,
    /// Its process stands still.
    pub(super) is_frozen: bool,
    /// What has happened to it meanwhile.
    pub(super) inbox: VecDeque<Happening>,
    /// Pauses that wait for their point, and the one that has struck.
    armed: VecDeque<Armed>,
    paused: Option<Armed>,
    /// A process was killed, and the director has not said so yet.
    was_running: bool,
}

impl Node {
    pub(super) fn new(plan: &Plan, index: usize) -> Node {
        let consumer = plan.consumers[index].clone();
        Node {
            seed: seeds::of(plan.seed, &[index as u64]),
            lives: 0,
            name: consumer.name.clone(),
            is_up: false,
            finishing: false,
            pause: RESTART.0,
            process: None,
            is_frozen: false,
            inbox: VecDeque::new(),
            armed: VecDeque::new(),
            paused: None,
            was_running: false,
            plan: consumer,
        }
    }

    fn id(&self) -> String {
        format!("{}{}", ConsumerId::PREFIX, self.name)
    }
}

impl State {
    /// The process that a consumer has, or had last.
    pub(super) fn who(&self, index: usize) -> Who {
        Who { consumer: index, life: self.nodes[index].lives.saturating_sub(1) }
    }

    /// A consumer's host is started.
    pub(super) fn start(&mut self, index: usize) {
        self.nodes[index].pause = RESTART.0;
        self.begin_process(index);
    }

    fn begin_process(&mut self, index: usize) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        let who = Who { consumer: index, life: node.lives };
        node.lives += 1;
        node.was_running = false;
        let seed = seeds::of(node.seed, &[seeds::CLIENT, who.life.into()]);
        let dice = SmallRng::seed_from_u64(seeds::of(node.seed, &[seeds::APPLICATION, who.life.into()]));
        let plan = &node.plan;
        self.scene.lives(index, Some(who));
        self.scene.note(What::Started {
            who,
            id: node.id().into(),
            ttl_ms: plan.ttl_ms,
            capacity: plan.capacity,
            automatic: !plan.manual,
            go: false,
        });
        let parts = (Keys::plain(SERVICE), ConsumerId::named(&node.name), Config::new(plan.settings()));
        let (Ok(keys), Ok(consumer), Ok(config)) = parts else {
            return self.ends(index, who, Err("its settings do not go together".to_owned()));
        };
        let machine = Machine::new(keys.clone(), consumer.clone(), config.clone(), seed);
        let protocol = Protocol::new(keys.clone(), consumer, config.clone(), seed);
        let clock = OwnClock::new(&self.time, plan.drift_ppm);
        let app = Application::new(&plan.app, plan.output_buffer);
        let process = Process::new(who, machine, (config, keys, protocol), clock, app, dice);
        node.process = Some(Box::new(process));
        self.put_timer(index, now + START, Timer::Unprepared);
        self.tell(index, Event::Timeout);
    }

    /// A process has ended: the next one follows, unless it was by wish.
    pub(super) fn over(&mut self, index: usize) {
        let Some(process) = self.process(index) else { return };
        let (who, ended) = (process.who, process.ended.take().unwrap_or(Ok(())));
        self.leave(index);
        self.scene.forget(index);
        self.ends(index, who, ended);
    }

    fn ends(&mut self, index: usize, who: Who, ended: Result<(), String>) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        match ended {
            Ok(()) => {
                node.is_up = false;
                self.scene.note(What::Stopped { who });
            }
            Err(why) => {
                let pause = node.pause;
                node.pause = (2 * pause).min(RESTART.1);
                self.scene.note(What::Terminated { who, why });
                self.put_restart(who, now + pause);
            }
        }
    }

    pub(super) fn restart(&mut self, who: Who) {
        let (index, node) = (who.consumer, &self.nodes[who.consumer]);
        if node.is_up && node.process.is_none() && self.who(index) == who {
            self.begin_process(index);
        }
    }

    /// A consumer's host is killed.
    pub(super) fn crash(&mut self, index: usize) {
        self.nodes[index].was_running = self.nodes[index].process.is_some();
        self.leave(index);
        let node = &mut self.nodes[index];
        node.is_frozen = false;
        node.inbox.clear();
    }

    /// The process is gone, and the operating system closes its connections.
    fn leave(&mut self, index: usize) {
        let Some(process) = self.nodes[index].process.take() else { return };
        for conn in process.slots.iter().filter_map(super::links::Slot::conn) {
            self.close(conn);
        }
    }

    /// A process goes on: what has happened meanwhile happens to it now, and then it finds that time has passed.
    pub(super) fn thaw(&mut self, index: usize) {
        self.nodes[index].is_frozen = false;
        while !self.nodes[index].is_frozen
            && let Some(happening) = self.nodes[index].inbox.pop_front()
        {
            self.happens(index, happening);
        }
        if !self.nodes[index].is_frozen {
            self.tell(index, Event::Timeout);
        }
    }

    /// The process stands still here, if a pause was armed for this point. Whether it does.
    pub(super) fn strike(&mut self, index: usize, point: Point) -> bool {
        let (now, who, node) = (self.now, self.who(index), &mut self.nodes[index]);
        if node.paused.is_some() {
            return false;
        }
        let Some(place) = node.armed.iter().position(|armed| armed.point == point) else { return false };
        let Some(armed) = node.armed.remove(place) else { return false };
        node.is_frozen = true;
        let span = armed.span;
        self.scene.note(armed.struck.clone());
        self.scene.note(What::Paused { who, ms: millis(span) });
        node.paused = Some(armed);
        self.put_resume(who, now + span);
        true
    }

    pub(super) fn resume(&mut self, who: Who) {
        let index = who.consumer;
        if self.nodes[index].process.as_ref().is_none_or(|process| process.who != who) {
            return;
        }
        if let Some(armed) = self.nodes[index].paused.take() {
            self.scene.note(What::Resumed { who });
            self.scene.note(armed.over);
            self.thaw(index);
        }
    }
}

/// A consumer, as the director knows it.
pub(super) struct Consumer {
    pub(super) index: usize,
    pub(super) state: Rc<RefCell<State>>,
}

impl Consumer {
    fn of<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        act(&mut self.state.borrow_mut().nodes[self.index])
    }
}

impl Actor for Consumer {
    fn id(&self) -> String {
        self.of(|node| node.id())
    }

    fn rise(&self) {
        self.of(|node| node.is_up = true);
    }

    fn is_up(&self) -> bool {
        self.of(|node| node.is_up)
    }

    fn running(&self) -> Option<Who> {
        self.of(|node| node.process.as_ref().map(|process| process.who))
    }

    fn has_lived(&self) -> bool {
        self.of(|node| node.lives > 0)
    }

    fn rename(&self) {
        self.of(|node| node.name = format!("{}-{}", node.plan.name, node.lives));
    }

    fn tell(&self, order: Order) {
        let mut state = self.state.borrow_mut();
        state.nodes[self.index].finishing |= matches!(order, Order::Finish);
        state.befall_now(self.index, Happening::Told(order));
    }

    fn killed(&self) {
        let mut state = self.state.borrow_mut();
        let (who, scene) = (state.who(self.index), state.scene.clone());
        let node = &mut state.nodes[self.index];
        if let Some(armed) = node.paused.take() {
            scene.note(armed.over);
        }
        scene.forget(self.index);
        node.is_up = false;
        if std::mem::take(&mut node.was_running) {
            scene.note(What::Crashed { who });
        }
    }

    fn arm(&self, armed: Armed) {
        self.of(|node| node.armed.push_back(armed));
    }

    fn disarm(&self) {
        self.of(|node| node.armed.clear());
    }

    fn is_paused(&self) -> bool {
        self.of(|node| node.paused.is_some())
    }
}
