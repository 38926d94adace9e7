//! ZADD and ZINCRBY.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, not_a_float, syntax};
use super::super::number;
use super::Zset;

pub(crate) fn zadd(call: &mut Call) -> Answer {
    let options = Options::parse(call)?;
    add(call, &options)
}

pub(crate) fn zincrby(call: &mut Call) -> Answer {
    add(call, &Options { increments: true, pairs_at: 2, ..Options::default() })
}

#[derive(Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    counts_changed: bool,
    increments: bool,
    pairs_at: usize,
}

impl Options {
    fn parse(call: &Call) -> Result<Options, Reply> {
        let mut options = Options { pairs_at: 2, ..Options::default() };
        loop {
            let at = options.pairs_at;
            match () {
                () if call.is_word(at, "nx") => options.nx = true,
                () if call.is_word(at, "xx") => options.xx = true,
                () if call.is_word(at, "gt") => options.gt = true,
                () if call.is_word(at, "lt") => options.lt = true,
                () if call.is_word(at, "ch") => options.counts_changed = true,
                () if call.is_word(at, "incr") => options.increments = true,
                () => break,
            }
            options.pairs_at += 1;
        }
        let left = call.args.len() - options.pairs_at;
        if left == 0 || left % 2 == 1 {
            return Err(syntax());
        }
        if options.nx && options.xx {
            return Err(Reply::error("ERR XX and NX options at the same time are not compatible"));
        }
        if (options.gt && (options.nx || options.lt)) || (options.lt && options.nx) {
            return Err(Reply::error("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if options.increments && left > 2 {
            return Err(Reply::error("ERR INCR option supports a single increment-element pair"));
        }
        Ok(options)
    }

    /// The score that a member gets; none if it keeps what it has.
    fn score(&self, before: Option<f64>, given: f64) -> Result<Option<f64>, Reply> {
        let Some(before) = before else { return Ok(Some(given).filter(|_| !self.xx)) };
        if self.nx {
            return Ok(None);
        }
        let score = if self.increments { before + given } else { given };
        if score.is_nan() {
            return Err(Reply::error("ERR resulting score is not a number (NaN)"));
        }
        Ok(Some(score).filter(|score| !(self.gt && *score <= before || self.lt && *score >= before)))
    }
}

fn add(call: &mut Call, options: &Options) -> Answer {
    let key = call.key();
    let pairs = &call.args[options.pairs_at..];
    let scores = pairs.iter().step_by(2).map(|text| number::float(text).ok_or_else(not_a_float));
    let scores: Vec<f64> = scores.collect::<Result<_, _>>()?;
    let members = pairs.iter().skip(1).step_by(2);
    let exists = call.read::<Zset>(key)?.is_some();
    if !exists && options.xx {
        return Ok(if options.increments { Reply::Nil } else { Reply::Int(0) });
    }
    let zset: &mut Zset = call.create(key)?;
    let (mut added, mut changed) = (0, 0);
    let mut last = None;
    let mut failed = None;
    for (score, member) in scores.into_iter().zip(members) {
        match set(zset, options, member, score) {
            Err(error) => failed = Some(error),
            Ok((score, is_new, is_other)) => {
                last = score;
                added += usize::from(is_new);
                changed += usize::from(is_other && !is_new);
            }
        }
    }
    if added + changed > 0 {
        call.event('z', if options.increments { "zincr" } else { "zadd" }, key);
        call.cx.dirty += (added + changed) as u64;
    }
    match failed {
        Some(error) => Err(error),
        None if options.increments => Ok(last.map_or(Reply::Nil, Reply::Double)),
        None => Ok(count(if options.counts_changed { added + changed } else { added })),
    }
}

/// The member's score if it was set, whether it is new, and whether its score is another.
fn set(zset: &mut Zset, options: &Options, member: &Bytes, given: f64) -> Result<(Option<f64>, bool, bool), Reply> {
    let before = zset.score(member);
    let Some(score) = options.score(before, given)? else { return Ok((None, false, false)) };
    if before != Some(score) {
        zset.set(member, score);
    }
    Ok((Some(score), before.is_none(), before != Some(score)))
}
