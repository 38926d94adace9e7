//! Runs a sequence on one server, and holds its replies against those in the file.

use std::{collections::BTreeMap, collections::VecDeque, time::Duration};

use super::{
    masks::{Names, sha1},
    sequence::{Part, Sequence, Step},
    side::{Got, Side},
    value::{self, Value},
};

/// How long an answer that has to come is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one waits for what has been sent already: it only has to cross the loopback.
const GLANCE: Duration = Duration::from_millis(5);

/// What a client has asked and not been answered.
#[derive(Default)]
struct Client {
    open: VecDeque<Vec<Vec<u8>>>,
    /// The commands of a MULTI.
    queued: Vec<Vec<Vec<u8>>>,
}

/// Runs the sequence; the answer to each part, as lines.
pub fn run(sequence: &Sequence, side: &mut dyn Side) -> Vec<Vec<String>> {
    let names = Names::new(sequence.ids_are_alike);
    let mut run = Run { side, names, clients: BTreeMap::new() };
    sequence.parts.iter().map(|part| part.step.as_ref().map_or_else(Vec::new, |step| run.step(step))).collect()
}

/// The differences between what the file says and what the server said, for a person to read.
pub fn differences(sequence: &Sequence, replies: &[Vec<String>], expected: fn(&Part) -> &[String]) -> String {
    let mut out = String::new();
    for (at, (part, reply)) in sequence.parts.iter().zip(replies).enumerate() {
        let expected = expected(part);
        if expected != reply {
            let show = |lines: &[String]| lines.iter().map(|line| format!("      {line}\n")).collect::<String>();
            out += &format!("\n  {}.txt, step {at}: {}\n", sequence.name, part.line);
            out += &format!("    to be:\n{}    is:\n{}", show(expected), show(reply));
        }
    }
    out
}

struct Run<'a> {
    side: &'a mut dyn Side,
    names: Names,
    clients: BTreeMap<String, Client>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Vec<String> {
        match step {
            Step::Call { client, words, wait } => {
                let words: Vec<Vec<u8>> = words.iter().map(|word| self.word(word)).collect();
                self.know_script(&words);
                let subscriptions = subscriptions(&words);
                self.side.send(client, &value::command(&words));
                self.clients.entry(client.clone()).or_default().open.push_back(words);
                match subscriptions {
                    _ if !wait => self.settle(),
                    Some(count) => self.receive(client, Some(count)),
                    None => self.answer(client),
                }
            }
            Step::Raw { client, bytes } => {
                self.side.send(client, bytes);
                self.clients.entry(client.clone()).or_default().open.push_back(Vec::new());
                self.receive(client, Some(1))
            }
            Step::Receive { client, count } => self.receive(client, *count),
            Step::Wait(span) => {
                self.side.wait(*span);
                Vec::new()
            }
            Step::Restart => {
                self.clients.clear();
                self.side.restart();
                Vec::new()
            }
            Step::HangUp { client } => {
                self.clients.remove(client);
                self.side.hang_up(client);
                Vec::new()
            }
        }
    }

    fn settle(&mut self) -> Vec<String> {
        self.side.settle();
        Vec::new()
    }

    /// The reply, and what is pushed before it.
    fn answer(&mut self, client: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let got = self.side.read(client, PATIENCE);
            let pushed = matches!(&got, Got::Value(value) if value.is_push());
            lines.extend(self.lines(client, got));
            if !pushed {
                return lines;
            }
        }
    }

    fn receive(&mut self, client: &str, count: Option<usize>) -> Vec<String> {
        let mut lines = Vec::new();
        if count.is_none() {
            self.side.settle();
        }
        for _ in 0..count.unwrap_or(usize::MAX) {
            let got = self.side.read(client, if count.is_none() { GLANCE } else { PATIENCE });
            let ended = matches!(got, Got::Closed | Got::Nothing);
            if got != Got::Nothing || lines.is_empty() || count.is_some() {
                lines.extend(self.lines(client, got));
            }
            if ended {
                break;
            }
        }
        lines
    }

    fn lines(&mut self, client: &str, got: Got) -> Vec<String> {
        match got {
            Got::Nothing => vec!["(nothing)".to_owned()],
            Got::Closed => vec!["(closed)".to_owned()],
            Got::Value(value) if value.is_push() => self.names.mask(&[], value).lines(),
            Got::Value(value) => {
                let words = self.clients.get_mut(client).and_then(|client| client.open.pop_front()).unwrap_or_default();
                self.reply(client, words, value).lines()
            }
        }
    }

    /// Masked as the command wants it; what EXEC answers, as the commands want it that were queued.
    fn reply(&mut self, client: &str, words: Vec<Vec<u8>>, value: Value) -> Value {
        let queued = &mut self.clients.entry(client.to_owned()).or_default().queued;
        let is = |name: &str| words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        if value == Value::Status(b"QUEUED".to_vec()) {
            queued.push(words);
            return value;
        }
        if is("EXEC") || is("DISCARD") {
            let mut commands = std::mem::take(queued).into_iter();
            let Value::Array(replies) = value else { return self.names.mask(&words, value) };
            let mask = |reply| self.names.mask(&commands.next().unwrap_or_default(), reply);
            return Value::Array(replies.into_iter().map(mask).collect());
        }
        self.names.mask(&words, value)
    }

    /// A word as it is sent.
    fn word(&mut self, word: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(word);
        let Some((kind, name)) = text.strip_prefix('@').and_then(|text| text.split_once('/')) else {
            return self.names.resolve(word);
        };
        let script = script(name);
        let hash = sha1(&script);
        self.names.know_file(hash.clone(), name);
        if kind == "sha" { hash.into_bytes() } else { script.into_bytes() }
    }

    /// The hash of a script that stands in the sequence is the same on every server.
    fn know_script(&mut self, words: &[Vec<u8>]) {
        let is = |at: usize, name: &str| words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        let at = if is(0, "EVAL") { 1 } else { 2 };
        if is(0, "EVAL") || is(0, "SCRIPT") && is(1, "LOAD") {
            self.names.know_script(sha1(&String::from_utf8_lossy(words.get(at).map_or(b"", Vec::as_slice))));
        }
    }
}

/// How many answers there are to a command that is answered once for each channel, and in RESP3 by pushes.
fn subscriptions(words: &[Vec<u8>]) -> Option<usize> {
    let command = words.first().map(|word| word.to_ascii_uppercase())?;
    let each = [&b"SUBSCRIBE"[..], b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE"].contains(&&*command);
    each.then(|| (words.len() - 1).max(1))
}

/// A script of the shell, as the shell sends it.
fn script(name: &str) -> String {
    let found = streamkeeper::scripts().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("the shell has no script `{name}`")).1.to_owned()
}
