//! The engine for scripts: Lua 5.1 with the libraries that Streamkeeper's scripts use (base, table, string, math, and of
//! cjson `decode`), in the sandbox of Redis. Holds no state of a server: one engine serves all servers of a thread, and
//! keeps compiled scripts.

mod before_7;
mod errors;
mod json;
mod library;
mod memo;
mod values;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use bytes::Bytes;
use mlua::{
    BString, Error, Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState,
    state::{GcIncParams, GcMode},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sha1_smol::Sha1;

use super::{reply::Reply, version::Version};
use errors::{Raised, as_table, told};
use library::redis_table;
use memo::{Memo, Recalled, Recorder};
use values::{DEEPEST, arguments, to_lua, to_reply};

/// The server that a script runs on.
pub(crate) trait Host {
    /// Executes a command.
    fn call(&mut self, args: Vec<Bytes>) -> Reply;

    /// Whether the script's user may run a command; `None`: there is no such command.
    fn may(&self, args: &[Bytes]) -> Option<bool>;

    /// Whether the last command that it was to execute was refused before it was executed.
    fn refused(&self) -> bool {
        false
    }

    /// Which Redis it is.
    fn version(&self) -> Version {
        Version::default()
    }
}

/// The hash that a script is known by.
pub(crate) fn hash(body: &[u8]) -> String {
    Sha1::from(body).digest().to_string()
}

/// What is run in place of a script that is sent: another text, or nothing else.
pub(crate) type Instead = Rc<dyn Fn(&str) -> Option<String>>;

/// A script that was changed may not end: it is stopped after so many hundred thousand instructions. The longest of ours
/// needs a tenth of that.
const MOST_STEPS: u32 = 50;

/// From now on all servers of this thread run other texts in place of some scripts, under the hashes of those, and none
/// of them without end; or, again, what they are sent. What was compiled and remembered before is forgotten.
pub(crate) fn run_instead(instead: Option<Instead>) {
    if let Ok(engine) = engine() {
        engine.run_instead(instead);
    }
}

/// Whether this is Lua; if not, why.
pub(crate) fn check(text: &str) -> Result<(), String> {
    engine()?.lua.load(text).into_function().map(drop).map_err(|error| error.to_string())
}

thread_local! {
    static ENGINE: Result<Rc<Engine>, String> = Engine::new().map(Rc::new).map_err(|e| e.to_string());
}

/// The thread's engine.
pub(crate) fn engine() -> Result<Rc<Engine>, String> {
    ENGINE.with(Clone::clone)
}

pub(crate) struct Engine {
    lua: Lua,
    /// Where scripts find their globals.
    globals: Table,
    redis: Table,
    /// Calls a function, and on an error answers `false` and its text.
    run: Function,
    compiled: RefCell<BTreeMap<String, Function>>,
    resp3: Rc<Cell<bool>>,
    /// Of the server whose script runs.
    version: Rc<Cell<Version>>,
    random: Rc<RefCell<SmallRng>>,
    /// The script that runs has drawn lots.
    drew: Rc<Cell<bool>>,
    memo: RefCell<Memo>,
    instead: RefCell<Option<Instead>>,
    /// How many hundred thousand instructions the script that runs has taken, if somebody counts.
    steps: Rc<Cell<u32>>,
}

const SANDBOX: &str = include_str!("sandbox.lua");

impl Engine {
    fn new() -> mlua::Result<Engine> {
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::new())?;
        // What scripts leave is little and short-lived: it is swept when it has become twenty times what stays.
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(2000)));
        let (resp3, random) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(SmallRng::seed_from_u64(0))));
        let version = Rc::new(Cell::new(Version::default()));
        let redis = redis_table(&lua, &resp3, &version)?;
        before_7::dress(&redis, version.get())?;
        let (drawn, drew) = (random.clone(), Rc::new(Cell::new(false)));
        let draws = drew.clone();
        let draw = lua.create_function(move |_, ()| {
            draws.set(true);
            Ok(drawn.borrow_mut().random::<f64>())
        })?;
        let explain = lua.create_function(|lua, error: Value| as_table(lua, error))?;
        let of = version.clone();
        let handler = lua.create_function(move |lua, error: Value| Ok(told(lua, of.get(), &error)))?;
        let (globals, run): (Table, Function) =
            lua.load(SANDBOX).set_name("@sandbox").call((&redis, json::cjson(&lua)?, draw, explain, handler))?;
        Ok(Engine {
            globals,
            redis,
            run,
            compiled: RefCell::default(),
            resp3,
            version,
            random,
            drew,
            memo: RefCell::default(),
            instead: RefCell::default(),
            steps: Rc::default(),
            lua,
        })
    }

    /// Compiles a script, if that was not done before.
    pub(crate) fn compile(&self, hash: &str, body: &[u8]) -> Result<Function, String> {
        if let Some(function) = self.compiled.borrow().get(hash) {
            return Ok(function.clone());
        }
        let instead = self.instead.borrow().as_ref().and_then(|instead| instead(&String::from_utf8_lossy(body)));
        let body = instead.as_ref().map_or(body, |text| text.as_bytes());
        let chunk = self.lua.load(body).set_name("@user_script").set_environment(self.globals.clone());
        let function = chunk.into_function().map_err(|error| match error {
            Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })?;
        self.compiled.borrow_mut().insert(hash.to_owned(), function.clone());
        Ok(function)
    }

    fn run_instead(&self, instead: Option<Instead>) {
        self.compiled.borrow_mut().clear();
        *self.memo.borrow_mut() = Memo::default();
        if instead.is_some() {
            let steps = self.steps.clone();
            let triggers = HookTriggers::new().every_nth_instruction(100_000);
            // Only a script without coroutines could escape it; refused, an endless loop would stay one.
            let _ = self.lua.set_hook(triggers, move |_, _| {
                steps.set(steps.get() + 1);
                let ends = steps.get() <= MOST_STEPS;
                if ends {
                    Ok(VmState::Continue)
                } else {
                    Err(Error::external(Raised("ERR it does not end".to_owned())))
                }
            });
        } else {
            self.lua.remove_hook();
        }
        *self.instead.borrow_mut() = instead;
    }

    /// Runs a compiled script. `seed` is what its random numbers come from. An error has a text as Redis answers it.
    pub(crate) fn run(
        &self,
        script: &Function,
        hash: &str,
        (keys, args): (&[Bytes], &[Bytes]),
        seed: u64,
        host: &mut dyn Host,
    ) -> Reply {
        let called = (hash, keys, args);
        // What is remembered was said by a Redis 7.
        let version = host.version();
        let executed = match version {
            Version::Redis6 => Vec::new(),
            Version::Redis7 => match self.memo.borrow().recall(called, host) {
                Recalled::Whole(reply) => return reply,
                Recalled::Part(executed) => executed,
            },
        };
        self.resp3.set(false);
        self.drew.set(false);
        self.steps.set(0);
        *self.random.borrow_mut() = SmallRng::seed_from_u64(seed);
        let mut recorder = Recorder::new(host, executed);
        let result = self.run_in_scope(script, hash, (keys, args), version, &mut recorder);
        let reply = result.unwrap_or_else(|error| Reply::error(format!("ERR {error}")));
        if !self.drew.get() && !recorder.is_odd && !version.is_before_7() {
            self.memo.borrow_mut().learn(called, recorder.executed(), &reply);
        }
        reply
    }

    fn run_in_scope(
        &self,
        script: &Function,
        hash: &str,
        (keys, args): (&[Bytes], &[Bytes]),
        version: Version,
        host: &mut Recorder<'_>,
    ) -> mlua::Result<Reply> {
        if self.version.replace(version) != version {
            before_7::dress(&self.redis, version)?;
        }
        let host = RefCell::new(host);
        let execute = |lua: &Lua, args: MultiValue| {
            let (reply, refused) = match arguments(args) {
                Ok(args) => match host.try_borrow_mut() {
                    Ok(mut host) => (host.call(args), host.refused()),
                    Err(_) => (Reply::error("ERR a script cannot call a script"), true),
                },
                Err(text) => (Reply::error(text), true),
            };
            match reply {
                Reply::Error(text) if refused && version.is_before_7() => Reply::Error(before_7::refusal(lua, &text)),
                reply => reply,
            }
        };
        let may = |args: MultiValue| {
            let args = arguments(args)?;
            let allowed = host.try_borrow_mut().ok().and_then(|mut host| host.may(&args));
            allowed.ok_or_else(|| "ERR Invalid command passed to redis.acl_check_cmd()".to_owned())
        };
        self.lua.scope(|scope| {
            let call = scope.create_function(|lua, args: MultiValue| match execute(lua, args) {
                Reply::Error(text) => Err(Error::external(Raised(text))),
                reply => to_lua(lua, reply, self.resp3.get()),
            })?;
            let pcall =
                scope.create_function(|lua, args: MultiValue| to_lua(lua, execute(lua, args), self.resp3.get()))?;
            let check =
                scope.create_function(|_, args: MultiValue| may(args).map_err(|text| Error::external(Raised(text))))?;
            let check = if version.is_before_7() { Value::Nil } else { Value::Function(check) };
            self.redis.raw_set("acl_check_cmd", check)?;
            self.redis.raw_set("call", call)?;
            self.redis.raw_set("pcall", pcall)?;
            let (ok, value): (bool, Value) = self.run.call((script, self.texts(keys)?, self.texts(args)?))?;
            if ok {
                return Ok(to_reply(&value, DEEPEST));
            }
            let value = value.to_string()?;
            let (line, text) = value.split_once(' ').unwrap_or(("", &value));
            if version.is_before_7() {
                return Ok(Reply::error(before_7::failure(hash, line, text)));
            }
            let place = if line.is_empty() { String::new() } else { format!(", on @user_script:{line}") };
            Ok(Reply::error(format!("{text} script: {hash}{place}.")))
        })
    }

    fn texts(&self, texts: &[Bytes]) -> mlua::Result<Table> {
        // The usual case, which mlua has a short way for.
        match texts.iter().map(|text| std::str::from_utf8(text)).collect::<Result<Vec<&str>, _>>() {
            Ok(texts) => self.lua.create_sequence_from(texts),
            Err(_) => self.lua.create_sequence_from(texts.iter().map(|text| BString::from(text.to_vec()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Host for Nobody {
        fn call(&mut self, _: Vec<Bytes>) -> Reply {
            Reply::Nil
        }

        fn may(&self, _: &[Bytes]) -> Option<bool> {
            None
        }
    }

    fn said(body: &str) -> Reply {
        let engine = engine().unwrap();
        let hash = hash(body.as_bytes());
        engine.run(&engine.compile(&hash, body.as_bytes()).unwrap(), &hash, (&[], &[]), 0, &mut Nobody)
    }

    #[test]
    fn another_text_is_run_in_place_of_a_script_until_it_is_not() {
        assert_eq!(said("return 1"), Reply::Int(1));
        run_instead(Some(Rc::new(|body| (body == "return 1").then(|| "return 2".to_owned()))));
        assert_eq!((said("return 1"), said("return 3")), (Reply::Int(2), Reply::Int(3)));
        run_instead(None);
        assert_eq!(said("return 1"), Reply::Int(1));
    }

    #[test]
    fn a_text_that_does_not_end_is_stopped_and_the_next_one_is_not() {
        run_instead(Some(Rc::new(|body| body.strip_prefix("--").map(str::to_owned))));
        let Reply::Error(text) = said("--while true do redis.pcall('TIME') end") else { panic!("it ended") };
        assert!(text.contains("it does not end"), "{text}");
        assert_eq!(said("local n = 0 for i = 1, 400000 do n = n + 1 end return n"), Reply::Int(400_000));
        run_instead(None);
    }
}
