//! Sets.

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;

use super::super::reply::Reply;
use super::call::{Answer, Call, count, maybe, syntax};
use super::value::Set;

pub(crate) fn sadd(call: &mut Call) -> Answer {
    let (key, members) = (call.key(), &call.args[2..]);
    let set: &mut Set = call.create(key)?;
    let added = members.iter().filter(|member| set.insert(Bytes::clone(member))).count();
    if added > 0 {
        call.event('s', "sadd", key);
        call.cx.dirty += added as u64;
    }
    Ok(count(added))
}

pub(crate) fn srem(call: &mut Call) -> Answer {
    let (key, members) = (call.key(), &call.args[2..]);
    let removed = call.change::<Set>(key)?.map_or(0, |set| members.iter().filter(|m| set.remove(*m)).count());
    if removed > 0 {
        call.event('s', "srem", key);
        call.cx.dirty += removed as u64;
        call.remove_if_gone::<Set>(key);
    }
    Ok(count(removed))
}

pub(crate) fn smembers(call: &mut Call) -> Answer {
    let set = call.read::<Set>(call.key())?;
    Ok(members(set.into_iter().flatten().cloned()))
}

pub(crate) fn sismember(call: &mut Call) -> Answer {
    let member = &call.args[2];
    Ok(Reply::Int(i64::from(call.read::<Set>(call.key())?.is_some_and(|set| set.contains(member)))))
}

pub(crate) fn smismember(call: &mut Call) -> Answer {
    let wanted = &call.args[2..];
    let set = call.read::<Set>(call.key())?;
    let is_in = |member| Reply::Int(i64::from(set.is_some_and(|set| set.contains(member))));
    Ok(Reply::Array(wanted.iter().map(is_in).collect()))
}

pub(crate) fn scard(call: &mut Call) -> Answer {
    Ok(count(call.read::<Set>(call.key())?.map_or(0, Set::len)))
}

pub(crate) fn smove(call: &mut Call) -> Answer {
    let (from, to, member) = (call.key(), &call.args[2], &call.args[3]);
    let Some(is_in) = call.read::<Set>(from)?.map(|set| set.contains(member)) else { return Ok(Reply::Int(0)) };
    call.read::<Set>(to)?;
    if from == to || !is_in {
        return Ok(Reply::Int(i64::from(is_in)));
    }
    if let Some(set) = call.change::<Set>(from)? {
        set.remove(member);
    }
    call.event('s', "srem", from);
    call.remove_if_gone::<Set>(from);
    call.cx.dirty += 1;
    if call.create::<Set>(to)?.insert(member.clone()) {
        call.changed('s', "sadd", to);
    }
    Ok(Reply::Int(1))
}

pub(crate) fn spop(call: &mut Call) -> Answer {
    let key = call.key();
    let out_of_range = || Reply::error("ERR value is out of range, must be positive");
    let most = match call.args.len() {
        2 => None,
        3 => Some(call.int(2).ok().filter(|most| *most >= 0).ok_or_else(out_of_range)?),
        _ => return Err(syntax()),
    };
    let mut rng = call.cx.rng.clone();
    let chosen = match (call.read::<Set>(key)?, most) {
        (Some(set), most) => choose(set, most.unwrap_or(1), &mut rng),
        (None, Some(_)) => return Ok(Reply::Set(Vec::new())),
        (None, None) => return Ok(Reply::Nil),
    };
    call.cx.rng = rng;
    if let Some(set) = call.change::<Set>(key)? {
        set.retain(|member| !chosen.contains(member));
    }
    if !chosen.is_empty() {
        call.event('s', "spop", key);
        call.cx.dirty += chosen.len() as u64;
        call.remove_if_gone::<Set>(key);
    }
    Ok(if most.is_some() { members(chosen.into_iter()) } else { maybe(chosen.first()) })
}

pub(crate) fn srandmember(call: &mut Call) -> Answer {
    let most = match call.args.len() {
        2 => None,
        3 => Some(call.int(2)?),
        _ => return Err(syntax()),
    };
    let mut rng = call.cx.rng.clone();
    let reply = match (call.read::<Set>(call.key())?, most) {
        (None, None) => Reply::Nil,
        (None, Some(_)) => Reply::Array(Vec::new()),
        (Some(set), None) => maybe(choose(set, 1, &mut rng).first()),
        (Some(set), Some(most)) => Reply::Array(choose(set, most, &mut rng).into_iter().map(Reply::Bulk).collect()),
    };
    call.cx.rng = rng;
    Ok(reply)
}

pub(crate) fn sinter(call: &mut Call) -> Answer {
    combine(call, |mut one, other| {
        one.retain(|member| other.contains(member));
        one
    })
}

pub(crate) fn sunion(call: &mut Call) -> Answer {
    combine(call, |mut one, other| {
        one.extend(other.iter().cloned());
        one
    })
}

pub(crate) fn sdiff(call: &mut Call) -> Answer {
    combine(call, |mut one, other| {
        one.retain(|member| !other.contains(member));
        one
    })
}

fn combine(call: &mut Call, with: impl Fn(Set, &Set) -> Set) -> Answer {
    let mut all = Vec::new();
    for key in &call.args[1..] {
        all.push(call.read::<Set>(key)?.cloned().unwrap_or_default());
    }
    let result = all.into_iter().reduce(|one, other| with(one, &other)).unwrap_or_default();
    Ok(members(result.into_iter()))
}

/// Different ones, at most all; or, if the number is negative, exactly so many, any of them more than once.
fn choose(set: &Set, wanted: i64, rng: &mut SmallRng) -> Vec<Bytes> {
    let count = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX);
    if wanted >= 0 {
        return set.iter().cloned().choose_multiple(rng, count.min(set.len()));
    }
    let all: Vec<&Bytes> = set.iter().collect();
    (0..count).map(|_| all[rng.random_range(0..all.len())].clone()).collect()
}

fn members(of: impl Iterator<Item = Bytes>) -> Reply {
    Reply::Set(of.map(Reply::Bulk).collect())
}
