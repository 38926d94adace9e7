//! Where everything lies: a lane for Redis, one for each consumer, one for the streams that nobody owns.

use std::{collections::BTreeMap, sync::Arc};

use streamkeeper::Time;

use super::{Report, draw::Scale};
use crate::timeline::Timeline;

/// More streams than this are drawn as a crowd.
const STREAMS: usize = 60;
/// So are more ownerships than this.
const OWNERSHIPS: usize = 1_500;

pub(super) const GUTTER: f64 = 150.0;
/// Above a lane's bars, for words.
pub(super) const HEAD: f64 = 17.0;
const AXIS: f64 = 26.0;
const BETWEEN: f64 = 8.0;

/// The places of a picture.
pub(super) struct Lanes {
    pub(super) scale: Scale,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Too many streams for a bar each.
    pub(super) crowd: bool,
    /// The height of a row, the space to the next one included.
    pub(super) row: f64,
    pub(super) redis: Lane,
    pub(super) consumers: Vec<Lane>,
    pub(super) nobody: Lane,
    /// The row of each ownership in its lane.
    pub(super) ownerships: Vec<usize>,
    /// The row of each gap.
    pub(super) gaps: Vec<usize>,
    /// The row of each wait for a first owner, if it is long enough to be seen.
    pub(super) firsts: Vec<Option<usize>>,
    /// Each stream's number, for its colour.
    pub(super) streams: BTreeMap<Arc<str>, usize>,
}

#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) top: f64,
    pub(super) height: f64,
}

impl Lane {
    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

impl Lanes {
    pub(super) fn of(report: &Report<'_>) -> Lanes {
        let timeline = &report.timeline;
        let names = timeline.streams().into_iter().chain(timeline.firsts.iter().map(|first| Arc::clone(&first.stream)));
        let mut streams = BTreeMap::new();
        for name in names {
            let next = streams.len();
            streams.entry(name).or_insert(next);
        }
        let crowd = streams.len() > STREAMS || timeline.ownerships.len() > OWNERSHIPS;
        let owners =
            timeline.lives.iter().map(|life| life.who).chain(timeline.ownerships.iter().map(|owned| owned.who));
        let consumers = owners.map(|who| who.consumer + 1).chain([report.plan.consumers.len()]).max().unwrap_or(0);
        let rows = Rows::of(timeline, consumers, crowd);
        let row = rows.height();

        let seconds = timeline.end.as_micros() as f64 / 1e6;
        let width = GUTTER + (seconds * 17.5).clamp(1_050.0, 6_000.0) + 20.0;
        let scale = Scale { left: GUTTER, right: width - 20.0, end: timeline.end };
        let mut top = AXIS;
        let mut lane = |height: f64| {
            let lane = Lane { top, height };
            top = lane.bottom() + BETWEEN;
            lane
        };
        let bars = |rows: usize| HEAD + if crowd { 62.0 } else { row * rows.max(2) as f64 } + 4.0;
        let redis = lane(HEAD + 8.0);
        let consumers = rows.consumers.iter().map(|&rows| lane(bars(rows))).collect();
        let nobody = lane(bars(rows.nobody));
        let height = nobody.bottom() + AXIS;
        let Rows { ownerships, gaps, firsts, .. } = rows;
        Lanes { scale, width, height, crowd, row, redis, consumers, nobody, ownerships, gaps, firsts, streams }
    }

    /// The rectangle of a bar.
    pub(super) fn bar(&self, lane: &Lane, row: usize, from: Time, until: Time) -> [f64; 4] {
        let (from, until) = (self.scale.x(from), self.scale.x(until));
        let space = if self.row > 8.0 { 2.0 } else { 1.0 };
        [from, lane.top + HEAD + row as f64 * self.row, until - from, self.row - space]
    }

    /// The middle of a row.
    pub(super) fn middle(&self, lane: &Lane, row: usize) -> f64 {
        lane.top + HEAD + (row as f64 + 0.5) * self.row - 1.0
    }
}

/// Who lies in which row.
struct Rows {
    consumers: Vec<usize>,
    nobody: usize,
    ownerships: Vec<usize>,
    gaps: Vec<usize>,
    firsts: Vec<Option<usize>>,
}

impl Rows {
    fn of(timeline: &Timeline, consumers: usize, crowd: bool) -> Rows {
        let mut lanes = vec![Pack::default(); consumers];
        let mut nobody = Pack::default();
        let (mut ownerships, mut gaps, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        if !crowd {
            for owned in &timeline.ownerships {
                let lane = &mut lanes[owned.who.consumer];
                ownerships.push(lane.row(&owned.owned.stream, owned.from, owned.until));
            }
            // Both lie in one lane, in the order of their beginnings.
            let short = timeline.end.since(Time::ZERO) / 400;
            let mut spans: Vec<_> = timeline.gaps.iter().map(|gap| (gap.from, gap.until, &gap.stream, true)).collect();
            spans.extend(timeline.firsts.iter().map(|first| {
                let seen = first.until.since(first.from) > short;
                (first.from, first.until, &first.stream, seen)
            }));
            let mut order: Vec<usize> = (0..spans.len()).filter(|&index| spans[index].3).collect();
            order.sort_by_key(|&index| spans[index].0);
            let mut rows = vec![None; spans.len()];
            for index in order {
                let (from, until, stream, _) = spans[index];
                rows[index] = Some(nobody.row(stream, from, until));
            }
            firsts = rows.split_off(timeline.gaps.len());
            gaps = rows.into_iter().flatten().collect();
        }
        let consumers = lanes.iter().map(|lane| lane.rows.len()).collect();
        Rows { consumers, nobody: nobody.rows.len(), ownerships, gaps, firsts }
    }

    /// The more rows, the lower.
    fn height(&self) -> f64 {
        match self.consumers.iter().copied().max().unwrap_or(0).max(self.nobody) {
            0..=12 => 16.0,
            13..=24 => 12.0,
            25..=40 => 8.0,
            _ => 6.0,
        }
    }
}

/// The rows of one lane: until when each is taken, and by whom.
#[derive(Clone, Default)]
struct Pack {
    rows: Vec<(Time, Arc<str>)>,
}

impl Pack {
    /// A row that is free: the one where this stream was before, if it is, else the first.
    fn row(&mut self, stream: &Arc<str>, from: Time, until: Time) -> usize {
        let free = |(taken, _): &(Time, Arc<str>)| *taken <= from;
        let own = self.rows.iter().position(|row| free(row) && row.1 == *stream);
        let row = own.or_else(|| self.rows.iter().position(free)).unwrap_or(self.rows.len());
        if row == self.rows.len() {
            self.rows.push((until, Arc::clone(stream)));
        }
        self.rows[row] = (until, Arc::clone(stream));
        row
    }
}
