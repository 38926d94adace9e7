//! Workers as text.

use std::{fmt, str::FromStr};

use super::{
    Unreadable,
    consumer::{DRIFT, drift},
    span::{RANGE, SPAN, parse_ms, print_ms, range},
    words::Words,
};
use crate::plan::{ConsumerPlan, WorkerPlan};

const SETTINGS: &str = "absent, drift=, concurrency=, prefetch=, batch=, block=, idle=, reclaim=, due=, ack-delay=, sweep=, \
     attempts=, crashes=, backoff=, factor=, jitter=, timeout=, rate=, group-rate=, processed=, deletes, trims, buries \
     or ordered";
const RATE: &str = "how many in what time, such as `10/1s`";

pub(super) fn worker(words: &mut Words) -> Result<ConsumerPlan, Unreadable> {
    let mut consumer = ConsumerPlan { name: words.word("the worker's name")?, ..ConsumerPlan::default() };
    let mut worker = WorkerPlan::default();
    while let Some(word) = words.maybe()? {
        let wrong = |expected: &str| words.wrong(&word, expected);
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        let ms = || parse_ms(value).ok_or_else(|| wrong(SPAN));
        let count = || number(value).ok_or_else(|| wrong("a number"));
        let few = || number(value).ok_or_else(|| wrong("a number"));
        let per = || rate(value).ok_or_else(|| wrong(RATE));
        match key {
            "absent" => consumer.joins = false,
            "drift" => consumer.drift_ppm = drift(value).ok_or_else(|| wrong(DRIFT))?,
            "concurrency" => worker.concurrency = count()?,
            "prefetch" => worker.prefetch = count()?,
            "batch" => worker.batch = count()?,
            "block" => worker.block_ms = ms()?,
            "idle" => worker.idle_ms = ms()?,
            "reclaim" => worker.reclaim_ms = ms()?,
            "due" => worker.due_ms = ms()?,
            "ack-delay" => worker.ack_delay_ms = ms()?,
            "sweep" => worker.sweep_ms = ms()?,
            "attempts" => worker.max_attempts = few()?,
            "crashes" => worker.max_crashes = few()?,
            "backoff" => worker.backoff_ms = range(value, parse_ms).ok_or_else(|| wrong(RANGE))?,
            "factor" => worker.factor = few()?,
            "jitter" => worker.jitter_percent = few()?,
            "timeout" if value == "never" => worker.timeout_ms = None,
            "timeout" => worker.timeout_ms = Some(ms()?),
            "rate" => worker.rate = Some(per()?),
            "group-rate" => worker.group_rate = Some(per()?),
            "processed" => worker.processed_ms = Some(ms()?),
            "deletes" => worker.deletes = true,
            "trims" => worker.trims = true,
            "buries" => worker.buries = true,
            "ordered" => worker.ordered = true,
            _ => return Err(wrong(SETTINGS)),
        }
    }
    worker.check().map_err(|error| words.wrong(&consumer.name, format!("settings that go together: {error}")))?;
    consumer.worker = Some(worker);
    Ok(consumer)
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn rate(text: &str) -> Option<(u32, u64)> {
    let (count, per) = text.split_once('/')?;
    Some((number(count)?, parse_ms(per)?))
}

impl fmt::Display for WorkerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " concurrency={} prefetch={} batch={}", self.concurrency, self.prefetch, self.batch)?;
        write!(f, " block={} idle={}", print_ms(self.block_ms), print_ms(self.idle_ms))?;
        write!(f, " reclaim={} due={}", print_ms(self.reclaim_ms), print_ms(self.due_ms))?;
        write!(f, " ack-delay={} sweep={}", print_ms(self.ack_delay_ms), print_ms(self.sweep_ms))?;
        write!(f, " attempts={} crashes={}", self.max_attempts, self.max_crashes)?;
        let (base_ms, limit_ms) = self.backoff_ms;
        write!(f, " backoff={}..{}", print_ms(base_ms), print_ms(limit_ms))?;
        write!(f, " factor={} jitter={}", self.factor, self.jitter_percent)?;
        match self.timeout_ms {
            None => write!(f, " timeout=never")?,
            Some(ms) => write!(f, " timeout={}", print_ms(ms))?,
        }
        for (word, rate) in [("rate", self.rate), ("group-rate", self.group_rate)] {
            if let Some((count, per_ms)) = rate {
                write!(f, " {word}={count}/{}", print_ms(per_ms))?;
            }
        }
        if let Some(age_ms) = self.processed_ms {
            write!(f, " processed={}", print_ms(age_ms))?;
        }
        let words =
            [("deletes", self.deletes), ("trims", self.trims), ("buries", self.buries), ("ordered", self.ordered)];
        for (word, _) in words.into_iter().filter(|(_, said)| *said) {
            write!(f, " {word}")?;
        }
        Ok(())
    }
}
