//! Looking after a group's dead letters.

use std::io::{self, Write};

use serde_json::{Value, json};
use streamkeeper::{
    EntryId,
    messages::{DeadLetter, Messages, Retried},
};

use crate::{Failure, args::Which};

/// How many are asked for at a time.
const PAGE: usize = 1_000;

pub(crate) async fn list(messages: &Messages, reason: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut after = None;
    loop {
        let page = messages.dead(after, PAGE).await?;
        for one in page.iter().filter(|one| reason.is_none_or(|reason| reason == &*one.reason)) {
            if json {
                writeln!(out, "{}", serde_json::to_string(one)?)?;
            } else {
                let DeadLetter { id, reason, attempts, crashed, error, .. } = one;
                writeln!(out, "{id} {reason} entry={} attempts={attempts} crashed={crashed} {error}", entry(one))?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

pub(crate) async fn show(messages: &Messages, id: EntryId, json: bool) -> Result<(), Failure> {
    let found = messages.dead_letter(id).await?;
    let letter = found.ok_or_else(|| {
        Failure::Failed(format!("there is no dead letter {id}: `streamkeeper dead list` shows those there are"))
    })?;
    let described = serde_json::to_value(&letter)?;
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

pub(crate) async fn retry(messages: &Messages, which: Which, json: bool) -> Result<(), Failure> {
    let ids = chosen(messages, which).await?;
    let results = messages.retry_dead(&ids).await?;
    let mut out = io::stdout().lock();
    let (mut missing, mut refused) = (0, None);
    for (id, result) in ids.iter().zip(results) {
        match result {
            Retried::Sent(entry) if json => {
                writeln!(out, "{}", json!({ "id": id.to_string(), "entry": entry.to_string() }))?;
            }
            Retried::Sent(entry) => writeln!(out, "{id} is sent again as {entry}")?,
            Retried::Refused(why) if refused.is_none() => refused = Some((id, why)),
            Retried::Missing => missing += 1,
            _ => {}
        }
    }
    out.flush()?;
    match refused {
        Some((id, why)) => Err(Failure::Failed(format!("{id} cannot be sent again: {why}"))),
        None => all_there(ids.len(), ids.len() - missing),
    }
}

pub(crate) async fn drop(messages: &Messages, which: Which, json: bool) -> Result<(), Failure> {
    let ids = chosen(messages, which).await?;
    let dropped = messages.drop_dead(&ids).await?;
    let text = if json { json!({ "dropped": dropped }).to_string() } else { format!("{dropped} dropped") };
    writeln!(io::stdout(), "{text}")?;
    all_there(ids.len(), usize::try_from(dropped).unwrap_or(usize::MAX))
}

/// Who asked for one that is not there is told so.
fn all_there(asked: usize, found: usize) -> Result<(), Failure> {
    match asked.saturating_sub(found) {
        0 => Ok(()),
        missing => Err(Failure::Failed(format!(
            "{missing} of {asked} are not among the dead letters: `streamkeeper dead list` shows those there are"
        ))),
    }
}

/// The ids that were asked for.
async fn chosen(messages: &Messages, which: Which) -> Result<Vec<EntryId>, Failure> {
    if !which.ids.is_empty() {
        return Ok(which.ids);
    }
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = messages.dead(after, PAGE).await?;
        let wanted = page.iter().filter(|one| which.reason.as_deref().is_none_or(|reason| reason == &*one.reason));
        ids.extend(wanted.map(|one| one.id));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok(ids),
        }
    }
}

fn entry(one: &DeadLetter) -> String {
    one.entry.map_or_else(|| "-".to_owned(), |entry| entry.to_string())
}
