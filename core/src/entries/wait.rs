//! Waiting for news of the streams at their tail: all of them in one call, which is ended early when something else is
//! wanted of the connection. What it says is a hint; only fetching reads.

use std::{sync::Arc, time::Duration};

use super::{
    Machine, OwnedId, Remark,
    asked::{Kind, Question},
    call::Call,
};
use crate::{id::EntryId, id::StreamName, time::Time};

/// What a wait costs Redis for each stream: it looks at every one of them, and enters and removes itself everywhere.
const COST: Duration = Duration::from_nanos(400);
/// After a wait the next one is left for so many times its cost: waiting takes Redis a tenth of its time at most.
const PACE: u32 = 9;
/// A pause that is shorter is none: 250 streams and fewer are always waited for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// While there is always something to fetch, the others are looked at this often.
const POLL: Duration = Duration::from_millis(10);
/// A wake-up that came too early is repeated after so long.
const WAKE_AGAIN: Duration = Duration::from_millis(10);
/// How long a wait lasts that cannot be ended early.
const UNWAKEABLE: Duration = Duration::from_millis(100);

/// The reader's connection: one call at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) busy: Busy,
    client: Client,
    /// It was said that nobody can be woken.
    said: bool,
    /// When the next wait may begin, and when it should while there is much to fetch.
    wait_at: Time,
    poll_at: Time,
    /// How many waits there were.
    pub(super) waits: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Busy {
    #[default]
    No,
    Call,
    Wait(Waiting),
}

/// A wait that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    blocks: bool,
    /// There is a stream at its tail that it does not wait for.
    incomplete: bool,
    /// Which one: the answer to an earlier wake-up is nothing to a later wait.
    pub(super) number: u64,
    /// When it may be ended; `None`: it is being ended.
    pub(super) wake_at: Option<Time>,
}

/// Which client of Redis the connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Client {
    #[default]
    Unknown,
    Known(u64),
    /// It cannot be told, or not be woken.
    None,
}

impl State {
    pub(super) fn is_busy(&self) -> bool {
        self.busy != Busy::No
    }

    pub(super) fn begin_call(&mut self) {
        assert!(self.busy == Busy::No, "one call at a time over the reader's connection: {:?}", self.busy);
        self.busy = Busy::Call;
    }

    pub(super) fn end_call(&mut self) {
        assert!(self.busy == Busy::Call, "what has ended was under way: {:?}", self.busy);
        self.busy = Busy::No;
    }

    /// One more stream is at its tail.
    pub(super) fn one_more(&mut self) {
        if let Busy::Wait(waiting) = &mut self.busy {
            waiting.incomplete = true;
        }
    }

    /// Whom to wake, if a wait is under way.
    fn to_wake(&self) -> Option<(u64, Waiting)> {
        match (self.client, self.busy) {
            (Client::Known(client), Busy::Wait(waiting)) if waiting.blocks => Some((client, waiting)),
            _ => None,
        }
    }

    fn wake_again(&mut self, number: u64, at: Time) {
        assert!(number <= self.waits, "wait {number} was to be ended, there were {}", self.waits);
        if let Busy::Wait(waiting) = &mut self.busy
            && waiting.number == number
        {
            waiting.wake_at = Some(at);
        }
    }
}

impl Machine {
    /// The connection is another one.
    pub(super) fn forget_client(&mut self) {
        self.reading.waiting.client = Client::Unknown;
    }

    pub(super) fn identify_due(&self) -> Option<Time> {
        if self.reading.waiting.client == Client::Unknown { self.open_from(Kind::Identify) } else { None }
    }

    pub(super) fn identify(&mut self) {
        assert!(self.reading.waiting.client == Client::Unknown, "a connection is asked once who it is");
        self.reading.waiting.begin_call();
        self.ask(Question::Identify, Call::Identify);
    }

    /// `current`: it is the connection that is in use.
    pub(super) fn identified(&mut self, client: Option<u64>, current: bool) {
        self.reading.waiting.end_call();
        match client {
            _ if !current => {}
            Some(client) => self.reading.waiting.client = Client::Known(client),
            None => self.cannot_wake(),
        }
    }

    pub(super) fn identify_failed(&mut self, refused: bool, current: bool) {
        self.reading.waiting.end_call();
        if refused && current {
            self.cannot_wake();
        }
    }

    fn cannot_wake(&mut self) {
        self.reading.waiting.client = Client::None;
        if !std::mem::replace(&mut self.reading.waiting.said, true) {
            self.remark(Remark::CannotWake);
        }
    }

    pub(super) fn wait_due(&self) -> Option<Time> {
        if self.reading.tail.is_empty() {
            return None;
        }
        let waiting = &self.reading.waiting;
        let poll_at = if self.has_something_to_fetch() { waiting.poll_at } else { Time::ZERO };
        Some(self.open_from(Kind::Wait)?.max(waiting.wait_at).max(poll_at))
    }

    /// Waits for all that are at their tail; only looks, while there is something to fetch.
    pub(super) fn wait(&mut self) {
        if self.wait_due().is_none_or(|at| at > self.now) {
            return;
        }
        let longest = match self.reading.waiting.client {
            Client::None => self.config.block.min(UNWAKEABLE),
            Client::Known(_) | Client::Unknown => self.config.block,
        };
        let block = if self.has_something_to_fetch() { Duration::ZERO } else { longest };
        let mut about = Vec::with_capacity(self.reading.tail.len());
        let mut streams: Vec<(StreamName, EntryId)> = Vec::with_capacity(self.reading.tail.len());
        for id in &self.reading.tail {
            let Some(stream) = self.streams.get(id) else { continue };
            let Some(progress) = stream.reader.as_ref().and_then(|reader| reader.progress.as_ref()) else { continue };
            about.push(*id);
            streams.push((stream.owned.stream.clone(), progress.after()));
        }
        assert!(about.len() == self.reading.tail.len(), "{} of those at their tail are waited for", about.len());
        assert!(!about.is_empty(), "nobody waits for nothing: that would last for ever");
        let state = &mut self.reading.waiting;
        assert!(!state.is_busy(), "one call at a time over the reader's connection: {:?}", state.busy);
        state.waits += 1;
        let (blocks, number, wake_at) = (!block.is_zero(), state.waits, Some(self.now));
        state.busy = Busy::Wait(Waiting { blocks, incomplete: false, number, wake_at });
        self.ask(Question::Wait(about), Call::Wait { streams: Arc::from(streams), block });
    }

    pub(super) fn waited(&mut self, about: Vec<OwnedId>, news: Vec<usize>) {
        self.wait_ended(about.len());
        for index in news {
            self.fall_behind(about[index]);
        }
    }

    /// It was refused, a key of a wrong type among the streams perhaps: fetching tells which. A lost connection says
    /// nothing of the streams.
    pub(super) fn wait_failed(&mut self, about: Vec<OwnedId>, refused: bool) {
        self.wait_ended(about.len());
        if refused {
            for id in about {
                self.fall_behind(id);
            }
        }
    }

    fn wait_ended(&mut self, streams: usize) {
        let waiting = &mut self.reading.waiting;
        assert!(matches!(waiting.busy, Busy::Wait(_)), "a wait has ended, under way was {:?}", waiting.busy);
        waiting.busy = Busy::No;
        waiting.wait_at = self.now + pause_after(streams);
        waiting.poll_at = self.now + POLL;
    }

    /// When a wait is to be ended: there is something to fetch, or a stream that it does not wait for.
    pub(super) fn wake_due(&self) -> Option<Time> {
        let (_, waiting) = self.reading.waiting.to_wake()?;
        let wanted = self.is_running() && (waiting.incomplete || self.has_something_to_fetch());
        if wanted { Some(self.open_from(Kind::Wake)?.max(waiting.wake_at?)) } else { None }
    }

    pub(super) fn wake_reader(&mut self) {
        if self.wake_due().is_some_and(|at| at <= self.now)
            && let Busy::Wait(waiting) = &mut self.reading.waiting.busy
            && let Client::Known(client) = self.reading.waiting.client
        {
            assert!(waiting.blocks, "who does not block needs not be woken");
            waiting.wake_at = None;
            let number = waiting.number;
            self.ask(Question::Wake(number), Call::Wake { client });
        }
    }

    pub(super) fn woken(&mut self, number: u64, woken: Option<bool>) {
        match woken {
            // It ends now: its answer is on its way.
            Some(true) => self.reading.waiting.wake_again(number, self.now + self.config.call_timeout),
            // It was not blocked yet.
            Some(false) => self.reading.waiting.wake_again(number, self.now + WAKE_AGAIN),
            None => self.cannot_wake(),
        }
    }

    pub(super) fn wake_failed(&mut self, number: u64, refused: bool) {
        if refused {
            self.cannot_wake();
        }
        self.reading.waiting.wake_again(number, self.now);
    }
}

/// How long Redis is left alone after a wait for so many streams.
fn pause_after(streams: usize) -> Duration {
    let pause = COST * u32::try_from(streams).unwrap_or(u32::MAX) * PACE;
    if pause < SHORTEST_PAUSE { Duration::ZERO } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_a_tenth_of_redis_at_most() {
        for (streams, micros) in [(0, 0), (100, 0), (277, 0), (278, 1_000), (1_000, 3_600), (10_000, 36_000)] {
            assert_eq!(pause_after(streams).as_micros(), micros, "{streams}");
        }
    }
}
