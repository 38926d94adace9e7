//! One server: a simulated Redis behind a queue, since its one thread does one thing after the other.

use std::collections::VecDeque;

use bytes::Bytes;
use streamkeeper::{Time, protocol::Protocol, scripts};
use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{CallId, StreamName},
    keys::Keys,
    streams::{Answer, Call, Event},
    trouble::Trouble,
};

use crate::{
    calls::{Wire, at_once, understand},
    redis::{ConnId, Output, Redis},
};

/// What the announcer adds to each announcement: about as much as applications do.
const INFO_BYTES: usize = 140;

pub(crate) struct Shard {
    redis: Redis,
    /// The connection that hears what is published, for each partition here.
    listeners: Vec<(ConnId, usize)>,
    queue: VecDeque<Request>,
    pub(crate) is_busy: bool,
    /// Those that wait for announcements, in the order in which they came.
    pub(crate) waiting: VecDeque<Waiting>,
}

/// Something for a server to do, and since when it is there.
pub(crate) struct Request {
    pub(crate) since: Time,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// A call of this node.
    Call(usize, CallId, Call),
    /// The streams with these numbers are announced in this partition.
    Announce(usize, Vec<usize>),
    /// It looks for lapsed keys by itself.
    Cycle,
}

/// A node that waits for announcements.
pub(crate) struct Waiting {
    pub(crate) node: usize,
    pub(crate) partition: usize,
    pub(crate) id: CallId,
    pub(crate) call: Call,
}

/// A call that was executed.
pub(crate) struct Executed {
    pub(crate) answer: Result<Answer, Trouble>,
    pub(crate) commands: u64,
    pub(crate) words: u64,
    /// How many consumers were listed, by scripts that ask who shares.
    pub(crate) listed: u64,
}

/// What a partition's subscribers are to hear: first leases that have lapsed, then rings of the doorbell.
#[derive(Default)]
pub(crate) struct Pushes {
    pub(crate) events: Vec<Event>,
    pub(crate) lapsed: usize,
    pub(crate) rings: usize,
}

impl Shard {
    /// A server that has been up for a day, with nothing in it, for these partitions.
    pub(crate) fn new<'a>(partitions: impl Iterator<Item = (usize, &'a Keys)>, seed: u64) -> Shard {
        let mut redis = Redis::of_yesterday(seed);
        // A fleet of yesterday has taught it the scripts.
        for (_, body) in scripts() {
            redis.execute_at(["SCRIPT", "LOAD", body].map(Bytes::from).into(), Time::ZERO);
        }
        let listen = |(partition, keys): (usize, &Keys)| {
            (redis.listen(&Keys::expiry_pattern(0), &keys.orphans(), Time::ZERO), partition)
        };
        let listeners = partitions.map(listen).collect();
        Shard { redis, listeners, queue: VecDeque::new(), is_busy: false, waiting: VecDeque::new() }
    }

    pub(crate) fn arrived(&mut self, request: Request) {
        self.queue.push_back(request);
    }

    pub(crate) fn next(&mut self) -> Option<Request> {
        self.queue.pop_front()
    }

    /// Executes a call, all its commands at this instant.
    pub(crate) fn execute(&mut self, protocol: &Protocol, call: &Call, now: Time) -> Executed {
        let listed = self.redis.listed();
        let mut wire = Wire::to(&mut self.redis, now, None);
        let answer = at_once(protocol, &mut wire, call);
        let (commands, words) = (wire.commands, wire.words);
        Executed { answer, commands, words, listed: self.redis.listed().saturating_sub(listed) }
    }

    pub(crate) fn announce(&mut self, keys: &Keys, stream: &StreamName, now: Time) {
        let info = format!("\"{}\"", "i".repeat(INFO_BYTES));
        let payload = Announcement::to_json(stream, Some(&info));
        let words = ["XADD", &keys.lbs(), "*", FIELD, &payload].map(|word| Bytes::copy_from_slice(word.as_bytes()));
        self.redis.execute_at(words.into(), now);
    }

    pub(crate) fn look_for_lapsed(&mut self, now: Time) {
        self.redis.look_for_lapsed(now);
    }

    /// What was published since this was last asked, for each partition that is to hear of it.
    pub(crate) fn published(&mut self) -> Vec<(usize, Pushes)> {
        let mut all: Vec<(usize, Pushes)> = Vec::new();
        while let Some(output) = self.redis.poll() {
            let Output::Send(conn, bytes) = output else { continue };
            let Some((_, partition)) = self.listeners.iter().find(|(listener, _)| *listener == conn) else { continue };
            let events = understand(&bytes);
            let rings = events.iter().filter(|event| matches!(event, Event::Doorbell(_))).count();
            let lapsed = events.len() - rings;
            all.push((*partition, Pushes { events, lapsed, rings }));
        }
        all
    }

    /// When that lease was last renewed, if its key is there.
    pub(crate) fn renewed_at(&self, lease_key: &str, ttl: std::time::Duration) -> Option<Time> {
        let lapses_ms = self.redis.db(0).lapses_ms(lease_key.as_bytes())?;
        Some(self.redis.time_of(lapses_ms) - ttl)
    }

    /// About how many bytes its data take, by figures measured on Redis 7.0.
    pub(crate) fn memory(&self) -> usize {
        self.redis.db(0).memory()
    }
}
