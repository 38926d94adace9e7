//! The engine for scripts: Lua 5.1 with the libraries that Streamkeeper's scripts use (base, table, string, math), in
//! the sandbox of Redis. Holds no state of a server: one engine serves all servers of a thread, and keeps compiled
//! scripts.

mod errors;
mod library;
mod values;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use bytes::Bytes;
use mlua::{
    BString, Error, Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value,
    state::{GcIncParams, GcMode},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sha1::{Digest, Sha1};

use super::reply::Reply;
use errors::{Raised, as_table, told};
use library::redis_table;
use values::{DEEPEST, arguments, to_lua, to_reply};

/// Executes a command for a script.
pub(crate) type Caller<'a> = dyn FnMut(Vec<Bytes>) -> Reply + 'a;

/// The hash that a script is known by.
pub(crate) fn hash(body: &[u8]) -> String {
    Sha1::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
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
    random: Rc<RefCell<SmallRng>>,
}

const SANDBOX: &str = include_str!("sandbox.lua");

impl Engine {
    fn new() -> mlua::Result<Engine> {
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::new())?;
        // What scripts leave is little and short-lived: it is swept when it has become twenty times what stays.
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(2000)));
        let (resp3, random) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(SmallRng::seed_from_u64(0))));
        let redis = redis_table(&lua, &resp3)?;
        let drawn = random.clone();
        let draw = lua.create_function(move |_, ()| Ok(drawn.borrow_mut().random::<f64>()))?;
        let explain = lua.create_function(|lua, error: Value| as_table(lua, error))?;
        let handler = lua.create_function(|lua, error: Value| Ok(told(lua, &error)))?;
        let (globals, run): (Table, Function) =
            lua.load(SANDBOX).set_name("@sandbox").call((&redis, draw, explain, handler))?;
        Ok(Engine { globals, redis, run, compiled: RefCell::default(), resp3, random, lua })
    }

    /// Compiles a script, if that was not done before.
    pub(crate) fn compile(&self, hash: &str, body: &[u8]) -> Result<Function, String> {
        if let Some(function) = self.compiled.borrow().get(hash) {
            return Ok(function.clone());
        }
        let chunk = self.lua.load(body).set_name("@user_script").set_environment(self.globals.clone());
        let function = chunk.into_function().map_err(|error| match error {
            Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })?;
        self.compiled.borrow_mut().insert(hash.to_owned(), function.clone());
        Ok(function)
    }

    /// Runs a compiled script. `seed` is what its random numbers come from. An error has a text as Redis answers it.
    pub(crate) fn run(
        &self,
        script: &Function,
        hash: &str,
        (keys, args): (&[Bytes], &[Bytes]),
        seed: u64,
        caller: &mut Caller<'_>,
    ) -> Reply {
        self.resp3.set(false);
        *self.random.borrow_mut() = SmallRng::seed_from_u64(seed);
        let result = self.run_in_scope(script, hash, (keys, args), caller);
        result.unwrap_or_else(|error| Reply::error(format!("ERR {error}")))
    }

    fn run_in_scope(
        &self,
        script: &Function,
        hash: &str,
        (keys, args): (&[Bytes], &[Bytes]),
        caller: &mut Caller<'_>,
    ) -> mlua::Result<Reply> {
        let caller = RefCell::new(caller);
        let execute = |args: MultiValue| match arguments(args) {
            Ok(args) => caller
                .try_borrow_mut()
                .map_or_else(|_| Reply::error("ERR a script cannot call a script"), |mut caller| caller(args)),
            Err(text) => Reply::error(text),
        };
        self.lua.scope(|scope| {
            let call = scope.create_function(|lua, args: MultiValue| match execute(args) {
                Reply::Error(text) => Err(Error::external(Raised(text))),
                reply => to_lua(lua, reply, self.resp3.get()),
            })?;
            let pcall = scope.create_function(|lua, args: MultiValue| to_lua(lua, execute(args), self.resp3.get()))?;
            self.redis.raw_set("call", call)?;
            self.redis.raw_set("pcall", pcall)?;
            let (ok, value): (bool, Value) = self.run.call((script, self.texts(keys)?, self.texts(args)?))?;
            if ok {
                return Ok(to_reply(&value, DEEPEST));
            }
            let value = value.to_string()?;
            let (line, text) = value.split_once(' ').unwrap_or(("", &value));
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
