//! What lasts and is tried again and again: connections that are down, and what only a person can mend. People read of an
//! outage at once, of a refusal once a minute as well, and of the rest nothing above `debug`.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper_core::{
    time::Time,
    trouble::{Trouble, TroubleKind},
};
use tracing::{debug, error, info, warn};

use crate::{Link, metrics::link_name};

/// For how long the same refusal is not said again.
const SILENCE: Duration = Duration::from_secs(60);

/// What people were told of.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    /// The connections that are down, and the last word about each.
    down: BTreeMap<Link, Word>,
    /// When each refusal was said last. As many as there are calls, links and kinds of trouble.
    refused: BTreeMap<(&'static str, TroubleKind), Refusal>,
}

#[derive(Debug)]
struct Refusal {
    said: Time,
    unsaid: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Down,
    Refused,
}

/// What people are to be told of a connection that could not be made, or broke.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// That it is down.
    Down,
    /// That it is refused, and how often it was refused since that was said last.
    Refused { unsaid: u64 },
    /// Nothing: they know.
    Old,
}

impl Outages {
    /// A connection is there.
    pub(crate) fn link_up(&mut self, link: Link) {
        if self.down.remove(&link).is_some() {
            // If it is refused again, that is news.
            self.refused.retain(|(what, _), _| *what != link_name(link));
            info!(link = link_name(link), "connection is back");
        }
    }

    /// A connection could not be made, or broke.
    pub(crate) fn link_down(&mut self, link: Link, trouble: &Trouble, retry_in: Duration, now: Time) {
        let news = self.news(link, trouble.kind, now);
        let link = link_name(link);
        match news {
            News::Down => warn!(link, %trouble, ?retry_in, "connection down: tried again until it is back"),
            News::Refused { unsaid } => {
                error!(link, %trouble, ?retry_in, unsaid, "connection refused: to be mended by hand");
            }
            News::Old => debug!(link, %trouble, ?retry_in, "connection still down"),
        }
    }

    /// A call failed.
    pub(crate) fn call_failed(&mut self, call: &'static str, trouble: &Trouble, now: Time) {
        if !trouble.kind.is_fatal_at_start() {
            return debug!(call, %trouble, "call failed");
        }
        match self.refused(call, trouble.kind, now) {
            Some(unsaid) => error!(call, %trouble, unsaid, "call refused: to be mended by hand"),
            None => debug!(call, %trouble, "call still refused"),
        }
    }

    /// This was refused now. If it is to be said: how often it was not said since the last time.
    pub(crate) fn refused(&mut self, what: &'static str, kind: TroubleKind, now: Time) -> Option<u64> {
        let Some(refusal) = self.refused.get_mut(&(what, kind)) else {
            self.refused.insert((what, kind), Refusal { said: now, unsaid: 0 });
            return Some(0);
        };
        if now.since(refusal.said) < SILENCE {
            refusal.unsaid += 1;
            return None;
        }
        refusal.said = now;
        Some(std::mem::take(&mut refusal.unsaid))
    }

    fn news(&mut self, link: Link, kind: TroubleKind, now: Time) -> News {
        if kind.is_fatal_at_start()
            && let Some(unsaid) = self.refused(link_name(link), kind, now)
        {
            self.down.insert(link, Word::Refused);
            return News::Refused { unsaid };
        }
        match self.down.get(&link) {
            Some(Word::Refused) if !kind.is_fatal_at_start() => {}
            Some(_) => return News::Old,
            None => {}
        }
        self.down.insert(link, Word::Down);
        News::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_same_refusal_is_said_once_a_minute() {
        let mut outages = Outages::default();
        let mut at = |what, kind, seconds| outages.refused(what, kind, second(seconds));
        assert_eq!(at("due", TroubleKind::WrongType, 5), Some(0));
        for seconds in 6..65 {
            assert_eq!(at("due", TroubleKind::WrongType, seconds), None);
        }
        assert_eq!(at("due", TroubleKind::Refused, 40), Some(0), "another cause");
        assert_eq!(at("read", TroubleKind::WrongType, 41), Some(0), "another call");
        assert_eq!(at("due", TroubleKind::WrongType, 65), Some(59));
        assert_eq!(at("due", TroubleKind::WrongType, 66), None);
        assert_eq!(at("due", TroubleKind::WrongType, 600), Some(1));
    }

    #[test]
    fn a_connection_that_is_down_is_said_to_be_so_once_and_that_it_is_refused_once_a_minute() {
        use Link::{Commands, Reader};
        use TroubleKind::{Connection, Refused};
        let mut outages = Outages::default();
        for (link, kind, seconds, news) in [
            (Commands, Connection, 1, News::Down),
            (Commands, Connection, 2, News::Old),
            (Reader, Connection, 3, News::Down),
            // A password that was changed while it was down.
            (Commands, Refused, 4, News::Refused { unsaid: 0 }),
            (Commands, Refused, 5, News::Old),
            (Reader, Refused, 6, News::Refused { unsaid: 0 }),
            // The password was mended, and now the server is away: nobody is to look for a password any more.
            (Commands, Connection, 7, News::Down),
            (Commands, Refused, 8, News::Old),
            (Commands, Connection, 9, News::Old),
            (Commands, Refused, 64, News::Refused { unsaid: 2 }),
            (Commands, Connection, 65, News::Down),
        ] {
            assert_eq!(outages.news(link, kind, second(seconds)), news, "{link:?} {kind:?} at {seconds} s");
        }
        outages.link_up(Commands);
        assert_eq!(outages.news(Commands, Refused, second(66)), News::Refused { unsaid: 0 }, "another outage");
        outages.link_up(Commands);
        assert_eq!(outages.news(Commands, Connection, second(67)), News::Down, "and another");
        assert_eq!(outages.news(Reader, Refused, second(65)), News::Old, "the other one is down still");
    }
}
