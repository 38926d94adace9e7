//! A service with partitions on a cluster of real processes, at the size that `docs/scale.md` speaks of: what owning many
//! streams costs servers and consumers, and how long the streams of a consumer that dies are without one. Beside what was seen
//! stands what the laws of that page say.

mod law;
mod load;
mod owners;
mod stage;
mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser;

use crate::measure::{Table, last_heartbeats, percentile, resident};
use law::Sizes;
use load::Load;
use owners::{Owners, Place};
use stage::{Announced, Stage, name, rest};

/// What to measure. All is on loopback; servers keep nothing on disk.
#[derive(Clone, Debug, Parser)]
#[command(name = "figures -- partitions", no_binary_name = true)]
pub(crate) struct Options {
    /// How many streams.
    #[arg(long, value_name = "M", default_value_t = 200_000, value_parser = at_least_one)]
    streams: usize,
    /// How many consumers, each a process; one of them dies.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    consumers: usize,
    /// How many partitions.
    #[arg(long, value_name = "P", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
    /// How many primaries the cluster has, at least 3.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = at_least_three)]
    masters: usize,
    /// How long a lease lives, in milliseconds; its heartbeat is a third of that.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    ttl_ms: u64,
    /// How long a call of a consumer may take, in milliseconds [default: that of the program].
    #[arg(long, value_name = "MS")]
    call_timeout_ms: Option<u64>,
    /// For how many heartbeats the quiet fleet is looked at.
    #[arg(long, value_name = "COUNT", default_value_t = 6)]
    quiet_heartbeats: u32,
}

/// `redis-cli` makes no smaller cluster, and nobody runs one.
fn at_least_three(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count >= 3).ok_or_else(|| "expected a number, at least 3".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number, at least 1".to_owned())
}

impl Options {
    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    fn heartbeat(&self) -> Duration {
        self.ttl() / 3
    }

    /// How long everything may take that has an end.
    fn patience(&self) -> Duration {
        4 * self.ttl() + Duration::from_secs(120)
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            consumers: self.consumers as f64,
            streams: self.streams as f64,
            partitions: f64::from(self.partitions),
            servers: self.masters as f64,
            ttl: self.ttl(),
            heartbeat: self.heartbeat(),
        }
    }
}

/// Measures, as these words say, and prints.
pub(crate) fn measure(words: &[String]) {
    let options = Options::parse_from(words);
    let Options { streams, consumers, partitions, masters, ttl_ms, .. } = options;
    println!(
        "### partitions\n\n{streams} streams, {consumers} consumers, {partitions} partitions on {masters} primaries, ttl \
         {ttl_ms} ms, heartbeat {} ms\n",
        options.heartbeat().as_millis()
    );
    let mut stage = Stage::start(&options);
    println!("{}", owned(&options, &stage));
    let (quiet, usual) = quiet(&options, &stage);
    println!("{quiet}");
    println!("{}", crash(&options, &mut stage, &usual));
}

/// All streams are announced and taken.
fn owned(options: &Options, stage: &Stage) -> Table {
    let mut table = Table::new(["announced and owned", "seen", "by the law"]);
    let sizes = options.sizes();
    let Announced { from_us, took } = stage.announce();
    let (owners, _) = stage.owners();
    let rate = options.streams as f64 / took.as_secs_f64();
    let none = String::new;
    table.row(["announced a second, while they are taken".into(), format!("{rate:.0}"), none()]);
    let after = owners.last_first_us.saturating_sub(from_us) as f64 / 1e6;
    table.row(["all owned after, s".into(), format!("{after:.2}"), format!("{:.2}", sizes.owned_after_s())]);
    let each = |counts: &[usize], parts: f64| [spread(counts), format!("{:.0}", sizes.streams / parts)];
    let [seen, law] = each(&owners.by_life(options.consumers), sizes.consumers);
    table.row(["streams of a consumer, min / median / max".into(), seen, law]);
    let [seen, law] = each(&owners.by_partition(options.partitions as usize), sizes.partitions);
    table.row(["streams of a partition, min / median / max".into(), seen, law]);
    promises(&mut table, &owners, stage);
    table
}

/// What it costs while nothing happens, and the loads at both ends of that time.
fn quiet(options: &Options, stage: &Stage) -> (Table, [Load; 2]) {
    let head = ["process", "CPU, % of a core", "by the law", "leases renewed/s", "by the law"];
    let more = ["scripts/s", "by the law", "commands/s", "MB"];
    let mut table = Table::new::<9>([head.as_slice(), more.as_slice()].concat().try_into().expect("nine columns"));
    let (sizes, servers) = (options.sizes(), stage.servers());
    rest("a heartbeat passes", options.heartbeat());
    let before = Load::now(&servers, &stage.workers);
    rest("nothing happens", options.heartbeat() * options.quiet_heartbeats);
    let after = Load::now(&servers, &stage.workers);
    let none = String::new;
    let (owners, _) = stage.owners();
    let partitions = owners.by_partition(options.partitions as usize);
    for (place, busy) in after.servers(&before, &servers).iter().enumerate() {
        let here = stage.partitions_of(place);
        let streams = here.iter().map(|partition| partitions[*partition]).sum::<usize>() as f64;
        let parts = here.len() as f64;
        table.row([
            format!("server of {} partitions, {streams} streams", here.len()),
            format!("{:.1}", busy.percent),
            format!("{:.1}", sizes.server_percent(streams, parts)),
            format!("{:.0}", busy.renewals),
            format!("{:.0}", sizes.renewals(streams)),
            format!("{:.0}", busy.scripts),
            format!("{:.0}", sizes.scripts(parts)),
            format!("{:.0}", busy.commands),
            megabytes(busy.resident_bytes),
        ]);
    }
    let mut percents = after.workers(&before);
    percents.sort_by(f64::total_cmp);
    let mut memory: Vec<u64> = stage.workers.iter().map(|worker| resident(worker.pid())).collect();
    memory.sort_unstable();
    let [least, middle, most] = three(&percents);
    let [smallest, median, largest] = three(&memory).map(megabytes);
    table.row([
        "a consumer, min / median / max".to_owned(),
        format!("{least:.1} / {middle:.1} / {most:.1}"),
        format!("{:.1}", sizes.consumer_percent()),
        none(),
        none(),
        none(),
        none(),
        none(),
        format!("{smallest} / {median} / {largest}"),
    ]);
    let harness = format!("{:.1}", after.harness(&before));
    table.row(["what measures".to_owned(), harness, none(), none(), none(), none(), none(), none(), none()]);
    (table, [before, after])
}

/// One consumer is killed.
fn crash(options: &Options, stage: &mut Stage, usual: &[Load; 2]) -> Table {
    let mut table = Table::new(["a consumer is killed", "seen", "by the law"]);
    let sizes = options.sizes();
    let before = Load::now(&stage.servers(), &stage.workers);
    let victim = stage.middling();
    let orphans = stage.workers[victim].owned();
    stage.workers[victim].kill();
    let heartbeats = heartbeats(stage, victim);
    stage.wait_taken();
    let after = Load::now(&stage.servers(), &stage.workers);
    let (owners, lives) = stage.owners();
    let delay = |(place, at_us): &(Place, u64)| Some(*at_us as i64 - *heartbeats.get(place)? as i64);
    let mut delays: Vec<i64> = owners.taken.iter().filter_map(delay).collect();
    delays.sort_unstable();
    let none = String::new;
    table.row(["its streams".into(), orphans.to_string(), format!("{:.0}", sizes.streams / sizes.consumers)]);
    let seconds = |share| format!("{:.2}", percentile(&delays, share) as f64 / 1e6);
    let without = [0.5, 0.99, 1.0].map(seconds).join(" / ");
    let law = format!("{:.2}, and the work", sizes.without_owner_s());
    table.row(["without an owner since the last heartbeat, p50 / p99 / max, s".into(), without, law]);
    table.row(["of so many that is known".into(), delays.len().to_string(), none()]);
    let [served, worked] = after.beyond_s(&before, usual).map(|seconds| format!("{seconds:.1}"));
    let law = format!("{:.1}", sizes.crash_s(orphans as f64));
    table.row(["CPU time of all servers for it, s".into(), served, law]);
    table.row(["CPU time of all consumers for it, s".into(), worked, none()]);
    let mut living = owners.by_life(options.consumers);
    living.remove(victim);
    let share = format!("{:.0}", sizes.streams / (sizes.consumers - 1.0).max(1.0));
    table.row(["streams of a living consumer, min / median / max".into(), spread(&living), share]);
    table.row(["streams never taken".into(), owners.orphans(&lives).to_string(), "0".into()]);
    promises(&mut table, &owners, stage);
    table
}

/// When the killed one last refreshed each of its announcements, in microseconds of Unix time.
fn heartbeats(stage: &Stage, victim: usize) -> BTreeMap<Place, u64> {
    let consumer = format!("redis-consumer-{}", name(victim));
    let mut all = BTreeMap::new();
    for (partition, (keys, server)) in (0..).zip(stage.partitions()) {
        let here = last_heartbeats(server, &keys, &consumer).into_iter();
        all.extend(here.filter_map(|(entry, at_us)| Some((Place { partition, entry: entry.parse().ok()? }, at_us))));
    }
    all
}

/// What must never happen, and what should not.
fn promises(table: &mut Table, owners: &Owners, stage: &Stage) {
    let mut never = |what: &str, seen: usize| table.row([what.to_owned(), seen.to_string(), "0".to_owned()]);
    never("two owners at once", owners.doubles);
    never("tokens that did not grow", owners.stale_tokens);
    never("leases lost by the living", owners.disowned);
    let complaints: Vec<_> = stage.workers.iter().map(|worker| worker.complaints()).collect();
    never("warnings of consumers", complaints.iter().map(|complaints| complaints.count).sum());
    if let Some(first) = complaints.iter().find_map(|complaints| complaints.first.first()) {
        eprintln!("the first warning: {first}");
    }
}

/// The least, the middle and the most of what is sorted.
fn three<T: Copy + Default>(sorted: &[T]) -> [T; 3] {
    [0, sorted.len() / 2, sorted.len().saturating_sub(1)].map(|at| sorted.get(at).copied().unwrap_or_default())
}

fn spread(counts: &[usize]) -> String {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    three(&sorted).map(|count| count.to_string()).join(" / ")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_consistent_and_default_to_the_size_of_the_page() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let options = Options::parse_from([] as [&str; 0]);
        assert_eq!((options.streams, options.consumers, options.partitions, options.masters), (200_000, 10, 8, 3));
        assert_eq!((options.ttl(), options.heartbeat().as_millis()), (Duration::from_secs(10), 3_333));
        assert!(Options::try_parse_from(["--consumers", "0"]).is_err());
    }

    #[test]
    fn spreads_are_told_by_three() {
        assert_eq!(spread(&[5, 1, 9, 2, 3]), "1 / 3 / 9");
        assert_eq!(spread(&[]), "0 / 0 / 0");
    }
}
