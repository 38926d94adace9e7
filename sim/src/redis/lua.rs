//! The engine for scripts: Lua 5.1 with the libraries that Streamkeeper's scripts use (base, table, string, math), in
//! the sandbox of Redis. Holds no state of a server: one engine serves all servers of a thread, and keeps compiled
//! scripts.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use bytes::Bytes;
use mlua::{Error, Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sha1::{Digest, Sha1};

use super::{data::number::general, reply::Reply};

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

/// An error that a script raised by `redis.call`; what catches errors in Lua makes a table of it.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

const SANDBOX: &str = include_str!("sandbox.lua");

/// Lists in lists, as deep as this; Redis has a limit too.
const DEEPEST: usize = 100;

impl Engine {
    fn new() -> mlua::Result<Engine> {
        let options = LuaOptions::new().catch_rust_panics(false);
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, options)?;
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
                reply => self.to_lua(lua, reply),
            })?;
            let pcall = scope.create_function(|lua, args: MultiValue| self.to_lua(lua, execute(args)))?;
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
        let table = self.lua.create_table_with_capacity(texts.len(), 0)?;
        for text in texts {
            table.raw_push(self.lua.create_string(text)?)?;
        }
        Ok(table)
    }

    fn to_lua(&self, lua: &Lua, reply: Reply) -> mlua::Result<Value> {
        let text = |text: &[u8]| lua.create_string(text).map(Value::String);
        let resp3 = self.resp3.get();
        let under = |name: &str, value: Value| {
            let table = lua.create_table()?;
            table.raw_set(name, value)?;
            Ok(Value::Table(table))
        };
        match reply {
            Reply::Status(status) => under("ok", text(&status)?),
            Reply::Error(error) => error_table(lua, &error).map(Value::Table),
            Reply::Int(number) => Ok(Value::Number(number as f64)),
            Reply::Bulk(bytes) => text(&bytes),
            Reply::Nil | Reply::NilArray if resp3 => Ok(Value::Nil),
            Reply::Nil | Reply::NilArray => Ok(Value::Boolean(false)),
            Reply::Array(items) | Reply::Push(items) => self.list(lua, items),
            Reply::Set(items) if resp3 => {
                let set = lua.create_table()?;
                for item in items {
                    set.raw_set(self.to_lua(lua, item)?, true)?;
                }
                under("set", Value::Table(set))
            }
            Reply::Set(items) => self.list(lua, items),
            Reply::Map(pairs) | Reply::MapOfPairs(pairs) if resp3 => {
                let map = lua.create_table()?;
                for (key, value) in pairs {
                    map.raw_set(self.to_lua(lua, key)?, self.to_lua(lua, value)?)?;
                }
                under("map", Value::Table(map))
            }
            Reply::Pairs(pairs) if !resp3 => self.list(lua, flat(pairs)),
            Reply::Map(pairs) => self.list(lua, flat(pairs)),
            Reply::MapOfPairs(pairs) | Reply::Pairs(pairs) => {
                self.list(lua, pairs.into_iter().map(|(key, value)| Reply::Array(vec![key, value])).collect())
            }
            Reply::Double(number) if resp3 => under("double", Value::Number(number)),
            Reply::Double(number) => text(general(number).as_bytes()),
            Reply::Verbatim(bytes) if resp3 => {
                let parts = lua.create_table()?;
                parts.raw_set("format", "txt")?;
                parts.raw_set("string", text(&bytes)?)?;
                under("verbatim_string", Value::Table(parts))
            }
            Reply::Verbatim(bytes) => text(&bytes),
        }
    }

    fn list(&self, lua: &Lua, items: Vec<Reply>) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(items.len(), 0)?;
        for (at, item) in items.into_iter().enumerate() {
            table.raw_set(at + 1, self.to_lua(lua, item)?)?;
        }
        Ok(Value::Table(table))
    }
}

fn flat(pairs: Vec<(Reply, Reply)>) -> Vec<Reply> {
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// What a script has besides `call` and `pcall`.
fn redis_table(lua: &Lua, resp3: &Rc<Cell<bool>>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    redis.set("REDIS_VERSION", super::info::VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        redis.set(name, level)?;
    }
    let raised = |text: &str| Error::external(Raised(text.to_owned()));
    redis.set(
        "log",
        lua.create_function(move |_, args: MultiValue| {
            if args.len() < 2 { Err(raised("ERR redis.log() requires two arguments or more.")) } else { Ok(()) }
        })?,
    )?;
    redis.set(
        "sha1hex",
        lua.create_function(move |_, args: MultiValue| match args.front() {
            Some(Value::String(text)) if args.len() == 1 => Ok(hash(&text.as_bytes())),
            Some(other) if args.len() == 1 => Ok(hash(other.to_string()?.as_bytes())),
            _ => Err(raised("ERR wrong number of arguments")),
        })?,
    )?;
    redis.set(
        "error_reply",
        lua.create_function(|lua, args: MultiValue| {
            let text = one_text(&args);
            error_table(lua, &text.map_or("ERR wrong number or type of arguments".to_owned(), |text| with_code(&text)))
        })?,
    )?;
    redis.set(
        "status_reply",
        lua.create_function(|lua, args: MultiValue| {
            let Some(text) = one_text(&args) else { return error_table(lua, "ERR wrong number or type of arguments") };
            let table = lua.create_table()?;
            table.raw_set("ok", text)?;
            Ok(table)
        })?,
    )?;
    let resp3 = resp3.clone();
    redis.set(
        "setresp",
        lua.create_function(move |_, args: MultiValue| {
            let version = args.front().and_then(number);
            match version {
                _ if args.len() != 1 => Err(raised("ERR redis.setresp() requires one argument.")),
                Some(version) if version == 2.0 || version == 3.0 => {
                    resp3.set(version == 3.0);
                    Ok(())
                }
                _ => Err(raised("ERR RESP version must be 2 or 3.")),
            }
        })?,
    )?;
    redis.set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    redis.set("set_repl", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    Ok(redis)
}

fn one_text(args: &MultiValue) -> Option<String> {
    match args.front() {
        Some(Value::String(text)) if args.len() == 1 => Some(text.to_string_lossy()),
        _ => None,
    }
}

/// An error's text with its code; `-` says that it has one.
fn with_code(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) => rest.to_owned(),
        None if text.contains(' ') => text.to_owned(),
        None => format!("ERR {text}"),
    }
}

fn error_table(lua: &Lua, text: &str) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    Ok(table)
}

/// What Lua code that catches an error sees of it.
fn as_table(lua: &Lua, error: Value) -> mlua::Result<Value> {
    match &error {
        Value::Error(raised) => error_table(lua, &text_of(raised)).map(Value::Table),
        _ => Ok(error),
    }
}

fn text_of(error: &Error) -> String {
    error.downcast_ref::<Raised>().map_or_else(|| format!("ERR {error}"), |raised| raised.0.clone())
}

/// The line of the script that an error comes from, and its text.
fn told(lua: &Lua, error: &Value) -> String {
    let text = match error {
        Value::Error(error) => text_of(error),
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => text.to_string_lossy(),
            _ => "ERR unknown error".to_owned(),
        },
        other => format!("ERR {}", other.to_string().unwrap_or_default()),
    };
    let line = (1..20).find_map(|level| {
        let line = lua.inspect_stack(level, |frame| {
            let ours = frame.source().source.is_some_and(|source| source == "@user_script");
            ours.then(|| frame.current_line()).flatten()
        });
        line.flatten()
    });
    format!("{} {text}", line.map(|line| line.to_string()).unwrap_or_default())
}

/// The arguments of `redis.call` as Redis takes them.
fn arguments(values: MultiValue) -> Result<Vec<Bytes>, String> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".to_owned());
    }
    let argument = |value: Value| match value {
        Value::String(text) => Some(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) if number.unsigned_abs() < 1 << 53 => Some(number.to_string().into()),
        Value::Integer(number) => Some(general(number as f64).into()),
        Value::Number(number) => Some(general(number).into()),
        _ => None,
    };
    let args: Option<Vec<Bytes>> = values.into_iter().map(argument).collect();
    args.ok_or_else(|| "ERR Lua redis lib command arguments must be strings or integers".to_owned())
}

/// A number: always a double in Lua 5.1, which mlua calls an integer if it is whole.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// What a script returned, as an answer.
fn to_reply(value: &Value, deeper: usize) -> Reply {
    match value {
        Value::String(text) => Reply::Bulk(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(truncated(*number)),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(_) if deeper == 0 => Reply::error("ERR reached lua stack limit"),
        Value::Table(table) => table_to_reply(table, deeper - 1).unwrap_or(Reply::Nil),
        Value::Error(error) => Reply::error(text_of(error)),
        _ => Reply::Nil,
    }
}

/// As C casts it to a long: what does not fit is the least number.
fn truncated(number: f64) -> i64 {
    if number >= -(2f64.powi(63)) && number < 2f64.powi(63) { number as i64 } else { i64::MIN }
}

fn table_to_reply(table: &Table, deeper: usize) -> mlua::Result<Reply> {
    if table.raw_len() == 0 {
        let special = |name: &str| table.raw_get::<Value>(name);
        if let Value::String(text) = special("err")? {
            return Ok(Reply::Error(text.to_string_lossy()));
        }
        if let Value::String(text) = special("ok")? {
            return Ok(Reply::Status(Bytes::copy_from_slice(&text.as_bytes())));
        }
        if let Some(number) = number(&special("double")?) {
            return Ok(Reply::Double(number));
        }
        if let Value::Table(map) = special("map")? {
            let pairs = map.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
            let pairs = pairs.iter().map(|(key, value)| (to_reply(key, deeper), to_reply(value, deeper)));
            return Ok(Reply::Map(pairs.collect()));
        }
        if let Value::Table(set) = special("set")? {
            let items = set.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
            return Ok(Reply::Set(items.iter().map(|(item, _)| to_reply(item, deeper)).collect()));
        }
        if let Value::String(number) = special("big_number")? {
            return Ok(Reply::Bulk(Bytes::copy_from_slice(&number.as_bytes())));
        }
        if let Value::Table(verbatim) = special("verbatim_string")?
            && let Value::String(text) = verbatim.raw_get::<Value>("string")?
        {
            return Ok(Reply::Verbatim(Bytes::copy_from_slice(&text.as_bytes())));
        }
    }
    let mut items = Vec::new();
    loop {
        match table.raw_get::<Value>(items.len() + 1)? {
            Value::Nil => return Ok(Reply::Array(items)),
            value => items.push(to_reply(&value, deeper)),
        }
    }
}
