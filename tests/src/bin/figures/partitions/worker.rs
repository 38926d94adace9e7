//! A consumer process, and what it said. Of each line no more is kept than is judged: there are hundreds of thousands.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde::Deserialize;
use streamkeeper_core::id::EntryId;
use streamkeeper_tests::{
    event::{Kind, now_us},
    process::Process,
    program::streamkeeper,
};

use super::owners::{Life, Place};

/// What the streams are called, before their numbers.
pub(crate) const PREFIX: &str = "s";

/// How many complaints are kept, the first ones.
const COMPLAINTS: usize = 3;

/// A line about a stream.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) at_us: u64,
    pub(crate) kind: Kind,
    pub(crate) stream: usize,
    pub(crate) token: u64,
    pub(crate) place: Place,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Line<'a> {
    at_us: u64,
    event: Kind,
    #[serde(borrow)]
    stream: Option<&'a str>,
    entry: Option<&'a str>,
    partition: Option<u32>,
    token: Option<u64>,
}

/// A consumer process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    process: Process,
    heard: Arc<Heard>,
    readers: Vec<JoinHandle<()>>,
    killed_us: Option<u64>,
}

#[derive(Debug, Default)]
struct Heard {
    ready: AtomicBool,
    owned: AtomicI64,
    words: Mutex<Vec<Word>>,
    complaints: Mutex<Complaints>,
}

/// What a consumer wrote on standard error, and what it wrote elsewhere that is no event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints {
    pub(crate) count: usize,
    pub(crate) first: Vec<String>,
}

impl Worker {
    /// Starts `streamkeeper` with these arguments.
    pub(crate) fn start(arguments: &[String]) -> Worker {
        let mut command = Command::new(streamkeeper());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(&mut command);
        let (out, errors) = process.pipes();
        let heard = Arc::new(Heard::default());
        let readers = vec![
            read(out.expect("piped"), &heard, Heard::hear),
            read(errors.expect("piped"), &heard, |heard, line| heard.complain(line)),
        ];
        Worker { process, heard, readers, killed_us: None }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.heard.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed_us.is_some()
    }

    /// How many streams it has, by what it says.
    pub(crate) fn owned(&self) -> i64 {
        self.heard.owned.load(Ordering::Relaxed)
    }

    /// How it ended, if nobody killed it.
    pub(crate) fn ended_by_itself(&self) -> Option<String> {
        let status = self.process.ended().filter(|_| self.killed_us.is_none())?;
        Some(format!("{status}: {:?}", self.complaints().first))
    }

    pub(crate) fn complaints(&self) -> Complaints {
        self.heard.complaints.lock().unwrap().clone()
    }

    pub(crate) fn forget_complaints(&self) {
        *self.heard.complaints.lock().unwrap() = Complaints::default();
    }

    /// kill -9. All that it has said is known afterwards.
    pub(crate) fn kill(&mut self) {
        self.killed_us = Some(now_us());
        self.process.kill();
        for reader in self.readers.drain(..) {
            reader.join().expect("it reads to the end");
        }
    }

    pub(crate) fn life(&self) -> Life {
        Life { words: self.heard.words.lock().unwrap().clone(), killed_us: self.killed_us }
    }
}

impl Heard {
    fn hear(&self, line: &str) {
        let Some(line) = serde_json::from_str::<Line<'_>>(line).ok() else { return self.complain(line) };
        if line.event == Kind::Ready {
            return self.ready.store(true, Ordering::Relaxed);
        }
        let Some(word) = line.word() else { return };
        match word.kind {
            Kind::Added => _ = self.owned.fetch_add(1, Ordering::Relaxed),
            kind if kind.is_final() => _ = self.owned.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.words.lock().unwrap().push(word);
    }

    fn complain(&self, line: &str) {
        let mut complaints = self.complaints.lock().unwrap();
        complaints.count += 1;
        if complaints.first.len() < COMPLAINTS {
            complaints.first.push(line.to_owned());
        }
    }
}

impl Line<'_> {
    /// None if it is not about one of the streams.
    fn word(&self) -> Option<Word> {
        let stream = self.stream?.strip_prefix(PREFIX)?.parse().ok()?;
        let entry: EntryId = self.entry?.parse().ok()?;
        let place = Place { partition: self.partition.unwrap_or_default(), entry };
        Some(Word { at_us: self.at_us, kind: self.event, stream, token: self.token.unwrap_or_default(), place })
    }
}

fn read(
    pipe: impl Read + Send + 'static,
    heard: &Arc<Heard>,
    hear: impl Fn(&Heard, &str) + Send + 'static,
) -> JoinHandle<()> {
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        let (mut pipe, mut line) = (BufReader::with_capacity(1 << 16, pipe), String::new());
        while pipe.read_line(&mut line).is_ok_and(|read| read > 0) {
            hear(&heard, line.trim_end());
            line.clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_word() {
        let heard = Heard::default();
        heard.hear(r#"{"at_us":1,"event":"ready","consumer":"c"}"#);
        heard.hear(
            r#"{"at_us":5,"event":"added","consumer":"c","stream":"s17","entry":"3-4","partition":7,"token":9,"info":{"a":"\n"}}"#,
        );
        heard.hear("no event");
        let words = heard.words.lock().unwrap();
        let [Word { at_us: 5, kind: Kind::Added, stream: 17, token: 9, place }] = words[..] else {
            panic!("{words:?}")
        };
        assert_eq!(place, Place { partition: 7, entry: EntryId { ms: 3, seq: 4 } });
        assert!(heard.ready.load(Ordering::Relaxed) && heard.owned.load(Ordering::Relaxed) == 1);
        let complaints = heard.complaints.lock().unwrap();
        assert_eq!((complaints.count, &complaints.first[..]), (1, &["no event".to_owned()][..]));
    }
}
