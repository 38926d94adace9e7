//! The application's own writes as the script takes them, and what of them is refused before anything is sent.

use std::{borrow::Cow, time::Duration};

use streamkeeper_core::{
    entries::call::Write,
    id::LEASE_SEPARATOR,
    keys::{Keys, hash_tag},
};

use crate::wire::{longest, millis};

/// How many arguments the writes of one commit have, at most: so that none keeps Redis busy for long.
const MOST_ARGUMENTS: usize = 20_000;
/// How many writes one commit has, at most: each has a key, and not every server takes more of them in one call.
const MOST_WRITES: usize = 3_900;
/// How many bytes the writes of one commit have, at most.
const MOST_BYTES: usize = 16 << 20;
/// How many fields an entry may have: a script cannot write more at once.
const MOST_FIELDS: usize = 2_900;

/// One write: a command, its key, and what comes behind it.
pub(super) struct Command<'a> {
    pub(super) name: &'static str,
    pub(super) key: &'a [u8],
    pub(super) args: Vec<Cow<'a, [u8]>>,
}

impl<'a> Command<'a> {
    fn new(write: &'a Write) -> Command<'a> {
        let command = |name, key: &'a [u8], args| Command { name, key, args };
        match write {
            Write::Set(key, value, ttl) => {
                let mut args = vec![Cow::from(value)];
                if let Some(ttl) = ttl {
                    args.extend([Cow::from(b"PX".as_slice()), text(ttl_ms(*ttl))]);
                }
                command("SET", key, args)
            }
            Write::Del(key) => command("DEL", key, vec![]),
            Write::Expire(key, ttl) => command("PEXPIRE", key, vec![text(ttl_ms(*ttl))]),
            Write::IncrBy(key, by) => command("INCRBY", key, vec![text(by)]),
            Write::HSet(key, pairs) => command("HSET", key, flat(pairs).collect()),
            Write::HDel(key, fields) => command("HDEL", key, all(fields)),
            Write::HIncrBy(key, field, by) => command("HINCRBY", key, vec![Cow::from(field), text(by)]),
            Write::SAdd(key, members) => command("SADD", key, all(members)),
            Write::SRem(key, members) => command("SREM", key, all(members)),
            Write::ZAdd(key, members) => {
                let one = |(score, member): &'a (_, Vec<u8>)| [text(shown(*score)), Cow::from(member)];
                command("ZADD", key, members.iter().flat_map(one).collect())
            }
            Write::ZRem(key, members) => command("ZREM", key, all(members)),
            Write::RPush(key, values) => command("RPUSH", key, all(values)),
            Write::XAdd(key, pairs, limit) => {
                let mut args = Vec::with_capacity(4 + 2 * pairs.len());
                if let Some(limit) = limit {
                    // Redis counts up to here.
                    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
                    args.extend([Cow::from(b"MAXLEN".as_slice()), Cow::from(b"~".as_slice()), text(limit)]);
                }
                args.push(Cow::from(b"*".as_slice()));
                args.extend(flat(pairs));
                command("XADD", key, args)
            }
        }
    }

    /// How much it is to send.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.args.iter().map(|arg| arg.len()).sum::<usize>()
    }

    /// A sentence about it.
    pub(super) fn says(&self, why: &str) -> Box<str> {
        let key = String::from_utf8_lossy(self.key);
        let end = (0..=200.min(key.len())).rev().find(|at| key.is_char_boundary(*at)).unwrap_or(0);
        format!("{} `{}`: {why}", self.name, &key[..end]).into()
    }
}

/// The writes of one commit as commands.
///
/// # Errors
/// Which of them cannot be made on any server, and why.
pub(super) fn commands<'a>(writes: &'a [Write], foreign: &Foreign) -> Result<Vec<Command<'a>>, (usize, Box<str>)> {
    let (mut arguments, mut bytes) = (0, 0);
    let one = |(index, write)| {
        let command = Command::new(write);
        arguments += 3 + command.args.len();
        bytes += command.bytes();
        let why = empty(write)
            .or_else(|| impossible(write))
            .or_else(|| foreign.refuses(command.key))
            .or_else(|| (index >= MOST_WRITES).then(too_many))
            .or_else(|| too_much(arguments, bytes));
        match why {
            Some(why) => Err((index, command.says(&why))),
            None => Ok(command),
        }
    };
    writes.iter().enumerate().map(one).collect()
}

fn empty(write: &Write) -> Option<String> {
    let what = match write {
        Write::HSet(_, pairs) | Write::XAdd(_, pairs, _) if pairs.is_empty() => "field",
        Write::HDel(_, fields) if fields.is_empty() => "field",
        Write::SAdd(_, all) | Write::SRem(_, all) | Write::ZRem(_, all) if all.is_empty() => "member",
        Write::ZAdd(_, all) if all.is_empty() => "member",
        Write::RPush(_, all) if all.is_empty() => "value",
        _ => return None,
    };
    Some(format!("it needs at least one {what}"))
}

fn impossible(write: &Write) -> Option<String> {
    match write {
        Write::Set(_, _, Some(ttl)) | Write::Expire(_, ttl) if ttl.is_zero() => {
            Some("a time to live of zero: give a longer one, or delete the key".to_owned())
        }
        Write::ZAdd(_, members) if members.iter().any(|(score, _)| f64::from_bits(score.0).is_nan()) => {
            Some("a score is not a number (NaN)".to_owned())
        }
        Write::XAdd(_, pairs, _) if pairs.len() > MOST_FIELDS => {
            Some(format!("an entry of {} fields: it may have {MOST_FIELDS}; put more of them into one", pairs.len()))
        }
        _ => None,
    }
}

/// What an application's key may not be.
#[derive(Debug)]
pub(super) struct Foreign {
    service: String,
    own: [String; 8],
    once: String,
    /// In the layout for Redis Cluster: the tag that decides on the slot.
    tag: Option<String>,
}

impl Foreign {
    pub(super) fn new(keys: &Keys) -> Foreign {
        let checkpoints = keys.checkpoints();
        Foreign {
            service: keys.service().to_owned(),
            once: keys.once(""),
            tag: hash_tag(&checkpoints).filter(|_| keys.is_hash_tagged()).map(str::to_owned),
            own: [
                keys.lbs(),
                keys.fences(),
                keys.token(),
                checkpoints,
                keys.dead(),
                keys.dead_entries(),
                keys.epoch(),
                keys.reaper(),
            ],
        }
    }

    /// Why a key is not the application's, or cannot be written together with the service's.
    fn refuses(&self, key: &[u8]) -> Option<String> {
        // What is not UTF-8 is replaced, and decides on nothing here.
        let text = String::from_utf8_lossy(key);
        let own = self.own.iter().any(|own| own.as_bytes() == key);
        if own || text.starts_with(&self.once) || text.contains(LEASE_SEPARATOR) {
            return Some("this key is Streamkeeper's own: take another one".to_owned());
        }
        let tag = self.tag.as_deref()?;
        (hash_tag(&text) != Some(tag)).then(|| {
            let service = &self.service;
            format!(
                "this key lies in another slot of a Redis Cluster than the service `{service}`: begin it with {tag}"
            )
        })
    }
}

fn too_many() -> String {
    format!("one commit may have {MOST_WRITES} writes: make several")
}

fn too_much(arguments: usize, bytes: usize) -> Option<String> {
    if arguments > MOST_ARGUMENTS {
        return Some(format!("one commit may have {MOST_ARGUMENTS} arguments in all: make several"));
    }
    (bytes > MOST_BYTES).then(|| format!("one commit may have {} MiB in all: make several", MOST_BYTES >> 20))
}

fn text<'a>(what: impl ToString) -> Cow<'a, [u8]> {
    what.to_string().into_bytes().into()
}

/// At least a millisecond: Redis counts in them.
fn ttl_ms(ttl: Duration) -> u64 {
    millis(longest(ttl)).max(1)
}

/// The shortest text that is this very number.
fn shown(score: streamkeeper_core::entries::call::Score) -> String {
    format!("{:?}", f64::from_bits(score.0))
}

fn all(texts: &[Vec<u8>]) -> Vec<Cow<'_, [u8]>> {
    texts.iter().map(Cow::from).collect()
}

fn flat(pairs: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    pairs.iter().flat_map(|(name, value)| [Cow::from(name), Cow::from(value)])
}
