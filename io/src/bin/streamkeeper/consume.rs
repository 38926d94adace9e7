//! Working on a stream's messages with a command.

use std::{collections::BTreeMap, future, io, process, sync::Arc, time::Duration};

use streamkeeper::messages::{
    Backoff, Begin, Broken, Builder, CodecError, Consumer, Context, Dead, Decode, Outcome, Processed, Reason, Worker,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    Failure,
    args::{self, Consume},
    at_start_of_messages,
    exec::{Children, Line, Reply, Trouble},
    outcomes::{self, Printer},
    signals::Signals,
};

/// How long what runs may take when the command cannot be run.
const HASTE: Duration = Duration::from_secs(1);

pub(crate) async fn run(consume: Consume) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let printer = Printer { json: consume.json };
    let children = Children::new(&consume.exec, consume.concurrency, consume.timeout);
    let (ends, mut end) = mpsc::unbounded_channel();
    let handing = Handing { children: children.clone(), printer, ends };
    let consumer = tokio::select! {
        biased;
        () = signals.next() => return Ok(()),
        started = builder(&consume).start_with(Body(consume.json_field.clone()), handing) => {
            started.map_err(at_start_of_messages)?
        }
    };
    let mut why = printer.ready(consumer.name()).err().map(End::Unwritable);
    if why.is_none() {
        why = tokio::select! {
            biased;
            () = signals.next() => None,
            why = end.recv() => why,
            ended = consumer.ended() => {
                children.kill();
                return Err(ended.map_or_else(Failure::from, |_| Failure::Failed("the consumer has ended".to_owned())));
            }
        };
    }
    let within = match why {
        Some(End::CannotRun(_)) => consume.shutdown_within.min(HASTE),
        _ => consume.shutdown_within,
    };
    let stopping = async {
        let report = consumer.shutdown(within).await;
        children.end().await;
        report
    };
    let report = tokio::select! {
        biased;
        () = signals.next() => {
            children.kill();
            process::exit(1);
        }
        report = stopping => report,
    };
    let said = printer.stopped(consumer.name(), &report);
    match why {
        None => Ok(said?),
        Some(End::CannotRun(why)) => Err(Failure::Failed(why)),
        // That nobody reads any more is an end like another.
        Some(End::Unwritable(error)) => Err(error.into()),
    }
}

fn builder(consume: &Consume) -> Builder {
    let place = &consume.place;
    let mut builder = place.lead(Consumer::builder(&place.stream, &consume.group));
    if let Some(name) = &consume.name {
        builder = builder.name(name);
    }
    if let Some(field) = &consume.ordered_by {
        builder = builder.ordered_by(field.as_str());
    }
    if let Some(rate) = consume.rate {
        builder = builder.rate(rate);
    }
    if let Some(rate) = consume.group_rate {
        builder = builder.group_rate(rate);
    }
    if let Some(age) = consume.processed {
        builder = builder.processed(Processed { age, by: None });
    }
    let idle = consume.reclaim_idle;
    let call_timeout = consume.call_timeout.unwrap_or(Duration::from_secs(1).min(idle / 4));
    let reclaim_interval = consume.reclaim_interval.unwrap_or(Duration::from_secs(1).min(idle / 3));
    let begin = match consume.begin {
        args::Begin::Oldest => Begin::Oldest,
        args::Begin::Newest => Begin::Newest,
    };
    builder
        .concurrency(consume.concurrency)
        .prefetch(consume.prefetch.unwrap_or(consume.concurrency))
        .block(Duration::from_secs(2).min(idle))
        .no_ack(consume.no_ack)
        .max_attempts(consume.max_attempts)
        .max_crashes(consume.max_crashes)
        .backoff(Backoff { base: consume.backoff, limit: consume.backoff_limit, ..Backoff::default() })
        .reclaim_idle(idle)
        .reclaim_interval(reclaim_interval)
        .delete_after_success(consume.delete_after_success)
        .trim(consume.trim)
        .dead_limit(consume.dead_limit)
        .begin(begin)
        .call_timeout(call_timeout)
        .start_within(consume.start_within)
}

/// The payload as it stands in this field: whether it makes sense is the command's to judge.
struct Body(String);

impl Decode<Vec<u8>> for Body {
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, CodecError> {
        let field = fields.iter().find(|(name, _)| *name == self.0.as_bytes());
        let (_, payload) = field.ok_or_else(|| {
            format!("the message has no field `{}`: is --json-field the one that its producer writes?", self.0)
        })?;
        Ok(payload.clone())
    }
}

/// Hands messages to the command.
struct Handing {
    children: Arc<Children>,
    printer: Printer,
    ends: mpsc::UnboundedSender<End>,
}

/// Why the program is to end.
enum End {
    /// The command cannot be run.
    CannotRun(String),
    /// Nothing can be written on standard output.
    Unwritable(io::Error),
}

impl Worker<Vec<u8>> for Handing {
    async fn process(&self, payload: Vec<u8>, context: Context) -> Outcome {
        let began = Instant::now();
        let answer = match line(&payload, &context) {
            Ok(line) => self.children.ask(&line).await,
            Err(error) => Err(Trouble::Failed(format!("the message cannot be written as JSON: {error}"))),
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(Trouble::Failed(why)) => Reply::Failed(why),
            Err(Trouble::CannotRun(why)) => {
                let _ = self.ends.send(End::CannotRun(why));
                // The message has done nothing wrong: it is given back when the consumer stops.
                return future::pending().await;
            }
        };
        let (id, attempt) = (context.entry(), context.attempt());
        let outcome = match &reply {
            Reply::Dead(why) => outcomes::Outcome::dead(id, attempt, Reason::Rejected, why),
            reply => outcomes::Outcome::new(id, attempt, reply.label(), reply.error()),
        };
        self.print(&outcome.after(began.elapsed()));
        match reply {
            Reply::Ok => Outcome::ack(),
            Reply::Retry { after: Some(pause), error } => Outcome::retry_after(pause).because(error),
            Reply::Retry { after: None, error } | Reply::Failed(error) => Outcome::retry().because(error),
            Reply::Dead(why) => Outcome::dead(why),
        }
    }

    async fn process_broken(&self, broken: Broken, context: Context) -> Outcome {
        let error = broken.error().to_string();
        self.print(&outcomes::Outcome::dead(context.entry(), context.attempt(), Reason::Broken, &error));
        Outcome::dead(error)
    }

    async fn process_dead(&self, dead: Dead<Vec<u8>>, context: Context) -> Outcome {
        // What is called now is no further attempt.
        let attempts = context.attempt().saturating_sub(1);
        self.print(&outcomes::Outcome::dead(context.entry(), attempts, dead.reason(), dead.error()));
        Outcome::dead(dead.error())
    }
}

impl Handing {
    fn print(&self, outcome: &outcomes::Outcome<'_>) {
        if let Err(error) = self.printer.outcome(outcome) {
            let _ = self.ends.send(End::Unwritable(error));
        }
    }
}

fn line(payload: &[u8], context: &Context) -> serde_json::Result<Vec<u8>> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut headers: BTreeMap<String, String> =
        context.headers().map(|(name, value)| (name.to_owned(), text(value))).collect();
    if let Some(traceparent) = context.traceparent() {
        headers.entry("traceparent".to_owned()).or_insert_with(|| traceparent.to_owned());
    }
    let id = context.entry().to_string();
    Line::new(&id, context.attempt(), payload, &headers).key(context.key()).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_taken_as_it_stands() {
        let fields = [(b"a".to_vec(), b"1".to_vec()), (b"body".to_vec(), b"\xff".to_vec())];
        assert_eq!(Body("body".to_owned()).decode(&fields).unwrap(), b"\xff");
        let error = Body("json".to_owned()).decode(&fields).unwrap_err().to_string();
        assert!(error.contains("no field `json`"), "{error}");
    }
}
