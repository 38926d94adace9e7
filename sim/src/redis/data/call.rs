//! A command in execution: its arguments, and the keyspace as it may see it.

use std::sync::Arc;

use bytes::Bytes;

use super::super::reply::Reply;
use super::db::Entry;
use super::number;
use super::value::{Kind, Value};
use super::{Context, Db, KeyEvent};

/// What a command answers: an error ends it wherever it turns up.
pub(crate) type Answer = Result<Reply, Reply>;

pub(crate) struct Call<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) cx: &'a mut Context,
    /// With the name, and the subcommand's.
    pub(crate) args: &'a [Bytes],
    /// It is one that writes.
    pub(crate) write: bool,
}

impl<'a> Call<'a> {
    /// The key, of a command that has it as its first argument.
    pub(crate) fn key(&self) -> &'a Bytes {
        &self.args[1]
    }

    /// Whether the key is there. If it has lapsed it is deleted now, with its event; but never on a replica, where only
    /// its primary's commands still find it.
    pub(crate) fn meet(&mut self, key: &Bytes) -> bool {
        let now_ms = self.cx.now_ms;
        match self.db.entry(key) {
            None => false,
            Some(entry) if !entry.has_lapsed(now_ms) => true,
            Some(_) if !self.cx.expire_at_all => self.write,
            Some(_) => {
                self.db.expire(self.cx, key);
                false
            }
        }
    }

    /// The key's entry.
    pub(crate) fn entry(&mut self, key: &Bytes) -> Option<&Entry> {
        if self.meet(key) { self.db.entry(key) } else { None }
    }

    /// The key's value to read. An error if it is of another type.
    pub(crate) fn read<K: Kind>(&mut self, key: &Bytes) -> Result<Option<&K>, Reply> {
        match self.entry(key) {
            None => Ok(None),
            Some(entry) => K::of(&entry.value).map(Some).ok_or_else(wrong_type),
        }
    }

    /// The key's value to change.
    pub(crate) fn change<K: Kind>(&mut self, key: &Bytes) -> Result<Option<&mut K>, Reply> {
        if !self.meet(key) {
            return Ok(None);
        }
        match self.db.entry_mut(key) {
            None => Ok(None),
            // Asked before it is made its own: a value that a snapshot shares is not copied for an error.
            Some(entry) if K::of(&entry.value).is_none() => Err(wrong_type()),
            Some(entry) => Ok(K::of_mut(Arc::make_mut(&mut entry.value))),
        }
    }

    /// The key's value to change, an empty one if there was none.
    pub(crate) fn create<K: Kind>(&mut self, key: &Bytes) -> Result<&mut K, Reply> {
        if !self.meet(key) {
            self.put(key, K::default().into_value(), None);
        }
        self.change(key)?.ok_or_else(wrong_type)
    }

    /// Puts a value there, instead of any other.
    pub(crate) fn put(&mut self, key: &Bytes, value: Value, lapses_ms: Option<u64>) {
        if self.db.put(key, Arc::new(value), lapses_ms) {
            self.event('n', "new", key);
        }
    }

    /// Removes the key with the event `del` if nothing is left in its value.
    pub(crate) fn remove_if_gone<K: Kind>(&mut self, key: &Bytes) {
        if self.db.entry(key).and_then(|entry| K::of(&entry.value)).is_some_and(Kind::is_gone) {
            self.db.remove(key);
            self.event('g', "del", key);
        }
    }

    pub(crate) fn event(&mut self, class: char, name: &'static str, key: &Bytes) {
        self.cx.events.push(KeyEvent { class, name, key: key.clone() });
    }

    /// An event, and a change.
    pub(crate) fn changed(&mut self, class: char, name: &'static str, key: &Bytes) {
        self.event(class, name, key);
        self.cx.dirty += 1;
    }

    /// An argument that is a number.
    pub(crate) fn int(&self, at: usize) -> Result<i64, Reply> {
        number::integer(&self.args[at]).ok_or_else(not_an_integer)
    }

    /// Whether an argument is this word, in any case.
    pub(crate) fn is_word(&self, at: usize, word: &str) -> bool {
        self.args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }
}

pub(crate) fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

pub(crate) fn not_an_integer() -> Reply {
    Reply::error("ERR value is not an integer or out of range")
}

pub(crate) fn not_a_float() -> Reply {
    Reply::error("ERR value is not a valid float")
}

pub(crate) fn syntax() -> Reply {
    Reply::error("ERR syntax error")
}

pub(crate) fn no_such_key() -> Reply {
    Reply::error("ERR no such key")
}

pub(crate) fn wrong_arity(name: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{name}' command"))
}

/// A number of things.
pub(crate) fn count(of: usize) -> Reply {
    Reply::Int(of as i64)
}

/// A string, or none.
pub(crate) fn maybe(text: Option<&Bytes>) -> Reply {
    text.map_or(Reply::Nil, |text| Reply::Bulk(text.clone()))
}
