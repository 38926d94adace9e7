//! The connections of a machine: when each is made, and when a broken one is tried again.

use std::time::Duration;

use crate::{
    backoff::{Dice, pause},
    time::Time,
};

/// One of a machine's connections to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// For every call that answers at once.
    Commands,
    /// For waiting for announcements, or for messages.
    Reader,
    /// For notifications and the doorbell. Who works on messages has none.
    Subscriber,
}

/// The state of all connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Links([State; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    phase: Phase,
    /// Failures in a row: tries that failed, and connections that broke before anything was answered on them.
    failures: u32,
    /// Which connection this is: what an older one has to say does not concern it.
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Down { retry_at: Time },
    Connecting,
    Up,
}

impl Links {
    pub(crate) fn new() -> Links {
        Links([State { phase: Phase::Down { retry_at: Time::ZERO }, failures: 0, generation: 0 }; 3])
    }

    pub(crate) fn is_up(&self, link: Link) -> bool {
        self.state(link).phase == Phase::Up
    }

    pub(crate) fn generation(&self, link: Link) -> u32 {
        self.state(link).generation
    }

    /// Whether it was made, or tried, before: what was wrong then may have broken the others, too.
    pub(crate) fn is_anew(&self, link: Link) -> bool {
        self.generation(link) > 1
    }

    /// Those of the wanted connections that are to be made now; they count as being made from here on.
    pub(crate) fn due(&mut self, now: Time, wanted: &[Link]) -> Vec<Link> {
        let mut due = Vec::new();
        for &link in wanted {
            let state = self.state_mut(link);
            if matches!(state.phase, Phase::Down { retry_at } if retry_at <= now) {
                state.phase = Phase::Connecting;
                state.generation = state.generation.wrapping_add(1);
                due.push(link);
            }
        }
        assert!(due.iter().all(|link| !self.is_up(*link)), "what is to be made is not there yet: {due:?}");
        assert!(self.next_due(wanted).is_none_or(|at| at > now), "what is due is made now");
        due
    }

    /// It is there. `false` if nobody was waiting for it.
    pub(crate) fn connected(&mut self, link: Link) -> bool {
        let state = self.state_mut(link);
        let awaited = state.phase == Phase::Connecting;
        if awaited {
            state.phase = Phase::Up;
        }
        awaited
    }

    /// Something was answered on it: it works.
    pub(crate) fn works(&mut self, link: Link) {
        self.state_mut(link).failures = 0;
    }

    /// It is lost: the failures in a row and the pause until it is tried again, which doubles from `first` up to
    /// `limit`. `None` if it was down already.
    pub(crate) fn lost(
        &mut self,
        link: Link,
        (first, limit): (Duration, Duration),
        now: Time,
        dice: &mut Dice,
    ) -> Option<(u32, Duration)> {
        let state = self.state_mut(link);
        if matches!(state.phase, Phase::Down { .. }) {
            return None;
        }
        state.failures = state.failures.saturating_add(1);
        let span = pause(state.failures, first, limit, dice);
        assert!(!span.is_zero(), "{link:?} is tried again after a while, not at once");
        state.phase = Phase::Down { retry_at: now + span };
        Some((state.failures, span))
    }

    /// It is not wanted any more.
    pub(crate) fn close(&mut self, link: Link, now: Time) {
        self.state_mut(link).phase = Phase::Down { retry_at: now };
    }

    /// When the next of the wanted ones is to be made.
    pub(crate) fn next_due(&self, wanted: &[Link]) -> Option<Time> {
        let retry_at = |link| match self.state(link).phase {
            Phase::Down { retry_at } => Some(retry_at),
            Phase::Connecting | Phase::Up => None,
        };
        wanted.iter().copied().filter_map(retry_at).min()
    }

    fn state(&self, link: Link) -> &State {
        &self.0[link as usize]
    }

    fn state_mut(&mut self, link: Link) -> &mut State {
        &mut self.0[link as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Link; 3] = [Link::Commands, Link::Reader, Link::Subscriber];
    const NO_READER: [Link; 2] = [Link::Commands, Link::Subscriber];

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// Lost now: the failures in a row, and when it is tried again.
    fn lose(links: &mut Links, link: Link, now: Time) -> Option<(u32, Time)> {
        let lost = links.lost(link, (Duration::from_millis(20), Duration::from_secs(1)), now, &mut Dice::new(1));
        lost.map(|(failures, pause)| (failures, now + pause))
    }

    #[test]
    fn all_are_made_at_first_and_each_once() {
        let mut links = Links::new();
        assert_eq!(links.due(ms(0), &ALL), ALL);
        assert_eq!(links.due(ms(9), &ALL), []);
        assert_eq!(links.next_due(&ALL), None);
        assert!(!links.is_up(Link::Commands));
        assert!(links.connected(Link::Commands) && links.is_up(Link::Commands));
        assert!(!links.connected(Link::Commands), "nobody waited for a second one");
    }

    #[test]
    fn who_does_not_read_makes_no_readers_connection() {
        let mut links = Links::new();
        assert_eq!(links.due(ms(0), &NO_READER), [Link::Commands, Link::Subscriber]);
        assert_eq!((links.next_due(&NO_READER), links.next_due(&ALL)), (None, Some(ms(0))));
        links.due(ms(0), &ALL);
        links.connected(Link::Reader);
        links.close(Link::Reader, ms(5));
        assert_eq!((links.is_up(Link::Reader), links.next_due(&NO_READER)), (false, None));
    }

    #[test]
    fn a_lost_one_is_tried_again_later_each_time_and_counts_as_another() {
        let mut links = Links::new();
        links.due(ms(0), &ALL);
        let mut now = ms(0);
        for (failures, longest) in [(1, 25), (2, 50), (3, 100), (4, 200)] {
            let generation = links.generation(Link::Commands);
            let (count, at) = lose(&mut links, Link::Commands, now).unwrap();
            assert_eq!(count, failures);
            assert!(at > now && at <= now + Duration::from_millis(longest), "{failures}: {at:?}");
            assert_eq!(lose(&mut links, Link::Commands, now), None, "it is down already");
            assert_eq!((links.due(now, &ALL), links.next_due(&ALL)), (vec![], Some(at)));
            assert_eq!(links.due(at, &ALL), [Link::Commands]);
            assert_eq!(links.generation(Link::Commands), generation + 1);
            now = at;
        }
        links.connected(Link::Commands);
        assert_eq!(lose(&mut links, Link::Commands, now).map(|lost| lost.0), Some(5), "connected is not yet working");
        links.due(now + Duration::from_secs(9), &ALL);
        links.connected(Link::Commands);
        links.works(Link::Commands);
        assert_eq!(lose(&mut links, Link::Commands, now).map(|lost| lost.0), Some(1));
    }
}
