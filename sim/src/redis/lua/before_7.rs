//! What fails in a script of Redis 6.2, in its words: what the script's own engine refuses has the place before it, and
//! what ends a script is told with the script's hash in front.

use mlua::{Lua, Table, Value};

use crate::redis::version::Version;

/// What a script finds in `redis` only from Redis 7 on, besides `acl_check_cmd`.
pub(super) fn dress(redis: &Table, version: Version) -> mlua::Result<()> {
    if version.is_before_7() {
        redis.raw_set("REDIS_VERSION", Value::Nil)?;
        return redis.raw_set("REDIS_VERSION_NUM", Value::Nil);
    }
    redis.raw_set("REDIS_VERSION", version.number())?;
    redis.raw_set("REDIS_VERSION_NUM", 0x0007_000f)
}

/// What the engine says in place of executing a command: in its own words, with a place before them. It is an error
/// without a code.
pub(super) fn refusal(lua: &Lua, text: &str) -> String {
    let words = match text {
        "ERR Unknown Redis command called from script" => "Unknown Redis command called from Lua script",
        "ERR Wrong number of args calling Redis command from script" => {
            "Wrong number of args calling Redis command From Lua script"
        }
        "ERR This Redis command is not allowed from script" => "This Redis command is not allowed from scripts",
        "ERR Lua redis lib command arguments must be strings or integers" => {
            "Lua redis() command arguments must be strings or integers"
        }
        "ERR Please specify at least one argument for this redis lib call" => {
            "Please specify at least one argument for redis.call()"
        }
        other => other,
    };
    // What has a code of its own is said as it stands on the wire.
    let words = match words.strip_prefix("ERR ") {
        Some(words) => words.to_owned(),
        None if words == text => format!("-{words}\r\n"),
        None => words.to_owned(),
    };
    let caller = lua.inspect_stack(1, |frame| {
        let source = frame.source().source.unwrap_or_default().into_owned();
        format!("{source}: {}: ", frame.current_line().map_or("-1".to_owned(), |line| line.to_string()))
    });
    caller.unwrap_or_default() + &words
}

/// What a client is told of a script that failed in this line.
pub(super) fn failure(hash: &str, line: &str, text: &str) -> String {
    let place = if line.is_empty() { String::new() } else { format!("@user_script:{line}: ") };
    format!("ERR Error running script (call to f_{hash}): {place}{}", text.trim_end())
}
