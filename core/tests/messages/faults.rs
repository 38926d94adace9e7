//! What goes wrong in a world.

use std::time::Duration;

use streamkeeper_core::{
    id::EntryId,
    messages::{Event, Link},
};

use super::{
    plan::Fault,
    world::{Thing, World},
};

/// A process that restarts does so after this.
const RESTART: Duration = Duration::from_millis(500);
impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        let at = |node: usize| node % self.plan.nodes;
        match fault {
            Fault::Break(node) => {
                let node = at(node);
                for link in [Link::Commands, Link::Reader] {
                    self.break_link(node, link, true);
                }
            }
            Fault::Crash(node) => self.crash(at(node)),
            Fault::Freeze(node, ms) => {
                let until = self.now + Duration::from_millis(ms);
                let node = &mut self.nodes[at(node)];
                node.frozen_until = node.frozen_until.max(until);
                node.disturbed = node.disturbed.max(until);
            }
            Fault::Cut(node, ms) => {
                let until = self.now + Duration::from_millis(ms);
                let node = &mut self.nodes[at(node)];
                node.cut_until = node.cut_until.max(until);
                node.disturbed = node.disturbed.max(until);
            }
            Fault::Outage(ms) => {
                self.outage_until = self.now + Duration::from_millis(ms);
                self.group.fail_over();
                for node in 0..self.nodes.len() {
                    self.nodes[node].disturbed = self.outage_until;
                    for link in [Link::Commands, Link::Reader] {
                        self.break_link(node, link, true);
                    }
                }
            }
            Fault::Stop(node, ms) => {
                let (node, deadline) = (at(node), self.now + Duration::from_millis(ms));
                // One lives on: somebody has to finish the work.
                if node != 0 && self.nodes[node].alive && !self.nodes[node].stopped {
                    let by = self.nodes[node].stop_by.map_or(deadline, |before| before.min(deadline));
                    self.nodes[node].stop_by = Some(by);
                    let name = self.nodes[node].name;
                    self.tell(node, name, Event::Shutdown(deadline));
                }
            }
            Fault::Pause(node, ms) => {
                let (node, name) = (at(node), self.nodes[at(node)].name);
                self.tell(node, name, Event::Pause(true));
                self.later(Duration::from_millis(ms), Thing::Tell(node, name, Event::Pause(false)));
                // What a frozen process is told may come out of order: in the end it goes on.
                self.at(self.plan.last_event(), Thing::Tell(node, name, Event::Pause(false)));
            }
            Fault::Trim(index) => {
                let entry = EntryId { ms: 1_000 + index as u64, seq: 0 };
                if self.group.stream.remove(&entry).is_some() {
                    self.sent.get_mut(&entry).expect("it was sent").trimmed = true;
                }
            }
            Fault::LoseGroup => self.group.destroy(),
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        if self.nodes[at].alive {
            for going in self.nodes[at].runs.values() {
                self.sent.get_mut(&going.run.entry).expect("it was sent").crashes += 1;
            }
            let node = &mut self.nodes[at];
            (node.alive, node.wake) = (false, None);
            node.name = u32::MAX; // what is on its way to it does not arrive
            self.later(RESTART, Thing::Restart(at));
        }
    }
}
