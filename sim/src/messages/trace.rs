//! What happens to messages as text.

use std::sync::Arc;

use super::{
    EPOCH_MS,
    facts::{Said, Stage},
};
use crate::facts::Who;

/// Who, what, and the rest.
pub(crate) fn row(said: &Said) -> (String, &'static str, String) {
    let producer = |word, rest| ("producer".to_owned(), word, rest);
    let redis = |by: &Option<Who>, word, rest: String| {
        let by = by.map_or_else(|| "by hand".to_owned(), |who| format!("for {who}"));
        ("redis".to_owned(), word, format!("{rest} {by}"))
    };
    let alone = |word, rest| ("redis".to_owned(), word, rest);
    match said {
        Said::Sent { number, entry, .. } => {
            producer("sent", format!("message {number} {}", entry.as_deref().unwrap_or("for later")))
        }
        Said::SendUnknown { number } => producer("unanswered", format!("message {number}")),
        Said::Began { who, run, number, entry, stage, attempt, deliveries } => {
            let stage = match stage {
                Stage::Process => "process",
                Stage::Broken => "process_broken",
                Stage::Dead => "process_dead",
            };
            let rest =
                format!("run {run}: {stage} {entry}, message {number}, attempt {attempt}, delivery {deliveries}");
            (who.to_string(), "began", rest)
        }
        Said::Ended { who, run, entry, how } => {
            (who.to_string(), "ended", format!("run {run}: {entry} {}", how.name()))
        }
        Said::Lost { who, run, entry } => (who.to_string(), "lost", format!("run {run}: {entry}")),
        Said::Entered { entry, number } => {
            let number = number.map_or_else(|| "?".to_owned(), |number| number.to_string());
            alone("entered", format!("{entry} message {number}"))
        }
        Said::Scheduled { id, due_ms } => alone("planned", format!("{id} for {}", clock(*due_ms))),
        Said::Unscheduled { id } => alone("unplanned", id.to_string()),
        Said::Delivered { by, consumer, entries, forgets } => {
            let forgets = if *forgets { ", forgotten" } else { "" };
            redis(by, "delivered", format!("{} to {consumer}{forgets}", list(entries)))
        }
        Said::Claimed { by, script, to, entries, counted } => {
            let counted = if *counted { ", counted" } else { "" };
            redis(by, "claimed", format!("{} for {to}{counted} ({})", list(entries), script.unwrap_or("XCLAIM")))
        }
        Said::Acked { by, script, entries } => {
            redis(by, "acked", format!("{} ({})", list(entries), script.unwrap_or("XACK")))
        }
        Said::Buried { by, entry, dead, reason, missing, .. } => {
            let missing = if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) };
            redis(by, "buried", format!("{entry} as {dead}: {reason}{missing}"))
        }
        Said::Removed { by, entries } => redis(by, "removed", list(entries)),
        Said::Due { by, script, entry, due_ms } => {
            let due = clock(*due_ms);
            redis(by, "due", format!("{entry} at {due} ({})", script.unwrap_or("ZADD")))
        }
        Said::Undue { entries } => alone("undue", list(entries)),
        Said::Recorded { by, script, entry, record } => {
            let text = format!("failed {} (delivery {}), crashed {}", record.failed, record.counted, record.crashed);
            let more = [(record.dying, ", dying"), (record.buried_alive, ", buried alive")];
            let more: String = more.into_iter().filter(|(said, _)| *said).map(|(_, text)| text).collect();
            redis(
                by,
                "recorded",
                format!("{entry}: {text}, started {}{more} ({})", record.started, script.unwrap_or("HSET")),
            )
        }
        Said::Forgotten { entries } => alone("forgotten", list(entries)),
        Said::Grouped { after } => alone("grouped", format!("behind {after}")),
        Said::Dismissed { by, consumer, pending } => redis(by, "dismissed", format!("{consumer}, {pending} pending")),
        Said::Reclaims { by } => redis(by, "reclaims", String::new()),
        Said::Stands(stock) => {
            let (stream, pending, dead) = (stock.stream.len(), stock.pending.len(), stock.dead.len());
            let (due, planned) = (stock.due.len(), stock.scheduled.len());
            let read = stock.read.as_deref().unwrap_or("no group");
            let counts =
                format!("{stream} in the stream, {pending} pending, {dead} dead, {due} due, {planned} planned");
            alone("stands", format!("({}) {counts}, read up to {read}", stock.why))
        }
    }
}

fn list(entries: &[Arc<str>]) -> String {
    entries.join(" ")
}

/// In seconds since what Redis's clock shows at the beginning of a run.
fn clock(ms: u64) -> String {
    let since = i128::from(ms) - i128::from(EPOCH_MS);
    let sign = if since < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", since.unsigned_abs() / 1_000, since.unsigned_abs() % 1_000)
}
