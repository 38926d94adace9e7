//! What must always hold, whatever was told in whatever order: looked at after every event, in debug builds only, since
//! it walks everything.

use std::collections::BTreeSet;

use super::{
    Fate, Machine, Phase, RunId,
    asked::{Asked, Kind, Question},
    call::{Hold, Reason},
    held::{Counts, Cut, Held, Place, State},
    outcome::LONGEST_PAUSE,
    own::Round,
    reclaim::ROLE,
    refresh::AT_ONCE,
    runs::SUSPECT_PAUSE,
    server::Preparation,
    settle::BURIALS,
    stop::{Leaving, Stop},
};
use crate::{id::EntryId, link::Link};

/// A machine that holds more messages than this is not looked at after every event: tests of many would take hours.
const MOST: usize = 2_000;

/// Which messages stand in which queue, or are on their way there.
struct Told {
    waiting: BTreeSet<EntryId>,
    behind: BTreeSet<EntryId>,
    later: BTreeSet<EntryId>,
    refreshing: BTreeSet<EntryId>,
    checking: BTreeSet<EntryId>,
    marking: BTreeSet<EntryId>,
    parking: BTreeSet<EntryId>,
    burying: BTreeSet<EntryId>,
}

impl Machine {
    pub(super) fn check(&self) {
        assert!(self.settled.is_empty(), "what became of messages is told with the event that brought it");
        if self.stopped() {
            return self.check_stopped();
        }
        if self.holds.len() > MOST {
            return;
        }
        self.check_calls();
        self.server.gates.check(self.now, self.config.retry_backoff_limit);
        self.check_counts();
        self.check_runs();
        self.check_settling();
        self.check_states();
        self.check_own();
        self.check_server();
        self.check_times();
        if let Phase::Stopping(stop) = &self.phase {
            self.check_stop(stop);
        }
        let told = self.told();
        for (entry, held) in self.holds.iter() {
            assert_eq!(held.hold.entry, entry, "each goes by its own name");
            self.check_held(entry, held);
            self.check_turn(entry, held, &told);
        }
    }

    /// Nothing is expected any more.
    fn check_stopped(&self) {
        assert!(self.wake.is_none(), "who has stopped is to be woken");
        assert!(self.calls.is_empty(), "who has stopped expects answers");
    }

    /// Each call that is under way is known to whoever asked, and the other way round.
    fn check_calls(&self) {
        let count = |kind: Kind| self.calls.values().filter(|asked| asked.question.kind() == kind).count();
        let one = |known: bool, kind: Kind| assert_eq!(usize::from(known), count(kind), "{kind:?} under way");
        one(self.reading.read.is_some(), Kind::Read);
        one(self.reading.due.is_some(), Kind::Due);
        one(self.own.round == Round::Listing, Kind::Mine);
        one(self.own.is_fetching(), Kind::Fetch);
        one(self.rates.asking, Kind::Permits);
        one(self.reclaiming.asked, Kind::Reclaim);
        one(self.reclaiming.sweeping, Kind::Sweep);
        one(matches!(self.phase, Phase::Stopping(stop) if stop.leaving == Leaving::Asked), Kind::Leave);
        assert_eq!(self.refreshes.under_way, count(Kind::Refresh), "refreshes under way");
        assert!(self.refreshes.under_way <= AT_ONCE, "refreshes at once");
        for (id, asked) in &self.calls {
            assert!(id.0 <= self.last_call, "{id:?} was never issued");
            assert!(asked.issued <= self.now, "{id:?} is to be issued");
            let generation = self.links.generation(asked.question.link());
            assert!(asked.generation <= generation, "{id:?} went over a connection that is to come");
            self.check_call(asked);
        }
    }

    /// What a call is about is of a size that Redis and the connection stand.
    fn check_call(&self, asked: &Asked) {
        match &asked.question {
            Question::Read(count) => assert_eq!(self.reading.read, Some(*count), "room is kept for a read"),
            Question::Due(count) => assert_eq!(self.reading.due, Some(*count), "room is kept for what is due"),
            Question::Fetch(count) => assert_eq!(self.own.reserved(), *count, "room is kept for what is fetched"),
            Question::Mine { count, .. } => assert_eq!(*count, self.config.batch, "a page is a batch"),
            Question::Permits(count) => assert!(*count >= 1, "no permits"),
            Question::Ack(entries) => {
                assert!((1..=self.config.batch).contains(&entries.len()), "{} are acknowledged", entries.len());
            }
            Question::Bury(holds) => assert!((1..=BURIALS).contains(&holds.len()), "{} are buried", holds.len()),
            Question::Mark(holds) | Question::Check(holds) | Question::Refresh(holds) | Question::Park(holds) => {
                assert!((1..=1_000).contains(&holds.len()), "{} {} in one call", holds.len(), asked.name);
            }
            Question::Prepare | Question::Reclaim | Question::Sweep | Question::Leave => {}
        }
    }

    /// What is counted is what is there, and no more than may be.
    fn check_counts(&self) {
        let count = |place| self.holds.iter().filter(|(_, held)| held.state().place() == place).count();
        let Counts { waiting, behind, slots } = self.holds.counts;
        assert_eq!(waiting, count(Place::Waits), "those that wait");
        assert_eq!(behind, count(Place::Behind), "those that wait for their ordering key");
        assert_eq!(slots, count(Place::Slot), "those that have a slot");
        assert!(slots <= self.config.concurrency, "more slots than there are");
        let most = self.most_held() + self.config.batch;
        assert!(self.holds.len() <= most, "{} are held", self.holds.len());
        let reserved = self.reading.reserved() + self.own.reserved();
        assert!(self.holds.len() + reserved <= most, "{reserved} are to come, {} are held", self.holds.len());
        if !self.is_running() {
            assert_eq!(waiting, 0, "who stops lets messages wait");
            assert_eq!(behind, 0, "who stops lets messages wait for each other");
            assert_eq!(slots, self.runs.under_way(), "who stops lets messages begin");
        }
    }

    /// Each run has its message, and each message that runs its run.
    fn check_runs(&self) {
        let running = |held: &Held| match held.state() {
            State::Running(running) => Some(running.run),
            _ => None,
        };
        let count = self.holds.iter().filter(|(_, held)| running(held).is_some()).count();
        assert_eq!(count, self.runs.under_way(), "runs and running messages");
        for (run, live) in self.runs.live() {
            assert_eq!(self.holds.get(live.entry).and_then(running), Some(run), "a run without its message");
            assert!(live.started <= self.now, "{run:?} is to start");
            assert!(run.0 <= self.runs.last, "{run:?} was never started");
            let came = self.holds.get(live.entry).map(|held| held.came);
            assert!(came.is_some_and(|came| came <= live.started), "{run:?} started before its message came");
        }
        let started = self.runs.live().map(|(_, live)| live.started);
        assert!(started.is_sorted(), "runs start one after the other, so that the first is the longest");
        let last = RunId(self.runs.last);
        assert!(self.runs.timed_out <= last, "a run that is to come is over its time");
        assert!(self.runs.hanging <= last, "a run that is to come hangs");
        let owners = self.holds.iter().filter(|(_, held)| held.key.is_some()).count();
        assert_eq!(owners, self.runs.keys.len(), "each key has one owner");
        let suspect = self.runs.suspect.map(|entry| self.holds.get(entry));
        assert!(suspect.is_none_or(|held| held.is_some_and(Held::is_suspect)), "it is the turn of no suspect");
        let stuck = suspect.flatten().is_some_and(Held::is_behind);
        assert!(!stuck, "it is the turn of a suspect that waits for its key, which another suspect may have");
        let turns = self.runs.suspects.is_empty() || self.runs.suspect.is_some();
        assert!(turns, "suspects wait for nobody's end");
        let at_once = self.holds.iter().filter(|(_, held)| held.has_slot() && held.is_suspect()).count();
        assert!(at_once <= 1, "suspects run one at a time");
    }

    /// What Redis is still to be told is owed, once.
    fn check_settling(&self) {
        let state = &self.settling;
        let acks = |(entry, held): &(EntryId, &Held)| {
            matches!(held.state(), State::Acking(_)) && (held.sifted || self.is_acking(*entry))
        };
        let acking = self.holds.iter().filter(acks).count();
        let asked = |question: &Question| match question {
            Question::Ack(entries) => entries.len(),
            _ => 0,
        };
        let owed = state.acks.len() + self.calls.values().map(|call| asked(&call.question)).sum::<usize>();
        assert_eq!(acking, owed, "acknowledgements that are owed");
        let distinct: BTreeSet<EntryId> = state.acks.iter().copied().collect();
        assert_eq!(distinct.len(), state.acks.len(), "each is acknowledged once");
        let is_acking = |entry: &EntryId| matches!(self.holds.get(*entry).map(Held::state), Some(State::Acking(_)));
        assert!(state.acks.iter().all(is_acking), "what did not succeed is acknowledged");
        let sifted = |entry: &EntryId| self.holds.get(*entry).is_some_and(|held| held.sifted);
        assert!(state.acks.iter().all(sifted), "what another server handed out is acknowledged");
        assert!(state.acks_since <= self.now, "acknowledgements wait since an instant that is to come");
        assert!(!state.hurry || !state.acks.is_empty(), "nothing is to be told, in a hurry");
        for (entry, stray) in &state.strays {
            assert_eq!(stray.hold.entry, *entry, "each goes by its own name");
            let asked = self
                .calls
                .values()
                .any(|call| matches!(&call.question, Question::Park(holds) if holds.contains(&stray.hold)));
            let twice = self.holds.get(*entry).filter(|held| held.hold == stray.hold);
            let is_over = |held: &Held| matches!(held.state(), State::Running(_) | State::Acking(_));
            assert!(twice.is_none_or(is_over), "{entry} is given back, and held all the same");
            assert!(!stray.asked || asked, "{entry} is given back, and nobody is asked to");
        }
    }

    /// What is not wanted in the first place.
    fn check_states(&self) {
        if self.config.no_ack {
            let state = &self.settling;
            assert!(state.acks.is_empty() && state.marks.is_empty(), "there is nothing to be told");
            assert!(state.parks.is_empty() && state.buries.is_empty(), "there is nobody to hand it on");
            assert!(state.strays.is_empty() && state.later.is_empty(), "there is nobody to give it back to");
            assert!(self.refreshes.queue.is_empty(), "there is nothing to be kept");
            assert!(!self.own.wanted, "there is no own list");
            assert!(self.own.round == Round::Over, "there is no own list to be looked at");
            use Kind::{Check, Due, Leave, Permits, Prepare, Read, Sweep};
            let kinds = [Check, Due, Leave, Permits, Prepare, Read, Sweep];
            assert!(self.calls.values().all(|asked| kinds.contains(&asked.question.kind())), "nothing is held");
        }
        assert!(!self.rates.asking || self.rates.permits.is_some(), "permits are asked for that nobody needs");
        assert_eq!(self.rates.permits.is_some(), self.config.group_rate.is_some(), "permits are for the group's rate");
        assert_eq!(self.rates.bucket.is_some(), self.config.rate.is_some(), "a bucket is for a rate");
        assert!(self.rates.bucket.as_ref().is_none_or(|bucket| bucket.is_sound()), "more than a full bucket");
        assert!(self.runs.keys.is_empty() || self.config.ordered_by.is_some(), "nothing is ordered");
        assert!(self.runs.checks.is_empty() || self.config.processed.is_some(), "nothing is remembered");
    }

    /// The own list is looked at to its end.
    fn check_own(&self) {
        let (state, goes_on) = (&self.own, self.own.round != Round::Over);
        assert!(!state.urgent || state.wanted || goes_on, "everything waits for the own list, and nobody looks at it");
        assert!(state.most.is_none_or(|most| most >= 1), "nothing can be fetched any more");
        match &state.round {
            Round::Missing { entries, awaited, next } => {
                assert!(!entries.is_empty(), "nothing is missing");
                assert!(entries.is_sorted_by(|a, b| a.entry < b.entry), "a page is in order");
                assert!(next.is_none_or(|next| entries.last().is_some_and(|last| last.entry <= next)), "a page back");
                assert!(awaited.iter().all(|id| self.calls.contains_key(id)), "an answer is awaited that was given");
            }
            Round::Fetching { count, first, rest, .. } => {
                assert!(*count >= 1, "nothing is fetched");
                assert!(rest.first().is_none_or(|next| next.entry > *first), "what is fetched comes first");
            }
            Round::Over | Round::Listing => {}
        }
    }

    fn check_server(&self) {
        let state = &self.server;
        let prepares = self.calls.values().any(|asked| asked.question == Question::Prepare);
        assert!(state.preparation != Preparation::Asked || prepares, "the server was asked, and answers nothing");
        assert!(!state.is_prepared() || self.links.is_up(Link::Commands), "a server is prepared that is not there");
        assert!(!state.is_prepared() || state.identity.is_some(), "nobody knows which server is prepared");
        assert!(!state.is_proven() || state.identity.is_some(), "messages were read of an unknown server");
        let asked = state.preparation == Preparation::Asked;
        assert!(!asked || self.links.is_up(Link::Commands), "a server was asked that is not there");
        assert!(!self.links.is_up(Link::Subscriber), "who works on messages has no subscriber");
        assert!(!state.lost || !state.is_prepared(), "the group is gone, and everything goes on");
        assert!(state.identity.is_some() || self.holds.is_empty(), "messages of an unknown server");
        let clock = self.reclaiming.clock;
        assert!(clock.is_none_or(|(earliest, latest)| earliest < latest), "a clock is seen within bounds");
        let role = self.reclaiming.reclaimer_until;
        assert!(role.is_none() || !self.config.no_ack, "a reclaimer of nothing");
        assert!(role.is_none() || clock.is_some(), "a reclaimer that no server named");
    }

    /// Nothing is put off for longer than it may be.
    fn check_times(&self) {
        let (now, s) = (self.now, &self.config);
        assert!(self.wake.is_some_and(|at| at <= now + s.reclaim_idle), "nobody wakes it: {:?}", self.wake);
        assert!(self.reading.due_at <= now + s.due_interval, "what is due waits");
        assert!(self.refreshes.next_at <= now + s.refresh_interval(), "what is held is not kept");
        assert!(self.reclaiming.trusted_from <= now + s.reclaim_hold(), "nothing is reclaimed any more");
        let longest = s.reclaim_interval.max(ROLE) + s.reclaim_interval / 4;
        assert!(self.reclaiming.at <= now + longest, "nobody looks for what the dead have left");
        assert!(self.reclaiming.sweep_at <= now + s.sweep_interval.max(ROLE), "nobody clears away");
        assert!(self.reclaiming.reclaimer_until.is_none_or(|until| until <= now + ROLE), "a role lasts for ever");
        let again = self.settling.later.last().map(|(at, _)| *at);
        assert!(again.is_none_or(|at| at <= now + s.retry_backoff_limit), "what cannot be judged is left for ever");
        let too_large = self.own.too_large.values().max();
        assert!(too_large.is_none_or(|until| *until <= now + s.reclaim_idle * 2), "what is too large is left for ever");
    }

    /// How far a stop has come.
    fn check_stop(&self, stop: &Stop) {
        assert_eq!(stop.cancelled, stop.deadline <= self.now, "runs are cancelled at the deadline");
        assert!(!stop.cancelled || self.all_are_told_to_stop(), "a run outlives the deadline");
        assert!(stop.leaving != Leaving::Over, "it has taken leave, and goes on");
        assert!(stop.leaving != Leaving::Asked || self.holds.is_empty(), "leave is taken with messages in hand");
        assert!(stop.leaving != Leaving::Asked || !self.reading.is_asking(), "leave is taken, and more is to come");
        assert_eq!(self.startable(), 0, "who stops would start a run");
    }

    /// What is known of a message that is held.
    fn check_held(&self, entry: EntryId, held: &Held) {
        assert!(held.came <= self.now, "{entry} is to come");
        assert!(held.confirmed <= self.now, "{entry} is to be confirmed");
        assert!(held.sifted || self.server.is_sifting(), "{entry} is not known to this server, and more is asked for");
        let asked = held.sifted || held.refreshing || held.settles();
        assert!(asked, "{entry} is not known to this server, and nobody asks");
        assert!(!held.settles() || held.key.is_none(), "{entry} has ended, and occupies its ordering key");
        assert!(!held.is_behind() || held.key.is_none(), "{entry} waits for the key that it occupies");
        let known = held.key.as_ref().is_none_or(|key| self.runs.keys.contains_key(key));
        assert!(known, "{entry} occupies an ordering key, and nobody knows");
        assert!(held.processed.is_none() || self.config.processed.is_some(), "{entry} is remembered by nobody");
        let runs_on = !matches!(held.state(), State::Acking(_)) || held.fields.is_empty();
        assert!(runs_on, "{entry} has ended well, and its payload is kept");
        if self.config.no_ack {
            assert!(!held.settles(), "{entry} is nobody's already, and is to be settled");
            assert!(*held.state() != State::Doubted, "{entry} is nobody's already, and is doubted");
            assert!(!held.refreshing, "{entry} is nobody's already, and is refreshed");
        }
        if held.has_slot() {
            let name = self.config.ordered_by.as_deref();
            let key = name.and_then(|name| held.field(name));
            assert_eq!(held.key.is_some(), key.is_some(), "{entry} runs without its ordering key");
            let turn = !held.is_suspect() || self.runs.suspect == Some(entry);
            assert!(turn, "{entry} is a suspect, and runs out of turn");
        }
        match held.state() {
            State::Behind => assert!(self.config.ordered_by.is_some(), "{entry} waits for a key, and there are none"),
            State::Checking => assert!(held.processed.is_some(), "{entry} is looked up under no key"),
            State::Marking => assert!(held.crashed() >= 1, "{entry} has crashed nobody, and is marked"),
            State::Running(running) => {
                assert!(self.runs.is_live(running.run), "{entry} runs, and its run has ended");
                assert_eq!(running.stage, held.stage(), "{entry}: something else was called for it");
                let stops = running.cut != Cut::Cancelled || !self.is_running();
                assert!(stops, "{entry} was cancelled, and nobody stops");
                let timed = running.cut != Cut::TimedOut || self.config.timeout.is_some();
                assert!(timed, "{entry} is over a time that it does not have");
            }
            State::Parking(parking) => {
                assert!(parking.delay <= LONGEST_PAUSE, "{entry} is put aside for ever");
                let soon = parking.failure.is_some() || parking.delay <= SUSPECT_PAUSE;
                assert!(soon, "{entry} did not fail, and has to wait");
            }
            State::Dying(dying) => {
                let told = dying.error.is_none() || dying.reason == Reason::Failed;
                assert!(told, "{entry} crashed, and says why");
            }
            State::Acking(fate) => {
                let over = matches!(fate, Fate::Acked | Fate::Dropped | Fate::Duplicate | Fate::Lost);
                assert!(over, "{entry} is acknowledged as {fate:?}");
            }
            State::Burying(_) | State::Waiting | State::Doubted => {}
        }
    }

    /// Whatever is held stands where its turn comes: nothing is forgotten.
    fn check_turn(&self, entry: EntryId, held: &Held, told: &Told) {
        let is_later = told.later.contains(&entry);
        assert!(!held.refreshing || told.refreshing.contains(&entry), "{entry} is not refreshed");
        match held.state() {
            State::Waiting => assert!(is_later || told.waiting.contains(&entry), "{entry} never runs"),
            State::Doubted => assert!(is_later || held.refreshing, "{entry} is never confirmed"),
            State::Behind => assert!(told.behind.contains(&entry), "{entry} waits for no key"),
            State::Checking => assert!(told.checking.contains(&entry), "{entry} is never checked"),
            State::Marking => assert!(told.marking.contains(&entry), "{entry} is never marked"),
            State::Dying(_) => assert!(is_later || told.marking.contains(&entry), "{entry} never dies"),
            State::Parking(_) => assert!(is_later || told.parking.contains(&entry), "{entry} is never put aside"),
            State::Burying(_) => assert!(is_later || told.burying.contains(&entry), "{entry} is never buried"),
            State::Running(_) | State::Acking(_) => {}
        }
    }

    fn told(&self) -> Told {
        let (runs, settling) = (&self.runs, &self.settling);
        let with = |queue: &std::collections::VecDeque<EntryId>, kind: Kind| -> BTreeSet<EntryId> {
            let about = |asked: &Asked| -> Vec<Hold> {
                match &asked.question {
                    Question::Mark(holds) | Question::Check(holds) | Question::Refresh(holds) => holds.clone(),
                    Question::Park(holds) | Question::Bury(holds) => holds.clone(),
                    _ => Vec::new(),
                }
            };
            let calls = self.calls.values().filter(|asked| asked.question.kind() == kind);
            let held = |hold: &Hold| self.holds.get(hold.entry).is_some_and(|held| held.hold == *hold);
            let asked = calls.flat_map(about).filter(held).map(|hold| hold.entry);
            queue.iter().copied().chain(asked).collect()
        };
        Told {
            waiting: runs.due.iter().chain(&runs.new).chain(&runs.suspects).copied().collect(),
            behind: runs.keys.values().flatten().copied().collect(),
            later: settling.later.iter().map(|(_, entry)| *entry).collect(),
            refreshing: with(&self.refreshes.queue, Kind::Refresh),
            checking: with(&runs.checks, Kind::Check),
            marking: with(&settling.marks, Kind::Mark),
            parking: with(&settling.parks, Kind::Park),
            burying: with(&settling.buries, Kind::Bury),
        }
    }
}
