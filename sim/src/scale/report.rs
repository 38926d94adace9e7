//! What a run has shown, for people (Markdown) and for programs (JSON).

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    costs::Costs,
    law::Law,
    ledger::Share,
    traffic::{Second, Span},
    world::Seen,
};
use crate::metrics::{Spread, short};

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many consumers.
    pub consumers: usize,
    /// How many streams.
    pub streams: usize,
    /// Over how many partitions.
    pub partitions: usize,
    /// On how many servers.
    pub shards: usize,
    /// How many consumers crashed.
    pub killed: usize,
    /// How long a lease lives.
    #[serde(rename = "lease_ttl_s", serialize_with = "seconds")]
    pub lease_ttl: Duration,
    /// How often it is renewed.
    #[serde(rename = "heartbeat_s", serialize_with = "seconds")]
    pub heartbeat: Duration,
    /// How long things take.
    pub costs: Costs,
    /// How much time has passed in the world.
    #[serde(rename = "simulated_s", serialize_with = "seconds")]
    pub passed: Duration,
    /// Whether every stream was owned in the end, before the crash and after it.
    pub all_owned: bool,
    /// From the first announcement until every stream was owned.
    #[serde(rename = "time_to_own_s", serialize_with = "seconds")]
    pub time_to_own: Duration,
    /// From the crash until every stream was owned again.
    #[serde(rename = "time_to_recover_s", serialize_with = "seconds")]
    pub time_to_recover: Duration,
    /// How evenly the streams were spread before the crash.
    pub share: Share,
    /// How evenly after it, over those that are left.
    pub share_after: Share,
    /// How long streams were without an owner, from the last heartbeat of the one that crashed.
    pub takeover: Spread,
    /// The same from the crash.
    pub takeover_since_crash: Spread,
    /// How often an orphan was looked at.
    pub looked_at: u64,
    /// How often one was asked for.
    pub asked_for: u64,
    /// Ownerships that ended though nobody had ended them and nobody had crashed, by reason.
    pub disowned: BTreeMap<&'static str, u64>,
    /// Streams that two consumers trusted in owning at once.
    pub doubled: u64,
    /// What a stream takes in Redis, about, by figures measured on 7.0.
    pub bytes_per_stream: usize,
    /// The parts of the run.
    pub periods: Vec<Period>,
    /// The second in which a server had the most to do.
    pub worst: Worst,
    /// The laws, and how well they hold.
    pub laws: Vec<Law>,
}

/// A part of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Period {
    /// Which.
    pub name: &'static str,
    /// How long it was.
    pub seconds: f64,
    /// How much of their time the servers worked, in percent.
    pub busy_percent: f64,
    /// The longest that a call waited for its server, in milliseconds.
    pub longest_wait_ms: f64,
    /// Calls that were not answered in time.
    pub given_up: u64,
    /// By kind of call.
    pub calls: BTreeMap<&'static str, Rate>,
}

/// How often a kind of call came.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    /// Each second at each server.
    pub per_second: f64,
    /// How many leases, entries and so on each was about.
    pub items: f64,
    /// How many commands it was.
    pub commands: f64,
    /// How many words these had.
    pub words: f64,
    /// How much of a server's time it took in all, in percent.
    pub busy_percent: f64,
}

/// A second at a server.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worst {
    /// Which server.
    pub shard: usize,
    /// Which second of the run.
    pub second: usize,
    /// How much work began in it, in percent of a second: a long call makes it more than 100.
    pub busy_percent: f64,
    /// Calls by kind.
    pub calls: BTreeMap<&'static str, u64>,
}

impl Report {
    pub(crate) fn of(seen: Seen<'_>) -> Report {
        let Seen { fleet, ledger, traffic, .. } = seen;
        let quiet = traffic.spans.iter().find(|span| span.name == "quiet");
        let takeover: Vec<_> = traffic.spans.iter().filter(|span| ["takeover", "after"].contains(&span.name)).collect();
        let mut laws = quiet.map(|quiet| Law::of_quiet(fleet, quiet)).unwrap_or_default();
        laws.extend(Law::of_takeover(fleet, ledger.since_crash.len(), &takeover));
        let items = |kind: &str| takeover.iter().filter_map(|span| span.kinds.get(kind)).map(|tally| tally.items).sum();
        Report {
            consumers: fleet.consumers,
            streams: fleet.streams,
            partitions: fleet.partitions,
            shards: fleet.shards,
            killed: fleet.kill,
            lease_ttl: fleet.settings.lease_ttl,
            heartbeat: fleet.settings.heartbeat,
            costs: fleet.costs,
            passed: seen.passed,
            all_owned: seen.all_owned,
            time_to_own: seen.time_to_own,
            time_to_recover: seen.time_to_recover,
            share: seen.share_before,
            share_after: seen.share_after,
            looked_at: items("look"),
            asked_for: items("acquire"),
            takeover: Spread::of(ledger.since_heartbeat),
            takeover_since_crash: Spread::of(ledger.since_crash),
            disowned: ledger.disowned,
            doubled: ledger.doubled,
            bytes_per_stream: seen.bytes_per_stream,
            laws,
            periods: traffic.spans.iter().map(|span| Period::of(span, fleet.shards)).collect(),
            worst: Worst::of(&traffic.seconds),
        }
    }

    /// The part of the run with this name.
    pub fn period(&self, name: &str) -> Option<&Period> {
        self.periods.iter().find(|period| period.name == name)
    }
}

impl Period {
    fn of(span: &Span, shards: usize) -> Period {
        let all = span.seconds().max(1e-6) * shards as f64;
        let rate = |(kind, tally): (&&'static str, &super::traffic::Tally)| {
            let each = |count: u64| count as f64 / tally.calls.max(1) as f64;
            let rate = Rate {
                per_second: tally.calls as f64 / all,
                items: each(tally.items),
                commands: each(tally.commands),
                words: each(tally.words),
                busy_percent: tally.micros / (all * 1e4),
            };
            (*kind, rate)
        };
        Period {
            name: span.name,
            seconds: span.seconds(),
            busy_percent: span.micros() / (all * 1e4),
            longest_wait_ms: span.longest_wait.as_secs_f64() * 1e3,
            given_up: span.given_up,
            calls: span.kinds.iter().map(rate).collect(),
        }
    }
}

impl Worst {
    fn of(seconds: &[Vec<Second>]) -> Worst {
        let all = seconds
            .iter()
            .enumerate()
            .flat_map(|(shard, seconds)| seconds.iter().enumerate().map(move |(second, seen)| (shard, second, seen)));
        let worst = all.max_by(|a, b| a.2.micros.total_cmp(&b.2.micros));
        worst.map_or_else(Worst::default, |(shard, second, seen)| Worst {
            shard,
            second,
            busy_percent: seen.micros / 1e4,
            calls: seen.calls.clone(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { consumers, streams, partitions, shards, killed, .. } = self;
        writeln!(
            f,
            "{consumers} consumers, {streams} streams, {partitions} partitions on {shards} servers, ttl {}, heartbeat {}; \
             {killed} killed; {} simulated\n",
            short(self.lease_ttl),
            short(self.heartbeat),
            short(self.passed)
        )?;
        if !self.all_owned {
            writeln!(f, "**Not every stream was owned in the end.**\n")?;
        }
        if self.doubled > 0 {
            writeln!(f, "**{} streams had two owners at once.**\n", self.doubled)?;
        }
        self.outcome(f)?;
        for name in ["quiet", "takeover"] {
            if let Some(period) = self.period(name) {
                period.table(f)?;
            }
        }
        self.worst.line(f)?;
        writeln!(
            f,
            "| quiet time, a second at each server; looks: takeover | law | expected | seen |\n|---|---|---|---|"
        )?;
        for Law { what, formula, expected, measured } in &self.laws {
            writeln!(f, "| {what} | {formula} | {} | {} |", number(*expected), number(*measured))?;
        }
        writeln!(f, "\n{}", Law::LETTERS)
    }
}

impl Report {
    fn outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | |\n|---|---|")?;
        let share = |share: Share| format!("{} / {} / {}", share.min, share.median, share.max);
        let spread = |spread: Spread| format!("{} / {} / {}", short(spread.p50), short(spread.p99), short(spread.max));
        let lost = self.disowned.iter().map(|(reason, count)| format!("{count} {reason}"));
        let lost = lost.collect::<Vec<_>>().join(", ");
        let rows = [
            ("all streams owned after", short(self.time_to_own)),
            ("streams per consumer, min / median / max", share(self.share)),
            ("the same after the crash", share(self.share_after)),
            ("without owner since the last heartbeat, p50 / p99 / max", spread(self.takeover)),
            ("without owner since the crash, p50 / p99 / max", spread(self.takeover_since_crash)),
            ("streams taken over", self.takeover.count.to_string()),
            ("orphans looked at, asked for", format!("{}, {}", self.looked_at, self.asked_for)),
            ("all owned again after", short(self.time_to_recover)),
            ("leases lost by the living", if lost.is_empty() { "0".to_owned() } else { lost }),
            ("bytes in Redis per stream (modelled)", self.bytes_per_stream.to_string()),
        ];
        rows.iter().try_for_each(|(what, value)| writeln!(f, "| {what} | {value} |"))?;
        writeln!(f)
    }
}

impl Period {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, busy, wait) = (self.name, self.busy_percent, self.longest_wait_ms);
        writeln!(
            f,
            "{name}, {:.1} s: servers busy {busy:.1} %, longest wait for a server {} ms, {} calls not answered in time\n",
            self.seconds,
            number(wait),
            self.given_up
        )?;
        writeln!(
            f,
            "| {name} | calls/s a server | items a call | commands | words | busy % |\n|---|---|---|---|---|---|"
        )?;
        for (kind, rate) in &self.calls {
            let numbers = [rate.per_second, rate.items, rate.commands, rate.words, rate.busy_percent].map(number);
            writeln!(f, "| {kind} | {} |", numbers.join(" | "))?;
        }
        writeln!(f)
    }
}

impl Worst {
    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.iter().map(|(kind, count)| format!("{kind} {count}"));
        let calls = calls.collect::<Vec<_>>().join(", ");
        let (shard, second, busy) = (self.shard, self.second, self.busy_percent);
        writeln!(f, "The worst second was second {second} at server {shard}: {busy:.0} % of a second's work; {calls}\n")
    }
}

/// A number with as many digits as matter.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((span.as_secs_f64() * 1e6).round() / 1e6)
}
