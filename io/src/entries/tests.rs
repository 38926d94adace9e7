//! Readers and commits against a driver that a test plays.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use streamkeeper_core::{
    entries::{
        call,
        event::{CommitEnd, Delivery},
    },
    id::{Attempt, EntryId, StreamName, Token},
    streams::Added,
    time::Time,
};
use tokio::sync::mpsc;

use super::{
    Commits, Entries, EntriesError, Fields, Raw,
    desk::{Answered, Desk, Request, Waiter},
    inbox::{Arrival, Inbox},
};
use crate::{
    CommitError,
    clock::Clock,
    lease::{EndRequest, Lease, Lost, Wish},
};

fn id(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

pub(super) fn entries(ids: impl IntoIterator<Item = u64>) -> Delivery {
    let entry = |ms| call::Entry { id: id(ms), fields: vec![(b"body".to_vec(), ms.to_string().into_bytes())] };
    Delivery::Entries(ids.into_iter().map(entry).collect())
}

pub(super) struct Stage {
    pub(super) lease: Lease,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    ends: mpsc::UnboundedReceiver<EndRequest>,
}

/// What became of a request, as far as these tests look.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Own,
    Room(usize),
    /// Up to where, how many rollbacks are known, who waits.
    Commit(Option<EntryId>, u32, &'static str),
    Undecodable(EntryId),
    Look,
    Close,
    Lost,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let (desk, requests) = Desk::fake();
        let (to_end, ends) = mpsc::unbounded_channel();
        let added = Added {
            entry: id(7),
            stream: StreamName::new("s").unwrap(),
            token: Token(5),
            attempt: Attempt { incarnation: 1, number: 3 },
            info: None,
            takeover: false,
            takeovers: 0,
            failures: 0,
            deliveries: 1,
            valid_until: Time::from_millis(600_000),
        };
        Stage { lease: Lease::new(added, 0, Clock::tokio(), to_end, desk), requests, ends }
    }

    /// A reader with room for ten, and where it looks.
    pub(super) fn reading(&mut self, commits: Commits) -> (Entries<Fields>, Arc<Inbox>) {
        let entries = self.lease.read().batch(3).prefetch(10).commits(commits).codec(Raw).open();
        let mut inbox = None;
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Read { room, inbox: its, .. } = request {
                assert_eq!(room, 10);
                inbox = Some(its);
            }
        }
        (entries, inbox.expect("it reads"))
    }

    pub(super) fn deliver(&self, inbox: &Inbox, delivery: Delivery) {
        let rollbacks = self.lease.0.work.delivered(&delivery);
        inbox.push(Arrival::Delivered(delivery, rollbacks));
    }

    /// What was asked for since the last look.
    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            seen.push(match request {
                Request::Own(..) => Seen::Own,
                Request::Room(_, _, entries) => Seen::Room(entries),
                Request::Commit(commit, waiter) => {
                    let who = match waiter {
                        Waiter::Asked(_) => "asked",
                        Waiter::Reader => "reader",
                        Waiter::End(..) => "end",
                    };
                    Seen::Commit(commit.to, commit.rollbacks, who)
                }
                Request::Undecodable { entry, .. } => Seen::Undecodable(entry.id),
                Request::Look(..) => Seen::Look,
                Request::Close(..) => Seen::Close,
                Request::Lost(_) => Seen::Lost,
                Request::Read { .. } | Request::Stop => panic!("nobody asked for that"),
            });
        }
        seen
    }
}

/// The ids of the next batch; nothing if it is not there.
fn batch(entries: &mut Entries<Fields>) -> Vec<u64> {
    let batch = entries.next_batch().now_or_never().flatten();
    batch.map(|batch| batch.expect("entries").iter().map(|entry| entry.id.ms).collect()).unwrap_or_default()
}

fn error(entries: &mut Entries<Fields>) -> EntriesError {
    entries.next_batch().now_or_never().expect("an item").expect("no end").expect_err("an error")
}

/// No batch.
const NOTHING: [u64; 0] = [];

fn by_reader(ms: u64) -> Seen {
    Seen::Commit(Some(id(ms)), 0, "reader")
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_committed_when_the_next_one_is_asked_for() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::AfterBatch);
    assert_eq!(batch(&mut reader), NOTHING);
    stage.deliver(&inbox, entries(1..=4));
    stage.deliver(&inbox, entries([5]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![1, 2, 3], vec![]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![4, 5], vec![by_reader(3), Seen::Room(5)]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![], vec![by_reader(5)]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![], vec![]));
    drop(reader);
    // Not answered yet, so it is asked for again.
    assert_eq!(stage.seen(), [by_reader(5), Seen::Close]);
}

// All readers share `prefetch_total`: room for few entries may be what another stream waits for.
#[tokio::test(start_paused = true)]
async fn who_has_taken_everything_gives_its_room_back_before_it_waits() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::Manual);
    stage.deliver(&inbox, entries(1..=2));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![1, 2], vec![]), "it is being worked on");
    assert_eq!((batch(&mut reader), stage.seen()), (vec![], vec![Seen::Room(2)]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn entry_by_entry_a_batch_is_what_was_there_at_once() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::AfterBatch);
    stage.deliver(&inbox, entries(1..=4));
    for (ms, committed) in [(1, None), (2, None), (3, None), (4, Some(3))] {
        assert_eq!(reader.next().now_or_never().unwrap().unwrap().unwrap().id, id(ms));
        assert_eq!(stage.seen(), Vec::from_iter(committed.map(by_reader)), "{ms}");
    }
    assert!(reader.next().now_or_never().is_none());
    assert_eq!(stage.seen(), [by_reader(4), Seen::Room(4)]);
}

#[tokio::test(start_paused = true)]
async fn every_so_often_also_while_nothing_comes() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::Every(Duration::from_secs(10)));
    stage.deliver(&inbox, entries([1]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![1], vec![]));
    assert_eq!((batch(&mut reader), stage.seen()), (vec![], vec![by_reader(1), Seen::Room(1)]), "the first at once");
    stage.deliver(&inbox, entries([2]));
    assert_eq!(batch(&mut reader), [2]);
    let waiting = tokio::time::timeout(Duration::from_secs(9), reader.next_batch()).await;
    assert!(waiting.is_err());
    assert_eq!(stage.seen(), [Seen::Room(1)]);
    let waiting = tokio::time::timeout(Duration::from_secs(2), reader.next_batch()).await;
    assert!(waiting.is_err());
    assert_eq!(stage.seen(), [by_reader(2)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_worked_on_is_committed_before_a_release_and_nothing_else() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::OnRelease);
    stage.deliver(&inbox, entries(1..=6));
    assert_eq!((batch(&mut reader), batch(&mut reader)), (vec![1, 2, 3], vec![4, 5, 6]));
    assert_eq!(stage.seen(), [Seen::Room(6)]);
    drop(stage.lease.release());
    assert!(!stage.lease.is_valid());
    assert_eq!(stage.seen(), [Seen::Commit(Some(id(3)), 0, "end")]);
    assert!(stage.ends.try_recv().is_err(), "the end waits for the commit");

    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::OnRelease);
    stage.deliver(&inbox, entries(1..=6));
    assert_eq!((batch(&mut reader), batch(&mut reader)), (vec![1, 2, 3], vec![4, 5, 6]));
    stage.lease.0.work.committed(id(3));
    drop(stage.lease.release());
    assert_eq!(stage.ends.try_recv().unwrap().end, Wish::Release, "nothing is left to be committed");
    assert_eq!(stage.seen(), [Seen::Room(6)]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_reader_between_two_batches() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::AfterBatch);
    stage.deliver(&inbox, entries(1..=6));
    assert_eq!(batch(&mut reader), [1, 2, 3]);
    assert!(stage.lease.0.work.is_under_way());
    stage.lease.0.drain(Time::from_millis(500));
    assert!(stage.lease.is_valid(), "the batch is being worked on");
    assert_eq!(batch(&mut reader), NOTHING, "no further one");
    assert_eq!(stage.seen(), [Seen::Room(6), by_reader(3), Seen::Commit(Some(id(3)), 0, "end")]);
    assert!(!stage.lease.is_valid());
    stage.lease.0.finish(Lost::Released);
    assert!(matches!(error(&mut reader), EntriesError::Lost { lost: Lost::Released, .. }));
    assert!(reader.next_batch().await.is_none());
    assert_eq!(stage.lease.draining().await, Time::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_commits_by_hand_is_told_of_a_shutdown_once() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::Manual);
    stage.deliver(&inbox, entries(1..=6));
    assert_eq!(batch(&mut reader), [1, 2, 3]);
    stage.lease.0.drain(Time::from_millis(500));
    assert!(matches!(error(&mut reader), EntriesError::Draining { until, .. } if until == Time::from_millis(500)));
    assert_eq!(batch(&mut reader), NOTHING);
    assert_eq!(stage.lease.draining().now_or_never(), Some(Time::from_millis(500)));
    drop(reader.commit());
    assert_eq!(stage.seen(), [Seen::Room(6), Seen::Commit(Some(id(3)), 0, "asked")]);
    drop(reader);
    assert_eq!(stage.seen(), [Seen::Close], "nothing is committed by itself");
}

#[tokio::test(start_paused = true)]
async fn commits_tell_how_many_rollbacks_were_taken_in() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::Manual);
    stage.deliver(&inbox, entries([1]));
    stage.deliver(&inbox, Delivery::RolledBack(id(0)));
    stage.deliver(&inbox, entries([1]));
    assert_eq!(batch(&mut reader), [1]);
    drop(stage.lease.commit(id(1)));
    assert_eq!(stage.seen(), [Seen::Commit(Some(id(1)), 0, "asked")]);
    assert!(matches!(error(&mut reader), EntriesError::RolledBack { to, .. } if to == id(0)));
    assert_eq!(batch(&mut reader), [1]);
    drop(stage.lease.commit(id(1)));
    assert_eq!(stage.seen(), [Seen::Commit(Some(id(1)), 1, "asked")]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_is_not_committed_by_a_release() {
    for commits in [Commits::Manual, Commits::OnRelease] {
        let mut stage = Stage::new();
        let (mut reader, inbox) = stage.reading(commits);
        // Told when the reader has these two still before it.
        stage.deliver(&inbox, entries(1..=2));
        stage.deliver(&inbox, Delivery::RolledBack(id(0)));
        assert_eq!(batch(&mut reader), [1, 2]);
        drop(stage.lease.commit(id(2)));
        assert!(matches!(error(&mut reader), EntriesError::RolledBack { .. }));
        stage.seen();
        drop(stage.lease.release());
        assert_eq!((stage.seen(), stage.ends.try_recv().unwrap().end), (vec![], Wish::Release), "nothing to commit");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_hears_of_it_also_while_the_stream_is_being_given_back() {
    let mut stage = Stage::new();
    let (mut reader, _) = stage.reading(Commits::Manual);
    drop(stage.lease.entries());
    drop(stage.lease.release());
    assert!(matches!(error(&mut reader), EntriesError::Replaced { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_decoded_is_set_aside_before_anything_behind_it_is_committed() {
    let mut stage = Stage::new();
    let mut reader = stage.lease.entries_as::<Vec<u8>>();
    let inbox = loop {
        if let Request::Read { inbox, .. } = stage.requests.try_recv().unwrap() {
            break inbox;
        }
    };
    stage.deliver(&inbox, entries(1..=2));
    for ms in [1, 2] {
        let broken = reader.next_batch().now_or_never().unwrap().unwrap().unwrap_err();
        assert!(matches!(broken, EntriesError::Undecodable { id: broken, set_aside: true, .. } if broken == id(ms)));
    }
    assert!(reader.next_batch().now_or_never().is_none());
    let aside = |ms| Seen::Undecodable(id(ms));
    assert_eq!(stage.seen(), [aside(1), aside(2), by_reader(1), by_reader(2), Seen::Room(2)]);
    // Nor is the stream finished before.
    drop(stage.lease.done());
    assert!(!stage.lease.is_valid());
    assert_eq!(stage.seen(), [Seen::Commit(None, 0, "end")]);
    assert!(stage.ends.try_recv().is_err(), "the end waits for that");
}

#[test]
fn a_stream_is_not_finished_while_an_entry_of_it_cannot_be_set_aside() {
    let request = |end| EndRequest { entry: id(7), token: Token(5), end };
    let settled = |wish, end: CommitEnd| request(wish).settled(&end).end;
    let broken = || CommitEnd::Broken("WRONGTYPE".into());
    for end in [CommitEnd::Done, CommitEnd::Fenced] {
        assert_eq!(settled(Wish::Done, end), Wish::Done);
    }
    for end in [CommitEnd::Lost, CommitEnd::Unknown] {
        assert_eq!(settled(Wish::Done, end), Wish::Release);
    }
    assert!(matches!(settled(Wish::Done, broken()), Wish::Failed(why) if why.contains("WRONGTYPE")));
    for end in [CommitEnd::Done, CommitEnd::Unknown, broken()] {
        assert_eq!(settled(Wish::Rest(Duration::ZERO), end), Wish::Rest(Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_valid_yields_nothing_and_commits_nothing() {
    let mut stage = Stage::new();
    let (mut reader, inbox) = stage.reading(Commits::Manual);
    stage.deliver(&inbox, entries(1..=6));
    assert_eq!(batch(&mut reader), [1, 2, 3]);
    tokio::time::advance(Duration::from_secs(700)).await;
    assert_eq!(batch(&mut reader), NOTHING, "by the clock alone");
    assert!(matches!(stage.lease.commit(id(3)).await, Err(CommitError::Lost { .. })));
    assert_eq!(stage.seen(), [Seen::Room(6)]);
    stage.lease.0.finish(Lost::Released);
    assert!(matches!(error(&mut reader), EntriesError::Lost { .. }));
    assert_eq!(stage.seen(), [Seen::Lost]);
    let late = stage.lease.entries().next_batch().await;
    assert!(matches!(late, Some(Err(EntriesError::Lost { .. }))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_becomes_the_callers() {
    let mut stage = Stage::new();
    let committing = stage.lease.commit(id(4));
    assert_eq!(stage.lease.position().now_or_never(), None, "not known yet");
    let answer = loop {
        if let Request::Commit(_, Waiter::Asked(answer)) = stage.requests.try_recv().unwrap() {
            break answer;
        }
    };
    assert!(answer.send(Answered { end: CommitEnd::Behind(id(9)), rollbacks: 0 }).is_ok());
    assert!(matches!(committing.await, Err(CommitError::Behind { committed, .. }) if committed == id(9)));
    stage.lease.0.work.delivered(&Delivery::Opened(None));
    assert_eq!(stage.lease.position().await, Ok(None));
    stage.lease.0.work.committed(id(9));
    assert_eq!(stage.lease.position().await, Ok(Some(id(9))));
}
