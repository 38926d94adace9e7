//! Stopping: nothing more is read; what is to be committed or set aside is, until the deadline.

use super::{Command, Link, Machine, OwnedId, Phase, read::State};
use crate::time::Time;

impl Machine {
    /// The application wants it to stop. A second wish may only bring the deadline forward.
    pub(super) fn shut_down(&mut self, deadline: Time) {
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping(deadline);
                let ids: Vec<OwnedId> = self.streams.keys().copied().collect();
                for id in ids {
                    self.place(id);
                }
                let State { ready, starved, tail, .. } = &self.reading;
                let nobody = ready.is_empty() && starved.is_empty() && tail.is_empty();
                assert!(nobody, "who stops reads nothing more");
            }
            Phase::Stopping(before) => *before = deadline.min(*before),
            Phase::Stopped => {}
        }
    }

    pub(super) fn stop_due(&self) -> Option<Time> {
        match self.phase {
            Phase::Stopping(deadline) => Some(deadline),
            Phase::Running | Phase::Stopped => None,
        }
    }

    pub(super) fn stop_if_finished(&mut self) {
        if self.stop_due().is_some_and(|deadline| deadline <= self.now || self.is_settled()) {
            self.end();
        }
    }

    /// Whether nothing is outstanding.
    fn is_settled(&mut self) -> bool {
        while let Some(id) = self.committing.first_unsettled() {
            let stream = self.streams.get(&id);
            if stream.is_some_and(|stream| !stream.commits.is_settled() || stream.asides.first().is_some()) {
                return false;
            }
            self.committing.settled(id);
        }
        true
    }

    fn end(&mut self) {
        assert!(matches!(self.phase, Phase::Stopping(_)), "nobody stops untold: {:?}", self.phase);
        let ends = self.streams.values_mut().flat_map(|stream| stream.commits.give_up()).collect();
        self.answer_tickets(ends);
        self.phase = Phase::Stopped;
        self.calls.clear();
        for link in [Link::Commands, Link::Reader] {
            self.command(Command::Disconnect(link));
        }
    }
}
