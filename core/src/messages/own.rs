//! The own list: what is pending under this consumer's name, and it does not hold. An answer that was lost would strand
//! such messages for ever. Looked at when it starts, after every read and take that was not answered, after a reconnect,
//! and with each round of refreshes.

use std::collections::BTreeMap;

use super::{
    Machine,
    asked::{Kind, Question},
    call::{Call, Delivery, Hold},
};
use crate::{
    id::{CallId, EntryId},
    time::Time,
};

/// How many messages are fetched in one call.
const BATCH: usize = 500;

/// Where looking at the own list stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// It is to be looked at, from the beginning.
    pub(super) wanted: bool,
    /// An answer was lost: nothing else is asked for before that is found.
    pub(super) urgent: bool,
    pub(super) round: Round,
    /// How many messages are fetched in one call; `None`: as many as may be. An answer that was too large to come in time
    /// would be too late for ever: half as many are asked for next, and twice as many after those have come.
    pub(super) most: Option<usize>,
    /// How many times in a row the fetch of a single message failed.
    alone_failed: u32,
    /// Messages that are too large to come in time, even alone, and until when they are left alone: they keep nobody
    /// waiting. It is long enough for others to reclaim them, so that the crashes are counted and end.
    pub(super) too_large: BTreeMap<EntryId, Time>,
}

/// A single message whose fetch failed so often may be too large; before, it may have been the connection's fault.
const TRIES_ALONE: u32 = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Round {
    #[default]
    Over,
    Listing,
    /// What a page has shown and is not held. Answers that are on their way may still bring some of it: these first.
    Missing {
        entries: Vec<Hold>,
        /// The page was full: where the next one begins.
        next: Option<EntryId>,
        awaited: Vec<CallId>,
    },
    Fetching {
        count: usize,
        first: EntryId,
        rest: Vec<Hold>,
        next: Option<EntryId>,
    },
}

impl State {
    /// Whether nothing new is to be asked for yet.
    pub(super) fn comes_first(&self) -> bool {
        self.urgent
    }

    /// For how many messages room is kept.
    pub(super) fn reserved(&self) -> usize {
        match self.round {
            Round::Fetching { count, .. } => count,
            _ => 0,
        }
    }

    /// Whether messages are on their way.
    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.round, Round::Fetching { .. })
    }

    /// This call was answered, or failed.
    pub(super) fn answered(&mut self, id: CallId) {
        if let Round::Missing { awaited, .. } = &mut self.round {
            awaited.retain(|awaited| *awaited != id);
        }
    }
}

impl Machine {
    /// An answer was lost, or may have been: what it brought is looked for before anything else.
    pub(super) fn look_at_own_list(&mut self) {
        if !self.config.no_ack {
            (self.own.wanted, self.own.urgent) = (true, true);
        }
    }

    /// The own list is looked at beside everything else.
    pub(super) fn glance_at_own_list(&mut self) {
        self.own.wanted |= !self.config.no_ack;
        self.own.too_large.retain(|_, until| *until > self.now);
    }

    pub(super) fn listing_due(&self) -> Option<Time> {
        let due = self.is_running() && self.own.wanted && self.own.round == Round::Over;
        if due { self.open_from(Kind::Mine) } else { None }
    }

    pub(super) fn fetch_due(&self) -> Option<Time> {
        match &self.own.round {
            Round::Missing { awaited, .. } if self.is_running() && awaited.is_empty() && self.room() > 0 => {
                self.open_from(Kind::Fetch)
            }
            _ => None,
        }
    }

    pub(super) fn list_own(&mut self) {
        if self.listing_due().is_some_and(|at| at <= self.now) {
            self.own.wanted = false;
            self.list_behind(None);
        }
        if self.fetch_due().is_some_and(|at| at <= self.now) {
            self.fetch();
        }
    }

    fn list_behind(&mut self, after: Option<EntryId>) {
        assert!(!self.config.no_ack, "nothing is pending, and there is no list of it");
        let free = matches!(self.own.round, Round::Over | Round::Listing);
        assert!(free, "a page is turned over what it showed: {:?}", self.own.round);
        let count = self.config.batch;
        self.own.round = Round::Listing;
        self.ask(Question::Mine { after, count }, Call::Mine { after, count });
    }

    pub(super) fn listed(&mut self, count: usize, holds: Vec<Hold>) {
        assert!(self.own.round == Round::Listing, "a list comes that nobody asked for: {:?}", self.own.round);
        assert!(holds.len() <= count, "{} on a page of {count}", holds.len());
        let next = holds.last().filter(|_| holds.len() == count).map(|hold| hold.entry);
        let entries: Vec<Hold> = holds.into_iter().filter(|hold| self.misses(*hold)).collect();
        // What is on its way: new messages by a read, all others by a question after what is due.
        let (new, due) = (entries.iter().any(|hold| hold.deliveries == 1), entries.iter().any(|h| h.deliveries > 1));
        let brings = |question: &Question| match question {
            Question::Read(_) => new,
            Question::Due(_) => due,
            _ => false,
        };
        let awaited = self.calls.iter().filter(|(_, asked)| brings(&asked.question)).map(|(id, _)| *id).collect();
        self.turn_page(entries, next, awaited);
    }

    /// Goes on with what is missing, or with the next page.
    fn turn_page(&mut self, entries: Vec<Hold>, next: Option<EntryId>, awaited: Vec<CallId>) {
        assert!(!entries.is_empty() || awaited.is_empty(), "nothing is missing, and {awaited:?} would bring it");
        match next {
            _ if !entries.is_empty() => self.own.round = Round::Missing { entries, next, awaited },
            Some(_) if self.may(Kind::Mine) && self.is_running() => self.list_behind(next),
            Some(_) => self.listing_failed(),
            None => {
                self.own.round = Round::Over;
                self.own.urgent = self.own.wanted && self.own.urgent;
            }
        }
    }

    fn misses(&self, hold: Hold) -> bool {
        let held = self.holds.get(hold.entry).is_some_and(|held| held.hold.deliveries >= hold.deliveries);
        !held
            && !self.settling.is_stray(hold)
            && self.own.too_large.get(&hold.entry).is_none_or(|until| *until <= self.now)
    }

    fn fetch(&mut self) {
        let Round::Missing { entries, next, awaited } = std::mem::take(&mut self.own.round) else { return };
        assert!(awaited.is_empty(), "answers that are on their way come first: {awaited:?}");
        let mut entries: Vec<Hold> = entries.into_iter().filter(|hold| self.misses(*hold)).collect();
        let Some(first) = entries.first().map(|hold| hold.entry) else {
            return self.turn_page(entries, next, Vec::new());
        };
        let count = entries.len().min(self.room()).min(self.own.most.unwrap_or(BATCH));
        assert!((1..=BATCH).contains(&count), "{count} messages are fetched");
        let rest = entries.split_off(count);
        self.own.round = Round::Fetching { count, first, rest, next };
        self.assert_room(count);
        let entries = entries.into_iter().map(|hold| hold.entry).collect();
        self.ask(Question::Fetch(count), Call::Fetch(entries));
    }

    pub(super) fn fetched(&mut self, deliveries: Vec<Delivery>, issued: Time) {
        assert!(self.own.is_fetching(), "messages come that nobody fetched: {:?}", self.own.round);
        assert!(deliveries.len() <= self.own.reserved(), "{} are fetched, there is no room", deliveries.len());
        if let Round::Fetching { rest, next, .. } = std::mem::take(&mut self.own.round) {
            self.turn_page(rest, next, Vec::new());
        }
        self.own.alone_failed = 0;
        self.own.most = self.own.most.map(|most| most * 2).filter(|most| *most < BATCH);
        self.admit_all(deliveries, issued);
    }

    pub(super) fn fetch_failed(&mut self, count: usize) {
        assert!(self.own.is_fetching(), "a fetch failed that was not under way: {:?}", self.own.round);
        assert!(count >= 1, "nothing was fetched");
        if let Round::Fetching { count: 1, first, .. } = self.own.round {
            self.own.alone_failed = self.own.alone_failed.saturating_add(1);
            if self.own.alone_failed >= TRIES_ALONE {
                self.own.too_large.insert(first, self.now + self.config.reclaim_idle * 2);
            }
        }
        self.own.most = Some((count / 2).max(1));
        self.listing_failed();
    }

    /// The records are hidden behind a key of a wrong type, and what is missing cannot be told apart without them: it is
    /// asked for again until somebody has mended that, and new messages, which have no record, go on meanwhile.
    pub(super) fn fetch_cannot_be(&mut self) {
        assert!(self.own.is_fetching(), "a fetch failed that was not under way: {:?}", self.own.round);
        self.own.round = Round::Over;
        (self.own.wanted, self.own.urgent) = (true, false);
    }

    pub(super) fn listing_failed(&mut self) {
        self.own.round = Round::Over;
        self.look_at_own_list();
    }
}
