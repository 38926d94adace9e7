//! What meters see of messages, through the `metrics` facade: install a recorder *before* a consumer is started. The
//! names are listed in `docs/operations.md`.
//!
//! Every label but stream and group is a word of a closed set.

use std::time::Duration;

use streamkeeper_core::{
    id::EntryId,
    link::Link,
    messages::{Answer, Fate, Outcome, Remark, Stage, call::Reason},
    trouble::Trouble,
};

use super::flight::End;
use crate::metrics::{Meters as Series, PLAIN, Words, by, kind, link_name};

/// The series of one consumer of one stream, or of one producer.
#[derive(Debug)]
pub(crate) struct Meters(pub(crate) Series);

impl Meters {
    /// A call to Redis was answered.
    pub(crate) fn answered(&self, call: &'static str, answer: &Result<Answer, Trouble>, took: Duration) {
        self.0.record("call_seconds", by("call", call), took);
        if let Err(trouble) = answer {
            self.0.count("call_failed_total", [("call", call), ("kind", kind(trouble.kind))], 1);
        }
    }

    /// Runs have ended.
    pub(crate) fn ended(&self, ends: &[End]) {
        self.0.record_all("run_seconds", ends.iter().map(|end| (run(end), end.took)));
    }

    /// Messages have come to an end here.
    pub(crate) fn settled(&self, fates: &[(EntryId, Fate)]) {
        const ACKED: [(&str, &str); 2] = [("fate", "acked"), ("", "")];
        let mut acked = 0;
        for (_, fate) in fates {
            match fate {
                Fate::Acked => acked += 1,
                fate => self.0.count("settled_total", fate_words(fate), 1),
            }
        }
        if acked > 0 {
            self.0.count("settled_total", ACKED, acked);
        }
    }

    /// A link is there, or not.
    pub(crate) fn link(&self, link: Link, up: bool) {
        self.0.gauge("link_up", by("link", link_name(link)), usize::from(up));
    }

    /// So many messages are held, so many of them run.
    pub(crate) fn depth(&self, (held, running): (usize, usize)) {
        self.0.gauge("held", PLAIN, held);
        self.0.gauge("running", PLAIN, running);
    }

    /// A remark of the machine.
    pub(crate) fn remark(&self, remark: &Remark) {
        let repaired = |what, count| self.0.count("repairs_total", by("what", what), count);
        match remark {
            Remark::LinkDown { link, .. } => self.0.count("link_down_total", by("link", link_name(*link)), 1),
            Remark::CallFailed { .. } | Remark::Prepared(_) => {}
            Remark::StrayAnswer(_) => self.0.count("stray_answers_total", PLAIN, 1),
            Remark::GroupLost => repaired("group", 1),
            Remark::Paused(span) => self.0.record("paused_seconds", PLAIN, *span),
            Remark::Broken(..) => self.0.count("broken_keys_total", PLAIN, 1),
            Remark::Reclaimed(_, crashed) => {
                self.0.count("reclaimed_total", by("suspect", if *crashed > 1 { "yes" } else { "no" }), 1);
            }
            Remark::Hangs(..) => self.0.count("hanging_total", PLAIN, 1),
            Remark::TimedOut(_) => self.0.count("timed_out_total", PLAIN, 1),
            Remark::Swept(swept) => {
                repaired("record", swept.records);
                repaired("stranded", swept.stranded);
                repaired("consumer", swept.consumers.len() as u64);
                self.0.count("trimmed_total", PLAIN, swept.trimmed);
            }
        }
    }

    /// Messages were sent, or not: what became of each, as a word.
    pub(crate) fn sent(&self, results: impl Iterator<Item = &'static str>) {
        let mut results = results.peekable();
        while let Some(word) = results.next() {
            let mut count = 1;
            while results.next_if_eq(&word).is_some() {
                count += 1;
            }
            self.0.count("sent_total", by("outcome", word), count);
        }
    }
}

fn run(end: &End) -> Words {
    let stage = match end.stage {
        Stage::Process => "process",
        Stage::Dead(_) => "dead",
    };
    let outcome = match end.outcome {
        Outcome::Ack => "ack",
        Outcome::Failed { .. } => "failed",
        Outcome::Dead { .. } => "dead",
        Outcome::Drop => "drop",
        Outcome::Cancelled => "cancelled",
        Outcome::NotBegun => "not_begun",
    };
    [("stage", stage), ("outcome", outcome)]
}

fn fate_words(fate: &Fate) -> Words {
    let reason = |reason: &Reason| [("fate", "buried"), ("reason", reason.label())];
    match fate {
        Fate::Acked => by("fate", "acked"),
        Fate::Dropped => by("fate", "dropped"),
        Fate::Duplicate => by("fate", "duplicate"),
        Fate::Retried(_) => by("fate", "retried"),
        Fate::Returned => by("fate", "returned"),
        Fate::Buried(why) => reason(why),
        Fate::Lost => by("fate", "lost"),
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Label, with_local_recorder};
    use streamkeeper_core::messages::RunId;

    use super::*;
    use crate::metrics::tape::Tape;

    #[test]
    fn messages_are_counted_by_what_became_of_them() {
        let tape = Tape::default();
        with_local_recorder(&tape, || {
            let series = Series::labelled("sk_messages".to_owned(), vec![Label::new("stream", "s")]);
            let meters = Meters(series);
            let entry = EntryId { ms: 1, seq: 0 };
            meters.settled(&[(entry, Fate::Acked), (entry, Fate::Buried(Reason::Broken)), (entry, Fate::Acked)]);
            let end = |outcome| End { id: RunId(1), stage: Stage::Process, outcome, took: Duration::ZERO };
            meters.ended(&[end(Outcome::Ack), end(Outcome::Drop), end(Outcome::Ack)]);
            meters.answered("ack", &Err(Trouble::connection("x")), Duration::ZERO);
            meters.sent(["sent", "sent", "unanswered", "sent"].into_iter());
        });
        assert_eq!(
            tape.lines(),
            [
                "sk_messages_call_failed_total{stream=s,call=ack,kind=connection} 1",
                "sk_messages_call_seconds{stream=s,call=ack} 1",
                "sk_messages_run_seconds{stream=s,stage=process,outcome=ack} 2",
                "sk_messages_run_seconds{stream=s,stage=process,outcome=drop} 1",
                "sk_messages_sent_total{stream=s,outcome=sent} 3",
                "sk_messages_sent_total{stream=s,outcome=unanswered} 1",
                "sk_messages_settled_total{stream=s,fate=acked} 2",
                "sk_messages_settled_total{stream=s,fate=buried,reason=broken} 1",
            ]
        );
    }
}
