//! MULTI, EXEC and WATCH.

use bytes::Bytes;

use super::{
    Redis,
    commands::{Call, Command},
    connection::{ConnId, Queued, Watched},
    reply::Reply,
};

pub(crate) fn multi(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let connection = redis.connection(call.conn);
    if connection.queued.is_some() {
        return Some(Reply::error("ERR MULTI calls can not be nested"));
    }
    connection.queued = Some(Queued::default());
    Some(Reply::ok())
}

pub(crate) fn discard(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let connection = redis.connection(call.conn);
    if connection.queued.take().is_none() {
        return Some(Reply::error("ERR DISCARD without MULTI"));
    }
    connection.watched.clear();
    Some(Reply::ok())
}

pub(crate) fn watch(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if redis.connection(call.conn).queued.is_some() {
        return Some(Reply::error("ERR WATCH inside MULTI is not allowed"));
    }
    let now_ms = redis.cx.now_ms;
    for key in &call.args[1..] {
        let db = &redis.dbs[call.db];
        let lapsed = !db.has(key, now_ms) && db.has(key, 0);
        let watched = &mut redis.connection(call.conn).watched;
        if !watched.iter().any(|old| old.db == call.db && old.key == key) {
            watched.push(Watched { db: call.db, key: key.clone(), lapsed, changed: false });
        }
    }
    Some(Reply::ok())
}

pub(crate) fn unwatch(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    redis.connection(call.conn).watched.clear();
    Some(Reply::ok())
}

/// Executes what was queued. The answers are written one by one: some of them are pushes.
pub(crate) fn exec(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let connection = redis.connection(call.conn);
    let Some(queued) = connection.queued.take() else { return Some(Reply::error("ERR EXEC without MULTI")) };
    let watched = std::mem::take(&mut connection.watched);
    if queued.spoiled {
        return Some(Reply::error("EXECABORT Transaction discarded because of previous errors."));
    }
    if watched.iter().any(|watched| redis.has_changed(watched)) {
        return Some(Reply::NilArray);
    }
    redis.answer_list(call.conn, queued.commands.len());
    for args in &queued.commands {
        let answer = match redis.admit_queued(call.conn, args) {
            Ok(command) => {
                let db = redis.connection(call.conn).db;
                redis.run(command, &Call { conn: call.conn, db, args, nested: true })
            }
            Err(error) => Some(Reply::Error(error)),
        };
        if let Some(reply) = answer {
            redis.answer(call.conn, &reply);
        }
    }
    None
}

impl Redis {
    /// What may have changed since a command was queued: the user's rights.
    fn admit_queued(&self, conn: ConnId, args: &[Bytes]) -> Result<Command, String> {
        let command = Command::find(args).map_err(|_| "ERR unknown command".to_owned())?;
        self.may(conn, command, args).map_err(|denied| denied.to_client(self.cx.version))?;
        Ok(command)
    }

    fn has_changed(&self, watched: &Watched) -> bool {
        let lapsed = || {
            let db = &self.dbs[watched.db];
            !watched.lapsed && !db.has(&watched.key, self.cx.now_ms) && db.has(&watched.key, 0)
        };
        watched.changed || lapsed()
    }

    /// Somebody has changed a key: transactions that depend on it fail.
    pub(crate) fn spoil_watchers(&mut self, db: usize, key: &Bytes) {
        for connection in self.connections.values_mut() {
            for watched in &mut connection.watched {
                watched.changed |= watched.db == db && watched.key == key;
            }
        }
    }
}
