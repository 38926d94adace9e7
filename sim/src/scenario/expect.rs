//! What a scenario expects of each of its runs, besides the promises, which are always judged.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use streamkeeper::Time;

use crate::{
    facts::{Fact, What},
    metrics::{Metrics, Spread, short},
    plan::text::print_span,
    timeline::{Cause, Ownership, Timeline},
};

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// These streams have an owner so long after this time, or need none any more.
    Owned {
        /// Which.
        streams: Streams,
        /// After this time.
        after: Duration,
        /// So long.
        within: Duration,
    },
    /// A figure lies between these.
    Figure {
        /// Which.
        figure: Figure,
        /// Not below.
        at_least: Option<Limit>,
        /// Not above.
        at_most: Option<Limit>,
    },
    /// These streams are finished at the end.
    Finished(Streams),
    /// These streams are set aside at the end.
    SetAside {
        /// Which.
        streams: Streams,
        /// For this reason, or for any.
        reason: Option<String>,
    },
    /// A consumer owns so many streams at this time.
    Owns {
        /// Its index.
        consumer: usize,
        /// Its name.
        name: String,
        /// So many at least.
        at_least: usize,
        /// At this time.
        at: Duration,
    },
}

/// Streams by name: one, all whose names begin so (`orders-*`), or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams(pub(super) String);

/// What can be counted or measured in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// How many times a stream was taken over.
    Takeovers,
    /// How many ownerships ended without their owner's wish.
    Disowns,
    /// How many announcements were set aside.
    SetAside,
    /// How many announcements were finished.
    Finished,
    /// How many streams had no owner when the run ended, finished ones aside.
    NoOwnerAtEnd,
    /// How long streams had no owner after something that nobody wished.
    WithoutOwner(Rank),
    /// How long streams had no owner after they had been given back.
    Handover(Rank),
    /// How long streams waited for their first owner.
    FirstOwner(Rank),
}

/// Which of many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The median.
    P50,
    /// The 99th percentile.
    P99,
    /// The longest.
    Max,
}

/// A limit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Of what is counted.
    Count(u64),
    /// Of what is measured.
    Span(Duration),
}

/// A run, as an expectation sees it.
pub(super) struct Seen<'a> {
    pub(super) facts: &'a [Fact],
    pub(super) timeline: &'a Timeline,
    pub(super) metrics: &'a Metrics,
    /// By how much everything happened later than the scenario says.
    pub(super) shift: Duration,
}

impl Expectation {
    /// Why it is missed, if it is.
    pub(super) fn missed(&self, run: &Seen<'_>) -> Option<String> {
        match self {
            Expectation::Owned { streams, after, within } => {
                owned(run, streams, Time::ZERO + run.shift + *after + *within)
            }
            Expectation::Figure { figure, at_least, at_most } => {
                let is = figure.of(run.metrics);
                let fits = at_least.is_none_or(|least| is >= least) && at_most.is_none_or(|most| is <= most);
                (!fits).then(|| is.to_string())
            }
            Expectation::Finished(streams) => {
                let open = |end: &End| !matches!(end, End::Finished);
                first(run, streams, open, "is not finished")
            }
            Expectation::SetAside { streams, reason } => {
                let fits = |why: &str| reason.as_deref().is_none_or(|reason| reason == why);
                let open = |end: &End| !matches!(end, End::SetAside(why) if fits(why));
                first(run, streams, open, "is not set aside")
            }
            Expectation::Owns { consumer, at_least, at, .. } => {
                let at = Time::ZERO + run.shift + *at;
                let here = |owned: &&Ownership| owned.who.consumer == *consumer && holds(owned, at);
                let owns = run.timeline.ownerships.iter().filter(here).count();
                (owns < *at_least).then(|| format!("it owns {owns}"))
            }
        }
    }
}

/// How a stream stands at the end of a run.
enum End {
    Open,
    Finished,
    SetAside(String),
}

/// The first of these streams that is not as expected.
fn first(run: &Seen<'_>, streams: &Streams, wrong: impl Fn(&End) -> bool, how: &str) -> Option<String> {
    let all = ends(run.facts);
    let mut matching = all.iter().filter(|(name, _)| streams.include(name)).peekable();
    if matching.peek().is_none() {
        return Some(streams.missing());
    }
    matching.find(|(_, end)| wrong(end)).map(|(name, _)| format!("{name} {how}"))
}

/// How each announced stream ended; the latest announcement counts.
fn ends(facts: &[Fact]) -> BTreeMap<Arc<str>, End> {
    let mut names: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for fact in facts {
        match &fact.what {
            // Its producer may hear of it last of all.
            What::Announced { entry, .. } if names.contains_key(entry) => {}
            What::Announced { stream, entry } => {
                names.insert(Arc::clone(entry), Arc::clone(stream));
                ends.insert(Arc::clone(stream), End::Open);
            }
            What::Added { owned, .. } => {
                names.insert(Arc::clone(&owned.entry), Arc::clone(&owned.stream));
                ends.entry(Arc::clone(&owned.stream)).or_insert(End::Open);
            }
            What::Finished { stream, .. } => drop(ends.insert(Arc::clone(stream), End::Finished)),
            What::Ended { owned, how: "done", .. } => drop(ends.insert(Arc::clone(&owned.stream), End::Finished)),
            What::SetAside { entry, why } => {
                if let Some(stream) = names.get(entry) {
                    ends.insert(Arc::clone(stream), End::SetAside(why.to_string()));
                }
            }
            _ => {}
        }
    }
    ends
}

/// The first of these streams without an owner at that time.
fn owned(run: &Seen<'_>, streams: &Streams, at: Time) -> Option<String> {
    let mut alone: Vec<_> = run.timeline.gaps.iter().map(|gap| (&gap.stream, gap.from, gap.until, gap.after)).collect();
    alone.extend(run.timeline.firsts.iter().map(|first| {
        let after = first.owned.then_some(0);
        (&first.stream, first.from, first.until, after)
    }));
    let known = run.timeline.ownerships.iter().map(|owned| &owned.owned.stream);
    let known = known.chain(alone.iter().map(|(stream, ..)| *stream)).any(|name| streams.include(name));
    if !known {
        return Some(streams.missing());
    }
    let missing = |(_, from, until, after): &(&Arc<str>, Time, Time, Option<usize>)| {
        *from <= at && (at < *until || after.is_none())
    };
    let mut missing = alone.into_iter().filter(|(stream, ..)| streams.include(stream)).filter(missing);
    missing.next().map(|(stream, from, until, after)| match after {
        Some(_) => format!("{stream} had no owner for {}", short(until.since(from))),
        None => format!("{stream} had no owner any more from {} on", short(from.since(Time::ZERO))),
    })
}

fn holds(owned: &Ownership, at: Time) -> bool {
    owned.from <= at && at < owned.useful_until.max(owned.from)
}

impl Streams {
    /// Whether it is one of them.
    pub fn include(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == "all" || self.0 == name,
        }
    }
}

impl Figure {
    /// All figures, by name.
    pub(super) const ALL: [(&'static str, Figure); 14] = [
        ("takeovers", Figure::Takeovers),
        ("disowns", Figure::Disowns),
        ("set-aside", Figure::SetAside),
        ("finished", Figure::Finished),
        ("no-owner-at-end", Figure::NoOwnerAtEnd),
        ("without-owner p50", Figure::WithoutOwner(Rank::P50)),
        ("without-owner p99", Figure::WithoutOwner(Rank::P99)),
        ("without-owner max", Figure::WithoutOwner(Rank::Max)),
        ("handover p50", Figure::Handover(Rank::P50)),
        ("handover p99", Figure::Handover(Rank::P99)),
        ("handover max", Figure::Handover(Rank::Max)),
        ("first-owner p50", Figure::FirstOwner(Rank::P50)),
        ("first-owner p99", Figure::FirstOwner(Rank::P99)),
        ("first-owner max", Figure::FirstOwner(Rank::Max)),
    ];

    /// It is a length of time, and no count.
    pub(super) fn is_span(self) -> bool {
        matches!(self, Figure::WithoutOwner(_) | Figure::Handover(_) | Figure::FirstOwner(_))
    }

    fn of(self, metrics: &Metrics) -> Limit {
        let count = |count: usize| Limit::Count(u64::try_from(count).unwrap_or(u64::MAX));
        let span = |spread: Spread, rank| {
            Limit::Span(match rank {
                Rank::P50 => spread.p50,
                Rank::P99 => spread.p99,
                Rank::Max => spread.max,
            })
        };
        match self {
            Figure::Takeovers => count(metrics.takeovers),
            Figure::Disowns => count(metrics.disowned()),
            Figure::SetAside => count(metrics.set_aside.values().sum()),
            Figure::Finished => count(metrics.finished),
            Figure::NoOwnerAtEnd => count(metrics.open_gaps.len() + metrics.never_owned),
            Figure::WithoutOwner(rank) => span(metrics.without_owner(), rank),
            Figure::Handover(rank) => span(metrics.after(Cause::Release), rank),
            Figure::FirstOwner(rank) => span(metrics.first_owner(), rank),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::Owned { streams, after, within } => {
                let (within, after) = (print_span(*within), print_span(*after));
                write!(f, "{streams} {} an owner {within} after {after}", streams.verb("has", "have"))
            }
            Expectation::Figure { figure, at_least, at_most } => {
                let limits =
                    [at_least.map(|least| format!("at least {least}")), at_most.map(|most| format!("at most {most}"))];
                let limits: Vec<_> = limits.into_iter().flatten().collect();
                write!(f, "{figure} {}", limits.join(" and "))
            }
            Expectation::Finished(streams) => write!(f, "{streams} {} finished at the end", streams.verb("is", "are")),
            Expectation::SetAside { streams, reason } => {
                write!(f, "{streams} {} set aside at the end", streams.verb("is", "are"))?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, " as {reason}"))
            }
            Expectation::Owns { name, at_least, at, .. } => {
                write!(f, "{name} owns at least {at_least} streams at {}", print_span(*at))
            }
        }
    }
}

impl Streams {
    /// None of them was ever seen.
    fn missing(&self) -> String {
        if self.0 == "all" { "no stream was ever owned".to_owned() } else { format!("there is no stream {self}") }
    }

    fn verb(&self, one: &'static str, many: &'static str) -> &'static str {
        if self.0 == "all" || self.0.ends_with('*') { many } else { one }
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == "all" { "all streams" } else { &self.0 })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Figure::ALL.iter().find(|(_, figure)| figure == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Count(count) => write!(f, "{count}"),
            Limit::Span(span) => f.write_str(&short(*span)),
        }
    }
}
