//! What is known of a command before it is executed, the server's own and those of the keyspace alike.

use bytes::Bytes;

use super::{
    Redis, acl, blocked, client, cluster, config, connection::ConnId, data, debug, info, node, pubsub, reply::Reply,
    script, sentinel, session, transaction,
};

/// Not for scripts.
pub(crate) const NO_SCRIPT: u16 = 1;
/// Executed while the data are being loaded.
pub(crate) const LOADING: u16 = 1 << 1;
/// Executed on a replica that has lost its primary.
pub(crate) const STALE: u16 = 1 << 2;
/// Executed while a script does not end.
pub(crate) const BUSY: u16 = 1 << 3;
/// Executed before a password was given.
pub(crate) const NO_AUTH: u16 = 1 << 4;
/// Changes the keyspace.
pub(crate) const WRITE: u16 = 1 << 5;
/// May need more memory.
pub(crate) const DENY_OOM: u16 = 1 << 6;
/// Not in a transaction.
pub(crate) const NO_MULTI: u16 = 1 << 7;
/// Executed at once, even in a transaction.
pub(crate) const UNQUEUED: u16 = 1 << 8;

/// A command that was called: by whom, on which database, with what.
pub(crate) struct Call<'a> {
    pub(crate) conn: ConnId,
    pub(crate) db: usize,
    pub(crate) args: &'a [Bytes],
    /// By a script or in a transaction: it cannot wait for anything.
    pub(crate) nested: bool,
}

impl Call<'_> {
    /// An argument as text, for comparisons and error messages.
    pub(crate) fn text(&self, at: usize) -> String {
        self.args.get(at).map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
    }

    /// Whether an argument is this word, in any case.
    pub(crate) fn is(&self, at: usize, word: &str) -> bool {
        self.args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Executes a command; `None`: the answer has been written, or comes later.
pub(crate) type Run = fn(&mut Redis, &Call<'_>) -> Option<Reply>;

/// What executes a command.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Server(Run),
    Data(&'static data::Spec),
}

/// A command, or a subcommand (`config|get`).
#[derive(Clone, Copy)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    arity: i32,
    pub(crate) flags: u16,
    pub(crate) categories: &'static [&'static str],
    pub(crate) by: By,
}

/// Why there is no such command.
pub(crate) enum Unknown {
    Command,
    Subcommand,
    Arity(&'static str),
}

impl Unknown {
    /// The error as it is answered to a client. Scripts hear other words.
    pub(crate) fn reply(&self, args: &[Bytes]) -> Reply {
        let shown = |arg: &Bytes| String::from_utf8_lossy(&arg[..arg.len().min(128)]).into_owned();
        Reply::Error(match self {
            Unknown::Command => {
                let mut rest = String::new();
                for arg in &args[1..] {
                    if rest.len() >= 128 {
                        break;
                    }
                    rest.push_str(&format!("'{:.1$}' ", shown(arg), 128 - rest.len()));
                }
                format!("ERR unknown command '{}', with args beginning with: {rest}", shown(&args[0]))
            }
            Unknown::Subcommand => {
                let name = shown(&args[0]).to_ascii_uppercase();
                format!("ERR unknown subcommand '{}'. Try {name} HELP.", shown(&args[1]))
            }
            Unknown::Arity(name) => format!("ERR wrong number of arguments for '{name}' command"),
        })
    }
}

impl Command {
    /// The command or subcommand that these arguments mean.
    pub(crate) fn find(args: &[Bytes]) -> Result<Command, Unknown> {
        if args[0].contains(&b'|') {
            return Err(Unknown::Command);
        }
        if let Some(command) = of_data(args) {
            return command;
        }
        let command = match own(&args[0]).ok_or(Unknown::Command)? {
            group if args.len() > 1 && group.by.is_group() => {
                let name = [group.name.as_bytes(), b"|", &args[1]].concat();
                own(&name).ok_or(Unknown::Subcommand)?
            }
            command => command,
        };
        let wanted = command.arity.unsigned_abs() as usize;
        let fits = if command.arity < 0 { args.len() >= wanted } else { args.len() == wanted };
        if fits { Ok(*command) } else { Err(Unknown::Arity(command.name)) }
    }

    /// The command or subcommand of this name, however many arguments there are.
    pub(crate) fn named(args: &[Bytes]) -> Option<Command> {
        if let Some(spec) = data::named(args) {
            return Some(Command::of(spec));
        }
        match own(args.first()?)? {
            group if args.len() > 1 && group.by.is_group() => own(&[group.name.as_bytes(), b"|", &args[1]].concat()),
            command => Some(command),
        }
        .copied()
    }

    fn of(spec: &'static data::Spec) -> Command {
        Command {
            name: spec.name,
            arity: spec.arity,
            flags: if spec.write { WRITE } else { 0 } | if spec.deny_oom { DENY_OOM } else { 0 },
            categories: spec.categories,
            by: By::Data(spec),
        }
    }

    /// Whether a name or a category is known: what an ACL rule may speak of.
    pub(crate) fn is_known(name: &str) -> bool {
        own(name.as_bytes()).is_some() || data::spec(name.as_bytes()).is_some() || {
            let (group, _) = name.split_once('|').unwrap_or((name, ""));
            name.contains('|') && data::spec(group.as_bytes()).is_some()
        }
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The keys among its arguments.
    pub(crate) fn keys<'a>(&self, args: &'a [Bytes]) -> Vec<&'a Bytes> {
        match self.by {
            By::Data(spec) => spec.keys(args),
            By::Server(_) => match self.name {
                "eval" | "evalsha" | "eval_ro" | "evalsha_ro" => {
                    let count = std::str::from_utf8(&args[2]).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
                    args[3..].iter().take(count).collect()
                }
                "watch" => args[1..].iter().collect(),
                "memory|usage" => args[2..3].iter().collect(),
                _ => Vec::new(),
            },
        }
    }
}

impl By {
    fn is_group(self) -> bool {
        matches!(self, By::Server(run) if std::ptr::fn_addr_eq(run, group as Run))
    }
}

/// A command of the keyspace; `None` if it is none.
fn of_data(args: &[Bytes]) -> Option<Result<Command, Unknown>> {
    Some(data::find(args)?.map(Command::of).map_err(|error| match error {
        Reply::Error(text) if text.starts_with("ERR wrong number of arguments") => {
            // The name of a subcommand is only in the text.
            let name = text.split('\'').nth(1).and_then(|name| data::spec(name.as_bytes()));
            Unknown::Arity(name.map_or("", |spec| spec.name))
        }
        _ => Unknown::Subcommand,
    }))
}

fn own(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; 36];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok().map(|at| &TABLE[at])
}

/// All there are, subcommands (`config|get`) too.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|command| command.name).chain(data::names())
}

/// A command that is nothing without a subcommand.
fn group(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::error(format!("ERR wrong number of arguments for '{}' command", call.text(0).to_lowercase())))
}

const fn row(name: &'static str, arity: i32, flags: u16, categories: &'static [&'static str], run: Run) -> Command {
    Command { name, arity, flags, categories, by: By::Server(run) }
}

/// What most commands of a connection are.
const ANY: u16 = NO_SCRIPT | LOADING | STALE;
const LOGIN: u16 = ANY | NO_AUTH | BUSY;
const FAST: &[&str] = &["fast", "connection"];
const SLOW: &[&str] = &["slow", "connection"];
const ADMIN: &[&str] = &["admin", "slow", "dangerous"];
const ADMIN_CONNECTION: &[&str] = &["admin", "slow", "dangerous", "connection"];
const PUBSUB: &[&str] = &["pubsub", "slow"];
const SCRIPTING: &[&str] = &["slow", "scripting"];
const TRANSACTION: &[&str] = &["fast", "transaction"];

/// By name: it is searched by halves. Taken from COMMAND INFO of 7.0.15.
static TABLE: &[Command] = &[
    row("acl", -2, 0, &["slow"], group),
    row("acl|cat", -2, ANY, &["slow"], acl::cat),
    row("acl|deluser", -3, ANY, ADMIN, acl::deluser),
    row("acl|getuser", 3, ANY, ADMIN, acl::getuser),
    row("acl|list", 2, ANY, ADMIN, acl::list),
    row("acl|setuser", -3, ANY, ADMIN, acl::setuser),
    row("acl|users", 2, ANY, ADMIN, acl::users),
    row("acl|whoami", 2, ANY, &["slow"], acl::whoami),
    row("auth", -2, LOGIN, FAST, session::auth),
    row("bgsave", -1, NO_SCRIPT, ADMIN, info::bgsave),
    row("client", -2, 0, &["slow"], group),
    row("client|getname", 2, ANY, SLOW, client::getname),
    row("client|id", 2, ANY, SLOW, client::id),
    row("client|info", 2, ANY, SLOW, client::info),
    row("client|kill", -3, ANY, ADMIN_CONNECTION, client::kill),
    row("client|list", -2, ANY, ADMIN_CONNECTION, client::list),
    row("client|no-evict", 3, ANY, ADMIN_CONNECTION, client::no_evict),
    row("client|setname", 3, ANY, SLOW, client::setname),
    row("client|unblock", -3, ANY, ADMIN_CONNECTION, client::unblock),
    row("cluster", -2, 0, &["slow"], group),
    row("cluster|countkeysinslot", 3, STALE, &["slow"], cluster::countkeysinslot),
    row("cluster|info", 2, LOADING | STALE, &["slow"], cluster::info),
    row("cluster|keyslot", 3, LOADING | STALE, &["slow"], cluster::keyslot),
    row("cluster|myid", 2, LOADING | STALE, &["slow"], cluster::myid),
    row("cluster|slots", 2, LOADING | STALE, &["slow"], cluster::slots),
    row("command", -1, LOADING | STALE, SLOW, session::command),
    row("command|count", 2, LOADING | STALE, SLOW, session::command),
    row("command|docs", -2, LOADING | STALE, SLOW, session::command),
    row("command|info", -2, LOADING | STALE, SLOW, session::command),
    row("config", -2, 0, &["slow"], group),
    row("config|get", -3, ANY, ADMIN, config::get),
    row("config|resetstat", 2, ANY, ADMIN, config::nothing),
    row("config|rewrite", 2, ANY, ADMIN, config::rewrite),
    row("config|set", -4, ANY, ADMIN, config::set),
    row("debug", -2, ANY, ADMIN, debug::debug),
    row("discard", 1, ANY | BUSY | UNQUEUED, TRANSACTION, transaction::discard),
    row("echo", 2, LOADING | STALE, FAST, session::echo),
    // COMMAND INFO says that scripts run on a stale replica; only those do that say so themselves.
    row("eval", -3, NO_SCRIPT, SCRIPTING, script::eval),
    row("eval_ro", -3, NO_SCRIPT, SCRIPTING, script::eval_ro),
    row("evalsha", -3, NO_SCRIPT, SCRIPTING, script::evalsha),
    row("evalsha_ro", -3, NO_SCRIPT, SCRIPTING, script::evalsha_ro),
    row("exec", 1, ANY | UNQUEUED, &["slow", "transaction"], transaction::exec),
    row("hello", -1, LOGIN, FAST, session::hello),
    row("info", -1, LOADING | STALE, &["slow", "dangerous"], info::info),
    row("lastsave", 1, LOADING | STALE, &["admin", "fast", "dangerous"], info::lastsave),
    row("memory", -2, 0, &["slow"], group),
    row("memory|usage", -3, 0, &["read", "slow"], info::memory_usage),
    row("multi", 1, ANY | BUSY | UNQUEUED, TRANSACTION, transaction::multi),
    row("ping", -1, 0, FAST, session::ping),
    row("psubscribe", -2, ANY, PUBSUB, pubsub::psubscribe),
    row("publish", 3, LOADING | STALE, &["pubsub", "fast"], pubsub::publish),
    row("pubsub", -2, 0, &["slow"], group),
    row("pubsub|channels", -2, LOADING | STALE, PUBSUB, pubsub::channels),
    row("pubsub|numpat", 2, LOADING | STALE, PUBSUB, pubsub::numpat),
    row("pubsub|numsub", -2, LOADING | STALE, PUBSUB, pubsub::numsub),
    row("punsubscribe", -1, ANY, PUBSUB, pubsub::punsubscribe),
    row("quit", -1, LOGIN | UNQUEUED, FAST, session::quit),
    row("readonly", 1, LOADING | STALE, FAST, session::no_cluster),
    row("replicaof", 3, ANY, ADMIN, node::replicaof),
    row("reset", 1, LOGIN | UNQUEUED, FAST, session::reset),
    row("role", 1, ANY, &["admin", "fast", "dangerous"], info::role),
    row("save", 1, NO_SCRIPT | NO_MULTI, ADMIN, info::save),
    row("script", -2, 0, &["slow"], group),
    row("script|exists", -3, NO_SCRIPT, SCRIPTING, script::exists),
    row("script|flush", -2, NO_SCRIPT, SCRIPTING, script::flush),
    row("script|kill", 2, NO_SCRIPT | BUSY, SCRIPTING, script::kill),
    row("script|load", 3, NO_SCRIPT | STALE, SCRIPTING, script::load),
    row("select", 2, LOADING | STALE, FAST, session::select),
    row("sentinel", -2, 0, ADMIN, group),
    row("sentinel|get-master-addr-by-name", 3, ANY, ADMIN, sentinel::get_master_addr_by_name),
    row("sentinel|master", 3, ANY, ADMIN, sentinel::master),
    row("sentinel|sentinels", 3, ANY, ADMIN, sentinel::sentinels),
    row("shutdown", -1, ANY | BUSY | NO_MULTI, ADMIN, session::shutdown),
    row("slaveof", 3, ANY, ADMIN, node::replicaof),
    row("slowlog", -2, 0, &["slow"], group),
    row("slowlog|get", -2, LOADING | STALE, ADMIN, info::slowlog),
    row("slowlog|len", 2, LOADING | STALE, ADMIN, info::slowlog),
    row("slowlog|reset", 2, LOADING | STALE, ADMIN, config::nothing),
    row("subscribe", -2, ANY, PUBSUB, pubsub::subscribe),
    row("time", 1, LOADING | STALE, &["fast"], info::time),
    row("unsubscribe", -1, ANY, PUBSUB, pubsub::unsubscribe),
    row("unwatch", 1, ANY | BUSY, TRANSACTION, transaction::unwatch),
    row("wait", 3, NO_SCRIPT, SLOW, blocked::wait),
    row("watch", -2, ANY | BUSY | UNQUEUED, TRANSACTION, transaction::watch),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
    }
}
