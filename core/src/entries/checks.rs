//! What must always hold, whatever was told in whatever order: looked at after every event, in debug builds only, since
//! it walks everything.

use std::collections::BTreeSet;

use super::{
    MENDED, Machine, OwnedId,
    aside::Asides,
    asked::{Asked, Kind, Question},
    bound::Bound,
    commit::{CALLS, Commits},
    fetch::{ENTRIES, STREAMS},
    open::Opening,
    read::{LOOK, Place, Reader},
    server::Preparation,
    stream::Stream,
    wait::Busy,
};
use crate::link::Link;

/// A machine that has more streams than this is not looked at after every event: tests of many would take hours.
const MOST: usize = 100;

impl Machine {
    pub(super) fn check(&self) {
        if self.stopped() {
            return self.check_stopped();
        }
        if self.streams.len() > MOST {
            return;
        }
        self.check_calls();
        self.check_lines();
        for (id, stream) in &self.streams {
            self.check_opening(*id, stream);
            self.check_commits(*id, stream, &stream.commits);
            self.check_asides(*id, stream, &stream.asides);
            if let Some(reader) = &stream.reader {
                self.check_reader(*id, stream, reader);
            }
        }
    }

    /// Whoever waited was told, and nothing is expected any more.
    fn check_stopped(&self) {
        assert!(self.wake.is_none(), "who has stopped is to be woken");
        assert!(self.calls.is_empty(), "who has stopped expects answers");
        assert!(self.streams.values().all(|stream| stream.commits.is_settled()), "somebody waits for ever");
    }

    /// Each call that is under way is known to whoever asked, and the other way round.
    fn check_calls(&self) {
        let count = |kind: Kind| self.calls.values().filter(|asked| asked.question.kind() == kind).count();
        assert_eq!(self.opening.asked, count(Kind::Open) == 1, "a call that opens");
        assert!(count(Kind::Open) <= 1, "one call opens at a time");
        assert_eq!(self.asides.asked, count(Kind::SetAside) == 1, "a call that sets aside");
        assert!(count(Kind::SetAside) <= 1, "one call sets aside at a time");
        assert_eq!(self.committing.calls, count(Kind::Commit), "calls that commit");
        assert!(self.committing.calls <= CALLS, "calls that commit at once");
        let asked = self.server.preparation == Preparation::Asked;
        assert!(!asked || count(Kind::Prepare) >= 1, "the server was asked, and answers nothing");
        let known = self.server.is_prepared();
        assert!(!known || self.links.is_up(Link::Commands), "a server is known that is not there");
        assert!(!self.links.is_up(Link::Subscriber), "who reads entries has no subscriber");
        let over_reader = self.calls.values().filter(|asked| asked.question.kind().link() == Link::Reader).count();
        assert_eq!(over_reader, usize::from(self.reading.waiting.is_busy()), "calls over the reader's connection");
        let waits = matches!(self.reading.waiting.busy, Busy::Wait(_));
        assert_eq!(waits, count(Kind::Wait) == 1, "a wait is known as one");
        if let Busy::Wait(waiting) = self.reading.waiting.busy {
            assert_eq!(waiting.number, self.reading.waiting.waits, "the wait that is under way is the last");
            let soon = self.now + self.config.call_timeout;
            assert!(waiting.wake_at.is_none_or(|at| at <= soon), "a wait cannot be ended: {waiting:?}");
        }
        self.server.gates.check(self.now, self.config.retry_backoff_limit);
        for (id, asked) in &self.calls {
            assert!(id.0 <= self.last_call, "{id:?} was never issued");
            let generation = self.links.generation(asked.question.kind().link());
            assert!(asked.generation <= generation, "{id:?} went over a connection that is to come");
            self.check_call(asked);
        }
    }

    /// What a call is about is of a size that Redis and the connection stand.
    fn check_call(&self, asked: &Asked) {
        match &asked.question {
            Question::Open(about) => assert!(!about.is_empty(), "an empty call"),
            Question::Fetch(about) => {
                assert!((1..=STREAMS).contains(&about.len()), "{} streams are fetched", about.len());
                let entries: usize = about.iter().map(|fetching| fetching.count).sum();
                assert!(entries <= ENTRIES, "{entries} entries are fetched");
                assert!(about.iter().all(|fetching| fetching.count >= 1), "no entries are fetched");
                let rounds = self.reading.rounds;
                assert!(about.iter().all(|fetching| fetching.round <= rounds), "a round that is to come");
            }
            Question::Wait(about) => assert!(!about.is_empty(), "nothing is waited for"),
            Question::Wake(number) => assert!(*number <= self.reading.waiting.waits, "a wait that is to come"),
            Question::Commit(about) => {
                assert!((1..=self.config.commit_batch).contains(&about.len()), "{} commits in a call", about.len());
            }
            Question::SetAside(about) => assert!(!about.is_empty(), "an empty call"),
            Question::Prepare | Question::Identify => {}
        }
    }

    /// Each line holds those who say that they stand in it, and nobody else.
    fn check_lines(&self) {
        let streams = || self.streams.values();
        let readers = || streams().filter_map(|stream| stream.reader.as_ref());
        let at = |is: fn(&Place) -> bool| readers().filter(|reader| is(&reader.place)).count();
        let state = &self.reading;
        assert_eq!(state.readers(), readers().count(), "readers");
        assert_eq!(state.buffered(), readers().map(|reader| reader.out).sum::<usize>(), "entries that lie there");
        assert!(state.buffered() <= self.config.prefetch_total + state.readers(), "too many entries lie there");
        assert_eq!(state.ready.len(), at(|place| matches!(place, Place::Ready(_))), "those that can be read");
        assert_eq!(state.starved.len(), at(|place| matches!(place, Place::Starved(_))), "those that wait for room");
        let tail = at(|place| matches!(place, Place::Tail(_)));
        assert_eq!(state.tail.len(), tail, "those at their tail");
        assert_eq!(state.looks.len(), tail, "those at their tail that are looked at");
        let due = streams().filter(|stream| stream.opening == Opening::Due).count();
        assert_eq!(self.opening.due.len(), due, "those that are to be opened");
        let commits = streams().filter(|stream| stream.commits.turn.is_some()).count();
        assert_eq!(self.committing.line.len(), commits, "those that wait to commit");
        let asides = streams().filter(|stream| stream.asides.turn.is_some()).count();
        assert_eq!(self.asides.line.len(), asides, "those that wait to set aside");
        let unsettled = &self.committing.unsettled;
        assert!(unsettled.iter().all(|id| self.streams.contains_key(id)), "what is lost has nothing outstanding");
        let rounds: BTreeSet<u64> = readers().map(|reader| reader.round).collect();
        assert_eq!(rounds.len(), state.readers(), "each reader has a round of its own");
        let again = self.again.last().map(|(at, _)| *at);
        assert!(again.is_none_or(|at| at <= self.now + MENDED), "what cannot be used is left for ever");
        let look = state.looks.last().map(|(at, _)| *at);
        assert!(look.is_none_or(|at| at <= self.now + LOOK * 2), "nobody looks at those at their tail");
        assert!(state.bound.most() <= Bound::<ENTRIES>::default().most(), "more than the most in one call");
    }

    fn check_opening(&self, id: OwnedId, stream: &Stream) {
        assert_eq!(stream.owned.id, id, "each goes by its own name");
        match stream.opening {
            Opening::Due => assert!(self.opening.due.contains(&id), "{id:?} is never opened"),
            Opening::Asked => {
                let asked = self.calls.values().any(|asked| match &asked.question {
                    Question::Open(about) => about.iter().any(|(other, _)| *other == id),
                    _ => false,
                });
                assert!(asked, "{id:?} was asked for, and nothing is to come");
            }
            Opening::Broken(at) => assert!(self.again.contains(&(at, id)), "{id:?} is not tried again"),
            Opening::Done => assert!(stream.known, "{id:?} is open, and nothing is known"),
        }
        if !stream.known {
            assert!(stream.record.is_none(), "{id:?}: a record that nobody has read");
            assert!(stream.commits.sent.is_none(), "{id:?}: a commit from nobody knows where");
            assert!(stream.commits.turn.is_none(), "{id:?} waits to commit from nobody knows where");
        }
    }

    fn check_reader(&self, id: OwnedId, stream: &Stream, reader: &Reader) {
        let wants = self.is_running() && stream.wants_entries(self.now);
        assert!(reader.round <= self.reading.rounds, "{id:?}: a round that is to come");
        match reader.place {
            Place::Ready(turn) => assert_eq!(self.reading.ready.at(turn), Some(id), "another has its turn"),
            Place::Starved(turn) => assert_eq!(self.reading.starved.at(turn), Some(id), "another has its turn"),
            Place::Tail(at) => {
                assert!(self.reading.tail.contains(&id), "{id:?} is at its tail, and nobody waits for it");
                assert!(self.reading.looks.contains(&(at, id)), "{id:?} is at its tail, and nobody looks at it");
            }
            Place::Nowhere => assert!(!wants || self.is_being_fetched(id), "{id:?} is read by nobody"),
        }
        assert!(wants || reader.place == Place::Nowhere, "{id:?} stands in line, and wants nothing");
        let at_tail = matches!(reader.place, Place::Tail(_));
        assert!(!at_tail || !reader.behind, "{id:?} is behind, and waits at its tail");
        assert!(!at_tail || !reader.look, "{id:?} wants to be told, and nobody looks");
        if let Some(progress) = &reader.progress {
            progress.check();
            assert!(stream.known, "{id:?} is read from nobody knows where");
            assert!(progress.after() >= reader.floor, "{id:?} is read before where it began");
        } else {
            assert!(reader.out == 0, "{id:?} has entries, and has not begun");
            let waits = stream.fenced || stream.opening != Opening::Done || !stream.commits.is_settled();
            assert!(waits, "{id:?} could begin, and does not");
        }
        let until = reader.broken.filter(|until| *until > self.now);
        assert!(until.is_none_or(|until| self.again.contains(&(until, id))), "{id:?} is broken for ever");
    }

    fn check_commits(&self, id: OwnedId, stream: &Stream, commits: &Commits) {
        let calls = self.calls.values().filter(|asked| match &asked.question {
            Question::Commit(about) => about.contains(&id),
            _ => false,
        });
        let under_way = commits.sent.as_ref().is_some_and(|sent| sent.under_way);
        assert_eq!(calls.count(), usize::from(under_way), "{id:?}: one commit is under way at a time, and known");
        if let Some(turn) = commits.turn {
            assert_eq!(self.committing.line.at(turn), Some(id), "another has its turn");
            assert!(!under_way, "{id:?} waits for its turn while its commit is under way");
            assert!(!stream.fenced, "{id:?} is another's, and waits to commit");
        }
        let is_later = commits.again_at > self.now;
        assert!(!is_later || self.again.contains(&(commits.again_at, id)), "{id:?} is not committed again");
        if let Some(sent) = &commits.sent {
            let record = stream.record.clone().unwrap_or_default();
            assert_eq!(sent.item.from, (record.position, record.mark), "{id:?}: from something else than is known");
            assert!(sent.item.to.position >= record.position, "{id:?}: a position goes back");
            let mark = sent.item.to.mark.filter(|_| !sent.item.writes.is_empty());
            assert!(mark.is_none_or(|mark| mark.attempt == stream.owned.attempt), "{id:?}: writes of another");
            assert!(mark.is_none_or(|mark| mark.number <= commits.number), "{id:?}: a mark that was not counted");
            let marked = sent.item.writes.is_empty() || mark.is_some();
            assert!(marked, "{id:?}: writes that cannot be told from later ones");
            assert!(sent.under_way || commits.turn.is_some() || is_later, "{id:?}: its commit is forgotten");
            assert!(sent.under_way || !stream.fenced, "{id:?} is another's, and is to be committed");
        } else {
            let waits = !stream.known || stream.fenced || stream.is_held() || commits.turn.is_some();
            assert!(waits || commits.is_settled(), "{id:?}: a wish is forgotten");
        }
        let settled = commits.is_settled() && stream.asides.first().is_none();
        assert!(settled || self.committing.unsettled.contains(&id), "{id:?} has something outstanding, untold");
    }

    fn check_asides(&self, id: OwnedId, stream: &Stream, asides: &Asides) {
        if let Some(turn) = asides.turn {
            assert_eq!(self.asides.line.at(turn), Some(id), "another has its turn");
        }
        if stream.fenced {
            assert!(asides.first().is_none(), "{id:?} is another's, and so are its entries");
            assert!(asides.turn.is_none(), "{id:?} is another's, and waits to set aside");
        }
        let is_later = self.again.contains(&(asides.again_at, id));
        assert!(asides.again_at <= self.now || is_later, "{id:?}: it is not tried again");
        let asked = self.calls.values().any(|asked| match &asked.question {
            Question::SetAside(about) => about.iter().any(|(other, _)| *other == id),
            _ => false,
        });
        let waits = asides.turn.is_some() || asked || is_later;
        assert!(asides.first().is_none() || waits, "{id:?}: an entry is forgotten");
    }
}
