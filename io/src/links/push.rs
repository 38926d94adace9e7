//! What the server pushes to the subscriber: hints, in a queue that drops what does not fit.
//!
//! A hint that is dropped costs time, not safety: the reaper finds what nobody was told of.

use std::{convert::Infallible, sync::Arc};

use redis::{PushInfo, PushKind, RedisConnectionInfo, Value};
use streamkeeper_core::keys::Keys;
use tokio::sync::{Semaphore, mpsc};

use crate::metrics::Meters;

/// A hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// This key has expired.
    Expired(String),
    /// Somebody rang the doorbell.
    Doorbell(String),
}

/// The end that the redis client calls.
#[derive(Clone)]
pub(crate) struct PushSender {
    queue: mpsc::Sender<Push>,
    prefix: Arc<str>,
    doorbell: Arc<str>,
    meters: Arc<Meters>,
}

/// A queue of at most `buffer` hints.
pub(crate) fn channel(
    buffer: usize,
    login: &RedisConnectionInfo,
    keys: &Keys,
    meters: Arc<Meters>,
) -> (PushSender, mpsc::Receiver<Push>) {
    let (queue, pushes) = mpsc::channel(buffer.clamp(1, Semaphore::MAX_PERMITS));
    let prefix = Keys::expiry_prefix(login.db()).into();
    (PushSender { queue, prefix, doorbell: keys.orphans().into(), meters }, pushes)
}

impl PushSender {
    /// Takes a push in, or drops it: never waits.
    pub(crate) fn send(&self, info: PushInfo) -> Result<(), Infallible> {
        if let Some(push) = self.understand(info)
            && self.queue.try_send(push).is_err()
        {
            self.meters.push_dropped();
        }
        Ok(())
    }

    fn understand(&self, info: PushInfo) -> Option<Push> {
        let mut texts = info.data.into_iter().map(text);
        match info.kind {
            // pattern, channel, payload
            PushKind::PMessage => {
                let (_, channel, payload) = (texts.next()?, texts.next()??, texts.next()??);
                let key = channel.strip_prefix(&*self.prefix)?;
                (payload == "expired").then(|| Push::Expired(key.to_owned()))
            }
            // channel, payload
            PushKind::Message => {
                let (channel, payload) = (texts.next()??, texts.next()??);
                (*channel == *self.doorbell).then_some(Push::Doorbell(payload))
            }
            _ => None,
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn only_hints_come_through_and_no_more_than_fit() {
        let keys = Keys::plain("svc").unwrap();
        let login = RedisConnectionInfo::default().set_db(2);
        let (sender, mut pushes) = channel(2, &login, &keys, Arc::new(Meters::off()));
        let say = |kind: PushKind, data: &[&str]| {
            sender.send(PushInfo { kind, data: data.iter().map(|t| bulk(t)).collect() }).unwrap();
        };
        say(PushKind::PMessage, &["p", "__keyspace@2__:s<MUTEX_KEY_SEP>1-1", "set"]);
        say(PushKind::PMessage, &["p", "__keyspace@0__:s<MUTEX_KEY_SEP>1-1", "expired"]);
        say(PushKind::PMessage, &["p"]);
        say(PushKind::Message, &["other", "1-1"]);
        say(PushKind::PMessage, &["p", "__keyspace@2__:s<MUTEX_KEY_SEP>1-1", "expired"]);
        say(PushKind::Message, &["svc-orphans", "1-1 2-2"]);
        say(PushKind::Message, &["svc-orphans", "dropped"]);
        assert_eq!(pushes.try_recv().unwrap(), Push::Expired("s<MUTEX_KEY_SEP>1-1".to_owned()));
        assert_eq!(pushes.try_recv().unwrap(), Push::Doorbell("1-1 2-2".to_owned()));
        assert!(pushes.try_recv().is_err());
    }
}
