//! The protocol's calls, executed: command → call, reply → answer. Every change of more than one key is one of the
//! scripts in `lua/`; nothing is decided here.

mod acquire;
mod admin;
mod batches;
mod epoch;
mod features;
mod finish;
mod look;
mod partitions;
mod prepare;
mod reap;
mod renew;
mod status;
#[cfg(test)]
mod tests;
mod troubles;

use std::sync::{Arc, atomic::AtomicBool};

use redis::{Cmd, Value, aio::ConnectionLike};
use streamkeeper_core::{
    config::Config,
    id::{Attempt, ConsumerId, EntryId, LEASE_SEPARATOR, StreamName},
    keys::{Keys, hash_tag},
    streams::call::{Answer, Call},
    trouble::Trouble,
};

pub(crate) use crate::wire::troubles::trouble;
use crate::wire::{cap, entry_text, millis, push, push_entry, script, start, value};
pub use admin::Dead;
pub(crate) use admin::ToAnnounce;
pub use features::Features;
pub(crate) use partitions::{Heard, OnItsWay, PartOf};
pub use status::{Orphan, Owner, PartitionStatus, Status};

/// The Lua scripts that the library runs on Redis: the name of each, and its whole text.
///
/// Redis learns them when they are first used. They may be sent beforehand (`SCRIPT LOAD`), so that no call is ever
/// sent twice.
pub fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let scripts: [(_, &'static script::Lazy); 15] = [
        ("acquire", &acquire::ACQUIRE),
        ("announce", &admin::ANNOUNCE),
        ("bury", &reap::BURY),
        ("clean", &reap::CLEAN),
        ("done", &finish::DONE),
        ("epoch", &epoch::EPOCH),
        ("forget", &reap::FORGET),
        ("look", &look::LOOK),
        ("partitions/agree", &partitions::AGREE),
        ("partitions/announce", &partitions::ANNOUNCE),
        ("reap", &reap::REAP),
        ("release", &finish::RELEASE),
        ("renew", &renew::RENEW),
        ("retry", &admin::RETRY),
        ("share", &look::SHARE),
    ];
    scripts
        .into_iter()
        .map(|(name, script)| (name, script.body()))
        .chain(crate::messages::scripts())
        .chain(crate::entries::scripts())
}

/// Everything that stays the same from call to call. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Names>);

struct Names {
    keys: Keys,
    consumer: ConsumerId,
    config: Config,
    /// Who this is as a reaper: the consumer's name and something that a namesake does not share.
    process: String,
    /// How many announcements `S-dead` keeps, about.
    dead_limit: Option<u64>,
    /// The hash tag in front of lease keys, or nothing.
    tag: String,
    lbs: String,
    group: String,
    fences: String,
    token: String,
    checkpoints: String,
    dead: String,
    epoch: String,
    reaper: String,
    orphans: String,
    /// The number of this partition, if the service has several.
    partition: Option<u32>,
    /// That PUBLISH is refused has been said.
    publish_refused: AtomicBool,
}

impl Calls {
    /// The calls of one consumer. `process` tells it from a namesake: random, once per process.
    pub(crate) fn new(
        keys: Keys,
        consumer: ConsumerId,
        config: Config,
        dead_limit: Option<u64>,
        process: u64,
    ) -> Calls {
        // The core makes lease keys one by one; by the thousand they are written into one buffer, behind this tag.
        let probe = StreamName::new("x").map(|name| keys.lease(&name, EntryId::default()));
        let tag = probe.ok().and_then(|key| Some(key.split_once(LEASE_SEPARATOR)?.0.strip_suffix('x')?.to_owned()));
        Calls(Arc::new(Names {
            process: format!("{consumer}#{process:016x}"),
            tag: tag.unwrap_or_default(),
            lbs: keys.lbs(),
            group: keys.group(),
            fences: keys.fences(),
            token: keys.token(),
            checkpoints: keys.checkpoints(),
            dead: keys.dead(),
            epoch: keys.epoch(),
            reaper: keys.reaper(),
            orphans: keys.orphans(),
            partition: None,
            publish_refused: AtomicBool::new(false),
            keys,
            consumer,
            config,
            dead_limit,
        }))
    }

    /// The same for one of several partitions.
    pub(crate) fn in_partition(mut self, number: u32) -> Calls {
        if let Some(names) = Arc::get_mut(&mut self.0) {
            names.partition = Some(number);
        }
        self
    }

    /// Executes one call on a connection: [`Call::Read`] on the reader's, [`Call::Ping`] on the one to be asked, all
    /// others on the one for commands.
    pub(crate) async fn execute(&self, connection: &mut impl ConnectionLike, call: &Call) -> Result<Answer, Trouble> {
        let result = match call {
            Call::Prepare => self.prepare(connection).await.map(Answer::Prepared),
            Call::Epoch(call) => self.epoch(connection, call).await.map(Answer::Epoch),
            Call::Ping => self.send(connection, &redis::cmd("PING")).await.map(|_| Answer::Pong),
            Call::Read { count, block } => self.read(connection, *count, Some(*block)).await.map(Answer::Read),
            Call::Take { count, share } => self.take(connection, *count, *share).await,
            Call::Look(entries) => self.look(connection, entries).await,
            Call::Mine { after, count } => self.mine(connection, *after, *count).await.map(Answer::Mine),
            Call::Acquire(call) => self.acquire(connection, call).await,
            Call::Renew(call) => self.renew(connection, call).await.map(Answer::Renewed),
            Call::Done(items) => self.done(connection, items).await.map(Answer::Done),
            Call::Release(items) => self.release(connection, items).await.map(Answer::Released),
            Call::Hint(items) => self.hint(connection, items).await.map(|()| Answer::Hinted),
            Call::Ring { entries, heirs } => self.ring(connection, entries, *heirs).await.map(|()| Answer::Rung),
            Call::Reap { after, count, room } => self.reap(connection, *after, *count, *room).await,
            Call::Bury { entry, error } => self.bury(connection, *entry, error).await.map(Answer::Buried),
            Call::Forget { entries, idle } => self.forget(connection, entries, *idle).await.map(Answer::Forgotten),
            Call::Clean => self.clean(connection).await.map(Answer::Cleaned),
        };
        result.map_err(|trouble| troubles::advise(trouble, &self.0.keys))
    }

    /// Runs a script.
    async fn run(
        &self,
        connection: &mut impl ConnectionLike,
        script: &script::Script,
        cmd: Cmd,
    ) -> Result<Value, Trouble> {
        script.run(connection, cmd).await.map_err(|e| trouble(&e))
    }

    /// Sends a command.
    async fn send(&self, connection: &mut impl ConnectionLike, cmd: &Cmd) -> Result<Value, Trouble> {
        script::send(connection, cmd).await.map_err(|e| trouble(&e))
    }
}

impl Names {
    /// The cap of `S-dead` as the scripts take it.
    fn cap(&self) -> String {
        cap(self.dead_limit)
    }

    /// Writes a lease key into the buffer.
    fn lease<'a>(&self, buffer: &'a mut String, stream: &StreamName, entry: EntryId) -> &'a [u8] {
        buffer.clear();
        if !self.tag.is_empty() && hash_tag(stream.as_str()) != Some(&self.tag) {
            buffer.push_str(&self.tag);
        }
        buffer.push_str(stream.as_str());
        buffer.push_str(LEASE_SEPARATOR);
        push_entry(buffer, entry);
        buffer.as_bytes()
    }

    /// Writes the value of a lease into the buffer.
    fn lease_value<'a>(&self, buffer: &'a mut String, attempt: Attempt) -> &'a [u8] {
        buffer.clear();
        buffer.push_str(self.consumer.as_str());
        buffer.push('#');
        push(buffer, attempt);
        buffer.as_bytes()
    }
}
