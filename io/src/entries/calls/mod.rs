//! The calls on the entries of owned streams, executed: call → commands, reply → answer. Every change is one of the
//! scripts in `lua/entries/`; nothing is decided here. `docs/entries.md` has the keys and formats.

mod aside;
mod commit;
mod open;
mod read;
mod server;
#[cfg(test)]
mod tests;
mod troubles;
mod writes;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::{Answer, Call},
    id::{Attempt, ConsumerId, EntryId, StreamName},
    keys::{Keys, hash_tag},
    trouble::Trouble,
};

use crate::wire::{script, troubles::trouble, value};

/// The Lua scripts about entries: the name of each, and its whole text.
pub(crate) fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let scripts: [(_, &'static script::Lazy); 2] =
        [("entries/commit", &commit::COMMIT), ("entries/set_aside", &aside::SET_ASIDE)];
    scripts.into_iter().map(|(name, script)| (name, script.body()))
}

/// How many streams one command or script call is about, at most: a long list becomes several, so that none keeps Redis
/// busy for long.
const BATCH: usize = 500;

/// Everything that stays the same from call to call. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Names>);

#[derive(Debug)]
struct Names {
    keys: Keys,
    consumer: ConsumerId,
    /// How many entries `S-dead-entries` keeps, about.
    dead_limit: Option<u64>,
    checkpoints: String,
    dead_entries: String,
    /// The hash tag that every key of the service has in the layout for Redis Cluster.
    tag: Option<String>,
    foreign: writes::Foreign,
    /// This is a Redis Cluster: what lies in other slots cannot be read together with the rest.
    cluster: AtomicBool,
}

impl Calls {
    /// The calls of one consumer. `dead_limit`: how many entries `S-dead-entries` keeps, about.
    pub(crate) fn new(keys: Keys, consumer: ConsumerId, dead_limit: Option<u64>) -> Calls {
        let checkpoints = keys.checkpoints();
        Calls(Arc::new(Names {
            dead_entries: keys.dead_entries(),
            tag: keys.is_hash_tagged().then(|| hash_tag(&checkpoints).unwrap_or_default().to_owned()),
            foreign: writes::Foreign::new(&keys),
            cluster: AtomicBool::new(false),
            checkpoints,
            keys,
            consumer,
            dead_limit,
        }))
    }

    /// Executes one call on a connection: [`Call::Identify`], [`Call::Fetch`] and [`Call::Wait`] on the reader's, all
    /// others on the one for commands. That of the reader must wait for answers for longer than a `Wait` blocks.
    pub(crate) async fn execute(&self, connection: &mut MultiplexedConnection, call: &Call) -> Result<Answer, Trouble> {
        let result = match call {
            Call::Prepare => self.prepare(connection).await.map(Answer::Prepared),
            Call::Identify => self.identify(connection).await.map(Answer::Identified),
            Call::Open(items) => self.open(connection, items).await.map(Answer::Opened),
            Call::Fetch(items) => self.fetch(connection, items).await.map(Answer::Fetched),
            Call::Wait { streams, block } => self.wait(connection, streams, *block).await.map(Answer::Waited),
            Call::Wake { client } => self.wake(connection, *client).await.map(Answer::Woken),
            Call::Commit(items) => self.commit(connection, items).await.map(Answer::Committed),
            Call::SetAside(items) => self.set_aside(connection, items).await.map(Answer::SetAside),
        };
        result.map_err(|trouble| {
            if trouble.message.starts_with("MOVED") {
                // Who may not ask for the server's settings learns so: from now on, streams elsewhere are left out.
                self.0.cluster.store(true, Ordering::Relaxed);
            }
            troubles::advise(trouble, &self.0.keys)
        })
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

    /// Sends many commands at once: the answer to each, errors among them.
    async fn send_all(&self, connection: &mut MultiplexedConnection, pipe: &Pipeline) -> Result<Vec<Value>, Trouble> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        let answers = connection.send_packed_commands(pipe, 0, pipe.len()).await.map_err(|e| trouble(&e))?;
        match answers.len() == pipe.len() {
            true => Ok(answers),
            false => Err(Trouble::other(format_args!("{} answers to {} commands", answers.len(), pipe.len()))),
        }
    }
}

impl Names {
    /// The value of a lease.
    fn lease_value(&self, attempt: Attempt) -> String {
        format!("{}#{attempt}", self.consumer)
    }

    /// The lease's key.
    fn lease(&self, stream: &StreamName, entry: EntryId) -> String {
        self.keys.lease(stream, entry)
    }

    /// Why a stream cannot be read on this server, if so.
    fn elsewhere(&self, stream: &StreamName) -> Option<Box<str>> {
        let tag = self.tag.as_deref().filter(|_| self.cluster.load(Ordering::Relaxed))?;
        (hash_tag(stream.as_str()) != Some(tag)).then(|| {
            format!(
                "the stream `{stream}` lies in another slot of the Redis Cluster than the service `{}`: its name must \
                 begin with {tag}",
                self.keys.service()
            )
            .into()
        })
    }
}
