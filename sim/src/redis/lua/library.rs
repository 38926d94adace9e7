//! What a script finds in `redis` besides `call` and `pcall`.

use std::{cell::Cell, rc::Rc};

use mlua::{Error, Lua, MultiValue, Table, Value};

use crate::redis::version::Version;

use super::{
    errors::{Raised, error_table, with_code},
    hash,
    values::number,
};

/// What a script has besides `call` and `pcall`.
pub(super) fn redis_table(lua: &Lua, resp3: &Rc<Cell<bool>>, version: &Rc<Cell<Version>>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        redis.set(name, level)?;
    }
    let raised = |text: &str| Error::external(Raised(text.to_owned()));
    redis.set(
        "log",
        lua.create_function(move |_, args: MultiValue| {
            if args.len() < 2 { Err(raised("ERR redis.log() requires two arguments or more.")) } else { Ok(()) }
        })?,
    )?;
    redis.set(
        "sha1hex",
        lua.create_function(move |_, args: MultiValue| match args.front() {
            Some(Value::String(text)) if args.len() == 1 => Ok(hash(&text.as_bytes())),
            Some(other) if args.len() == 1 => Ok(hash(other.to_string()?.as_bytes())),
            _ => Err(raised("ERR wrong number of arguments")),
        })?,
    )?;
    let version = version.clone();
    redis.set(
        "error_reply",
        lua.create_function(move |lua, args: MultiValue| {
            let coded = |text: String| if version.get().is_before_7() { text } else { with_code(&text) };
            error_table(lua, &one_text(&args).map_or("ERR wrong number or type of arguments".to_owned(), coded))
        })?,
    )?;
    redis.set(
        "status_reply",
        lua.create_function(|lua, args: MultiValue| {
            let Some(text) = one_text(&args) else { return error_table(lua, "ERR wrong number or type of arguments") };
            let table = lua.create_table()?;
            table.raw_set("ok", text)?;
            Ok(table)
        })?,
    )?;
    let resp3 = resp3.clone();
    redis.set(
        "setresp",
        lua.create_function(move |_, args: MultiValue| {
            let version = args.front().and_then(number);
            match version {
                _ if args.len() != 1 => Err(raised("ERR redis.setresp() requires one argument.")),
                Some(version) if version == 2.0 || version == 3.0 => {
                    resp3.set(version == 3.0);
                    Ok(())
                }
                _ => Err(raised("ERR RESP version must be 2 or 3.")),
            }
        })?,
    )?;
    redis.set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    redis.set("set_repl", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    Ok(redis)
}

fn one_text(args: &MultiValue) -> Option<String> {
    match args.front() {
        Some(Value::String(text)) if args.len() == 1 => Some(text.to_string_lossy()),
        _ => None,
    }
}
