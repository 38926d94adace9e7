//! Channels, patterns, messages, and the notifications of the keyspace.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    Redis,
    commands::Call,
    config::{KEYEVENT, KEYSPACE},
    connection::ConnId,
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
                self.history
                    .write(self.now, self.cx.now_us, db, || vec![Bytes::from_static(b"DEL"), event.key.clone()]);
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
            if !self.waiting.is_empty() {
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

/// Whether a text matches a pattern with `*`, `?`, `[a-z]`, `[^a]` and `\`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the latest star, and the place in the text from which it is tried next: no other star need be tried again.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let used = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            Some(_) if t < text.len() => one(&pattern[p..], text[t]),
            None if t == text.len() => return true,
            _ => None,
        };
        match (used, &mut star) {
            (Some(used), _) => (p, t) = (p + used, t + 1),
            (None, Some((behind, from))) if *from < text.len() => {
                *from += 1;
                (p, t) = (*behind, *from);
            }
            (None, _) => return false,
        }
    }
}

/// Whether a byte matches what the pattern begins with; how long that is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (hit, used) = in_class(class, byte);
            hit.then_some(1 + used)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
        [] => None,
    }
}

/// Whether a byte is in the class that begins here, and how long the class is.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let not = class.first() == Some(&b'^');
    let (mut at, mut hit) = (usize::from(not), false);
    while at < class.len() && class[at] != b']' {
        match &class[at..] {
            [b'\\', escaped, ..] => {
                hit |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                hit |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                hit |= *plain == byte;
                at += 1;
            }
            [] => break,
        }
    }
    (hit != not, (at + 1).min(class.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("__keyspace@0__:*<SEP>*", "__keyspace@0__:a<SEP>1-1", true),
            ("*<SEP>*", "a<SE>1-1", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("", "", true),
            ("*", "", true),
            ("a[", "ab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
