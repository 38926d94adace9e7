//! Committing: who wants what written, and when it is sent. One commit of a stream is under way at a time; those of many
//! streams go in one call.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Machine, OwnedId, Ticket,
    asked::{Kind, Question},
    call::{Call, CommitItem, Mark, Record, Write},
    event::{Commit, CommitEnd},
    line::{Line, Turn},
    open::is_blank,
    stream::Stream,
};
use crate::{id::EntryId, time::Time};

/// How many calls are under way at once: while one is answered, the next is executed.
pub(super) const CALLS: usize = 2;
/// How many of the application's own writes go into one call, about: a script holds up everybody else.
const WRITES: usize = 1_000;

/// Whose commits are to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) line: Line,
    pub(super) calls: usize,
    /// Those of which something may be outstanding, commits or entries to set aside.
    pub(super) unsettled: BTreeSet<OwnedId>,
}

/// The commits of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Commits {
    wishes: VecDeque<Wish>,
    pub(super) sent: Option<Sent>,
    pub(super) turn: Option<Turn>,
    /// Of the last commit with writes. None is used twice, sent or not: a late copy of one would be taken for another.
    pub(super) number: u64,
    /// How often Redis has forgotten commits of this ownership.
    pub(super) rollbacks: u32,
    /// There was no lease: not before this.
    pub(super) again_at: Time,
}

/// What the application wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wish {
    to: Option<EntryId>,
    writes: Arc<[Write]>,
    tickets: Vec<Ticket>,
}

impl Wish {
    /// It changes nothing, and is answered once no entry waits to be set aside.
    fn only_waits(&self) -> bool {
        self.to.is_none() && self.writes.is_empty()
    }

    /// Whether it may not be made before this entry is set aside: should we crash, it must not be passed over untold.
    fn goes_beyond(&self, entry: EntryId) -> bool {
        self.only_waits() || self.to.is_some_and(|to| to >= entry)
    }
}

/// What Redis is asked for, until it is known what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) item: CommitItem,
    /// It moves the position, and does not only write.
    pub(super) moves: bool,
    pub(super) tickets: Vec<Ticket>,
    pub(super) under_way: bool,
    /// A call was not answered: it was executed or not.
    pub(super) doubtful: bool,
}

impl Sent {
    /// How it ends for who waits if this call changed nothing: unless an earlier one may have.
    pub(super) fn unless_doubtful(&self, end: CommitEnd) -> CommitEnd {
        if self.doubtful { CommitEnd::Unknown } else { end }
    }

    fn ends(self, end: CommitEnd) -> impl Iterator<Item = (Ticket, CommitEnd)> {
        self.tickets.into_iter().map(move |ticket| (ticket, end.clone()))
    }
}

impl State {
    /// Nobody waits for this stream's turn any more.
    pub(super) fn leave(&mut self, commits: &mut Commits) {
        if let Some(turn) = commits.turn.take() {
            self.line.leave(turn);
        }
    }

    pub(super) fn unsettled(&mut self, id: OwnedId) {
        self.unsettled.insert(id);
    }

    pub(super) fn settled(&mut self, id: OwnedId) {
        self.unsettled.remove(&id);
    }

    pub(super) fn first_unsettled(&self) -> Option<OwnedId> {
        self.unsettled.first().copied()
    }
}

impl Commits {
    /// Numbers begin behind this one.
    pub(super) fn count_on(&mut self, number: u64) {
        assert!(self.number == 0, "a number was used before it is known which were: {}", self.number);
        self.number = number;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.sent.is_none() && self.wishes.is_empty()
    }

    /// A position alone goes along with the one that waits, if that is not further already; and not if only one of them
    /// has to wait for this entry.
    fn want(&mut self, wish: Wish, aside: Option<EntryId>) {
        if let Some(last) = self.wishes.back_mut()
            && wish.writes.is_empty()
            && last.writes.is_empty()
            && last.to.is_some()
            && last.to <= wish.to
            && aside.is_none_or(|aside| (last.to >= Some(aside)) == (wish.to >= Some(aside)))
        {
            assert!(wish.to.is_some(), "a commit that goes along with another one moves the position");
            last.to = wish.to;
            last.tickets.extend(wish.tickets);
        } else {
            self.wishes.push_back(wish);
        }
    }

    /// Nothing more can be sent.
    pub(super) fn give_up(&mut self) -> Vec<(Ticket, CommitEnd)> {
        let sent = self.sent.take();
        let known = |sent: &Sent| !sent.under_way && !sent.doubtful;
        let end =
            sent.as_ref().map_or(CommitEnd::Lost, |s| if known(s) { CommitEnd::Lost } else { CommitEnd::Unknown });
        let sent = sent.into_iter().flat_map(|sent| sent.ends(end.clone()));
        let ends = sent.chain(self.take_wishes(&CommitEnd::Lost)).collect();
        assert!(self.is_settled(), "whoever waits is told");
        ends
    }

    /// The lease is somebody else's: the answer to a commit said so, and one is under way at a time.
    pub(super) fn fence(&mut self) -> Vec<(Ticket, CommitEnd)> {
        assert!(self.sent.is_none(), "nothing more is sent of what is another's");
        let ends = self.take_wishes(&CommitEnd::Fenced);
        assert!(self.is_settled(), "nothing more is wished of what is another's");
        ends
    }

    /// Whatever is not sent ends so.
    pub(super) fn take_wishes(&mut self, end: &CommitEnd) -> Vec<(Ticket, CommitEnd)> {
        let tickets = self.wishes.drain(..).flat_map(|wish| wish.tickets);
        tickets.map(|ticket| (ticket, end.clone())).collect()
    }

    /// Whatever would go beyond an entry ends so.
    pub(super) fn take_wishes_beyond(&mut self, entry: EntryId, end: &CommitEnd) -> Vec<(Ticket, CommitEnd)> {
        let (beyond, rest) = self.wishes.drain(..).partition(|wish| wish.goes_beyond(entry));
        self.wishes = rest;
        let beyond: VecDeque<Wish> = beyond;
        let tickets = beyond.into_iter().flat_map(|wish| wish.tickets);
        tickets.map(|ticket| (ticket, end.clone())).collect()
    }
}

impl Stream {
    /// The next wish waits for an entry that is being set aside.
    pub(super) fn is_held(&self) -> bool {
        let next = self.commits.wishes.front();
        next.is_some_and(|wish| self.asides.first().is_some_and(|entry| wish.goes_beyond(entry)))
    }

    /// Ends wishes that need no call: what stands there already.
    fn next_at_hand(&mut self) -> Option<(Vec<Ticket>, CommitEnd)> {
        assert!(self.known, "nothing is judged before it is known what stands there");
        assert!(self.commits.sent.is_none(), "no wish is answered before those that came earlier");
        let wish = self.commits.wishes.front()?;
        let position = self.position();
        let end = match wish.to {
            Some(to) if to < position => CommitEnd::Behind(position),
            None if wish.only_waits() => CommitEnd::Done,
            // A record of writes alone says nothing of a position yet.
            Some(to) if to == position && self.record.as_ref().is_some_and(|record| !is_blank(record)) => {
                // What these writes are about was worked on already.
                if wish.writes.is_empty() { CommitEnd::Done } else { CommitEnd::Behind(position) }
            }
            _ => return None,
        };
        Some((self.commits.wishes.pop_front()?.tickets, end))
    }

    /// What is to be sent now.
    fn next_item(&mut self) -> Option<CommitItem> {
        assert!(self.known && !self.fenced, "only what is open and ours is committed");
        assert!(self.commits.sent.as_ref().is_none_or(|sent| !sent.under_way), "one commit is under way at a time");
        if self.commits.sent.is_none() {
            if self.is_held() {
                return None;
            }
            let wish = self.commits.wishes.pop_front()?;
            let stored = self.record.clone().unwrap_or_default();
            let mark = if wish.writes.is_empty() {
                stored.mark
            } else {
                // A hand may have written the greatest there is: all that counts is that it is another one.
                self.commits.number = self.commits.number.wrapping_add(1);
                Some(Mark { attempt: self.owned.attempt, number: self.commits.number })
            };
            let to = match wish.to {
                Some(position) => Record { position, read: self.read_up_to(position), mark },
                None => Record { mark, ..stored },
            };
            let item = CommitItem {
                entry: self.owned.entry,
                stream: self.owned.stream.clone(),
                attempt: self.owned.attempt,
                from: (stored.position, stored.mark),
                to,
                writes: wish.writes,
            };
            assert!(item.from.0 <= item.to.position, "a position is not sent back: {item:?}");
            assert!(!item.writes.is_empty() || item.from.1 == item.to.mark, "without writes a mark stays: {item:?}");
            let (moves, tickets) = (wish.to.is_some(), wish.tickets);
            self.commits.sent = Some(Sent { item, moves, tickets, under_way: false, doubtful: false });
        }
        let sent = self.commits.sent.as_mut()?;
        sent.under_way = true;
        Some(sent.item.clone())
    }

    fn read_up_to(&self, position: EntryId) -> Option<u64> {
        let stored = self.record.as_ref().filter(|record| record.position == position);
        stored.and_then(|record| record.read).or_else(|| self.counts.up_to(position))
    }
}

impl Machine {
    pub(super) fn wish(&mut self, commit: Commit) {
        let Commit { id, ticket, rollbacks, to, writes } = commit;
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.answer_ticket(ticket, CommitEnd::Lost);
        };
        if stream.fenced {
            return self.answer_ticket(ticket, CommitEnd::Fenced);
        }
        let wish = Wish { to, writes, tickets: vec![ticket] };
        if !wish.only_waits() && rollbacks != stream.commits.rollbacks {
            let stored = stream.record.clone().unwrap_or_default();
            return self.answer_ticket(ticket, CommitEnd::RolledBack(stored));
        }
        stream.commits.want(wish, stream.asides.first());
        self.committing.unsettled(id);
        self.commit_soon(id);
    }

    /// Where reading begins is committed, so that a takeover begins there, too; not by who has lost the lease.
    pub(super) fn commit_start(&mut self, id: OwnedId, position: EntryId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.fenced) else { return };
        assert!(stream.known && stream.commits.is_settled(), "{id:?}: where reading begins is committed first");
        stream.commits.want(Wish { to: Some(position), writes: Arc::from([]), tickets: Vec::new() }, None);
        self.committing.unsettled(id);
        self.commit_soon(id);
    }

    pub(super) fn answer_tickets(&mut self, ends: Vec<(Ticket, CommitEnd)>) {
        for (ticket, end) in ends {
            self.answer_ticket(ticket, end);
        }
    }

    /// A stream whose next commit can be sent waits for its turn.
    pub(super) fn commit_soon(&mut self, id: OwnedId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.known || stream.fenced {
            return;
        }
        let mut at_hand = Vec::new();
        while stream.commits.sent.is_none()
            && !stream.is_held()
            && let Some((tickets, end)) = stream.next_at_hand()
        {
            at_hand.extend(tickets.into_iter().map(|ticket| (ticket, end.clone())));
        }
        let due = match &stream.commits.sent {
            Some(sent) => !sent.under_way && stream.commits.again_at <= self.now,
            // One that is held is passed over when its turn comes.
            None => !stream.commits.wishes.is_empty(),
        };
        if due && stream.commits.turn.is_none() {
            stream.commits.turn = Some(self.committing.line.join(id));
        }
        let under_way = stream.commits.sent.as_ref().is_some_and(|sent| sent.under_way);
        assert!(!under_way || stream.commits.turn.is_none(), "{id:?} waits for its turn while its commit is under way");
        self.answer_tickets(at_hand);
        // Who reads anew waited for this, perhaps.
        self.begin(id, None);
    }

    pub(super) fn commit_due(&self) -> Option<Time> {
        let wanted = self.committing.calls < CALLS && !self.committing.line.is_empty();
        if wanted { self.open_from(Kind::Commit) } else { None }
    }

    /// Sends what is to be sent: what comes while a call is under way goes with the next.
    pub(super) fn commit(&mut self) {
        while self.commit_due().is_some_and(|at| at <= self.now) {
            let (mut about, mut items, mut writes) = (Vec::new(), Vec::new(), 0);
            while items.len() < self.config.commit_batch
                && writes < WRITES
                && let Some(id) = self.committing.line.next()
            {
                assert!(self.streams.contains_key(&id), "{id:?} stands in line to commit, and is not owned");
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                assert!(stream.commits.turn.is_some(), "{id:?} stands in line to commit, and does not know it");
                stream.commits.turn = None;
                let Some(item) = stream.next_item() else { continue };
                writes += item.writes.len();
                about.push(id);
                items.push(item);
            }
            if !items.is_empty() {
                self.committing.calls += 1;
                self.ask(Question::Commit(about), Call::Commit(items));
            }
            assert!(self.committing.calls <= CALLS, "{} calls commit at once", self.committing.calls);
        }
    }

    pub(super) fn commit_answered(&mut self) {
        assert!(self.committing.calls >= 1, "a call that commits is counted for as long as it is under way");
        self.committing.calls -= 1;
    }
}
