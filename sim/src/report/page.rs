//! The page around the picture.

use std::fmt::Write;

use super::{Report, draw::escape, picture::picture, tables};
use crate::{
    judge::Kind,
    metrics::{Metrics, short},
    plan::{ConsumerPlan, Persistence, Plan},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(report: &Report<'_>) -> String {
    let metrics = Metrics::read(report.facts, &report.timeline);
    let title = escape(&report.title);
    let about = report.about.clone().unwrap_or_else(|| summary(report));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} – Streamkeeper</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    let _ = writeln!(page, "<header><h1>{title}</h1>\n<p>{}</p></header>", escape(&about));
    tiles(report, &metrics, &mut page);
    violations(report, &mut page);
    let (picture, crowd) = picture(report);
    let _ = writeln!(
        page,
        "<figure><div class=\"scroll\" tabindex=\"0\" aria-label=\"The picture of the run\">\n{picture}</div>\n{}</figure>",
        legend(crowd)
    );
    tables::tables(report, &metrics, &mut page);
    let _ = writeln!(
        page,
        "</main>\n<div id=\"tip\" role=\"status\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>"
    );
    page
}

/// Who took part, how long, with which settings.
fn summary(report: &Report<'_>) -> String {
    let plan = report.plan;
    let go = plan.consumers.iter().filter(|consumer| consumer.go).count();
    let consumers = match (plan.consumers.len() - go, go) {
        (1, 0) => "1 consumer".to_owned(),
        (ours, 0) => format!("{ours} consumers"),
        (ours, 1) => format!("{ours} consumers and 1 Go peer"),
        (ours, go) => format!("{ours} consumers and {go} Go peers"),
    };
    let end = report.timeline.end.as_micros() as f64 / 1e6;
    format!("{end:.1} s, {consumers}, {}. Redis: {}.", settings(plan), redis(plan))
}

/// The settings that matter, from the first consumer of ours; where others differ, it is said.
fn settings(plan: &Plan) -> String {
    let ours = || plan.consumers.iter().filter(|consumer| !consumer.go);
    let Some(first) = ours().next() else { return "no consumer of ours".to_owned() };
    let mut text = String::new();
    let mut setting = |name: &str, of: fn(&ConsumerPlan) -> u64| {
        let same = ours().all(|consumer| of(consumer) == of(first));
        let differs = if same { "" } else { " (and others)" };
        let separator = if text.is_empty() { "" } else { ", " };
        let span = short(std::time::Duration::from_millis(of(first))).replace(".00", "");
        let _ = write!(text, "{separator}{name} {span}{differs}");
    };
    setting("ttl", |consumer| consumer.ttl_ms);
    setting("heartbeat", |consumer| consumer.heartbeat_ms);
    setting("reap interval", |consumer| consumer.reap_ms);
    text
}

fn redis(plan: &Plan) -> String {
    let persistence = match plan.redis.persistence {
        Persistence::None => "no persistence".to_owned(),
        Persistence::Rdb { every_ms } => {
            format!("RDB every {}", short(std::time::Duration::from_millis(every_ms)).replace(".00", ""))
        }
        Persistence::Aof => "AOF synced every second".to_owned(),
        Persistence::AofAlways => "AOF synced always".to_owned(),
    };
    let config = if plan.redis.config_allowed { "CONFIG allowed" } else { "CONFIG forbidden" };
    let keys = match plan.redis.other_keys {
        0 => String::new(),
        keys => format!(", {keys} other keys that expire"),
    };
    format!("{persistence}, {config}, hz {}{keys}", plan.redis.hz)
}

fn tiles(report: &Report<'_>, metrics: &Metrics, page: &mut String) {
    page.push_str("<section class=\"tiles\" aria-label=\"In short\">\n");
    let mut tile = |class: &str, value: String, name: &str| {
        let _ = writeln!(page, "<div class=\"tile {class}\"><b>{}</b><span>{name}</span></div>", escape(&value));
    };
    let without = metrics.without_owner();
    let worst = report.violations.iter().map(|violation| violation.kind).min();
    let (class, text) = match worst {
        None => ("good", "no promise broken".to_owned()),
        Some(kind) => {
            let count = report.violations.len();
            let kind = if kind == Kind::Safety { "safety" } else { "liveness" };
            ("bad", format!("promise{} broken ({kind})", if count == 1 { "" } else { "s" }))
        }
    };
    let broken = report.violations.len();
    tile(class, if broken == 0 { "✓".to_owned() } else { broken.to_string() }, &text);
    tile("", metrics.streams.to_string(), "streams owned");
    tile("", metrics.finished.to_string(), "finished");
    tile("", metrics.takeovers.to_string(), "takeovers");
    tile("", metrics.disowned().to_string(), "disowned");
    if without.count > 0 {
        tile("", short(without.p50), "without owner, p50");
        tile("", short(without.p99), "p99");
        tile("", short(without.max), "longest");
    }
    let open = metrics.open_gaps.len() + metrics.never_owned;
    if open > 0 {
        tile("bad", open.to_string(), "without an owner at the end");
    }
    page.push_str("</section>\n");
}

fn violations(report: &Report<'_>, page: &mut String) {
    if report.violations.is_empty() {
        return;
    }
    page.push_str("<section class=\"broken\"><h2>Broken promises</h2>\n<ol>\n");
    for violation in report.violations {
        let kind = if violation.kind == Kind::Safety { "safety" } else { "liveness" };
        let at = super::picture::seconds(violation.at);
        let (promise, how) = (escape(violation.promise), escape(&violation.how));
        let _ = writeln!(page, "<li><b>{promise}</b> <small>({kind}, at {at})</small> {how}</li>");
    }
    page.push_str("</ol></section>\n");
}

fn legend(crowd: bool) -> String {
    let what = if crowd {
        "The height of an area is the number of streams that a consumer owns, or that nobody owns."
    } else {
        "A bar is a stream that a consumer owns; its end is <i class=\"key done\"></i> finished, \
         <i class=\"key released\"></i> given back or <i class=\"key disowned\"></i> lost. A dashed bar: its owner stood \
         still, and believed to own what was lost. <i class=\"key gap\"></i> A stream without an owner, \
         <i class=\"key first\"></i> waiting for its first one."
    };
    format!(
        "<figcaption>{what} <i class=\"key still\"></i> Standing still, <i class=\"key cut\"></i> other faults; a tinted \
         ground: Redis answers nobody, or refuses. An arrow leads from where streams lost their owner to where they got \
         the next. Point at anything for tokens, entries, times and reasons.</figcaption>"
    )
}
