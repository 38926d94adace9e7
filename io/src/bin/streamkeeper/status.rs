//! How a service stands.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::{Failure, args};

pub(crate) async fn run(asked: args::Status) -> Result<(), Failure> {
    let service = asked.place.service(&asked.patience)?;
    let status = service.status().await?;
    let mut out = io::stdout().lock();
    if asked.json {
        return Ok(writeln!(out, "{}", describe(&status))?);
    }
    writeln!(out, "service      {}", service.name())?;
    writeln!(out, "announced    {}", status.announced)?;
    writeln!(out, "set aside    {}", status.set_aside)?;
    if !status.partitions.is_empty() {
        writeln!(out, "partitions   {}", status.partitions.len())?;
    }
    for (number, part) in status.partitions.iter().enumerate() {
        let (announced, orphans, aside) = (part.announced, part.orphans, part.set_aside);
        let settled = if part.settled { "" } else { ", not settled" };
        let staying = if part.staying > 0 { format!(", up to {} stay", part.staying) } else { String::new() };
        writeln!(out, "  {number}: {announced} announced, {orphans} orphans, {aside} set aside{staying}{settled}")?;
    }
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
    writeln!(out, "listening    {}", status.features.listening.map_or("unknown".to_owned(), |n| n.to_string()))?;
    for missing in status.features.missing() {
        writeln!(out, "without {missing}")?;
    }
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
        let (partition, entry) = (orphan.partition, orphan.entry.to_string());
        json!({ "partition": partition, "entry": entry, "stream": stream, "age_ms": age_ms, "released": orphan.released })
    });
    let partitions = status.partitions.iter().map(|part| {
        json!({
            "announced": part.announced,
            "orphans": part.orphans,
            "set_aside": part.set_aside,
            "consumers": part.consumers,
            "settled": part.settled,
            "staying": part.staying,
            "told_apart": part.told_apart,
        })
    });
    json!({
        "announced": status.announced,
        "set_aside": status.set_aside,
        "orphans": orphans.collect::<Vec<_>>(),
        "consumers": consumers.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
        "reaper": status.reaper,
        "settled": status.settled,
        "longest_ttl_ms": u64::try_from(status.longest_ttl.as_millis()).unwrap_or(u64::MAX),
        "server": {
            "kind": status.server,
            "version": status.version,
            "role": status.role,
            "cluster": status.cluster,
            "maxmemory_policy": status.maxmemory_policy,
            "append_only": status.append_only,
            "notify_flags": status.notify_flags,
            "features": {
                "info": status.features.info,
                "config": status.features.config,
                "expiry_notifications": status.features.expiry_notifications,
                "listening": status.features.listening,
                "wakes_readers": status.features.wakes_readers,
                "counts_lag": status.features.counts_lag,
            },
        },
        "warnings": status.warnings,
    })
}
