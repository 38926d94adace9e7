//! Looking after announcements that were set aside; dead letters are next door.

use std::io::{self, Write};

use serde_json::{Value, json};
use streamkeeper::{Builder, Dead, EntryId, Service};

use crate::{
    Failure,
    args::{DeadTask, Half, Which},
    at_start, letters,
};

/// How many are asked for at a time.
const PAGE: usize = 1_000;

pub(crate) async fn run(dead: crate::args::Dead) -> Result<(), Failure> {
    match dead.what {
        DeadTask::List { place, reason, json } => match place.half()? {
            Half::Service(builder) => list(&open(*builder)?, reason.as_deref(), json).await,
            Half::Letters(messages) => letters::list(&messages, reason.as_deref(), json).await,
        },
        DeadTask::Show { place, id, json } => match place.half()? {
            Half::Service(builder) => show(&open(*builder)?, id, json).await,
            Half::Letters(messages) => letters::show(&messages, id, json).await,
        },
        DeadTask::Retry { place, which, json } => match place.half()? {
            Half::Service(builder) => retry(&open(*builder)?, which, json).await,
            Half::Letters(messages) => letters::retry(&messages, which, json).await,
        },
        DeadTask::Drop { place, which, json } => match place.half()? {
            Half::Service(builder) => drop(&open(*builder)?, which, json).await,
            Half::Letters(messages) => letters::drop(&messages, which, json).await,
        },
    }
}

fn open(builder: Builder) -> Result<Service, Failure> {
    builder.service().map_err(at_start)
}

async fn list(service: &Service, reason: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut after = None;
    loop {
        let page = service.dead(after, PAGE).await?;
        for one in page.iter().filter(|one| reason.is_none_or(|reason| reason == &*one.reason)) {
            if json {
                writeln!(out, "{}", describe(one))?;
            } else {
                let stream = one.stream.as_deref().unwrap_or("-");
                writeln!(out, "{} {} {stream} entry={} {}", one.id, one.reason, entry(one), one.error)?;
            }
        }
        match page.last() {
            Some(last) if page.len() >= PAGE => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

async fn show(service: &Service, id: EntryId, json: bool) -> Result<(), Failure> {
    let one = find(service, id).await?;
    let described = describe(&one);
    let mut out = io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{described}")?);
    }
    for (name, value) in described.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => writeln!(out, "{name:<11} {text}")?,
            value => writeln!(out, "{name:<11} {value}")?,
        }
    }
    Ok(())
}

async fn find(service: &Service, id: EntryId) -> Result<Dead, Failure> {
    // Everything behind the id before it.
    let before = match id {
        EntryId { ms: 0, seq: 0 } => None,
        EntryId { ms, seq: 0 } => Some(EntryId { ms: ms - 1, seq: u64::MAX }),
        EntryId { ms, seq } => Some(EntryId { ms, seq: seq - 1 }),
    };
    let found = service.dead(before, 1).await?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| Failure::Failed(format!("{id} is not set aside: `streamkeeper dead list` shows what is")))
}

async fn drop(service: &Service, which: Which, json: bool) -> Result<(), Failure> {
    let ids = chosen(service, which).await?;
    let dropped = service.drop_dead(&ids).await?;
    let text = if json { json!({ "dropped": dropped }).to_string() } else { format!("{dropped} dropped") };
    writeln!(io::stdout(), "{text}")?;
    all_there(ids.len(), usize::try_from(dropped).unwrap_or(usize::MAX))
}

async fn retry(service: &Service, which: Which, json: bool) -> Result<(), Failure> {
    let ids = chosen(service, which).await?;
    let entries = service.retry_dead(&ids).await?;
    let mut out = io::stdout().lock();
    let mut missing = 0;
    for (id, entry) in ids.iter().zip(entries) {
        match entry {
            Some(entry) if json => {
                writeln!(out, "{}", json!({ "id": id.to_string(), "entry": entry.to_string() }))?;
            }
            Some(entry) => writeln!(out, "{id} is announced again as {entry}")?,
            None => missing += 1,
        }
    }
    all_there(ids.len(), ids.len() - missing)
}

/// Who asked for one that is not there is told so.
fn all_there(asked: usize, found: usize) -> Result<(), Failure> {
    match asked.saturating_sub(found) {
        0 => Ok(()),
        missing => Err(Failure::Failed(format!(
            "{missing} of {asked} are not set aside: `streamkeeper dead list` shows what is"
        ))),
    }
}

/// The ids that were asked for.
async fn chosen(service: &Service, which: Which) -> Result<Vec<EntryId>, Failure> {
    if !which.ids.is_empty() {
        return Ok(which.ids);
    }
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = service.dead(after, PAGE).await?;
        let wanted = page.iter().filter(|one| which.reason.as_deref().is_none_or(|reason| reason == &*one.reason));
        ids.extend(wanted.map(|one| one.id));
        match page.last() {
            Some(last) if page.len() >= PAGE => after = Some(last.id),
            _ => {
                // Two partitions may have the same id: each means both.
                ids.dedup();
                return Ok(ids);
            }
        }
    }
}

fn entry(one: &Dead) -> String {
    one.entry.map_or_else(|| "-".to_owned(), |entry| entry.to_string())
}

fn describe(one: &Dead) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let original: serde_json::Map<String, Value> =
        one.original.iter().map(|(name, value)| (text(name), Value::from(text(value)))).collect();
    json!({
        "id": one.id.to_string(),
        "partition": one.partition,
        "entry": entry(one),
        "stream": one.stream,
        "reason": one.reason,
        "error": one.error,
        "consumer": one.consumer,
        "takeovers": one.takeovers,
        "failures": one.failures,
        "deliveries": one.deliveries,
        "at_ms": one.at_ms,
        "original": original,
    })
}
