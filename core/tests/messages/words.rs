//! Events, calls, answers and fates in words.

use std::time::Duration;

use streamkeeper_core::{
    id::EntryId,
    messages::{
        Answer, Call, Command, Event, Fate, Notification, Outcome, Output, Remark, Stage,
        call::{Delivery, Fenced, Hold, Mark, Reason},
        event::Run,
    },
};

fn span(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

pub(crate) fn list<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn hold(hold: &Hold) -> String {
    if hold.deliveries == 1 { hold.entry.to_string() } else { format!("{} (delivery {})", hold.entry, hold.deliveries) }
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Timeout => "the consumer starts".to_owned(),
        Event::Connected(link) => format!("connected: {link:?}"),
        Event::Disconnected(link, trouble) => format!("disconnected: {link:?} ({trouble})"),
        Event::Answered(id, _) => format!("an answer to {id:?}"),
        Event::Ran(ends) => list(ends, |(run, outcome)| format!("{run:?} {}", self::outcome(outcome))),
        Event::Pause(true) => "the application pauses it".to_owned(),
        Event::Pause(false) => "the application lets it go on".to_owned(),
        Event::Shutdown(deadline) => format!("stop, until {} ms", deadline.as_micros() / 1_000),
    }
}

pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ack => "succeeds".to_owned(),
        Outcome::Failed { error, pause: None } => format!("fails: {error}"),
        Outcome::Failed { error, pause: Some(pause) } => format!("fails, and wants {} of rest: {error}", span(*pause)),
        Outcome::Dead { reason, error } => format!("says dead ({}): {error}", reason.label()),
        Outcome::Drop => "says drop".to_owned(),
        Outcome::Cancelled => "is cancelled".to_owned(),
        Outcome::NotBegun => "did not begin".to_owned(),
    }
}

/// One line, or nothing if it is of no interest.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Command(Command::Connect(link)) => format!("→ connect {link:?}"),
        Output::Command(Command::Disconnect(link)) => format!("→ disconnect {link:?}"),
        Output::Command(Command::Call(_, what)) => format!("→ {}", call(what)),
        Output::Command(Command::Start(run)) => format!("→ {}", start(run)),
        Output::Command(Command::Lost(run)) => format!("→ {run:?} is told that its message is lost"),
        Output::Command(Command::Cancel(run)) => format!("→ cancel {run:?}"),
        Output::Notification(Notification::Ready) => "⇒ ready".to_owned(),
        Output::Notification(Notification::Terminated(trouble)) => format!("⇒ terminated: {trouble}"),
        Output::Notification(Notification::Stopped(r)) => {
            format!("⇒ stopped: {} finished, {} given back, {} left", r.finished, r.returned, r.left)
        }
        Output::Settled(settled) => format!("⇒ {}", list(settled, |(entry, what)| format!("{entry} {}", fate(what)))),
        Output::Remark(Remark::Prepared(_)) | Output::Wait(_) => String::new(),
        Output::Remark(what) => format!("· {}", remark(what)),
    }
}

fn start(run: &Run) -> String {
    let stage = match run.stage {
        Stage::Process => "process".to_owned(),
        Stage::Dead(reason) => format!("process_dead ({})", reason.label()),
    };
    format!("{:?}: {stage} {}, attempt {}", run.id, run.entry, run.attempt)
}

fn fate(fate: &Fate) -> String {
    match fate {
        Fate::Acked => "acknowledged".to_owned(),
        Fate::Dropped => "dropped".to_owned(),
        Fate::Duplicate => "acknowledged: it was processed before".to_owned(),
        Fate::Retried(pause) => format!("again in {}", span(*pause)),
        Fate::Returned => "given back".to_owned(),
        Fate::Buried(reason) => format!("buried: {}", reason.label()),
        Fate::Lost => "lost".to_owned(),
    }
}

fn call(call: &Call) -> String {
    match call {
        Call::Read { count, block } => format!("read, at most {count}, for {}", span(*block)),
        Call::Mine { after: None, count } => format!("mine, at most {count}"),
        Call::Mine { after: Some(after), count } => format!("mine behind {after}, at most {count}"),
        Call::Fetch(entries) => format!("fetch {}", list(entries, EntryId::to_string)),
        Call::Due { count } => format!("due, at most {count}"),
        Call::Mark(items) => {
            let mark = |mark: &Mark| match mark {
                Mark::Started => "started".to_owned(),
                Mark::Dying { reason, error: None } => format!("dying ({})", reason.label()),
                Mark::Dying { reason, error: Some(error) } => format!("dying ({}): {error}", reason.label()),
            };
            format!("mark {}", list(items, |item| format!("{} {}", hold(&item.hold), mark(&item.mark))))
        }
        Call::Check(items) => {
            format!("check {}", list(items, |(entry, key)| format!("{entry} as {}", String::from_utf8_lossy(key))))
        }
        Call::Permits { count } => format!("permits, at most {count}"),
        Call::Ack(items) => format!(
            "ack {}",
            list(items, |item| {
                let record = if item.recorded { " and its record" } else { "" };
                let key = item.processed.as_ref().map(|key| format!(", processed as {}", String::from_utf8_lossy(key)));
                format!("{}{record}{}", item.entry, key.unwrap_or_default())
            })
        ),
        Call::Refresh(holds) => format!("refresh {}", list(holds, hold)),
        Call::Park(items) => format!(
            "park {}",
            list(items, |item| {
                let why =
                    item.failure.as_ref().map_or_else(|| "given back".to_owned(), |error| format!("failed: {error}"));
                format!("{} for {} ({why})", hold(&item.hold), span(item.delay))
            })
        ),
        Call::Bury(items) => format!(
            "bury {}",
            list(items, |item| {
                let gone = if item.gone.is_some() { ", from memory" } else { "" };
                format!("{} ({}{gone}): {}", hold(&item.hold), item.reason.label(), item.error)
            })
        ),
        Call::Sweep { cursor } => format!("sweep from {cursor}"),
        Call::Prepare | Call::Reclaim | Call::Leave => call.name().to_owned(),
    }
}

fn fenced(fenced: &Fenced) -> String {
    match fenced {
        Fenced::Done => "done".to_owned(),
        Fenced::Lost => "another's".to_owned(),
        Fenced::Gone => "gone".to_owned(),
        Fenced::Broken(error) => format!("cannot be judged: {error}"),
    }
}

fn delivery(delivery: &Delivery) -> String {
    let history = delivery.history.as_ref().map(|h| {
        let dying = h.dying.map(|reason| format!(", dying ({})", reason.label())).unwrap_or_default();
        format!(", failed {}, crashed {}{dying}", h.failed, h.crashed)
    });
    let gone = if delivery.fields.is_none() { ", without its payload" } else { "" };
    format!("{}{}{gone}", hold(&delivery.hold), history.unwrap_or_default())
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Prepared(server) if server.created => "prepared, the group was created".to_owned(),
        Answer::Prepared(_) => "prepared".to_owned(),
        Answer::Read(messages) => list(messages, |(entry, _)| entry.to_string()),
        Answer::Mine(holds) => list(holds, hold),
        Answer::Fetched(deliveries) => list(deliveries, delivery),
        Answer::Due { deliveries, next, .. } => {
            let next = next.map_or_else(|| "none".to_owned(), span);
            format!("{}; next in {next}", list(deliveries, delivery))
        }
        Answer::Marked(answers) | Answer::Refreshed(answers) | Answer::Parked(answers) | Answer::Buried(answers) => {
            list(answers, fenced)
        }
        Answer::Checked(answers) => list(answers, |processed| if *processed { "processed" } else { "new" }.to_owned()),
        Answer::Permits { granted, wait } => format!("{granted}, more after {}", span(*wait)),
        Answer::Acked(count) => count.to_string(),
        Answer::Reclaimed(reclaimed) => {
            let more = if reclaimed.more { ", and more" } else { "" };
            format!("moved {}{more}", list(&reclaimed.moved, |(entry, crashed)| format!("{entry} (crash {crashed})")))
        }
        Answer::ReclaimerIs(span) => format!("somebody else is, for {}", self::span(*span)),
        Answer::Swept(swept) => format!("{} stranded", swept.stranded),
        Answer::Left(deleted) => if *deleted { "the name is deleted" } else { "the name stays" }.to_owned(),
    }
}

fn remark(remark: &Remark) -> String {
    match remark {
        Remark::LinkDown { link, pause, .. } => format!("{link:?} is tried again in {}", span(*pause)),
        Remark::CallFailed { call, trouble } => format!("{call} failed: {trouble}"),
        Remark::StrayAnswer(_) => "nobody asked that".to_owned(),
        Remark::Prepared(_) => String::new(),
        Remark::GroupLost => "the group is lost".to_owned(),
        Remark::Paused(late) => format!("it stood still for {}", span(*late)),
        Remark::Broken(entry, error) => format!("{entry} cannot be judged: {error}"),
        Remark::Reclaimed(entry, crashed) => format!("{entry} is put among what is due, crash {crashed}"),
        Remark::Hangs(entry, lasts) => format!("{entry} runs for {}: it may hang", span(*lasts)),
        Remark::TimedOut(entry) => format!("{entry} is over its time"),
        Remark::Swept(swept) => format!("swept: {} stranded", swept.stranded),
    }
}

/// The words for a reason, for stories that make one.
pub(crate) fn rejected(error: &str) -> Outcome {
    Outcome::Dead { reason: Reason::Rejected, error: error.into() }
}
