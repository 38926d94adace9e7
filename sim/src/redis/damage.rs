//! Damage to the data: to the load balancer stream, its group, and the leases; or to the stream of messages, its group, and
//! what is kept about it.

use std::time::Duration;

use bytes::Bytes;
use streamkeeper::Time;

use crate::{
    entries,
    messages::{GROUP, STREAM},
    plan::RedisFault,
};

use super::{Redis, reply::Reply};

impl Redis {
    /// Faults of the data: of the load balancer stream, its group, and the leases.
    pub(crate) fn befall_keys(&mut self, fault: &RedisFault, now: Time) {
        let is_ours = |key: &&Bytes| key.ends_with(b"-input") || **key == STREAM.as_bytes();
        let lbs: Vec<Bytes> = self.dbs[0].keys().filter(is_ours).cloned().collect();
        let group = |lbs: &Bytes| match lbs.strip_suffix(b"-input") {
            Some(service) => Bytes::from([service, b"-group"].concat()),
            None => Bytes::from_static(GROUP.as_bytes()),
        };
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        for lbs in lbs {
            let command = match fault {
                RedisFault::DestroyGroup => vec![text("XGROUP"), text("DESTROY"), lbs.clone(), group(&lbs)],
                RedisFault::DeleteLbs => vec![text("DEL"), lbs],
                RedisFault::Trim { left } => vec![text("XTRIM"), lbs, text("MAXLEN"), left.to_string().into()],
                RedisFault::Redeliver => vec![text("XGROUP"), text("SETID"), lbs.clone(), group(&lbs), text("0")],
                RedisFault::DeleteConsumer { consumer } => {
                    let Some(name) = self.consumer(&lbs, &group(&lbs), *consumer) else { continue };
                    vec![text("XGROUP"), text("DELCONSUMER"), lbs.clone(), group(&lbs), name]
                }
                _ => continue,
            };
            self.command(command);
        }
        match *fault {
            RedisFault::Evict { nth } => {
                if let Some(lease) = self.lease(nth) {
                    self.dbs[0].evict(&mut self.cx, &lease);
                    self.publish_events(0);
                }
            }
            RedisFault::TrimData { nth, left } => {
                if let Some(stream) = self.data_stream(nth) {
                    self.command([text("XTRIM"), stream, text("MAXLEN"), left.to_string().into()]);
                }
            }
            RedisFault::DeleteAttempts => drop(self.command([text("DEL"), messages_key("attempts")])),
            RedisFault::DeleteDelayed => drop(self.command([text("DEL"), messages_key("delayed")])),
            RedisFault::Unpark { nth } => {
                let parked = self.command([text("ZRANGE"), messages_key("delayed"), text("0"), text("-1")]);
                if let Reply::Array(parked) = parked
                    && let Some(nth) = nth.checked_rem(parked.len() as u64).and_then(|nth| usize::try_from(nth).ok())
                    && let Some(Reply::Bulk(entry)) = parked.get(nth)
                {
                    self.command([text("ZREM"), messages_key("delayed"), entry.clone()]);
                }
            }
            RedisFault::WrongType { nth, ms } => {
                if let Some(lease) = self.lease(nth) {
                    self.command([text("DEL"), lease.clone()]);
                    self.command([text("RPUSH"), lease.clone(), text("something else")]);
                    self.faults.plant(lease, now + Duration::from_millis(ms));
                }
            }
            _ => {}
        }
    }

    /// A lease, or what else stands under a key of its own for a while.
    fn lease(&self, nth: u64) -> Option<Bytes> {
        let separator = b"<MUTEX_KEY_SEP>";
        let once = messages_once();
        let is_lease = |key: &&Bytes| {
            key.windows(separator.len()).any(|part| part == separator)
                || key.starts_with(&once)
                || **key == messages_key("reclaimer")
        };
        let count = self.dbs[0].keys().filter(is_lease).count();
        let nth = nth.checked_rem(count as u64)?;
        self.dbs[0].keys().filter(is_lease).nth(usize::try_from(nth).ok()?).cloned()
    }

    /// A data stream, by its place in the order of names.
    fn data_stream(&self, nth: u64) -> Option<Bytes> {
        let mut names: Vec<&Bytes> = self.dbs[0].keys().filter(|key| entries::is_data(key)).collect();
        names.sort();
        let nth = nth.checked_rem(names.len() as u64)?;
        names.get(usize::try_from(nth).ok()?).map(|name| (*name).clone())
    }

    /// A consumer of the group, by its place in the order of names.
    fn consumer(&mut self, lbs: &Bytes, group: &Bytes, nth: usize) -> Option<Bytes> {
        let args = [Bytes::from_static(b"XINFO"), Bytes::from_static(b"CONSUMERS"), lbs.clone(), group.clone()];
        let Reply::Array(consumers) = self.command(args) else { return None };
        let name = |consumer: &Reply| match consumer {
            Reply::Map(pairs) => match pairs.first() {
                Some((_, Reply::Bulk(name))) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        };
        let mut names: Vec<Bytes> = consumers.iter().filter_map(name).collect();
        names.sort();
        names.get(nth.checked_rem(names.len())?).cloned()
    }
}

/// A key of the simulated group of messages.
fn messages_key(what: &str) -> Bytes {
    format!("{STREAM}:{GROUP}:{what}").into()
}

/// What the keys begin with under which messages with idempotency keys are remembered.
fn messages_once() -> Bytes {
    format!("{STREAM}:once:").into()
}
