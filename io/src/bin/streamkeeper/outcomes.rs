//! What `consume` writes on stdout: a line for each outcome, flushed at once, as JSON or for people.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use streamkeeper::{
    EntryId,
    messages::{Reason, Report},
};

use crate::output::now_us;

/// How a message was handled.
#[derive(Serialize)]
pub(crate) struct Outcome<'a> {
    at_us: u64,
    #[serde(serialize_with = "as_text")]
    id: EntryId,
    attempt: u32,
    outcome: &'static str,
    /// Why it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    took_ms: u64,
}

impl<'a> Outcome<'a> {
    /// How this attempt ended, in a word, and what went wrong.
    pub(crate) fn new(id: EntryId, attempt: u32, outcome: &'static str, error: Option<&'a str>) -> Outcome<'a> {
        Outcome { at_us: now_us(), id, attempt, outcome, reason: None, error, took_ms: 0 }
    }

    /// It is never tried again, for this reason.
    pub(crate) fn dead(id: EntryId, attempt: u32, reason: Reason, error: &'a str) -> Outcome<'a> {
        Outcome { reason: Some(reason.label()), ..Outcome::new(id, attempt, "dead", Some(error)) }
    }

    /// The command had it for so long.
    pub(crate) fn after(self, took: Duration) -> Outcome<'a> {
        Outcome { took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX), ..self }
    }
}

fn as_text<S: serde::Serializer>(id: &EntryId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// What is about no message.
#[derive(Serialize)]
struct Fact<'a> {
    at_us: u64,
    event: &'static str,
    consumer: &'a str,
    #[serde(flatten)]
    report: Option<Counts>,
}

#[derive(Serialize)]
struct Counts {
    finished: usize,
    returned: usize,
    left: usize,
}

/// Writes it.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
}

impl Printer {
    pub(crate) fn outcome(self, outcome: &Outcome<'_>) -> io::Result<()> {
        self.line(outcome, || human(outcome))
    }

    pub(crate) fn ready(self, consumer: &str) -> io::Result<()> {
        let fact = Fact { at_us: now_us(), event: "ready", consumer, report: None };
        self.line(&fact, || format!("ready    {consumer}"))
    }

    pub(crate) fn stopped(self, consumer: &str, report: &Report) -> io::Result<()> {
        let Report { finished, returned, left } = *report;
        let report = Some(Counts { finished, returned, left });
        let fact = Fact { at_us: now_us(), event: "stopped", consumer, report };
        self.line(&fact, || format!("stopped  {consumer} finished={finished} returned={returned} left={left}"))
    }

    fn line(self, line: &impl Serialize, human: impl Fn() -> String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", human())?;
        }
        out.flush()
    }
}

fn human(outcome: &Outcome<'_>) -> String {
    let Outcome { id, attempt, took_ms, .. } = outcome;
    let mut text = format!("{:<8} {id} attempt={attempt} took={took_ms}ms", outcome.outcome);
    if let Some(reason) = outcome.reason {
        text.push_str(&format!(" {reason}"));
    }
    if let Some(error) = outcome.error {
        text.push_str(&format!(" ({error})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_what_their_outcome_needs() {
        let id = EntryId { ms: 5, seq: 1 };
        let ok = Outcome { at_us: 7, ..Outcome::new(id, 2, "ok", None).after(Duration::from_millis(30)) };
        let json = |outcome: &Outcome<'_>| serde_json::to_string(outcome).unwrap();
        assert_eq!(json(&ok), r#"{"at_us":7,"id":"5-1","attempt":2,"outcome":"ok","took_ms":30}"#);
        assert_eq!(human(&ok), "ok       5-1 attempt=2 took=30ms");
        let dead = Outcome { at_us: 7, ..Outcome::dead(id, 5, Reason::Failed, "no") };
        let expected =
            r#"{"at_us":7,"id":"5-1","attempt":5,"outcome":"dead","reason":"failed","error":"no","took_ms":0}"#;
        assert_eq!(json(&dead), expected);
        assert_eq!(human(&dead), "dead     5-1 attempt=5 took=0ms failed (no)");
    }
}
