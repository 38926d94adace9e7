//! Events, calls, answers and deliveries in words.

use std::time::Duration;

use streamkeeper_core::{
    entries::{
        Answer, Call, Command, CommitEnd, Delivery, Event, Output, Remark,
        call::{Aside, Committed, Entry, Fetched, Opened, Record, Write},
    },
    id::EntryId,
};

fn span(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

pub(crate) fn list<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.iter().map(one).collect::<Vec<_>>().join(", ") }
}

/// `1-0 to 500-0 (500)` for many.
fn entries(entries: &[Entry]) -> String {
    match entries {
        [first, .., last] if entries.len() > 4 => format!("{} to {} ({} entries)", first.id, last.id, entries.len()),
        few => list(few, |entry| entry.id.to_string()),
    }
}

fn record(record: &Record) -> String {
    let read = record.read.map(|read| format!(", read {read}")).unwrap_or_default();
    let mark = record.mark.map(|mark| format!(", write {} of {:?}", mark.number, mark.attempt)).unwrap_or_default();
    format!("{}{read}{mark}", record.position)
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Timeout => "time has passed".to_owned(),
        Event::Connected(link) => format!("connected: {link:?}"),
        Event::Disconnected(link, trouble) => format!("disconnected: {link:?} ({trouble})"),
        Event::Answered(id, _) => format!("an answer to {id:?}"),
        Event::Owned(owned) => format!("{} is owned ({:?})", owned.stream, owned.id),
        Event::Lost(id) => format!("{id:?} is lost"),
        Event::Read { id, start, room } => format!("{id:?} is read: {start:?}, room for {room}"),
        Event::Room(id, count) => format!("{id:?} has room for {count} more"),
        Event::Closed(id) => format!("{id:?} is read no more"),
        Event::Look(id) => format!("{id:?}: is there nothing?"),
        Event::Commit(commit) => {
            let to = commit.to.map_or_else(|| "no position".to_owned(), |to| to.to_string());
            format!("{:?} for {:?}: {to}{}", commit.ticket, commit.id, writes(&commit.writes))
        }
        Event::Undecodable { id, entry, error } => format!("{} of {id:?} cannot be decoded: {error}", entry.id),
        Event::Shutdown(deadline) => format!("stop, until {} ms", deadline.as_micros() / 1_000),
    }
}

fn writes(writes: &[Write]) -> String {
    let one = |write: &Write| match write {
        Write::IncrBy(key, by) => format!("{} += {by}", String::from_utf8_lossy(key)),
        other => format!("{other:?}"),
    };
    if writes.is_empty() { String::new() } else { format!(" with {}", list(writes, one)) }
}

/// One line, or nothing if it is of no interest.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Command(Command::Connect(link)) => format!("→ connect {link:?}"),
        Output::Command(Command::Disconnect(link)) => format!("→ disconnect {link:?}"),
        Output::Command(Command::Call(_, what)) => format!("→ {}", call(what)),
        Output::Deliver(id, what) => format!("⇒ {id:?}: {}", delivery(what)),
        Output::Committed(ticket, end) => format!("⇒ {ticket:?}: {}", commit_end(end)),
        Output::Nothing(id) => format!("⇒ {id:?}: there is nothing"),
        Output::SetAside(id, entry) => format!("⇒ {id:?}: {entry} is set aside"),
        Output::Remark(Remark::Prepared(_)) | Output::Wait(_) => String::new(),
        Output::Remark(what) => format!("· {}", remark(what)),
    }
}

pub(crate) fn delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Opened(None) => "open, nothing was committed".to_owned(),
        Delivery::Opened(Some(stored)) => format!("open, committed: {}", record(stored)),
        Delivery::Entries(what) => entries(what),
        Delivery::Gap { after, next, missing } => {
            let next = next.map_or_else(|| "nothing".to_owned(), |next| next.to_string());
            let missing = missing.map_or_else(|| "who knows how many".to_owned(), |missing| missing.to_string());
            format!("gap behind {after}, next is {next}, missing: {missing}")
        }
        Delivery::Rewound { after, last } => format!("rewound: {after} was read, the last is {last}"),
        Delivery::RolledBack(position) => format!("rolled back to {position}"),
        Delivery::Broken(error) => format!("cannot be read: {error}"),
    }
}

pub(crate) fn commit_end(end: &CommitEnd) -> String {
    match end {
        CommitEnd::Done => "done".to_owned(),
        CommitEnd::Behind(position) => format!("{position} was committed already"),
        CommitEnd::RolledBack(stored) => format!("rolled back: {} stands there", record(stored)),
        CommitEnd::Fenced => "fenced".to_owned(),
        CommitEnd::Lost => "lost, nothing changed".to_owned(),
        CommitEnd::Unknown => "nobody knows".to_owned(),
        CommitEnd::Rejected(index, why) => format!("write {index} is rejected: {why}"),
        CommitEnd::Broken(error) => format!("cannot be committed: {error}"),
    }
}

fn call(call: &Call) -> String {
    let all = |streams: &[_]| -> String {
        match streams {
            [first, .., last] if streams.len() > 4 => format!("{first}, …, {last} ({} streams)", streams.len()),
            few => list(few, String::clone),
        }
    };
    match call {
        Call::Prepare | Call::Identify => call.name().to_owned(),
        Call::Open(items) => {
            let one = |item: &_| {
                let streamkeeper_core::entries::call::OpenItem { stream, last } = item;
                if *last { format!("{stream} and its last id") } else { stream.to_string() }
            };
            format!("open {}", all(&items.iter().map(one).collect::<Vec<_>>()))
        }
        Call::Fetch(items) => {
            let items: Vec<String> =
                items.iter().map(|item| format!("{} behind {} (≤ {})", item.stream, item.after, item.count)).collect();
            format!("fetch {}", all(&items))
        }
        Call::Wait { streams, block } => {
            let items: Vec<String> = streams.iter().map(|(stream, after)| format!("{stream} behind {after}")).collect();
            let block = if block.is_zero() { "without waiting".to_owned() } else { format!("for {}", span(*block)) };
            format!("wait {block}: {}", all(&items))
        }
        Call::Wake { client } => format!("wake client {client}"),
        Call::Commit(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| {
                    let (from, mark) = item.from;
                    let mark = mark.map(|mark| format!(" write {}", mark.number)).unwrap_or_default();
                    format!("{}: {from}{mark} → {}{}", item.stream, record(&item.to), writes(&item.writes))
                })
                .collect();
            format!("commit {}", all(&items))
        }
        Call::SetAside(items) => {
            format!("set aside {}", list(items, |item| format!("{} of {}: {}", item.id, item.stream, item.error)))
        }
    }
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Prepared(_) => "prepared".to_owned(),
        Answer::Identified(Some(client)) => format!("client {client}"),
        Answer::Identified(None) => "nobody knows".to_owned(),
        Answer::Opened(answers) => list(answers, |opened| match opened {
            Opened::Known { record: stored, last } => {
                let stored = stored.as_ref().map_or_else(|| "nothing".to_owned(), record);
                stored + &last.map(|last: EntryId| format!(", the last is {last}")).unwrap_or_default()
            }
            Opened::Broken(error) => format!("broken: {error}"),
        }),
        Answer::Fetched(answers) if answers.len() > 4 => format!("{} streams", answers.len()),
        Answer::Fetched(answers) => list(answers, |fetched| match fetched {
            Fetched::Entries(what, about) => {
                let added = about.added.map(|added| format!(" of {added}")).unwrap_or_default();
                format!("{} (there are {}{added})", entries(what), about.length)
            }
            Fetched::Missing => "missing".to_owned(),
            Fetched::Broken(error) => format!("broken: {error}"),
        }),
        Answer::Waited(news) if news.is_empty() => "no news".to_owned(),
        Answer::Waited(news) => format!("news of stream {}", list(news, usize::to_string)),
        Answer::Woken(Some(true)) => "woken".to_owned(),
        Answer::Woken(Some(false)) => "it does not wait".to_owned(),
        Answer::Woken(None) => "refused".to_owned(),
        Answer::Committed(answers) => list(answers, |committed| match committed {
            Committed::Done => "done".to_owned(),
            Committed::Conflict(stored) => format!("conflict: {} stands there", record(stored)),
            Committed::Fenced => "fenced".to_owned(),
            Committed::Absent => "no lease".to_owned(),
            Committed::Rejected(index, why) => format!("write {index} is rejected: {why}"),
            Committed::Broken(error) => format!("broken: {error}"),
        }),
        Answer::SetAside(answers) => list(answers, |aside| match aside {
            Aside::Done => "done".to_owned(),
            Aside::Fenced => "fenced".to_owned(),
            Aside::Broken(error) => format!("broken: {error}"),
        }),
    }
}

fn remark(remark: &Remark) -> String {
    match remark {
        Remark::LinkDown { link, pause, .. } => format!("{link:?} is tried again in {}", span(*pause)),
        Remark::CallFailed { call, trouble } => format!("{call} failed: {trouble}"),
        Remark::StrayAnswer(_) => "nobody asked that".to_owned(),
        Remark::Prepared(_) => String::new(),
        Remark::CannotWake => "the reader cannot be woken".to_owned(),
        Remark::Broken(stream, error) => format!("{stream} is broken: {error}"),
    }
}
