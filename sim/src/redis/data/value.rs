//! What a key can hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::stream::Stream;
use super::zsets::Zset;

/// A value. Large ones are shared between snapshots, see `Db`.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Value {
    Text(Bytes),
    Hash(Hash),
    List(List),
    Set(Set),
    Zset(Zset),
    Stream(Stream),
}

pub(crate) type Hash = BTreeMap<Bytes, Bytes>;
pub(crate) type List = VecDeque<Bytes>;
pub(crate) type Set = BTreeSet<Bytes>;

/// One of the types of values: what a command asks a key for.
pub(crate) trait Kind: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    /// Whether Redis would remove the key; streams and strings may be empty.
    fn is_gone(&self) -> bool;
}

macro_rules! kind {
    ($type:ty, $variant:ident, $is_gone:expr) => {
        impl Kind for $type {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }

            fn into_value(self) -> Value {
                Value::$variant(self)
            }

            fn is_gone(&self) -> bool {
                $is_gone(self)
            }
        }
    };
}

kind!(Bytes, Text, |_| false);
kind!(Hash, Hash, Hash::is_empty);
kind!(List, List, List::is_empty);
kind!(Set, Set, Set::is_empty);
kind!(Zset, Zset, Zset::is_empty);
kind!(Stream, Stream, |_| false);

impl Value {
    /// As TYPE says it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::Hash(_) => "hash",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Zset(_) => "zset",
            Value::Stream(_) => "stream",
        }
    }

    /// As OBJECT ENCODING says it, by the default limits: how it came to be is not remembered.
    pub(crate) fn encoding(&self) -> &'static str {
        let small = |item: &Bytes| item.len() <= 64;
        match self {
            Value::Text(text) if text.len() <= 20 && super::number::integer(text).is_some() => "int",
            Value::Text(text) if text.len() <= 44 => "embstr",
            Value::Text(_) => "raw",
            Value::Hash(hash) if hash.len() <= 512 && hash.iter().all(|(k, v)| small(k) && small(v)) => "listpack",
            Value::Hash(_) => "hashtable",
            Value::List(_) => "quicklist",
            Value::Set(set) if set.len() <= 512 && set.iter().all(|m| super::number::integer(m).is_some()) => "intset",
            Value::Set(_) => "hashtable",
            Value::Zset(zset) if zset.len() <= 128 && zset.members().all(small) => "listpack",
            Value::Zset(_) => "skiplist",
            Value::Stream(_) => "stream",
        }
    }

    /// Roughly what it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        // What an element of a collection takes besides its bytes, by measurements on 7.0.
        const ELEMENT: usize = 40;
        match self {
            Value::Text(text) => text.len(),
            Value::Hash(hash) => hash.iter().map(|(field, value)| field.len() + value.len() + ELEMENT).sum(),
            Value::List(list) => list.iter().map(|item| item.len() + 4).sum(),
            Value::Set(set) => set.iter().map(|member| member.len() + ELEMENT).sum(),
            Value::Zset(zset) => zset.members().map(|member| member.len() + 2 * ELEMENT).sum(),
            Value::Stream(stream) => stream.memory(),
        }
    }
}
