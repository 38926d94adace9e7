//! Acknowledging: what was processed is owed, sent in batches, and asked for again when its answer was lost. XACK asks for
//! no holder, so nothing is sent before this server is known to mean the same message by its id.

use super::{
    Fate, Machine,
    asked::{Kind, Question},
    call::{AckItem, Call},
    held::{Held, State as HeldState},
};
use crate::{id::EntryId, time::Time};

impl Machine {
    /// It is acknowledged, and this is what becomes of it.
    pub(super) fn acknowledge(&mut self, entry: EntryId, fate: Fate) {
        if self.config.no_ack {
            return self.forget(entry, fate);
        }
        assert!(self.holds.get(entry).is_some(), "{entry} is acknowledged, and not held");
        self.free(entry);
        if let Some(held) = self.holds.change(entry, HeldState::Acking(fate)) {
            assert!(held.key.is_none(), "{entry} is done with, and stands in others' way");
            held.fields = Default::default();
        }
        self.owe_ack(entry);
    }

    /// It is to be acknowledged, as soon as it is known that this server means the same message by its id: XACK asks for
    /// no holder.
    pub(super) fn owe_ack(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get(entry) else { return };
        assert!(matches!(held.state(), HeldState::Acking(_)), "{entry} is acknowledged as {:?}", held.state());
        if !held.sifted {
            return self.want_refresh(entry);
        }
        self.settling.hurry |= held.crashed() >= 1;
        if self.settling.acks.is_empty() {
            self.settling.acks_since = self.now;
        }
        self.settling.acks.push_back(entry);
    }

    /// What another server was to be told.
    pub(super) fn withhold_acks(&mut self) {
        self.settling.hurry = false;
        for entry in std::mem::take(&mut self.settling.acks) {
            self.owe_ack(entry);
        }
        assert!(self.settling.acks.is_empty(), "what an earlier server handed out is acknowledged");
    }

    /// Whether it is to be acknowledged once this server has confirmed it.
    pub(super) fn is_withheld(&self, entry: EntryId) -> bool {
        let acking = |held: &Held| matches!(held.state(), HeldState::Acking(_)) && !held.sifted;
        self.holds.get(entry).is_some_and(acking) && !self.is_acking(entry)
    }

    /// This server knows nothing of it, or it is another's here: its success is nobody's.
    pub(super) fn withhold_for_good(&mut self, entry: EntryId) {
        assert!(self.is_withheld(entry), "{entry} is known to this server, and is not acknowledged");
        self.holds.remove(entry);
        self.settled.push((entry, Fate::Lost));
        self.next_suspect(entry);
    }

    /// Whether a call is under way that acknowledges it.
    pub(super) fn is_acking(&self, entry: EntryId) -> bool {
        self.calls.values().any(|asked| matches!(&asked.question, Question::Ack(entries) if entries.contains(&entry)))
    }

    /// Acknowledgements wait for each other, unless nothing runs that could bring another one.
    pub(super) fn acks_due(&self) -> Option<Time> {
        let acks = &self.settling.acks;
        if acks.is_empty() {
            return None;
        }
        let open = self.open_from(Kind::Ack)?;
        let at_once = self.settling.hurry || acks.len() >= self.config.batch || self.holds.slots() == 0;
        Some(if at_once { open } else { open.max(self.settling.acks_since + self.config.ack_delay) })
    }

    pub(super) fn send_acks(&mut self) {
        let count = self.settling.acks.len().min(self.config.batch);
        let entries: Vec<EntryId> = self.settling.acks.drain(..count).collect();
        self.settling.acks_since = self.now;
        self.settling.hurry &= !self.settling.acks.is_empty();
        assert!(count >= 1, "nothing is acknowledged");
        let item = |entry: &EntryId| {
            let held = self.holds.get(*entry);
            assert!(held.is_some_and(|held| held.key.is_none()), "{entry} is acknowledged, and stands in others' way");
            let recorded = held.is_some_and(|held| held.history.is_some());
            AckItem { entry: *entry, recorded, processed: held.and_then(|held| held.processed.clone()) }
        };
        let items = entries.iter().map(item).collect();
        self.ask(Question::Ack(entries), Call::Ack(items));
    }

    pub(super) fn acked(&mut self, entries: Vec<EntryId>) {
        for entry in entries {
            let state = self.holds.get(entry).map(Held::state);
            assert!(matches!(state, Some(HeldState::Acking(_))), "{entry} is acknowledged, and is {state:?}");
            if let Some(held) = self.holds.remove(entry)
                && let HeldState::Acking(fate) = held.state()
            {
                self.settled.push((entry, *fate));
                self.next_suspect(entry);
            }
        }
    }

    pub(super) fn ack_failed(&mut self, entries: Vec<EntryId>) {
        for entry in entries {
            self.owe_ack(entry);
        }
    }
}
