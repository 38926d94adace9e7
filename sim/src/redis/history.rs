//! What was written, so that the past can be brought back: what a crash leaves, and what a replica had received.

use std::collections::VecDeque;

use bytes::Bytes;
use streamkeeper::Time;

use super::{
    data::{self, Context, Db},
    version::Version,
};

/// After so many writes, and more than there are keys, the past begins anew with a copy of the data.
const LONG: usize = 20_000;

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The data as they were at some times, oldest first; not empty, unless there is no past.
    copies: VecDeque<Copy>,
    /// What was written since the first copy.
    writes: VecDeque<Write>,
    written: u64,
    /// Nothing is remembered.
    none: bool,
    /// Which Redis executes it again.
    version: Version,
}

#[derive(Clone, Debug)]
struct Copy {
    at: Time,
    /// How much had been written.
    written: u64,
    dbs: Vec<Db>,
}

#[derive(Clone, Debug)]
struct Write {
    at: Time,
    wall_us: u64,
    db: usize,
    args: Vec<Bytes>,
}

impl History {
    pub(crate) fn new(dbs: Vec<Db>, now: Time) -> History {
        History { copies: [Copy { at: now, written: 0, dbs }].into(), none: false, ..History::none() }
    }

    /// Of a server that will never ask for it.
    pub(crate) fn none() -> History {
        let version = Version::default();
        History { copies: VecDeque::new(), writes: VecDeque::new(), written: 0, none: true, version }
    }

    /// It is one of this version.
    pub(crate) fn play(&mut self, version: Version) {
        self.version = version;
    }

    pub(crate) fn write(&mut self, at: Time, wall_us: u64, db: usize, args: Vec<Bytes>) {
        if self.none {
            return;
        }
        self.written += 1;
        self.writes.push_back(Write { at, wall_us, db, args });
    }

    /// Whether it is time for [`restart`](History::restart).
    pub(crate) fn is_long(&self) -> bool {
        let latest = self.copies.back();
        let since = latest.map_or(0, |copy| self.written - copy.written);
        since > LONG as u64 && latest.is_some_and(|copy| since > copy.dbs.iter().map(Db::len).sum::<usize>() as u64)
    }

    /// Adds a copy of the data, and forgets what is older than `needed`.
    pub(crate) fn restart(&mut self, dbs: Vec<Db>, now: Time, needed: Time) {
        self.copies.push_back(Copy { at: now, written: self.written, dbs });
        while self.copies.get(1).is_some_and(|copy| copy.at <= needed) {
            self.copies.pop_front();
        }
        let first = self.copies.front().map_or(self.written, |copy| copy.written);
        while self.written - self.writes.len() as u64 != first && self.writes.pop_front().is_some() {}
    }

    /// The data as they were then: a snapshot.
    pub(crate) fn as_of(&self, then: Time) -> Vec<Db> {
        self.execute_again(then, false)
    }

    /// The data as they were then for a replica, and as a log of the writes has them: what reading changes is not
    /// among the writes.
    pub(crate) fn replayed(&self, then: Time) -> Vec<Db> {
        self.execute_again(then, true)
    }

    fn execute_again(&self, then: Time, replays: bool) -> Vec<Db> {
        let copy = self.copies.iter().rev().find(|copy| copy.at <= then).or(self.copies.front());
        let Some(copy) = copy else { return Vec::new() };
        let mut dbs = copy.dbs.clone();
        let mut cx = Context::new(0, 0);
        cx.expire_at_all = false; // as a replica: what lapses is written, too
        cx.replays = replays;
        cx.version = self.version;
        let first = self.written - self.writes.len() as u64;
        let skipped = usize::try_from(copy.written - first).unwrap_or(usize::MAX);
        for write in self.writes.iter().skip(skipped).take_while(|write| write.at <= then) {
            cx.set_now(write.wall_us);
            data::execute(&mut dbs[write.db], &mut cx, &write.args);
            cx.events.clear();
        }
        dbs
    }
}
