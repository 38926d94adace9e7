//! Looking after messages that were sent with a delay.

use std::io::{self, Write};

use serde_json::json;
use streamkeeper::messages::Scheduled;

use crate::{
    Failure,
    args::{self, ScheduledTask},
};

/// How many are asked for at a time.
const PAGE: usize = 1_000;
/// The name that a group needs to have where none is meant.
const NO_GROUP: &str = "none";

pub(crate) async fn run(scheduled: args::Scheduled) -> Result<(), Failure> {
    match scheduled.what {
        ScheduledTask::List { place, patience, json } => {
            let messages = place.messages(&patience, NO_GROUP)?;
            let mut out = io::stdout().lock();
            for skip in (0..).step_by(PAGE) {
                let page = messages.scheduled(skip, PAGE).await?;
                if page.is_empty() {
                    break;
                }
                for one in &page {
                    if json {
                        writeln!(out, "{}", serde_json::to_string(one)?)?;
                    } else {
                        writeln!(out, "{}", human(one))?;
                    }
                }
            }
            Ok(())
        }
        ScheduledTask::Cancel { place, patience, ids, json } => {
            let cancelled =
                place.messages(&patience, NO_GROUP)?.cancel_scheduled(ids.iter().map(String::as_str)).await?;
            let count = cancelled.iter().filter(|cancelled| **cancelled).count();
            let text = if json { json!({ "cancelled": count }).to_string() } else { format!("{count} cancelled") };
            writeln!(io::stdout(), "{text}")?;
            let missing: Vec<&str> =
                ids.iter().zip(cancelled).filter(|(_, cancelled)| !cancelled).map(|(id, _)| &**id).collect();
            match missing.is_empty() {
                true => Ok(()),
                false => Err(Failure::Failed(format!(
                    "nothing waits under {}: sent or cancelled already; `streamkeeper scheduled list` shows what waits",
                    missing.join(", ")
                ))),
            }
        }
    }
}

fn human(one: &Scheduled) -> String {
    let body = one.fields.first().map(|(_, value)| String::from_utf8_lossy(value)).unwrap_or_default();
    format!("{} due_ms={} {body}", one.id, one.due_ms)
}
