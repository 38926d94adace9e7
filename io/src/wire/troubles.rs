//! What an error of the redis crate means: the core's table, behind what the crate and Lua wrap around a reply.

use redis::{ErrorKind, RedisError};
use streamkeeper_core::trouble::{Trouble, TroubleKind};

/// Classifies an error of the redis crate.
pub(crate) fn trouble(error: &RedisError) -> Trouble {
    if let Some(code) = error.code() {
        return reply(code, error.detail().unwrap_or_default());
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Trouble { kind: TroubleKind::Refused, message: error.to_string().into() },
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => Trouble::unsupported(error),
        _ => Trouble::connection(error),
    }
}

/// Classifies an error reply by its code and text.
pub(crate) fn reply(code: &str, text: &str) -> Trouble {
    // Redis 7 puts the script's hash and line behind the error's own text.
    let text = match text.rsplit_once(" script: ") {
        Some((before, behind)) if behind.contains(", on @user_script:") => before,
        _ => text,
    };
    // Redis 6 puts the script's name and line before it, behind `ERR Error running script (…): ` or all alone; the code
    // of the command is the first word behind that: `@user_script:12: NOGROUP …`, `@user_script: 12: -OOM …`.
    let inner = if code.starts_with("@user_script") { Some(text) } else { behind_script(code, text) };
    if let Some(inner) = inner {
        let inner = inner.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ');
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        let (first, rest) = inner.split_once(' ').unwrap_or((inner, ""));
        let is_code = !first.is_empty() && first.bytes().all(|b| b.is_ascii_uppercase());
        return if is_code { reply(first, rest) } else { reply("ERR", inner) };
    }
    if code == "ERR" {
        // XINFO says it this way.
        if text.contains("no such key") {
            return Trouble::from_reply("NOGROUP", text);
        }
        // Redis 7, Valkey.
        if text.contains("The user executing the script") || text.contains("ACL failure in script") {
            return Trouble::from_reply("NOPERM", text);
        }
    }
    Trouble::from_reply(code, text)
}

/// What stands behind the name of a script in an error's text.
fn behind_script<'a>(code: &str, text: &'a str) -> Option<&'a str> {
    let (_, behind) = text.rsplit_once("@user_script:").filter(|_| code == "ERR")?;
    let behind = behind.trim_start_matches(' ');
    // Valkey names it at the end, for other reasons: `… on @user_script:12.`
    behind.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(": ").then_some(behind)
}

/// An error's text as a script passes it on: code and text in one.
pub(crate) fn whole(text: &str) -> Trouble {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    reply(code, rest)
}

/// Whether the server will not do this, whoever asks how often: no right, or no such command.
pub(crate) fn refused(trouble: &Trouble) -> bool {
    match trouble.kind {
        TroubleKind::Refused => !trouble.message.starts_with("NOAUTH"),
        TroubleKind::Other => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lua_wraps_around_an_error_comes_off() {
        use TroubleKind::*;
        for (code, text, kind, message) in [
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value script: 0a1b, on @user_script:12.",
                WrongType,
                "WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "ERR",
                "Error running script (call to f_0a1b): @user_script:12: NOGROUP No such key",
                GroupLost,
                "NOGROUP No such key",
            ),
            (
                "ERR",
                "Error running script (call to f_0a1b): @user_script: 12: -READONLY You can't write",
                WrongServer,
                "READONLY You can't write",
            ),
            ("@user_script:", "166: -NOREPLICAS Not enough good replicas to write.", NotNow, ""),
            ("@user_script:", "6: -OOM command not allowed", OutOfMemory, "OOM command not allowed"),
            ("@user_script:", "6: The user executing the script can't run this command or subcommand", Refused, ""),
            ("ERR", "Error running script: @user_script:3: user_script:3: attempt to index nil", Other, ""),
            ("@user_script:", "", Other, ""),
            ("ERR", "ACL failure in script: no permissions script: 0a1b, on @user_script:12.", Refused, ""),
            ("ERR", "no such key", GroupLost, "NOGROUP no such key"),
            ("ERR", "The user executing the script can't run this command", Refused, ""),
            ("ERR", "ACL failure in script: User x has no permissions to run the 'xclaim' command", Refused, ""),
            ("ERR", "floor 5 is more than a day ahead", Other, "ERR floor 5 is more than a day ahead"),
            ("OOM", "command not allowed", OutOfMemory, "OOM command not allowed"),
        ] {
            let trouble = reply(code, text);
            assert_eq!(trouble.kind, kind, "{code} {text}");
            assert!(message.is_empty() || *trouble.message == *message, "{trouble}");
        }
    }
}
