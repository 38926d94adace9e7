//! Every name that the second half uses in Redis, made in one place.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::keys::hash_tag;

/// The keys of one stream of messages and one group on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keys {
    stream: Box<str>,
    group: Box<str>,
    /// What every other key begins with: the stream's name, in braces where a hash tag is wanted and it has none.
    base: Box<str>,
}

impl Keys {
    /// The plain layout: every other key begins with the stream's name and a colon.
    ///
    /// # Errors
    /// An empty name.
    pub fn plain(stream: &str, group: &str) -> Result<Keys, NameError> {
        Keys::new(stream, group, stream)
    }

    /// The layout for Redis Cluster: every other key begins with the stream's name in braces, unless it has a hash tag
    /// itself, so that all share the stream's slot.
    ///
    /// # Errors
    /// An empty name; a stream's name with a brace that makes no tag.
    pub fn hash_tagged(stream: &str, group: &str) -> Result<Keys, NameError> {
        if hash_tag(stream).is_some() {
            return Keys::new(stream, group, stream);
        }
        if stream.contains(['{', '}']) {
            return Err(NameError::Tag(stream.into()));
        }
        let base = format!("{{{stream}}}");
        assert!(stream.is_empty() || hash_tag(&base) == Some(&*base), "all keys share the slot of {stream}");
        Keys::new(stream, group, &base)
    }

    fn new(stream: &str, group: &str, base: &str) -> Result<Keys, NameError> {
        if stream.is_empty() {
            return Err(NameError::EmptyStream);
        }
        if group.is_empty() {
            return Err(NameError::EmptyGroup(stream.into()));
        }
        assert!(base.contains(stream), "the keys of `{base}` are not those of `{stream}`");
        Ok(Keys { stream: stream.into(), group: group.into(), base: base.into() })
    }

    /// The stream of messages.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Hash: message → what went wrong with it. Written only when something did.
    pub fn attempts(&self) -> String {
        self.of_group("attempts")
    }

    /// Sorted set: message → when it is due, in Redis's milliseconds.
    pub fn delayed(&self) -> String {
        self.of_group("delayed")
    }

    /// Stream: dead letters.
    pub fn dead(&self) -> String {
        self.of_group("dead")
    }

    /// String with a ttl: who looks for what is idle.
    pub fn reclaimer(&self) -> String {
        self.of_group("reclaimer")
    }

    /// String with a ttl: how much of the group's rate limit is used.
    pub fn rate(&self) -> String {
        self.of_group("rate")
    }

    /// String with a ttl: this message was processed.
    pub fn done(&self, key: &[u8]) -> Vec<u8> {
        [self.of_group("done:").as_bytes(), key].concat()
    }

    /// Sorted set: the caller's id of a message that was sent with a delay → when it is due, in Redis's milliseconds.
    pub fn scheduled(&self) -> String {
        format!("{}:scheduled", self.base)
    }

    /// Hash: the same ids → the messages.
    pub fn scheduled_body(&self) -> String {
        format!("{}:scheduled:body", self.base)
    }

    /// String with a ttl: the entry that the message with this idempotency key became.
    pub fn once(&self, key: &str) -> String {
        format!("{}:once:{key}", self.base)
    }

    /// A colon of the group's name is written in another way: group `eu:billing` of stream `orders` is not group `billing`
    /// of stream `orders:eu`.
    fn of_group(&self, what: &str) -> String {
        let group = self.group.replace('%', "%25").replace(':', "%3A");
        assert!(!group.contains(':'), "the group's name {group} ends where the next part begins");
        assert!(group.len() >= self.group.len(), "nothing of the group's name is lost in {group}");
        format!("{}:{group}:{what}", self.base)
    }
}

/// The name under which parked messages are pending.
pub const DELAYED: &str = "~delayed";

/// The name of a consumer in the group: the one that was given, and the process's own random number, so that a
/// namesake's messages are not taken for one's own. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Consumer(Arc<str>);

impl Consumer {
    /// The name of one process.
    ///
    /// # Errors
    /// An empty name, one that begins with `~`, as ours for parked messages does, or one with a control character.
    pub fn new(name: &str, incarnation: u64) -> Result<Consumer, NameError> {
        if name.is_empty() {
            return Err(NameError::EmptyConsumer);
        }
        if name.starts_with('~') {
            return Err(NameError::Tilde(name.into()));
        }
        if name.contains(char::is_control) {
            return Err(NameError::ControlInConsumer(name.into()));
        }
        let full = format!("{name}-{incarnation:016x}");
        assert!(full != DELAYED, "parked messages are nobody's of the name {name}");
        assert!(full.len() == name.len() + 17, "namesakes differ in the last sixteen digits: {full}");
        Ok(Consumer(full.into()))
    }

    /// The name as it stands in Redis.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum NameError {
    /// A stream without a name.
    #[error("the stream's name is empty: name the stream that holds the messages")]
    EmptyStream,
    /// A group without a name.
    #[error("the group's name on the stream `{0}` is empty: name the group whose members share the messages")]
    EmptyGroup(String),
    /// A consumer without a name.
    #[error("the consumer's name is empty: give one, or set POD_NAME or POD_IP")]
    EmptyConsumer,
    /// A consumer with a name of ours.
    #[error("the consumer's name `{0}` begins with `~`, which marks names of Streamkeeper's own: choose another one")]
    Tilde(String),
    /// A consumer whose name would break the lines of logs.
    #[error("the consumer's name {0:?} contains a control character, such as a line break: remove it")]
    ControlInConsumer(String),
    /// A stream that cannot be given a hash tag.
    #[error(
        "the stream's name `{0}` contains a brace and is no hash tag: name it without braces, or put one tag in them"
    )]
    Tag(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_begin_with_the_stream() {
        let keys = Keys::plain("orders", "billing").unwrap();
        assert_eq!(keys.attempts(), "orders:billing:attempts");
        assert_eq!(keys.done(b"\xff"), b"orders:billing:done:\xff");
        assert_eq!(keys.scheduled_body(), "orders:scheduled:body");
        assert_eq!((keys.stream(), keys.group()), ("orders", "billing"));
        assert_eq!((&*keys.delayed(), &*keys.dead()), ("orders:billing:delayed", "orders:billing:dead"));
        assert_eq!((&*keys.reclaimer(), &*keys.rate()), ("orders:billing:reclaimer", "orders:billing:rate"));
        assert_eq!((&*keys.scheduled(), &*keys.once("7")), ("orders:scheduled", "orders:once:7"));
        // Nor do two groups share one.
        let [one, other] = [Keys::plain("orders", "eu:billing").unwrap(), Keys::plain("orders:eu", "billing").unwrap()];
        assert_eq!((&*one.dead(), &*other.dead()), ("orders:eu%3Abilling:dead", "orders:eu:billing:dead"));
        assert_ne!(Keys::plain("s", "a%3Ab").unwrap().dead(), Keys::plain("s", "a:b").unwrap().dead());
    }

    #[test]
    fn tagged_keys_share_the_slot_of_the_stream() {
        let keys = Keys::hash_tagged("orders", "billing").unwrap();
        assert_eq!((keys.stream(), &*keys.dead()), ("orders", "{orders}:billing:dead"));
        let keys = Keys::hash_tagged("{shop}orders", "billing").unwrap();
        assert_eq!(keys.dead(), "{shop}orders:billing:dead");
        assert_eq!(Keys::hash_tagged("a{}b", "g"), Err(NameError::Tag("a{}b".to_owned())));
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(Keys::plain("", "g"), Err(NameError::EmptyStream));
        assert_eq!(Keys::plain("s", ""), Err(NameError::EmptyGroup("s".to_owned())));
        assert_eq!(Consumer::new("", 1), Err(NameError::EmptyConsumer));
        assert_eq!(Consumer::new("~x", 1), Err(NameError::Tilde("~x".to_owned())));
        assert_eq!(Consumer::new("w\n", 1), Err(NameError::ControlInConsumer("w\n".to_owned())));
        let consumer = Consumer::new("w", 1).unwrap();
        assert_eq!((consumer.as_str(), &*consumer.to_string()), ("w-0000000000000001", "w-0000000000000001"));
    }
}
