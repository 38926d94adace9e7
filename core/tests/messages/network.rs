//! The network of a world: connections, and calls and answers on them, which are delayed and lost.

use std::time::Duration;

use streamkeeper_core::{
    id::CallId,
    messages::{Answer, Call, Event, Link, link_of},
    time::Time,
    trouble::Trouble,
};

use super::{
    group::Name,
    world::{Thing, World},
};

impl World {
    pub(super) fn call(&mut self, at: usize, name: Name, id: CallId, call: Call) {
        let link = link_of(&call);
        let Some(connection) = self.nodes[at].up[link as usize] else {
            let trouble = Trouble::connection("not connected");
            return self.later(Duration::ZERO, Thing::Tell(at, name, Event::Answered(id, Err(trouble))));
        };
        let waits = match &call {
            Call::Read { block, .. } => *block,
            _ => Duration::ZERO,
        };
        self.nodes[at].asked.insert(id, (link, connection));
        self.later(self.config.call_timeout + waits, Thing::GivesUp(at, name, id));
        if self.nodes[at].cut_until > self.now && self.roll(2) == 0 {
            return; // it never arrives
        }
        let pause = self.latency();
        self.later(pause, Thing::Arrives(at, name, id, call, connection));
    }

    pub(super) fn connected(&mut self, at: usize, name: Name, link: Link, connection: u32) {
        if self.nodes[at].name != name || self.nodes[at].connections < connection {
            return;
        }
        let event = if self.outage_until > self.now || self.nodes[at].cut_until > self.now {
            Event::Disconnected(link, Trouble::connection("connection refused"))
        } else {
            self.nodes[at].up[link as usize] = Some(connection);
            Event::Connected(link)
        };
        self.tell(at, name, event);
    }

    /// A connection breaks: what was asked over it is answered with that. `told`: the node is told of it besides.
    pub(super) fn break_link(&mut self, at: usize, link: Link, told: bool) {
        let node = &mut self.nodes[at];
        let name = node.name;
        if node.up[link as usize].take().is_none() && !told {
            return;
        }
        node.disturbed = node.disturbed.max(self.now);
        let over: Vec<CallId> = node.asked.iter().filter(|(_, (l, _))| *l == link).map(|(id, _)| *id).collect();
        for id in over {
            self.nodes[at].asked.remove(&id);
            let trouble = Trouble::connection("connection reset");
            self.later(Duration::ZERO, Thing::Tell(at, name, Event::Answered(id, Err(trouble))));
        }
        if told {
            let event = Event::Disconnected(link, Trouble::connection("connection reset"));
            self.later(Duration::ZERO, Thing::Tell(at, name, event));
        }
    }

    /// A call arrives. One whose connection broke meanwhile may still be executed.
    pub(super) fn arrives(&mut self, at: usize, name: Name, id: CallId, call: Call, connection: u32) {
        let link = link_of(&call);
        let broken = self.nodes[at].up[link as usize] != Some(connection) || self.nodes[at].name != name;
        if self.outage_until > self.now || (broken && self.roll(2) == 0) {
            return;
        }
        if let Call::Read { count, block } = call
            && self.group.there
        {
            return self.reads(at, name, id, count, self.now + block, connection);
        }
        let result = self.group.execute(name, &call, self.now);
        self.answer(at, name, id, result);
    }

    pub(super) fn reads(&mut self, at: usize, name: Name, id: CallId, count: usize, until: Time, connection: u32) {
        let broken = self.nodes[at].up[Link::Reader as usize] != Some(connection) || self.nodes[at].name != name;
        if self.outage_until > self.now || (broken && self.roll(4) == 0) {
            return;
        }
        let result = self.group.execute(name, &Call::Read { count, block: Duration::ZERO }, self.now);
        let nothing = matches!(&result, Ok(Answer::Read(messages)) if messages.is_empty());
        if nothing && self.now < until {
            let next = (self.now + Duration::from_millis(2)).min(until);
            return self.at(next, Thing::Reads(at, name, id, count, until, connection));
        }
        self.answer(at, name, id, result);
    }

    pub(super) fn answer(&mut self, at: usize, name: Name, id: CallId, result: Result<Answer, Trouble>) {
        if self.nodes[at].cut_until > self.now && self.roll(2) == 0 {
            return; // lost
        }
        let pause = self.latency();
        self.later(pause, Thing::Answer(at, name, id, result));
    }

    pub(super) fn latency(&mut self) -> Duration {
        let micros = if self.roll(50) == 0 { 100_000 } else { 1_000 };
        Duration::from_micros(50 + self.roll(micros))
    }
}
