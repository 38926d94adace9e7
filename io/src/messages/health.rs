//! How a consumer fares, for health checks.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use streamkeeper_core::{link::Link, time::Time, trouble::Trouble};

/// How a consumer of one stream fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The stream.
    pub stream: String,
    /// For how long both connections have been there; `None` if one of them is not.
    pub connected_for: Option<Duration>,
    /// How long ago Redis last answered a call; `None` if it never did.
    pub answered_ago: Option<Duration>,
    /// How many messages it holds: those that wait, run, or are being settled.
    pub held: usize,
    /// How many runs are under way.
    pub running: usize,
    /// The latest trouble with Redis, and how it is called for people. It stays after it is over.
    pub trouble: Option<Trouble>,
    /// The consumer has ended, by wish or not.
    pub ended: bool,
}

impl Health {
    /// Whether it is connected and was answered within this time: what a liveness probe asks. A quiet consumer asks
    /// Redis something every `due_interval`, and so hears from it; one that is paused only every quarter of `reclaim_idle`,
    /// and with `no_ack` nothing at all.
    pub fn is_well(&self, within: Duration) -> bool {
        !self.ended && self.connected_for.is_some() && self.answered_ago.is_some_and(|ago| ago <= within)
    }
}

/// What the driver notes down.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Microseconds; 0: never.
    answered: AtomicU64,
    held: AtomicUsize,
    running: AtomicUsize,
    rest: Mutex<Rest>,
}

#[derive(Clone, Debug, Default)]
struct Rest {
    commands: Option<Time>,
    reader: Option<Time>,
    trouble: Option<Trouble>,
    ended: bool,
}

impl Pulse {
    pub(crate) fn answered(&self, now: Time) {
        self.answered.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    pub(crate) fn depth(&self, (held, running): (usize, usize)) {
        self.held.store(held, Ordering::Relaxed);
        self.running.store(running, Ordering::Relaxed);
    }

    pub(crate) fn link_up(&self, link: Link, now: Time) {
        if let Some(since) = self.lock().link(link) {
            *since = Some(now);
        }
    }

    pub(crate) fn link_down(&self, link: Link) {
        if let Some(since) = self.lock().link(link) {
            *since = None;
        }
    }

    pub(crate) fn trouble(&self, trouble: &Trouble) {
        self.lock().trouble = Some(trouble.clone());
    }

    pub(crate) fn ended(&self) {
        let mut rest = self.lock();
        *rest = Rest { ended: true, trouble: rest.trouble.take(), ..Rest::default() };
    }

    pub(crate) fn health(&self, stream: &str, now: Time) -> Health {
        let rest = self.lock().clone();
        let answered = self.answered.load(Ordering::Relaxed);
        Health {
            stream: stream.to_owned(),
            connected_for: rest.commands.zip(rest.reader).map(|(one, other)| now.since(one.max(other))),
            answered_ago: (answered > 0).then(|| now.since(Time::from_micros(answered))),
            held: self.held.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            trouble: rest.trouble,
            ended: rest.ended,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest {
    fn link(&mut self, link: Link) -> Option<&mut Option<Time>> {
        match link {
            Link::Commands => Some(&mut self.commands),
            Link::Reader => Some(&mut self.reader),
            Link::Subscriber => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_is_who_is_connected_and_was_answered() {
        let (pulse, second) = (Pulse::default(), Duration::from_secs(1));
        let health = |ms| pulse.health("s", Time::from_millis(ms));
        assert!(!health(0).is_well(second));
        pulse.link_up(Link::Commands, Time::from_millis(100));
        pulse.answered(Time::from_millis(300));
        assert_eq!((health(500).connected_for, health(500).is_well(second)), (None, false));
        pulse.link_up(Link::Reader, Time::from_millis(200));
        assert_eq!(health(500).connected_for, Some(Duration::from_millis(300)));
        assert!(health(1_300).is_well(second) && !health(1_301).is_well(second));
        pulse.link_down(Link::Reader);
        assert!(!health(1_300).is_well(second));
        pulse.trouble(&Trouble::connection("gone"));
        pulse.link_up(Link::Reader, Time::from_millis(400));
        pulse.ended();
        assert!(health(500).ended && !health(500).is_well(second));
        assert_eq!(health(500).trouble.unwrap().to_string(), "gone");
    }
}
