//! The picture of a run.

use std::{fmt::Write, time::Duration};

use streamkeeper::Time;

use super::{
    Report,
    arrows::arrows,
    colors::color,
    crowd::crowds,
    draw::{Canvas, escape, px, width_of},
    lanes::{HEAD, Lane, Lanes},
};
use crate::{
    metrics::short,
    timeline::{Band, Cause},
};

const STYLE: &str = include_str!("picture.css");

/// Shapes that are used by reference: hatches for faults, the head of an arrow.
const DEFS: &str = r#"<defs>
<pattern id="still" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.5" height="6" class="still"/></pattern>
<pattern id="cut" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect width="2.5" height="6" class="cut"/></pattern>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" markerHeight="6.5" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker>
</defs>
"#;

/// The picture, and whether its streams are drawn as a crowd.
pub(super) fn picture(report: &Report<'_>) -> (String, bool) {
    let lanes = Lanes::of(report);
    let mut canvas = Canvas::default();
    let (width, height) = (px(lanes.width), px(lanes.height));
    let _ = write!(
        canvas.svg,
        r#"<svg class="sk" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="run-title run-text">
<title id="run-title">{}</title>
<desc id="run-text">{}</desc>
<style>{STYLE}</style>
{DEFS}"#,
        escape(&report.title),
        escape(&in_words(report)),
    );
    canvas.rect([0.0, 0.0, lanes.width, lanes.height], r#" class="paper""#, "");
    axis(&lanes, &mut canvas);
    names(report, &lanes, &mut canvas);
    lives(report, &lanes, &mut canvas);
    if lanes.crowd {
        crowds(report, &lanes, &mut canvas);
    } else {
        bars(report, &lanes, &mut canvas);
        gaps(report, &lanes, &mut canvas);
    }
    bands(report, &lanes, &mut canvas);
    arrows(report, &lanes, &mut canvas);
    words(report, &lanes, &mut canvas);
    violations(report, &lanes, &mut canvas);
    canvas.svg.push_str("</svg>\n");
    (canvas.svg, lanes.crowd)
}

/// For those who cannot see it.
fn in_words(report: &Report<'_>) -> String {
    let timeline = &report.timeline;
    format!(
        "Time runs from left to right, {:.1} seconds. A lane for Redis, one for each of {} consumers with the streams \
         that it owns, and one for the streams that nobody owns. {} ownerships, {} times without an owner, {} broken \
         promises.",
        timeline.end.as_micros() as f64 / 1e6,
        report.plan.consumers.len(),
        timeline.ownerships.len(),
        timeline.gaps.len(),
        report.violations.len(),
    )
}

fn axis(lanes: &Lanes, canvas: &mut Canvas) {
    for seconds in lanes.scale.ticks() {
        let x = lanes.scale.x(Time::from_micros((seconds * 1e6) as u64));
        let (top, bottom) = (lanes.redis.top, lanes.nobody.bottom());
        canvas.path(&format!("M{} {}V{}", px(x), px(top - 4.0), px(bottom + 4.0)), r#" class="grid""#, "");
        let text = format!("{} s", px((seconds * 1_000.0).round() / 1_000.0));
        canvas.text(x, top - 9.0, r#" class="tick""#, &text);
        canvas.text(x, bottom + 17.0, r#" class="tick""#, &text);
    }
}

fn names(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    let mut name = |lane: &Lane, name: &str, below: &str| {
        canvas.rect([0.0, lane.top, lanes.width, lane.height], r#" class="lane""#, "");
        canvas.text(10.0, lane.top + 14.0, r#" class="name""#, name);
        canvas.text(10.0, lane.top + 29.0, r#" class="below""#, below);
    };
    name(&lanes.redis, "Redis", "");
    for (index, lane) in lanes.consumers.iter().enumerate() {
        let below = report.plan.consumers.get(index).map(|consumer| {
            let ttl = short(Duration::from_millis(consumer.ttl_ms)).replace(".00", "");
            format!("{}ttl {ttl}", if consumer.go { "Go peer, " } else { "" })
        });
        name(lane, &report.name(index), &below.unwrap_or_default());
    }
    name(&lanes.nobody, "no owner", "");
}

fn lives(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    for life in &report.timeline.lives {
        let lane = &lanes.consumers[life.who.consumer];
        let (from, until) = (lanes.scale.x(life.from), lanes.scale.x(life.until));
        canvas.rect([from, lane.top, until - from, lane.height], r#" class="life""#, "");
    }
}

fn bars(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    for (owned, &row) in report.timeline.ownerships.iter().zip(&lanes.ownerships) {
        let lane = &lanes.consumers[owned.who.consumer];
        let number = lanes.streams[&owned.owned.stream];
        let tip = format!(
            "{}\nowned by {} (process {}) from {} to {}, {}\ntoken {}, entry {}{}\nended: {}",
            owned.owned.stream,
            report.name(owned.who.consumer),
            owned.who,
            seconds(owned.from),
            seconds(owned.until),
            short(owned.until.since(owned.from)),
            owned.owned.token,
            owned.owned.entry,
            if owned.takeover { ", a takeover" } else { "" },
            owned.how,
        );
        let bar = lanes.bar(lane, row, owned.from, owned.useful_until);
        let attributes = format!(r#" class="bar" fill="{}" rx="2" data-s="{number}""#, color(number));
        canvas.rect(bar, &attributes, &tip);
        if owned.until > owned.useful_until {
            // It stood still, or had not heard yet: it believed to own what was not its any more.
            let ghost = lanes.bar(lane, row, owned.useful_until, owned.until);
            let attributes = format!(r#" class="ghost" stroke="{}" rx="2" data-s="{number}""#, color(number));
            canvas.rect(ghost, &attributes, &tip);
        }
        let [x, y, width, height] = bar;
        let edge = match owned.how {
            "owned" => "",
            "done" => "done",
            "released" | "stopped" => "released",
            _ => "disowned",
        };
        if !edge.is_empty() {
            let attributes = format!(r#" class="edge {edge}" data-s="{number}""#);
            canvas.rect([(x + width - 2.5).max(x), y, 2.5_f64.min(width), height], &attributes, "");
        }
        if height >= 10.0 && width > width_of(&owned.owned.stream) + 8.0 {
            let attributes = format!(r#" class="on-bar" data-s="{number}""#);
            canvas.text(x + 4.0, y + height / 2.0 + 3.6, &attributes, &owned.owned.stream);
        }
    }
}

fn gaps(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    let timeline = &report.timeline;
    for (first, row) in timeline.firsts.iter().zip(&lanes.firsts) {
        let Some(row) = *row else { continue };
        let (number, span) = (lanes.streams[&first.stream], short(first.until.since(first.from)));
        let tip = format!("{}\nwaited {span} for its first owner, from {}", first.stream, seconds(first.from));
        let attributes = format!(r#" class="first" data-s="{number}""#);
        canvas.rect(lanes.bar(&lanes.nobody, row, first.from, first.until), &attributes, &tip);
    }
    for (gap, &row) in timeline.gaps.iter().zip(&lanes.gaps) {
        let number = lanes.streams[&gap.stream];
        let tip = format!(
            "{}\nwithout an owner from {} to {}, {}\n{}: {} (process {})",
            gap.stream,
            seconds(gap.from),
            seconds(gap.until),
            short(gap.span()),
            gap.cause,
            report.name(timeline.ownerships[gap.before].who.consumer),
            timeline.ownerships[gap.before].who,
        );
        let class = match gap.cause {
            Cause::Release => "gap handed",
            Cause::Failure => "gap failed",
            _ => "gap",
        };
        let bar = lanes.bar(&lanes.nobody, row, gap.from, gap.until);
        canvas.rect(bar, &format!(r#" class="{class}" rx="2" data-s="{number}""#), &tip);
        let [x, y, width, height] = bar;
        if height >= 10.0 && width > width_of(&gap.stream) + 6.0 {
            canvas.text(x + 3.0, y + height / 2.0 + 3.6, &format!(r#" class="on-gap" data-s="{number}""#), &gap.stream);
        }
    }
}

fn bands(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    for (from, until) in outages(&report.timeline.bands) {
        let (from, until) = (lanes.scale.x(from), lanes.scale.x(until));
        let height = lanes.nobody.bottom() - lanes.redis.top;
        canvas.rect([from, lanes.redis.top, until - from, height], r#" class="outage""#, "");
    }
    for band in &report.timeline.bands {
        let (from, until) = (lanes.scale.x(band.from), lanes.scale.x(band.until));
        let tip = format!("{}\nfrom {} to {}", band.text, seconds(band.from), seconds(band.until));
        let lane = band.consumer.and_then(|consumer| lanes.consumers.get(consumer)).unwrap_or(&lanes.redis);
        let attributes = format!(r#" class="band {}""#, class(band));
        canvas.rect([from, lane.top, until - from, lane.height], &attributes, &tip);
    }
}

/// When Redis answered nobody, or refused: what befalls everybody.
fn outages(bands: &[Band]) -> Vec<(Time, Time)> {
    const KINDS: [&str; 5] = ["redis crash", "redis restart", "redis failover", "redis stall", "redis refuse"];
    let all = bands.iter().filter(|band| KINDS.contains(&band.kind));
    let mut spans: Vec<_> = all.map(|band| (band.from, band.until)).collect();
    spans.sort_unstable();
    let mut outages: Vec<(Time, Time)> = Vec::new();
    for (from, until) in spans {
        match outages.last_mut().filter(|last| from <= last.1) {
            Some(last) => last.1 = last.1.max(until),
            None => outages.push((from, until)),
        }
    }
    outages
}

/// How a fault is hatched: it stands still, or nothing passes.
fn class(band: &Band) -> &'static str {
    match band.kind {
        "pause" | "suspend" => "still",
        _ => "cut",
    }
}

/// The words above the bars: what struck, who was started and who ended. Where two would overlap, the later one is
/// only a mark with a tip.
fn words(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    let timeline = &report.timeline;
    let mut words = Vec::new();
    for band in &timeline.bands {
        let kind = band.kind.strip_prefix("redis ").unwrap_or(band.kind);
        let text = format!("{kind} {}", short(band.until.since(band.from)).replace(".00", ""));
        words.push((band.consumer, band.from, text, "word", String::new()));
    }
    // What happens at the very end is of no consequence, such as the end of all faults.
    for mark in timeline.marks.iter().filter(|mark| mark.at < timeline.end) {
        let tip = format!("{}\nat {}", mark.text, seconds(mark.at));
        words.push((mark.consumer, mark.at, cut_short(&mark.text), "word", tip));
    }
    for life in &timeline.lives {
        let consumer = Some(life.who.consumer);
        let tip = |what: &str, at| {
            format!("{} (process {}) {what}\nat {}", report.name(life.who.consumer), life.who, seconds(at))
        };
        if life.from > Time::from_millis(100) {
            words.push((consumer, life.from, "▶ start".to_owned(), "word", tip("is started", life.from)));
        }
        let (word, class, what) = match life.how {
            "crash" => ("✕ crash", "word bad", "crashes"),
            "stopped" => ("■ stopped", "word", "has stopped"),
            _ => continue,
        };
        words.push((consumer, life.until, word.to_owned(), class, tip(what, life.until)));
    }
    words.sort_by_key(|word| (word.0, word.1));
    let mut last = (None, 0.0);
    for (consumer, at, text, class, tip) in words {
        let lane = consumer.and_then(|consumer| lanes.consumers.get(consumer)).unwrap_or(&lanes.redis);
        let x = lanes.scale.x(at);
        if !tip.is_empty() {
            canvas.rect([x - 0.75, lane.top, 1.5, lane.height], r#" class="mark""#, &tip);
        }
        // Room for the tick's own line, and none beyond the picture's edge.
        let wide = width_of(&text);
        let start = (x + 3.0).min(lanes.width - wide - 2.0);
        if last.0 != Some(consumer) || start >= last.1 {
            canvas.text(start, lane.top + HEAD - 5.0, &format!(r#" class="{class}""#), &text);
            last = (Some(consumer), start + wide + 6.0);
        }
    }
}

/// The words of a mark, as far as there is room for them.
fn cut_short(text: &str) -> String {
    const MOST: usize = 28;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST - 1).chain(['…']).collect() }
}

fn violations(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    for (number, violation) in (1..).zip(report.violations) {
        let x = lanes.scale.x(violation.at);
        let (top, bottom) = (px(lanes.redis.top - 2.0), px(lanes.nobody.bottom()));
        canvas.path(&format!("M{} {top}V{bottom}", px(x)), r#" class="broken""#, &violation.to_string());
        let flag = format!("✕{number} {}", violation.promise);
        canvas.text((x + 3.0).min(lanes.width - width_of(&flag)), lanes.redis.top + 22.0, r#" class="flag""#, &flag);
    }
}

/// A moment, in seconds.
pub(super) fn seconds(at: Time) -> String {
    format!("{:.3} s", at.as_micros() as f64 / 1e6)
}
