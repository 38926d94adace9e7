//! Asking for messages: new ones from the reader, and what is due. Both together never ask for more than there is room
//! for, so a read waits no longer than until what is due is to be asked for again.

use std::time::Duration;

use super::{
    Machine,
    asked::{Kind, Question},
    call::{Call, Delivery, Fields},
};
use crate::{id::EntryId, time::Time};

/// How much of what is due is taken in one call: a script does several steps for each.
const MOST_DUE: usize = 1_000;
/// A read is not cut shorter than this for the sake of what is due.
const SHORTEST_BLOCK: Duration = Duration::from_millis(20);

/// What is being asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// How many a read that is under way may bring.
    pub(super) read: Option<usize>,
    /// How many the question after what is due may bring.
    pub(super) due: Option<usize>,
    /// When to ask for what is due.
    pub(super) due_at: Time,
}

impl State {
    /// For how many messages room is kept.
    pub(super) fn reserved(&self) -> usize {
        self.read.unwrap_or(0) + self.due_reserved()
    }

    /// For how many of them a slot is kept: what is due goes before what is new.
    pub(super) fn due_reserved(&self) -> usize {
        self.due.unwrap_or(0)
    }

    /// Whether messages are on their way, perhaps.
    pub(super) fn is_asking(&self) -> bool {
        self.read.is_some() || self.due.is_some()
    }
}

impl Machine {
    /// When what is due is to be asked for.
    pub(super) fn ask_due(&self) -> Option<Time> {
        let wanted = self.may_ask_for_more() && self.reading.due.is_none();
        if !wanted || (self.due_room() == 0 && !self.config.no_ack) {
            return None;
        }
        Some(self.open_from(Kind::Due)?.max(self.reading.due_at))
    }

    fn may_ask_for_more(&self) -> bool {
        self.is_open() && !self.own.comes_first() && !self.server.is_sifting()
    }

    /// For how many of what is due there is a slot.
    fn due_room(&self) -> usize {
        if self.config.no_ack {
            return 0; // only messages that were sent with a delay are moved into the stream
        }
        self.wanted_due().min(self.room())
    }

    /// How much of what is due would be asked for at once, were all room free that reads keep.
    fn wanted_due(&self) -> usize {
        let free = self.config.concurrency.saturating_sub(self.holds.slots() + self.runs.due_waiting());
        free.min(self.config.batch).min(MOST_DUE)
    }

    pub(super) fn ask_for_due(&mut self) {
        if self.ask_due().is_some_and(|at| at <= self.now) {
            let count = self.due_room();
            assert!(count >= 1 || self.config.no_ack, "nothing is asked for");
            assert!(self.reading.due.is_none(), "one call asks for what is due at a time");
            self.reading.due = Some(count);
            self.assert_room(count);
            self.ask(Question::Due(count), Call::Due { count });
        }
    }

    /// Something is due after so long: it is asked for then.
    pub(super) fn ask_soon(&mut self, span: Duration) {
        self.reading.due_at = self.reading.due_at.min(self.now + span);
    }

    pub(super) fn due_answered(&mut self, deliveries: Vec<Delivery>, next: Option<Duration>, issued: Time) {
        assert!(self.reading.due >= Some(deliveries.len()), "more is due than was asked for");
        assert!(issued <= self.now, "an answer to a question that is to come");
        self.reading.due = None;
        let interval = self.config.due_interval;
        let longest = interval - interval / 4 + self.dice.below(interval / 4);
        let at_once = if self.config.no_ack && deliveries.is_empty() { longest } else { Duration::ZERO };
        self.reading.due_at = self.now + next.unwrap_or(longest).min(longest).max(at_once);
        self.admit_all(deliveries, issued);
    }

    pub(super) fn due_failed(&mut self) {
        assert!(self.reading.due.is_some(), "what failed was asked for");
        self.reading.due = None;
        self.reading.due_at = self.now;
        self.look_at_own_list();
    }

    /// When to read.
    pub(super) fn read_due(&self) -> Option<Time> {
        let wanted = self.may_ask_for_more() && self.reading.read.is_none();
        // What is due goes first, if it can be asked for.
        let waits = self.ask_due().is_some_and(|at| at <= self.now);
        if !wanted || waits || self.room() == 0 || self.has_enough() {
            return None;
        }
        self.open_from(Kind::Read)
    }

    /// Whether all slots are taken, and more than half of what may be fetched in advance waits for them: to read one
    /// message for each that ends would cost a round trip for each.
    fn has_enough(&self) -> bool {
        self.holds.slots() >= self.config.concurrency && self.holds.waiting() > self.config.prefetch / 2
    }

    pub(super) fn read(&mut self) {
        if self.read_due().is_none_or(|at| at > self.now) {
            return;
        }
        let count = self.room().min(self.config.batch);
        let block = self.config.block.min(self.until_due().max(SHORTEST_BLOCK));
        assert!(!block.is_zero() && block <= self.config.reclaim_idle, "a read ends in time: {block:?}");
        assert!(count >= 1, "nothing is read");
        assert!(self.reading.read.is_none(), "one call reads at a time");
        self.reading.read = Some(count);
        self.assert_room(count);
        self.ask(Question::Read(count), Call::Read { count, block });
    }

    /// For how long a read may keep the room that what is due would need.
    fn until_due(&self) -> Duration {
        if let Some(asked) = self.reading.due {
            // One that had to do with what an earlier read had left is followed by another at once: if each of them fell
            // in with a new read, what is due would be starved.
            return if asked >= self.wanted_due() { self.config.due_interval } else { Duration::ZERO };
        }
        if self.due_room() == 0 {
            return Duration::MAX; // every slot that is free later is room that no read keeps
        }
        let due_at = self.reading.due_at.max(self.open_from(Kind::Due).unwrap_or(self.now));
        due_at.since(self.now)
    }

    pub(super) fn read_answered(&mut self, messages: Vec<(EntryId, Option<Fields>)>, issued: Time) {
        assert!(self.reading.read >= Some(messages.len()), "more is read than was asked for");
        assert!(issued <= self.now, "an answer to a question that is to come");
        self.reading.read = None;
        self.prove();
        self.admit_new(messages, issued);
    }

    pub(super) fn read_failed(&mut self) {
        assert!(self.reading.read.is_some(), "what failed was asked for");
        self.reading.read = None;
        self.look_at_own_list();
    }
}
