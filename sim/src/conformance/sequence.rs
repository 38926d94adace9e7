//! Sequences of commands as text files, each step followed by what a server answers.
//!
//! ```text
//! # A comment. Settings of the server, if it needs others than the usual ones (it is then one of its own):
//! server: appendonly yes, appendfsync always
//! redis: 6.2                             it asks for this version: then this line has to be there
//!
//! c1> XADD s 1-1 field "a value\r\n"     a command of the client c1 (connected when first named), and its reply
//!   "1-1"
//! c2>> XREADGROUP GROUP g me BLOCK 0 STREAMS s >       a command that is not answered yet
//! c2< 1                                  what has come for c2: waits until it is one value
//! c2<                                    what has come for c2 by now
//!   (nothing)
//! c1 raw> PING\r\n                       bytes as they stand
//! wait 50ms                              time passes
//! restart                                the server is killed and started again; all connections end
//! hang up c1                             the client closes its connection
//! ```
//!
//! In commands, `@lua/acquire` is the text of that script of the shell, `@sha/acquire` its hash, and `<id:1>` the id
//! that stands as `<id:1>` in a reply before (see `masks`), `<client>` what CLIENT ID has answered last, `<6000*ab>` is
//! `ab` six thousand times. Where Valkey
//! answers otherwise, its answer stands below a line `! valkey`. Everything else is the answer of Redis 7.0, or of the
//! version that the sequence asks for; and the simulation's, which plays that version.

use std::{path::PathBuf, time::Duration};

use super::value::quoted;
use crate::redis::Version;

/// A sequence.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The file's, without its ending.
    pub name: String,
    /// Of a server of its own.
    pub settings: Vec<(String, String)>,
    /// The Redis that it is for: only a server of this version answers so.
    pub version: Version,
    /// Line by line.
    pub parts: Vec<Part>,
    /// Ids made from the clock are not told apart.
    pub ids_are_alike: bool,
}

/// A line of a sequence with what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The line as it stands there: also comments and empty lines.
    pub line: String,
    /// What is to be done, if anything.
    pub step: Option<Step>,
    /// What Redis answers.
    pub reply: Vec<String>,
    /// What Valkey answers, where that is something else.
    pub on_valkey: Option<Vec<String>>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A command, and whether its reply is waited for.
    Call {
        /// Who sends it.
        client: String,
        /// The command, with its names.
        words: Vec<Vec<u8>>,
        /// Whether its reply is waited for.
        wait: bool,
    },
    /// Bytes as they stand.
    Raw {
        /// Who sends them.
        client: String,
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// What has come: until there are so many, or by now.
    Receive {
        /// For whom.
        client: String,
        /// How many values are waited for.
        count: Option<usize>,
    },
    /// Time passes.
    Wait(Duration),
    /// The server is killed and started again.
    Restart,
    /// A client closes its connection.
    HangUp {
        /// Which one.
        client: String,
    },
}

impl Sequence {
    /// All sequences of the folder, by name; only those whose name has the text of `SEQUENCE` in it, if that is set.
    ///
    /// # Panics
    /// If they cannot be read: they lie in the repository that this was built from.
    pub fn all() -> Vec<Sequence> {
        let only = std::env::var("SEQUENCE").unwrap_or_default();
        let files = std::fs::read_dir(folder()).expect("the folder of sequences");
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        let named = paths.iter().map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path));
        named
            .filter(|(name, _)| name.contains(&only))
            .map(|(name, path)| {
                let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                Sequence::parse(&name, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            })
            .collect()
    }

    /// Reads a sequence. An error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Sequence, String> {
        let mut sequence = Sequence { name: name.to_owned(), ..Sequence::default() };
        let mut on_valkey = false;
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
            if let Some(reply) = line.strip_prefix("  ") {
                let part = sequence.parts.last_mut().ok_or_else(|| wrong("a reply to nothing"))?;
                let lines = if on_valkey { part.on_valkey.get_or_insert_default() } else { &mut part.reply };
                lines.push(reply.to_owned());
                continue;
            }
            on_valkey = line == "! valkey";
            if on_valkey {
                continue;
            }
            if let Some(settings) = line.strip_prefix("server:") {
                let pairs = settings.split(',').map(|one| one.trim().split_once(' ').unwrap_or((one.trim(), "")));
                sequence.settings = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            }
            if let Some(version) = line.strip_prefix("redis:") {
                sequence.version = Version::named(version.trim()).ok_or_else(|| wrong("it is 6.2 or 7.0"))?;
            }
            let step = step(line).map_err(|what| wrong(&what))?;
            sequence.parts.push(Part { line: line.to_owned(), step, ..Part::default() });
        }
        Ok(sequence)
    }

    /// It ends the server, so it needs one of its own.
    pub fn restarts(&self) -> bool {
        self.parts.iter().any(|part| part.step == Some(Step::Restart))
    }

    /// The text that [`parse`](Sequence::parse) reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        for part in &self.parts {
            add(&part.line);
            part.reply.iter().for_each(|line| add(&format!("  {line}")));
            if let Some(lines) = &part.on_valkey {
                add("! valkey");
                lines.iter().for_each(|line| add(&format!("  {line}")));
            }
        }
        text
    }

    /// Writes it back to where it came from.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn save(&self) {
        let path = folder().join(format!("{}.txt", self.name));
        std::fs::write(&path, self.text()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Step {
    /// The line of text for a command.
    pub fn call(client: &str, words: &[&str]) -> Part {
        Step::command(client, words, true)
    }

    /// The line of text for a command whose answer comes later.
    pub fn ask(client: &str, words: &[&str]) -> Part {
        Step::command(client, words, false)
    }

    fn command(client: &str, words: &[&str], wait: bool) -> Part {
        let texts: Vec<String> = words
            .iter()
            .map(|word| {
                let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
                if plain { (*word).to_owned() } else { quoted(word.as_bytes()) }
            })
            .collect();
        let line = format!("{client}{} {}", if wait { ">" } else { ">>" }, texts.join(" "));
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Part { line, step: Some(Step::Call { client: client.to_owned(), words, wait }), ..Part::default() }
    }

    /// The line for taking what has come by now.
    pub fn receive(client: &str) -> Part {
        let step = Step::Receive { client: client.to_owned(), count: None };
        Part { line: format!("{client}<"), step: Some(step), ..Part::default() }
    }

    /// The line for letting time pass.
    pub fn wait(ms: u64) -> Part {
        let step = Step::Wait(Duration::from_millis(ms));
        Part { line: format!("wait {ms}ms"), step: Some(step), ..Part::default() }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/tests/conformance/sequences")
}

fn step(line: &str) -> Result<Option<Step>, String> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') || ["server:", "redis:"].iter().any(|head| line.starts_with(head)) {
        return Ok(None);
    }
    if line == "restart" {
        return Ok(Some(Step::Restart));
    }
    if let Some(client) = line.strip_prefix("hang up ") {
        return Ok(Some(Step::HangUp { client: client.to_owned() }));
    }
    if let Some(span) = line.strip_prefix("wait ") {
        let ms = span.strip_suffix("ms").and_then(|number| number.parse().ok()).ok_or("a time in ms is missing")?;
        return Ok(Some(Step::Wait(Duration::from_millis(ms))));
    }
    let at = line.find(['>', '<', ' ']).ok_or("what is this?")?;
    let (client, rest) = (line[..at].to_owned(), &line[at..]);
    let step = if let Some(count) = rest.strip_prefix('<') {
        let count = count.trim();
        let count = if count.is_empty() { None } else { Some(count.parse().map_err(|_| "how many?")?) };
        Step::Receive { client, count }
    } else if let Some(bytes) = rest.strip_prefix(" raw> ") {
        Step::Raw { client, bytes: unescaped(bytes)? }
    } else if let Some(command) = rest.strip_prefix(">> ") {
        Step::Call { client, words: words(command)?, wait: false }
    } else if let Some(command) = rest.strip_prefix("> ") {
        Step::Call { client, words: words(command)?, wait: true }
    } else {
        return Err("what is this?".to_owned());
    };
    Ok(Some(step))
}

/// Words between spaces; quotation marks, with escapes inside, keep one together.
fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word;
        if let Some(inside) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = inside.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.ok_or("a quotation mark is missing")?;
            word = unescaped(&inside[..end])?;
            rest = inside[end + 1..].trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            word = rest.as_bytes()[..end].to_vec();
            rest = rest[end..].trim_start();
        }
        words.push(word);
    }
    Ok(words)
}

fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        out.push(match chars.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| "two digits should follow \\x")?
            }
            Some(c @ ('"' | '\\')) => c as u8,
            _ => return Err("an unknown escape".to_owned()),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# about
server: appendonly yes, maxmemory 1mb
c1> SET \"a b\\x00\" \"\"
  +OK
c2>> GET a
c2< 1
  \"x\"
! valkey
  \"y\"
c2<
c1 raw> PING\\r\\n
wait 5ms
restart
hang up c1
";

    #[test]
    fn a_sequence_is_read_and_written() {
        let sequence = Sequence::parse("a", TEXT).unwrap();
        assert_eq!(sequence.text(), TEXT);
        assert_eq!(sequence.settings[1], ("maxmemory".to_owned(), "1mb".to_owned()));
        let steps: Vec<&Step> = sequence.parts.iter().filter_map(|part| part.step.as_ref()).collect();
        let words = vec![b"SET".to_vec(), b"a b\0".to_vec(), vec![]];
        assert_eq!(steps[0], &Step::Call { client: "c1".to_owned(), words, wait: true });
        assert!(matches!(steps[1], Step::Call { wait: false, .. }));
        assert_eq!(steps[2], &Step::Receive { client: "c2".to_owned(), count: Some(1) });
        assert_eq!(steps[4], &Step::Raw { client: "c1".to_owned(), bytes: b"PING\r\n".to_vec() });
        assert_eq!(steps.len(), 8);
        assert_eq!(sequence.parts[4].on_valkey.as_deref(), Some(&["\"y\"".to_owned()][..]));
        assert_eq!(sequence.version, Version::Redis7);
        assert_eq!(Sequence::parse("a", "redis: 6.2\nc1> GET a").unwrap().version, Version::Redis6);
        for wrong in ["  reply", "redis: 5.0", "c1 GET a", "c1> GET \"a", "wait 5", "c1> \"\\q\"", "c1< x"] {
            assert!(Sequence::parse("a", wrong).is_err(), "{wrong}");
        }
        assert_eq!(Step::call("c1", &["SET", "a b", ""]).line, "c1> SET \"a b\" \"\"");
    }
}
