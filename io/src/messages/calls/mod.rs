//! The calls on messages, executed: call → commands, reply → answer. Every change of more than one key is one of the
//! scripts in `lua/messages/`; nothing is decided here.

mod dead;
mod hold;
mod prepare;
mod reclaim;
mod record;
mod scheduled;
mod send;
mod serial;
mod settle;
mod status;
mod take;
#[cfg(test)]
mod tests;
mod trim;
mod troubles;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    messages::{Answer, Call, Config, Consumer, Keys, Settings},
    trouble::Trouble,
};

pub use dead::{DeadLetter, Retried};
pub use scheduled::Scheduled;
pub(crate) use send::{ToSchedule, ToSend, Waits};
pub use status::{Holder, Status};

use crate::wire::{script, troubles::trouble, value};

/// The Lua scripts of the second half: the name of each, and its whole text.
pub(crate) fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let scripts: [(_, &'static script::Lazy); 18] = [
        ("messages/ack", &settle::ACK),
        ("messages/bury", &settle::BURY),
        ("messages/cancel", &scheduled::CANCEL),
        ("messages/due", &take::DUE),
        ("messages/fetch", &take::FETCH),
        ("messages/leave", &reclaim::LEAVE),
        ("messages/mark", &hold::MARK),
        ("messages/park", &settle::PARK),
        ("messages/rate", &hold::RATE),
        ("messages/reclaim", &reclaim::RECLAIM),
        ("messages/records", &reclaim::RECORDS),
        ("messages/refresh", &hold::REFRESH),
        ("messages/retry", &dead::RETRY),
        ("messages/schedule", &send::SCHEDULE),
        ("messages/send", &send::SEND),
        ("messages/stale", &reclaim::STALE),
        ("messages/stranded", &reclaim::STRANDED),
        ("messages/trim", &trim::TRIM),
    ];
    scripts.into_iter().map(|(name, script)| (name, script.body()))
}

/// How many messages one script call is about, at most: a long list becomes several, so that none keeps Redis busy for
/// long.
const BATCH: usize = 500;

/// Everything that stays the same from call to call. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Names>);

#[derive(Debug)]
struct Names {
    keys: Keys,
    consumer: Consumer,
    config: Config,
    attempts: String,
    delayed: String,
    dead: String,
    reclaimer: String,
    rate: String,
    scheduled: String,
    bodies: String,
    /// The group was there once: should it be missing, it was lost, and begins at 0 again.
    prepared: AtomicBool,
    /// The latest time that Redis has told, in milliseconds: when this consumer was in touch with it.
    told_ms: AtomicU64,
    /// That delayed messages cannot be moved has been said.
    stuck: AtomicBool,
}

impl Calls {
    /// The calls of one consumer on one stream.
    pub(crate) fn new(keys: Keys, consumer: Consumer, config: Config) -> Calls {
        Calls(Arc::new(Names {
            attempts: keys.attempts(),
            delayed: keys.delayed(),
            dead: keys.dead(),
            reclaimer: keys.reclaimer(),
            rate: keys.rate(),
            scheduled: keys.scheduled(),
            bodies: keys.scheduled_body(),
            prepared: AtomicBool::new(false),
            told_ms: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            keys,
            consumer,
            config,
        }))
    }

    /// For producers and operators, who are no consumers of the group.
    pub(crate) fn outside(keys: Keys) -> Calls {
        let consumer = Consumer::new("outside", 0).expect("a name");
        let config = Config::new(Settings::default()).expect("the defaults hold");
        Calls::new(keys, consumer, config)
    }

    /// Executes one call on a connection: [`Call::Read`] on the reader's, all others on the one for commands.
    pub(crate) async fn execute(&self, connection: &mut MultiplexedConnection, call: &Call) -> Result<Answer, Trouble> {
        let result = match call {
            Call::Prepare => self.prepare(connection).await.map(Answer::Prepared),
            Call::Read { count, block } => self.read(connection, *count, *block).await.map(Answer::Read),
            Call::Mine { after, count } => self.mine(connection, *after, *count).await.map(Answer::Mine),
            Call::Fetch(entries) => self.fetch(connection, entries).await.map(Answer::Fetched),
            Call::Due { count } => self.due(connection, *count).await,
            Call::Mark(items) => self.mark(connection, items).await.map(Answer::Marked),
            Call::Check(items) => self.check(connection, items).await.map(Answer::Checked),
            Call::Permits { count } => self.permits(connection, *count).await,
            Call::Ack(items) => self.ack(connection, items).await.map(Answer::Acked),
            Call::Refresh(holds) => self.refresh(connection, holds).await.map(Answer::Refreshed),
            Call::Park(items) => self.park(connection, items).await.map(Answer::Parked),
            Call::Bury(items) => self.bury(connection, items).await.map(Answer::Buried),
            Call::Reclaim => self.reclaim(connection).await,
            Call::Sweep { cursor } => self.sweep(connection, *cursor).await.map(Answer::Swept),
            Call::Leave => self.leave(connection).await.map(Answer::Left),
        };
        result.map_err(|trouble| troubles::advise(trouble, &self.0.keys))
    }

    /// Runs a script.
    async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        script: &script::Script,
        cmd: Cmd,
    ) -> Result<Value, Trouble> {
        script.run(connection, cmd).await.map_err(|e| trouble(&e))
    }

    /// Sends a command.
    async fn send(&self, connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Value, Trouble> {
        script::send(connection, cmd).await.map_err(|e| trouble(&e))
    }

    /// Sends a command of a person: an error says what to do.
    async fn ask(&self, connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Value, Trouble> {
        self.send(connection, cmd).await.map_err(|trouble| troubles::advise(trouble, &self.0.keys))
    }
}
