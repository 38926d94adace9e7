//! The page's tables: the same figures as the picture, to be read and to be copied.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    Report,
    draw::{escape, px},
    picture::seconds,
};
use crate::{
    facts::What,
    metrics::{Metrics, Spread, short},
    timeline::Cause,
};

/// A page with a million lines helps nobody.
const EVENTS: usize = 3_000;
/// How many of the longest times without an owner are listed.
const LONGEST: usize = 15;
/// How many points one row of the table draws.
const POINTS: usize = 400;

pub(super) fn tables(report: &Report<'_>, metrics: &Metrics, page: &mut String) {
    without_owner(report, metrics, page);
    longest(report, page);
    consumers(report, page);
    plan(report, page);
    events(report, page);
}

fn without_owner(report: &Report<'_>, metrics: &Metrics, page: &mut String) {
    let spans = |cause| metrics.gaps.get(&cause).cloned().unwrap_or_default();
    let causes = [Cause::Crash, Cause::Pause, Cause::Lost, Cause::Release, Cause::Failure];
    let mut rows: Vec<_> = causes.map(|cause| (cause.to_string(), spans(cause))).to_vec();
    rows.push(("announced, waiting for the first owner".to_owned(), metrics.firsts.clone()));
    rows.push(("still without an owner at the end".to_owned(), metrics.open_gaps.clone()));
    rows.retain(|(_, spans)| !spans.is_empty());
    if rows.is_empty() {
        return;
    }
    let ttl = report.timeline.lives.iter().filter(|life| !life.go).map(|life| life.ttl).max();
    let longest = rows.iter().flat_map(|(_, spans)| spans).copied().chain(ttl).max().unwrap_or_default();
    page.push_str(
        "<section><h2>How long streams had no owner</h2>\n<table>\n<thead><tr><th>after</th><th>times</th><th>p50</th>\
         <th>p99</th><th>longest</th><th class=\"wide\">each of them (the line: the lease’s ttl)</th></tr></thead>\n<tbody>\n",
    );
    for (name, spans) in rows {
        let Spread { count, p50, p99, max } = Spread::of(spans.iter().copied());
        let [p50, p99, max] = [p50, p99, max].map(short);
        let points = points(spans, longest, ttl);
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{name}</th><td>{count}</td><td>{p50}</td><td>{p99}</td><td>{max}</td>\
             <td class=\"wide\">{points}</td></tr>"
        );
    }
    page.push_str("</tbody></table></section>\n");
}

/// Each span as a point on a line from 0 to the longest of all.
fn points(mut spans: Vec<Duration>, longest: Duration, ttl: Option<Duration>) -> String {
    spans.sort_unstable();
    let x = |span: Duration| px(6.0 + 428.0 * span.as_secs_f64() / longest.as_secs_f64().max(1e-9));
    let mut svg =
        String::from("<svg class=\"points\" viewBox=\"0 0 440 18\" aria-hidden=\"true\"><path d=\"M6 9H434\"/>");
    if let Some(ttl) = ttl {
        let _ = write!(svg, "<path class=\"ttl\" d=\"M{} 1V17\"/>", x(ttl));
    }
    let last = spans.len() - 1;
    let every = spans.len().div_ceil(POINTS);
    for span in spans.iter().enumerate().filter(|(index, _)| index % every == 0 || *index == last).map(|(_, span)| span)
    {
        let _ = write!(svg, "<circle cx=\"{}\" cy=\"9\" r=\"3\"/>", x(*span));
    }
    svg + "</svg>"
}

fn longest(report: &Report<'_>, page: &mut String) {
    let timeline = &report.timeline;
    let mut gaps: Vec<_> = timeline.gaps.iter().filter(|gap| gap.cause.is_unplanned()).collect();
    if gaps.is_empty() {
        return;
    }
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.span()));
    page.push_str(
        "<section><h2>The longest times without an owner</h2>\n<table>\n<thead><tr><th>stream</th><th>from</th>\
         <th>to</th><th>long</th><th>why</th><th>who before</th><th>who after</th><th>tokens</th></tr></thead>\n<tbody>\n",
    );
    for gap in gaps.into_iter().take(LONGEST) {
        let before = &timeline.ownerships[gap.before];
        let after = gap.after.map(|after| &timeline.ownerships[after]);
        let next = after.map_or_else(|| "nobody".to_owned(), |after| report.name(after.who.consumer));
        let why = match gap.cause {
            Cause::Lost => format!("{} ({})", gap.cause, before.how),
            cause => cause.to_string(),
        };
        let token = after.map_or_else(|| "–".to_owned(), |after| after.owned.token.to_string());
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"code\">{} → {token}</td></tr>",
            escape(&gap.stream),
            seconds(gap.from),
            seconds(gap.until),
            short(gap.span()),
            why,
            escape(&report.name(before.who.consumer)),
            escape(&next),
            before.owned.token,
        );
    }
    page.push_str("</tbody></table></section>\n");
}

fn consumers(report: &Report<'_>, page: &mut String) {
    page.push_str(
        "<section><h2>Consumers</h2>\n<table>\n<thead><tr><th>consumer</th><th>id</th><th>processes</th>\
         <th>ownerships</th><th>takeovers</th><th>how they ended</th></tr></thead>\n<tbody>\n",
    );
    for index in 0..report.plan.consumers.len() {
        let lives: Vec<_> = report.timeline.lives.iter().filter(|life| life.who.consumer == index).collect();
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut owned, mut takeovers) = (0, 0);
        for ownership in report.timeline.ownerships.iter().filter(|owned| owned.who.consumer == index) {
            owned += 1;
            takeovers += usize::from(ownership.takeover);
            *ends.entry(ownership.how).or_default() += 1;
        }
        let ends: Vec<_> = ends.iter().map(|(how, times)| format!("{times} {how}")).collect();
        let id = lives.last().map_or("never started", |life| &life.id);
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"code\">{}</td><td>{}</td><td>{owned}</td><td>{takeovers}</td>\
             <td>{}</td></tr>",
            escape(&report.name(index)),
            escape(id),
            lives.len(),
            escape(&ends.join(", ")),
        );
    }
    page.push_str("</tbody></table></section>\n");
}

/// The plan as a file: what `replay` and `report` read.
fn plan(report: &Report<'_>, page: &mut String) {
    if report.about.is_none() {
        let plan = report.plan.to_string();
        let _ = writeln!(
            page,
            "<details><summary>Plan (what replay reads)</summary>\n<pre>{}</pre></details>",
            escape(&plan)
        );
    }
}

fn events(report: &Report<'_>, page: &mut String) {
    let told = report.facts.iter().filter(|fact| !matches!(fact.what, What::Renewed { .. } | What::Worked { .. }));
    let all = told.clone().count();
    let shown = if all > EVENTS { format!("the first {EVENTS} of {all}") } else { all.to_string() };
    let _ = writeln!(page, "<details><summary>Events ({shown}; without heartbeats)</summary>\n<pre>");
    for fact in told.take(EVENTS) {
        let line = serde_json::to_value(&fact.what).map(|what| in_one_line(&what)).unwrap_or_default();
        let _ = writeln!(page, "{:>12}  {}", seconds(fact.at), escape(&line));
    }
    page.push_str("</pre></details>\n");
}

/// `added who=c1 stream=orders-1 …`: a fact's fields, in the order of their names.
fn in_one_line(what: &serde_json::Value) -> String {
    let mut line = what["what"].as_str().unwrap_or_default().to_owned();
    let mut add = |name: &str, value: &serde_json::Value| {
        let _ = match value {
            serde_json::Value::String(text) => write!(line, " {name}={text}"),
            serde_json::Value::Object(who) if name == "who" => write!(line, " c{}/{}", who["consumer"], who["life"]),
            value => write!(line, " {name}={value}"),
        };
    };
    for (name, value) in what.as_object().into_iter().flatten().filter(|(name, _)| *name != "what") {
        match (name.as_str(), value.as_object()) {
            ("owned", Some(owned)) => owned.iter().for_each(|(name, value)| add(name, value)),
            _ => add(name, value),
        }
    }
    line
}
