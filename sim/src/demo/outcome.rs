//! What the demo came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, ser::SerializeMap};
use streamkeeper::Time;

use crate::{
    facts::Who,
    judge::{Kind, Violation},
    metrics::{Metrics, short},
    timeline::Cause,
};

/// What the demo came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many streams were announced.
    pub announced: usize,
    /// Streams whose work is not all in the ledger.
    pub lost: BTreeSet<String>,
    /// Streams that two consumers believed to own at one instant.
    pub double_owned: BTreeSet<String>,
    /// Writes that the ledger refused since somebody with a newer token had written.
    pub refused: usize,
    /// The figures.
    pub metrics: Metrics,
    /// Where the report is.
    pub report: String,
}

impl Outcome {
    /// Nothing was lost, nothing had two owners.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.double_owned.is_empty()
    }

    /// The same for the report, as what was seen at the end.
    pub(super) fn violations(&self, at: Time) -> Vec<Violation> {
        let broken = |promise, streams: &BTreeSet<String>, how: &str| {
            let how = |stream: &String| format!("{stream} {how}");
            let violation = |stream| Violation { promise, kind: Kind::Safety, at, how: how(stream) };
            streams.iter().map(violation).collect::<Vec<_>>()
        };
        let mut all = broken("exclusive", &self.double_owned, "was owned by two at one instant");
        all.extend(broken("kept", &self.lost, "was not worked off"));
        all
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = self.metrics.without_owner();
        let handover = self.metrics.after(Cause::Release);
        writeln!(f, "streams announced               {:>6}", self.announced)?;
        writeln!(f, "lost                            {:>6}", self.lost.len())?;
        writeln!(f, "owned by two                    {:>6}", self.double_owned.len())?;
        writeln!(f, "takeovers                       {:>6}", self.metrics.takeovers)?;
        writeln!(
            f,
            "  after a crash, freeze or cut  {:>6}   p50 {}, max {}",
            without.count,
            short(without.p50),
            short(without.max)
        )?;
        writeln!(
            f,
            "  handed over                   {:>6}   p50 {}, max {}",
            handover.count,
            short(handover.p50),
            short(handover.max)
        )?;
        writeln!(f, "late writes refused by token    {:>6}", self.refused)?;
        write!(f, "report                          {}", self.report)
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let without = self.metrics.without_owner();
        let ms = |span: std::time::Duration| (span.as_secs_f64() * 1e4).round() / 10.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("announced", &self.announced)?;
        map.serialize_entry("lost", &self.lost.len())?;
        map.serialize_entry("double_owned", &self.double_owned.len())?;
        map.serialize_entry("takeovers", &self.metrics.takeovers)?;
        map.serialize_entry("takeover_p50_ms", &ms(without.p50))?;
        map.serialize_entry("takeover_max_ms", &ms(without.max))?;
        map.serialize_entry("handover_max_ms", &ms(self.metrics.after(Cause::Release).max))?;
        map.serialize_entry("refused_writes", &self.refused)?;
        map.serialize_entry("report", &self.report)?;
        map.end()
    }
}

/// What owners believed: from when until when each trusted which lease, by the one clock that all share.
#[derive(Default)]
pub(super) struct Beliefs(BTreeMap<(String, u64, Who), Belief>);

#[derive(Clone, Copy)]
struct Belief {
    from: Time,
    until: Time,
    ended: Option<Time>,
}

impl Beliefs {
    /// An owner trusts a lease, at this instant, until then.
    pub(super) fn trusts(&mut self, who: Who, stream: &str, token: u64, at: Time, until: Time) {
        let belief = Belief { from: at, until, ended: None };
        let belief = self.0.entry((stream.to_owned(), token, who)).or_insert(belief);
        belief.until = belief.until.max(until);
    }

    /// An owner was told that it has ended.
    pub(super) fn ended(&mut self, who: Who, stream: &str, token: u64, at: Time) {
        if let Some(belief) = self.0.get_mut(&(stream.to_owned(), token, who)) {
            belief.ended = Some(at);
        }
    }

    /// A process was killed: it believes nothing any more.
    pub(super) fn died(&mut self, who: Who, at: Time) {
        for belief in self.0.iter_mut().filter(|((_, _, owner), _)| *owner == who).map(|(_, belief)| belief) {
            belief.ended = Some(belief.ended.map_or(at, |ended| ended.min(at)));
        }
    }

    /// The streams that two trusted to own at one instant.
    pub(super) fn double(&self) -> BTreeSet<String> {
        let mut double = BTreeSet::new();
        let mut latest: Option<(&str, Time)> = None;
        let spans = self.0.iter().map(|((stream, ..), belief)| {
            let until = belief.ended.map_or(belief.until, |ended| ended.min(belief.until));
            (stream.as_str(), belief.from, until)
        });
        let mut spans: Vec<_> = spans.filter(|(_, from, until)| from < until).collect();
        spans.sort_unstable();
        for (stream, from, until) in spans {
            let before = latest.filter(|(other, _)| *other == stream).map(|(_, until)| until);
            if before.is_some_and(|before| from < before) {
                double.insert(stream.to_owned());
            }
            latest = Some((stream, before.map_or(until, |before| before.max(until))));
        }
        double
    }
}
