//! EVAL and its like: what a script may do, and how its calls are executed.

use bytes::Bytes;
use rand::Rng;

use super::{
    Executed, Output, Redis, cluster,
    commands::{self, By, Call, Command, Unknown},
    connection::ConnId,
    data::{Done, number::integer},
    execute::OOM,
    lua,
    reply::Reply,
    session::{NOT_AN_INTEGER, SYNTAX},
    version::Version,
};

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// A script that runs.
struct Running {
    conn: ConnId,
    name: Option<&'static str>,
    read_only: bool,
    /// It has written, or tried to: it is not stopped any more.
    wrote: bool,
    /// There was no memory when it began.
    out_of_memory: bool,
    /// The last command was not executed.
    refused: bool,
}

/// What a running script speaks with.
struct Host<'a> {
    redis: &'a mut Redis,
    running: Running,
}

impl lua::Host for Host<'_> {
    fn call(&mut self, args: Vec<Bytes>) -> Reply {
        self.redis.call_from_script(&mut self.running, args)
    }

    fn may(&self, args: &[Bytes]) -> Option<bool> {
        let command = Command::named(args)?;
        Some(self.redis.may(self.running.conn, command, args).is_ok())
    }

    fn refused(&self) -> bool {
        self.running.refused
    }

    fn version(&self) -> Version {
        self.redis.cx.version
    }
}

pub(crate) fn eval(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(redis.evaluate(call, None, false))
}

pub(crate) fn eval_ro(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(redis.evaluate(call, None, true))
}

pub(crate) fn evalsha(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(redis.evaluate(call, Some(call.text(1).to_lowercase()), false))
}

pub(crate) fn evalsha_ro(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(redis.evaluate(call, Some(call.text(1).to_lowercase()), true))
}

pub(crate) fn load(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let (body, hash) = (&call.args[2], lua::hash(&call.args[2]));
    Some(match redis.compile(&hash, body) {
        Ok(_) => Reply::bulk(hash),
        Err(error) => error,
    })
}

pub(crate) fn exists(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let known = |at| Reply::Int(redis.scripts.contains_key(&call.text(at).to_lowercase()).into());
    Some(Reply::Array((2..call.args.len()).map(known).collect()))
}

pub(crate) fn flush(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    match call.args.len() {
        2 => {}
        3 if call.is(2, "SYNC") || call.is(2, "ASYNC") => {}
        _ => return Some(Reply::error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    redis.scripts.clear();
    Some(Reply::ok())
}

pub(crate) fn kill(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(if redis.faults.is_busy() {
        Reply::error(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
             the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )
    } else {
        Reply::error("NOTBUSY No scripts in execution right now.")
    })
}

impl Redis {
    fn compile(&mut self, hash: &str, body: &Bytes) -> Result<mlua::Function, Reply> {
        let engine = lua::engine().map_err(|error| Reply::error(format!("ERR {error}")))?;
        let compiled = engine.compile(hash, body);
        let function =
            compiled.map_err(|why| Reply::error(format!("ERR Error compiling script (new function): {why}")))?;
        if !self.scripts.contains_key(hash) {
            self.scripts.insert(hash.to_owned(), body.clone());
        }
        Ok(function)
    }

    fn evaluate(&mut self, call: &Call<'_>, known: Option<String>, read_only: bool) -> Reply {
        let Some(keys) = integer(&call.args[2]) else { return Reply::error(NOT_AN_INTEGER) };
        if keys > call.args.len() as i64 - 3 {
            return Reply::error("ERR Number of keys can't be greater than number of args");
        }
        let Ok(keys) = usize::try_from(keys) else { return Reply::error("ERR Number of keys can't be negative") };
        let (hash, body) = match known {
            Some(hash) => match self.scripts.get(&hash) {
                Some(body) => (hash, body.clone()),
                None => return Reply::error(NO_SCRIPT),
            },
            None => (lua::hash(&call.args[1]), call.args[1].clone()),
        };
        let function = match self.compile(&hash, &body) {
            Ok(function) => function,
            Err(error) => return error,
        };
        let Ok(engine) = lua::engine() else { return Reply::error(SYNTAX) };

        let db = self.connection(call.conn).db;
        let out_of_memory = self.is_out_of_memory();
        let name = self.observed.as_ref().and_then(|names| names.get(&hash).copied());
        let running = Running { conn: call.conn, name, read_only, wrote: false, out_of_memory, refused: false };
        self.cx.in_script = true;
        let seed = self.rng.random();
        let (keys, args) = call.args[3..].split_at(keys);
        let mut host = Host { redis: self, running };
        let reply = engine.run(&function, &hash, (keys, args), seed, &mut host);
        self.cx.in_script = false;
        self.connection(call.conn).db = db; // what a script selects is its own

        if self.observed.is_some() {
            let script = name;
            let (conn, args, reply, at) = (call.conn, call.args.to_vec(), reply.clone(), self.now);
            let lost = self.connection(conn).loses;
            let executed = Executed { conn, args, script, reply, lost, at };
            self.out.push_back(Output::Executed(executed));
        }
        reply
    }

    /// Executes a command of a script, if the script may do that.
    fn call_from_script(&mut self, script: &mut Running, args: Vec<Bytes>) -> Reply {
        script.refused = true;
        let command = match Command::find(&args) {
            Ok(command) => command,
            Err(Unknown::Arity(_)) => {
                return Reply::error("ERR Wrong number of args calling Redis command from script");
            }
            Err(_) => return Reply::error("ERR Unknown Redis command called from script"),
        };
        if let Err(error) = self.admit_from_script(script, command, &args) {
            return Reply::Error(error);
        }
        script.refused = false;
        script.wrote |= command.has(commands::WRITE);
        let db = self.connection(script.conn).db;
        match command.by {
            By::Data(spec) => {
                let (done, wrote) = self.run_data(spec, db, &args);
                if wrote {
                    self.history.write(self.now, self.cx.now_us, db, args.clone());
                }
                match done {
                    Done::Reply(reply) => {
                        self.touched(script.conn, script.name, spec, &args, &reply);
                        reply
                    }
                    Done::Block { .. } => Reply::NilArray,
                }
            }
            By::Server(_) => {
                self.run(command, &Call { conn: script.conn, db, args: &args, nested: true }).unwrap_or(Reply::Nil)
            }
        }
    }

    fn admit_from_script(&self, script: &Running, command: Command, args: &[Bytes]) -> Result<(), String> {
        if command.has(commands::NO_SCRIPT) {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        self.may(script.conn, command, args).map_err(|denied| denied.to_script().to_owned())?;
        if command.keys(args).into_iter().any(|key| self.moved(cluster::slot_of(key)).is_some()) {
            return Err("ERR Script attempted to access a non local key in a cluster node".to_owned());
        }
        if command.has(commands::WRITE) && script.read_only {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        // Only a script's first write is refused: one that has begun is not stopped in the middle.
        if script.wrote || !command.has(commands::WRITE) {
            return Ok(());
        }
        self.may_write(command)?;
        if command.has(commands::DENY_OOM) && script.out_of_memory { Err(OOM.to_owned()) } else { Ok(()) }
    }
}
