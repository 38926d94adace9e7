//! What legitimately differs between two servers, or two runs, and how it is made equal: one rule for each.
//!
//! * Times: a moment (13 digits: ms) is `<ms>`; a time to live is rounded up to 10 s, an idle time down to 10 s.
//! * Ids made from the clock are numbered as they appear: `<id:1>`, `<id:2>` …; so are tokens, which are microseconds
//!   (16 digits: `<us:1>`), and hashes that are not those of this sequence's own scripts (`<hash:1>`: a server's id).
//! * The shell's scripts change: their hashes are their names, and the lines in which they fail are not compared.
//! * Client ids, a server's name, version and modules, addresses, amounts of memory and the inner structure of a stream are named, not compared.
//! * Replies that promise no order are sorted.
//! * Of INFO and CLIENT LIST only what somebody reads is compared.

use std::collections::{BTreeMap, BTreeSet};

use super::value::Value;

/// The lines of INFO that the shell, its tools and tests read.
const INFO: [&str; 17] = [
    "run_id",
    "redis_version",
    "redis_mode",
    "role",
    "master_replid",
    "connected_slaves",
    "loading",
    "maxmemory",
    "maxmemory_policy",
    "aof_enabled",
    "cluster_enabled",
    "expired_keys",
    "evicted_keys",
    "rdb_last_bgsave_status",
    "rdb_last_load_keys_expired",
    "blocked_clients",
    "db0",
];
const CLIENT: [&str; 8] = ["name", "db", "sub", "psub", "multi", "user", "resp", "flags"];

/// Replies' names for what differs. One for each run of a sequence.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Ids made from the clock are not told apart: two streams may by chance have the same.
    ids_are_alike: bool,
    ids: Vec<String>,
    microseconds: Vec<String>,
    hashes: Vec<String>,
    /// What CLIENT ID has answered last: `<client>` in commands.
    client: String,
    /// Hashes that are the same everywhere.
    scripts: BTreeSet<String>,
    /// Hashes of the shell's scripts, which change with them.
    files: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn new(ids_are_alike: bool) -> Self {
        Self { ids_are_alike, ..Self::default() }
    }

    /// A command's word with every name replaced by what it stands for here.
    pub(crate) fn resolve(&self, word: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(word) else { return word.to_vec() };
        let mut text = text.to_owned();
        for (kind, known) in [("id", &self.ids), ("us", &self.microseconds), ("hash", &self.hashes)] {
            for (at, value) in known.iter().enumerate() {
                text = text.replace(&format!("<{kind}:{}>", at + 1), value);
            }
        }
        repeated(&text.replace("<client>", &self.client)).into_bytes()
    }

    /// This hash is to be compared as it stands.
    pub(crate) fn know_script(&mut self, hash: String) {
        self.scripts.insert(hash);
    }

    /// This is the hash of that script of the shell.
    pub(crate) fn know_file(&mut self, hash: String, name: &str) {
        self.files.insert(hash, format!("<{name}.lua>"));
    }

    /// The reply to this command with everything masked that may differ.
    pub(crate) fn mask(&mut self, command: &[Vec<u8>], reply: Value) -> Value {
        let words: Vec<String> =
            command.iter().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let hash = match (words.first(), command.get(1)) {
            (Some(&"EVAL"), Some(body)) => sha1(&String::from_utf8_lossy(body)),
            (Some(&"EVALSHA"), Some(hash)) => String::from_utf8_lossy(hash).to_ascii_lowercase(),
            _ => String::new(),
        };
        if let (["CLIENT", "ID"], Value::Int(id)) = (words.as_slice(), &reply) {
            self.client = id.to_string();
        }
        let of_file = self.files.contains_key(&hash);
        let reply = if of_file { without_lines(reply) } else { reply };
        self.name(by_command(&words, reply))
    }

    /// Names moments, ids, tokens and hashes wherever they stand.
    fn name(&mut self, value: Value) -> Value {
        match value {
            Value::Int(number) => {
                let text = number.to_string();
                let named = self.text(&text);
                if named == text { Value::Int(number) } else { Value::Masked(named) }
            }
            Value::Bulk(text) => Value::Bulk(self.bytes(text)),
            Value::Status(text) => Value::Status(self.bytes(text)),
            Value::Error(text) => Value::Error(self.bytes(text)),
            Value::Verbatim(text) => Value::Verbatim(self.bytes(text)),
            other => other.map(&mut |item| self.name(item)),
        }
    }

    fn bytes(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(bytes) {
            Ok(text) => self.text(&text).into_bytes(),
            Err(other) => other.into_bytes(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let digits = word.starts_with('1') && word.bytes().all(|byte| byte.is_ascii_digit());
            let sequence = after.strip_prefix('-').map(leading_digits).unwrap_or_default();
            if digits && word.len() == 13 && !sequence.is_empty() {
                let length = end + 1 + sequence.len();
                let id = &rest[..length];
                out += &if self.ids_are_alike { "<id>".to_owned() } else { named("id", &mut self.ids, id) };
                rest = &rest[length..];
                continue;
            }
            match word.len() {
                13 if digits => out.push_str("<ms>"),
                40 if self.files.contains_key(word) => out.push_str(&self.files[word]),
                16 if digits => out.push_str(&named("us", &mut self.microseconds, word)),
                40 if word.bytes().all(|byte| byte.is_ascii_hexdigit()) && !self.scripts.contains(word) => {
                    out.push_str(&named("hash", &mut self.hashes, word));
                }
                _ => out.push_str(word),
            }
            let next = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(&after[..next]);
            rest = &after[next..];
        }
        out
    }
}

/// `<3*ab>` is `ababab`.
fn repeated(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('<') {
        out += before;
        let found = behind.split_once('>').and_then(|(inside, after)| {
            let (times, what) = inside.split_once('*')?;
            Some((what.repeat(times.parse().ok()?), after))
        });
        match found {
            Some((what, after)) => (out, rest) = (out + &what, after),
            None => (out, rest) = (out + "<", behind),
        }
    }
    out + rest
}

/// A script's hash.
pub(crate) fn sha1(script: &str) -> String {
    redis::Script::new(script).get_hash().to_owned()
}

fn leading_digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

fn named(kind: &str, known: &mut Vec<String>, value: &str) -> String {
    let at = known.iter().position(|one| one == value).unwrap_or_else(|| {
        known.push(value.to_owned());
        known.len() - 1
    });
    format!("<{kind}:{}>", at + 1)
}

fn by_command(words: &[&str], reply: Value) -> Value {
    match *words {
        ["PTTL", ..] => live(reply, 1),
        ["TTL", ..] => live(reply, 1000),
        ["EXPIRETIME" | "LASTSAVE", ..] => if_positive(reply, |_| "<s>".to_owned()),
        ["TIME"] => Value::Masked("<time>".to_owned()),
        // The harness has connections, too.
        ["CLIENT", "KILL", _, _, ..] => if_positive(reply, |_| "<some>".to_owned()),
        ["CLIENT", "ID"] => Value::Masked("<client>".to_owned()),
        ["MEMORY", ..] => if_positive(reply, |_| "<bytes>".to_owned()),
        ["OBJECT", "IDLETIME", _] => if_positive(reply, |_| "<s>".to_owned()),
        ["ROLE"] => items(reply, &mut |at, item| if at == 1 { Value::Masked("<offset>".to_owned()) } else { item }),
        ["HELLO", ..] => {
            let names =
                [("id", "<client>"), ("server", "<server>"), ("version", "<version>"), ("modules", "<modules>")];
            names.into_iter().fold(reply, |reply, (name, mask)| field(reply, name, &|_| mask.to_owned()))
        }
        ["CLIENT", "LIST" | "INFO", ..] => text(reply, clients),
        ["INFO", ..] => text(reply, info),
        ["XPENDING", _, _, _, ..] => {
            items(reply, &mut |_, row| items(row, &mut |at, item| if at == 2 { idle(item) } else { item }))
        }
        ["XINFO", "CONSUMERS", ..] => {
            reply.map(&mut |row| field(field(row, "idle", &idle_text), "inactive", &idle_text))
        }
        ["XINFO", "STREAM", ..] => {
            let inner = |_: i64| "<n>".to_owned();
            field(field(reply, "radix-tree-keys", &inner), "radix-tree-nodes", &inner)
        }
        ["KEYS" | "SMEMBERS" | "HKEYS" | "HVALS", ..] => sorted(reply, 1),
        ["HGETALL", ..] | ["CONFIG", "GET", ..] => sorted(reply, 2),
        ["SCAN", ..] => items(reply, &mut |at, item| if at == 1 { sorted(item, 1) } else { item }),
        ["EVAL" | "EVALSHA", ..] => waits(reply),
        _ => reply,
    }
}

/// A time to live: what is left of it, rounded up.
fn live(reply: Value, unit_ms: i64) -> Value {
    if_positive(reply, |left| format!("<ttl {}s>", (left * unit_ms + 9_999) / 10_000 * 10))
}

fn idle(reply: Value) -> Value {
    match reply {
        Value::Int(ms) if ms >= 0 => Value::Masked(idle_text(ms)),
        other => other,
    }
}

fn idle_text(ms: i64) -> String {
    match ms {
        ..0 => ms.to_string(),
        0..100_000_000_000 => format!("<idle {}s>", ms / 10_000 * 10),
        _ => "<idle since 1970>".to_owned(),
    }
}

fn if_positive(reply: Value, text: impl Fn(i64) -> String) -> Value {
    match reply {
        Value::Int(number) if number > 0 => Value::Masked(text(number)),
        other => other,
    }
}

/// Without the number of the line in which a script failed, wherever it is told.
fn without_lines(reply: Value) -> Value {
    let unplaced = |bytes: Vec<u8>| {
        let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
        let mut parts = text.split("user_script:");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // Redis 6.2 writes some with a space.
            let (space, number) = part.strip_prefix(' ').map_or(("", part), |number| (" ", number));
            let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
            let line = if rest.len() < number.len() { "<line>" } else { "" };
            out.extend(["user_script:", space, line, rest]);
        }
        out.into_bytes()
    };
    match reply {
        Value::Error(text) => Value::Error(unplaced(text)),
        Value::Bulk(text) => Value::Bulk(unplaced(text)),
        other => other.map(&mut without_lines),
    }
}

/// What scripts say of the time that somebody still holds something.
fn waits(value: Value) -> Value {
    match value {
        Value::Bulk(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let left = ["held ", "busy ", "is "].iter().find_map(|word| {
                let ms: i64 = text.strip_prefix(word)?.parse().ok()?;
                Some(format!("{word}<ttl {}s>", (ms + 9_999) / 10_000 * 10))
            });
            Value::Bulk(left.map_or(bytes, String::into_bytes))
        }
        // The idle time that `release` and these sequences give, and a little more.
        Value::Int(ms @ 3_600_000..3_700_000) => idle(Value::Int(ms)),
        other => other.map(&mut waits),
    }
}

fn info(text: &str) -> String {
    let kept = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = match name {
            "redis_version" => "<version>",
            // keys=1,expires=1,avg_ttl=59999: the last is an estimate
            "db0" => value.split(",avg_ttl").next()?,
            _ => value,
        };
        INFO.contains(&name).then(|| format!("{name}:{value}"))
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// The clients that have a name, as the harness has none.
fn clients(text: &str) -> String {
    let named = text.lines().filter(|line| !line.contains(" name= "));
    let kept = named.map(|line| {
        let fields = line.split(' ').filter(|field| CLIENT.contains(&field.split('=').next().unwrap_or_default()));
        fields.collect::<Vec<_>>().join(" ")
    });
    kept.collect::<Vec<_>>().join("\n")
}

fn text(reply: Value, rule: fn(&str) -> String) -> Value {
    match reply {
        Value::Bulk(bytes) => Value::Bulk(rule(&String::from_utf8_lossy(&bytes)).into_bytes()),
        Value::Verbatim(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Value::Verbatim(format!("txt:{}", rule(text.trim_start_matches("txt:"))).into_bytes())
        }
        other => other,
    }
}

/// The value of this name in a map, which RESP2 writes as a list.
fn field(reply: Value, name: &str, rule: &dyn Fn(i64) -> String) -> Value {
    let is = |key: &Value| matches!(key, Value::Bulk(text) if text == name.as_bytes());
    let masked = |value: Value| match value {
        Value::Int(number) => Value::Masked(rule(number)),
        Value::Bulk(_) | Value::Array(_) => Value::Masked(rule(0)),
        other => other,
    };
    match reply {
        Value::Map(pairs) => Value::Map(
            pairs.into_iter().map(|(key, value)| if is(&key) { (key, masked(value)) } else { (key, value) }).collect(),
        ),
        Value::Array(mut flat) => {
            for at in 1..flat.len() {
                if at % 2 == 1 && is(&flat[at - 1]) {
                    flat[at] = masked(flat[at].clone());
                }
            }
            Value::Array(flat)
        }
        other => other,
    }
}

fn items(reply: Value, rule: &mut dyn FnMut(usize, Value) -> Value) -> Value {
    let Value::Array(list) = reply else { return reply };
    Value::Array(list.into_iter().enumerate().map(|(at, item)| rule(at, item)).collect())
}

/// In an order of its own, so many items at a time.
fn sorted(reply: Value, together: usize) -> Value {
    let sort = |list: Vec<Value>| {
        let mut groups: Vec<Vec<Value>> = list.chunks(together).map(<[Value]>::to_vec).collect();
        groups.sort_by_key(|group| group[0].to_string());
        groups.concat()
    };
    match reply {
        Value::Array(list) => Value::Array(sort(list)),
        Value::Set(list) => Value::Set(sort(list)),
        Value::Map(mut pairs) => {
            pairs.sort_by_key(|(key, _)| key.to_string());
            Value::Map(pairs)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(command: &str, reply: &str) -> String {
        let words: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let (value, _) = Value::parse(reply.as_bytes()).expect("a whole value");
        Names::default().mask(&words, value).to_string()
    }

    #[test]
    fn what_differs_is_masked_and_nothing_else() {
        let cases = [
            ("PTTL k", ":59123\r\n", "<ttl 60s>"),
            ("PTTL k", ":-2\r\n", "-2"),
            ("TTL k", ":3600\r\n", "<ttl 3600s>"),
            (
                "XPENDING s g - + 9",
                "*1\r\n*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:12\r\n:1\r\n",
                r#"[["1-1", "c", <idle 0s>, 1]]"#,
            ),
            ("XPENDING s g", "*1\r\n:12345\r\n", "[12345]"),
            ("GET k", "$15\r\n1790000000000-1\r\n", r#""<id:1>""#),
            ("GET k", "$12\r\n1790000000-1\r\n", r#""1790000000-1""#),
            ("GET k", "$18\r\nx 1790000000000123\r\n", r#""x <us:1>""#),
            ("PEXPIRETIME k", ":1790000000000\r\n", "<ms>"),
            ("KEYS *", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", r#"["a", "b"]"#),
            ("MGET x y", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", r#"["b", "a"]"#),
            ("HGETALL h", "*4\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n2\r\n", r#"["a", "2", "b", "1"]"#),
            ("EVAL x 0", "*1\r\n$10\r\nheld 59993\r\n", r#"["held <ttl 60s>"]"#),
            ("INFO", "$26\r\nrole:master\r\nused_cpu:12\r\n\r\n", r#""role:master""#),
            (
                "XINFO CONSUMERS s g",
                "*1\r\n*4\r\n$4\r\nname\r\n$4\r\nidle\r\n$4\r\nidle\r\n:7\r\n",
                r#"[["name", "idle", "idle", <idle 0s>]]"#,
            ),
        ];
        for (command, reply, text) in cases {
            assert_eq!(masked(command, reply), text, "{command}");
        }
    }

    #[test]
    fn ids_keep_their_names_and_stand_for_themselves() {
        let mut names = Names::default();
        let mut see = |text: &str| names.mask(&[], Value::Bulk(text.into())).to_string();
        assert_eq!(see("1790000000000-0 and 1790000000000-1"), r#""<id:1> and <id:2>""#);
        assert_eq!(see("1790000000000-1"), r#""<id:2>""#);
        let hash = "a".repeat(40);
        assert_eq!(see(&hash), r#""<hash:1>""#);
        assert_eq!(names.resolve(b"(<id:2>"), b"(1790000000000-1");
        assert_eq!(names.resolve(b"a<b <2*x:>y <id:9> <z*1>"), b"a<b x:x:y <id:9> <z*1>");
        names.know_script(hash.clone());
        assert_eq!(names.mask(&[], Value::Bulk(hash.clone().into())).to_string(), format!("\"{hash}\""));
    }
}
