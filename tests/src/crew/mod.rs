//! The workers of one group on one stream of messages: started, waited for and, at the end of every test, judged.
//!
//! Workers are processes, `streamkeeper consume --json`; what handles a message is a shell script, a [`Handler`], that
//! writes down when it starts and ends. So what is judged is what happened, whatever the program says.

mod handler;
mod runs;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use handler::Handler;
pub use runs::{Run, Runs};
pub use worker::{Outcome, Worker};

use crate::cluster::Cluster;
use crate::command::{Answer, must_succeed, streamkeeper_fed};
use crate::home::Home;
use crate::server::{Server, run_on};
use crate::wait;

/// A dead letter: its fields.
pub type Letter = BTreeMap<String, String>;

/// A group's workers. A test must end with [`Crew::conclude`].
#[derive(Debug)]
pub struct Crew<'s> {
    home: Cell<Home<'s>>,
    url: String,
    reach: Vec<String>,
    stream: String,
    /// What the names of all other keys begin with.
    base: String,
    group: String,
    folder: TempDir,
    arguments: Vec<String>,
    workers: RefCell<Vec<Arc<Worker>>>,
    sent: Cell<u64>,
    concluded: Cell<bool>,
}

impl<'s> Crew<'s> {
    /// The group `billing` on the stream `orders`, with the shortest times: reclaimed after a second, tried again after
    /// 100 ms.
    #[must_use]
    pub fn on(server: &'s Server) -> Self {
        Self::at(Home::Server(server), server.url())
    }

    /// The same on a cluster, where all its keys share a slot by themselves.
    #[must_use]
    pub fn on_cluster(cluster: &'s Cluster) -> Self {
        let crew = Self::at(Home::Slot(cluster, cluster.slot("orders")), cluster.url());
        crew.tagged()
    }

    fn at(home: Home<'s>, url: String) -> Self {
        let usual = ["--reclaim-idle", "1s", "--reclaim-interval", "200ms", "--backoff", "100ms"];
        Self {
            home: Cell::new(home),
            url,
            reach: Vec::new(),
            stream: "orders".to_owned(),
            base: "orders".to_owned(),
            group: "billing".to_owned(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            arguments: usual.map(str::to_owned).to_vec(),
            workers: RefCell::default(),
            sent: Cell::new(0),
            concluded: Cell::new(false),
        }
    }

    /// The same by another URL.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Tells the harness that the data are on another server from now on.
    pub fn moved_to(&self, server: &'s Server) {
        self.home.set(Home::Server(server));
    }

    /// Arguments that every command needs to get to the server.
    #[must_use]
    pub fn reached_with(mut self, arguments: &[&str]) -> Self {
        self.reach.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// All its keys share a slot of a cluster.
    #[must_use]
    pub fn hash_tagged(self) -> Self {
        self.tagged().reached_with(&["--hash-tagged"])
    }

    fn tagged(mut self) -> Self {
        self.base = format!("{{{}}}", self.stream);
        self
    }

    /// Arguments for every worker; a later one replaces an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The name of the group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name of one of the group's own keys, written down once more on purpose.
    #[must_use]
    pub fn key(&self, what: &str) -> String {
        format!("{}:{}:{what}", self.base, self.group)
    }

    /// Starts a worker.
    pub fn start(&self, name: &str, handler: &Handler) -> Arc<Worker> {
        self.start_with(name, handler, &[])
    }

    /// Starts a worker with arguments of its own.
    pub fn start_with(&self, name: &str, handler: &Handler, arguments: &[&str]) -> Arc<Worker> {
        let mut all = vec!["consume".to_owned()];
        all.extend(self.address());
        all.extend(["--name", name, "--exec", &handler.script(), "--json"].map(str::to_owned));
        all.extend(merge(&self.arguments, arguments));
        let worker = Arc::new(Worker::spawn(name, &all, &self.folder.path().join("log")));
        self.workers.borrow_mut().push(Arc::clone(&worker));
        worker
    }

    /// Starts several workers with the same handler.
    pub fn start_all<const N: usize>(&self, names: [&str; N], handler: &Handler) -> [Arc<Worker>; N] {
        names.map(|name| self.start(name, handler))
    }

    /// Adds so many messages in one pipeline, as any producer would: `{"n":…}` in the field `body`, numbered through the
    /// whole test. Answers their numbers.
    pub fn send(&self, count: u64) -> Vec<u64> {
        let from = self.sent.get();
        self.sent.set(from + count);
        let numbers: Vec<u64> = (from..from + count).collect();
        let mut connection = self.home.get().server().connect();
        for chunk in numbers.chunks(10_000) {
            let mut pipeline = redis::pipe();
            for number in chunk {
                pipeline.cmd("XADD").arg(&self.stream).arg("*").arg("body").arg(format!("{{\"n\":{number}}}")).ignore();
            }
            pipeline.exec(&mut connection).expect("messages are added");
        }
        numbers
    }

    /// Takes the next number, for a message that the test sends by itself.
    pub fn next_number(&self) -> u64 {
        let number = self.sent.get();
        self.sent.set(number + 1);
        number
    }

    /// How many messages with a number there are so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Adds one entry as it is, and answers its id.
    pub fn add_raw(&self, fields: &[&str]) -> String {
        self.run(&[&["XADD", &self.stream, "*"], fields].concat())
    }

    /// Runs a command of the harness, in words.
    ///
    /// # Panics
    /// If the server answers with an error.
    pub fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        run_on(&mut self.home.get().server().connect(), words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The arguments that lead any command to this group.
    #[must_use]
    pub fn address(&self) -> Vec<String> {
        let group = ["--group", &self.group].map(str::to_owned);
        self.place().into_iter().chain(group).collect()
    }

    /// Those that lead to its stream.
    fn place(&self) -> Vec<String> {
        let place = ["--redis", &self.url, "--stream", &self.stream].map(str::to_owned);
        place.into_iter().chain(self.reach.iter().cloned()).collect()
    }

    /// Runs a command against this group; `words` are what stands before and after the address.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Answer {
        command_at(words, &self.address(), b"")
    }

    /// The same, and it must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn command_ok(&self, words: &[&str]) -> Answer {
        must_succeed(words, || self.command(words))
    }

    /// Runs a command against this stream, whatever the group, with this on its standard input.
    #[must_use]
    pub fn command_on_stream(&self, words: &[&str], input: &[u8]) -> Answer {
        command_at(words, &self.place(), input)
    }

    /// What the handlers have done so far.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::read(&self.folder.path().join("log"))
    }

    /// What is pending: the message's id, under which name, and how often it was delivered.
    #[must_use]
    pub fn pending(&self) -> Vec<(String, String, u64)> {
        let all: Vec<(String, String, u64, u64)> = self
            .home
            .get()
            .server()
            .try_run(&["XPENDING", &self.stream, &self.group, "-", "+", "100000"])
            .unwrap_or_default();
        all.into_iter().map(|(id, name, _, deliveries)| (id, name, deliveries)).collect()
    }

    /// Whether every message in the stream has been handed out, and nothing is pending, delayed or scheduled. Asked in
    /// the order in which messages go, so that none slips through between two questions.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let scheduled = format!("{}:scheduled", self.base);
        if self.home.get().server().try_run::<u64>(&["ZCARD", &scheduled]).unwrap_or(1) > 0 {
            return false;
        }
        let Ok(groups) =
            self.home.get().server().try_run::<Vec<BTreeMap<String, redis::Value>>>(&["XINFO", "GROUPS", &self.stream])
        else {
            return false;
        };
        let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap_or_default();
        let Some(group) = groups.iter().find(|group| group.get("name").map(text).as_deref() == Some(&*self.group))
        else {
            return false;
        };
        // What is delayed is pending too, under a name of its own.
        let behind = format!("({}", text(&group["last-delivered-id"]));
        let unread = || {
            self.home.get().server().try_run::<Vec<redis::Value>>(&["XRANGE", &self.stream, &behind, "+", "COUNT", "1"])
        };
        text(&group["pending"]) == "0" && unread().is_ok_and(|unread| unread.is_empty())
    }

    /// The dead letters, oldest first.
    #[must_use]
    pub fn dead(&self) -> Vec<Letter> {
        type Bytes = Vec<u8>;
        let letters: Vec<(String, Vec<(Bytes, Bytes)>)> = self.run(&["XRANGE", &self.key("dead"), "-", "+"]);
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let fields = |fields: Vec<(Bytes, Bytes)>| fields.into_iter().map(|(name, value)| (text(name), text(value)));
        letters.into_iter().map(|(_, letter)| fields(letter).collect()).collect()
    }

    /// The numbers of the messages among the dead letters, in order.
    #[must_use]
    pub fn dead_numbers(&self) -> Vec<u64> {
        let number = |letter: Letter| body_number(letter.get("original:body")?);
        let mut numbers: Vec<u64> = self.dead().into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Waits until the condition holds.
    ///
    /// # Panics
    /// If it does not within the limit, or if a worker ends though nobody asked it to.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            self.assert_alive();
            assert!(start.elapsed() < wait::LIMIT, "waited {:?} in vain for: {what}", wait::LIMIT);
            std::thread::sleep(2 * wait::GLANCE);
        }
    }

    /// Waits until the handlers' story is so.
    pub fn wait_runs(&self, what: &str, mut condition: impl FnMut(&Runs) -> bool) {
        self.wait(what, || condition(&self.runs()));
    }

    /// Sends messages until the worker is in the middle of one: however late it is, some are left for it.
    pub fn send_until_working(&self, worker: &Worker) {
        self.wait_runs(&format!("{} to work", worker.name()), |runs| {
            let works = !runs.running(worker.name()).is_empty();
            if !works {
                self.send(20);
            }
            works
        });
    }

    /// Lets the handlers go on that wait at this gate, and all that come.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn open(&self, gate: &str) {
        std::fs::write(self.folder.path().join(format!("log.{gate}")), "").expect("an open gate");
    }

    /// Waits until nothing is left to do.
    pub fn wait_settled(&self) {
        self.wait("everything to be settled", || self.is_settled());
    }

    /// Checks again and again, for a while, that something stays as it is.
    pub fn observe(&self, span: Duration, mut look: impl FnMut()) {
        wait::observe(span, || {
            look();
            self.assert_alive();
        });
    }

    fn assert_alive(&self) {
        for worker in self.workers.borrow().iter() {
            if let Some(status) = worker.ended_by_itself() {
                panic!("{} ended by itself, {status}: {}", worker.name(), worker.errors());
            }
        }
    }

    /// The last step of a test: waits until nothing is left to do, and holds every promise against what was seen.
    ///
    /// # Panics
    /// If one was broken.
    pub fn conclude(&self) {
        self.concluded.set(true);
        self.wait_settled();
        self.assert_alive();
        let runs = self.runs();
        let mut seen = Vec::new();
        let done: BTreeSet<u64> = runs.all().iter().filter(|run| run.succeeded()).map(|run| run.number).collect();
        let dead = self.dead_numbers();
        seen.extend(dead.windows(2).filter(|two| two[0] == two[1]).map(|two| format!("dead-once: {} twice", two[0])));
        let dead: BTreeSet<u64> = dead.into_iter().collect();
        let lost = (0..self.sent.get()).filter(|number| !done.contains(number) && !dead.contains(number));
        seen.extend(lost.map(|number| format!("no-loss: {number} is neither done nor dead: {:?}", runs.of(number))));
        for worker in self.workers.borrow().iter() {
            let strange = worker.strange_lines().into_iter();
            seen.extend(strange.map(|line| format!("{}: no outcome: {line}", worker.name())));
            if worker.errors().contains("panicked at") {
                seen.push(format!("{} has panicked: {}", worker.name(), worker.errors()));
            }
        }
        let workers = self.workers.borrow();
        let interrupted: BTreeSet<&str> =
            workers.iter().filter(|worker| worker.was_interrupted()).map(|worker| worker.name()).collect();
        for (first, second) in runs.overlaps() {
            if !interrupted.contains(&*first.worker) {
                seen.push(format!("one-live: {second:?} began during {first:?}"));
            }
        }
        assert!(seen.is_empty(), "broken promises:\n{}", seen.join("\n"));
    }

    /// Leaves out the judgement, where a test has made its own.
    pub fn waive(&self, why: &str) {
        eprintln!("{}: not judged as usual: {why}", self.stream);
        self.concluded.set(true);
    }
}

fn command_at(words: &[&str], address: &[String], input: &[u8]) -> Answer {
    let split = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let mut all: Vec<&str> = words[..split].to_vec();
    all.extend(address.iter().map(String::as_str));
    all.extend(&words[split..]);
    streamkeeper_fed(&all, input)
}

/// The usual arguments without those that are given anew.
fn merge(usual: &[String], own: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let own = own.iter().map(|word| (*word).to_owned());
    for word in usual.iter().cloned().chain(own) {
        if word.starts_with("--")
            && let Some(at) = all.iter().position(|other| *other == word)
        {
            let value = all.get(at + 1).is_some_and(|next| !next.starts_with("--"));
            all.drain(at..=at + usize::from(value));
        }
        all.push(word);
    }
    all
}

/// The number in the body of a message that [`Crew::send`] sent.
fn body_number(body: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(body).ok()?["n"].as_u64()
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.concluded.get(), "the test forgot to conclude: nothing was judged");
            return;
        }
        let runs = self.runs();
        let last = runs.all().len().saturating_sub(40);
        let server = self.home.get().try_server();
        eprintln!("== {} on {:?}, the last runs:", self.stream, server.map(Server::flavor));
        for run in &runs.all()[last..] {
            eprintln!("{run:?}");
        }
        let pending = ["XPENDING", &self.stream, &self.group, "-", "+", "20"];
        if let Some(Ok(pending)) = server.map(|server| server.try_run::<redis::Value>(&pending)) {
            eprintln!("-- pending: {pending:?}");
        }
        for worker in self.workers.borrow().iter() {
            let errors = worker.errors();
            let from = errors.len().saturating_sub(4000);
            let from = (from..=errors.len()).find(|at| errors.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("-- {} on standard error:\n{}", worker.name(), &errors[from..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_arguments_replace_earlier_ones() {
        let usual = ["--a", "1", "--flag", "--b", "2"].map(str::to_owned);
        assert_eq!(merge(&usual, &["--a", "3"]), ["--flag", "--b", "2", "--a", "3"]);
        assert_eq!(merge(&usual, &[]), usual);
    }
}
