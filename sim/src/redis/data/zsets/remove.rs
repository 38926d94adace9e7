//! What takes members out of a sorted set.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, wrong_arity};
use super::super::strings::slice;
use super::range::Bounds;
use super::{Zset, listed};

pub(crate) fn zrem(call: &mut Call) -> Answer {
    call.read::<Zset>(call.key())?;
    remove(call, call.args[2..].to_vec(), "zrem")
}

pub(crate) fn zremrangebyrank(call: &mut Call) -> Answer {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let zset = call.read::<Zset>(call.key())?;
    let members = zset.and_then(|zset| {
        let range = slice(start, end, zset.len())?;
        Some(zset.ordered().skip(range.start).take(range.len()).map(|(member, _)| member.clone()).collect())
    });
    remove(call, members.unwrap_or_default(), "zremrangebyrank")
}

pub(crate) fn zremrangebyscore(call: &mut Call) -> Answer {
    let bounds = Bounds::parse(call, 2, 3)?;
    let zset = call.read::<Zset>(call.key())?;
    let rows = zset.into_iter().flat_map(Zset::ordered).filter(|(_, score)| bounds.contain(*score));
    let members = rows.map(|(member, _)| member.clone()).collect();
    remove(call, members, "zremrangebyscore")
}

pub(crate) fn zpopmin(call: &mut Call) -> Answer {
    pop(call, "zpopmin", |zset, most| zset.ordered().take(most).map(owned).collect())
}

pub(crate) fn zpopmax(call: &mut Call) -> Answer {
    pop(call, "zpopmax", |zset, most| zset.ordered().rev().take(most).map(owned).collect())
}

fn pop(call: &mut Call, event: &'static str, choose: impl Fn(&Zset, usize) -> Vec<(Bytes, f64)>) -> Answer {
    let most = match call.args.len() {
        2 => None,
        3 => {
            let out_of_range = || Reply::error("ERR value is out of range, must be positive");
            let most = call.int(2).map_err(|_| out_of_range())?;
            Some(usize::try_from(most).map_err(|_| out_of_range())?)
        }
        _ => return Err(wrong_arity(event)),
    };
    let chosen = call.read::<Zset>(call.key())?.map_or(Vec::new(), |zset| choose(zset, most.unwrap_or(1)));
    let members = chosen.iter().map(|(member, _)| member.clone()).collect();
    remove(call, members, event)?;
    Ok(match chosen.first() {
        _ if most.is_some() => listed(chosen.iter().map(|(member, score)| (member, *score)), true),
        // Without a number, the member and its score are not nested.
        Some((member, score)) => Reply::Array(vec![Reply::Bulk(member.clone()), Reply::Double(*score)]),
        None => Reply::Array(Vec::new()),
    })
}

fn remove(call: &mut Call, members: Vec<Bytes>, event: &'static str) -> Answer {
    let key = call.key();
    if members.is_empty() {
        return Ok(Reply::Int(0));
    }
    let removed = call.change::<Zset>(key)?.map_or(0, |zset| members.iter().filter(|one| zset.remove(one)).count());
    if removed > 0 {
        call.event('z', event, key);
        call.cx.dirty += removed as u64;
        call.remove_if_gone::<Zset>(key);
    }
    Ok(count(removed))
}

fn owned((member, score): (&Bytes, f64)) -> (Bytes, f64) {
    (member.clone(), score)
}
