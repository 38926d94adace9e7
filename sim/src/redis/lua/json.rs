//! `cjson` as far as scripts of ours ask it: `decode`, and `null`. What is JSON is read as Redis reads it; what is none is
//! refused, which the real one does not always do: it takes `nan` and `0x10`, too.

use mlua::{Error, Lua, LuaString, Table, Value};
use serde_json::Value as Json;

use super::errors::Raised;

pub(super) fn cjson(lua: &Lua) -> mlua::Result<Table> {
    let cjson = lua.create_table()?;
    let decode = lua.create_function(|lua, text: LuaString| {
        let read: Result<Json, _> = serde_json::from_slice(&text.as_bytes());
        let json = read.map_err(|error| Error::external(Raised(format!("ERR Expected value: {error}"))))?;
        to_lua(lua, json)
    })?;
    cjson.raw_set("decode", decode)?;
    cjson.raw_set("null", Value::NULL)?;
    Ok(cjson)
}

fn to_lua(lua: &Lua, json: Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(is) => Value::Boolean(is),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let items: mlua::Result<Vec<Value>> = items.into_iter().map(|item| to_lua(lua, item)).collect();
            Value::Table(lua.create_sequence_from(items?)?)
        }
        Json::Object(fields) => {
            let table = lua.create_table()?;
            for (name, value) in fields {
                table.raw_set(name, to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}
