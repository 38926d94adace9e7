//! The builder's settings of the machine: each is called like the field of [`Settings`] that it sets.

use std::time::Duration;

use streamkeeper_core::{
    config::Retry,
    messages::{
        Settings,
        config::{Backoff, Begin, DeadFailure, Processed, Rate},
    },
};

use super::builder::Builder;

impl Builder {
    /// How many runs there are at once. Default 16.
    pub fn concurrency(mut self, runs: usize) -> Builder {
        self.settings.concurrency = runs;
        self
    }

    /// How many more messages are fetched in advance; half of them at a time while all runs are busy. Default 16.
    pub fn prefetch(mut self, messages: usize) -> Builder {
        self.settings.prefetch = messages;
        self
    }

    /// How many messages one read or call is about, at most. Default 1,000.
    pub fn batch(mut self, messages: usize) -> Builder {
        self.settings.batch = messages;
        self
    }

    /// How long a read waits for new messages. Default 2 s.
    pub fn block(mut self, span: Duration) -> Builder {
        self.settings.block = span;
        self
    }

    /// Redis forgets a message as it hands it out: at most one run, no retry, no dead letters. Default: off.
    pub fn no_ack(mut self, on: bool) -> Builder {
        self.settings.no_ack = on;
        self
    }

    /// How many failed runs a message has before it is dead. Default 5; 0: no limit.
    pub fn max_attempts(mut self, runs: u32) -> Builder {
        self.settings.max_attempts = runs;
        self
    }

    /// How often a message may crash its process before it is dead: 3 (the default) or more; 0: no limit.
    pub fn max_crashes(mut self, crashes: u32) -> Builder {
        self.settings.max_crashes = crashes;
        self
    }

    /// The pause after a failed run. Default: 1 s, doubling up to 5 min, give or take 20 %.
    pub fn backoff(mut self, backoff: Backoff) -> Builder {
        self.settings.backoff = backoff;
        self
    }

    /// How long a run may take before it is cancelled and counts as failed. Default: for ever.
    pub fn timeout(mut self, span: Option<Duration>) -> Builder {
        self.settings.timeout = span;
        self
    }

    /// How long a message is left alone by the one who holds it before it is taken from them: what a crash costs. A run
    /// may last longer: its message is refreshed. Default 30 s.
    pub fn reclaim_idle(mut self, span: Duration) -> Builder {
        self.settings.reclaim_idle = span;
        self
    }

    /// How often one consumer of the group looks for such messages: at most a third of `reclaim_idle`. Default 1 s.
    pub fn reclaim_interval(mut self, span: Duration) -> Builder {
        self.settings.reclaim_interval = span;
        self
    }

    /// How many of them it moves in one call. Default 1,000.
    pub fn reclaim_count(mut self, messages: usize) -> Builder {
        self.settings.reclaim_count = messages;
        self
    }

    /// How often who has room asks for what is due, at least. Default 250 ms.
    pub fn due_interval(mut self, span: Duration) -> Builder {
        self.settings.due_interval = span;
        self
    }

    /// How long an acknowledgement waits for others, at most. Default 5 ms.
    pub fn ack_delay(mut self, span: Duration) -> Builder {
        self.settings.ack_delay = span;
        self
    }

    /// Messages are deleted once they are acknowledged, for as long as this is the only group on the stream. Default:
    /// off.
    pub fn delete_after_success(mut self, on: bool) -> Builder {
        self.settings.delete_after_success = on;
        self
    }

    /// The stream is trimmed up to what every group on it is done with. Default: off.
    pub fn trim(mut self, on: bool) -> Builder {
        self.settings.trim = on;
        self
    }

    /// What happens to a message whose `process_dead` fails. Default: it is called again.
    pub fn dead_failure(mut self, what: DeadFailure) -> Builder {
        self.settings.dead_failure = what;
        self
    }

    /// How many dead letters are kept, about; the oldest go first. Default: all.
    pub fn dead_limit(mut self, letters: Option<u64>) -> Builder {
        self.settings.dead_limit = letters;
        self
    }

    /// The field by which messages are serialised within this consumer: one run at a time for each value. `key` is what
    /// [`Message::key`](super::Message::key) writes. No order is promised across consumers, nor after a failure: for
    /// order, own a stream. Default: none.
    pub fn ordered_by(mut self, field: impl Into<Box<str>>) -> Builder {
        self.settings.ordered_by = Some(field.into());
        self
    }

    /// How many runs this consumer starts. Default: no limit.
    pub fn rate(mut self, rate: Rate) -> Builder {
        self.settings.rate = Some(rate);
        self
    }

    /// How many runs the whole group starts; every consumer must be given the same. Default: no limit.
    pub fn group_rate(mut self, rate: Rate) -> Builder {
        self.settings.group_rate = Some(rate);
        self
    }

    /// Messages that were processed are remembered, and not run again. Default: they are not.
    pub fn processed(mut self, processed: Processed) -> Builder {
        self.settings.processed = Some(processed);
        self
    }

    /// A consumer of the group that has nothing pending and was not heard of for so long is deleted from it. Default
    /// 1 h.
    pub fn stale_consumer(mut self, span: Duration) -> Builder {
        self.settings.stale_consumer = span;
        self
    }

    /// How often one consumer of the group clears away what nobody needs. Default 60 s.
    pub fn sweep_interval(mut self, span: Duration) -> Builder {
        self.settings.sweep_interval = span;
        self
    }

    /// Where the group begins if this consumer creates it. Default: at the oldest message.
    pub fn begin(mut self, begin: Begin) -> Builder {
        self.settings.begin = begin;
        self
    }

    /// How often a lost connection is tried again in a row before the consumer ends. Default: for as long as it takes.
    pub fn retry(mut self, retry: Retry) -> Builder {
        self.settings.retry = retry;
        self
    }

    /// The pause between two such tries, and the limit up to which it doubles. Default 20 ms and 1 s.
    pub fn retry_backoff(mut self, first: Duration, limit: Duration) -> Builder {
        (self.settings.retry_backoff, self.settings.retry_backoff_limit) = (first, limit);
        self
    }

    /// How long one call to Redis, or making a connection, may take. Default 1 s. For a consumer at most a quarter of
    /// `reclaim_idle`; for [`messages`](Builder::messages) it may be any time.
    pub fn call_timeout(mut self, span: Duration) -> Builder {
        self.settings.call_timeout = span;
        self
    }

    /// All settings of the machine at once.
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
        self
    }
}
