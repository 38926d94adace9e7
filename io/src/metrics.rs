//! What meters see, through the `metrics` facade: install a recorder *before* the client is started. The names are
//! listed in `docs/operations.md`.
//!
//! Every label is a word of a closed set, so the number of series is bounded; no stream, consumer or entry is a label.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label};
use streamkeeper_core::{
    streams::{
        Answer, Link, Remark,
        call::{Acquired, Finished, Released, RenewException},
    },
    trouble::{Trouble, TroubleKind},
};

/// A metric, and what tells one of its series from the others.
type Series = (&'static str, Words);
pub(crate) type Words = [(&'static str, &'static str); 2];

/// No label.
pub(crate) const PLAIN: Words = [("", ""); 2];

/// One label.
pub(crate) fn by(key: &'static str, word: &'static str) -> Words {
    [(key, word), ("", "")]
}

/// The handles on all series, made when first used.
#[derive(Default)]
pub(crate) struct Meters {
    /// `None`: nothing is measured.
    prefix: Option<String>,
    /// What every series is labelled with.
    labels: Vec<Label>,
    counters: Mutex<BTreeMap<Series, Counter>>,
    gauges: Mutex<BTreeMap<Series, Gauge>>,
    histograms: Mutex<BTreeMap<Series, Histogram>>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Meters {
    /// Names begin with `prefix` and `_`; every series is labelled with the service.
    pub(crate) fn new(prefix: &str, service: &str) -> Meters {
        Meters::labelled(prefix.to_owned(), vec![Label::new("service", service.to_owned())])
    }

    /// The same with other labels.
    pub(crate) fn labelled(prefix: String, labels: Vec<Label>) -> Meters {
        Meters { prefix: Some(prefix), labels, ..Meters::default() }
    }

    /// Measures nothing.
    pub(crate) fn off() -> Meters {
        Meters::default()
    }

    fn describe(&self, prefix: &str, (name, words): Series) -> (String, Vec<Label>) {
        let mut labels = self.labels.clone();
        let words = words.into_iter().filter(|(key, _)| !key.is_empty());
        labels.extend(words.map(|(key, word)| Label::from_static_parts(key, word)));
        (format!("{prefix}_{name}"), labels)
    }

    pub(crate) fn count(&self, name: &'static str, words: Words, by: u64) {
        let Some(prefix) = &self.prefix else { return };
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (name, labels) = self.describe(prefix, (name, words));
            metrics::counter!(name, labels)
        };
        counters.entry((name, words)).or_insert_with(make).increment(by);
    }

    pub(crate) fn gauge(&self, name: &'static str, words: Words, value: usize) {
        let Some(prefix) = &self.prefix else { return };
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (name, labels) = self.describe(prefix, (name, words));
            metrics::gauge!(name, labels)
        };
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        gauges.entry((name, words)).or_insert_with(make).set(value as f64);
    }

    pub(crate) fn record(&self, name: &'static str, words: Words, span: Duration) {
        let Some(prefix) = &self.prefix else { return };
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (name, labels) = self.describe(prefix, (name, words));
            metrics::histogram!(name, labels)
        };
        histograms.entry((name, words)).or_insert_with(make).record(span.as_secs_f64());
    }

    /// Records many spans at once.
    pub(crate) fn record_all(&self, name: &'static str, spans: impl Iterator<Item = (Words, Duration)>) {
        let Some(prefix) = &self.prefix else { return };
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        for (words, span) in spans {
            let make = || {
                let (name, labels) = self.describe(prefix, (name, words));
                metrics::histogram!(name, labels)
            };
            histograms.entry((name, words)).or_insert_with(make).record(span.as_secs_f64());
        }
    }

    /// A call to Redis was answered.
    pub(crate) fn answered(&self, call: &'static str, items: usize, answer: &Result<Answer, Trouble>, took: Duration) {
        if self.prefix.is_none() {
            return;
        }
        self.record("call_seconds", by("call", call), took);
        match answer {
            Err(trouble) => {
                let failed = [("call", call), ("kind", kind(trouble.kind))];
                self.count("call_failed_total", failed, 1);
                if let Some(name) = attempts(call) {
                    self.count(name, outcome("failed"), items as u64);
                }
            }
            Ok(Answer::Acquired(items)) => {
                items.iter().for_each(|item| self.count("acquire_total", outcome(acquired(item)), 1));
            }
            Ok(Answer::EpochDiffers) => self.count("acquire_total", outcome("epoch"), items as u64),
            Ok(Answer::Renewed(renewed)) => {
                let lost = renewed.exceptions.iter().filter(|(_, exception)| not_renewed(exception)).count();
                self.count("renew_total", outcome("renewed"), items.saturating_sub(lost) as u64);
                for (_, exception) in &renewed.exceptions {
                    self.count("renew_total", outcome(renewal(exception)), 1);
                }
            }
            Ok(Answer::Done(items)) => {
                items.iter().for_each(|item| self.count("done_total", outcome(finished(item)), 1));
            }
            Ok(Answer::Released(items)) => {
                items.iter().for_each(|item| self.count("release_total", outcome(released(item)), 1));
            }
            Ok(_) => {}
        }
    }

    /// A remark of the machine.
    pub(crate) fn remark(&self, remark: &Remark) {
        match remark {
            Remark::LinkDown { link, .. } => self.count("link_down_total", by("link", link_name(*link)), 1),
            Remark::CallFailed { .. } | Remark::Server(_) | Remark::Broken { .. } => {}
            Remark::Quarantine(_) => {
                self.count("quarantine_total", PLAIN, 1);
                self.gauge("quarantined", PLAIN, 1);
            }
            Remark::Settled => self.gauge("quarantined", PLAIN, 0),
            Remark::Paused(span) => self.record("paused_seconds", PLAIN, *span),
            Remark::HintDropped => self.count("hints_total", outcome("foreign"), 1),
            Remark::HintSeen => self.count("hints_total", outcome("seen"), 1),
            Remark::HintLeft => self.count("hints_total", outcome("left"), 1),
            Remark::NotificationMissed(_) => self.count("hints_total", outcome("missed"), 1),
            Remark::StrayAnswer => self.count("stray_answers_total", PLAIN, 1),
            Remark::Orphans(orphans) => self.gauge("orphans", PLAIN, *orphans),
            Remark::TakenOver(delay) => self.record("takeover_delay_seconds", PLAIN, *delay),
            Remark::TakenBack(_) => self.count("repairs_total", by("what", "taken-back"), 1),
            Remark::Recreated(_) => self.count("repairs_total", by("what", "recreated"), 1),
            Remark::GroupRecreated => self.count("repairs_total", by("what", "group"), 1),
            Remark::Forgotten(entries) => {
                self.count("repairs_total", by("what", "forgotten"), entries.len() as u64);
            }
            Remark::Cleaned(consumers) => {
                self.count("repairs_total", by("what", "cleaned"), consumers.len() as u64);
            }
            Remark::LateGrant(_) => self.count("repairs_total", by("what", "late-grant"), 1),
        }
    }

    /// What was granted is known to as many replicas as wanted, or not.
    pub(crate) fn witnessed(&self, enough: bool) {
        self.gauge("replicas_missing", PLAIN, usize::from(!enough));
        self.count("waited_for_replicas_total", outcome(if enough { "enough" } else { "too-few" }), 1);
    }

    /// A hint did not fit into the queue.
    pub(crate) fn push_dropped(&self) {
        self.count("hints_total", outcome("dropped"), 1);
    }

    /// An `Expired` notification was not given to an application that does not read.
    pub(crate) fn hint_withheld(&self) {
        self.count("hints_total", outcome("withheld"), 1);
    }

    /// A link is there, or not.
    pub(crate) fn link(&self, link: Link, up: bool) {
        self.gauge("link_up", by("link", link_name(link)), usize::from(up));
    }

    /// A stream is owned now.
    pub(crate) fn added(&self, takeover: bool) {
        self.count("added_total", by("takeover", if takeover { "yes" } else { "no" }), 1);
    }

    /// A stream is not owned any more, in this way, after so long.
    pub(crate) fn ended(&self, end: &'static str, after: Duration) {
        self.count("ended_total", by("end", end), 1);
        self.record("processing_seconds", by("end", end), after);
    }

    /// A claim of the application was answered.
    pub(crate) fn claimed(&self, result: &'static str) {
        self.count("claim_total", outcome(result), 1);
    }

    /// An announcement was set aside.
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.count("rejected_total", by("reason", reason), 1);
    }

    /// So many streams are owned, so many notifications unread.
    pub(crate) fn depth(&self, owned: usize, unread: usize) {
        self.gauge("owned", PLAIN, owned);
        self.gauge("unread", PLAIN, unread);
    }
}

fn outcome(word: &'static str) -> Words {
    by("outcome", word)
}

fn attempts(call: &str) -> Option<&'static str> {
    match call {
        "acquire" => Some("acquire_total"),
        "renew" => Some("renew_total"),
        "done" => Some("done_total"),
        "release" => Some("release_total"),
        _ => None,
    }
}

fn acquired(item: &Acquired) -> &'static str {
    match item {
        Acquired::Granted(_) => "granted",
        Acquired::Gone => "gone",
        Acquired::Trimmed => "trimmed",
        Acquired::Held(_) => "held",
        Acquired::Busy(_) => "busy",
        Acquired::Other(_) => "other",
        Acquired::SetAside(_) => "set-aside",
        Acquired::Broken(_) => "broken",
    }
}

fn not_renewed(exception: &RenewException) -> bool {
    matches!(exception, RenewException::Lost(_) | RenewException::Gone | RenewException::Broken(_))
}

fn renewal(exception: &RenewException) -> &'static str {
    match exception {
        RenewException::Lost(_) => "lost",
        RenewException::TakenBack => "taken-back",
        RenewException::Recreated => "recreated",
        RenewException::Gone => "gone",
        RenewException::Broken(_) => "broken",
    }
}

fn finished(item: &Finished) -> &'static str {
    match item {
        Finished::Done => "done",
        Finished::Gone => "gone",
        Finished::Fenced => "fenced",
        Finished::Broken(_) => "broken",
    }
}

fn released(item: &Released) -> &'static str {
    match item {
        Released::Released => "released",
        Released::SetAside => "set-aside",
        Released::Fenced => "fenced",
        Released::Broken(_) => "broken",
    }
}

/// A link's name in meters and logs.
pub(crate) fn link_name(link: Link) -> &'static str {
    match link {
        Link::Commands => "commands",
        Link::Reader => "reader",
        Link::Subscriber => "subscriber",
    }
}

/// A trouble's name in meters.
pub(crate) fn kind(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Connection => "connection",
        TroubleKind::WrongServer => "wrong-server",
        TroubleKind::NotNow => "not-now",
        TroubleKind::OutOfMemory => "out-of-memory",
        TroubleKind::GroupLost => "group-lost",
        TroubleKind::WrongType => "wrong-type",
        TroubleKind::Refused => "refused",
        TroubleKind::Unsupported => "unsupported",
        TroubleKind::Other => "other",
    }
}

/// A recorder for tests.
#[cfg(test)]
pub(crate) mod tape {
    use std::sync::Arc;

    use metrics::{CounterFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    /// Writes down what is counted, and how many spans are recorded.
    #[derive(Clone, Default)]
    pub(crate) struct Tape(Arc<Mutex<BTreeMap<String, u64>>>);

    struct Line(Tape, String);

    impl Tape {
        /// What was counted, in the order of the names.
        pub(crate) fn lines(&self) -> Vec<String> {
            self.0.lock().unwrap().iter().map(|(line, n)| format!("{line} {n}")).collect()
        }

        fn line(&self, key: &Key) -> Arc<Line> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Line(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
        }
    }

    impl CounterFn for Line {
        fn increment(&self, by: u64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += by;
        }
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for Line {
        fn record(&self, _: f64) {
            self.increment(1);
        }
    }

    impl Recorder for Tape {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.line(key))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.line(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use streamkeeper_core::{id::Token, streams::call::Grant};

    use super::{tape::Tape, *};

    #[test]
    fn answers_are_counted_by_what_became_of_each_stream() {
        let tape = Tape::default();
        with_local_recorder(&tape, || {
            let meters = Meters::new("sk", "svc");
            let grant = Grant { token: Token(1), takeover: false, takeovers: 0, failures: 0, deliveries: 1 };
            let answer =
                Ok(Answer::Acquired(vec![Acquired::Granted(grant.clone()), Acquired::Gone, Acquired::Granted(grant)]));
            meters.answered("acquire", 3, &answer, Duration::ZERO);
            meters.answered("renew", 7, &Err(Trouble::connection("x")), Duration::ZERO);
            meters.push_dropped();
            Meters::off().push_dropped();
        });
        assert_eq!(
            tape.lines(),
            [
                "sk_acquire_total{service=svc,outcome=gone} 1",
                "sk_acquire_total{service=svc,outcome=granted} 2",
                "sk_call_failed_total{service=svc,call=renew,kind=connection} 1",
                "sk_call_seconds{service=svc,call=acquire} 1",
                "sk_call_seconds{service=svc,call=renew} 1",
                "sk_hints_total{service=svc,outcome=dropped} 1",
                "sk_renew_total{service=svc,outcome=failed} 7",
            ]
        );
    }
}
