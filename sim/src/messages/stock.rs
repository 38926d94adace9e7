//! Takes stock: everything about messages as it stands in Redis.

use std::sync::Arc;

use bytes::Bytes;

use super::{GROUP, STREAM, facts::Stock, witness::record};
use crate::redis::reply::Reply;

/// Takes stock, by asking the server.
pub(crate) fn take(why: &'static str, mut ask: impl FnMut(Vec<String>) -> Reply) -> Stock {
    let mut list = |command: &str| match ask(command.split(' ').map(str::to_owned).collect()) {
        Reply::Array(items) => items,
        Reply::Pairs(pairs) | Reply::Map(pairs) => pairs.into_iter().flat_map(|(one, other)| [one, other]).collect(),
        _ => Vec::new(),
    };
    let entries = |items: Vec<Reply>, field: &str| -> Vec<(Arc<str>, Vec<Reply>, Option<u64>)> {
        items.into_iter().filter_map(|item| entry(item, field)).collect()
    };
    let stream = entries(list(&format!("XRANGE {STREAM} - +")), "h:number");
    let dead = entries(list(&format!("XRANGE {STREAM}:{GROUP}:dead - +")), "original:h:number");
    let pending = list(&format!("XPENDING {STREAM} {GROUP} - + 1000000"));
    let due = list(&format!("ZRANGE {STREAM}:{GROUP}:delayed 0 -1 WITHSCORES"));
    let scheduled = list(&format!("ZRANGE {STREAM}:scheduled 0 -1 WITHSCORES"));
    let records = list(&format!("HGETALL {STREAM}:{GROUP}:attempts"));
    let groups = list(&format!("XINFO GROUPS {STREAM}"));
    let scores = |items: Vec<Reply>| -> Vec<(Arc<str>, u64)> {
        let pair = |pair: &[Reply]| Some((text(&pair[0])?, score(&pair[1])? as u64));
        items.chunks_exact(2).filter_map(pair).collect()
    };
    Stock {
        why,
        stream: stream.into_iter().map(|(entry, _, number)| (entry, number)).collect(),
        read: groups.iter().find_map(read_up_to),
        pending: pending.iter().filter_map(is_pending).collect(),
        dead: dead.into_iter().filter_map(|(_, fields, number)| Some((field(&fields, "id")?, number))).collect(),
        due: scores(due),
        scheduled: scores(scheduled),
        records: records
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, record(&text(&pair[1])?)?)))
            .collect(),
    }
}

/// An entry: its id, its fields, and the number in this field.
fn entry(item: Reply, number: &str) -> Option<(Arc<str>, Vec<Reply>, Option<u64>)> {
    let Reply::Array(mut parts) = item else { return None };
    let Some(Reply::Array(fields)) = parts.pop() else { return None };
    let number = field(&fields, number).and_then(|number| number.parse().ok());
    Some((text(parts.first()?)?, fields, number))
}

fn field(fields: &[Reply], name: &str) -> Option<Arc<str>> {
    let pair = fields.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name))?;
    text(&pair[1])
}

/// Of one line of XINFO GROUPS, if it is our group's.
fn read_up_to(group: &Reply) -> Option<Arc<str>> {
    let Reply::Map(pairs) = group else { return None };
    let value = |name: &str| pairs.iter().find(|(key, _)| text(key).as_deref() == Some(name)).map(|(_, value)| value);
    (text(value("name")?)?.as_ref() == GROUP).then_some(())?;
    text(value("last-delivered-id")?)
}

/// Of one line of XPENDING: which, whose, and how often delivered.
fn is_pending(line: &Reply) -> Option<(Arc<str>, Arc<str>, u64)> {
    let Reply::Array(parts) = line else { return None };
    match &parts[..] {
        [entry, owner, _, Reply::Int(count)] => Some((text(entry)?, text(owner)?, count.unsigned_abs())),
        _ => None,
    }
}

fn text(reply: &Reply) -> Option<Arc<str>> {
    let of = |bytes: &Bytes| std::str::from_utf8(bytes).ok().map(Arc::from);
    match reply {
        Reply::Bulk(bytes) | Reply::Status(bytes) => of(bytes),
        _ => None,
    }
}

fn score(reply: &Reply) -> Option<f64> {
    match reply {
        Reply::Double(score) => Some(*score),
        Reply::Int(score) => Some(*score as f64),
        other => text(other)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper::Time;

    use super::*;
    use crate::{messages::facts::Record, plan::RedisPlan, redis::Redis};

    #[test]
    fn everything_is_counted() {
        let mut redis = Redis::new(&RedisPlan::default(), 1, Time::ZERO);
        let commands = [
            "XGROUP CREATE jobs workers 0 MKSTREAM",
            "XADD jobs 1-0 h:number 7",
            "XADD jobs 2-0 h:number 8",
            "XREADGROUP GROUP workers w COUNT 1 STREAMS jobs >",
            "XADD jobs:workers:dead 9-0 id 0-5 original:h:number 6",
            "ZADD jobs:workers:delayed 5000 1-0",
            "ZADD jobs:scheduled 6000 m9",
            "HSET jobs:workers:attempts 1-0 1\u{a0}1\u{a0}0\u{a0}0\u{a0}-\u{a0}-\u{a0}5\u{a0}6\u{a0}why",
        ];
        for command in commands {
            let answer = redis.command(command.split(' ').map(|word| word.replace('\u{a0}', " ")));
            assert!(!matches!(answer, Reply::Error(_)), "{command}: {answer:?}");
        }
        let stock = take("end", |command| redis.command(command));
        let expected = Stock {
            why: "end",
            stream: vec![("1-0".into(), Some(7)), ("2-0".into(), Some(8))],
            read: Some("1-0".into()),
            pending: vec![("1-0".into(), "w".into(), 1)],
            dead: vec![("0-5".into(), Some(6))],
            due: vec![("1-0".into(), 5_000)],
            scheduled: vec![("m9".into(), 6_000)],
            records: vec![("1-0".into(), Record { failed: 1, counted: 1, ..Record::default() })],
        };
        assert_eq!(stock, expected);
    }
}
