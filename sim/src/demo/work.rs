//! The work of the demo: each stream is a job of some steps, and each step is written to a ledger, with the token of whoever did
//! it. The ledger refuses a token that is older than the latest it has seen.

use std::{collections::BTreeMap, time::Duration};

use redis::{RedisResult, Script, aio::MultiplexedConnection};

/// How many steps a job has, and how long one takes.
pub(super) const STEPS: u64 = 16;
pub(super) const STEP: Duration = Duration::from_millis(250);

/// KEYS: the ledger, the progress of all jobs. ARGV: stream, token, consumer.
/// Reply: how many steps are done now, or -1 if the token is too old.
const WRITE: &str = "
local ledger, progress, stream, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if tonumber(token) < tonumber(redis.call('HGET', progress, stream .. ' token') or '0') then return -1 end
local step = tonumber(redis.call('HGET', progress, stream) or '0') + 1
redis.call('HSET', progress, stream, step, stream .. ' token', token)
redis.call('XADD', ledger, '*', 'stream', stream, 'step', step, 'token', token, 'by', ARGV[3])
return step
";

/// The ledger of one service.
#[derive(Clone)]
pub(super) struct Ledger {
    ledger: String,
    progress: String,
    write: Script,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done: so many are.
    Done(u64),
    /// Somebody with a newer token has written: it is not ours any more.
    Refused,
}

impl Ledger {
    pub(super) fn new(service: &str) -> Ledger {
        let key = |name| format!("{service}-demo-{name}");
        Ledger { ledger: key("ledger"), progress: key("progress"), write: Script::new(WRITE) }
    }

    /// How many steps of a job are done.
    pub(super) async fn done(&self, redis: &mut MultiplexedConnection, stream: &str) -> RedisResult<u64> {
        let done: Option<u64> = redis::cmd("HGET").arg(&self.progress).arg(stream).query_async(redis).await?;
        Ok(done.unwrap_or(0))
    }

    /// Writes the next step of a job.
    pub(super) async fn write(
        &self,
        redis: &mut MultiplexedConnection,
        stream: &str,
        token: u64,
        consumer: &str,
    ) -> RedisResult<Step> {
        let mut write = self.write.prepare_invoke();
        write.key(&self.ledger).key(&self.progress).arg(stream).arg(token).arg(consumer);
        let step: i64 = write.invoke_async(redis).await?;
        Ok(u64::try_from(step).map_or(Step::Refused, Step::Done))
    }

    /// How many entries the ledger has for each job.
    pub(super) async fn steps(&self, redis: &mut MultiplexedConnection) -> RedisResult<BTreeMap<String, u64>> {
        let mut steps = BTreeMap::new();
        let entries: redis::streams::StreamRangeReply =
            redis::cmd("XRANGE").arg(&self.ledger).arg("-").arg("+").query_async(redis).await?;
        for entry in entries.ids {
            if let Some(stream) = entry.get::<String>("stream") {
                *steps.entry(stream).or_default() += 1;
            }
        }
        Ok(steps)
    }
}
