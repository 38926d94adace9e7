//! The cluster, the consumers on it, and what is waited for.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper_tests::{
    cluster::Cluster, event::now_us, flavor::Flavor, keys::Keys, program::streamkeeper, server::Server,
};

use super::{
    Options,
    owners::{Life, Owners},
    worker::{PREFIX, Worker},
};
use crate::measure::{INFO, SERVICE};

/// How often a condition is looked at: rarely, since the machine has better things to do.
const GLANCE: Duration = Duration::from_millis(20);

/// How much longer than a lease a server must be up before a new service is not left alone for a lease.
const SETTLED: Duration = Duration::from_secs(3);

/// A cluster with consumers.
pub(crate) struct Stage {
    cluster: Cluster,
    /// Which node serves each partition.
    homes: Vec<usize>,
    options: Options,
    pub(crate) workers: Vec<Worker>,
}

/// How the announcing went.
pub(crate) struct Announced {
    /// When it began, in microseconds of Unix time.
    pub(crate) from_us: u64,
    /// From the start of the program that announces to its end.
    pub(crate) took: Duration,
}

impl Stage {
    /// Starts everything, and waits until all consumers are ready.
    pub(crate) fn start(options: &Options) -> Stage {
        let cluster = Cluster::of_primaries(Flavor::Redis, options.masters);
        let homes = (0..options.partitions)
            .map(|partition| cluster.wait_serving(cluster.slot(&keys(options, partition).lbs())))
            .collect();
        rest("the servers are up for longer than a lease", options.ttl() + SETTLED);
        let mut stage = Stage { cluster, homes, options: options.clone(), workers: Vec::new() };
        let bar = bar("consumers ready", options.consumers as u64);
        for number in 0..options.consumers {
            stage.workers.push(Worker::start(&stage.work(number)));
        }
        let ready = |stage: &Stage| stage.workers.iter().filter(|worker| worker.is_ready()).count() as u64;
        stage.watch(&bar, Duration::from_secs(120), ready);
        // What they have to say of servers without replicas and files is no news here.
        rest("they look around", Duration::from_secs(2));
        stage.workers.iter().for_each(Worker::forget_complaints);
        stage
    }

    fn work(&self, number: usize) -> Vec<String> {
        let options = &self.options;
        let mut words = self.call("work");
        words.extend(["--json", "--name", &name(number), "--start-within", "60s"].map(str::to_owned));
        // What each takes is its share; nothing else is to limit it.
        words.extend(["--capacity".to_owned(), options.streams.to_string()]);
        words.extend(["--lease-ttl".to_owned(), millis(options.ttl())]);
        words.extend(["--heartbeat".to_owned(), millis(options.heartbeat())]);
        words.extend(options.call_timeout_ms.iter().flat_map(|ms| ["--call-timeout".to_owned(), format!("{ms}ms")]));
        words
    }

    /// A command for this service.
    fn call(&self, command: &str) -> Vec<String> {
        let mut words = [command, "--redis", &self.cluster.url(), "--service", SERVICE].map(str::to_owned).to_vec();
        words.extend(["--partitions".to_owned(), self.options.partitions.to_string()]);
        words
    }

    /// Announces all streams, and waits until all have an owner.
    pub(crate) fn announce(&self) -> Announced {
        let streams = self.options.streams;
        let mut words = self.call("announce");
        words.extend(["--prefix", PREFIX, "--count", &streams.to_string(), "--info", INFO].map(str::to_owned));
        // The servers are at their limits, and an announcement that was not answered may not be repeated.
        words.extend(["--call-timeout", "60s"].map(str::to_owned));
        let bar = bar("streams owned", streams as u64);
        let (from_us, started) = (now_us(), Instant::now());
        let mut command = Command::new(streamkeeper());
        let mut announcer = command.args(words).stdout(Stdio::null()).spawn().expect("it runs");
        let mut took = None;
        let mut owned = |stage: &Stage| {
            if took.is_none()
                && let Some(status) = announcer.try_wait().expect("a child of ours")
            {
                assert!(status.success(), "announce failed: {status}");
                took = Some(started.elapsed());
            }
            if took.is_some() { stage.owned() } else { stage.owned().min(streams as u64 - 1) }
        };
        self.watch(&bar, self.options.patience(), &mut owned);
        Announced { from_us, took: took.unwrap_or_else(|| started.elapsed()) }
    }

    /// How many streams living consumers say that they have.
    fn owned(&self) -> u64 {
        let living = self.workers.iter().filter(|worker| !worker.is_killed());
        u64::try_from(living.map(Worker::owned).sum::<i64>()).unwrap_or(0)
    }

    /// The consumer that has neither many nor few streams.
    pub(crate) fn middling(&self) -> usize {
        let mut all: Vec<usize> = (0..self.workers.len()).collect();
        all.sort_by_key(|number| self.workers[*number].owned());
        all[all.len() / 2]
    }

    /// Waits until all streams have an owner again, and a moment longer; in vain for as long as [`Options::patience`].
    pub(crate) fn wait_taken(&self) {
        let bar = bar("streams owned", self.options.streams as u64);
        self.watch(&bar, self.options.patience(), Stage::owned);
        rest("for what comes late", Duration::from_secs(2));
    }

    /// Who owns what by now, and what each consumer has said.
    pub(crate) fn owners(&self) -> (Owners, Vec<Life>) {
        let lives: Vec<Life> = self.workers.iter().map(Worker::life).collect();
        (Owners::of(&lives, self.options.streams), lives)
    }

    /// The primaries.
    pub(crate) fn servers(&self) -> Vec<&Server> {
        self.cluster.members().collect()
    }

    /// Each partition: its keys, and the server that has it.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (Keys, &Server)> {
        (0_u32..).zip(&self.homes).map(|(number, home)| (keys(&self.options, number), self.cluster.node(*home)))
    }

    /// The partitions of the server at this place.
    pub(crate) fn partitions_of(&self, server: usize) -> Vec<usize> {
        (0..self.homes.len()).filter(|partition| self.homes[*partition] == server).collect()
    }

    /// Waits until the count is as high as the bar is long, or for so long.
    ///
    /// # Panics
    /// If a consumer ends though nobody killed it.
    fn watch(&self, bar: &ProgressBar, limit: Duration, mut count: impl FnMut(&Stage) -> u64) {
        let started = Instant::now();
        let goal = bar.length().unwrap_or(0);
        loop {
            let now = count(self);
            bar.set_position(now);
            if now >= goal || started.elapsed() > limit {
                return bar.finish_and_clear();
            }
            for (number, worker) in self.workers.iter().enumerate() {
                assert_eq!(worker.ended_by_itself(), None, "{} ended by itself", name(number));
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// What a consumer is called.
pub(crate) fn name(number: usize) -> String {
    format!("c{number}")
}

/// Does nothing for so long.
pub(crate) fn rest(why: &str, span: Duration) {
    let (bar, started) = (bar(why, span.as_secs()), Instant::now());
    while let Some(left) = span.checked_sub(started.elapsed()) {
        bar.set_position(started.elapsed().as_secs());
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
    bar.finish_and_clear();
}

fn keys(options: &Options, partition: u32) -> Keys {
    match options.partitions {
        1 => Keys::tagged(SERVICE),
        _ => Keys::of(&format!("{{{SERVICE}:{partition}}}")),
    }
}

fn millis(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// A bar for people who wait; nothing where nobody looks.
fn bar(what: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {human_pos} of {human_len} {wide_bar} {elapsed}");
    let bar = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(what.to_owned())
}
