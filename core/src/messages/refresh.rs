//! Keeping what is held: the pending list's idle time is the heartbeat. What ends soon costs nothing.

use std::collections::VecDeque;

use super::{
    Machine, Remark,
    asked::{Kind, Question},
    call::{Call, Fenced, Hold},
    held::{Cut, Held, State as HeldState, Tie},
};
use crate::{id::EntryId, time::Time};

/// How many messages one call is about.
const BATCH: usize = 500;
/// How many calls are under way at once: enough to hide the round trip, few enough that others get a turn.
pub(super) const AT_ONCE: usize = 4;

/// Where the refreshes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// When everything is looked through again.
    pub(super) next_at: Time,
    /// What needs one.
    pub(super) queue: VecDeque<EntryId>,
    pub(super) under_way: usize,
}

impl Machine {
    pub(super) fn tick_due(&self) -> Option<Time> {
        if self.config.no_ack { None } else { Some(self.open_from(Kind::Refresh)?.max(self.refreshes.next_at)) }
    }

    pub(super) fn refresh_due(&self) -> Option<Time> {
        let wanted = !self.refreshes.queue.is_empty() && self.refreshes.under_way < AT_ONCE;
        if wanted { self.open_from(Kind::Refresh) } else { None }
    }

    /// Everything is looked through now.
    pub(super) fn refresh_now(&mut self) {
        self.refreshes.next_at = self.now;
    }

    pub(super) fn refresh(&mut self) {
        if self.tick_due().is_some_and(|at| at <= self.now) {
            self.refreshes.next_at = self.now + self.config.refresh_interval();
            self.look_through();
            self.glance_at_own_list();
        }
        while self.refresh_due().is_some_and(|at| at <= self.now) {
            self.send_refresh();
        }
    }

    /// Finds what would be idle for too long before it is looked at again, and what has waited here for too long.
    fn look_through(&mut self) {
        assert!(!self.config.no_ack, "nothing is kept where nothing is pending");
        let (now, unstarted) = (self.now, self.config.unstarted());
        let old = self.config.reclaim_idle / 2 - self.config.refresh_interval();
        let mut returned = Vec::new();
        let mut queue = Vec::new();
        for (entry, held) in self.holds.iter() {
            let waits = matches!(held.state(), HeldState::Waiting | HeldState::Doubted | HeldState::Behind);
            if waits && now.since(held.came) >= unstarted {
                returned.push(entry);
            } else if now.since(held.confirmed) >= old && !held.refreshing && is_kept(held) {
                queue.push(entry);
            }
        }
        for entry in &queue {
            self.want_refresh(*entry);
        }
        for entry in &returned {
            self.give_back(*entry);
        }
        if !returned.is_empty() {
            self.tidy_queues();
        }
    }

    pub(super) fn want_refresh(&mut self, entry: EntryId) {
        if let Some(held) = self.holds.get_mut(entry)
            && !held.refreshing
        {
            assert!(!self.config.no_ack, "{entry} is nobody's already, and is to be refreshed");
            held.refreshing = true;
            self.refreshes.queue.push_back(entry);
        }
    }

    /// It may be another's: before it runs, it is confirmed.
    pub(super) fn doubt(&mut self, entry: EntryId) {
        let doubted = self.holds.change(entry, HeldState::Doubted);
        assert!(doubted.is_some(), "{entry} is doubted, and not held");
        self.want_refresh(entry);
    }

    fn send_refresh(&mut self) {
        let count = self.refreshes.queue.len().min(BATCH);
        let entries: Vec<EntryId> = self.refreshes.queue.drain(..count).collect();
        let holds: Vec<Hold> = entries.iter().filter_map(|e| self.holds.get(*e)).map(|held| held.hold).collect();
        assert!(holds.len() <= BATCH, "{} messages are refreshed in one call", holds.len());
        if !holds.is_empty() {
            self.refreshes.under_way += 1;
            self.ask(Question::Refresh(holds.clone()), Call::Refresh(holds));
            assert!(self.refreshes.under_way <= AT_ONCE, "others get a turn between refreshes");
        }
    }

    pub(super) fn refreshed(&mut self, holds: Vec<Hold>, answers: Vec<Fenced>, issued: Time) {
        assert!(self.refreshes.under_way >= 1, "what is answered was under way");
        assert_eq!(holds.len(), answers.len(), "each message has its answer");
        assert!(issued <= self.now, "an answer to a question that is to come");
        self.refreshes.under_way -= 1;
        for (hold, answer) in holds.into_iter().zip(answers) {
            let withheld = self.is_withheld(hold.entry);
            let Some(held) = self.holds.of(hold) else { continue };
            held.refreshing = false;
            match answer {
                Fenced::Done => self.confirm(hold, issued, withheld),
                _ if withheld => self.withhold_for_good(hold.entry),
                // What is being settled hears from its own call.
                Fenced::Lost | Fenced::Gone if held.settles() => self.cannot_be_settled(hold.entry),
                Fenced::Broken(error) => self.cannot_be_confirmed(hold.entry, error),
                Fenced::Gone => self.is_gone(hold.entry),
                Fenced::Lost => self.lose(hold.entry),
            }
        }
    }

    /// It is pending under our name.
    fn confirm(&mut self, hold: Hold, issued: Time, withheld: bool) {
        assert!(self.server.spans(issued), "{hold:?} was confirmed by an earlier server");
        let Some(held) = self.holds.of(hold) else { return };
        held.confirmed = held.confirmed.max(issued);
        let first = !std::mem::replace(&mut held.sifted, true);
        if held.running_mut().is_some_and(|running| running.tie == Tie::Gone) {
            // The server has forgotten that it was gone. If it has handed it out again meanwhile, or another message with
            // its id, the answer to the read tells (`Machine::comes_again`).
            if first || self.server.spans(held.came) {
                held.tie_again();
            }
        }
        if withheld {
            self.owe_ack(hold.entry);
        }
        self.believe(hold.entry);
    }

    /// It was trimmed or deleted, and what is here of it is all there is; or another has ended it.
    fn is_gone(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get_mut(entry) else { return };
        match held.running_mut() {
            Some(running) => {
                if running.tie == Tie::Ours {
                    running.tie = Tie::Gone;
                }
                held.sifted = true;
            }
            None => self.lose(entry),
        }
    }

    /// Nobody can tell whose it is. What is known here to be ours is kept.
    fn cannot_be_confirmed(&mut self, entry: EntryId, error: Box<str>) {
        let Some(held) = self.holds.get(entry) else { return };
        if !held.sifted && !held.settles() {
            self.remark(Remark::Broken(entry, error));
            self.lose(entry);
        } else if *held.state() == HeldState::Doubted {
            self.set_aside(entry, error);
        } else {
            self.remark(Remark::Broken(entry, error));
        }
    }

    /// It is confirmed: what waited for that waits for its turn again.
    fn believe(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get(entry).filter(|held| *held.state() == HeldState::Doubted) else { return };
        if self.is_trusted(held) {
            self.holds.change(entry, HeldState::Waiting);
            self.runs.push_front(entry);
        } else {
            self.doubt(entry);
        }
    }

    /// It was not answered, or refused: at once again.
    pub(super) fn refresh_failed(&mut self, holds: &[Hold]) {
        assert!(self.refreshes.under_way >= 1, "what failed was under way");
        self.refreshes.under_way -= 1;
        for hold in holds {
            if let Some(held) = self.holds.of(*hold) {
                held.refreshing = false;
                self.want_refresh(hold.entry);
            }
        }
    }
}

/// Whether a message is to be kept: not that of a run that cannot be stopped although it is over its time, nor what is
/// another's already. What is gone is asked for on and on: a server that forgets may have it again.
fn is_kept(held: &Held) -> bool {
    match held.state() {
        HeldState::Running(running) => running.tie != Tie::Lost && running.cut != Cut::TimedOut,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Config, Settings, runs::Queue};

    /// Where one run lasts for ever, what waits is given back and comes again, again and again.
    #[test]
    fn what_is_given_back_stands_in_no_queue() {
        let mut machine = Machine::new(Config::new(Settings::default()).unwrap(), 1);
        let [first, second] = [1, 2].map(|number| EntryId { ms: number, seq: 0 });
        for entry in [first, second] {
            machine.holds.insert(Held::new(
                Hold { entry, deliveries: 1 },
                Default::default(),
                None,
                machine.now,
                machine.now,
            ));
            machine.runs.push(Queue::New, entry);
            machine.now += std::time::Duration::from_secs(8);
        }
        machine.look_through();
        assert_eq!(machine.runs.new, [second], "the first has waited for a third of reclaim_idle");
    }
}
