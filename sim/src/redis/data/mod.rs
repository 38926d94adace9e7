//! The keyspace: values, expiry, and the commands that read and write them, as Redis 7.0 has them. Knows nothing of
//! connections: who may do what, in which transaction, and who is blocked, is the session's.

mod call;
mod db;
mod hashes;
mod keys;
mod lists;
pub(crate) mod number;
pub(crate) mod pattern;
#[cfg(test)]
mod recorded;
mod scan;
mod sets;
mod spec;
mod stream;
mod strings;
#[cfg(test)]
mod tests;
mod ttl;
pub(crate) mod value;
mod zsets;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{reply::Reply, version::Version};

use call::Call;

pub use db::Db;
pub use number::general;
pub(crate) use spec::named;
pub use spec::{Keys, Spec, find, names, spec};

/// A keyspace event, to be published if the flags say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The class's letter in `notify-keyspace-events`: `g`, `$`, `h`, `t`, `x`, `e` …
    pub class: char,
    /// `expired`, `set`, `del`, `xadd` …
    pub name: &'static str,
    /// The key.
    pub key: Bytes,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// Answered.
    Reply(Reply),
    /// XREADGROUP or XREAD with BLOCK found nothing: to be executed again when one of these keys is written to, and to
    /// be answered with a missing list at the end.
    Block {
        /// The streams.
        keys: Vec<Bytes>,
        /// How long, in milliseconds; 0 is for ever.
        ms: u64,
        /// The command to execute again: as it came, but every `$` is the id that it meant when it came.
        again: Vec<Bytes>,
    },
}

/// What a command is executed in, and what it leaves behind besides its answer.
#[derive(Clone, Debug)]
pub struct Context {
    /// The server's wall clock, in milliseconds; the session freezes it during a script and a transaction.
    pub now_ms: u64,
    /// The same in microseconds.
    pub now_us: u64,
    /// Called by a script: never blocks.
    pub in_script: bool,
    /// Whether lapsed keys are deleted when they are met. Not so on a replica: there reading commands take them for
    /// missing, and writing ones, which come from its primary, find them.
    pub expire_at_all: bool,
    /// The command was executed before, and comes out of a log or from a primary: XREADGROUP then is only told of what
    /// was delivered, not of what was read once more or counted (Redis 7.0).
    pub replays: bool,
    /// Every change of a key that Redis would notify of, in its order, whatever the flags. The session takes them out:
    /// to publish them, and to wake who is blocked on a key.
    pub events: Vec<KeyEvent>,
    /// Changes made, as in `rdb_changes_since_last_save`.
    pub dirty: u64,
    /// How many consumers XINFO CONSUMERS has listed: what that costs, where it is asked for.
    pub listed: u64,
    /// Which Redis it is.
    pub version: Version,
    /// What RANDOMKEY and its like draw from.
    pub rng: SmallRng,
}

impl Context {
    /// A context of a primary, outside of scripts.
    pub fn new(now_us: u64, seed: u64) -> Context {
        Context {
            now_ms: now_us / 1000,
            now_us,
            in_script: false,
            expire_at_all: true,
            replays: false,
            events: Vec::new(),
            dirty: 0,
            listed: 0,
            version: Version::default(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Sets both clocks.
    pub fn set_now(&mut self, now_us: u64) {
        (self.now_ms, self.now_us) = (now_us / 1000, now_us);
    }
}

/// Executes a command on a logical database. `args[0]` is its name, in any case. `None`: not a command of the keyspace.
pub fn execute(db: &mut Db, cx: &mut Context, args: &[Bytes]) -> Option<Done> {
    let spec = match find(args)? {
        Ok(spec) => spec,
        Err(reply) => return Some(Done::Reply(reply)),
    };
    Some(spec.run(db, cx, args))
}

/// Executes a blocked command again (`Done::Block::again`), after an event of one of its keys that wakes
/// (`KeyEvent::wakes`), or after everything was removed: `Done::Block` if it is to stay blocked, or what it is answered,
/// which is an error if its stream or its group is gone. As in Redis 7.0, it is answered from
/// this key alone.
pub fn wake(db: &mut Db, cx: &mut Context, again: &[Bytes], key: &Bytes) -> Done {
    let call = &mut Call { db, cx, args: again, write: true };
    stream::wake(call, key).unwrap_or_else(Done::Reply)
}

impl KeyEvent {
    /// Whether those look who are blocked on the key: when it was added to, came into being, was replaced or removed, or
    /// lost a group. No id that is set wakes anybody.
    pub fn wakes(&self) -> bool {
        match self.class {
            't' => matches!(self.name, "xadd" | "xgroup-destroy"),
            _ => !matches!(self.name, "expire" | "persist"),
        }
    }
}
