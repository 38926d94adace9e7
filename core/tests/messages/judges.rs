//! What must never happen in a world, and what must have happened in the end.

use std::time::Duration;

use streamkeeper_core::{
    id::EntryId,
    messages::{Stage, call::Reason, event::Run},
    time::Time,
};

use super::{
    group::{Deed, Name},
    world::{Going, World},
};

impl World {
    /// A run may start only while its message is ours, or after somebody has succeeded with it.
    pub(super) fn judge_start(&self, at: usize, name: Name, run: &Run) {
        let same = |going: &Going| going.run.entry == run.entry;
        assert!(!self.nodes[at].runs.values().any(same), "{} runs twice in one process", run.entry);
        if self.plan.loses_group() {
            return;
        }
        let story = &self.sent[&run.entry];
        let pending = self.group.pending.get(&run.entry);
        let ours = pending.is_some_and(|p| p.owner == name && p.deliveries == run.deliveries);
        let over = story.succeeded > 0 || story.trimmed;
        // Counted from the question that showed it to be ours, not from the answer.
        let latest = pending.map(|pending| pending.touched + self.config.trust());
        let in_time = !ours || latest.is_some_and(|latest| run.begins_before <= latest);
        assert!(in_time, "{} may begin until {:?}, and is trusted until {latest:?}", run.entry, run.begins_before);
        assert!(ours || over, "{} starts at {:?} and is not ours: {pending:?}", run.entry, self.now);
        let record = self.group.records.get(&run.entry);
        let dying = record.is_some_and(|record| record.dying.is_some());
        assert!(over || !dying || run.stage != Stage::Process, "{} is dying and is processed", run.entry);
    }

    pub(super) fn judge_deeds(&mut self) {
        for deed in std::mem::take(&mut self.group.deeds) {
            match deed {
                Deed::Acked(entry) => {
                    let story = self.sent.get_mut(&entry).expect("it was sent");
                    story.acked += 1;
                    assert!(story.succeeded > 0 || story.trimmed, "{entry} is acknowledged without a success");
                }
                Deed::Buried(entry, reason) => self.judge_burial(entry, reason),
                Deed::Reclaimed(entry, from) => {
                    let Some(node) = self.nodes.iter().find(|node| node.name == from && node.alive) else { continue };
                    let kept = |going: &Going| going.run.entry == entry && !going.lost && !going.cancelled;
                    let calm = self.now.since(node.disturbed) > self.config.reclaim_idle + Duration::from_secs(2);
                    let runs = node.runs.values().any(kept);
                    assert!(!runs || !calm, "{entry} is taken from a live run at {:?}", self.now);
                }
            }
        }
    }

    pub(super) fn judge_burial(&mut self, entry: EntryId, reason: Reason) {
        let story = self.sent.get_mut(&entry).expect("it was sent");
        story.buried += 1;
        if self.plan.loses_group() {
            return; // everything comes again
        }
        assert!(story.buried == 1, "{entry} is buried twice");
        let (handler, story) = (&self.handlers[&entry], &self.sent[&entry]);
        match reason {
            _ if story.trimmed => {}
            Reason::Failed => {
                assert!(story.failed + story.timed_out >= self.config.max_attempts, "{entry} has attempts left");
            }
            Reason::Crashed => {
                assert!(handler.crashes || self.may_kill_neighbours(), "{entry} did not crash anything");
            }
            Reason::Rejected => assert!(handler.rejects),
            Reason::Broken => panic!("{entry} is not broken"),
        }
    }

    /// One poisonous message takes no neighbour along. Several, or one and a network that fails besides, may: each death
    /// counts against what ran beside it.
    pub(super) fn may_kill_neighbours(&self) -> bool {
        let poisons = self.handlers.values().filter(|handler| handler.crashes).count();
        poisons > 1 || self.plan.faults.iter().any(|(_, fault)| fault.kills())
    }

    pub(super) fn judge_the_end(&self, end: Time) {
        let held: Vec<_> = self.nodes.iter().map(|node| node.machine.held()).collect();
        let left = (&self.group.pending, self.group.unread());
        assert!(self.is_settled(), "not settled at {:?} (end {end:?}): {left:?}, held {held:?}", self.now);
        for (entry, story) in &self.sent {
            if story.trimmed || self.plan.loses_group() {
                continue;
            }
            assert_eq!(story.acked + story.buried, 1, "{entry}: acked {} buried {}", story.acked, story.buried);
            let handler = &self.handlers[entry];
            let most = self.config.max_attempts;
            let limited = most > 0 && story.failed + story.timed_out >= most;
            let killed = story.crashes >= 1 && self.may_kill_neighbours();
            if !limited && !handler.rejects && !handler.crashes && !killed {
                assert_eq!(story.buried, 0, "{entry} could have succeeded");
            }
        }
    }
}
