//! Answers as Lua values, and what scripts say as arguments and answers.

use bytes::Bytes;
use mlua::{Lua, MultiValue, Table, Value};

use crate::redis::{data::number::general, reply::Reply};

use super::errors::{error_table, text_of};

/// Lists in lists, as deep as this; Redis has a limit too.
pub(super) const DEEPEST: usize = 100;

/// An answer as a script sees it.
pub(super) fn to_lua(lua: &Lua, reply: Reply, resp3: bool) -> mlua::Result<Value> {
    let text = |text: &[u8]| lua.create_string(text).map(Value::String);
    let under = |name: &str, value: Value| {
        let table = lua.create_table()?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Status(status) => under("ok", text(&status)?),
        Reply::Error(error) => error_table(lua, &error).map(Value::Table),
        Reply::Int(number) => Ok(Value::Number(number as f64)),
        Reply::Bulk(bytes) => text(&bytes),
        Reply::Nil | Reply::NilArray if resp3 => Ok(Value::Nil),
        Reply::Nil | Reply::NilArray => Ok(Value::Boolean(false)),
        Reply::Array(items) | Reply::Push(items) => list(lua, items, resp3),
        Reply::Set(items) if resp3 => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, resp3)?, true)?;
            }
            under("set", Value::Table(set))
        }
        Reply::Set(items) => list(lua, items, resp3),
        Reply::Map(pairs) | Reply::MapOfPairs(pairs) if resp3 => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                map.raw_set(to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            under("map", Value::Table(map))
        }
        Reply::Pairs(pairs) if !resp3 => list(lua, flat(pairs), resp3),
        Reply::Map(pairs) => list(lua, flat(pairs), resp3),
        Reply::MapOfPairs(pairs) | Reply::Pairs(pairs) => {
            list(lua, pairs.into_iter().map(|(key, value)| Reply::Array(vec![key, value])).collect(), resp3)
        }
        Reply::Double(number) if resp3 => under("double", Value::Number(number)),
        Reply::Double(number) => text(general(number).as_bytes()),
        Reply::Verbatim(bytes) if resp3 => {
            let parts = lua.create_table()?;
            parts.raw_set("format", "txt")?;
            parts.raw_set("string", text(&bytes)?)?;
            under("verbatim_string", Value::Table(parts))
        }
        Reply::Verbatim(bytes) => text(&bytes),
    }
}

fn list(lua: &Lua, items: Vec<Reply>, resp3: bool) -> mlua::Result<Value> {
    let items: mlua::Result<Vec<Value>> = items.into_iter().map(|item| to_lua(lua, item, resp3)).collect();
    lua.create_sequence_from(items?).map(Value::Table)
}

fn flat(pairs: Vec<(Reply, Reply)>) -> Vec<Reply> {
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// The arguments of `redis.call` as Redis takes them.
pub(super) fn arguments(values: MultiValue) -> Result<Vec<Bytes>, String> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".to_owned());
    }
    let argument = |value: Value| match value {
        Value::String(text) => Some(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) if number.unsigned_abs() < 1 << 53 => Some(number.to_string().into()),
        Value::Integer(number) => Some(general(number as f64).into()),
        Value::Number(number) => Some(general(number).into()),
        _ => None,
    };
    let args: Option<Vec<Bytes>> = values.into_iter().map(argument).collect();
    args.ok_or_else(|| "ERR Lua redis lib command arguments must be strings or integers".to_owned())
}

/// A number: always a double in Lua 5.1, which mlua calls an integer if it is whole.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// What a script returned, as an answer.
pub(super) fn to_reply(value: &Value, deeper: usize) -> Reply {
    match value {
        Value::String(text) => Reply::Bulk(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(truncated(*number)),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(_) if deeper == 0 => Reply::error("ERR reached lua stack limit"),
        Value::Table(table) => table_to_reply(table, deeper - 1).unwrap_or(Reply::Nil),
        Value::Error(error) => Reply::error(text_of(error)),
        _ => Reply::Nil,
    }
}

/// As C casts it to a long: what does not fit is the least number.
fn truncated(number: f64) -> i64 {
    if number >= -(2f64.powi(63)) && number < 2f64.powi(63) { number as i64 } else { i64::MIN }
}

fn table_to_reply(table: &Table, deeper: usize) -> mlua::Result<Reply> {
    if table.raw_len() == 0 {
        let special = |name: &str| table.raw_get::<Value>(name);
        if let Value::String(text) = special("err")? {
            return Ok(Reply::Error(text.to_string_lossy()));
        }
        if let Value::String(text) = special("ok")? {
            return Ok(Reply::Status(Bytes::copy_from_slice(&text.as_bytes())));
        }
        if let Some(number) = number(&special("double")?) {
            return Ok(Reply::Double(number));
        }
        if let Value::Table(map) = special("map")? {
            let pairs = map.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
            let pairs = pairs.iter().map(|(key, value)| (to_reply(key, deeper), to_reply(value, deeper)));
            return Ok(Reply::Map(pairs.collect()));
        }
        if let Value::Table(set) = special("set")? {
            let items = set.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
            return Ok(Reply::Set(items.iter().map(|(item, _)| to_reply(item, deeper)).collect()));
        }
        if let Value::String(number) = special("big_number")? {
            return Ok(Reply::Bulk(Bytes::copy_from_slice(&number.as_bytes())));
        }
        if let Value::Table(verbatim) = special("verbatim_string")?
            && let Value::String(text) = verbatim.raw_get::<Value>("string")?
        {
            return Ok(Reply::Verbatim(Bytes::copy_from_slice(&text.as_bytes())));
        }
    }
    let mut items = Vec::new();
    loop {
        match table.raw_get::<Value>(items.len() + 1)? {
            Value::Nil => return Ok(Reply::Array(items)),
            value => items.push(to_reply(&value, deeper)),
        }
    }
}
