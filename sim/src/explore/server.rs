//! The server of an explored world: a simulated Redis as a value, with its digest.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    id::{EntryId, StreamName},
    keys::Keys,
    streams::{Answer, Call, Event},
    trouble::Trouble,
};

use super::{
    defect::Defect,
    digest::{Digest, Digester},
};
use crate::{
    calls::{Wire, at_once, understand},
    redis::{ConnId, Output, Redis, bare::Memory, clock::EPOCH_US},
};

/// A server at one instant. Cheap to clone: states share it until one of them changes it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    redis: Rc<Redis>,
    digest: Digest,
    /// The connection that hears everything that is published.
    listener: ConnId,
    /// Restarts so far: chance is drawn from it.
    starts: u64,
}

/// Not that of the first process: its identity comes from chance, too.
const FIRST_SEED: u64 = 1_000;

/// What a call led to.
pub(crate) struct Executed {
    pub(crate) answer: Result<Answer, Trouble>,
    /// What subscribers hear.
    pub(crate) hints: Vec<Event>,
}

impl Server {
    /// A server that has been up for a day, with nothing in it.
    pub(crate) fn new(keys: &Keys) -> Server {
        let mut redis = Redis::of_yesterday(1);
        let listener = listen(&mut redis, keys, Time::ZERO);
        let mut server = Server { redis: Rc::new(redis), digest: 0, listener, starts: 0 };
        server.digest = server.fresh_digest();
        server
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Executes a call of this consumer, all its commands at this instant.
    pub(crate) fn execute(&mut self, protocol: &Protocol, call: &Call, now: Time, defect: Option<&Defect>) -> Executed {
        let redis = Rc::make_mut(&mut self.redis);
        redis.shuffle(FIRST_SEED + self.starts);
        let answer = at_once(protocol, &mut Wire::to(redis, now, defect), call);
        Executed { answer, hints: self.heard() }
    }

    /// Appends an announcement of this stream.
    pub(crate) fn announce(&mut self, keys: &Keys, stream: &StreamName, now: Time) -> Option<EntryId> {
        let payload = format!(r#"{{"DataStreamName":"{stream}"}}"#);
        let words =
            ["XADD", &keys.lbs(), "*", "lbs-input", &payload].map(|word| Bytes::copy_from_slice(word.as_bytes()));
        let reply = Rc::make_mut(&mut self.redis).execute_at(words.into(), now);
        self.heard();
        match reply {
            crate::redis::reply::Reply::Bulk(id) => std::str::from_utf8(&id).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// Looks for lapsed keys: what subscribers hear of it.
    pub(crate) fn look_for_lapsed(&mut self, now: Time) -> Vec<Event> {
        Rc::make_mut(&mut self.redis).look_for_lapsed(now);
        self.heard()
    }

    /// Another process stands in its place, with this in its memory.
    pub(crate) fn start_again(&mut self, keys: &Keys, memory: Forgets<'_>, now: Time) {
        self.starts += 1;
        let redis = Rc::make_mut(&mut self.redis);
        redis.shuffle(FIRST_SEED + self.starts);
        let memory = match memory {
            Forgets::Everything => Memory::Nothing,
            Forgets::SinceSnapshot(earlier) => Memory::Snapshot(&earlier.redis),
            Forgets::SinceReplica(earlier) => Memory::Replica(&earlier.redis),
        };
        redis.start_again(memory, now);
        while redis.poll().is_some() {}
        self.listener = listen(redis, keys, now);
        self.digest = self.fresh_digest();
    }

    /// Whether the LBS still has this announcement.
    pub(crate) fn has(&self, keys: &Keys, entry: EntryId) -> bool {
        self.redis.db(0).stream_has(keys.lbs().as_bytes(), (entry.ms, entry.seq)) == Some(true)
    }

    /// When that lease's key may be found to have lapsed, if it is there.
    pub(crate) fn lapse(&self, lease_key: &str) -> Option<Time> {
        let lapses_ms = self.redis.db(0).lapses_ms(lease_key.as_bytes())?;
        let since_ms = lapses_ms.saturating_sub(EPOCH_US / 1_000);
        Some(Time::from_millis(since_ms) + Duration::from_millis(1))
    }

    /// What was published since it was last asked; the digest is that of now.
    fn heard(&mut self) -> Vec<Event> {
        let listener = self.listener;
        let redis = Rc::make_mut(&mut self.redis);
        let mut hints = Vec::new();
        while let Some(output) = redis.poll() {
            if let Output::Send(conn, bytes) = output
                && conn == listener
            {
                hints.extend(understand(&bytes));
            }
        }
        self.digest = self.fresh_digest();
        hints
    }

    fn fresh_digest(&self) -> Digest {
        let mut digester = Digester::new();
        self.redis.digest(&mut digester);
        digester.digest()
    }
}

/// What a server that starts again has forgotten.
#[derive(Clone, Copy)]
pub(crate) enum Forgets<'a> {
    Everything,
    /// It loads what that earlier self had saved.
    SinceSnapshot(&'a Server),
    /// A replica that had received so much is promoted.
    SinceReplica(&'a Server),
}

fn listen(redis: &mut Redis, keys: &Keys, now: Time) -> ConnId {
    redis.listen(&Keys::expiry_pattern(0), &keys.orphans(), now)
}
