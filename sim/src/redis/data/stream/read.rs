//! XREAD and XREADGROUP.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::Done;
use super::super::call::{Call, syntax};
use super::group::{Group, Pending};
use super::id::Id;
use super::node::Entry;
use super::{Stream, no_group};

pub(crate) fn xread(call: &mut Call) -> Result<Done, Reply> {
    let mut reading = Reading::parse(call, false)?;
    let mut after = Vec::with_capacity(reading.keys.len());
    for (key, id) in reading.keys.iter().zip(reading.ids) {
        let last_id = call.read::<Stream>(key)?.map_or(Id::MIN, |stream| stream.last_id);
        after.push(match &id[..] {
            b"$" => last_id,
            b">" => return Err(Reply::error(NEW_WITHOUT_GROUP)),
            id => Id::strict(id, 0)?,
        });
    }
    let mut found = Vec::new();
    for (key, after) in reading.keys.iter().zip(&after) {
        let Some(stream) = call.read::<Stream>(key)? else { continue };
        if stream.last_valid_id().is_some_and(|last| last > *after) {
            found.push((Reply::Bulk(key.clone()), stream.entries_after(*after, reading.most)));
        }
    }
    reading.ids_for_later = after.into_iter().map(Id::text).collect();
    Ok(reading.finish(call, found))
}

pub(crate) fn xreadgroup(call: &mut Call) -> Result<Done, Reply> {
    let reading = Reading::parse(call, true)?;
    let mut wanted = Vec::with_capacity(reading.keys.len());
    for (key, id) in reading.keys.iter().zip(reading.ids) {
        let is_there = call.read::<Stream>(key)?.is_some_and(|stream| stream.groups.contains_key(&reading.group));
        if !is_there {
            let Reply::Error(text) = no_group(key, &reading.group) else { return Err(syntax()) };
            return Err(Reply::error(format!("{text} in XREADGROUP with GROUP option")));
        }
        wanted.push(match &id[..] {
            b"$" => return Err(Reply::error(LAST_WITH_GROUP)),
            b">" => Wanted::New,
            id => match Id::strict(id, 0)?.next() {
                Some(from) => Wanted::History { from },
                None => Wanted::New,
            },
        });
    }
    let mut found = Vec::new();
    for (key, wanted) in reading.keys.iter().zip(wanted) {
        // Read before it is changed: polling in vain copies nothing that a snapshot shares.
        let has_any = call.read::<Stream>(key)?.is_some_and(|stream| match wanted {
            Wanted::History { .. } => true,
            Wanted::New => stream.last_valid_id() > stream.groups.get(&reading.group).map(|group| group.last_id),
        });
        if has_any && let Some(entries) = reading.deliver(call, key, wanted)? {
            found.push((Reply::Bulk(key.clone()), entries));
        }
    }
    Ok(reading.finish(call, found))
}

/// A blocked one again, because of one of its keys, from which alone it is answered.
pub(crate) fn wake(call: &mut Call, key: &Bytes) -> Result<Done, Reply> {
    let reading = Reading::parse(call, call.is_word(0, "xreadgroup"))?;
    let at = reading.keys.iter().position(|other| other == key);
    let Some(id) = at.map(|at| &reading.ids[at]) else { return Ok(reading.finish(call, Vec::new())) };
    // By the last id of the stream: even if that entry was deleted at once, and nothing is left to answer.
    let entries = if reading.is_group {
        let Ok(Some(stream)) = call.read::<Stream>(key) else {
            return Err(Reply::error("UNBLOCKED the stream key no longer exists"));
        };
        let Some(group) = stream.groups.get(&reading.group) else {
            return Err(Reply::error("NOGROUP the consumer group this client was blocked on no longer exists"));
        };
        if stream.last_id > group.last_id { reading.deliver(call, key, Wanted::New)? } else { None }
    } else {
        let after = Id::strict(id, 0)?;
        match call.read::<Stream>(key) {
            Ok(Some(stream)) if stream.last_id > after => Some(stream.entries_after(after, reading.most)),
            _ => None,
        }
    };
    let found = entries.map(|entries| (Reply::Bulk(key.clone()), entries));
    Ok(reading.finish(call, found.into_iter().collect()))
}

#[derive(Clone, Copy)]
enum Wanted {
    /// `>`
    New,
    /// What is pending for the consumer.
    History { from: Id },
}

struct Reading<'a> {
    is_group: bool,
    group: Bytes,
    consumer: Bytes,
    no_ack: bool,
    block_ms: Option<u64>,
    /// COUNT
    most: usize,
    keys: &'a [Bytes],
    ids: &'a [Bytes],
    /// To be read after, when the command is executed again.
    ids_for_later: Vec<Bytes>,
}

impl<'a> Reading<'a> {
    fn parse(call: &Call<'a>, is_group: bool) -> Result<Reading<'a>, Reply> {
        let args = call.args;
        let mut reading = Reading {
            is_group,
            group: Bytes::new(),
            consumer: Bytes::new(),
            no_ack: false,
            block_ms: None,
            most: usize::MAX,
            keys: &[],
            ids: &[],
            ids_for_later: Vec::new(),
        };
        let mut has_group = false;
        let mut at = 1;
        loop {
            let more = args.len().saturating_sub(at + 1);
            if more >= 1 && call.is_word(at, "block") {
                reading.block_ms = Some(block_ms(call, at + 1)?);
                at += 2;
            } else if more >= 1 && call.is_word(at, "count") {
                reading.most = usize::try_from(call.int(at + 1)?).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
                at += 2;
            } else if more >= 1 && call.is_word(at, "streams") {
                if more % 2 == 1 {
                    return Err(Reply::error(UNBALANCED));
                }
                (reading.keys, reading.ids) = args[at + 1..].split_at(more / 2);
                reading.ids_for_later = reading.ids.to_vec();
                break;
            } else if more >= 2 && call.is_word(at, "group") {
                if !is_group {
                    return Err(only_with_group("GROUP"));
                }
                (reading.group, reading.consumer) = (args[at + 1].clone(), args[at + 2].clone());
                has_group = true;
                at += 3;
            } else if call.is_word(at, "noack") {
                if !is_group {
                    return Err(only_with_group("NOACK"));
                }
                reading.no_ack = true;
                at += 1;
            } else {
                return Err(syntax());
            }
        }
        if is_group && !has_group {
            return Err(Reply::error("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(reading)
    }

    /// Delivers to the consumer: it is created only when there is something for it.
    fn deliver(&self, call: &mut Call, key: &Bytes, wanted: Wanted) -> Result<Option<Reply>, Reply> {
        let (now_ms, replays) = (call.cx.now_ms, call.cx.replays);
        let Some(stream) = call.change::<Stream>(key)? else { return Ok(None) };
        let Some(group) = stream.groups.get_mut(&self.group) else { return Ok(None) };
        if replays && matches!(wanted, Wanted::History { .. }) {
            return Ok(None);
        }
        let is_new = group.meet(&self.consumer, now_ms);
        let counted = group.entries_read;
        let entries = match wanted {
            Wanted::New => stream.deliver_new(self, now_ms),
            Wanted::History { from } => stream.deliver_again(self, from, now_ms),
        };
        if replays && let Some(group) = stream.groups.get_mut(&self.group) {
            group.entries_read = counted;
        }
        if is_new {
            call.changed('t', "xgroup-createconsumer", key);
        }
        call.cx.dirty += 1;
        Ok(Some(Reply::Array(entries)))
    }

    fn finish(self, call: &Call, found: Vec<(Reply, Reply)>) -> Done {
        match self.block_ms {
            _ if !found.is_empty() => Done::Reply(Reply::MapOfPairs(found)),
            None => Done::Reply(Reply::NilArray),
            Some(ms) => {
                let before_ids = call.args.len() - self.ids.len();
                let again = call.args[..before_ids].iter().cloned().chain(self.ids_for_later).collect();
                Done::Block { keys: self.keys.to_vec(), ms, again }
            }
        }
    }
}

impl Stream {
    fn entries_after(&self, after: Id, most: usize) -> Reply {
        let entries = after.next().into_iter().flat_map(|start| self.range(start, Id::MAX));
        Reply::Array(entries.take(most).map(Entry::reply).collect())
    }

    fn deliver_new(&mut self, reading: &Reading, now_ms: u64) -> Vec<Reply> {
        let Some(start) = self.groups.get(&reading.group).and_then(|group| group.last_id.next()) else {
            return Vec::new();
        };
        let entries = self.range(start, Id::MAX).take(reading.most);
        let found: Vec<Found> = entries
            .map(|entry| Found {
                id: entry.id,
                has_holes: self.has_holes_from(entry.id),
                number: self.entries_up_to(entry.id),
                reply: entry.reply(),
            })
            .collect();
        let Some(group) = self.groups.get_mut(&reading.group) else { return Vec::new() };
        found
            .into_iter()
            .map(|found| {
                group.note_read(&found);
                if !reading.no_ack {
                    let consumer = reading.consumer.clone();
                    group.give(found.id, Pending { consumer, delivered_ms: now_ms, deliveries: 1 });
                }
                found.reply
            })
            .collect()
    }

    /// What is pending for the consumer: it counts as delivered once more, unless the entry is gone.
    fn deliver_again(&mut self, reading: &Reading, from: Id, now_ms: u64) -> Vec<Reply> {
        let Some(group) = self.groups.get(&reading.group) else { return Vec::new() };
        let pending = group.pending_of(&reading.consumer, from..=Id::MAX).take(reading.most);
        let ids: Vec<Id> = pending.map(|(id, _)| id).collect();
        ids.into_iter()
            .map(|id| {
                let Some(reply) = self.find(id).map(Entry::reply) else {
                    return Reply::Array(vec![id.reply(), Reply::NilArray]);
                };
                if let Some(pending) = self.groups.get_mut(&reading.group).and_then(|group| group.pending_mut(id)) {
                    pending.delivered_ms = now_ms;
                    pending.deliveries += 1;
                }
                reply
            })
            .collect()
    }
}

/// An entry that is delivered for the first time.
struct Found {
    id: Id,
    has_holes: bool,
    number: Option<u64>,
    reply: Reply,
}

impl Group {
    fn note_read(&mut self, found: &Found) {
        self.entries_read = match self.entries_read {
            Some(read) if !found.has_holes => Some(read + 1),
            _ => found.number,
        };
        self.last_id = found.id;
    }
}

fn block_ms(call: &Call, at: usize) -> Result<u64, Reply> {
    if call.cx.in_script {
        let name = String::from_utf8_lossy(&call.args[0]);
        return Err(Reply::error(format!("ERR {name} command is not allowed with BLOCK option from scripts")));
    }
    let ms = call.int(at).map_err(|_| Reply::error("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| Reply::error("ERR timeout is negative"))
}

fn only_with_group(option: &str) -> Reply {
    Reply::error(format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."))
}

const UNBALANCED: &str = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";

const NEW_WITHOUT_GROUP: &str = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                                 <consumer> option.";

const LAST_WITH_GROUP: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history \
                               of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ \
                               ID would just return an empty result set.";
