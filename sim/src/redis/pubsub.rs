//! Channels, patterns, messages, and the notifications of the keyspace.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    Redis,
    commands::Call,
    config::{KEYEVENT, KEYSPACE},
    connection::ConnId,
    data::pattern::matches,
    reply::Reply,
};

/// Who listens to what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscribers {
    channels: BTreeMap<Bytes, BTreeSet<ConnId>>,
    patterns: BTreeMap<Bytes, BTreeSet<ConnId>>,
}

impl Subscribers {
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }
}

pub(crate) fn subscribe(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    for channel in &call.args[1..] {
        redis.subscribers.channels.entry(channel.clone()).or_default().insert(call.conn);
        redis.connection(call.conn).channels.insert(channel.clone());
        redis.tell(call.conn, "subscribe", Some(channel));
    }
    None
}

pub(crate) fn psubscribe(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    for pattern in &call.args[1..] {
        redis.subscribers.patterns.entry(pattern.clone()).or_default().insert(call.conn);
        redis.connection(call.conn).patterns.insert(pattern.clone());
        redis.tell(call.conn, "psubscribe", Some(pattern));
    }
    None
}

pub(crate) fn unsubscribe(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let all = redis.connection(call.conn).channels.iter().cloned().collect();
    let channels: Vec<Bytes> = if call.args.len() > 1 { call.args[1..].to_vec() } else { all };
    for channel in &channels {
        redis.connection(call.conn).channels.remove(channel);
        leave(&mut redis.subscribers.channels, channel, call.conn);
        redis.tell(call.conn, "unsubscribe", Some(channel));
    }
    if channels.is_empty() {
        redis.tell(call.conn, "unsubscribe", None);
    }
    None
}

pub(crate) fn punsubscribe(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let all = redis.connection(call.conn).patterns.iter().cloned().collect();
    let patterns: Vec<Bytes> = if call.args.len() > 1 { call.args[1..].to_vec() } else { all };
    for pattern in &patterns {
        redis.connection(call.conn).patterns.remove(pattern);
        leave(&mut redis.subscribers.patterns, pattern, call.conn);
        redis.tell(call.conn, "punsubscribe", Some(pattern));
    }
    if patterns.is_empty() {
        redis.tell(call.conn, "punsubscribe", None);
    }
    None
}

pub(crate) fn publish(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::Int(redis.publish_message(&call.args[1], &call.args[2])))
}

pub(crate) fn channels(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let wanted = |channel: &&Bytes| call.args.get(2).is_none_or(|pattern| matches(pattern, channel));
    Some(Reply::Array(redis.subscribers.channels.keys().filter(wanted).cloned().map(Reply::Bulk).collect()))
}

pub(crate) fn numpat(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::Int(redis.subscribers.patterns.len() as i64))
}

pub(crate) fn numsub(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let count = |channel: &Bytes| redis.subscribers.channels.get(channel).map_or(0, BTreeSet::len) as i64;
    Some(Reply::Array(
        call.args[2..].iter().flat_map(|channel| [Reply::Bulk(channel.clone()), Reply::Int(count(channel))]).collect(),
    ))
}

fn leave(of: &mut BTreeMap<Bytes, BTreeSet<ConnId>>, name: &Bytes, conn: ConnId) {
    if let Some(subscribers) = of.get_mut(name) {
        subscribers.remove(&conn);
        if subscribers.is_empty() {
            of.remove(name);
        }
    }
}

impl Redis {
    /// Confirms a subscription or its end.
    fn tell(&mut self, conn: ConnId, what: &'static str, name: Option<&Bytes>) {
        let connection = self.connection(conn);
        let count = connection.channels.len() + connection.patterns.len();
        let name = name.map_or(Reply::Nil, |name| Reply::Bulk(name.clone()));
        self.answer(conn, &Reply::Push(vec![Reply::bulk(what), name, Reply::Int(count as i64)]));
    }

    pub(crate) fn unsubscribe_all(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        for channel in std::mem::take(&mut connection.channels) {
            leave(&mut self.subscribers.channels, &channel, conn);
        }
        for pattern in std::mem::take(&mut connection.patterns) {
            leave(&mut self.subscribers.patterns, &pattern, conn);
        }
    }

    /// Notifies of what has happened to keys, and remembers it for those who wait for them or watch them.
    pub(crate) fn publish_events(&mut self, db: usize) {
        if self.cx.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.cx.events);
        for event in events.drain(..) {
            if event.name == "expired" || event.name == "evicted" {
                self.history.write(self.now, self.cx.now_us, db, vec![Bytes::from_static(b"DEL"), event.key.clone()]);
            }
            if event.name == "expired" {
                self.stats.expired += 1;
            }
            self.spoil_watchers(db, &event.key);
            if self.config.notifies(event.class) && !self.subscribers.is_empty() {
                if self.config.notify & KEYSPACE != 0 {
                    let channel = [format!("__keyspace@{db}__:").as_bytes(), &event.key].concat();
                    self.publish_message(&channel.into(), &Bytes::from_static(event.name.as_bytes()));
                }
                if self.config.notify & KEYEVENT != 0 {
                    let channel = format!("__keyevent@{db}__:{}", event.name);
                    self.publish_message(&channel.into(), &event.key);
                }
            }
            if !self.waiting.is_empty() && event.wakes() {
                self.changed.push((db, event.key));
            }
        }
        self.cx.events = events; // empty again, but with its memory
    }

    /// Sends a message to everybody who listens, now or when the faults let it. Answers how many they are.
    pub(crate) fn publish_message(&mut self, channel: &Bytes, message: &Bytes) -> i64 {
        let mut pushes = Vec::new();
        for conn in self.subscribers.channels.get(channel).into_iter().flatten() {
            let push = [Reply::bulk("message"), Reply::Bulk(channel.clone()), Reply::Bulk(message.clone())];
            pushes.push((*conn, Reply::Push(push.into())));
        }
        for (pattern, conns) in &self.subscribers.patterns {
            if matches(pattern, channel) {
                let head = [Reply::bulk("pmessage"), Reply::Bulk(pattern.clone())];
                let push = [&head[..], &[Reply::Bulk(channel.clone()), Reply::Bulk(message.clone())]].concat();
                pushes.extend(conns.iter().map(|conn| (*conn, Reply::Push(push.clone()))));
            }
        }
        let count = pushes.len() as i64;
        for (conn, push) in pushes {
            self.push(conn, push);
        }
        count
    }
}
