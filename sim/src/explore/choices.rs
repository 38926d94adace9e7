//! Everything that can happen next.

use std::time::Duration;

use streamkeeper::Time;
use streamkeeper_core::{link::Link, streams::End};

use super::{
    bounds::Kind,
    node::Life,
    step::{Fate, Forgotten, Heard, Step},
    world::{Setting, World},
};

impl World {
    /// All steps from here; none if this is an end. Whatever is on its way arrives before time passes, unless a fault
    /// holds it up; of what concerns one consumer alone, nothing comes in between.
    pub(crate) fn choices(&self, setting: &Setting) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(node) = (0..self.nodes.len()).find(|node| !self.life(*node).hints.is_empty()) {
            steps.push(Step::Hint(node, Heard::Now));
            if self.may_fail(setting, Kind::Hint) {
                let late = Heard::Late(setting.bounds.config.heartbeat);
                steps.extend([Step::Hint(node, Heard::Never), Step::Hint(node, late)]);
            }
            return steps;
        }
        for node in 0..self.nodes.len() {
            self.deliveries(setting, node, &mut steps);
        }
        if steps.is_empty() {
            if self.is_over(setting) {
                return steps;
            }
            if self.lapses_now(setting) {
                steps.push(Step::Expire);
            }
            // Where nobody runs, nothing happens by itself.
            if self.nodes.iter().any(|node| node.life().is_running()) || self.next(setting).is_some() {
                steps.push(Step::Pass);
            }
        }
        for node in 0..self.nodes.len() {
            self.misfortunes(setting, node, &mut steps);
        }
        if self.may_fail(setting, Kind::Restart) {
            let latest = self.before.as_ref().is_some_and(|before| before.digest() != self.server.digest());
            let latest = latest.then_some(Step::Restart(Forgotten::LatestChange));
            steps.extend([Step::Restart(Forgotten::Everything), Step::Restart(Forgotten::SinceBeginning)]);
            steps.extend(latest);
        }
        steps
    }

    /// When something happens by itself next.
    pub(crate) fn next(&self, setting: &Setting) -> Option<Time> {
        let timeout = setting.bounds.config.call_timeout;
        let nodes = self.nodes.iter().filter_map(|node| node.life().next(timeout));
        nodes.chain(self.lapses(setting).filter(|at| *at > self.now)).min()
    }

    /// What is on its way from a consumer, and how it may fare.
    fn deliveries(&self, setting: &Setting, node: usize, steps: &mut Vec<Step>) {
        let life = self.life(node);
        if life.stale.front().is_some_and(|(at, _)| *at <= self.now) {
            steps.push(Step::Stale(node));
        }
        if life.has_call() {
            steps.push(Step::Call(node, Fate::Well));
            // What is late or silent already does not become so once more.
            let answered = life.commands.in_until.is_none();
            if self.may_fail(setting, Kind::Lost) {
                steps.extend([Step::Call(node, Fate::Lost), Step::Call(node, Fate::AnswerLost)]);
                steps.extend(answered.then_some(Step::Call(node, Fate::Silence)));
            }
            if self.may_fail(setting, Kind::Late) {
                let (in_time, too_late) = setting.delays();
                let late = [Step::Call(node, Fate::Late(in_time)), Step::Call(node, Fate::Late(too_late))];
                steps.extend(late);
                steps.extend(answered.then_some(Step::Call(node, Fate::AnswerLate(in_time))));
            }
        }
        if life.read.as_ref().is_some_and(|read| read.until.is_none()) {
            steps.push(Step::Read(node, true));
            if self.may_fail(setting, Kind::Lost) {
                steps.push(Step::Read(node, false));
            }
        }
    }

    /// What may befall a consumer, and what its application may wish.
    fn misfortunes(&self, setting: &Setting, node: usize, steps: &mut Vec<Step>) {
        let life = self.life(node);
        if self.may_fail(setting, Kind::Crash) {
            steps.push(if life.is_running() { Step::Crash(node) } else { Step::Boot(node) });
        }
        if self.may_fail(setting, Kind::Cut) {
            steps.extend(life.links_up().map(|link| Step::Cut(node, link)));
        }
        if life.is_awake() && self.may_fail(setting, Kind::Pause) {
            steps.extend(setting.pauses().map(|span| Step::Pause(node, span)));
        }
        if life.is_awake() && self.wishes > 0 && self.now <= self.until {
            for (entry, _) in self.truth.streams.iter().filter(|(_, stream)| stream.owners.contains(&node)) {
                steps.extend([End::Done, End::Release].map(|end| Step::End(node, *entry, end)));
            }
            steps.push(Step::Stop(node));
        }
    }

    fn may_fail(&self, setting: &Setting, kind: Kind) -> bool {
        self.faults > 0 && self.now <= self.until && setting.bounds.kinds.contains(&kind)
    }

    /// Nothing more can go wrong, everything has recovered, and stayed so for a heartbeat.
    fn is_over(&self, setting: &Setting) -> bool {
        if self.now <= self.until && (self.faults > 0 || self.wishes > 0) {
            return false;
        }
        let (mut runs, mut well) = (false, true);
        for node in &self.nodes {
            runs |= node.life().is_running();
            well &= !node.life().is_running() || node.life().is_well();
            well &= node.life().stale.is_empty();
        }
        let owned = |at: (&_, &super::truth::Stream)| at.1.owners.len() == 1 || !self.is_to_be_owned(setting, at);
        let calm = self.now >= self.truth.calm_since + setting.bounds.config.heartbeat;
        well && (!runs || (calm && self.truth.streams.iter().all(owned)))
    }

    fn lapses(&self, setting: &Setting) -> impl Iterator<Item = Time> {
        let lease = |at: (&_, &super::truth::Stream)| setting.keys.lease(&at.1.name, *at.0);
        self.truth.streams.iter().filter_map(move |at| self.server.lapse(&lease(at)))
    }

    fn lapses_now(&self, setting: &Setting) -> bool {
        self.lapses(setting).any(|at| at == self.now)
    }
}

impl Setting {
    /// So late is still in time for whoever asked; and so late that everybody has given up.
    fn delays(&self) -> (Duration, Duration) {
        let config = &self.bounds.config;
        (config.call_timeout * 9 / 10, config.lease_ttl + config.lease_ttl / 6)
    }

    /// Standing still for a little longer than a lease is trusted, and until somebody else has it.
    fn pauses(&self) -> [Duration; 2] {
        let config = &self.bounds.config;
        [config.trust() + config.margin() / 5, config.lease_ttl + config.heartbeat]
    }
}

impl Life {
    /// A call has come to the server and can be executed.
    fn has_call(&self) -> bool {
        !self.commands.sent.is_empty() && self.commands.out_until.is_none()
    }

    fn links_up(&self) -> impl Iterator<Item = Link> {
        let links = [
            (self.commands.up, Link::Commands),
            (self.reader_up, Link::Reader),
            (self.subscriber_up, Link::Subscriber),
        ];
        links.into_iter().filter(|(up, _)| *up).map(|(_, link)| link)
    }

    /// Nothing is held up.
    fn is_well(&self) -> bool {
        self.is_awake()
            && self.commands.up
            && self.commands.out_until.is_none()
            && self.commands.in_until.is_none()
            && self.late_hints.is_empty()
            && self.reader_up
            && self.subscriber_up
    }
}
