//! Ranges of a sorted set, by rank and by score.

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, syntax};
use super::super::number;
use super::super::strings::slice;
use super::{Zset, listed};

pub(crate) fn zrange(call: &mut Call) -> Answer {
    let mut range = Range::default();
    let mut at = 4;
    while at < call.args.len() {
        match () {
            () if call.is_word(at, "byscore") => range.by_score = true,
            () if call.is_word(at, "rev") => range.backwards = true,
            () => at = range.option(call, at)?,
        }
        at += 1;
    }
    range.list(call)
}

pub(crate) fn zrevrange(call: &mut Call) -> Answer {
    list_with(call, Range { backwards: true, ..Range::default() })
}

pub(crate) fn zrangebyscore(call: &mut Call) -> Answer {
    list_with(call, Range { by_score: true, ..Range::default() })
}

pub(crate) fn zrevrangebyscore(call: &mut Call) -> Answer {
    list_with(call, Range { by_score: true, backwards: true, ..Range::default() })
}

pub(crate) fn zcount(call: &mut Call) -> Answer {
    let bounds = Bounds::parse(call, 2, 3)?;
    let zset = call.read::<Zset>(call.key())?;
    Ok(count(zset.map_or(0, |zset| zset.ordered().filter(|(_, score)| bounds.contain(*score)).count())))
}

/// From a lowest to a highest score, each with or without itself.
pub(super) struct Bounds {
    low: (f64, bool),
    high: (f64, bool),
}

impl Bounds {
    pub(super) fn parse(call: &Call, low_at: usize, high_at: usize) -> Result<Bounds, Reply> {
        let bound = |at: usize| {
            let (text, is_in) = match &call.args[at][..] {
                [b'(', text @ ..] => (text, false),
                text => (text, true),
            };
            let score = number::float(text).ok_or_else(|| Reply::error("ERR min or max is not a float"));
            score.map(|score| (score, is_in))
        };
        Ok(Bounds { low: bound(low_at)?, high: bound(high_at)? })
    }

    pub(super) fn contain(&self, score: f64) -> bool {
        let ((low, low_is_in), (high, high_is_in)) = (self.low, self.high);
        (score > low || (low_is_in && score == low)) && (score < high || (high_is_in && score == high))
    }
}

#[derive(Default)]
struct Range {
    by_score: bool,
    backwards: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

impl Range {
    /// Reads an option that begins here, and says where its last word is.
    fn option(&mut self, call: &Call, at: usize) -> Result<usize, Reply> {
        if call.is_word(at, "withscores") {
            self.with_scores = true;
            return Ok(at);
        }
        if call.is_word(at, "limit") && at + 2 < call.args.len() {
            self.limit = Some((call.int(at + 1)?, call.int(at + 2)?));
            return Ok(at + 2);
        }
        Err(syntax())
    }

    fn list(&self, call: &mut Call) -> Answer {
        if self.limit.is_some_and(|(_, most)| most != -1) && !self.by_score {
            return Err(Reply::error(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if self.by_score { self.list_scores(call) } else { self.list_ranks(call) }
    }

    fn list_ranks(&self, call: &mut Call) -> Answer {
        let (start, end) = (call.int(2)?, call.int(3)?);
        let Some(zset) = call.read::<Zset>(call.key())? else { return Ok(Reply::Array(Vec::new())) };
        let Some(range) = slice(start, end, zset.len()) else { return Ok(Reply::Array(Vec::new())) };
        Ok(self.reply(zset, range.start, range.len(), |_| true))
    }

    fn list_scores(&self, call: &mut Call) -> Answer {
        // The highest score comes first when it is listed backwards.
        let bounds = if self.backwards { Bounds::parse(call, 3, 2) } else { Bounds::parse(call, 2, 3) }?;
        let Some(zset) = call.read::<Zset>(call.key())? else { return Ok(Reply::Array(Vec::new())) };
        let (skip, most) = self.limit.unwrap_or((0, -1));
        // A negative offset is behind the end, a negative number is all.
        let Ok(skip) = usize::try_from(skip) else { return Ok(Reply::Array(Vec::new())) };
        Ok(self.reply(zset, skip, usize::try_from(most).unwrap_or(usize::MAX), |score| bounds.contain(score)))
    }

    fn reply(&self, zset: &Zset, skip: usize, most: usize, is_in: impl Fn(f64) -> bool) -> Reply {
        let rows = zset.ordered().filter(|(_, score)| is_in(*score));
        if self.backwards {
            return listed(rows.rev().skip(skip).take(most), self.with_scores);
        }
        listed(rows.skip(skip).take(most), self.with_scores)
    }
}

fn list_with(call: &mut Call, mut range: Range) -> Answer {
    let mut at = 4;
    while at < call.args.len() {
        at = range.option(call, at)? + 1;
    }
    range.list(call)
}
