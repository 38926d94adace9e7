//! The commands with which a connection introduces itself.

use bytes::Bytes;

use super::{
    Redis,
    commands::{self, Call},
    connection::{Connection, OPERATOR},
    data::number::integer,
    reply::Reply,
};

pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(crate) const SYNTAX: &str = "ERR syntax error";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

pub(crate) fn auth(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let (user, password) = match call.args {
        [_, password] if redis.users.is_open() => {
            let _ = password;
            return Some(Reply::error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        [_, password] => ("default".to_owned(), password),
        [_, _, password] => (call.text(1), password),
        _ => return Some(Reply::error(SYNTAX)),
    };
    Some(if log_in(redis, call, user, password) { Reply::ok() } else { Reply::error(WRONG_PASS) })
}

fn log_in(redis: &mut Redis, call: &Call<'_>, user: String, password: &[u8]) -> bool {
    let granted = redis.users.accepts(&user, password);
    if granted {
        let connection = redis.connection(call.conn);
        (connection.user, connection.authenticated) = (user, true);
    }
    granted
}

pub(crate) fn hello(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(said_hello(redis, call).unwrap_or_else(Reply::Error))
}

fn said_hello(redis: &mut Redis, call: &Call<'_>) -> Result<Reply, String> {
    let mut resp3 = None;
    if let Some(version) = call.args.get(1) {
        resp3 = match integer(version) {
            None => return Err("ERR Protocol version is not an integer or out of range".to_owned()),
            Some(2) => Some(false),
            Some(3) => Some(true),
            Some(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
        };
    }
    let (mut at, mut login, mut name) = (2, None, None);
    while at < call.args.len() {
        let more = call.args.len() - at - 1;
        if call.is(at, "AUTH") && more >= 2 {
            login = Some((call.text(at + 1), &call.args[at + 2]));
            at += 3;
        } else if call.is(at, "SETNAME") && more >= 1 {
            name = Some(&call.args[at + 1]);
            if !is_name(&call.args[at + 1]) {
                return Err(BAD_NAME.to_owned());
            }
            at += 2;
        } else {
            return Err(format!("ERR Syntax error in HELLO option '{}'", call.text(at)));
        }
    }
    if let Some((user, password)) = login
        && !log_in(redis, call, user, password)
    {
        return Err(WRONG_PASS.to_owned());
    }
    if !redis.is_authenticated(call.conn) {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                    <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .to_owned());
    }
    let role = if redis.is_replica() { "replica" } else { "master" };
    let mode = redis.mode();
    let connection = redis.connection(call.conn);
    if let Some(name) = name {
        connection.name = name.clone();
    }
    connection.resp3 = resp3.unwrap_or(connection.resp3);
    let proto = if connection.resp3 { 3 } else { 2 };
    let text = |text: &'static str| Reply::bulk(text);
    let id = i64::try_from(call.conn.0).unwrap_or(i64::MAX);
    let mut fields = vec![
        (text("server"), text("redis")),
        (text("version"), text(redis.cx.version.number())),
        (text("proto"), Reply::Int(proto)),
        (text("id"), Reply::Int(id)),
        (text("mode"), text(mode)),
    ];
    if mode != "sentinel" {
        fields.push((text("role"), text(role)));
    }
    fields.push((text("modules"), Reply::Array(Vec::new())));
    Ok(Reply::Map(fields))
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// CLIENT SETNAME.
pub(crate) fn set_name(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let name = &call.args[2];
    if !is_name(name) {
        return Some(Reply::error(BAD_NAME));
    }
    redis.connection(call.conn).name = name.clone();
    Some(Reply::ok())
}

pub(crate) fn select(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let Some(db) = integer(&call.args[1]).filter(|db| i32::try_from(*db).is_ok()) else {
        return Some(Reply::error(NOT_AN_INTEGER));
    };
    match usize::try_from(db) {
        Ok(1..) if redis.cluster.is_some() => Some(Reply::error("ERR SELECT is not allowed in cluster mode")),
        Ok(db) if db < redis.dbs.len() => {
            redis.select(call.conn, db);
            Some(Reply::ok())
        }
        _ => Some(Reply::error("ERR DB index is out of range")),
    }
}

pub(crate) fn ping(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if call.args.len() > 2 {
        return Some(Reply::error("ERR wrong number of arguments for 'ping' command"));
    }
    let word = call.args.get(1);
    let connection = redis.connection(call.conn);
    Some(if connection.is_subscribed() && !connection.resp3 {
        Reply::Array(vec![Reply::bulk("pong"), Reply::Bulk(word.cloned().unwrap_or_default())])
    } else {
        word.map_or(Reply::status("PONG"), |word| Reply::Bulk(word.clone()))
    })
}

pub(crate) fn echo(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::Bulk(call.args[1].clone()))
}

pub(crate) fn quit(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    redis.connection(call.conn).closing = call.conn != OPERATOR;
    Some(Reply::ok())
}

pub(crate) fn reset(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    redis.unsubscribe_all(call.conn);
    let open = redis.users.is_open();
    let connection = redis.connection(call.conn);
    let fresh = Connection::new(connection.since, open);
    let requests = std::mem::take(&mut connection.requests);
    let out = std::mem::take(&mut connection.out);
    *connection =
        Connection { requests, out, active: connection.active, answers_left: connection.answers_left, ..fresh };
    Some(Reply::status("RESET"))
}

/// READONLY.
pub(crate) fn no_cluster(_: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::error("ERR This instance has cluster support disabled"))
}

/// COMMAND and some of its subcommands: what a client asks when it starts.
pub(crate) fn command(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(if call.is(1, "COUNT") {
        Reply::Int(commands::names().filter(|name| !name.contains('|')).count() as i64)
    } else if call.is(1, "DOCS") {
        Reply::Map(Vec::new())
    } else if call.args.len() > 1 && !call.is(1, "INFO") {
        Reply::error(format!("ERR unknown subcommand '{}'. Try COMMAND HELP.", call.text(1)))
    } else {
        Reply::Array(call.args.iter().skip(2).map(|_| Reply::NilArray).collect())
    })
}

pub(crate) fn shutdown(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let words: Vec<Bytes> = call.args[1..].iter().map(|word| word.to_ascii_uppercase().into()).collect();
    let known: [&[u8]; 5] = [b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"];
    if words.iter().any(|word| !known.contains(&&word[..])) {
        return Some(Reply::error(SYNTAX));
    }
    if words.iter().any(|word| &word[..] == b"ABORT") {
        return Some(Reply::error("ERR No shutdown in progress."));
    }
    redis.shut_down();
    None
}
