//! What meters see of entries, through the `metrics` facade: install a recorder *before* the client is started. The names
//! are listed in `docs/operations.md`.
//!
//! Every label is a word of a closed set; no stream or entry is a label.

use std::time::Duration;

use streamkeeper_core::{
    entries::{
        Answer,
        event::{CommitEnd, Delivery, Remark},
    },
    link::Link,
    trouble::Trouble,
};

use crate::metrics::{Meters as Series, PLAIN, by, kind, link_name};

/// The series of one client's reading and committing.
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

    /// Something was delivered to who reads.
    pub(crate) fn delivered(&self, delivery: &Delivery) {
        match delivery {
            Delivery::Entries(entries) => self.0.count("read_total", PLAIN, entries.len() as u64),
            Delivery::Opened(_) => {}
            Delivery::Gap { missing, .. } => {
                self.0.count("incidents_total", by("what", "gap"), 1);
                self.0.count("missing_total", PLAIN, missing.unwrap_or(0));
            }
            Delivery::Rewound { .. } => self.0.count("incidents_total", by("what", "rewound"), 1),
            Delivery::RolledBack(_) => self.0.count("incidents_total", by("what", "rolled-back"), 1),
            Delivery::Broken(_) => self.0.count("incidents_total", by("what", "broken"), 1),
        }
    }

    /// A commit was answered.
    pub(crate) fn committed(&self, end: &CommitEnd) {
        let outcome = match end {
            CommitEnd::Done => "done",
            CommitEnd::Behind(_) => "behind",
            CommitEnd::RolledBack(_) => "rolled-back",
            CommitEnd::Fenced => "fenced",
            CommitEnd::Lost => "lost",
            CommitEnd::Unknown => "unknown",
            CommitEnd::Rejected(..) => "rejected",
            CommitEnd::Broken(_) => "broken",
        };
        self.0.count("commit_total", by("outcome", outcome), 1);
    }

    /// An entry could not be decoded, and is to be set aside.
    pub(crate) fn undecodable(&self) {
        self.0.count("undecodable_total", PLAIN, 1);
    }

    /// A link is there, or not.
    pub(crate) fn link(&self, link: Link, up: bool) {
        self.0.gauge("link_up", by("link", link_name(link)), usize::from(up));
    }

    /// So many streams are worked on, so many entries delivered and not taken in.
    pub(crate) fn depth(&self, streams: usize, buffered: usize) {
        self.0.gauge("streams", PLAIN, streams);
        self.0.gauge("buffered", PLAIN, buffered);
    }

    /// A remark of the machine.
    pub(crate) fn remark(&self, remark: &Remark) {
        match remark {
            Remark::LinkDown { link, .. } => self.0.count("link_down_total", by("link", link_name(*link)), 1),
            Remark::StrayAnswer(_) => self.0.count("stray_answers_total", PLAIN, 1),
            Remark::Broken(..) => self.0.count("broken_keys_total", PLAIN, 1),
            Remark::CallFailed { .. } | Remark::Prepared(_) | Remark::CannotWake => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use streamkeeper_core::{entries::call::Entry, id::EntryId};

    use super::*;
    use crate::metrics::tape::Tape;

    #[test]
    fn entries_and_commits_are_counted() {
        let tape = Tape::default();
        with_local_recorder(&tape, || {
            let meters = Meters(Series::new("sk_entries", "svc"));
            let entry = |ms| Entry { id: EntryId { ms, seq: 0 }, fields: Vec::new() };
            meters.delivered(&Delivery::Entries(vec![entry(1), entry(2)]));
            meters.delivered(&Delivery::Gap { after: EntryId::default(), next: None, missing: Some(7) });
            meters.committed(&CommitEnd::Done);
            meters.committed(&CommitEnd::Fenced);
            meters.committed(&CommitEnd::Done);
        });
        assert_eq!(
            tape.lines(),
            [
                "sk_entries_commit_total{service=svc,outcome=done} 2",
                "sk_entries_commit_total{service=svc,outcome=fenced} 1",
                "sk_entries_incidents_total{service=svc,what=gap} 1",
                "sk_entries_missing_total{service=svc} 7",
                "sk_entries_read_total{service=svc} 2",
            ]
        );
    }
}
