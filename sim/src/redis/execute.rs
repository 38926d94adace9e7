//! From a request to its answer: may it be executed, and by whom.

use bytes::Bytes;

use super::{
    Redis,
    commands::{self, By, Call, Command, Unknown},
    connection::{ConnId, OPERATOR},
    data::{Done, Spec},
    reply::Reply,
};

pub(crate) const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
pub(crate) const READONLY: &str = "READONLY You can't write against a read only replica.";
pub(crate) const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
    persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report \
    errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs \
    for details about the RDB error.";
pub(crate) const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
const MASTERDOWN: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

impl Redis {
    /// Executes a request, or refuses or queues it, and answers.
    pub(crate) fn request(&mut self, conn: ConnId, args: Vec<Bytes>) {
        self.stats.commands += 1;
        let lost = self.loses_answer(conn);
        self.connection(conn).loses = lost;
        let kept = self.connection(conn).out.len();
        let answer = match self.admit(conn, &args) {
            Ok(command) if self.connection(conn).queued.is_some() && !command.has(commands::UNQUEUED) => {
                if let Some(queued) = &mut self.connection(conn).queued {
                    queued.commands.push(args);
                }
                Some(Reply::status("QUEUED"))
            }
            Ok(command) => {
                let db = self.connection(conn).db;
                self.connection(conn).last = command.name;
                self.run(command, &Call { conn, db, args: &args, nested: false })
            }
            Err(error) => {
                if let Some(queued) = self.connections.get_mut(&conn).and_then(|c| c.queued.as_mut()) {
                    queued.spoiled = true;
                }
                Some(Reply::Error(error))
            }
        };
        if let Some(reply) = answer {
            self.answer(conn, &reply);
        }
        if lost && let Some(connection) = self.connections.get_mut(&conn) {
            connection.out.truncate(kept);
            if connection.waiting.is_none() {
                self.lose(conn);
            }
        }
    }

    /// Executes the operator's own command.
    pub(crate) fn operate(&mut self, args: &[Bytes]) -> Reply {
        if args.is_empty() {
            return Reply::error("ERR no command");
        }
        match Command::find(args) {
            Err(unknown) => unknown.reply(args),
            Ok(command) => {
                let db = self.connection(OPERATOR).db;
                self.run(command, &Call { conn: OPERATOR, db, args, nested: true }).unwrap_or_else(Reply::ok)
            }
        }
    }

    /// Executes a command that nothing forbids.
    pub(crate) fn run(&mut self, command: Command, call: &Call<'_>) -> Option<Reply> {
        match command.by {
            By::Server(run) => run(self, call),
            By::Data(spec) => {
                let (done, wrote) = self.run_data(spec, call.db, call.args);
                if wrote {
                    self.history.write(self.now, self.cx.now_us, call.db, call.args.to_vec());
                }
                match done {
                    Done::Reply(reply) => {
                        self.touched(call.conn, None, spec, call.args, &reply);
                        Some(reply)
                    }
                    Done::Block { .. } if call.nested => Some(Reply::NilArray),
                    Done::Block { keys, ms, again } => {
                        self.wait_for_streams(call, keys, ms, again);
                        None
                    }
                }
            }
        }
    }

    /// Executes a command of the keyspace, and tells everybody what it changed. Whether it is to be written down.
    pub(crate) fn run_data(&mut self, spec: &'static Spec, db: usize, args: &[Bytes]) -> (Done, bool) {
        if spec.name.starts_with("flush") {
            return (Done::Reply(self.flush(spec.name == "flushall", db, args)), false);
        }
        let dirty = self.cx.dirty;
        let done = spec.run(&mut self.dbs[db], &mut self.cx, args);
        self.publish_events(db);
        (done, spec.write && self.cx.dirty != dirty)
    }

    /// FLUSHALL and FLUSHDB.
    fn flush(&mut self, all: bool, db: usize, args: &[Bytes]) -> Reply {
        if args.len() > 2 || args.get(1).is_some_and(|word| !is_flush_mode(word)) {
            return Reply::error("ERR syntax error");
        }
        for number in if all { 0..self.dbs.len() } else { db..db + 1 } {
            let keys: Vec<Bytes> = self.dbs[number].keys().cloned().collect();
            for key in keys {
                self.spoil_watchers(number, &key);
            }
            self.dbs[number].flush();
            self.history.write(self.now, self.cx.now_us, number, vec![Bytes::from_static(b"FLUSHDB")]);
        }
        self.everything_changed = true;
        self.cx.dirty += 1;
        Reply::ok()
    }

    /// Whether a client may execute this now; the order of the tests is Redis's.
    fn admit(&mut self, conn: ConnId, args: &[Bytes]) -> Result<Command, String> {
        let command = Command::find(args).map_err(|unknown| match unknown.reply(args) {
            Reply::Error(text) => text,
            _ => String::new(),
        })?;
        if !self.is_of_its_kind(command.name) {
            return Err(match Unknown::Command.reply(args) {
                Reply::Error(text) => text,
                _ => String::new(),
            });
        }
        let connection = &self.connections[&conn];
        if !self.is_authenticated(conn) && !command.has(commands::NO_AUTH) {
            return Err("NOAUTH Authentication required.".to_owned());
        }
        let in_transaction = connection.queued.is_some();
        if in_transaction && command.has(commands::NO_MULTI) {
            return Err("ERR Command not allowed inside a transaction".to_owned());
        }
        let subscribed = connection.is_subscribed() && !connection.resp3;
        self.may(conn, command, args).map_err(|denied| denied.to_client(self.cx.version))?;
        self.cluster_is_up(command, args)?;
        self.has_slot_of(command, args)?;
        if command.name != "exec" {
            self.has_memory(command, in_transaction)?;
        }
        self.may_write(command)?;
        if subscribed && !WHILE_SUBSCRIBED.contains(&command.name) {
            return Err(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                command.name
            ));
        }
        let stale = self.node.follows.is_some() && self.config.value("replica-serve-stale-data") == "no";
        if (stale || self.faults.is_cut_off()) && !command.has(commands::STALE) {
            return Err(MASTERDOWN.to_owned());
        }
        if self.faults.is_loading() && !command.has(commands::LOADING) {
            return Err(LOADING.to_owned());
        }
        if self.faults.is_busy() && !command.has(commands::BUSY) {
            return Err(BUSY.to_owned());
        }
        Ok(command)
    }

    /// Whether there is memory for it, after eviction; to be queued, every command needs some.
    fn has_memory(&mut self, command: Command, in_transaction: bool) -> Result<(), String> {
        let queued = in_transaction && !["discard", "quit", "reset"].contains(&command.name);
        let needs = command.has(commands::DENY_OOM) || queued;
        if needs && self.is_out_of_memory() { Err(OOM.to_owned()) } else { Ok(()) }
    }

    /// Whether it has given a password, or needs none.
    pub(crate) fn is_authenticated(&self, conn: ConnId) -> bool {
        self.users.is_open() || self.connections.get(&conn).is_some_and(|connection| connection.authenticated)
    }

    /// Whether the server takes writes.
    pub(crate) fn may_write(&self, command: Command) -> Result<(), String> {
        let write = command.has(commands::WRITE);
        if self.faults.cannot_save() && (write || command.name == "ping") {
            return Err(MISCONF.to_owned());
        }
        if write && self.lacks_replicas() {
            return Err(NOREPLICAS.to_owned());
        }
        if write && self.is_replica() { Err(READONLY.to_owned()) } else { Ok(()) }
    }

    /// Whether used memory is above the limit, whatever could be evicted.
    pub(crate) fn is_out_of_memory(&mut self) -> bool {
        if self.faults.is_out_of_memory() {
            return true;
        }
        while self.config.maxmemory > 0 && self.used_memory() > self.config.maxmemory {
            if !self.evict() {
                return true;
            }
        }
        false
    }

    /// Evicts a key, as the policy says. False if there is none to be evicted.
    fn evict(&mut self) -> bool {
        let volatile = match self.config.maxmemory_policy {
            "noeviction" => return false,
            policy => policy.starts_with("volatile"),
        };
        for db in 0..self.dbs.len() {
            if let Some(key) = self.dbs[db].any_key(&mut self.rng, volatile) {
                self.dbs[db].evict(&mut self.cx, &key);
                self.publish_events(db);
                self.stats.evicted += 1;
                return true;
            }
        }
        false
    }

    /// Switches a connection to another logical database.
    pub(crate) fn select(&mut self, conn: ConnId, db: usize) {
        self.connection(conn).db = db;
    }
}

const WHILE_SUBSCRIBED: [&str; 7] = ["ping", "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "quit", "reset"];

fn is_flush_mode(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"sync") || word.eq_ignore_ascii_case(b"async")
}
