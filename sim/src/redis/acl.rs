//! Users, and what they may do: enough to be refused as Redis refuses.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Redis,
    commands::{self, Call, Command},
    connection::ConnId,
    data::pattern::matches,
    reply::Reply,
    version::Version,
};

/// Who may do everything and is no user.
pub(crate) const OPERATOR: &str = "";

const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

#[derive(Clone, Debug)]
pub(crate) struct Users(BTreeMap<String, User>);

#[derive(Clone, Debug, Default)]
struct User {
    on: bool,
    nopass: bool,
    passwords: Vec<Bytes>,
    /// `+get`, `-@all` …: the last that speaks of a command decides.
    rules: Vec<String>,
    keys: Vec<KeyPattern>,
    channels: Vec<Bytes>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeyPattern {
    pattern: Bytes,
    read: bool,
    write: bool,
}

/// What a user lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Denied {
    Command(&'static str),
    Key,
    Channel,
}

impl Denied {
    pub(crate) fn to_client(self, version: Version) -> String {
        match self {
            Denied::Command(name) if version.is_before_7() => {
                format!("NOPERM this user has no permissions to run the '{name}' command or its subcommand")
            }
            Denied::Command(name) => format!("NOPERM this user has no permissions to run the '{name}' command"),
            Denied::Key => "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned(),
            Denied::Channel => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
            }
        }
    }

    pub(crate) fn to_script(self) -> &'static str {
        match self {
            Denied::Command(_) => "ERR The user executing the script can't run this command or subcommand",
            Denied::Key => {
                "ERR The user executing the script can't access at least one of the keys mentioned in the command \
                 arguments"
            }
            Denied::Channel => {
                "ERR The user executing the script can't publish to the channel mentioned in the command"
            }
        }
    }
}

impl Default for Users {
    fn default() -> Users {
        let all = |pattern: &'static str| Bytes::from_static(pattern.as_bytes());
        let default = User {
            on: true,
            nopass: true,
            passwords: Vec::new(),
            rules: vec!["+@all".to_owned()],
            keys: vec![KeyPattern { pattern: all("*"), read: true, write: true }],
            channels: vec![all("*")],
        };
        Users(BTreeMap::from([("default".to_owned(), default)]))
    }
}

impl Users {
    /// Whether whoever connects is the default user at once.
    pub(crate) fn is_open(&self) -> bool {
        self.0["default"].nopass && self.0["default"].on
    }

    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn accepts(&self, name: &str, password: &[u8]) -> bool {
        self.0.get(name).is_some_and(|user| user.on && (user.nopass || user.passwords.iter().any(|p| p == password)))
    }

    /// `requirepass`.
    pub(crate) fn set_password(&mut self, password: &str) {
        if let Some(user) = self.0.get_mut("default") {
            user.nopass = password.is_empty();
            user.passwords = if user.nopass { Vec::new() } else { vec![Bytes::copy_from_slice(password.as_bytes())] };
        }
    }
}

impl User {
    fn may_run(&self, command: &Command) -> bool {
        let group = command.name.split('|').next().unwrap_or(command.name);
        let speaks = |rule: &&String| match rule[1..].strip_prefix('@') {
            Some("all") => true,
            Some(category) => command.categories.contains(&category),
            None => rule[1..] == *command.name || rule[1..] == *group,
        };
        self.rules.iter().rev().find(speaks).is_some_and(|rule| rule.starts_with('+'))
    }

    fn may_touch(&self, key: &[u8], write: bool) -> bool {
        self.keys.iter().any(|k| (if write { k.write } else { k.read }) && matches(&k.pattern, key))
    }

    /// A pattern that is subscribed to must be granted literally.
    fn may_hear(&self, channel: &Bytes, literally: bool) -> bool {
        self.channels.iter().any(|granted| {
            &granted[..] == b"*" || if literally { granted == channel } else { matches(granted, channel) }
        })
    }

    /// Applies one rule of ACL SETUSER.
    fn apply(&mut self, rule: &Bytes) -> Result<(), &'static str> {
        let text = String::from_utf8_lossy(rule).into_owned();
        let rest = || rule.slice(1..);
        match text.to_lowercase().as_str() {
            "on" => self.on = true,
            "off" => self.on = false,
            "nopass" => (self.nopass, self.passwords) = (true, Vec::new()),
            "resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            "reset" => *self = User { rules: vec!["-@all".to_owned()], ..User::default() },
            "resetkeys" => self.keys.clear(),
            "resetchannels" => self.channels.clear(),
            "allkeys" => self.keys = vec![KeyPattern { pattern: Bytes::from_static(b"*"), read: true, write: true }],
            "allchannels" => self.channels = vec![Bytes::from_static(b"*")],
            "allcommands" => self.rules = vec!["+@all".to_owned()],
            "nocommands" => self.rules = vec!["-@all".to_owned()],
            lower => match rule.first() {
                Some(b'>') => {
                    self.passwords.push(rest());
                    self.nopass = false;
                }
                Some(b'<') => self.passwords.retain(|password| password[..] != rule[1..]),
                Some(b'~') => self.grant_keys(rest(), true, true)?,
                Some(b'%') => {
                    let (kinds, pattern) = text[1..].split_once('~').ok_or("Syntax error")?;
                    if kinds.is_empty() || !kinds.chars().all(|kind| "rwRW".contains(kind)) {
                        return Err("Syntax error");
                    }
                    let kinds = kinds.to_lowercase();
                    self.grant_keys(pattern.to_owned().into(), kinds.contains('r'), kinds.contains('w'))?;
                }
                Some(b'&') => {
                    if self.channels.iter().any(|channel| &channel[..] == b"*") {
                        return Err(
                            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and \
                                    does not have any effect. Try 'resetchannels' to start with an empty list of \
                                    channels",
                        );
                    }
                    self.channels.push(rest());
                }
                Some(b'+' | b'-') => self.rule(lower)?,
                _ => return Err("Syntax error"),
            },
        }
        Ok(())
    }

    fn grant_keys(&mut self, pattern: Bytes, read: bool, write: bool) -> Result<(), &'static str> {
        if self.keys.iter().any(|k| &k.pattern[..] == b"*" && k.read && k.write) {
            return Err("Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have \
                        any effect. Try 'resetkeys' to start with an empty list of patterns");
        }
        self.keys.push(KeyPattern { pattern, read, write });
        Ok(())
    }

    fn rule(&mut self, rule: &str) -> Result<(), &'static str> {
        let what = &rule[1..];
        let known = match what.strip_prefix('@') {
            Some(category) => category == "all" || CATEGORIES.contains(&category),
            None => Command::is_known(what),
        };
        if !known {
            return Err("Unknown command or category name in ACL");
        }
        if what == "@all" {
            self.rules.clear();
        }
        let narrower = format!("{what}|");
        self.rules.retain(|old| old[1..] != *what && !old[1..].starts_with(&narrower));
        self.rules.push(rule.to_owned());
        Ok(())
    }

    fn show_keys(&self) -> String {
        let show = |k: &KeyPattern| {
            let kind = match (k.read, k.write) {
                (true, true) => "~",
                (true, false) => "%R~",
                _ => "%W~",
            };
            kind.to_owned() + &String::from_utf8_lossy(&k.pattern)
        };
        self.keys.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn show_channels(&self) -> String {
        self.channels
            .iter()
            .map(|channel| format!("&{}", String::from_utf8_lossy(channel)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn show_rules(&self) -> String {
        if self.rules.is_empty() { "-@all".to_owned() } else { self.rules.join(" ") }
    }

    /// A line of ACL LIST, without the passwords.
    fn show(&self, name: &str) -> String {
        let mut words = vec!["user", name, if self.on { "on" } else { "off" }];
        let (keys, channels, rules) = (self.show_keys(), self.show_channels(), self.show_rules());
        words.extend(self.nopass.then_some("nopass"));
        words.extend((!keys.is_empty()).then_some(&*keys));
        words.extend((channels != "&*").then_some("resetchannels"));
        words.extend((!channels.is_empty()).then_some(&*channels));
        words.push(&rules);
        words.join(" ")
    }
}

impl Redis {
    /// Whether a connection's user may execute this.
    pub(crate) fn may(&self, conn: ConnId, command: Command, args: &[Bytes]) -> Result<(), Denied> {
        let name = &self.connections[&conn].user;
        if *name == OPERATOR {
            return Ok(());
        }
        if self.faults.denies(command.name)
            || !self.settings.config_allowed && matches!(command.name, "config|get" | "config|set")
        {
            return Err(Denied::Command(command.name));
        }
        let Some(user) = self.users.0.get(name) else { return Err(Denied::Command(command.name)) };
        if command.has(commands::NO_AUTH) {
            return Ok(());
        }
        if !user.may_run(&command) {
            return Err(Denied::Command(command.name));
        }
        if user.keys.first().is_none_or(|k| &k.pattern[..] != b"*" || !k.read || !k.write) {
            let write = command.has(commands::WRITE);
            if command.keys(args).into_iter().any(|key| !user.may_touch(key, write)) {
                return Err(Denied::Key);
            }
        }
        let heard = match command.name {
            "publish" => args[1..2].iter().all(|channel| user.may_hear(channel, false)),
            "subscribe" => args[1..].iter().all(|channel| user.may_hear(channel, false)),
            "psubscribe" => args[1..].iter().all(|pattern| user.may_hear(pattern, true)),
            _ => true,
        };
        if heard { Ok(()) } else { Err(Denied::Channel) }
    }
}

pub(crate) fn whoami(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(Reply::bulk(redis.connection(call.conn).user.clone()))
}

pub(crate) fn setuser(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let name = call.text(2);
    if name.contains([' ', '\0']) {
        return Some(Reply::error("ERR Usernames can't contain spaces or null characters"));
    }
    let mut user = redis.users.0.get(&name).cloned().unwrap_or_default();
    for rule in &call.args[3..] {
        if let Err(why) = user.apply(rule) {
            let rule = String::from_utf8_lossy(rule);
            return Some(Reply::error(format!("ERR Error in ACL SETUSER modifier '{rule}': {why}")));
        }
    }
    // Who listens to what is not granted any more is cut off.
    let deaf: Vec<ConnId> = redis
        .conns()
        .filter(|conn| {
            let c = &redis.connections[conn];
            c.user == name
                && (c.channels.iter().any(|channel| !user.may_hear(channel, false))
                    || c.patterns.iter().any(|pattern| !user.may_hear(pattern, true)))
        })
        .collect();
    redis.users.0.insert(name, user);
    for conn in deaf {
        redis.kill(conn);
    }
    Some(Reply::ok())
}

pub(crate) fn deluser(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if (2..call.args.len()).any(|at| call.text(at) == "default") {
        return Some(Reply::error("ERR The 'default' user cannot be removed"));
    }
    let mut removed = 0;
    for at in 2..call.args.len() {
        let name = call.text(at);
        if redis.users.0.remove(&name).is_some() {
            removed += 1;
            for conn in redis.conns().filter(|conn| redis.connections[conn].user == name).collect::<Vec<_>>() {
                redis.kill(conn);
            }
        }
    }
    Some(Reply::Int(removed))
}

pub(crate) fn getuser(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let Some(user) = redis.users.0.get(&call.text(2)) else { return Some(Reply::Nil) };
    let mut flags = vec![Reply::bulk(if user.on { "on" } else { "off" })];
    flags.extend(user.nopass.then(|| Reply::bulk("nopass")));
    Some(Reply::Map(vec![
        (Reply::bulk("flags"), Reply::Set(flags)),
        (Reply::bulk("passwords"), Reply::Array(Vec::new())),
        (Reply::bulk("commands"), Reply::bulk(user.show_rules())),
        (Reply::bulk("keys"), Reply::bulk(user.show_keys())),
        (Reply::bulk("channels"), Reply::bulk(user.show_channels())),
        (Reply::bulk("selectors"), Reply::Array(Vec::new())),
    ]))
}

pub(crate) fn list(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::Array(redis.users.0.iter().map(|(name, user)| Reply::bulk(user.show(name))).collect()))
}

pub(crate) fn users(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::Array(redis.users.0.keys().map(|name| Reply::bulk(name.clone())).collect()))
}

/// ACL CAT: the categories. Which commands are in one is not answered.
pub(crate) fn cat(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if call.args.len() > 2 {
        return Some(Reply::error(format!("ERR Unknown category '{}'", call.text(2))));
    }
    Some(Reply::Array(CATEGORIES.iter().map(|name| Reply::bulk(*name)).collect()))
}
