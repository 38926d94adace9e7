//! How a group stands on a stream of messages.

use std::{
    io::{self, Write},
    time::Duration,
};

use streamkeeper::messages::Status;

use crate::{
    Failure,
    args::{self, MessagesTask},
};

pub(crate) async fn run(asked: args::Messages) -> Result<(), Failure> {
    let MessagesTask::Status { place, patience, group, json } = asked.what;
    let status = place.messages(&patience, &group)?.status().await?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&status)?)?;
    } else {
        describe(&mut out, &status)?;
    }
    Ok(())
}

fn describe(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let Status { stream, group, length, in_flight, .. } = status;
    let missing = if status.created { "" } else { " (not created yet)" };
    let next = |ms: Option<u64>| {
        ms.map_or_else(String::new, |ms| format!(", the next one in {:.1?}", Duration::from_millis(ms)))
    };
    writeln!(out, "stream       {stream}, {length} entries")?;
    writeln!(out, "group        {group}{missing}")?;
    writeln!(out, "unread       {}", status.unread.map_or_else(|| "many".to_owned(), |unread| unread.to_string()))?;
    writeln!(out, "in flight    {in_flight}")?;
    writeln!(out, "parked       {}{}", status.parked, next(status.next_due_ms))?;
    writeln!(out, "scheduled    {}{}", status.scheduled, next(status.next_scheduled_ms))?;
    writeln!(out, "dead         {}", status.dead)?;
    writeln!(out, "records      {}", status.records)?;
    writeln!(out, "consumers    {}", status.consumers.len())?;
    for holder in &status.consumers {
        let idle = Duration::from_millis(holder.idle_ms);
        writeln!(out, "  {} holds {}, heard of {idle:.1?} ago", holder.consumer, holder.in_flight)?;
    }
    writeln!(out, "reclaimer    {}", status.reclaimer.as_deref().unwrap_or("none"))?;
    let persistence = if status.append_only { "append-only file" } else { "no append-only file" };
    writeln!(out, "server       {}, {}, {}, {persistence}", status.version, status.role, status.maxmemory_policy)?;
    for warning in &status.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
