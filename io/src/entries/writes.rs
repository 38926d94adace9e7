//! The application's own writes, made together with a commit.

use std::time::Duration;

use streamkeeper_core::entries::call::{Score, Write};

/// Writes that are made all or nothing with a commit, in order, and only by the stream's owner: a ledger in the same
/// Redis that counts every entry once, whatever crashes.
///
/// A closed set of commands, so that everything that could go wrong (a key of another type, a number that is none or
/// overflows) is tested before the first one is made. Keys and values are bytes. On a Redis Cluster the keys must lie in
/// the service's slot. Up to 3,900 writes go into one commit (each counts as
/// three arguments and its own, 20,000 in all, and 16 MiB), and the whole server waits for it.
///
/// ```no_run
/// # async fn example(lease: streamkeeper::Lease, id: streamkeeper::EntryId) -> Result<(), streamkeeper::CommitError> {
/// lease
///     .commit_with(id, |writes| {
///         writes.incr_by("orders:total", 3).hset("orders:latest", [("customer", "17"), ("item", "tea")]);
///     })
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes(Vec<Write>);

impl Writes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_vec(self) -> Vec<Write> {
        self.0
    }

    /// `SET key value`: replaces whatever was there, a time to live included.
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Writes {
        self.push(Write::Set(bytes(key).into(), bytes(value), None))
    }

    /// `SET key value PX ttl`: the same, gone after `ttl`, which is rounded to whole milliseconds.
    pub fn set_for(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) -> &mut Writes {
        self.push(Write::Set(bytes(key).into(), bytes(value), Some(ttl)))
    }

    /// `DEL key`, of whatever type.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> &mut Writes {
        self.push(Write::Del(bytes(key).into()))
    }

    /// `PEXPIRE key ttl`, rounded to whole milliseconds; nothing if there is no such key.
    pub fn expire(&mut self, key: impl AsRef<[u8]>, ttl: Duration) -> &mut Writes {
        self.push(Write::Expire(bytes(key).into(), ttl))
    }

    /// `INCRBY key by`.
    pub fn incr_by(&mut self, key: impl AsRef<[u8]>, by: i64) -> &mut Writes {
        self.push(Write::IncrBy(bytes(key).into(), by))
    }

    /// `HSET key field value …`.
    pub fn hset<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> &mut Writes {
        self.push(Write::HSet(bytes(key).into(), pairs(fields)))
    }

    /// `HDEL key field …`.
    pub fn hdel<F: AsRef<[u8]>>(&mut self, key: impl AsRef<[u8]>, fields: impl IntoIterator<Item = F>) -> &mut Writes {
        self.push(Write::HDel(bytes(key).into(), all(fields)))
    }

    /// `HINCRBY key field by`.
    pub fn hincr_by(&mut self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>, by: i64) -> &mut Writes {
        self.push(Write::HIncrBy(bytes(key).into(), bytes(field), by))
    }

    /// `SADD key member …`.
    pub fn sadd<M: AsRef<[u8]>>(&mut self, key: impl AsRef<[u8]>, members: impl IntoIterator<Item = M>) -> &mut Writes {
        self.push(Write::SAdd(bytes(key).into(), all(members)))
    }

    /// `SREM key member …`.
    pub fn srem<M: AsRef<[u8]>>(&mut self, key: impl AsRef<[u8]>, members: impl IntoIterator<Item = M>) -> &mut Writes {
        self.push(Write::SRem(bytes(key).into(), all(members)))
    }

    /// `ZADD key score member …`. A score that is no number is refused.
    pub fn zadd<M: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = (f64, M)>,
    ) -> &mut Writes {
        let members = members.into_iter().map(|(score, member)| (Score(score.to_bits()), bytes(member)));
        self.push(Write::ZAdd(bytes(key).into(), members.collect()))
    }

    /// `ZREM key member …`.
    pub fn zrem<M: AsRef<[u8]>>(&mut self, key: impl AsRef<[u8]>, members: impl IntoIterator<Item = M>) -> &mut Writes {
        self.push(Write::ZRem(bytes(key).into(), all(members)))
    }

    /// `RPUSH key value …`.
    pub fn rpush<V: AsRef<[u8]>>(&mut self, key: impl AsRef<[u8]>, values: impl IntoIterator<Item = V>) -> &mut Writes {
        self.push(Write::RPush(bytes(key).into(), all(values)))
    }

    /// `XADD key * field value …`: an entry of another stream, such as the next stage's.
    pub fn xadd<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> &mut Writes {
        self.push(Write::XAdd(bytes(key).into(), pairs(fields), None))
    }

    /// `XADD key MAXLEN ~ length * field value …`: the same, and the stream is trimmed to about so many entries.
    pub fn xadd_trimmed<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        length: u64,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> &mut Writes {
        self.push(Write::XAdd(bytes(key).into(), pairs(fields), Some(length)))
    }

    fn push(&mut self, write: Write) -> &mut Writes {
        self.0.push(write);
        self
    }
}

fn bytes(value: impl AsRef<[u8]>) -> Vec<u8> {
    value.as_ref().to_vec()
}

fn all<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Vec<Vec<u8>> {
    values.into_iter().map(bytes).collect()
}

fn pairs<F: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (F, V)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.into_iter().map(|(field, value)| (bytes(field), bytes(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_stand_in_the_order_in_which_they_were_said() {
        let mut writes = Writes::default();
        writes.incr_by("n", -3).zadd("z", [(1.5, "m")]).set_for("k", [0, 255], Duration::from_secs(1));
        writes.xadd_trimmed("s", 10, [("f", "v")]);
        assert_eq!(
            writes.clone().into_vec(),
            [
                Write::IncrBy(b"n"[..].into(), -3),
                Write::ZAdd(b"z"[..].into(), vec![(Score(1.5_f64.to_bits()), b"m".to_vec())]),
                Write::Set(b"k"[..].into(), vec![0, 255], Some(Duration::from_secs(1))),
                Write::XAdd(b"s"[..].into(), vec![(b"f".to_vec(), b"v".to_vec())], Some(10)),
            ]
        );
        assert!(!writes.is_empty() && writes.len() == 4);
    }
}
