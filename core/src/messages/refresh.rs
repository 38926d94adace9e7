//! Keeping what is held: the pending list's idle time is the heartbeat. What ends soon costs nothing.

use std::collections::VecDeque;

use super::{
    Fate, Machine, Remark,
    asked::{Kind, Question},
    call::{Call, Fenced, Hold},
    held::{Cut, Held, State as HeldState, Tie},
};
use crate::{id::EntryId, time::Time};

/// How many messages one call is about.
const BATCH: usize = 500;
/// How many calls are under way at once: enough to hide the round trip, few enough that others get a turn.
const AT_ONCE: usize = 4;

/// Where the refreshes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// When everything is looked through again.
    next_at: Time,
    /// What needs one.
    queue: VecDeque<EntryId>,
    under_way: usize,
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

    fn want_refresh(&mut self, entry: EntryId) {
        if let Some(held) = self.holds.get_mut(entry)
            && !held.refreshing
        {
            held.refreshing = true;
            self.refreshes.queue.push_back(entry);
        }
    }

    /// It may be another's: before it runs, it is confirmed.
    pub(super) fn doubt(&mut self, entry: EntryId) {
        self.holds.change(entry, HeldState::Doubted);
        self.want_refresh(entry);
    }

    fn send_refresh(&mut self) {
        let count = self.refreshes.queue.len().min(BATCH);
        let entries: Vec<EntryId> = self.refreshes.queue.drain(..count).collect();
        let holds: Vec<Hold> = entries.iter().filter_map(|e| self.holds.get(*e)).map(|held| held.hold).collect();
        if !holds.is_empty() {
            self.refreshes.under_way += 1;
            self.ask(Question::Refresh(holds.clone()), Call::Refresh(holds));
        }
    }

    pub(super) fn refreshed(&mut self, holds: Vec<Hold>, answers: Vec<Fenced>, issued: Time) {
        self.refreshes.under_way -= 1;
        for (hold, answer) in holds.into_iter().zip(answers) {
            let Some(held) = self.holds.of(hold) else { continue };
            held.refreshing = false;
            match answer {
                Fenced::Done => {
                    held.confirmed = held.confirmed.max(issued);
                    self.believe(hold.entry);
                }
                Fenced::Broken(error) => {
                    if *held.state() == HeldState::Doubted {
                        self.set_aside(hold.entry, error);
                    } else {
                        self.remark(Remark::Broken(hold.entry, error));
                    }
                }
                // What is being settled hears from its own call.
                _ if held.settles() => {}
                // It was trimmed or deleted, and what is here of it is all there is; or another has ended it.
                Fenced::Gone if held.running_mut().is_some() => {
                    if let Some(running) = held.running_mut()
                        && running.tie == Tie::Ours
                    {
                        running.tie = Tie::Gone;
                    }
                }
                Fenced::Lost | Fenced::Gone => self.lose(hold.entry),
            }
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
/// another's already.
fn is_kept(held: &Held) -> bool {
    match held.state() {
        HeldState::Running(running) => running.tie == Tie::Ours && running.cut != Cut::TimedOut,
        HeldState::Acking(Fate::Lost) => false,
        _ => true,
    }
}
