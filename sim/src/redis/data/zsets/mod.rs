//! Sorted sets.

mod add;
mod range;
mod remove;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call, count};

pub(crate) use add::{zadd, zincrby};
pub(crate) use range::{zcount, zrange, zrangebyscore, zrevrange, zrevrangebyscore};
pub(crate) use remove::{zpopmax, zpopmin, zrem, zremrangebyrank, zremrangebyscore};

/// A sorted set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zset {
    scores: BTreeMap<Bytes, f64>,
    order: BTreeSet<(Score, Bytes)>,
}

/// A score as it is ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score(f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> std::cmp::Ordering {
        // No score is NaN; and the two zeros are one.
        self.0.partial_cmp(&other.0).unwrap_or(std::cmp::Ordering::Equal)
    }
}

impl std::hash::Hash for Zset {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_usize(self.scores.len());
        for (member, score) in &self.scores {
            (member, score.to_bits()).hash(state);
        }
    }
}

impl Zset {
    pub(crate) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Bytes> {
        self.scores.keys()
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Sets a member's score. Whether it is new.
    fn set(&mut self, member: &Bytes, score: f64) -> bool {
        let before = self.scores.insert(member.clone(), score);
        if let Some(before) = before {
            self.order.remove(&(Score(before), member.clone()));
        }
        self.order.insert((Score(score), member.clone()));
        before.is_none()
    }

    fn remove(&mut self, member: &Bytes) -> bool {
        let Some(score) = self.scores.remove(member) else { return false };
        self.order.remove(&(Score(score), member.clone()))
    }

    /// Members and scores, from the lowest score on.
    pub(crate) fn ordered(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> + ExactSizeIterator {
        self.order.iter().map(|(score, member)| (member, score.0))
    }
}

pub(crate) fn zcard(call: &mut Call) -> Answer {
    Ok(count(call.read::<Zset>(call.key())?.map_or(0, Zset::len)))
}

pub(crate) fn zscore(call: &mut Call) -> Answer {
    let member = &call.args[2];
    let score = call.read::<Zset>(call.key())?.and_then(|zset| zset.score(member));
    Ok(score.map_or(Reply::Nil, Reply::Double))
}

pub(crate) fn zmscore(call: &mut Call) -> Answer {
    let members = &call.args[2..];
    let zset = call.read::<Zset>(call.key())?;
    let score = |member: &Bytes| zset.and_then(|zset| zset.score(member)).map_or(Reply::Nil, Reply::Double);
    Ok(Reply::Array(members.iter().map(score).collect()))
}

pub(crate) fn zrank(call: &mut Call) -> Answer {
    rank(call, false)
}

pub(crate) fn zrevrank(call: &mut Call) -> Answer {
    rank(call, true)
}

fn rank(call: &mut Call, backwards: bool) -> Answer {
    let member = &call.args[2];
    let Some(zset) = call.read::<Zset>(call.key())? else { return Ok(Reply::Nil) };
    let Some(at) = zset.ordered().position(|(other, _)| other == member) else { return Ok(Reply::Nil) };
    Ok(count(if backwards { zset.len() - 1 - at } else { at }))
}

/// Members, with their scores if they are wanted.
fn listed<'a>(rows: impl Iterator<Item = (&'a Bytes, f64)>, with_scores: bool) -> Reply {
    if with_scores {
        return Reply::Pairs(rows.map(|(member, score)| (Reply::Bulk(member.clone()), Reply::Double(score))).collect());
    }
    Reply::Array(rows.map(|(member, _)| Reply::Bulk(member.clone())).collect())
}
