//! How a service stands.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::{Failure, args, at_start};

pub(crate) async fn run(asked: args::Status) -> Result<(), Failure> {
    let service = asked.place.builder().service().map_err(at_start)?;
    let status = service.status().await?;
    let mut out = io::stdout().lock();
    if asked.json {
        return Ok(writeln!(out, "{}", describe(&status))?);
    }
    writeln!(out, "service      {}", service.name())?;
    writeln!(out, "announced    {}", status.announced)?;
    writeln!(out, "set aside    {}", status.set_aside)?;
    writeln!(out, "orphans      {}", status.orphans.len())?;
    for orphan in &status.orphans {
        let stream = orphan.stream.as_ref().map_or("?", |stream| stream.as_str());
        let (entry, idle) = (orphan.entry, orphan.idle);
        if orphan.released {
            writeln!(out, "  {stream} entry={entry} given back {idle:.1?} ago")?;
        } else {
            writeln!(out, "  {stream} entry={entry} for {idle:.1?}")?;
        }
    }
    writeln!(out, "consumers    {}", status.consumers.len())?;
    for owner in &status.consumers {
        writeln!(out, "  {} owns {}, heard of {:.1?} ago", owner.consumer, owner.pending, owner.idle)?;
    }
    writeln!(out, "reaper       {}", status.reaper.as_deref().unwrap_or("none"))?;
    let settled = if status.settled { "yes" } else { "no: nothing is acquired until then" };
    writeln!(out, "settled      {settled}")?;
    let (version, role) = (&status.version, &status.role);
    let persistence = if status.append_only { "append-only file" } else { "no append-only file" };
    writeln!(out, "server       {version}, {role}, {}, {persistence}", status.maxmemory_policy)?;
    writeln!(out, "notify flags {}", status.notify_flags.as_deref().unwrap_or("unknown"))?;
    for warning in &status.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

fn describe(status: &streamkeeper::Status) -> Value {
    let consumers = status.consumers.iter().map(|owner| {
        let idle_ms = u64::try_from(owner.idle.as_millis()).unwrap_or(u64::MAX);
        json!({ "consumer": owner.consumer, "owned": owner.pending, "idle_ms": idle_ms })
    });
    let orphans = status.orphans.iter().map(|orphan| {
        let stream = orphan.stream.as_ref().map(|stream| stream.as_str());
        let age_ms = u64::try_from(orphan.idle.as_millis()).unwrap_or(u64::MAX);
        json!({ "entry": orphan.entry.to_string(), "stream": stream, "age_ms": age_ms, "released": orphan.released })
    });
    json!({
        "announced": status.announced,
        "set_aside": status.set_aside,
        "orphans": orphans.collect::<Vec<_>>(),
        "consumers": consumers.collect::<Vec<_>>(),
        "reaper": status.reaper,
        "settled": status.settled,
        "longest_ttl_ms": u64::try_from(status.longest_ttl.as_millis()).unwrap_or(u64::MAX),
        "server": {
            "version": status.version,
            "role": status.role,
            "cluster": status.cluster,
            "maxmemory_policy": status.maxmemory_policy,
            "append_only": status.append_only,
            "notify_flags": status.notify_flags,
        },
        "warnings": status.warnings,
    })
}
