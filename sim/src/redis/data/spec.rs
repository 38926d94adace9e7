//! What is known of a command before it is executed: for arity errors, ACL, OOM and READONLY.

use bytes::Bytes;

use super::super::reply::Reply;
use super::{Context, Db, Done};

/// A command, or a subcommand (`xgroup|create`).
#[derive(Debug)]
pub struct Spec {
    /// In lower case.
    pub name: &'static str,
    /// The number of arguments with the name; negative: at least as many.
    pub arity: i32,
    /// Changes the keyspace: refused on a replica.
    pub write: bool,
    /// May need more memory: refused when there is none.
    pub deny_oom: bool,
    /// Where its keys are.
    pub keys: Keys,
    /// Its ACL categories, without the `@`.
    pub categories: &'static [&'static str],
}

/// Where a command's keys are among its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// From `first` to `last` (negative: counted from the end) by `step`.
    At {
        /// The first key's position.
        first: usize,
        /// The last one's.
        last: isize,
        /// From one to the next.
        step: usize,
    },
    /// The first half of what follows the word STREAMS.
    Streams,
}

/// The command of this name, in any case; `None` if it is not one of the keyspace.
pub fn spec(name: &[u8]) -> Option<&'static Spec> {
    let mut lower = [0; 32];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    by_name(lower)
}

/// The command or subcommand that these arguments mean, or the error if there is no such subcommand or if there are too
/// few or too many arguments. `None` if it is not a command of the keyspace.
pub fn find(args: &[Bytes]) -> Option<Result<&'static Spec, Reply>> {
    let name = args.first()?;
    let spec = spec(name)?;
    Some(if spec.is_container() && args.len() > 1 { spec.subcommand(&args[1]) } else { Ok(spec) }.and_then(|spec| {
        if spec.fits(args.len()) {
            return Ok(spec);
        }
        Err(Reply::error(format!("ERR wrong number of arguments for '{}' command", spec.name)))
    }))
}

impl Spec {
    /// Whether it takes this number of arguments, its name (with the subcommand's: both) counted.
    pub fn fits(&self, count: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= wanted } else { count == wanted }
    }

    /// The keys among its arguments.
    pub fn keys<'a>(&self, args: &'a [Bytes]) -> Vec<&'a Bytes> {
        match self.keys {
            Keys::None => Vec::new(),
            Keys::At { first, last, step } => {
                let end = if last < 0 { args.len().saturating_add_signed(last + 1) } else { last as usize + 1 };
                args.iter().take(end).skip(first).step_by(step).collect()
            }
            Keys::Streams => {
                let Some(at) = args.iter().position(|word| word.eq_ignore_ascii_case(b"streams")) else {
                    return Vec::new();
                };
                let rest = &args[at + 1..];
                rest[..rest.len() / 2].iter().collect()
            }
        }
    }

    /// XGROUP, XINFO and OBJECT are nothing without a subcommand.
    fn is_container(&self) -> bool {
        matches!(self.name, "object" | "xgroup" | "xinfo")
    }

    fn subcommand(&self, sub: &[u8]) -> Result<&'static Spec, Reply> {
        let full = [self.name.as_bytes(), b"|", &sub.to_ascii_lowercase()].concat();
        by_name(&full).ok_or_else(|| {
            let sub: String = String::from_utf8_lossy(sub).chars().take(128).collect();
            Reply::error(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", self.name.to_ascii_uppercase()))
        })
    }

    pub(crate) fn run(&self, _db: &mut Db, _cx: &mut Context, _args: &[Bytes]) -> Done {
        Done::Reply(Reply::error("ERR not yet"))
    }
}

fn by_name(lower: &[u8]) -> Option<&'static Spec> {
    TABLE.binary_search_by(|spec| spec.name.as_bytes().cmp(lower)).ok().map(|at| &TABLE[at])
}

const fn row(
    name: &'static str,
    arity: i32,
    (write, deny_oom): (bool, bool),
    keys: Keys,
    categories: &'static [&'static str],
) -> Spec {
    Spec { name, arity, write, deny_oom, keys, categories }
}

const READ: (bool, bool) = (false, false);
const WRITE: (bool, bool) = (true, false);
/// Writes, and may need more memory.
const GROW: (bool, bool) = (true, true);

const NONE: Keys = Keys::None;
const ONE: Keys = Keys::At { first: 1, last: 1, step: 1 };
const TWO: Keys = Keys::At { first: 1, last: 2, step: 1 };
const ALL: Keys = Keys::At { first: 1, last: -1, step: 1 };
const PAIRS: Keys = Keys::At { first: 1, last: -1, step: 2 };
const SECOND: Keys = Keys::At { first: 2, last: 2, step: 1 };
const STREAMS: Keys = Keys::Streams;

/// By name: it is searched by halves. Taken from COMMAND INFO of 7.0.15.
static TABLE: &[Spec] = &[
    row("append", 3, GROW, ONE, &["write", "string", "fast"]),
    row("copy", -3, GROW, TWO, &["keyspace", "write", "slow"]),
    row("dbsize", 1, READ, NONE, &["keyspace", "read", "fast"]),
    row("decr", 2, GROW, ONE, &["write", "string", "fast"]),
    row("decrby", 3, GROW, ONE, &["write", "string", "fast"]),
    row("del", -2, WRITE, ALL, &["keyspace", "write", "slow"]),
    row("exists", -2, READ, ALL, &["keyspace", "read", "fast"]),
    row("expire", -3, WRITE, ONE, &["keyspace", "write", "fast"]),
    row("expireat", -3, WRITE, ONE, &["keyspace", "write", "fast"]),
    row("expiretime", 2, READ, ONE, &["keyspace", "read", "fast"]),
    row("flushall", -1, WRITE, NONE, &["keyspace", "write", "slow", "dangerous"]),
    row("flushdb", -1, WRITE, NONE, &["keyspace", "write", "slow", "dangerous"]),
    row("get", 2, READ, ONE, &["read", "string", "fast"]),
    row("getdel", 2, WRITE, ONE, &["write", "string", "fast"]),
    row("getex", -2, WRITE, ONE, &["write", "string", "fast"]),
    row("getrange", 4, READ, ONE, &["read", "string", "slow"]),
    row("getset", 3, GROW, ONE, &["write", "string", "fast"]),
    row("hdel", -3, WRITE, ONE, &["write", "hash", "fast"]),
    row("hexists", 3, READ, ONE, &["read", "hash", "fast"]),
    row("hget", 3, READ, ONE, &["read", "hash", "fast"]),
    row("hgetall", 2, READ, ONE, &["read", "hash", "slow"]),
    row("hincrby", 4, GROW, ONE, &["write", "hash", "fast"]),
    row("hincrbyfloat", 4, GROW, ONE, &["write", "hash", "fast"]),
    row("hkeys", 2, READ, ONE, &["read", "hash", "slow"]),
    row("hlen", 2, READ, ONE, &["read", "hash", "fast"]),
    row("hmget", -3, READ, ONE, &["read", "hash", "fast"]),
    row("hmset", -4, GROW, ONE, &["write", "hash", "fast"]),
    row("hrandfield", -2, READ, ONE, &["read", "hash", "slow"]),
    row("hscan", -3, READ, ONE, &["read", "hash", "slow"]),
    row("hset", -4, GROW, ONE, &["write", "hash", "fast"]),
    row("hsetnx", 4, GROW, ONE, &["write", "hash", "fast"]),
    row("hstrlen", 3, READ, ONE, &["read", "hash", "fast"]),
    row("hvals", 2, READ, ONE, &["read", "hash", "slow"]),
    row("incr", 2, GROW, ONE, &["write", "string", "fast"]),
    row("incrby", 3, GROW, ONE, &["write", "string", "fast"]),
    row("incrbyfloat", 3, GROW, ONE, &["write", "string", "fast"]),
    row("keys", 2, READ, NONE, &["keyspace", "read", "slow", "dangerous"]),
    row("lindex", 3, READ, ONE, &["read", "list", "slow"]),
    row("linsert", 5, GROW, ONE, &["write", "list", "slow"]),
    row("llen", 2, READ, ONE, &["read", "list", "fast"]),
    row("lmove", 5, GROW, TWO, &["write", "list", "slow"]),
    row("lpop", -2, WRITE, ONE, &["write", "list", "fast"]),
    row("lpush", -3, GROW, ONE, &["write", "list", "fast"]),
    row("lpushx", -3, GROW, ONE, &["write", "list", "fast"]),
    row("lrange", 4, READ, ONE, &["read", "list", "slow"]),
    row("lrem", 4, WRITE, ONE, &["write", "list", "slow"]),
    row("lset", 4, GROW, ONE, &["write", "list", "slow"]),
    row("ltrim", 4, WRITE, ONE, &["write", "list", "slow"]),
    row("mget", -2, READ, ALL, &["read", "string", "fast"]),
    row("mset", -3, GROW, PAIRS, &["write", "string", "slow"]),
    row("msetnx", -3, GROW, PAIRS, &["write", "string", "slow"]),
    row("object", -2, READ, NONE, &["slow"]),
    row("object|encoding", 3, READ, SECOND, &["keyspace", "read", "slow"]),
    row("object|freq", 3, READ, SECOND, &["keyspace", "read", "slow"]),
    row("object|help", 2, READ, NONE, &["keyspace", "slow"]),
    row("object|idletime", 3, READ, SECOND, &["keyspace", "read", "slow"]),
    row("object|refcount", 3, READ, SECOND, &["keyspace", "read", "slow"]),
    row("persist", 2, WRITE, ONE, &["keyspace", "write", "fast"]),
    row("pexpire", -3, WRITE, ONE, &["keyspace", "write", "fast"]),
    row("pexpireat", -3, WRITE, ONE, &["keyspace", "write", "fast"]),
    row("pexpiretime", 2, READ, ONE, &["keyspace", "read", "fast"]),
    row("psetex", 4, GROW, ONE, &["write", "string", "slow"]),
    row("pttl", 2, READ, ONE, &["keyspace", "read", "fast"]),
    row("randomkey", 1, READ, NONE, &["keyspace", "read", "slow"]),
    row("rename", 3, WRITE, TWO, &["keyspace", "write", "slow"]),
    row("renamenx", 3, WRITE, TWO, &["keyspace", "write", "fast"]),
    row("rpop", -2, WRITE, ONE, &["write", "list", "fast"]),
    row("rpoplpush", 3, GROW, TWO, &["write", "list", "slow"]),
    row("rpush", -3, GROW, ONE, &["write", "list", "fast"]),
    row("rpushx", -3, GROW, ONE, &["write", "list", "fast"]),
    row("sadd", -3, GROW, ONE, &["write", "set", "fast"]),
    row("scan", -2, READ, NONE, &["keyspace", "read", "slow"]),
    row("scard", 2, READ, ONE, &["read", "set", "fast"]),
    row("sdiff", -2, READ, ALL, &["read", "set", "slow"]),
    row("set", -3, GROW, ONE, &["write", "string", "slow"]),
    row("setex", 4, GROW, ONE, &["write", "string", "slow"]),
    row("setnx", 3, GROW, ONE, &["write", "string", "fast"]),
    row("setrange", 4, GROW, ONE, &["write", "string", "slow"]),
    row("sinter", -2, READ, ALL, &["read", "set", "slow"]),
    row("sismember", 3, READ, ONE, &["read", "set", "fast"]),
    row("smembers", 2, READ, ONE, &["read", "set", "slow"]),
    row("smismember", -3, READ, ONE, &["read", "set", "fast"]),
    row("smove", 4, WRITE, TWO, &["write", "set", "fast"]),
    row("spop", -2, WRITE, ONE, &["write", "set", "fast"]),
    row("srandmember", -2, READ, ONE, &["read", "set", "slow"]),
    row("srem", -3, WRITE, ONE, &["write", "set", "fast"]),
    row("sscan", -3, READ, ONE, &["read", "set", "slow"]),
    row("strlen", 2, READ, ONE, &["read", "string", "fast"]),
    row("sunion", -2, READ, ALL, &["read", "set", "slow"]),
    row("touch", -2, READ, ALL, &["keyspace", "read", "fast"]),
    row("ttl", 2, READ, ONE, &["keyspace", "read", "fast"]),
    row("type", 2, READ, ONE, &["keyspace", "read", "fast"]),
    row("unlink", -2, WRITE, ALL, &["keyspace", "write", "fast"]),
    row("xack", -4, WRITE, ONE, &["write", "stream", "fast"]),
    row("xadd", -5, GROW, ONE, &["write", "stream", "fast"]),
    row("xautoclaim", -6, WRITE, ONE, &["write", "stream", "fast"]),
    row("xclaim", -6, WRITE, ONE, &["write", "stream", "fast"]),
    row("xdel", -3, WRITE, ONE, &["write", "stream", "fast"]),
    row("xgroup", -2, READ, NONE, &["slow"]),
    row("xgroup|create", -5, GROW, SECOND, &["write", "stream", "slow"]),
    row("xgroup|createconsumer", 5, GROW, SECOND, &["write", "stream", "slow"]),
    row("xgroup|delconsumer", 5, WRITE, SECOND, &["write", "stream", "slow"]),
    row("xgroup|destroy", 4, WRITE, SECOND, &["write", "stream", "slow"]),
    row("xgroup|help", 2, READ, NONE, &["stream", "slow"]),
    row("xgroup|setid", -5, WRITE, SECOND, &["write", "stream", "slow"]),
    row("xinfo", -2, READ, NONE, &["slow"]),
    row("xinfo|consumers", 4, READ, SECOND, &["read", "stream", "slow"]),
    row("xinfo|groups", 3, READ, SECOND, &["read", "stream", "slow"]),
    row("xinfo|help", 2, READ, NONE, &["stream", "slow"]),
    row("xinfo|stream", -3, READ, SECOND, &["read", "stream", "slow"]),
    row("xlen", 2, READ, ONE, &["read", "stream", "fast"]),
    row("xpending", -3, READ, ONE, &["read", "stream", "slow"]),
    row("xrange", -4, READ, ONE, &["read", "stream", "slow"]),
    row("xread", -4, READ, STREAMS, &["read", "stream", "slow", "blocking"]),
    row("xreadgroup", -7, WRITE, STREAMS, &["write", "stream", "slow", "blocking"]),
    row("xrevrange", -4, READ, ONE, &["read", "stream", "slow"]),
    row("xsetid", -3, GROW, ONE, &["write", "stream", "fast"]),
    row("xtrim", -4, WRITE, ONE, &["write", "stream", "slow"]),
    row("zadd", -4, GROW, ONE, &["write", "sortedset", "fast"]),
    row("zcard", 2, READ, ONE, &["read", "sortedset", "fast"]),
    row("zcount", 4, READ, ONE, &["read", "sortedset", "fast"]),
    row("zincrby", 4, GROW, ONE, &["write", "sortedset", "fast"]),
    row("zmscore", -3, READ, ONE, &["read", "sortedset", "fast"]),
    row("zpopmax", -2, WRITE, ONE, &["write", "sortedset", "fast"]),
    row("zpopmin", -2, WRITE, ONE, &["write", "sortedset", "fast"]),
    row("zrange", -4, READ, ONE, &["read", "sortedset", "slow"]),
    row("zrangebyscore", -4, READ, ONE, &["read", "sortedset", "slow"]),
    row("zrank", 3, READ, ONE, &["read", "sortedset", "fast"]),
    row("zrem", -3, WRITE, ONE, &["write", "sortedset", "fast"]),
    row("zremrangebyrank", 4, WRITE, ONE, &["write", "sortedset", "slow"]),
    row("zremrangebyscore", 4, WRITE, ONE, &["write", "sortedset", "slow"]),
    row("zrevrange", -4, READ, ONE, &["read", "sortedset", "slow"]),
    row("zrevrangebyscore", -4, READ, ONE, &["read", "sortedset", "slow"]),
    row("zrevrank", 3, READ, ONE, &["read", "sortedset", "fast"]),
    row("zscan", -3, READ, ONE, &["read", "sortedset", "slow"]),
    row("zscore", 3, READ, ONE, &["read", "sortedset", "fast"]),
];
