//! Many streams: how many each consumer owns, instead of which.

use std::fmt::Write;

use streamkeeper::Time;

use super::{
    Report,
    draw::{Canvas, px},
    lanes::{HEAD, Lane, Lanes},
};

/// How many at each time: changes by one, in order of time.
struct Count(Vec<(Time, isize)>);

impl Count {
    fn of(spans: impl Iterator<Item = (Time, Time)>) -> Count {
        let mut changes: Vec<_> = spans.flat_map(|(from, until)| [(from, 1), (until, -1)]).collect();
        changes.sort_unstable_by_key(|&(at, by)| (at, by));
        Count(changes)
    }

    fn most(&self) -> isize {
        let mut now = 0;
        self.0
            .iter()
            .map(|(_, by)| {
                now += by;
                now
            })
            .max()
            .unwrap_or(0)
    }

    /// The most in each column of pixels that begins at these times.
    fn columns(&self, lanes: &Lanes) -> Vec<isize> {
        let columns = (lanes.scale.right - lanes.scale.left) as usize;
        let mut most = vec![0_isize; columns + 1];
        let (mut now, mut column) = (0, 0);
        for &(at, by) in &self.0 {
            let next = ((lanes.scale.x(at) - lanes.scale.left) as usize).min(columns);
            if next > column {
                most[column + 1..=next].fill(now);
                column = next;
            }
            now += by;
            most[column] = most[column].max(now);
        }
        most[column + 1..].fill(now);
        most
    }
}

pub(super) fn crowds(report: &Report<'_>, lanes: &Lanes, canvas: &mut Canvas) {
    let timeline = &report.timeline;
    let counts: Vec<Count> = (0..lanes.consumers.len())
        .map(|consumer| {
            let owned = timeline.ownerships.iter().filter(|owned| owned.who.consumer == consumer);
            Count::of(owned.map(|owned| (owned.from, owned.useful_until)))
        })
        .collect();
    let gaps = timeline.gaps.iter().map(|gap| (gap.from, gap.until));
    let nobody = Count::of(gaps.chain(timeline.firsts.iter().map(|first| (first.from, first.until))));
    let most = counts.iter().chain([&nobody]).map(Count::most).max().unwrap_or(0).max(1);
    for (consumer, (count, lane)) in counts.iter().zip(&lanes.consumers).enumerate() {
        let tip = format!("{} owns at most {} streams", report.name(consumer), count.most());
        area(count, most, lanes, lane, "crowd", &tip, canvas);
    }
    let tip = format!("at most {} streams have no owner", nobody.most());
    area(&nobody, most, lanes, &lanes.nobody, "crowd nobody", &tip, canvas);
}

fn area(count: &Count, most: isize, lanes: &Lanes, lane: &Lane, class: &str, tip: &str, canvas: &mut Canvas) {
    let (bottom, room) = (lane.bottom() - 2.0, lane.height - HEAD - 4.0);
    let mut d = format!("M{} {}", px(lanes.scale.left), px(bottom));
    let mut last = -1;
    for (column, many) in count.columns(lanes).into_iter().enumerate() {
        if many != last {
            let y = bottom - room * many as f64 / most as f64;
            let _ = write!(d, "H{}V{}", px(lanes.scale.left + column as f64), px(y));
            last = many;
        }
    }
    let _ = write!(d, "H{}V{}Z", px(lanes.scale.right), px(bottom));
    canvas.path(&d, &format!(r#" class="{class}""#), tip);
    canvas.text(lanes.scale.left - 6.0, bottom - room + 8.0, r#" class="scale""#, &most.to_string());
    canvas.text(lanes.scale.left - 6.0, bottom, r#" class="scale""#, "0");
}
