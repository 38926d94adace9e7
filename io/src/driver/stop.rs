//! Stopping: the application is given time to end what it works on, the rest is given back, then the machine stops.

use std::time::Duration;

use streamkeeper_core::{
    streams::{End, Event},
    time::Time,
};

use super::Driver;
use crate::{draining::Draining, lease::Wish};

impl Driver {
    /// The machine is told to stop, at once or once the application has ended what it works on.
    pub(super) fn stop(&mut self, end: End, within: Duration) {
        let again = std::mem::replace(&mut self.stopping, true);
        // Also tells the application's own tasks.
        self.cancel.cancel();
        let draining = Draining::new(self.shared.clock.now(), within);
        if let Some(first) = &mut self.draining {
            first.hasten(draining);
            let until = first.until;
            let worked_on = self.shared.leases.all().into_iter().filter(|lease| lease.0.work.is_under_way());
            worked_on.for_each(|lease| lease.0.drain(until));
        } else if end == End::Release && !again && self.shared.leases.any_under_way() {
            self.drain(draining);
        } else {
            self.shut_down(end, draining.deadline);
        }
    }

    /// Gives back what nobody works on, and leaves the rest to the application for a while.
    fn drain(&mut self, draining: Draining) {
        self.tell(Event::Drain);
        for lease in self.shared.leases.all() {
            if lease.0.work.is_under_way() {
                lease.0.drain(draining.until);
            } else {
                lease.0.ask_to_end(Wish::Release);
            }
        }
        self.draining = Some(draining);
    }

    /// Once everything has ended, or the time is up, the machine is told to stop.
    pub(super) fn go_on_draining(&mut self) {
        let Some(draining) = self.draining else { return };
        let now = self.shared.clock.now();
        if self.shared.leases.len() == 0 || now >= draining.last_call {
            self.draining = None;
            self.shut_down(End::Release, draining.deadline);
        } else if now >= draining.until && !draining.called {
            self.draining = Some(Draining { called: true, ..draining });
            self.shared.leases.all().iter().for_each(|lease| lease.0.ask_to_end(Wish::Release));
        }
    }

    fn shut_down(&mut self, end: End, deadline: Time) {
        self.shared.leases.invalidate_all();
        self.tell(Event::Shutdown(end, deadline));
    }
}
