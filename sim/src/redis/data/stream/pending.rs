//! XPENDING.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, syntax};
use super::group::{Group, Pending};
use super::id::Id;
use super::{Stream, no_group};

pub(crate) fn xpending(call: &mut Call) -> Answer {
    let wanted = Wanted::parse(call)?;
    let (key, name) = (call.key(), &call.args[2]);
    let now_ms = call.cx.now_ms;
    let stream = call.read::<Stream>(key)?;
    let group = stream.and_then(|stream| stream.groups.get(name)).ok_or_else(|| no_group(key, name))?;
    Ok(match wanted {
        None => summary(group),
        Some(wanted) => wanted.list(group, now_ms),
    })
}

fn summary(group: &Group) -> Reply {
    let pending = group.pending();
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value()) else {
        return Reply::Array(vec![Reply::Int(0), Reply::Nil, Reply::Nil, Reply::NilArray]);
    };
    let consumers = group
        .consumers
        .iter()
        .filter(|(_, consumer)| consumer.pending_count() > 0)
        .map(|(name, consumer)| {
            Reply::Array(vec![Reply::Bulk(name.clone()), Reply::bulk(consumer.pending_count().to_string())])
        })
        .collect();
    Reply::Array(vec![count(pending.len()), first.reply(), last.reply(), Reply::Array(consumers)])
}

/// Which ones are to be listed.
struct Wanted<'a> {
    min_idle_ms: i64,
    start: Id,
    end: Id,
    most: usize,
    consumer: Option<&'a Bytes>,
}

impl<'a> Wanted<'a> {
    fn parse(call: &Call<'a>) -> Result<Option<Wanted<'a>>, Reply> {
        let args = call.args;
        match args.len() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(syntax()),
        }
        let mut at = 3;
        let mut min_idle_ms = 0;
        if call.is_word(3, "idle") {
            min_idle_ms = call.int(4)?;
            if args.len() < 8 {
                return Err(syntax());
            }
            at = 5;
        }
        let most = usize::try_from(call.int(at + 2)?).unwrap_or(0);
        let (start, end) = (Id::start(&args[at])?, Id::end(&args[at + 1])?);
        Ok(Some(Wanted { min_idle_ms, start, end, most, consumer: args.get(at + 3) }))
    }

    fn list(&self, group: &Group, now_ms: u64) -> Reply {
        let interval = self.start..=self.end;
        if interval.is_empty() {
            return Reply::Array(Vec::new());
        }
        Reply::Array(match self.consumer {
            Some(name) => self.rows(group.pending_of(name, interval), now_ms),
            None => self.rows(group.pending().range(interval).map(|(id, pending)| (*id, pending)), now_ms),
        })
    }

    fn rows<'p>(&self, pending: impl Iterator<Item = (Id, &'p Pending)>, now_ms: u64) -> Vec<Reply> {
        pending
            // By the wall clock, which may have gone back.
            .map(|(id, pending)| (id, pending, now_ms as i64 - pending.delivered_ms as i64))
            .filter(|(_, _, idle_ms)| self.min_idle_ms == 0 || *idle_ms >= self.min_idle_ms)
            .take(self.most)
            .map(|(id, pending, idle_ms)| {
                let deliveries = Reply::Int(pending.deliveries as i64);
                let consumer = Reply::Bulk(pending.consumer.clone());
                Reply::Array(vec![id.reply(), consumer, Reply::Int(idle_ms.max(0)), deliveries])
            })
            .collect()
    }
}
