//! What of one ownership concerns the stream's entries: whether somebody reads or commits, how far, and what is to be
//! committed before the stream is given back.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use streamkeeper_core::{
    entries::{
        call::{Entry, Start, Write},
        event::{Commit, Delivery, Owned, OwnedId},
    },
    id::{Attempt, EntryId, StreamName},
    streams::Added,
    time::Time,
};
use tokio::sync::{Notify, oneshot};

use super::{
    desk::{Answered, Desk, Request, Waiter},
    inbox::Inbox,
};
use crate::lease::{EndRequest, Wish};

/// One ownership, as far as its entries go. Nothing is asked of Redis before somebody wants something.
pub(crate) struct Work {
    desk: Arc<Desk>,
    entry: EntryId,
    stream: StreamName,
    attempt: Attempt,
    state: Mutex<State>,
    changed: Notify,
    /// Somebody wants to be told when the client shuts down.
    listened: AtomicBool,
    /// Until when it is to be ended, in microseconds; 0: nobody has said so.
    draining: AtomicU64,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// Where the one who reads looks.
    inbox: Option<Arc<Inbox>>,
    /// What stands in Redis, once that is known; the inner `None`: nothing was ever committed.
    committed: Option<Option<EntryId>>,
    /// Why it is not known yet.
    broken: Option<Box<str>>,
    /// Everything up to here was worked on, and is committed before the stream is given back.
    processed: Option<EntryId>,
    /// Entries were to be set aside; they may still be on their way.
    set_aside: bool,
    /// How many rollbacks were told, and how many the application has taken in.
    told: u32,
    taken_in: u32,
}

impl State {
    fn is_to_be_rolled_back(&self) -> bool {
        self.told > self.taken_in
    }

    /// What is yielded between a rollback and the reader's hearing of it comes again: it counts for nothing.
    fn processed_to(&mut self, to: Option<EntryId>) {
        if !self.is_to_be_rolled_back() {
            self.processed = self.processed.max(to);
        }
    }
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Untouched,
    Open(OwnedId),
    Over,
}

/// Why the work cannot be begun.
pub(crate) enum Shut {
    /// The ownership has ended.
    Over,
    /// Nothing could be started.
    Unavailable(Arc<str>),
}

impl Work {
    pub(crate) fn new(desk: Arc<Desk>, added: &Added) -> Work {
        Work {
            desk,
            entry: added.entry,
            stream: added.stream.clone(),
            attempt: added.attempt,
            state: Mutex::default(),
            changed: Notify::new(),
            listened: AtomicBool::new(false),
            draining: AtomicU64::new(0),
        }
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to work on the stream, if that has not happened yet.
    pub(crate) fn open(self: &Arc<Work>) -> Result<OwnedId, Shut> {
        self.open_with(&mut self.lock())
    }

    fn open_with(self: &Arc<Work>, state: &mut State) -> Result<OwnedId, Shut> {
        match state.stage {
            Stage::Open(id) => Ok(id),
            Stage::Over => Err(Shut::Over),
            Stage::Untouched => {
                let id = self.desk.next_owned();
                let owned = Owned { id, entry: self.entry, stream: self.stream.clone(), attempt: self.attempt };
                self.desk.start_and_send(Request::Own(owned, self.clone())).map_err(Shut::Unavailable)?;
                state.stage = Stage::Open(id);
                Ok(id)
            }
        }
    }

    /// Begins to read, in the place of whoever has read so far.
    pub(crate) fn read(self: &Arc<Work>, start: Start, room: usize) -> Result<Arc<Inbox>, Shut> {
        let mut state = self.lock();
        let id = self.open_with(&mut state)?;
        let inbox = Arc::new(Inbox::default());
        if let Some(former) = state.inbox.replace(inbox.clone()) {
            former.replace();
        }
        self.desk.send(Request::Read { id, start, room, inbox: inbox.clone() });
        Ok(inbox)
    }

    /// The reader has taken so many entries in.
    pub(crate) fn give_room(&self, inbox: &Arc<Inbox>, entries: usize) {
        if let Stage::Open(id) = self.lock().stage {
            self.desk.send(Request::Room(id, inbox.clone(), entries));
        }
    }

    /// The reader wants to be told if there is nothing behind what it was given, by a look that begins from now on. Told
    /// nothing, and for ever: something comes instead, or the ownership ends.
    pub(crate) fn look(&self) -> Option<oneshot::Receiver<()>> {
        let state = self.lock();
        let (Stage::Open(id), Some(inbox)) = (state.stage, state.inbox.clone()) else { return None };
        let (answer, answered) = oneshot::channel();
        self.desk.send(Request::Look(id, inbox, answer));
        Some(answered)
    }

    /// The reader is gone.
    pub(crate) fn close(&self, inbox: &Arc<Inbox>) {
        let mut state = self.lock();
        if state.inbox.as_ref().is_some_and(|current| Arc::ptr_eq(current, inbox)) {
            state.inbox = None;
        }
        if let Stage::Open(id) = state.stage {
            drop(state);
            self.desk.send(Request::Close(id, inbox.clone()));
        }
    }

    /// Everything up to here was worked on: it is committed before the stream is given back.
    pub(crate) fn processed(&self, to: EntryId) {
        self.lock().processed_to(Some(to));
    }

    /// Asks for a commit.
    pub(crate) fn commit(&self, id: OwnedId, to: Option<EntryId>, writes: Vec<Write>) -> oneshot::Receiver<Answered> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if writes.is_empty() {
            state.processed_to(to);
        }
        let commit =
            Commit { id, ticket: self.desk.next_ticket(), rollbacks: state.taken_in, to, writes: writes.into() };
        // Under the lock: commits are asked for in the order in which their rollbacks were counted.
        self.desk.send(Request::Commit(commit, Waiter::Asked(answer)));
        answered
    }

    /// The reader commits by itself; nobody waits for the answer.
    pub(crate) fn commit_quietly(&self, to: EntryId) {
        let state = self.lock();
        let Stage::Open(id) = state.stage else { return };
        let ticket = self.desk.next_ticket();
        let commit = Commit { id, ticket, rollbacks: state.taken_in, to: Some(to), writes: Arc::new([]) };
        self.desk.send(Request::Commit(commit, Waiter::Reader));
    }

    /// The same, if anything that was worked on is not committed.
    pub(crate) fn commit_processed(&self) {
        let uncommitted = {
            let state = self.lock();
            state.processed.filter(|processed| state.committed.flatten() < Some(*processed))
        };
        if let Some(to) = uncommitted {
            self.commit_quietly(to);
        }
    }

    /// An entry cannot be decoded: it is set aside before anything behind it is committed.
    pub(crate) fn set_aside(&self, entry: Entry, error: Box<str>) {
        let mut state = self.lock();
        if let Stage::Open(id) = state.stage {
            state.set_aside = true;
            self.desk.send(Request::Undecodable { id, entry, error });
        }
    }

    /// Ends the ownership once nothing is outstanding or this instant has passed; `false` if nothing is, or nobody can
    /// see to it. Before a release, what was worked on is committed; before the stream is finished for ever, what cannot
    /// be decoded is set aside.
    pub(crate) fn end_when_settled(&self, request: &EndRequest, until: Time) -> bool {
        let state = self.lock();
        let Stage::Open(id) = state.stage else { return false };
        let to = match request.end {
            Wish::Done if state.set_aside => None,
            Wish::Release | Wish::Rest(_) | Wish::Failed(_) if state.committed.flatten() < state.processed => {
                state.processed
            }
            _ => return false,
        };
        let ticket = self.desk.next_ticket();
        let commit = Commit { id, ticket, rollbacks: state.taken_in, to, writes: Arc::new([]) };
        self.desk.send(Request::Commit(commit, Waiter::End(request.clone(), until)))
    }

    /// The ownership has ended.
    pub(crate) fn over(&self) {
        let mut state = self.lock();
        let stage = std::mem::replace(&mut state.stage, Stage::Over);
        let inbox = state.inbox.clone();
        drop(state);
        if let Stage::Open(id) = stage {
            self.desk.send(Request::Lost(id));
        }
        if let Some(inbox) = inbox {
            inbox.wake();
        }
        self.changed.notify_waiters();
    }

    /// The driver delivers: how many rollbacks were told by now.
    pub(crate) fn delivered(&self, delivery: &Delivery) -> u32 {
        let mut state = self.lock();
        match delivery {
            Delivery::Opened(record) => {
                let position = record.as_ref().map(|record| record.position);
                // Told again to each reader; commits may have been answered since.
                state.committed.get_or_insert(position);
                state.broken = None;
            }
            Delivery::RolledBack(to) => {
                state.told += 1;
                (state.committed, state.processed) = (Some(Some(*to)), None);
            }
            Delivery::Broken(why) => state.broken = Some(why.clone()),
            _ => return state.told,
        }
        let told = state.told;
        drop(state);
        self.changed.notify_waiters();
        told
    }

    /// A position stands in Redis.
    pub(crate) fn committed(&self, position: EntryId) {
        let mut state = self.lock();
        state.committed = Some(state.committed.flatten().max(Some(position)));
    }

    /// The application knows of so many rollbacks.
    pub(crate) fn take_in(&self, rollbacks: u32) {
        let mut state = self.lock();
        if state.taken_in < rollbacks {
            (state.taken_in, state.processed) = (rollbacks, None);
        }
    }

    /// Redis has forgotten commits, and who reads has yet to hear of it.
    pub(crate) fn is_to_be_rolled_back(&self) -> bool {
        self.lock().is_to_be_rolled_back()
    }

    /// The same, unless somebody reads, who is told in order.
    pub(crate) fn take_in_unread(&self, rollbacks: u32) {
        if self.lock().inbox.is_none() {
            self.take_in(rollbacks);
        }
    }

    /// What is committed, as far as that is known here.
    pub(crate) fn known_position(&self) -> Option<EntryId> {
        self.lock().committed.flatten()
    }

    /// What is committed; waits until that is known.
    pub(crate) async fn position(&self) -> Result<Option<EntryId>, NoPosition> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.lock();
                match (state.stage, state.committed, &state.broken) {
                    (Stage::Over, ..) => return Err(NoPosition::Over),
                    (_, Some(committed), _) => return Ok(committed),
                    (_, None, Some(why)) => return Err(NoPosition::Broken(why.clone())),
                    (_, None, None) => {}
                }
            }
            changed.await;
        }
    }

    /// Somebody works on the stream, and is given time when the client shuts down.
    pub(crate) fn is_under_way(&self) -> bool {
        self.listened.load(Ordering::Relaxed) || self.lock().inbox.is_some()
    }

    /// From now on somebody listens to [`drain`](Work::drain).
    pub(crate) fn listen(&self) {
        self.listened.store(true, Ordering::Relaxed);
    }

    /// The work is to be ended until then.
    pub(crate) fn drain(&self, until: Time) {
        self.draining.store(until.as_micros().max(1), Ordering::Release);
        let inbox = self.lock().inbox.clone();
        if let Some(inbox) = inbox {
            inbox.wake();
        }
    }

    /// Until when the work is to be ended, if it is.
    pub(crate) fn draining(&self) -> Option<Time> {
        let until = self.draining.load(Ordering::Acquire);
        (until > 0).then(|| Time::from_micros(until))
    }
}

/// Why it is not known what is committed.
pub(crate) enum NoPosition {
    /// The ownership has ended.
    Over,
    /// A key cannot be used.
    Broken(Box<str>),
}
