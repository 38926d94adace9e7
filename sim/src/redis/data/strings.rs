//! Strings.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call, count, maybe, not_a_float, not_an_integer, syntax, wrong_arity};
use super::number;
use super::ttl::{self, Unit};
use super::value::Value;

pub(crate) fn get(call: &mut Call) -> Answer {
    Ok(maybe(call.read::<Bytes>(call.key())?))
}

pub(crate) fn set(call: &mut Call) -> Answer {
    let options = Options::parse(call, 3, &["nx", "xx", "get", "keepttl"])?;
    let lapses_ms = options.expiry.map(|(at, unit)| ttl::from_now(call, at, unit, "set")).transpose()?;
    let key = call.key();
    let before = if options.get { Some(maybe(call.read::<Bytes>(key)?)) } else { None };
    let exists = call.meet(key);
    if (options.nx && exists) || (options.xx && !exists) {
        return Ok(before.unwrap_or(Reply::Nil));
    }
    let kept_ms = if options.keep_ttl { call.db.entry(key).and_then(|entry| entry.lapses_ms) } else { None };
    put(call, key, call.args[2].clone(), lapses_ms.or(kept_ms));
    if lapses_ms.is_some() {
        call.event('g', "expire", key);
    }
    Ok(before.unwrap_or(Reply::ok()))
}

pub(crate) fn setnx(call: &mut Call) -> Answer {
    let key = call.key();
    if call.meet(key) {
        return Ok(Reply::Int(0));
    }
    put(call, key, call.args[2].clone(), None);
    Ok(Reply::Int(1))
}

pub(crate) fn setex(call: &mut Call) -> Answer {
    set_with_ttl(call, Unit::Seconds, "setex")
}

pub(crate) fn psetex(call: &mut Call) -> Answer {
    set_with_ttl(call, Unit::Ms, "psetex")
}

pub(crate) fn getset(call: &mut Call) -> Answer {
    let key = call.key();
    let before = maybe(call.read::<Bytes>(key)?);
    put(call, key, call.args[2].clone(), None);
    Ok(before)
}

pub(crate) fn getdel(call: &mut Call) -> Answer {
    let key = call.key();
    let before = maybe(call.read::<Bytes>(key)?);
    if call.db.remove(key).is_some() {
        call.changed('g', "del", key);
    }
    Ok(before)
}

pub(crate) fn getex(call: &mut Call) -> Answer {
    let options = Options::parse(call, 2, &["persist"])?;
    let key = call.key();
    let Some(text) = call.read::<Bytes>(key)?.cloned() else { return Ok(Reply::Nil) };
    if let Some((at, unit)) = options.expiry {
        let lapses_ms = ttl::from_now(call, at, unit, "getex")?;
        ttl::set(call, key, lapses_ms as i64);
    } else if options.persist {
        ttl::end(call, key);
    }
    Ok(Reply::Bulk(text))
}

pub(crate) fn incr(call: &mut Call) -> Answer {
    add(call, 1)
}

pub(crate) fn decr(call: &mut Call) -> Answer {
    add(call, -1)
}

pub(crate) fn incrby(call: &mut Call) -> Answer {
    add(call, call.int(2)?)
}

pub(crate) fn decrby(call: &mut Call) -> Answer {
    let by = call.int(2)?.checked_neg().ok_or_else(|| Reply::error("ERR decrement would overflow"))?;
    add(call, by)
}

pub(crate) fn incrbyfloat(call: &mut Call) -> Answer {
    let key = call.key();
    let before = call.read::<Bytes>(key)?.map_or(Some(0.0), |text| number::float(text)).ok_or_else(not_a_float)?;
    let sum = before + number::float(&call.args[2]).ok_or_else(not_a_float)?;
    if !sum.is_finite() {
        return Err(Reply::error("ERR increment would produce NaN or Infinity"));
    }
    let text = Bytes::from(number::plain(sum));
    replace(call, key, text.clone(), "incrbyfloat");
    Ok(Reply::Bulk(text))
}

pub(crate) fn append(call: &mut Call) -> Answer {
    let key = call.key();
    let before = call.read::<Bytes>(key)?.cloned().unwrap_or_default();
    let text = Bytes::from([before, call.args[2].clone()].concat());
    let length = text.len();
    replace(call, key, text, "append");
    Ok(count(length))
}

pub(crate) fn strlen(call: &mut Call) -> Answer {
    Ok(count(call.read::<Bytes>(call.key())?.map_or(0, Bytes::len)))
}

pub(crate) fn getrange(call: &mut Call) -> Answer {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let Some(text) = call.read::<Bytes>(call.key())? else { return Ok(Reply::bulk("")) };
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(""));
    }
    // Unlike that of a list, a slice of a string that ends before its beginning ends with its first byte.
    let end = if end < 0 { end.max(-(text.len() as i64)) } else { end };
    Ok(Reply::Bulk(slice(start, end, text.len()).map_or(Bytes::new(), |range| text.slice(range))))
}

pub(crate) fn setrange(call: &mut Call) -> Answer {
    let offset = usize::try_from(call.int(2)?).map_err(|_| Reply::error("ERR offset is out of range"))?;
    let (key, text) = (call.key(), &call.args[3]);
    let mut bytes = call.read::<Bytes>(key)?.map_or(Vec::new(), |text| text.to_vec());
    if text.is_empty() {
        return Ok(count(bytes.len()));
    }
    // `proto-max-bulk-len`
    const MAX_BYTES: usize = 512 << 20;
    let end = offset.saturating_add(text.len());
    if end > MAX_BYTES {
        return Err(Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    bytes.resize(bytes.len().max(end), 0);
    bytes[offset..end].copy_from_slice(text);
    let length = bytes.len();
    replace(call, key, Bytes::from(bytes), "setrange");
    Ok(count(length))
}

pub(crate) fn mget(call: &mut Call) -> Answer {
    // What is no string is missing here.
    let keys = &call.args[1..];
    Ok(Reply::Array(keys.iter().map(|key| call.read::<Bytes>(key).map_or(Reply::Nil, maybe)).collect()))
}

pub(crate) fn mset(call: &mut Call) -> Answer {
    set_all(call, "mset")?;
    Ok(Reply::ok())
}

pub(crate) fn msetnx(call: &mut Call) -> Answer {
    if call.args.len() % 2 == 1 && call.args[1..].iter().step_by(2).any(|key| call.meet(key)) {
        return Ok(Reply::Int(0));
    }
    set_all(call, "msetnx")?;
    Ok(Reply::Int(1))
}

/// Where a slice with positions counted from either end lies in something of this length; none if it is empty.
pub(crate) fn slice(start: i64, end: i64, length: usize) -> Option<std::ops::Range<usize>> {
    let length = length as i64;
    let absolute = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (start, end) = (absolute(start).max(0), absolute(end).min(length - 1));
    (start <= end).then(|| start as usize..end as usize + 1)
}

/// The options of SET and GETEX.
#[derive(Default)]
struct Options {
    nx: bool,
    xx: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// Where the time is, and what it counts.
    expiry: Option<(usize, Unit)>,
}

impl Options {
    fn parse(call: &Call, from: usize, words: &[&str]) -> Result<Options, Reply> {
        let mut options = Options::default();
        let mut at = from;
        while at < call.args.len() {
            let known = |word: &str| words.contains(&word) && call.is_word(at, word);
            let units = [("ex", Unit::Seconds), ("px", Unit::Ms), ("exat", Unit::SecondsAt), ("pxat", Unit::MsAt)];
            if known("nx") && !options.xx {
                options.nx = true;
            } else if known("xx") && !options.nx {
                options.xx = true;
            } else if known("get") {
                options.get = true;
            } else if known("keepttl") && options.expiry.is_none() {
                options.keep_ttl = true;
            } else if known("persist") && options.expiry.is_none() {
                options.persist = true;
            } else if let Some((_, unit)) = units.into_iter().find(|(word, _)| call.is_word(at, word))
                && options.expiry.is_none_or(|(_, before)| before == unit)
                && !(options.keep_ttl || options.persist)
                && at + 1 < call.args.len()
            {
                options.expiry = Some((at + 1, unit));
                at += 1;
            } else {
                return Err(syntax());
            }
            at += 1;
        }
        Ok(options)
    }
}

fn set_with_ttl(call: &mut Call, unit: Unit, name: &str) -> Answer {
    let lapses_ms = ttl::from_now(call, 2, unit, name)?;
    let key = call.key();
    call.meet(key);
    put(call, key, call.args[3].clone(), Some(lapses_ms));
    call.event('g', "expire", key);
    Ok(Reply::ok())
}

fn set_all(call: &mut Call, name: &str) -> Result<(), Reply> {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    for pair in call.args[1..].chunks_exact(2) {
        call.meet(&pair[0]);
        put(call, &pair[0], pair[1].clone(), None);
    }
    Ok(())
}

fn add(call: &mut Call, by: i64) -> Answer {
    let key = call.key();
    let before = call.read::<Bytes>(key)?.map_or(Some(0), |text| number::integer(text)).ok_or_else(not_an_integer)?;
    let sum = before.checked_add(by).ok_or_else(|| Reply::error("ERR increment or decrement would overflow"))?;
    replace(call, key, Bytes::from(sum.to_string()), "incrby");
    Ok(Reply::Int(sum))
}

fn put(call: &mut Call, key: &Bytes, text: Bytes, lapses_ms: Option<u64>) {
    call.put(key, Value::Text(text), lapses_ms);
    call.changed('$', "set", key);
}

/// Another text, with the same time to live.
fn replace(call: &mut Call, key: &Bytes, text: Bytes, event: &'static str) {
    let lapses_ms = call.db.entry(key).and_then(|entry| entry.lapses_ms);
    call.put(key, Value::Text(text), lapses_ms);
    call.changed('$', event, key);
}
