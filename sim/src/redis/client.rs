//! CLIENT: who is connected.

use std::fmt::Write as _;

use super::{
    Redis,
    blocked::Waiting,
    commands::Call,
    connection::{ConnId, OPERATOR},
    data::number::integer,
    reply::Reply,
    session::{NOT_AN_INTEGER, SYNTAX},
};

pub(crate) use super::session::set_name as setname;

pub(crate) fn getname(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let name = &redis.connection(call.conn).name;
    Some(if name.is_empty() { Reply::Nil } else { Reply::Bulk(name.clone()) })
}

pub(crate) fn id(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::Int(i64::try_from(call.conn.0).unwrap_or(i64::MAX)))
}

pub(crate) fn info(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::Verbatim((redis.describe(call.conn) + "\n").into()))
}

pub(crate) fn list(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let wanted: Option<Vec<ConnId>> = match call.args.len() {
        2 => None,
        4 if call.is(2, "TYPE") => {
            let kind = call.text(3).to_lowercase();
            if !["normal", "master", "replica", "slave", "pubsub"].contains(&&*kind) {
                return Some(Reply::error(format!("ERR Unknown client type '{}'", call.text(3))));
            }
            Some(redis.conns().filter(|conn| redis.kind(*conn) == kind).collect())
        }
        n if n > 3 && call.is(2, "ID") => {
            let ids = call.args[3..].iter().map(|id| integer(id).and_then(|id| u64::try_from(id).ok()).map(ConnId));
            match ids.collect::<Option<_>>() {
                Some(ids) => Some(ids),
                None => return Some(Reply::error("ERR Invalid client ID")),
            }
        }
        _ => return Some(Reply::error(SYNTAX)),
    };
    let mut text = String::new();
    for conn in redis.conns().filter(|conn| wanted.as_ref().is_none_or(|wanted| wanted.contains(conn))) {
        let _ = writeln!(text, "{}", redis.describe(conn));
    }
    Some(Reply::Verbatim(text.into()))
}

pub(crate) fn no_evict(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(if call.is(2, "ON") || call.is(2, "OFF") { Reply::ok() } else { Reply::error(SYNTAX) })
}

/// CLIENT KILL by address, or by filters.
pub(crate) fn kill(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if call.args.len() == 3 {
        let found = redis.conns().find(|conn| address(*conn) == call.text(2));
        let Some(conn) = found else { return Some(Reply::error("ERR No such client")) };
        redis.kill(conn);
        return Some(Reply::ok());
    }
    let (mut victims, mut skip_me): (Vec<ConnId>, bool) = (redis.conns().collect(), true);
    if !call.args.len().is_multiple_of(2) {
        return Some(Reply::error(SYNTAX));
    }
    for at in (2..call.args.len()).step_by(2) {
        let value = call.text(at + 1);
        if call.is(at, "ID") {
            let id = integer(&call.args[at + 1]).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            let Some(id) = id else { return Some(Reply::error("ERR client-id should be greater than 0")) };
            victims.retain(|conn| conn.0 == id);
        } else if call.is(at, "TYPE") {
            let kind = value.to_lowercase();
            if !["normal", "master", "replica", "slave", "pubsub"].contains(&&*kind) {
                return Some(Reply::error(format!("ERR Unknown client type '{value}'")));
            }
            victims.retain(|conn| redis.kind(*conn) == kind);
        } else if call.is(at, "USER") {
            if !redis.users.is_known(&value) {
                return Some(Reply::error(format!("ERR No such user '{value}'")));
            }
            victims.retain(|conn| redis.connections[conn].user == value);
        } else if call.is(at, "ADDR") {
            victims.retain(|conn| address(*conn) == value);
        } else if call.is(at, "LADDR") {
            victims.retain(|_| value == LOCAL_ADDRESS);
        } else if call.is(at, "SKIPME") && (call.is(at + 1, "YES") || call.is(at + 1, "NO")) {
            skip_me = call.is(at + 1, "YES");
        } else {
            return Some(Reply::error(SYNTAX));
        }
    }
    victims.retain(|conn| !(skip_me && *conn == call.conn));
    for conn in &victims {
        redis.kill(*conn);
    }
    Some(Reply::Int(i64::try_from(victims.len()).unwrap_or(i64::MAX)))
}

pub(crate) fn unblock(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let error = match call.args.len() {
        3 => false,
        4 if call.is(3, "ERROR") => true,
        4 if call.is(3, "TIMEOUT") => false,
        _ => return Some(Reply::error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let Some(id) = integer(&call.args[2]) else { return Some(Reply::error(NOT_AN_INTEGER)) };
    let conn = ConnId(u64::try_from(id).unwrap_or_default());
    let waiting = redis.connections.get(&conn).and_then(|connection| connection.waiting.clone());
    let Some(waiting) = waiting else { return Some(Reply::Int(0)) };
    let unblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    let reply = if error { Reply::error(unblocked) } else { waiting.ends(redis) };
    redis.unblock(conn, &reply);
    Some(Reply::Int(1))
}

const LOCAL_ADDRESS: &str = "127.0.0.1:6379";

/// Where a connection comes from: made up.
fn address(conn: ConnId) -> String {
    format!("127.0.0.1:{}", 10_000 + conn.0 % 50_000)
}

impl Redis {
    pub(crate) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.connections.keys().copied().filter(|conn| *conn != OPERATOR)
    }

    fn kind(&self, conn: ConnId) -> &'static str {
        if self.connections[&conn].is_subscribed() { "pubsub" } else { "normal" }
    }

    /// A line of CLIENT LIST.
    fn describe(&self, conn: ConnId) -> String {
        let c = &self.connections[&conn];
        let mut flags = String::new();
        for (flag, on) in [
            ('P', c.is_subscribed()),
            ('x', c.queued.is_some()),
            ('b', c.waiting.is_some()),
            ('d', c.watched.iter().any(|watched| watched.changed)),
        ] {
            if on {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let multi = c.queued.as_ref().map_or(-1, |queued| i64::try_from(queued.commands.len()).unwrap_or(i64::MAX));
        format!(
            "id={} addr={} laddr={LOCAL_ADDRESS} fd=8 name={} age={} idle={} flags={flags} db={} sub={} psub={} \
             ssub=0 multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=16384 rbp=16384 obl={} oll=0 omem=0 \
             tot-mem=20000 events=r cmd={} user={} redir=-1 resp={}",
            conn.0,
            address(conn),
            String::from_utf8_lossy(&c.name),
            self.now.since(c.since).as_secs(),
            self.now.since(c.active).as_secs(),
            c.db,
            c.channels.len(),
            c.patterns.len(),
            c.out.len(),
            c.last,
            c.user,
            if c.resp3 { 3 } else { 2 },
        )
    }
}

impl Waiting {
    /// What is answered when the time is over.
    pub(crate) fn ends(&self, redis: &mut Redis) -> Reply {
        match self {
            Waiting::ForStreams { .. } => Reply::NilArray,
            Waiting::ForReplicas { acknowledged, .. } => {
                let has = if redis.now >= *acknowledged { redis.replicas() } else { 0 };
                redis.remark(if has > 0 { "a replica was waited for" } else { "a replica was waited for in vain" });
                Reply::Int(i64::try_from(has).unwrap_or(i64::MAX))
            }
        }
    }
}
