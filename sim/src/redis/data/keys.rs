//! Commands for keys of any type, and for all of them.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call, count, no_such_key, syntax};
use super::pattern;

pub(crate) fn del(call: &mut Call) -> Answer {
    let mut deleted = 0;
    for key in &call.args[1..] {
        if call.meet(key) && call.db.remove(key).is_some() {
            call.changed('g', "del", key);
            deleted += 1;
        }
    }
    Ok(count(deleted))
}

/// EXISTS and TOUCH: how many there are, one that is named twice counted twice.
pub(crate) fn exists(call: &mut Call) -> Answer {
    Ok(count(call.args[1..].iter().filter(|key| call.meet(key)).count()))
}

pub(crate) fn kind(call: &mut Call) -> Answer {
    Ok(Reply::status(call.entry(call.key()).map_or("none", |entry| entry.value.kind())))
}

pub(crate) fn rename(call: &mut Call) -> Answer {
    move_to(call, true)?;
    Ok(Reply::ok())
}

pub(crate) fn renamenx(call: &mut Call) -> Answer {
    Ok(Reply::Int(i64::from(move_to(call, false)?)))
}

pub(crate) fn keys(call: &mut Call) -> Answer {
    // Lapsed ones are left out, but not deleted.
    let (pattern, now_ms) = (&call.args[1], call.cx.now_ms);
    let keys = call.db.keys().filter(|key| pattern::matches(pattern, key) && call.db.has(key, now_ms));
    Ok(Reply::Array(keys.cloned().map(Reply::Bulk).collect()))
}

pub(crate) fn randomkey(call: &mut Call) -> Answer {
    // On a replica that holds nothing but lapsed keys, Redis gives up after so many and takes one of them.
    const ATTEMPTS: usize = 100;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let Some(key) = call.db.any_key(&mut call.cx.rng, false) else { return Ok(Reply::Nil) };
        if call.meet(&key) {
            return Ok(Reply::Bulk(key));
        }
        last = Some(key);
    }
    Ok(last.filter(|_| !call.cx.expire_at_all).map_or(Reply::Nil, Reply::Bulk))
}

pub(crate) fn dbsize(call: &mut Call) -> Answer {
    Ok(count(call.db.len()))
}

/// FLUSHDB; and FLUSHALL, of which this is the part for one database.
pub(crate) fn flush(call: &mut Call) -> Answer {
    if call.args.len() > 2 || (call.args.len() == 2 && !call.is_word(1, "async") && !call.is_word(1, "sync")) {
        return Err(syntax());
    }
    call.cx.dirty += call.db.len() as u64;
    call.db.flush();
    Ok(Reply::ok())
}

pub(crate) fn encoding(call: &mut Call) -> Answer {
    Ok(call.entry(&call.args[2]).map_or(Reply::Nil, |entry| Reply::bulk(entry.value.encoding())))
}

pub(crate) fn refcount(call: &mut Call) -> Answer {
    Ok(call.entry(&call.args[2]).map_or(Reply::Nil, |_| Reply::Int(1)))
}

pub(crate) fn idletime(call: &mut Call) -> Answer {
    Ok(call.entry(&call.args[2]).map_or(Reply::Nil, |_| Reply::Int(0)))
}

pub(crate) fn freq(_: &mut Call) -> Answer {
    Err(Reply::error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

fn move_to(call: &mut Call, replace: bool) -> Result<bool, Reply> {
    let (from, to): (&Bytes, &Bytes) = (&call.args[1], &call.args[2]);
    if !call.meet(from) {
        return Err(no_such_key());
    }
    if from == to {
        return Ok(false);
    }
    if call.meet(to) && !replace {
        return Ok(false);
    }
    let Some(entry) = call.db.remove(from) else { return Ok(false) };
    if call.db.put(to, entry.value, entry.lapses_ms) {
        call.event('n', "new", to);
    }
    call.event('g', "rename_from", from);
    call.changed('g', "rename_to", to);
    Ok(true)
}
