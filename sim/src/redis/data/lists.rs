//! Lists.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call, count, maybe, no_such_key, syntax, wrong_arity};
use super::strings::slice;
use super::value::List;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

pub(crate) fn lpush(call: &mut Call) -> Answer {
    push(call, End::Left)
}

pub(crate) fn rpush(call: &mut Call) -> Answer {
    push(call, End::Right)
}

pub(crate) fn lpushx(call: &mut Call) -> Answer {
    if call.read::<List>(call.key())?.is_some() { push(call, End::Left) } else { Ok(Reply::Int(0)) }
}

pub(crate) fn rpushx(call: &mut Call) -> Answer {
    if call.read::<List>(call.key())?.is_some() { push(call, End::Right) } else { Ok(Reply::Int(0)) }
}

pub(crate) fn lpop(call: &mut Call) -> Answer {
    pop(call, End::Left)
}

pub(crate) fn rpop(call: &mut Call) -> Answer {
    pop(call, End::Right)
}

pub(crate) fn llen(call: &mut Call) -> Answer {
    Ok(count(call.read::<List>(call.key())?.map_or(0, List::len)))
}

pub(crate) fn lrange(call: &mut Call) -> Answer {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let Some(list) = call.read::<List>(call.key())? else { return Ok(Reply::Array(Vec::new())) };
    let items = slice(start, end, list.len()).map(|range| list.range(range).cloned().map(Reply::Bulk).collect());
    Ok(Reply::Array(items.unwrap_or_default()))
}

pub(crate) fn lindex(call: &mut Call) -> Answer {
    let at = call.int(2);
    let Some(list) = call.read::<List>(call.key())? else { return Ok(Reply::Nil) };
    Ok(maybe(position(at?, list.len()).and_then(|at| list.get(at))))
}

pub(crate) fn lset(call: &mut Call) -> Answer {
    let (key, item, at) = (call.key(), &call.args[3], call.int(2));
    let list = call.change::<List>(key)?.ok_or_else(no_such_key)?;
    let place = position(at?, list.len()).and_then(|at| list.get_mut(at));
    *place.ok_or_else(|| Reply::error("ERR index out of range"))? = item.clone();
    call.changed('l', "lset", key);
    Ok(Reply::ok())
}

pub(crate) fn linsert(call: &mut Call) -> Answer {
    let behind = match () {
        () if call.is_word(2, "after") => 1,
        () if call.is_word(2, "before") => 0,
        () => return Err(syntax()),
    };
    let (key, pivot, item) = (call.key(), &call.args[3], &call.args[4]);
    let Some(list) = call.change::<List>(key)? else { return Ok(Reply::Int(0)) };
    let Some(at) = list.iter().position(|other| other == pivot) else { return Ok(Reply::Int(-1)) };
    list.insert(at + behind, item.clone());
    let length = list.len();
    call.changed('l', "linsert", key);
    Ok(count(length))
}

pub(crate) fn lrem(call: &mut Call) -> Answer {
    let wanted = call.int(2)?;
    let (key, item) = (call.key(), &call.args[3]);
    let Some(list) = call.change::<List>(key)? else { return Ok(Reply::Int(0)) };
    let mut left = if wanted == 0 { u64::MAX } else { wanted.unsigned_abs() };
    let before = list.len();
    if wanted < 0 {
        list.make_contiguous().reverse();
    }
    list.retain(|other| {
        let goes = left > 0 && other == item;
        left -= u64::from(goes);
        !goes
    });
    if wanted < 0 {
        list.make_contiguous().reverse();
    }
    let removed = before - list.len();
    if removed > 0 {
        call.event('l', "lrem", key);
        call.cx.dirty += removed as u64;
        call.remove_if_gone::<List>(key);
    }
    Ok(count(removed))
}

pub(crate) fn ltrim(call: &mut Call) -> Answer {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let key = call.key();
    let Some(list) = call.change::<List>(key)? else { return Ok(Reply::ok()) };
    match slice(start, end, list.len()) {
        None => list.clear(),
        Some(range) => {
            list.truncate(range.end);
            list.drain(..range.start);
        }
    }
    call.changed('l', "ltrim", key);
    call.remove_if_gone::<List>(key);
    Ok(Reply::ok())
}

pub(crate) fn rpoplpush(call: &mut Call) -> Answer {
    move_one(call, End::Right, End::Left)
}

pub(crate) fn lmove(call: &mut Call) -> Answer {
    let end = |at| match () {
        () if call.is_word(at, "left") => Ok(End::Left),
        () if call.is_word(at, "right") => Ok(End::Right),
        () => Err(syntax()),
    };
    let (from, to) = (end(3)?, end(4)?);
    move_one(call, from, to)
}

fn push(call: &mut Call, end: End) -> Answer {
    let (key, items) = (call.key(), &call.args[2..]);
    let list: &mut List = call.create(key)?;
    items.iter().for_each(|item| put(list, end, item.clone()));
    let length = list.len();
    call.event('l', if end == End::Left { "lpush" } else { "rpush" }, key);
    call.cx.dirty += items.len() as u64;
    Ok(count(length))
}

fn pop(call: &mut Call, end: End) -> Answer {
    let key = call.key();
    let most = match call.args.len() {
        2 => None,
        3 => {
            let most = usize::try_from(call.int(2).map_err(|_| out_of_range())?);
            Some(most.map_err(|_| out_of_range())?)
        }
        _ => return Err(wrong_arity(if end == End::Left { "lpop" } else { "rpop" })),
    };
    let Some(length) = call.read::<List>(key)?.map(List::len) else {
        return Ok(if most.is_some() { Reply::NilArray } else { Reply::Nil });
    };
    if most == Some(0) {
        return Ok(Reply::Array(Vec::new()));
    }
    let Some(list) = call.change::<List>(key)? else { return Ok(Reply::Nil) };
    let mut items: Vec<Reply> =
        (0..most.unwrap_or(1).min(length)).filter_map(|_| take(list, end)).map(Reply::Bulk).collect();
    call.event('l', if end == End::Left { "lpop" } else { "rpop" }, key);
    call.cx.dirty += items.len() as u64;
    call.remove_if_gone::<List>(key);
    Ok(if most.is_some() { Reply::Array(items) } else { items.pop().unwrap_or(Reply::Nil) })
}

fn move_one(call: &mut Call, from_end: End, to_end: End) -> Answer {
    let (from, to) = (call.key(), &call.args[2]);
    if call.read::<List>(from)?.is_none() {
        return Ok(Reply::Nil);
    }
    call.read::<List>(to)?;
    let Some(item) = call.change::<List>(from)?.and_then(|list| take(list, from_end)) else {
        return Ok(Reply::Nil);
    };
    put(call.create::<List>(to)?, to_end, item.clone());
    call.event('l', if to_end == End::Left { "lpush" } else { "rpush" }, to);
    call.changed('l', if from_end == End::Left { "lpop" } else { "rpop" }, from);
    call.remove_if_gone::<List>(from);
    Ok(Reply::Bulk(item))
}

fn put(list: &mut List, end: End, item: Bytes) {
    match end {
        End::Left => list.push_front(item),
        End::Right => list.push_back(item),
    }
}

fn take(list: &mut List, end: End) -> Option<Bytes> {
    match end {
        End::Left => list.pop_front(),
        End::Right => list.pop_back(),
    }
}

/// A position counted from either end.
fn position(at: i64, length: usize) -> Option<usize> {
    usize::try_from(if at < 0 { at.checked_add(length as i64)? } else { at }).ok()
}

fn out_of_range() -> Reply {
    Reply::error("ERR value is out of range, must be positive")
}
