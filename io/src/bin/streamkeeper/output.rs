//! What is written on stdout: one event a line, flushed at once, as JSON or for people.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::value::RawValue;
use streamkeeper::{Lease, Notification, Report};

use crate::processes::{self, Ended};

/// One line. What does not belong to its event is left out.
#[derive(Default, Serialize)]
pub(crate) struct Line<'a> {
    at_us: u64,
    event: &'static str,
    consumer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    takeover: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    takeovers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    report: Option<Counts>,
}

#[derive(Serialize)]
struct Counts {
    done: usize,
    released: usize,
    disowned: usize,
    unanswered: usize,
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Writes what a consumer is told.
pub(crate) struct Printer {
    pub(crate) consumer: String,
    pub(crate) json: bool,
    /// The service has partitions: each line says which one it is about.
    pub(crate) partitions: bool,
}

impl Printer {
    pub(crate) fn print(&self, notification: &Notification) -> io::Result<()> {
        self.line(describe(notification))
    }

    /// What is told of processes.
    pub(crate) fn print_process(&self, event: &processes::Event) -> io::Result<()> {
        self.line(describe_process(event))
    }

    fn line(&self, line: Line<'_>) -> io::Result<()> {
        let partition = line.partition.filter(|_| self.partitions);
        let line = Line { at_us: now_us(), consumer: &self.consumer, partition, ..line };
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", human(&line))?;
        }
        out.flush()
    }
}

fn describe(notification: &Notification) -> Line<'_> {
    let line = Line::default();
    match notification {
        Notification::Ready => Line { event: "ready", ..line },
        Notification::Added(lease) => added(lease),
        Notification::Expired { entry, stream, partition } => Line {
            event: "expired",
            stream: Some(stream.as_str()),
            entry: Some(entry.to_string()),
            partition: Some(*partition),
            ..line
        },
        Notification::ClaimLost { entry, stream, why, partition } => Line {
            event: "claim-lost",
            stream: stream.as_ref().map(|stream| stream.as_str()),
            entry: Some(entry.to_string()),
            partition: Some(*partition),
            reason: Some(why.label()),
            detail: Some(format!("{why:?}")),
            ..line
        },
        Notification::Disowned { entry, stream, token, reason, partition } => Line {
            event: "disowned",
            stream: Some(stream.as_str()),
            entry: Some(entry.to_string()),
            partition: Some(*partition),
            token: Some(token.0),
            reason: Some(reason.label()),
            detail: Some(format!("{reason:?}")),
            ..line
        },
        Notification::Done { entry, stream, token, partition } => {
            let (stream, entry, partition) = (Some(stream.as_str()), Some(entry.to_string()), Some(*partition));
            Line { event: "done", stream, entry, partition, token: Some(token.0), ..line }
        }
        Notification::Released { entry, stream, token, partition } => {
            let (stream, entry, partition) = (Some(stream.as_str()), Some(entry.to_string()), Some(*partition));
            Line { event: "released", stream, entry, partition, token: Some(token.0), ..line }
        }
        Notification::Rejected { entry, stream, reason, error, partition } => Line {
            event: "rejected",
            stream: stream.as_ref().map(|stream| stream.as_str()),
            entry: Some(entry.to_string()),
            partition: Some(*partition),
            reason: Some(reason.label()),
            detail: Some(error.to_string()),
            ..line
        },
        Notification::Terminated(trouble) => Line { event: "terminated", reason: Some(&trouble.message), ..line },
        Notification::Stopped(report) => Line { event: "stopped", report: Some(counts(report)), ..line },
        _ => Line { event: "unknown", ..line },
    }
}

fn added(lease: &Lease) -> Line<'_> {
    let info = lease.info().unwrap_or("null").to_owned();
    Line {
        event: "added",
        stream: Some(lease.stream().as_str()),
        entry: Some(lease.entry().to_string()),
        partition: Some(lease.partition()),
        token: Some(lease.token().0),
        takeover: Some(lease.takeover()),
        takeovers: Some(lease.takeovers()),
        failures: Some(lease.failures()),
        deliveries: Some(lease.deliveries()),
        info: RawValue::from_string(info).ok(),
        ..Line::default()
    }
}

fn describe_process(event: &processes::Event) -> Line<'_> {
    let about = |lease: &'_ Lease| {
        let (entry, token) = (Some(lease.entry().to_string()), Some(lease.token().0));
        Line { entry, partition: Some(lease.partition()), token, ..Line::default() }
    };
    match event {
        processes::Event::Started { lease, pid } => {
            Line { event: "started", stream: Some(lease.stream().as_str()), pid: Some(*pid), ..about(lease) }
        }
        processes::Event::Ended(Ended { lease, pid, outcome, code, error, took }) => Line {
            event: "ended",
            stream: Some(lease.stream().as_str()),
            pid: *pid,
            outcome: Some(outcome),
            code: *code,
            took_ms: u64::try_from(took.as_millis()).ok(),
            detail: error.clone(),
            ..about(lease)
        },
        processes::Event::GuardGone(why) => Line { event: "guard-gone", reason: Some(why), ..Line::default() },
    }
}

fn counts(report: &Report) -> Counts {
    let Report { done, released, disowned, unanswered, .. } = *report;
    Counts { done, released, disowned, unanswered }
}

fn human(line: &Line<'_>) -> String {
    let mut text = format!("{:<10}", line.event);
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name}{value}"));
        }
    };
    say("", line.stream.map(str::to_owned));
    say("entry=", line.entry.clone());
    say("partition=", line.partition.map(|partition| partition.to_string()));
    say("token=", line.token.map(|token| token.to_string()));
    say("", line.takeover.filter(|takeover| *takeover).map(|_| "takeover".to_owned()));
    say("info=", line.info.as_ref().map(|info| info.get().to_owned()).filter(|info| info != "null"));
    say("pid=", line.pid.map(|pid| pid.to_string()));
    say("outcome=", line.outcome.map(str::to_owned));
    say("code=", line.code.map(|code| code.to_string()));
    say("took=", line.took_ms.map(|took| format!("{took}ms")));
    say("reason=", line.reason.map(str::to_owned));
    say("", line.detail.as_ref().map(|detail| format!("({detail})")));
    if let Some(Counts { done, released, disowned, unanswered }) = &line.report {
        say("", Some(format!("done={done} released={released} disowned={disowned} unanswered={unanswered}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_what_their_event_needs() {
        let report = Report { released: 2, ..Report::default() };
        let stopped = Notification::Stopped(report);
        let line = Line { at_us: 1, consumer: "c", ..describe(&stopped) };
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(
            json,
            r#"{"at_us":1,"event":"stopped","consumer":"c","done":0,"released":2,"disowned":0,"unanswered":0}"#
        );
        assert_eq!(human(&line), "stopped    done=0 released=2 disowned=0 unanswered=0");
        let info = RawValue::from_string(r#"{"n":12345678901234567890123}"#.to_owned()).ok();
        let line = Line { event: "ended", outcome: Some("failed"), code: Some(3), ..Line::default() };
        assert_eq!(human(&line), "ended      outcome=failed code=3");
        let line = Line { event: "added", info, ..Line::default() };
        assert!(serde_json::to_string(&line).unwrap().contains(r#""info":{"n":12345678901234567890123}"#));
    }
}
