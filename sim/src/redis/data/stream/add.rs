//! XADD, XDEL, XTRIM, XLEN and XSETID: the stream without its groups.

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, no_such_key, syntax, wrong_arity};
use super::Stream;
use super::id::{Given, Id};
use super::node::Entry;
use super::trim::{self, Trim};

pub(crate) fn xadd(call: &mut Call) -> Answer {
    let options = options(call)?;
    let pairs = &call.args[options.pairs_at..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    if options.id == Some(Given::Whole(Id::MIN)) {
        return Err(Reply::error("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = call.key();
    if options.must_exist && call.read::<Stream>(key)?.is_none() {
        return Ok(Reply::Nil);
    }
    let now_ms = call.cx.now_ms;
    let stream: &mut Stream = call.create(key)?;
    if stream.last_id == Id::MAX {
        return Err(Reply::error("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = next_id(stream, options.id, now_ms).filter(|id| *id > stream.last_id).ok_or_else(|| {
        Reply::error("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    })?;
    stream.push(Entry { id, pairs: pairs.to_vec() });
    let trimmed = options.trim.map_or(0, |trim| stream.trim(trim));
    call.changed('t', "xadd", key);
    if trimmed > 0 {
        call.event('t', "xtrim", key);
    }
    Ok(id.reply())
}

pub(crate) fn xdel(call: &mut Call) -> Answer {
    let key = call.key();
    if call.read::<Stream>(key)?.is_none() {
        return Ok(Reply::Int(0));
    }
    let ids = ids(call, 2)?;
    let Some(stream) = call.change::<Stream>(key)? else { return Ok(Reply::Int(0)) };
    let mut deleted = 0;
    for id in ids {
        if stream.delete(id) {
            stream.max_deleted_id = stream.max_deleted_id.max(id);
            deleted += 1;
        }
    }
    if deleted > 0 {
        stream.note_first();
        call.event('t', "xdel", key);
        call.cx.dirty += deleted as u64;
    }
    Ok(count(deleted))
}

pub(crate) fn xtrim(call: &mut Call) -> Answer {
    let trim = trim::options(call, 2)?;
    let key = call.key();
    let gone = call.change::<Stream>(key)?.map_or(0, |stream| stream.trim(trim));
    if gone > 0 {
        call.event('t', "xtrim", key);
        call.cx.dirty += gone as u64;
    }
    Ok(count(gone))
}

pub(crate) fn xlen(call: &mut Call) -> Answer {
    Ok(count(call.read::<Stream>(call.key())?.map_or(0, |stream| stream.length)))
}

pub(crate) fn xsetid(call: &mut Call) -> Answer {
    let id = Id::strict(&call.args[2], 0)?;
    let mut entries_added = None;
    let mut max_deleted_id = None;
    let mut at = 3;
    while at < call.args.len() {
        let has_more = at + 1 < call.args.len();
        if has_more && call.is_word(at, "entriesadded") {
            let added = call.int(at + 1)?;
            entries_added = Some(u64::try_from(added).map_err(|_| Reply::error("ERR entries_added must be positive"))?);
        } else if has_more && call.is_word(at, "maxdeletedid") {
            max_deleted_id = Some(Id::strict(&call.args[at + 1], 0)?);
            if max_deleted_id > Some(id) {
                return Err(Reply::error(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(syntax());
        }
        at += 2;
    }
    let key = call.key();
    let stream = call.change::<Stream>(key)?.ok_or_else(no_such_key)?;
    if let Some(last) = stream.last_valid_id() {
        if id < last {
            return Err(Reply::error("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if entries_added.is_some_and(|added| (stream.length as u64) > added) {
            return Err(Reply::error(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    stream.last_id = id;
    stream.entries_added = entries_added.unwrap_or(stream.entries_added);
    stream.max_deleted_id = max_deleted_id.filter(|id| *id != Id::MIN).unwrap_or(stream.max_deleted_id);
    call.changed('t', "xsetid", key);
    Ok(Reply::ok())
}

/// The ids from this argument on: all of them have to be right.
pub(crate) fn ids(call: &Call, from: usize) -> Result<Vec<Id>, Reply> {
    call.args[from..].iter().map(|text| Id::strict(text, 0)).collect()
}

struct Options {
    must_exist: bool,
    trim: Option<Trim>,
    /// None: `*`.
    id: Option<Given>,
    pairs_at: usize,
}

fn options(call: &Call) -> Result<Options, Reply> {
    let mut words = trim::Words::default();
    let mut must_exist = false;
    let mut id = None;
    let mut at = 2;
    while at < call.args.len() {
        if call.args[at] == "*" {
            break;
        }
        match words.take(call, at)? {
            0 if call.is_word(at, "nomkstream") => {
                must_exist = true;
                at += 1;
            }
            0 => {
                id = Some(Id::to_add(&call.args[at])?);
                break;
            }
            taken => at += taken,
        }
    }
    Ok(Options { must_exist, trim: words.finish()?, id, pairs_at: (at + 1).min(call.args.len()) })
}

fn next_id(stream: &Stream, given: Option<Given>, now_ms: u64) -> Option<Id> {
    let last = stream.last_id;
    match given {
        Some(Given::Whole(id)) => Some(id),
        Some(Given::Time(ms)) if ms == last.ms => last.seq.checked_add(1).map(|seq| Id { ms, seq }),
        Some(Given::Time(ms)) => Some(Id { ms, seq: 0 }),
        None if now_ms > last.ms => Some(Id { ms: now_ms, seq: 0 }),
        // The clock went back, or this is the second one in a millisecond.
        None => last.next(),
    }
}
