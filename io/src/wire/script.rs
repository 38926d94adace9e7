//! Lua scripts: sent by their hash, and in full only where Redis does not know them.

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, aio::ConnectionLike};

/// One file of `lua/`, with the prelude in front where it needs it.
pub(crate) struct Script {
    body: &'static str,
    hash: String,
}

/// A [`Script`] that is made when it is first used.
pub(crate) type Lazy = std::sync::LazyLock<Script>;

macro_rules! script {
    (prelude + $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../lua/common.lua"),
                include_str!("../lua/prelude.lua"),
                include_str!(concat!("../lua/", $file))
            ))
        })
    };
    (prelude + fleet + $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../lua/common.lua"),
                include_str!("../lua/prelude.lua"),
                include_str!("../lua/fleet.lua"),
                include_str!(concat!("../lua/", $file))
            ))
        })
    };
    (fleet + $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../lua/common.lua"),
                include_str!("../lua/fleet.lua"),
                include_str!(concat!("../lua/", $file))
            ))
        })
    };
    (messages + $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../../lua/common.lua"),
                include_str!("../../lua/messages/prelude.lua"),
                include_str!(concat!("../../lua/messages/", $file))
            ))
        })
    };
    (entries + $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../../lua/entries/writes.lua"),
                include_str!(concat!("../../lua/entries/", $file))
            ))
        })
    };
    (common + entries / $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../../lua/common.lua"),
                include_str!(concat!("../../lua/entries/", $file))
            ))
        })
    };
    (common + messages / $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(concat!(
                include_str!("../../lua/common.lua"),
                include_str!(concat!("../../lua/messages/", $file))
            ))
        })
    };
    (messages / $file:literal) => {
        $crate::wire::script::Lazy::new(|| {
            $crate::wire::script::Script::new(include_str!(concat!("../../lua/messages/", $file)))
        })
    };
    ($file:literal) => {
        $crate::wire::script::Lazy::new(|| $crate::wire::script::Script::new(include_str!(concat!("../lua/", $file))))
    };
}
pub(crate) use script;

impl Script {
    pub(crate) fn new(body: &'static str) -> Script {
        // In tests a script that touches a key that it was not given fails.
        #[cfg(test)]
        let body = [include_str!("declared.lua"), body].concat().leak();
        Script { body, hash: redis::Script::new(body).get_hash().to_owned() }
    }

    /// The whole text, as it is sent.
    pub(crate) fn body(&self) -> &'static str {
        self.body
    }

    /// The beginning of an invocation with that many keys. Keys and arguments follow.
    pub(crate) fn invoke(&self, keys: usize, arguments: usize, bytes: usize) -> Cmd {
        let mut cmd = Cmd::with_capacity(3 + keys + arguments, 64 + bytes);
        cmd.arg("EVALSHA").arg(&self.hash).arg(keys);
        cmd
    }

    /// Runs an invocation.
    pub(crate) async fn run(&self, connection: &mut impl ConnectionLike, cmd: Cmd) -> Result<Value, RedisError> {
        match send(connection, &cmd).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // EVAL at once, and not SCRIPT LOAD first: between two commands lies another chance of a failover.
                let mut full = Cmd::new();
                full.arg("EVAL").arg(self.body);
                for argument in cmd.args_iter().skip(2) {
                    if let redis::Arg::Simple(bytes) = argument {
                        full.arg(bytes);
                    }
                }
                send(connection, &full).await
            }
            result => result,
        }
    }
}

/// Sends one command; an error that Redis answers is an error.
pub(crate) async fn send(connection: &mut impl ConnectionLike, cmd: &Cmd) -> Result<Value, RedisError> {
    match connection.req_packed_command(cmd).await? {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}
