//! XACK, XCLAIM and XAUTOCLAIM: who has an entry, and that nobody has it any more.

use bytes::Bytes;

use super::super::super::{reply::Reply, version::Version};
use super::super::call::{Answer, Call, count, syntax};
use super::super::number;
use super::group::Pending;
use super::id::Id;
use super::node::Entry;
use super::{Stream, add, no_group};

pub(crate) fn xack(call: &mut Call) -> Answer {
    let (key, group) = (call.key(), &call.args[2]);
    if !call.read::<Stream>(key)?.is_some_and(|stream| stream.groups.contains_key(group)) {
        return Ok(Reply::Int(0));
    }
    let ids = add::ids(call, 3)?;
    let stream = call.change::<Stream>(key)?;
    let Some(group) = stream.and_then(|stream| stream.groups.get_mut(group)) else { return Ok(Reply::Int(0)) };
    let settled = ids.into_iter().filter(|id| group.settle(*id)).count();
    call.cx.dirty += settled as u64;
    Ok(count(settled))
}

pub(crate) fn xclaim(call: &mut Call) -> Answer {
    let (key, group) = (call.key(), &call.args[2]);
    check_group(call, key, group)?;
    let claim = Claim::parse(call)?;
    let stream = call.change::<Stream>(key)?.ok_or_else(|| no_group(key, group))?;
    let mut claiming = Claiming { stream, group, claim: &claim, is_new: false, changes: 0 };
    let claimed = claiming.claim_all();
    let (is_new, changes) = (claiming.is_new, claiming.changes);
    finish(call, key, is_new, changes);
    Ok(Reply::Array(claimed))
}

pub(crate) fn xautoclaim(call: &mut Call) -> Answer {
    let (key, group) = (call.key(), &call.args[2]);
    let min_idle_ms = min_idle_ms(call, "XAUTOCLAIM")?;
    let start = Id::start(&call.args[5])?;
    let mut most: u64 = 100;
    let mut just_id = false;
    let mut at = 6;
    while at < call.args.len() {
        if call.is_word(at, "count") && at + 1 < call.args.len() {
            most = number::integer(&call.args[at + 1])
                .filter(|most| (1..=i64::MAX / 160).contains(most))
                .ok_or_else(|| Reply::error("ERR COUNT must be > 0"))? as u64;
            at += 2;
        } else if call.is_word(at, "justid") {
            just_id = true;
            at += 1;
        } else {
            return Err(syntax());
        }
    }
    check_group(call, key, group)?;
    let (version, now_ms) = (call.cx.version, call.cx.now_ms);
    let consumer = &call.args[3];
    let stream = call.change::<Stream>(key)?.ok_or_else(|| no_group(key, group))?;
    let claim = Claim { min_idle_ms, just_id, ..Claim::of(consumer, version, now_ms) };
    let mut claiming = Claiming { stream, group, claim: &claim, is_new: false, changes: 0 };
    let (cursor, claimed, deleted) = claiming.claim_from(start, most);
    let (is_new, changes) = (claiming.is_new, claiming.changes);
    finish(call, key, is_new, changes);
    let mut answer = vec![cursor.reply(), Reply::Array(claimed), Reply::Array(deleted)];
    answer.truncate(if version.is_before_7() { 2 } else { 3 });
    Ok(Reply::Array(answer))
}

/// How XCLAIM is to claim.
struct Claim<'a> {
    consumer: &'a Bytes,
    now_ms: u64,
    min_idle_ms: u64,
    ids: Vec<Id>,
    /// When it is to count as delivered.
    delivered_ms: u64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: Id,
    /// Entries whose payload is gone are claimed like others: before Redis 7.
    takes_gone: bool,
}

impl<'a> Claim<'a> {
    fn of(consumer: &'a Bytes, version: Version, now_ms: u64) -> Claim<'a> {
        Claim {
            consumer,
            now_ms,
            min_idle_ms: 0,
            ids: Vec::new(),
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: Id::MIN,
            takes_gone: version.is_before_7(),
        }
    }

    fn parse(call: &Call<'a>) -> Result<Claim<'a>, Reply> {
        let args = call.args;
        let mut claim = Claim::of(&args[3], call.cx.version, call.cx.now_ms);
        claim.min_idle_ms = min_idle_ms(call, "XCLAIM")?;
        claim.ids = args[5..].iter().map_while(|text| Id::strict(text, 0).ok()).collect();
        let mut delivered_ms = None;
        let mut at = 5 + claim.ids.len();
        while at < args.len() {
            let has_more = at + 1 < args.len();
            let number = |option: &str| {
                let error = || Reply::error(format!("ERR Invalid {option} option argument for XCLAIM"));
                number::integer(&args[at + 1]).ok_or_else(error)
            };
            if call.is_word(at, "force") {
                claim.force = true;
                at += 1;
                continue;
            }
            if call.is_word(at, "justid") {
                claim.just_id = true;
                at += 1;
                continue;
            }
            if has_more && call.is_word(at, "idle") {
                delivered_ms = Some((claim.now_ms as i64).wrapping_sub(number("IDLE")?));
            } else if has_more && call.is_word(at, "time") {
                delivered_ms = Some(number("TIME")?);
            } else if has_more && call.is_word(at, "retrycount") {
                claim.deliveries = u64::try_from(number("RETRYCOUNT")?).ok();
            } else if has_more && call.is_word(at, "lastid") {
                claim.last_id = Id::strict(&args[at + 1], 0)?;
            } else {
                let option = String::from_utf8_lossy(&args[at]);
                return Err(Reply::error(format!("ERR Unrecognized XCLAIM option '{option}'")));
            }
            at += 2;
        }
        // A time that cannot be is taken for now.
        let sane = delivered_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).filter(|at_ms| *at_ms <= claim.now_ms);
        claim.delivered_ms = sane.unwrap_or(claim.now_ms);
        Ok(claim)
    }

    fn is_idle_enough(&self, pending: &Pending) -> bool {
        // By the wall clock, which may have gone back.
        self.min_idle_ms == 0
            || (self.now_ms as i64).wrapping_sub(pending.delivered_ms as i64) >= self.min_idle_ms as i64
    }
}

struct Claiming<'a> {
    stream: &'a mut Stream,
    group: &'a Bytes,
    claim: &'a Claim<'a>,
    /// The consumer was created: it is only when there is something for it.
    is_new: bool,
    changes: u64,
}

impl Claiming<'_> {
    fn claim_all(&mut self) -> Vec<Reply> {
        let claim = self.claim;
        let Some(group) = self.stream.groups.get_mut(self.group) else { return Vec::new() };
        group.last_id = group.last_id.max(claim.last_id);
        claim.ids.iter().filter_map(|id| self.claim_one(*id)).collect()
    }

    /// Claims one that is to be claimed.
    fn claim_one(&mut self, id: Id) -> Option<Reply> {
        let exists = self.stream.find(id).is_some();
        let group = self.stream.groups.get_mut(self.group)?;
        if !exists && !self.claim.takes_gone {
            // Nothing is left to be claimed: then it is no longer pending either.
            self.changes += u64::from(group.settle(id));
            return None;
        }
        let deliveries = match group.pending().get(&id) {
            Some(pending) if !self.claim.is_idle_enough(pending) => return None,
            Some(pending) => pending.deliveries,
            None if self.claim.force && exists => 1,
            None => return None,
        };
        self.take(id, deliveries)
    }

    /// The next ones from an id on: where to go on, what was claimed, and what was gone.
    fn claim_from(&mut self, start: Id, most: u64) -> (Id, Vec<Reply>, Vec<Reply>) {
        let (mut claimed, mut deleted) = (Vec::new(), Vec::new());
        let (mut attempts, mut most) = (most * 10, most);
        let mut from = Some(start);
        let next = |stream: &Stream, from: Option<Id>| -> Option<(Id, bool, u64)> {
            let pending = stream.groups.get(self.group)?.pending();
            let (id, pending) = pending.range(from?..).next()?;
            Some((*id, self.claim.is_idle_enough(pending), pending.deliveries))
        };
        let cursor = loop {
            let found = next(self.stream, from);
            let Some((id, is_idle_enough, deliveries)) = found else { break Id::MIN };
            if attempts == 0 || most == 0 {
                break id;
            }
            attempts -= 1;
            from = id.next();
            if !self.claim.takes_gone && self.stream.find(id).is_none() {
                if let Some(group) = self.stream.groups.get_mut(self.group) {
                    group.settle(id);
                }
                self.changes += 1;
                deleted.push(id.reply());
                most -= 1;
            } else if is_idle_enough {
                claimed.extend(self.take(id, deliveries));
                most -= 1;
            }
        };
        (cursor, claimed, deleted)
    }

    fn take(&mut self, id: Id, deliveries: u64) -> Option<Reply> {
        let claim = self.claim;
        let group = self.stream.groups.get_mut(self.group)?;
        self.is_new |= group.meet(claim.consumer, claim.now_ms);
        let deliveries = claim.deliveries.unwrap_or(deliveries + u64::from(!claim.just_id));
        let consumer = claim.consumer.clone();
        group.give(id, Pending { consumer, delivered_ms: claim.delivered_ms, deliveries });
        self.changes += 1;
        Some(if claim.just_id { id.reply() } else { self.stream.find(id).map_or(Reply::Nil, Entry::reply) })
    }
}

fn check_group(call: &mut Call, key: &Bytes, group: &Bytes) -> Result<(), Reply> {
    let is_there = call.read::<Stream>(key)?.is_some_and(|stream| stream.groups.contains_key(group));
    if is_there { Ok(()) } else { Err(no_group(key, group)) }
}

fn min_idle_ms(call: &Call, command: &str) -> Result<u64, Reply> {
    let error = |_| Reply::error(format!("ERR Invalid min-idle-time argument for {command}"));
    Ok(call.int(4).map_err(error)?.max(0) as u64)
}

fn finish(call: &mut Call, key: &Bytes, is_new: bool, changes: u64) {
    if is_new {
        call.changed('t', "xgroup-createconsumer", key);
    }
    call.cx.dirty += changes;
}
