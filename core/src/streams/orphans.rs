//! Announcements that this consumer may come to own: what it was told of them, and when it will ask for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{EntryId, StreamName},
    time::Time,
};

/// An announcement that may be without an owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    /// Since when it is known to be without an owner; new announcements have none.
    pub(super) orphan_since: Option<Time>,
    /// The application asked for it by hand and waits for an answer.
    pub(super) claimed: bool,
    /// It may be acquired without asking the application.
    pub(super) automatic: bool,
    pub(super) source: Source,
    /// Whose turn it is.
    pub(super) turn: Turn,
    pub(super) stage: Stage,
}

/// How we came to know of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A notification or the doorbell: somebody says so.
    Rumour,
    /// The pending list: it has been idle for too long.
    Reaped,
    /// It is pending under our own name.
    Mine,
}

/// Who is to acquire an orphan, in the eyes of this consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    /// This consumer, at once.
    Ours,
    /// Another one; this one a little later, if it has less than its fair share by then.
    Theirs,
    /// Whoever is still there.
    Anybodys,
}

/// What is known of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Its id, and the stream that a hint named: its payload is to be read at this time.
    Hinted(Time, Option<StreamName>),
    /// Its payload is being read.
    Looking(Option<StreamName>),
    /// Everything: it will be asked for at this time.
    Ready(Time, StreamName, Option<Box<str>>),
}

/// All candidates, and those that need not be asked for again for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Orphans {
    candidates: BTreeMap<EntryId, Candidate>,
    ready: BTreeSet<(Time, EntryId)>,
    hinted: BTreeSet<(Time, EntryId)>,
    /// New announcements, which take up capacity already.
    fresh: usize,
    /// Those that it is our turn to acquire.
    ours: usize,
    held: BTreeMap<EntryId, Hold>,
}

/// Why an announcement need not be asked for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hold {
    until: Time,
    firm: bool,
}

/// How many held entries are remembered: more would only cost a question each.
const HELD_LIMIT: usize = 100_000;

impl Orphans {
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    pub(super) fn fresh(&self) -> usize {
        self.fresh
    }

    pub(super) fn contains(&self, entry: EntryId) -> bool {
        self.candidates.contains_key(&entry)
    }

    /// How many wait for their time that it is our turn to acquire.
    pub(super) fn ours(&self) -> usize {
        self.ours
    }

    pub(super) fn stage(&self, entry: EntryId) -> Option<&Stage> {
        self.candidates.get(&entry).map(|candidate| &candidate.stage)
    }

    /// How many have their payload read at the moment.
    pub(super) fn looking(&self) -> usize {
        self.candidates.len() - self.hinted.len() - self.ready.len()
    }

    pub(super) fn put(&mut self, entry: EntryId, candidate: Candidate) {
        self.take(entry);
        let ready = matches!(candidate.stage, Stage::Ready(..));
        assert!(
            candidate.orphan_since.is_some() || ready,
            "{entry} was handed over with its payload: no look is needed"
        );
        assert!(candidate.source == Source::Mine || !candidate.claimed, "{entry} is claimed by hand, and a rumour");
        assert!(candidate.automatic || !candidate.claimed, "{entry} was claimed by hand: nobody is to be asked again");
        assert!(candidate.automatic || !ready, "{entry} is not acquired without asking, and is not to be offered");
        self.fresh += usize::from(candidate.orphan_since.is_none());
        let new = match &candidate.stage {
            Stage::Hinted(at, _) => self.hinted.insert((*at, entry)),
            Stage::Looking(_) => true,
            Stage::Ready(at, ..) => {
                self.ours += usize::from(candidate.turn == Turn::Ours);
                self.ready.insert((*at, entry))
            }
        };
        assert!(new, "{entry} has a time, and was no candidate");
        self.candidates.insert(entry, candidate);
        self.check_counts();
    }

    pub(super) fn take(&mut self, entry: EntryId) -> Option<Candidate> {
        let candidate = self.candidates.remove(&entry)?;
        self.fresh -= usize::from(candidate.orphan_since.is_none());
        let had_its_time = match &candidate.stage {
            Stage::Hinted(at, _) => self.hinted.remove(&(*at, entry)),
            Stage::Looking(_) => true,
            Stage::Ready(at, ..) => {
                self.ours -= usize::from(candidate.turn == Turn::Ours);
                self.ready.remove(&(*at, entry))
            }
        };
        assert!(had_its_time, "{entry} was a candidate without a time: {:?}", candidate.stage);
        self.check_counts();
        Some(candidate)
    }

    /// Those whose payload is to be read by now, at most `limit`; they count as being read from here on.
    pub(super) fn start_looking(&mut self, limit: usize, now: Time) -> Vec<EntryId> {
        let due = self.hinted.iter().take_while(|(at, _)| *at <= now);
        let entries: Vec<EntryId> = due.take(limit).map(|(_, entry)| *entry).collect();
        for &entry in &entries {
            let mut candidate = self.take(entry).expect("whoever has a time to be looked at is a candidate");
            assert!(matches!(candidate.stage, Stage::Hinted(at, _) if at <= now), "{entry} is not due to be looked at");
            if let Stage::Hinted(_, stream) = candidate.stage {
                candidate.stage = Stage::Looking(stream);
            }
            self.put(entry, candidate);
        }
        assert!(self.looking() >= entries.len(), "{} are being looked at", self.looking());
        entries
    }

    /// When the next payload is to be read.
    pub(super) fn next_look(&self) -> Option<Time> {
        self.hinted.first().map(|(at, _)| *at)
    }

    /// Takes out one that is to be asked for now.
    pub(super) fn take_ready(&mut self, now: Time) -> Option<(EntryId, Candidate)> {
        let &(at, entry) = self.ready.first()?;
        if at > now {
            return None;
        }
        let candidate = self.take(entry).expect("whoever has a time to be asked for is a candidate");
        assert!(matches!(candidate.stage, Stage::Ready(due, ..) if due == at), "{entry} is ready, but not for {at:?}");
        Some((entry, candidate))
    }

    pub(super) fn next_ready(&self) -> Option<Time> {
        self.ready.first().map(|(at, _)| *at)
    }

    /// The entries of all candidates.
    pub(super) fn entries(&self) -> Vec<EntryId> {
        self.candidates.keys().copied().collect()
    }

    /// It has an owner until then, as far as we know: news of it are believed.
    pub(super) fn hold(&mut self, entry: EntryId, until: Time) {
        self.put_hold(entry, Hold { until, firm: false });
    }

    /// It is not to be ours before then, whatever is heard of it.
    pub(super) fn hold_firmly(&mut self, entry: EntryId, until: Time) {
        self.put_hold(entry, Hold { until, firm: true });
    }

    fn put_hold(&mut self, entry: EntryId, hold: Hold) {
        if self.held.len() < HELD_LIMIT {
            self.held.insert(entry, hold);
        }
        assert!(self.held.len() <= HELD_LIMIT, "{} held entries are remembered", self.held.len());
    }

    /// Whether it is known to have an owner still.
    pub(super) fn is_held(&self, entry: EntryId, now: Time) -> bool {
        self.held.get(&entry).is_some_and(|hold| hold.until > now)
    }

    /// Whether it is not to be ours yet.
    pub(super) fn is_held_firmly(&self, entry: EntryId, now: Time) -> bool {
        self.held.get(&entry).is_some_and(|hold| hold.firm && hold.until > now)
    }

    /// Forgets what is past: called now and then, so that the table does not keep what nobody asks about.
    pub(super) fn tidy(&mut self, now: Time) {
        self.held.retain(|_, hold| hold.until > now);
    }

    /// What the sizes of the tables say: after each change of them.
    fn check_counts(&self) {
        let (all, hinted, ready) = (self.candidates.len(), self.hinted.len(), self.ready.len());
        assert!(hinted + ready <= all, "{hinted} hinted at and {ready} ready make more than {all} candidates");
        assert!(self.ours <= ready, "it is our turn to ask for {} of {ready}", self.ours);
        assert!(self.fresh <= self.ours, "{} were handed to us, but it is our turn for {}", self.fresh, self.ours);
    }

    /// Whether the tables agree: goes through all of them.
    pub(super) fn check(&self) {
        let of = |f: fn(&Candidate) -> bool| self.candidates.values().filter(|c| f(c)).count();
        assert_eq!(of(|c| c.orphan_since.is_none()), self.fresh, "what was handed to us has been counted");
        assert_eq!(of(|c| matches!(c.stage, Stage::Looking(_))), self.looking(), "who has no time is being looked at");
        let ours = of(|c| matches!(c.stage, Stage::Ready(..)) && c.turn == Turn::Ours);
        assert_eq!(ours, self.ours, "those whose turn is ours have been counted");
        for (entry, candidate) in &self.candidates {
            let (hinted, ready) = match candidate.stage {
                Stage::Hinted(at, _) => (self.hinted.contains(&(at, *entry)), false),
                Stage::Looking(_) => (false, false),
                Stage::Ready(at, ..) => (false, self.ready.contains(&(at, *entry))),
            };
            let waits = !matches!(candidate.stage, Stage::Looking(_));
            assert!(hinted || ready || !waits, "{entry} waits for a time that is in no queue: {:?}", candidate.stage);
        }
        self.check_counts();
    }

    /// Whether the application waits for one of these.
    pub(super) fn is_any_claimed(&self) -> bool {
        self.candidates.values().any(|candidate| candidate.claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> EntryId {
        EntryId { ms: number, seq: 0 }
    }

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn candidate(stage: Stage, new: bool) -> Candidate {
        let orphan_since = (!new).then_some(Time::ZERO);
        Candidate { orphan_since, claimed: false, automatic: true, source: Source::Mine, turn: Turn::Ours, stage }
    }

    fn ready(at: u64) -> Stage {
        Stage::Ready(ms(at), StreamName::new("s").unwrap(), None)
    }

    #[test]
    fn a_candidate_goes_from_hint_to_question() {
        let mut orphans = Orphans::default();
        for number in [3, 1, 2] {
            orphans.put(entry(number), candidate(Stage::Hinted(Time::ZERO, None), false));
        }
        assert_eq!(orphans.start_looking(2, Time::ZERO), [entry(1), entry(2)]);
        assert_eq!(orphans.stage(entry(1)), Some(&Stage::Looking(None)));
        assert_eq!(orphans.stage(entry(3)), Some(&Stage::Hinted(Time::ZERO, None)));
        assert!(orphans.contains(entry(1)) && orphans.contains(entry(3)) && !orphans.contains(entry(4)));
        assert_eq!((orphans.next_look(), orphans.looking()), (Some(Time::ZERO), 2));
        orphans.check();
        orphans.put(entry(1), candidate(ready(20), false));
        orphans.put(entry(2), candidate(ready(10), false));
        assert_eq!((orphans.next_ready(), orphans.ours(), orphans.len()), (Some(ms(10)), 2, 3));
        assert_eq!(orphans.take_ready(ms(9)), None);
        assert_eq!(orphans.take_ready(ms(20)).map(|(entry, _)| entry), Some(entry(2)), "the first to be due");
        assert_eq!(orphans.take_ready(ms(20)).map(|(entry, _)| entry), Some(entry(1)));
        assert_eq!(orphans.take_ready(ms(99)), None);
        orphans.check();
    }

    #[test]
    fn new_announcements_are_counted_apart() {
        let mut orphans = Orphans::default();
        orphans.put(entry(1), candidate(ready(1), true));
        orphans.put(entry(2), candidate(ready(1), false));
        assert_eq!(orphans.fresh(), 1);
        orphans.put(entry(1), candidate(ready(2), false));
        assert_eq!((orphans.fresh(), orphans.len()), (0, 2));
        orphans.check();
        assert!(orphans.take(entry(2)).is_some() && orphans.take(entry(2)).is_none());
        assert_eq!(orphans.entries(), [entry(1)]);
    }

    #[test]
    fn what_is_held() {
        let mut orphans = Orphans::default();
        orphans.hold(entry(1), ms(10));
        orphans.hold_firmly(entry(2), ms(10));
        for (number, now, held, firmly) in [
            (1, 9, true, false),
            (1, 10, false, false),
            (2, 9, true, true),
            (2, 10, false, false),
            (3, 0, false, false),
        ] {
            let got = (orphans.is_held(entry(number), ms(now)), orphans.is_held_firmly(entry(number), ms(now)));
            assert_eq!(got, (held, firmly), "{number} at {now}");
        }
        orphans.tidy(ms(10));
        assert_eq!(orphans, Orphans::default());
    }

    #[test]
    fn the_memory_of_what_is_held_has_a_limit() {
        let mut orphans = Orphans::default();
        for number in 0..HELD_LIMIT as u64 + 5 {
            orphans.hold(entry(number), ms(10));
        }
        assert_eq!(orphans.held.len(), HELD_LIMIT);
    }
}
