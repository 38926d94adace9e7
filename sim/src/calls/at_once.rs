//! A call at one instant: all its commands are executed as it makes them, and nothing comes in between.

use bytes::Bytes;
use futures::FutureExt;
use redis::{Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike, parse_redis_value};
use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    streams::{Answer, Call},
    trouble::Trouble,
};

use crate::{
    explore::Defect,
    redis::{Redis, resp},
};

/// Executes a call on what answers at once, such as a [`Wire`].
///
/// # Errors
/// What Redis refuses, and what makes no sense as an answer.
pub(crate) fn at_once(
    protocol: &Protocol,
    connection: &mut impl ConnectionLike,
    call: &Call,
) -> Result<Answer, Trouble> {
    let answer = protocol.execute(connection, call).now_or_never();
    answer.unwrap_or_else(|| Err(Trouble::other("the call waits for something else than Redis")))
}

/// A connection to a server, at one instant.
pub(crate) struct Wire<'a> {
    redis: &'a mut Redis,
    now: Time,
    defect: Option<&'a Defect>,
    /// What went over it so far.
    pub(crate) commands: u64,
    pub(crate) words: u64,
}

impl<'a> Wire<'a> {
    pub(crate) fn to(redis: &'a mut Redis, now: Time, defect: Option<&'a Defect>) -> Wire<'a> {
        Wire { redis, now, defect, commands: 0, words: 0 }
    }

    fn answer(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.commands += 1;
        self.words += cmd.args_iter().count() as u64;
        let words = cmd.args_iter().map(|arg| match arg {
            Arg::Simple(bytes) => Bytes::copy_from_slice(bytes),
            // No call scans.
            _ => Bytes::from_static(b"0"),
        });
        let args: Vec<Bytes> = words.collect();
        let args = match self.defect {
            Some(defect) => defect.planted_in(args),
            None => args,
        };
        let reply = self.redis.execute_at(args, self.now);
        let mut bytes = Vec::new();
        resp::encode(&reply, false, &mut bytes);
        parse_redis_value(&bytes)
    }
}

impl ConnectionLike for Wire<'_> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let answer = self.answer(cmd);
        async { answer }.boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let answers: RedisResult<Vec<Value>> = pipeline.cmd_iter().map(|cmd| self.answer(cmd)).collect();
        let answers = answers.map(|answers| answers.into_iter().skip(offset).take(count).collect());
        async { answers }.boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}
