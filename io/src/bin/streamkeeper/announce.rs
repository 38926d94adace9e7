//! Announcing streams.

use std::io::{self, BufWriter, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{Failure, args::Announce, output::now_us};

/// How many are announced before their entries are written and the bar moves.
const CHUNK: usize = 5_000;

pub(crate) async fn run(announce: Announce) -> Result<(), Failure> {
    if let Some(info) = &announce.info {
        let checked = serde_json::from_str::<serde::de::IgnoredAny>(info);
        checked.map_err(|e| Failure::Usage(format!("--info `{info}` is no JSON: {e}")))?;
    }
    let service = announce.place.service(&announce.patience)?;
    let numbered = announce.prefix.iter().flat_map(|prefix| {
        let count = announce.count.unwrap_or(0);
        (0..count).map(move |number| format!("{prefix}{number}"))
    });
    let mut streams = announce.streams.iter().cloned().chain(numbered).peekable();
    let total = announce.streams.len() as u64 + announce.count.unwrap_or(0);
    let bar = progress(total);
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut failed, mut first) = (0_usize, None);
    while streams.peek().is_some() {
        let chunk: Vec<String> = streams.by_ref().take(CHUNK).collect();
        let results = service.announce_many(chunk.iter().map(|stream| one(&announce, stream, total))).await;
        for (stream, result) in chunk.iter().zip(results) {
            match result {
                Ok(entry) if announce.json => {
                    let entry = entry.to_string();
                    let line = json!({ "at_us": now_us(), "event": "announced", "stream": stream, "entry": entry });
                    writeln!(out, "{line}")?;
                }
                Ok(entry) => writeln!(out, "{entry} {stream}")?,
                Err(error) => {
                    failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
        out.flush()?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    match first {
        None => Ok(()),
        Some(error) => Err(Failure::Failed(format!("{failed} of {total} were not announced, the first: {error}"))),
    }
}

fn one(announce: &Announce, stream: &str, total: u64) -> streamkeeper::Announce {
    let mut one = streamkeeper::Announce::new(stream);
    if let Some(info) = &announce.info {
        one = one.info_json(info);
    }
    match &announce.key {
        None => one,
        // One key for many streams: each has its own.
        Some(key) if total > 1 => one.once(format!("{key}:{stream}"), announce.window),
        Some(key) => one.once(key.as_str(), announce.window),
    }
}

/// A bar for people who wait; nothing where nobody looks.
fn progress(total: u64) -> ProgressBar {
    if total <= CHUNK as u64 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("announced {human_pos} of {human_len} {wide_bar} {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
