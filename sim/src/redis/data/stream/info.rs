//! XINFO.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count, no_such_key};
use super::Stream;
use super::group::{Consumer, Group, Pending};
use super::groups::{no_such_group, subcommand_syntax};
use super::id::Id;
use super::node::Entry;

pub(crate) fn stream(call: &mut Call) -> Answer {
    let key = &call.args[2];
    let args = call.args.len();
    let stream_is_there = call.read::<Stream>(key)?.is_some();
    if !stream_is_there {
        return Err(no_such_key());
    }
    let full = match args {
        3 => None,
        4 if call.is_word(3, "full") => Some(10),
        6 if call.is_word(3, "full") && call.is_word(4, "count") => Some(call.int(5)?),
        _ => return Err(subcommand_syntax(call, "XINFO")),
    };
    let counts = !call.cx.version.is_before_7();
    let stream = call.read::<Stream>(key)?.ok_or_else(no_such_key)?;
    Ok(match full {
        None => stream.brief(counts),
        Some(0) => stream.full(usize::MAX),
        Some(most) => stream.full(usize::try_from(most).unwrap_or(10)),
    })
}

pub(crate) fn groups(call: &mut Call) -> Answer {
    let counts = !call.cx.version.is_before_7();
    let stream = call.read::<Stream>(&call.args[2])?.ok_or_else(no_such_key)?;
    let group = |(name, group): (&Bytes, &Group)| {
        let counted = [("entries-read", maybe(group.entries_read)), ("lag", maybe(stream.lag(group)))];
        let all = [
            ("name", Reply::Bulk(name.clone())),
            ("consumers", count(group.consumers.len())),
            ("pending", count(group.pending().len())),
            ("last-delivered-id", group.last_id.reply()),
        ];
        table(all.into_iter().chain(counted.into_iter().filter(|_| counts)))
    };
    Ok(Reply::Array(stream.groups.iter().map(group).collect()))
}

pub(crate) fn consumers(call: &mut Call) -> Answer {
    let (key, name) = (&call.args[2], &call.args[3]);
    let now_ms = call.cx.now_ms;
    let stream = call.read::<Stream>(key)?.ok_or_else(no_such_key)?;
    let group = stream.groups.get(name).ok_or_else(|| no_such_group(key, name))?;
    let consumer = |(name, consumer): (&Bytes, &Consumer)| {
        table([
            ("name", Reply::Bulk(name.clone())),
            ("pending", count(consumer.pending_count())),
            ("idle", Reply::Int((now_ms as i64 - consumer.seen_ms as i64).max(0))),
        ])
    };
    let consumers: Vec<Reply> = group.consumers.iter().map(consumer).collect();
    call.cx.listed += consumers.len() as u64;
    Ok(Reply::Array(consumers))
}

impl Stream {
    fn brief(&self, counts: bool) -> Reply {
        let edge = |entry: Option<&Entry>| entry.map_or(Reply::Nil, Entry::reply);
        let head = self.head().into_iter().take(if counts { 7 } else { 4 });
        table(head.chain([
            ("groups", count(self.groups.len())),
            ("first-entry", edge(self.entries().next())),
            ("last-entry", edge(self.entries().next_back())),
        ]))
    }

    fn full(&self, most: usize) -> Reply {
        let groups = self.groups.iter().map(|(name, group)| self.full_group(name, group, most)).collect();
        table(self.head().into_iter().chain([
            ("entries", Reply::Array(self.entries().take(most).map(Entry::reply).collect())),
            ("groups", Reply::Array(groups)),
        ]))
    }

    fn head(&self) -> [(&'static str, Reply); 7] {
        [
            ("length", count(self.length)),
            ("radix-tree-keys", count(self.nodes.len())),
            ("radix-tree-nodes", count(self.radix_nodes())),
            ("last-generated-id", self.last_id.reply()),
            ("max-deleted-entry-id", self.max_deleted_id.reply()),
            ("entries-added", Reply::Int(self.entries_added as i64)),
            ("recorded-first-entry-id", self.first_id.reply()),
        ]
    }

    fn full_group(&self, name: &Bytes, group: &Group, most: usize) -> Reply {
        let row = |(id, pending): (&Id, &Pending)| {
            Reply::Array(vec![
                id.reply(),
                Reply::Bulk(pending.consumer.clone()),
                Reply::Int(pending.delivered_ms as i64),
                Reply::Int(pending.deliveries as i64),
            ])
        };
        let consumer = |(name, consumer): (&Bytes, &Consumer)| {
            let row = |(id, pending): (Id, &Pending)| {
                let delivered = Reply::Int(pending.delivered_ms as i64);
                Reply::Array(vec![id.reply(), delivered, Reply::Int(pending.deliveries as i64)])
            };
            let pending = group.pending_of(name, Id::MIN..=Id::MAX).take(most);
            table([
                ("name", Reply::Bulk(name.clone())),
                ("seen-time", Reply::Int(consumer.seen_ms as i64)),
                ("pel-count", count(consumer.pending_count())),
                ("pending", Reply::Array(pending.map(row).collect())),
            ])
        };
        table([
            ("name", Reply::Bulk(name.clone())),
            ("last-delivered-id", group.last_id.reply()),
            ("entries-read", maybe(group.entries_read)),
            ("lag", maybe(self.lag(group))),
            ("pel-count", count(group.pending().len())),
            ("pending", Reply::Array(group.pending().iter().take(most).map(row).collect())),
            ("consumers", Reply::Array(group.consumers.iter().map(consumer).collect())),
        ])
    }

    /// How many entries the group has not read, if that can be told.
    fn lag(&self, group: &Group) -> Option<u64> {
        let read = match group.entries_read {
            _ if self.entries_added == 0 => return Some(0),
            Some(read) if !self.has_holes_from(group.last_id) => read,
            _ => self.entries_up_to(group.last_id)?,
        };
        // XGROUP SETID can claim that more was read than there ever was: Redis says a negative number then.
        Some(self.entries_added.wrapping_sub(read))
    }

    /// The nodes of Redis's radix tree of ids.
    fn radix_nodes(&self) -> usize {
        fn below(keys: &[[u8; 16]], depth: usize) -> usize {
            match keys {
                [] => 1,
                // What is left of the key, if anything, and the leaf.
                [_] => 1 + usize::from(depth < 16),
                [first, .., last] => {
                    let common = (depth..16).take_while(|at| first[*at] == last[*at]).count();
                    let at = depth + common;
                    let branches = keys.chunk_by(|one, other| one[at] == other[at]);
                    usize::from(common > 0) + 1 + branches.map(|keys| below(keys, at + 1)).sum::<usize>()
                }
            }
        }
        let key = |id: &Id| (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes();
        below(&self.nodes.keys().map(key).collect::<Vec<_>>(), 0)
    }
}

fn table(rows: impl IntoIterator<Item = (&'static str, Reply)>) -> Reply {
    Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

fn maybe(number: Option<u64>) -> Reply {
    number.map_or(Reply::Nil, |number| Reply::Int(number as i64))
}
