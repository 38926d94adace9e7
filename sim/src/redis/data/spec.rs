//! What is known of a command before it is executed: for arity errors, ACL, OOM and READONLY.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{self, Call, wrong_arity};
use super::{Context, Db, Done, hashes, keys, lists, scan, sets, stream, strings, ttl, zsets};
use Run::{Answer, Container, MayBlock};

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
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    Answer(fn(&mut Call) -> call::Answer),
    MayBlock(fn(&mut Call) -> Result<Done, Reply>),
    Container,
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

/// The names of all commands and subcommands.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|spec| spec.name)
}

/// The command of this name, in any case; `None` if it is not one of the keyspace.
pub fn spec(name: &[u8]) -> Option<&'static Spec> {
    let mut lower = [0; 32];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    by_name(lower)
}

/// The command or subcommand of this name, however many arguments there are.
pub(crate) fn named(args: &[Bytes]) -> Option<&'static Spec> {
    let spec = spec(args.first()?)?;
    if spec.is_container() && args.len() > 1 { spec.subcommand(&args[1]).ok() } else { Some(spec) }
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
        Err(wrong_arity(spec.name))
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
        matches!(self.run, Container)
    }

    fn subcommand(&self, sub: &[u8]) -> Result<&'static Spec, Reply> {
        let full = [self.name.as_bytes(), b"|", &sub.to_ascii_lowercase()].concat();
        by_name(&full).ok_or_else(|| {
            let sub: String = String::from_utf8_lossy(sub).chars().take(128).collect();
            Reply::error(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", self.name.to_ascii_uppercase()))
        })
    }

    /// Executes it, with arguments that fit.
    pub(crate) fn run(&self, db: &mut Db, cx: &mut Context, args: &[Bytes]) -> Done {
        let call = &mut Call { db, cx, args, write: self.write };
        let done = match self.run {
            Answer(run) => run(call).map(Done::Reply),
            MayBlock(run) => run(call),
            // Its arity asks for a subcommand, and `find` puts that in its place.
            Container => Err(wrong_arity(self.name)),
        };
        done.unwrap_or_else(Done::Reply)
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
    run: Run,
) -> Spec {
    Spec { name, arity, write, deny_oom, keys, categories, run }
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
    row("append", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::append)),
    row("dbsize", 1, READ, NONE, &["keyspace", "read", "fast"], Answer(keys::dbsize)),
    row("decr", 2, GROW, ONE, &["write", "string", "fast"], Answer(strings::decr)),
    row("decrby", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::decrby)),
    row("del", -2, WRITE, ALL, &["keyspace", "write", "slow"], Answer(keys::del)),
    row("exists", -2, READ, ALL, &["keyspace", "read", "fast"], Answer(keys::exists)),
    row("expire", -3, WRITE, ONE, &["keyspace", "write", "fast"], Answer(ttl::expire)),
    row("expireat", -3, WRITE, ONE, &["keyspace", "write", "fast"], Answer(ttl::expireat)),
    row("expiretime", 2, READ, ONE, &["keyspace", "read", "fast"], Answer(ttl::expiretime)),
    row("flushall", -1, WRITE, NONE, &["keyspace", "write", "slow", "dangerous"], Answer(keys::flush)),
    row("flushdb", -1, WRITE, NONE, &["keyspace", "write", "slow", "dangerous"], Answer(keys::flush)),
    row("get", 2, READ, ONE, &["read", "string", "fast"], Answer(strings::get)),
    row("getdel", 2, WRITE, ONE, &["write", "string", "fast"], Answer(strings::getdel)),
    row("getex", -2, WRITE, ONE, &["write", "string", "fast"], Answer(strings::getex)),
    row("getrange", 4, READ, ONE, &["read", "string", "slow"], Answer(strings::getrange)),
    row("getset", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::getset)),
    row("hdel", -3, WRITE, ONE, &["write", "hash", "fast"], Answer(hashes::hdel)),
    row("hexists", 3, READ, ONE, &["read", "hash", "fast"], Answer(hashes::hexists)),
    row("hget", 3, READ, ONE, &["read", "hash", "fast"], Answer(hashes::hget)),
    row("hgetall", 2, READ, ONE, &["read", "hash", "slow"], Answer(hashes::hgetall)),
    row("hincrby", 4, GROW, ONE, &["write", "hash", "fast"], Answer(hashes::hincrby)),
    row("hincrbyfloat", 4, GROW, ONE, &["write", "hash", "fast"], Answer(hashes::hincrbyfloat)),
    row("hkeys", 2, READ, ONE, &["read", "hash", "slow"], Answer(hashes::hkeys)),
    row("hlen", 2, READ, ONE, &["read", "hash", "fast"], Answer(hashes::hlen)),
    row("hmget", -3, READ, ONE, &["read", "hash", "fast"], Answer(hashes::hmget)),
    row("hmset", -4, GROW, ONE, &["write", "hash", "fast"], Answer(hashes::hmset)),
    row("hrandfield", -2, READ, ONE, &["read", "hash", "slow"], Answer(hashes::hrandfield)),
    row("hscan", -3, READ, ONE, &["read", "hash", "slow"], Answer(scan::hscan)),
    row("hset", -4, GROW, ONE, &["write", "hash", "fast"], Answer(hashes::hset)),
    row("hsetnx", 4, GROW, ONE, &["write", "hash", "fast"], Answer(hashes::hsetnx)),
    row("hstrlen", 3, READ, ONE, &["read", "hash", "fast"], Answer(hashes::hstrlen)),
    row("hvals", 2, READ, ONE, &["read", "hash", "slow"], Answer(hashes::hvals)),
    row("incr", 2, GROW, ONE, &["write", "string", "fast"], Answer(strings::incr)),
    row("incrby", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::incrby)),
    row("incrbyfloat", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::incrbyfloat)),
    row("keys", 2, READ, NONE, &["keyspace", "read", "slow", "dangerous"], Answer(keys::keys)),
    row("lindex", 3, READ, ONE, &["read", "list", "slow"], Answer(lists::lindex)),
    row("linsert", 5, GROW, ONE, &["write", "list", "slow"], Answer(lists::linsert)),
    row("llen", 2, READ, ONE, &["read", "list", "fast"], Answer(lists::llen)),
    row("lmove", 5, GROW, TWO, &["write", "list", "slow"], Answer(lists::lmove)),
    row("lpop", -2, WRITE, ONE, &["write", "list", "fast"], Answer(lists::lpop)),
    row("lpush", -3, GROW, ONE, &["write", "list", "fast"], Answer(lists::lpush)),
    row("lpushx", -3, GROW, ONE, &["write", "list", "fast"], Answer(lists::lpushx)),
    row("lrange", 4, READ, ONE, &["read", "list", "slow"], Answer(lists::lrange)),
    row("lrem", 4, WRITE, ONE, &["write", "list", "slow"], Answer(lists::lrem)),
    row("lset", 4, GROW, ONE, &["write", "list", "slow"], Answer(lists::lset)),
    row("ltrim", 4, WRITE, ONE, &["write", "list", "slow"], Answer(lists::ltrim)),
    row("mget", -2, READ, ALL, &["read", "string", "fast"], Answer(strings::mget)),
    row("mset", -3, GROW, PAIRS, &["write", "string", "slow"], Answer(strings::mset)),
    row("msetnx", -3, GROW, PAIRS, &["write", "string", "slow"], Answer(strings::msetnx)),
    row("object", -2, READ, NONE, &["slow"], Container),
    row("object|encoding", 3, READ, SECOND, &["keyspace", "read", "slow"], Answer(keys::encoding)),
    row("object|freq", 3, READ, SECOND, &["keyspace", "read", "slow"], Answer(keys::freq)),
    row("object|idletime", 3, READ, SECOND, &["keyspace", "read", "slow"], Answer(keys::idletime)),
    row("object|refcount", 3, READ, SECOND, &["keyspace", "read", "slow"], Answer(keys::refcount)),
    row("persist", 2, WRITE, ONE, &["keyspace", "write", "fast"], Answer(ttl::persist)),
    row("pexpire", -3, WRITE, ONE, &["keyspace", "write", "fast"], Answer(ttl::pexpire)),
    row("pexpireat", -3, WRITE, ONE, &["keyspace", "write", "fast"], Answer(ttl::pexpireat)),
    row("pexpiretime", 2, READ, ONE, &["keyspace", "read", "fast"], Answer(ttl::pexpiretime)),
    row("psetex", 4, GROW, ONE, &["write", "string", "slow"], Answer(strings::psetex)),
    row("pttl", 2, READ, ONE, &["keyspace", "read", "fast"], Answer(ttl::pttl)),
    row("randomkey", 1, READ, NONE, &["keyspace", "read", "slow"], Answer(keys::randomkey)),
    row("rename", 3, WRITE, TWO, &["keyspace", "write", "slow"], Answer(keys::rename)),
    row("renamenx", 3, WRITE, TWO, &["keyspace", "write", "fast"], Answer(keys::renamenx)),
    row("rpop", -2, WRITE, ONE, &["write", "list", "fast"], Answer(lists::rpop)),
    row("rpoplpush", 3, GROW, TWO, &["write", "list", "slow"], Answer(lists::rpoplpush)),
    row("rpush", -3, GROW, ONE, &["write", "list", "fast"], Answer(lists::rpush)),
    row("rpushx", -3, GROW, ONE, &["write", "list", "fast"], Answer(lists::rpushx)),
    row("sadd", -3, GROW, ONE, &["write", "set", "fast"], Answer(sets::sadd)),
    row("scan", -2, READ, NONE, &["keyspace", "read", "slow"], Answer(scan::scan)),
    row("scard", 2, READ, ONE, &["read", "set", "fast"], Answer(sets::scard)),
    row("sdiff", -2, READ, ALL, &["read", "set", "slow"], Answer(sets::sdiff)),
    row("set", -3, GROW, ONE, &["write", "string", "slow"], Answer(strings::set)),
    row("setex", 4, GROW, ONE, &["write", "string", "slow"], Answer(strings::setex)),
    row("setnx", 3, GROW, ONE, &["write", "string", "fast"], Answer(strings::setnx)),
    row("setrange", 4, GROW, ONE, &["write", "string", "slow"], Answer(strings::setrange)),
    row("sinter", -2, READ, ALL, &["read", "set", "slow"], Answer(sets::sinter)),
    row("sismember", 3, READ, ONE, &["read", "set", "fast"], Answer(sets::sismember)),
    row("smembers", 2, READ, ONE, &["read", "set", "slow"], Answer(sets::smembers)),
    row("smismember", -3, READ, ONE, &["read", "set", "fast"], Answer(sets::smismember)),
    row("smove", 4, WRITE, TWO, &["write", "set", "fast"], Answer(sets::smove)),
    row("spop", -2, WRITE, ONE, &["write", "set", "fast"], Answer(sets::spop)),
    row("srandmember", -2, READ, ONE, &["read", "set", "slow"], Answer(sets::srandmember)),
    row("srem", -3, WRITE, ONE, &["write", "set", "fast"], Answer(sets::srem)),
    row("sscan", -3, READ, ONE, &["read", "set", "slow"], Answer(scan::sscan)),
    row("strlen", 2, READ, ONE, &["read", "string", "fast"], Answer(strings::strlen)),
    row("sunion", -2, READ, ALL, &["read", "set", "slow"], Answer(sets::sunion)),
    row("touch", -2, READ, ALL, &["keyspace", "read", "fast"], Answer(keys::exists)),
    row("ttl", 2, READ, ONE, &["keyspace", "read", "fast"], Answer(ttl::ttl)),
    row("type", 2, READ, ONE, &["keyspace", "read", "fast"], Answer(keys::kind)),
    row("unlink", -2, WRITE, ALL, &["keyspace", "write", "fast"], Answer(keys::del)),
    row("xack", -4, WRITE, ONE, &["write", "stream", "fast"], Answer(stream::xack)),
    row("xadd", -5, GROW, ONE, &["write", "stream", "fast"], Answer(stream::xadd)),
    row("xautoclaim", -6, WRITE, ONE, &["write", "stream", "fast"], Answer(stream::xautoclaim)),
    row("xclaim", -6, WRITE, ONE, &["write", "stream", "fast"], Answer(stream::xclaim)),
    row("xdel", -3, WRITE, ONE, &["write", "stream", "fast"], Answer(stream::xdel)),
    row("xgroup", -2, READ, NONE, &["slow"], Container),
    row("xgroup|create", -5, GROW, SECOND, &["write", "stream", "slow"], Answer(stream::create)),
    row("xgroup|createconsumer", 5, GROW, SECOND, &["write", "stream", "slow"], Answer(stream::createconsumer)),
    row("xgroup|delconsumer", 5, WRITE, SECOND, &["write", "stream", "slow"], Answer(stream::delconsumer)),
    row("xgroup|destroy", 4, WRITE, SECOND, &["write", "stream", "slow"], Answer(stream::destroy)),
    row("xgroup|setid", -5, WRITE, SECOND, &["write", "stream", "slow"], Answer(stream::setid)),
    row("xinfo", -2, READ, NONE, &["slow"], Container),
    row("xinfo|consumers", 4, READ, SECOND, &["read", "stream", "slow"], Answer(stream::consumers)),
    row("xinfo|groups", 3, READ, SECOND, &["read", "stream", "slow"], Answer(stream::groups)),
    row("xinfo|stream", -3, READ, SECOND, &["read", "stream", "slow"], Answer(stream::stream)),
    row("xlen", 2, READ, ONE, &["read", "stream", "fast"], Answer(stream::xlen)),
    row("xpending", -3, READ, ONE, &["read", "stream", "slow"], Answer(stream::xpending)),
    row("xrange", -4, READ, ONE, &["read", "stream", "slow"], Answer(stream::xrange)),
    row("xread", -4, READ, STREAMS, &["read", "stream", "slow", "blocking"], MayBlock(stream::xread)),
    row("xreadgroup", -7, WRITE, STREAMS, &["write", "stream", "slow", "blocking"], MayBlock(stream::xreadgroup)),
    row("xrevrange", -4, READ, ONE, &["read", "stream", "slow"], Answer(stream::xrevrange)),
    row("xsetid", -3, GROW, ONE, &["write", "stream", "fast"], Answer(stream::xsetid)),
    row("xtrim", -4, WRITE, ONE, &["write", "stream", "slow"], Answer(stream::xtrim)),
    row("zadd", -4, GROW, ONE, &["write", "sortedset", "fast"], Answer(zsets::zadd)),
    row("zcard", 2, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zcard)),
    row("zcount", 4, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zcount)),
    row("zincrby", 4, GROW, ONE, &["write", "sortedset", "fast"], Answer(zsets::zincrby)),
    row("zmscore", -3, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zmscore)),
    row("zpopmax", -2, WRITE, ONE, &["write", "sortedset", "fast"], Answer(zsets::zpopmax)),
    row("zpopmin", -2, WRITE, ONE, &["write", "sortedset", "fast"], Answer(zsets::zpopmin)),
    row("zrange", -4, READ, ONE, &["read", "sortedset", "slow"], Answer(zsets::zrange)),
    row("zrangebyscore", -4, READ, ONE, &["read", "sortedset", "slow"], Answer(zsets::zrangebyscore)),
    row("zrank", 3, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zrank)),
    row("zrem", -3, WRITE, ONE, &["write", "sortedset", "fast"], Answer(zsets::zrem)),
    row("zremrangebyrank", 4, WRITE, ONE, &["write", "sortedset", "slow"], Answer(zsets::zremrangebyrank)),
    row("zremrangebyscore", 4, WRITE, ONE, &["write", "sortedset", "slow"], Answer(zsets::zremrangebyscore)),
    row("zrevrange", -4, READ, ONE, &["read", "sortedset", "slow"], Answer(zsets::zrevrange)),
    row("zrevrangebyscore", -4, READ, ONE, &["read", "sortedset", "slow"], Answer(zsets::zrevrangebyscore)),
    row("zrevrank", 3, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zrevrank)),
    row("zscan", -3, READ, ONE, &["read", "sortedset", "slow"], Answer(scan::zscan)),
    row("zscore", 3, READ, ONE, &["read", "sortedset", "fast"], Answer(zsets::zscore)),
];

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn the_table_can_be_searched_by_halves() {
        assert!(TABLE.is_sorted_by_key(|spec| spec.name));
    }
}
