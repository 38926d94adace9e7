//! CONFIG: the settings that clients look at or that change what the server does.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::plan::{Persistence, RedisPlan};

use super::{Redis, commands::Call, data::pattern::matches, reply::Reply};

/// Notifications are published on `__keyspace@…`.
pub(crate) const KEYSPACE: u32 = 1 << 11;
/// Notifications are published on `__keyevent@…`.
pub(crate) const KEYEVENT: u32 = 1 << 12;
/// The letters of `notify-keyspace-events`, each with the bit of its place, in the order in which they are shown.
const LETTERS: &str = "g$lshzxetdnKEm";
/// What `A` stands for.
const ALL: u32 = (1 << 10) - 1;

const POLICIES: [&str; 8] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

/// What values a setting takes.
#[derive(Clone, Copy)]
enum Takes {
    Number(i64, i64),
    Memory,
    YesOrNo,
    OneOf(&'static [&'static str]),
    Notifications,
    Text,
    /// Cannot be set at run time.
    Nothing,
}

/// The settings, what they take, and what they are at first.
const SETTINGS: &[(&str, Takes, &str)] = &[
    ("active-expire-effort", Takes::Number(1, 10), "1"),
    ("appendfsync", Takes::OneOf(&["everysec", "always", "no"]), "everysec"),
    ("appendonly", Takes::YesOrNo, "no"),
    ("bind", Takes::Text, "127.0.0.1"),
    ("busy-reply-threshold", Takes::Number(0, i64::MAX), "5000"),
    ("databases", Takes::Nothing, "16"),
    ("hz", Takes::Number(0, i32::MAX as i64), "10"),
    ("lua-time-limit", Takes::Number(0, i64::MAX), "5000"),
    ("maxclients", Takes::Number(1, u32::MAX as i64), "10000"),
    ("maxmemory", Takes::Memory, "0"),
    ("maxmemory-clients", Takes::Memory, "0"),
    ("maxmemory-eviction-tenacity", Takes::Number(0, 100), "10"),
    ("maxmemory-policy", Takes::OneOf(&POLICIES), "noeviction"),
    ("maxmemory-samples", Takes::Number(1, i32::MAX as i64), "5"),
    ("min-replicas-max-lag", Takes::Number(0, i32::MAX as i64), "10"),
    ("min-replicas-to-write", Takes::Number(0, i32::MAX as i64), "0"),
    ("notify-keyspace-events", Takes::Notifications, ""),
    ("port", Takes::Number(0, 65535), "6379"),
    ("proto-max-bulk-len", Takes::Memory, "536870912"),
    ("replica-read-only", Takes::YesOrNo, "yes"),
    ("replica-serve-stale-data", Takes::YesOrNo, "yes"),
    ("requirepass", Takes::Text, ""),
    ("save", Takes::Text, ""),
    ("slowlog-log-slower-than", Takes::Number(-1, i64::MAX), "10000"),
    ("slowlog-max-len", Takes::Number(0, i64::MAX), "128"),
    ("stop-writes-on-bgsave-error", Takes::YesOrNo, "yes"),
    ("timeout", Takes::Number(0, i32::MAX as i64), "0"),
];

#[derive(Clone, Debug)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, String>,
    // What the server looks at all the time, out of the values.
    pub(crate) notify: u32,
    pub(crate) hz: u32,
    pub(crate) effort: u32,
    pub(crate) maxmemory: u64,
    pub(crate) maxmemory_policy: &'static str,
    pub(crate) maxclients: usize,
    pub(crate) min_replicas: u64,
}

impl Config {
    pub(crate) fn new(plan: &RedisPlan) -> Config {
        let mut config = Config {
            values: SETTINGS.iter().map(|(name, _, value)| (*name, (*value).to_owned())).collect(),
            notify: 0,
            hz: 10,
            effort: 1,
            maxmemory: 0,
            maxmemory_policy: "noeviction",
            maxclients: 10_000,
            min_replicas: 0,
        };
        config.values.insert("hz", plan.hz.to_string());
        let flags = parse_flags(plan.notify.as_bytes()).unwrap_or_default();
        let (appendonly, appendfsync, save) = match plan.persistence {
            Persistence::None => ("no", "everysec", String::new()),
            Persistence::Rdb { every_ms } => ("no", "everysec", format!("{} 1", every_ms.div_ceil(1000))),
            Persistence::Aof => ("yes", "everysec", String::new()),
            Persistence::AofAlways => ("yes", "always", String::new()),
        };
        config.values.insert("appendonly", appendonly.to_owned());
        config.values.insert("appendfsync", appendfsync.to_owned());
        config.values.insert("save", save);
        config.values.insert("notify-keyspace-events", show_flags(flags));
        config.look_up();
        config
    }

    /// Whether events of this class are published.
    pub(crate) fn notifies(&self, class: char) -> bool {
        LETTERS.find(class).is_some_and(|bit| self.notify & (1 << bit) != 0)
    }

    /// A setting's value, empty if there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    pub(crate) fn put(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
        self.look_up();
    }

    fn look_up(&mut self) {
        let number = |name| self.value(name).parse::<u64>().unwrap_or_default();
        let policy = self.value("maxmemory-policy");
        let policy = POLICIES.iter().find(|name| **name == policy).copied().unwrap_or("noeviction");
        *self = Config {
            notify: parse_flags(self.value("notify-keyspace-events").as_bytes()).unwrap_or_default(),
            hz: u32::try_from(number("hz").clamp(1, 500)).unwrap_or(10),
            effort: u32::try_from(number("active-expire-effort")).unwrap_or(1),
            maxmemory: number("maxmemory"),
            maxmemory_policy: policy,
            maxclients: usize::try_from(number("maxclients")).unwrap_or(usize::MAX),
            min_replicas: number("min-replicas-to-write"),
            values: std::mem::take(&mut self.values),
        };
    }
}

pub(crate) fn get(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let wanted = |name: &str| call.args[2..].iter().any(|arg| matches(&arg.to_ascii_lowercase(), name.as_bytes()));
    let found = redis.config.values.iter().filter(|(name, _)| wanted(name));
    Some(Reply::Map(found.map(|(name, value)| (Reply::bulk(*name), Reply::bulk(value.clone()))).collect()))
}

/// CONFIG SET: all of it or nothing.
pub(crate) fn set(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if !call.args.len().is_multiple_of(2) {
        return Some(Reply::error("ERR wrong number of arguments for 'config|set' command"));
    }
    let mut news: Vec<(&'static str, String)> = Vec::new();
    for pair in call.args[2..].chunks(2) {
        let name = String::from_utf8_lossy(&pair[0]).to_lowercase();
        let Some((name, takes, _)) = SETTINGS.iter().find(|(known, ..)| *known == name) else {
            let name = String::from_utf8_lossy(&pair[0]);
            return Some(Reply::error(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")));
        };
        let value = match takes.normalized(&pair[1]) {
            Ok(_) if news.iter().any(|(other, _)| other == name) => Err("duplicate parameter".to_owned()),
            other => other,
        };
        match value {
            Ok(value) => news.push((name, value)),
            Err(why) => {
                return Some(Reply::error(format!(
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
                )));
            }
        }
    }
    for (name, value) in news {
        if name == "requirepass" {
            redis.users.set_password(&value);
        }
        redis.config.put(name, value);
    }
    Some(Reply::ok())
}

pub(crate) fn rewrite(_: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::error("ERR The server is running without a config file"))
}

/// CONFIG RESETSTAT and SLOWLOG RESET.
pub(crate) fn nothing(_: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::ok())
}

impl Takes {
    /// A value as it is stored, or what is wrong with it.
    fn normalized(self, value: &Bytes) -> Result<String, String> {
        let text = String::from_utf8_lossy(value).into_owned();
        match self {
            Takes::Text => Ok(text),
            Takes::Nothing => Err("can't set immutable config".to_owned()),
            Takes::Notifications => match parse_flags(value) {
                Some(flags) => Ok(show_flags(flags)),
                None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
            },
            Takes::YesOrNo => match text.to_lowercase() {
                word if word == "yes" || word == "no" => Ok(word),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Takes::OneOf(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(format!("argument(s) must be one of the following: {}", words.join(", "))),
            },
            Takes::Memory => {
                memory(&text).map(|bytes| bytes.to_string()).ok_or("argument must be a memory value".into())
            }
            Takes::Number(least, most) => match text.parse::<i64>() {
                Err(_) => Err("argument couldn't be parsed into an integer".to_owned()),
                Ok(number) if !(least..=most).contains(&number) => {
                    Err(format!("argument must be between {least} and {most} inclusive"))
                }
                Ok(number) => Ok(number.to_string()),
            },
        }
    }
}

/// `64mb` and its like in bytes.
fn memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_flags(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |flags, letter| match letter {
        b'A' => Some(flags | ALL),
        letter => LETTERS.find(char::from(*letter)).map(|bit| flags | 1 << bit),
    })
}

/// The flags as CONFIG GET shows them: with `A`, it never shows `n`.
fn show_flags(flags: u32) -> String {
    let all = flags & ALL == ALL;
    let shown = |bit: usize| flags & (1 << bit) != 0 && !(all && bit <= 10);
    let letters = LETTERS.chars().enumerate().filter(|(bit, _)| shown(*bit)).map(|(_, letter)| letter);
    if all { std::iter::once('A').chain(letters).collect() } else { letters.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_shown_in_the_order_of_redis() {
        // Each was asked of a Redis 7.0.15.
        let cases = [
            ("", ""),
            ("KEx", "xKE"),
            ("Kgx$", "g$xK"),
            ("KEAn", "AKE"),
            ("AKEm", "AKEm"),
            ("g$lshzxetdK", "AK"),
            ("nK", "nK"),
        ];
        for (set, shown) in cases {
            assert_eq!(parse_flags(set.as_bytes()).map(show_flags).as_deref(), Some(shown));
        }
        assert_eq!(parse_flags(b"KQ"), None);
    }

    #[test]
    fn memory_has_two_kinds_of_units() {
        for (text, bytes) in
            [("0", Some(0)), ("1k", Some(1000)), ("2KB", Some(2048)), ("1gb", Some(1 << 30)), ("x", None)]
        {
            assert_eq!(memory(text), bytes, "{text}");
        }
    }
}
