//! Takeovers: from where a stream lost its owner to where it got the next one.

use std::collections::BTreeMap;

use super::{
    Report,
    colors::color,
    draw::{Canvas, px},
    lanes::Lanes,
};
use crate::{
    metrics::short,
    timeline::{Cause, Gap},
};

pub(super) fn arrows(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    if lanes.crowd { bundles(report, lanes, canvas) } else { single(report, lanes, canvas) }
}

fn single(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    let timeline = &report.timeline;
    for gap in &timeline.gaps {
        let Some(after) = gap.after else { continue };
        let (old, new) = (&timeline.ownerships[gap.before], &timeline.ownerships[after]);
        let from = lanes.middle(&lanes.consumers[old.who.consumer], lanes.ownerships[gap.before]);
        let to = lanes.middle(&lanes.consumers[new.who.consumer], lanes.ownerships[after]);
        let number = lanes.streams[&gap.stream];
        let attributes = format!(
            r#" class="arrow{}" stroke="{}" data-s="{number}" marker-end="url(#head)""#,
            if gap.cause == Cause::Release { " handed" } else { "" },
            color(number),
        );
        let tip = format!(
            "{}: {} → {}\n{} without an owner ({})",
            gap.stream,
            report.name(old.who.consumer),
            report.name(new.who.consumer),
            short(gap.span()),
            gap.cause
        );
        canvas.path(&curve(lanes.scale.x(gap.from), from, lanes.scale.x(gap.until), to), &attributes, &tip);
    }
}

/// Many takeovers between two consumers at about the same time are one arrow.
fn bundles(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    const TOGETHER: f64 = 40.0;
    let timeline = &report.timeline;
    let mut bundles: BTreeMap<(usize, usize), Vec<Vec<&Gap>>> = BTreeMap::new();
    // In the order of their ends.
    for gap in &timeline.gaps {
        let Some(after) = gap.after else { continue };
        let (old, new) = (timeline.ownerships[gap.before].who.consumer, timeline.ownerships[after].who.consumer);
        if old == new {
            continue;
        }
        let bundles = bundles.entry((old, new)).or_default();
        let near = |bundle: &&mut Vec<&Gap>| lanes.scale.x(gap.until) - lanes.scale.x(bundle[0].until) < TOGETHER;
        match bundles.last_mut().filter(near) {
            Some(bundle) => bundle.push(gap),
            None => bundles.push(vec![gap]),
        }
    }
    let bundles = bundles.into_iter().flat_map(|(who, bundles)| bundles.into_iter().map(move |gaps| (who, gaps)));
    for ((old, new), gaps) in bundles {
        let (from, to) = (&lanes.consumers[old], &lanes.consumers[new]);
        let [start, end] = [from, to].map(|lane| lane.top + lane.height / 2.0);
        let first = gaps.iter().map(|gap| gap.from).min().unwrap_or_default();
        let last = gaps.iter().map(|gap| gap.until).max().unwrap_or_default();
        let wide = 1.0 + (gaps.len() as f64).log2() / 2.0;
        let attributes = format!(r#" class="arrow crowd" style="stroke-width:{}px" marker-end="url(#head)""#, px(wide));
        let longest = gaps.iter().map(|gap| gap.span()).max().unwrap_or_default();
        let tip = format!(
            "{} streams: {} → {}\nat most {} without an owner ({})",
            gaps.len(),
            report.name(old),
            report.name(new),
            short(longest),
            gaps[0].cause
        );
        let (x1, x2) = (lanes.scale.x(first), lanes.scale.x(last));
        canvas.path(&curve(x1, start, x2, end), &attributes, &tip);
        canvas.text(
            x2 + 5.0,
            end + if old < new { 12.0 } else { -4.0 },
            r#" class="word""#,
            &format!("×{}", gaps.len()),
        );
    }
}

fn curve(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    let bend = ((x2 - x1) / 2.0).max(6.0);
    let [x1, y1, x2, y2, a, b] = [x1, y1, x2, y2, x1 + bend, x2 - bend].map(px);
    format!("M{x1} {y1}C{a} {y1} {b} {y2} {x2} {y2}")
}
