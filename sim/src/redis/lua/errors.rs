//! Errors of scripts: as they are raised, caught and answered.

use mlua::{Error, Lua, Table, Value};

use crate::redis::version::Version;

/// An error that a script raised by `redis.call`; what catches errors in Lua makes a table of it.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// An error's text with its code; `-` says that it has one.
pub(super) fn with_code(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) => rest.to_owned(),
        None if text.contains(' ') => text.to_owned(),
        None => format!("ERR {text}"),
    }
}

pub(super) fn error_table(lua: &Lua, text: &str) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    Ok(table)
}

/// What Lua code that catches an error sees of it.
pub(super) fn as_table(lua: &Lua, error: Value) -> mlua::Result<Value> {
    match &error {
        Value::Error(raised) => error_table(lua, &text_of(raised)).map(Value::Table),
        _ => Ok(error),
    }
}

pub(super) fn text_of(error: &Error) -> String {
    text_with(error, "ERR ")
}

fn text_with(error: &Error, code: &str) -> String {
    error.downcast_ref::<Raised>().map_or_else(|| format!("{code}{error}"), |raised| raised.0.clone())
}

/// The line of the script that an error comes from, and its text. Before Redis 7 it has no code of its own.
pub(super) fn told(lua: &Lua, version: Version, error: &Value) -> String {
    let code = if version.is_before_7() { "" } else { "ERR " };
    let text = match error {
        Value::Error(error) => text_with(error, code),
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => text.to_string_lossy(),
            _ => "ERR unknown error".to_owned(),
        },
        other => format!("{code}{}", other.to_string().unwrap_or_default()),
    };
    let line = (1..20).find_map(|level| {
        let line = lua.inspect_stack(level, |frame| {
            let ours = frame.source().source.is_some_and(|source| source == "@user_script");
            ours.then(|| frame.current_line()).flatten()
        });
        line.flatten()
    });
    format!("{} {text}", line.map(|line| line.to_string()).unwrap_or_default())
}
