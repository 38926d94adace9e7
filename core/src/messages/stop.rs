//! Stopping: nothing more is started; runs may finish until the deadline, then they are cancelled; what is not finished
//! is given back, the last acknowledgements go out, and the consumer's name is deleted if nothing is left under it.

use super::{
    Command, Link, Machine, Notification, Phase, Report,
    asked::{Kind, Question},
    call::Call,
    held::{Cut, Held, State},
};
use crate::{id::EntryId, time::Time};

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stop {
    pub(super) deadline: Time,
    report: Report,
    pub(super) cancelled: bool,
    pub(super) leaving: Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leaving {
    Later,
    Asked,
    Over,
}

impl Machine {
    /// The application wants it to stop. A second wish may only bring the deadline forward.
    pub(super) fn shut_down(&mut self, deadline: Time) {
        match &mut self.phase {
            Phase::Running => {
                let (report, leaving) = (Report::default(), Leaving::Later);
                self.phase = Phase::Stopping(Stop { deadline, report, cancelled: false, leaving });
                self.return_what_waits();
            }
            Phase::Stopping(stop) => stop.deadline = stop.deadline.min(deadline),
            Phase::Stopped => {}
        }
    }

    fn return_what_waits(&mut self) {
        let unstarted = |held: &Held| {
            let behind = held.is_behind();
            behind || matches!(held.state(), State::Waiting | State::Doubted | State::Checking | State::Marking)
        };
        let entries: Vec<EntryId> = self.holds.iter().filter(|(_, held)| unstarted(held)).map(|(e, _)| e).collect();
        for entry in entries {
            self.give_back(entry);
        }
        self.tidy_queues();
        assert!(self.holds.waiting() == 0 && self.holds.behind() == 0, "who stops lets nothing wait");
        assert!(self.holds.slots() == self.runs.under_way(), "who stops holds slots for what runs alone");
        assert!(self.startable() == 0, "who stops starts nothing");
    }

    pub(super) fn count_finished(&mut self) {
        if let Phase::Stopping(stop) = &mut self.phase {
            stop.report.finished += 1;
        }
    }

    pub(super) fn count_returned(&mut self) {
        if let Phase::Stopping(stop) = &mut self.phase {
            stop.report.returned += 1;
        }
    }

    pub(super) fn stop_due(&self) -> Option<Time> {
        match self.phase {
            Phase::Stopping(stop) if stop.cancelled => Some(self.grace_end(stop)),
            Phase::Stopping(stop) => Some(stop.deadline),
            Phase::Running | Phase::Stopped => None,
        }
    }

    /// Until when Redis may still be told what is cancelled at the deadline.
    fn grace_end(&self, stop: Stop) -> Time {
        stop.deadline + self.config.call_timeout * 2
    }

    pub(super) fn stop_at_the_deadline(&mut self) {
        if let Phase::Stopping(stop) = &mut self.phase
            && !stop.cancelled
            && stop.deadline <= self.now
        {
            stop.cancelled = true;
            self.cancel_runs();
        }
    }

    /// Every run is stopped where it stands.
    pub(super) fn cancel_runs(&mut self) {
        let live: Vec<_> = self.runs.live().collect();
        for (run, live) in live {
            if let Some(running) = self.holds.get_mut(live.entry).and_then(Held::running_mut)
                && running.cut == Cut::No
            {
                assert!(running.run == run, "{run:?} is to be cancelled, and another runs: {:?}", running.run);
                running.cut = Cut::Cancelled;
                self.command(Command::Cancel(run));
            }
        }
    }

    /// Whether every run that is under way was told to stop.
    pub(super) fn all_are_told_to_stop(&self) -> bool {
        let goes_on = |held: &Held| matches!(held.state(), State::Running(running) if running.cut == Cut::No);
        !self.holds.iter().any(|(_, held)| goes_on(held))
    }

    pub(super) fn left(&mut self) {
        if let Phase::Stopping(stop) = &mut self.phase {
            assert!(stop.leaving == Leaving::Asked, "nobody took leave");
            stop.leaving = Leaving::Over;
        }
    }

    pub(super) fn stop_if_finished(&mut self) {
        let Phase::Stopping(stop) = self.phase else { return };
        let asking = self.reading.is_asking() || self.own.is_fetching();
        let idle = self.holds.is_empty() && self.settling.strays() == 0 && !asking;
        if self.now >= self.grace_end(stop) {
            return self.say_stopped(stop);
        }
        if !idle || stop.leaving == Leaving::Asked {
            return;
        }
        // On a server that is not prepared (it loads, for one) nobody can take leave: the name goes once it is stale.
        let reachable = self.links.is_up(Link::Commands) && self.server.is_prepared();
        if stop.leaving == Leaving::Over || !reachable {
            return self.say_stopped(stop);
        }
        if self.may(Kind::Leave) {
            assert!(stop.leaving == Leaving::Later, "leave is taken once");
            assert!(self.runs.under_way() == 0, "who takes leave runs nothing any more");
            self.phase = Phase::Stopping(Stop { leaving: Leaving::Asked, ..stop });
            self.ask(Question::Leave, Call::Leave);
        }
    }

    fn say_stopped(&mut self, stop: Stop) {
        let left = self.holds.len() + self.settling.strays();
        assert!(left == 0 || self.now >= self.grace_end(stop), "{left} messages are left behind, and there is time");
        self.notify(Notification::Stopped(Report { left, ..stop.report }));
        self.end();
    }
}
