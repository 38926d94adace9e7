//! Consumers of streams as text.

use std::fmt;

use super::{
    Unreadable,
    span::{RANGE, SPAN, parse_ms, print_ms, range},
    words::{Words, choice, quote},
};
use crate::plan::{App, Commits, ConsumerPlan, End, Reading, SAFE_DRIFT_PPM};

const SETTINGS: &str = "go, absent, ttl=, heartbeat=, reap=, claim-delay=, heirs=, capacity=, claim=, max-takeovers=, \
     max-failures=, buffer=, drift=, app=, work=, ends=, reads-every=, never-reads, entries=, prefetch=, prefetch-total=, takes= or commits=";
const COMMITS: &str = "commits=batch, commits=hand, commits=effects, or a time such as commits=500ms";
pub(super) const DRIFT: &str =
    "parts per million within the margin of a lease, such as `drift=-150ppm`: at most 52631, each way";

pub(super) fn consumer(words: &mut Words) -> Result<ConsumerPlan, Unreadable> {
    let mut consumer = ConsumerPlan { name: words.word("the consumer's name")?, ..ConsumerPlan::default() };
    let mut heartbeat_ms = None;
    while let Some(word) = words.maybe()? {
        let wrong = |expected: &str| words.wrong(&word, expected);
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        let ms = || parse_ms(value).ok_or_else(|| wrong(SPAN));
        let number = || value.parse().map_err(|_| wrong("a number"));
        match key {
            "go" => consumer.go = true,
            "absent" => consumer.joins = false,
            "ttl" => consumer.ttl_ms = ms()?,
            "heartbeat" => heartbeat_ms = Some(ms()?),
            "reap" => consumer.reap_ms = ms()?,
            "claim-delay" => consumer.claim_delay_ms = ms()?,
            "heirs" => consumer.heirs = number()?,
            "capacity" => consumer.capacity = value.parse().map_err(|_| wrong("a number"))?,
            "claim" => {
                let manual = choice(value, "manual", "auto");
                consumer.manual = manual.ok_or_else(|| wrong("claim=auto or claim=manual"))?;
            }
            "max-takeovers" => consumer.max_takeovers = number()?,
            "max-failures" => consumer.max_failures = number()?,
            "buffer" => consumer.output_buffer = value.parse().map_err(|_| wrong("a number"))?,
            "drift" => {
                consumer.drift_ppm = drift(value).ok_or_else(|| wrong(DRIFT))?;
            }
            "app" => {
                consumer.app.runs = choice(value, "runs", "reads").ok_or_else(|| wrong("app=reads or app=runs"))?;
            }
            "work" if value == "never" => consumer.app.work_ms = None,
            "work" => consumer.app.work_ms = Some(range(value, parse_ms).ok_or_else(|| wrong(RANGE))?),
            "ends" => {
                let expected = "weights such as `ends=done:5,release:1` of done, release, fail, panic, hang";
                consumer.app.ends = ends(value).ok_or_else(|| wrong(expected))?;
            }
            "reads-every" => consumer.app.reads_every_ms = ms()?,
            "never-reads" => consumer.app.never_reads = true,
            "entries" | "prefetch" | "prefetch-total" | "takes" | "commits" => {
                let reading = consumer.app.reading.get_or_insert_default();
                match key {
                    "entries" => reading.batch = value.parse().map_err(|_| wrong("a number"))?,
                    "prefetch" => reading.prefetch = value.parse().map_err(|_| wrong("a number"))?,
                    "prefetch-total" => reading.prefetch_total = value.parse().map_err(|_| wrong("a number"))?,
                    "takes" => reading.takes_ms = range(value, parse_ms).ok_or_else(|| wrong(RANGE))?,
                    _ => reading.commits = commits(value).ok_or_else(|| wrong(COMMITS))?,
                }
            }
            _ => return Err(wrong(SETTINGS)),
        }
    }
    consumer.heartbeat_ms = heartbeat_ms.unwrap_or(consumer.ttl_ms / 3);
    consumer.check().map_err(|error| words.wrong(&consumer.name, format!("settings that go together: {error}")))?;
    Ok(consumer)
}

fn commits(text: &str) -> Option<Commits> {
    match text {
        "batch" => Some(Commits::Batch),
        "hand" => Some(Commits::Hand),
        "effects" => Some(Commits::Effects),
        every => parse_ms(every).map(Commits::Every),
    }
}

fn ends(text: &str) -> Option<[u32; 5]> {
    let mut weights = [0; 5];
    for part in text.split(',') {
        let (name, weight) = part.split_once(':').unwrap_or((part, "1"));
        let end = End::ALL.into_iter().find(|end| end.name() == name)?;
        weights[end as usize] = weight.parse().ok()?;
    }
    let sum = weights.iter().try_fold(0u32, |sum, weight| sum.checked_add(*weight))?;
    (sum > 0).then_some(weights)
}

pub(super) fn drift(text: &str) -> Option<i32> {
    let ppm = text.strip_suffix("ppm").and_then(|ppm| ppm.parse().ok());
    ppm.filter(|ppm| (-SAFE_DRIFT_PPM..=SAFE_DRIFT_PPM).contains(ppm))
}

impl fmt::Display for ConsumerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(&self.name))?;
        if let Some(worker) = &self.worker {
            write!(f, "{} drift={}ppm", if self.joins { "" } else { " absent" }, self.drift_ppm)?;
            return write!(f, "{worker}");
        }
        for (word, said) in [("go", self.go), ("absent", !self.joins)] {
            if said {
                write!(f, " {word}")?;
            }
        }
        write!(f, " ttl={} heartbeat={}", print_ms(self.ttl_ms), print_ms(self.heartbeat_ms))?;
        write!(f, " reap={} claim-delay={}", print_ms(self.reap_ms), print_ms(self.claim_delay_ms))?;
        if self.heirs != ConsumerPlan::default().heirs {
            write!(f, " heirs={}", self.heirs)?;
        }
        write!(f, " capacity={} claim={}", self.capacity, if self.manual { "manual" } else { "auto" })?;
        write!(f, " max-takeovers={} max-failures={}", self.max_takeovers, self.max_failures)?;
        write!(f, " buffer={} drift={}ppm {}", self.output_buffer, self.drift_ppm, self.app)
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app={}", if self.runs { "runs" } else { "reads" })?;
        match self.work_ms {
            None => write!(f, " work=never")?,
            Some((least, most)) => write!(f, " work={}..{}", print_ms(least), print_ms(most))?,
        }
        let ends = End::ALL.into_iter().zip(self.ends).filter(|(_, weight)| *weight > 0);
        let ends: Vec<String> = ends.map(|(end, weight)| format!("{}:{weight}", end.name())).collect();
        write!(f, " ends={} reads-every={}", ends.join(","), print_ms(self.reads_every_ms))?;
        if self.never_reads {
            write!(f, " never-reads")?;
        }
        let Some(reading) = &self.reading else { return Ok(()) };
        let (least, most) = reading.takes_ms;
        write!(f, " entries={} prefetch={}", reading.batch, reading.prefetch)?;
        if reading.prefetch_total != Reading::default().prefetch_total {
            write!(f, " prefetch-total={}", reading.prefetch_total)?;
        }
        write!(f, " takes={}..{} commits=", print_ms(least), print_ms(most))?;
        match reading.commits {
            Commits::Batch => write!(f, "batch"),
            Commits::Hand => write!(f, "hand"),
            Commits::Effects => write!(f, "effects"),
            Commits::Every(ms) => write!(f, "{}", print_ms(ms)),
        }
    }
}
