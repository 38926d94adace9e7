//! What became of commits.

use super::{
    ABSENT, Machine, OwnedId, Remark,
    call::{CommitItem, Committed, Record},
    commit::Sent,
    event::CommitEnd,
};

/// What follows from another record than the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    /// Only positions are different, and this commit goes further: again, from what stands there.
    Again,
    /// It stands there.
    Done,
    /// What stands there is further.
    Behind,
    /// Writes are forgotten, or somebody's hand has taken the stream back.
    RolledBack,
}

impl Machine {
    pub(super) fn committed(&mut self, about: Vec<OwnedId>, answers: Vec<Committed>) {
        self.commit_answered();
        assert_eq!(about.len(), answers.len(), "each commit has its answer");
        for (id, answer) in about.into_iter().zip(answers) {
            self.take_in_committed(id, answer);
            self.commit_soon(id);
        }
    }

    /// The call was refused, or its answer was lost: the same again.
    pub(super) fn commit_failed(&mut self, about: Vec<OwnedId>) {
        self.commit_answered();
        for id in about {
            if let Some(sent) = self.streams.get_mut(&id).and_then(|stream| stream.commits.sent.as_mut()) {
                assert!(sent.under_way, "{id:?}: what was not answered was under way");
                (sent.under_way, sent.doubtful) = (false, true);
            }
            self.commit_soon(id);
        }
    }

    fn take_in_committed(&mut self, id: OwnedId, answer: Committed) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(mut sent) = stream.commits.sent.take() else { return };
        assert!(sent.under_way, "{id:?}: what is answered was under way");
        assert!(sent.item.attempt == stream.owned.attempt, "{id:?}: what is answered was sent under this ownership");
        assert!(sent.item.from.0 == stream.position(), "{id:?}: a commit goes on from what stands there");
        sent.under_way = false;
        match answer {
            Committed::Done => {
                assert!(sent.item.to.position >= stream.position(), "{id:?}: a position goes back");
                stream.counts.forget_up_to(sent.item.to.position);
                stream.record = Some(sent.item.to.clone());
                self.end_sent(sent, CommitEnd::Done);
            }
            Committed::Conflict(stored) => self.conflict(id, sent, stored),
            Committed::Fenced => {
                let end = sent.unless_doubtful(CommitEnd::Fenced);
                self.end_sent(sent, end);
                self.fence(id);
            }
            Committed::Absent => {
                let again = self.now + ABSENT;
                stream.commits.again_at = again;
                stream.commits.sent = Some(sent);
                self.again.insert((again, id));
            }
            Committed::Rejected(index, why) => self.end_sent(sent, CommitEnd::Rejected(index, why)),
            Committed::Broken(error) => {
                let name = stream.owned.stream.clone();
                let end = sent.unless_doubtful(CommitEnd::Broken(error.clone()));
                self.end_sent(sent, end);
                self.remark(Remark::Broken(name, error));
            }
        }
    }

    fn end_sent(&mut self, sent: Sent, end: CommitEnd) {
        assert!(!sent.under_way, "what has ended is under way no more");
        for ticket in sent.tickets {
            self.answer_ticket(ticket, end.clone());
        }
    }

    fn conflict(&mut self, id: OwnedId, mut sent: Sent, stored: Record) {
        let verdict = judge(&sent, &stored);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        assert!(stream.commits.sent.is_none(), "{id:?}: two commits of one stream");
        let position = stored.position;
        stream.record = Some(stored.clone());
        match verdict {
            Conflict::Again => {
                sent.item = rebased(&sent, &stored);
                stream.commits.sent = Some(sent);
            }
            Conflict::Done => self.end_sent(sent, CommitEnd::Done),
            Conflict::Behind => self.end_sent(sent, CommitEnd::Behind(position)),
            Conflict::RolledBack => {
                let end = CommitEnd::RolledBack(stored.clone());
                stream.commits.rollbacks += 1;
                let waiting = stream.commits.take_wishes(&end);
                assert!(stream.commits.is_settled(), "{id:?}: nothing goes on from what is forgotten");
                // Told before it is answered: whoever hears the answer knows of the rollback.
                self.go_back(id, &stored);
                self.end_sent(sent, end);
                self.answer_tickets(waiting);
            }
        }
    }
}

/// While the marks are the same, everything that was written still is: a position alone may go forward.
fn judge(sent: &Sent, stored: &Record) -> Conflict {
    let (CommitItem { from, to, .. }, writes) = (&sent.item, !sent.item.writes.is_empty());
    assert!(from.0 <= to.position, "a position was sent back: {from:?} {to:?}");
    assert!(sent.moves || from.0 == to.position, "who only writes leaves the position: {from:?} {to:?}");
    if (stored.position, stored.mark) == (to.position, to.mark) {
        Conflict::Done
    } else if stored.mark != from.1 {
        Conflict::RolledBack
    } else if !sent.moves {
        Conflict::Again
    } else if stored.position > to.position {
        Conflict::Behind
    } else if writes && stored.position > from.0 {
        // Part of what these writes are about was passed over by somebody's hand.
        Conflict::RolledBack
    } else {
        Conflict::Again
    }
}

/// The same, from what stands there.
fn rebased(sent: &Sent, stored: &Record) -> CommitItem {
    let mut item = CommitItem { from: (stored.position, stored.mark), ..sent.item.clone() };
    if !sent.moves {
        (item.to.position, item.to.read) = (stored.position, stored.read);
    }
    assert!(item.from.0 <= item.to.position, "what is sent again does not go back: {item:?}");
    assert!(item.from.1 == sent.item.from.1, "what is sent again builds upon the same writes: {item:?}");
    item
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::call::{Mark, Write};
    use super::*;
    use crate::id::{Attempt, EntryId, StreamName};

    fn mark(number: u64) -> Option<Mark> {
        Some(Mark { attempt: Attempt { incarnation: 1, number: 1 }, number })
    }

    fn record((ms, number): (u64, u64)) -> Record {
        Record { position: EntryId { ms, seq: 0 }, read: None, mark: mark(number) }
    }

    /// From a position and a mark to others.
    fn sent(from: (u64, u64), to: (u64, u64)) -> Sent {
        let (stood, to, writes) = (record(from), record(to), from.1 != to.1);
        let writes: Arc<[Write]> = writes.then(|| Write::Del(b"k".as_slice().into())).into_iter().collect();
        let moves = stood.position != to.position;
        let attempt = Attempt { incarnation: 1, number: 1 };
        let (entry, stream) = (EntryId::default(), StreamName::new("a").unwrap());
        let item = CommitItem { entry, stream, attempt, from: (stood.position, stood.mark), to, writes };
        Sent { item, moves, tickets: Vec::new(), under_way: false, doubtful: false }
    }

    #[test]
    fn what_follows_from_another_record() {
        use Conflict::{Again, Behind, Done, RolledBack};
        // From where to where, as position and mark; what stands there instead.
        for (from, to, stored, verdict) in [
            ((3, 1), (7, 1), (7, 1), Done),
            ((3, 1), (7, 1), (2, 1), Again),
            ((3, 1), (7, 1), (6, 1), Again),
            ((3, 1), (7, 1), (8, 1), Behind),
            ((3, 1), (7, 1), (3, 2), RolledBack),
            ((3, 1), (7, 2), (7, 2), Done),
            ((3, 1), (7, 2), (2, 1), Again),
            ((3, 1), (7, 2), (4, 1), RolledBack),
            ((3, 1), (7, 2), (7, 1), RolledBack),
            ((3, 1), (7, 2), (8, 1), Behind),
            ((3, 1), (7, 2), (3, 9), RolledBack),
            ((3, 1), (3, 2), (5, 1), Again),
            ((3, 1), (3, 2), (3, 9), RolledBack),
        ] {
            assert_eq!(judge(&sent(from, to), &record(stored)), verdict, "{from:?} {to:?} {stored:?}");
        }
    }
}
