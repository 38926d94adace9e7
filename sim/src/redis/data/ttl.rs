//! When keys lapse: EXPIRE, TTL and their like.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call};

/// What a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// From now on.
    Seconds,
    Ms,
    /// Since 1970.
    SecondsAt,
    MsAt,
}

pub(crate) fn expire(call: &mut Call) -> Answer {
    set_from(call, Unit::Seconds, "expire")
}

pub(crate) fn pexpire(call: &mut Call) -> Answer {
    set_from(call, Unit::Ms, "pexpire")
}

pub(crate) fn expireat(call: &mut Call) -> Answer {
    set_from(call, Unit::SecondsAt, "expireat")
}

pub(crate) fn pexpireat(call: &mut Call) -> Answer {
    set_from(call, Unit::MsAt, "pexpireat")
}

pub(crate) fn ttl(call: &mut Call) -> Answer {
    answer(call, |lapses_ms, now_ms| seconds(lapses_ms.saturating_sub(now_ms)))
}

pub(crate) fn pttl(call: &mut Call) -> Answer {
    answer(call, |lapses_ms, now_ms| lapses_ms.saturating_sub(now_ms))
}

pub(crate) fn expiretime(call: &mut Call) -> Answer {
    answer(call, |lapses_ms, _| seconds(lapses_ms))
}

pub(crate) fn pexpiretime(call: &mut Call) -> Answer {
    answer(call, |lapses_ms, _| lapses_ms)
}

pub(crate) fn persist(call: &mut Call) -> Answer {
    let key = call.key();
    Ok(Reply::Int(i64::from(call.meet(key) && end(call, key))))
}

/// When a key lapses whose time is this argument, which has to be above 0.
pub(crate) fn from_now(call: &Call, at: usize, unit: Unit, name: &str) -> Result<u64, Reply> {
    let given = call.int(at)?;
    let lapses_ms = if given > 0 { absolute_ms(given, unit, call.cx.now_ms) } else { None };
    lapses_ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| invalid(name))
}

/// Sets when a key that is there lapses. If that is past already, it is deleted.
pub(crate) fn set(call: &mut Call, key: &Bytes, lapses_ms: i64) {
    if lapses_ms <= call.cx.now_ms as i64 && call.cx.expire_at_all {
        call.db.remove(key);
        call.changed('g', "del", key);
    } else {
        call.db.set_lapse(key, Some(lapses_ms.max(0) as u64));
        call.changed('g', "expire", key);
    }
}

/// Lets a key stay. Whether it would have lapsed.
pub(crate) fn end(call: &mut Call, key: &Bytes) -> bool {
    let lapses = call.db.entry(key).is_some_and(|entry| entry.lapses_ms.is_some());
    if lapses {
        call.db.set_lapse(key, None);
        call.changed('g', "persist", key);
    }
    lapses
}

fn set_from(call: &mut Call, unit: Unit, name: &str) -> Answer {
    let condition = Condition::parse(call)?;
    let lapses_ms = absolute_ms(call.int(2)?, unit, call.cx.now_ms).ok_or_else(|| invalid(name))?;
    let key = call.key();
    let Some(entry) = call.entry(key) else { return Ok(Reply::Int(0)) };
    if !condition.allows(entry.lapses_ms.map(|ms| ms as i64), lapses_ms) {
        return Ok(Reply::Int(0));
    }
    set(call, key, lapses_ms);
    Ok(Reply::Int(1))
}

/// NX, XX, GT and LT.
#[derive(Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(call: &Call) -> Result<Condition, Reply> {
        let mut condition = Condition::default();
        for (at, word) in call.args.iter().enumerate().skip(3) {
            match () {
                () if call.is_word(at, "nx") => condition.nx = true,
                () if call.is_word(at, "xx") => condition.xx = true,
                () if call.is_word(at, "gt") => condition.gt = true,
                () if call.is_word(at, "lt") => condition.lt = true,
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Reply::error(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if condition.nx && (condition.xx || condition.gt || condition.lt) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Reply::error(text));
        }
        if condition.gt && condition.lt {
            return Err(Reply::error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// A key that does not lapse does so later than any.
    fn allows(&self, before_ms: Option<i64>, lapses_ms: i64) -> bool {
        !(self.nx && before_ms.is_some()
            || self.xx && before_ms.is_none()
            || self.gt && before_ms.is_none_or(|before_ms| lapses_ms <= before_ms)
            || self.lt && before_ms.is_some_and(|before_ms| lapses_ms >= before_ms))
    }
}

fn answer(call: &mut Call, of: impl Fn(u64, u64) -> u64) -> Answer {
    let now_ms = call.cx.now_ms;
    Ok(Reply::Int(match call.entry(call.key()).map(|entry| entry.lapses_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(lapses_ms)) => of(lapses_ms, now_ms) as i64,
    }))
}

fn absolute_ms(given: i64, unit: Unit, now_ms: u64) -> Option<i64> {
    let ms = if matches!(unit, Unit::Seconds | Unit::SecondsAt) { given.checked_mul(1000)? } else { given };
    if matches!(unit, Unit::Seconds | Unit::Ms) { ms.checked_add(now_ms as i64) } else { Some(ms) }
}

fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn invalid(name: &str) -> Reply {
    Reply::error(format!("ERR invalid expire time in '{name}' command"))
}
