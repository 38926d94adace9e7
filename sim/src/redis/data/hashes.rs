//! Hashes.

use bytes::Bytes;
use rand::Rng;
use rand::seq::IteratorRandom;

use super::super::reply::Reply;
use super::call::{Answer, Call, count, maybe, not_a_float, syntax, wrong_arity};
use super::number;
use super::value::Hash;

pub(crate) fn hset(call: &mut Call) -> Answer {
    Ok(count(set_all(call, "hset")?))
}

pub(crate) fn hmset(call: &mut Call) -> Answer {
    set_all(call, "hmset")?;
    Ok(Reply::ok())
}

pub(crate) fn hsetnx(call: &mut Call) -> Answer {
    let (key, field) = (call.key(), &call.args[2]);
    if call.read::<Hash>(key)?.is_some_and(|hash| hash.contains_key(field)) {
        return Ok(Reply::Int(0));
    }
    hset(call)
}

pub(crate) fn hget(call: &mut Call) -> Answer {
    let field = &call.args[2];
    let hash = call.read::<Hash>(call.key())?;
    Ok(maybe(hash.and_then(|hash| hash.get(field))))
}

pub(crate) fn hmget(call: &mut Call) -> Answer {
    let fields = &call.args[2..];
    let hash = call.read::<Hash>(call.key())?;
    Ok(Reply::Array(fields.iter().map(|field| maybe(hash.and_then(|hash| hash.get(field)))).collect()))
}

pub(crate) fn hgetall(call: &mut Call) -> Answer {
    let hash = call.read::<Hash>(call.key())?;
    Ok(Reply::Map(hash.into_iter().flatten().map(pair).collect()))
}

pub(crate) fn hkeys(call: &mut Call) -> Answer {
    let hash = call.read::<Hash>(call.key())?;
    Ok(Reply::Array(hash.into_iter().flatten().map(|(field, _)| Reply::Bulk(field.clone())).collect()))
}

pub(crate) fn hvals(call: &mut Call) -> Answer {
    let hash = call.read::<Hash>(call.key())?;
    Ok(Reply::Array(hash.into_iter().flatten().map(|(_, value)| Reply::Bulk(value.clone())).collect()))
}

pub(crate) fn hdel(call: &mut Call) -> Answer {
    let key = call.key();
    if call.read::<Hash>(key)?.is_none() {
        return Ok(Reply::Int(0));
    }
    let fields = &call.args[2..];
    let deleted = call.change::<Hash>(key)?.map_or(0, |hash| fields.iter().filter_map(|f| hash.remove(f)).count());
    if deleted > 0 {
        call.event('h', "hdel", key);
        call.cx.dirty += deleted as u64;
        call.remove_if_gone::<Hash>(key);
    }
    Ok(count(deleted))
}

pub(crate) fn hexists(call: &mut Call) -> Answer {
    let field = &call.args[2];
    let hash = call.read::<Hash>(call.key())?;
    Ok(Reply::Int(i64::from(hash.is_some_and(|hash| hash.contains_key(field)))))
}

pub(crate) fn hlen(call: &mut Call) -> Answer {
    Ok(count(call.read::<Hash>(call.key())?.map_or(0, Hash::len)))
}

pub(crate) fn hstrlen(call: &mut Call) -> Answer {
    let field = &call.args[2];
    let hash = call.read::<Hash>(call.key())?;
    Ok(count(hash.and_then(|hash| hash.get(field)).map_or(0, Bytes::len)))
}

pub(crate) fn hincrby(call: &mut Call) -> Answer {
    let by = call.int(3)?;
    let before = field(call)?.map_or(Some(0), |text| number::integer(&text));
    let before = before.ok_or_else(|| Reply::error("ERR hash value is not an integer"))?;
    let sum = before.checked_add(by).ok_or_else(|| Reply::error("ERR increment or decrement would overflow"))?;
    set_field(call, Bytes::from(sum.to_string()), "hincrby")?;
    Ok(Reply::Int(sum))
}

pub(crate) fn hincrbyfloat(call: &mut Call) -> Answer {
    let by = number::float(&call.args[3]).ok_or_else(not_a_float)?;
    let before = field(call)?.map_or(Some(0.0), |text| number::float(&text));
    let sum = before.ok_or_else(|| Reply::error("ERR hash value is not a float"))? + by;
    if !sum.is_finite() {
        return Err(Reply::error("ERR increment would produce NaN or Infinity"));
    }
    let text = Bytes::from(number::plain(sum));
    set_field(call, text.clone(), "hincrbyfloat")?;
    Ok(Reply::Bulk(text))
}

pub(crate) fn hrandfield(call: &mut Call) -> Answer {
    let wanted = if call.args.len() > 2 { Some(call.int(2)?) } else { None };
    let with_values = match call.args.len() {
        ..=3 => false,
        4 if call.is_word(3, "withvalues") => true,
        _ => return Err(syntax()),
    };
    let mut rng = call.cx.rng.clone();
    let hash = call.read::<Hash>(call.key())?;
    let reply = match (hash, wanted) {
        (None, None) => Reply::Nil,
        (None, Some(_)) => Reply::Array(Vec::new()),
        (Some(hash), None) => maybe(hash.keys().choose(&mut rng)),
        (Some(hash), Some(wanted)) => {
            let chosen = choose(hash, wanted, &mut rng);
            if with_values {
                Reply::Pairs(chosen.into_iter().map(pair).collect())
            } else {
                Reply::Array(chosen.into_iter().map(|(field, _)| Reply::Bulk(field.clone())).collect())
            }
        }
    };
    call.cx.rng = rng;
    Ok(reply)
}

/// Different ones, at most all; or, if the number is negative, exactly so many, any of them more than once.
fn choose<'a>(hash: &'a Hash, wanted: i64, rng: &mut impl Rng) -> Vec<(&'a Bytes, &'a Bytes)> {
    let count = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX);
    if wanted >= 0 {
        return hash.iter().choose_multiple(rng, count.min(hash.len()));
    }
    let all: Vec<_> = hash.iter().collect();
    (0..count).map(|_| all[rng.random_range(0..all.len())]).collect()
}

fn set_all(call: &mut Call, name: &str) -> Result<usize, Reply> {
    if call.args.len() % 2 == 1 {
        return Err(wrong_arity(name));
    }
    let (key, pairs) = (call.key(), &call.args[2..]);
    let hash: &mut Hash = call.create(key)?;
    let is_new = |pair: &&[Bytes]| hash.insert(pair[0].clone(), pair[1].clone()).is_none();
    let created = pairs.chunks_exact(2).filter(is_new).count();
    call.event('h', "hset", key);
    call.cx.dirty += pairs.len() as u64 / 2;
    Ok(created)
}

fn field(call: &mut Call) -> Result<Option<Bytes>, Reply> {
    let field = &call.args[2];
    let hash = call.read::<Hash>(call.key())?;
    Ok(hash.and_then(|hash| hash.get(field)).cloned())
}

fn set_field(call: &mut Call, value: Bytes, event: &'static str) -> Result<(), Reply> {
    let (key, field) = (call.key(), &call.args[2]);
    let hash: &mut Hash = call.create(key)?;
    hash.insert(field.clone(), value);
    call.changed('h', event, key);
    Ok(())
}

fn pair((field, value): (&Bytes, &Bytes)) -> (Reply, Reply) {
    (Reply::Bulk(field.clone()), Reply::Bulk(value.clone()))
}
