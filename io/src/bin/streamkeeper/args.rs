//! What can be asked for on the command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use streamkeeper::{Builder, ClaimMode, Client, Service, entries::Start};

use crate::{Failure, at_start, duration};

mod dead;
mod messages;
mod sentinels;
mod server;

pub(crate) use dead::{Dead, DeadTask, Half, Which};
pub(crate) use messages::{Begin, Consume, Messages, MessagesTask, Scheduled, ScheduledTask, Send};
pub(crate) use server::{Patience, Server};

/// Redis Streams: every stream owned by exactly one live consumer, or every message worked on by one of many.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage. Logs: STREAMKEEPER_LOG=debug.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Own streams until stopped. SIGTERM or Ctrl-C gives everything back; a second one exits at once.
    Work(Box<Work>),
    /// Announce streams: the service's consumers will own them.
    Announce(Announce),
    /// Send messages to a stream: those given, or each line of standard input.
    Send(Send),
    /// Work on a stream's messages with a command. SIGTERM or Ctrl-C finishes what runs; a second one exits at once.
    Consume(Box<Consume>),
    /// Look after announcements that were set aside (--service), or after dead letters (--stream, --group).
    Dead(Dead),
    /// Look after messages that were sent with a delay and are not due yet.
    Scheduled(Scheduled),
    /// Look at a stream of messages.
    Messages(Messages),
    /// How the service stands, and what of the server weakens a promise.
    Status(Status),
    /// What `work --exec` starts to have its processes killed when it cannot.
    #[command(hide = true)]
    Guard,
}

/// Which service, where.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) server: Server,
    /// The service: the first part of its keys.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Put {SERVICE} in front of every key: for Redis Cluster.
    #[arg(long)]
    hash_tagged: bool,
    /// The service is spread over so many partitions, each in a slot of its own. Give it to every command for the service;
    /// more of them, a multiple, raise it for all.
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: u32,
}

impl Place {
    pub(crate) fn builder(&self) -> Builder {
        self.server.lead(Client::builder(&self.service).partitions(self.partitions), self.hash_tagged)
    }

    /// The service from outside.
    pub(crate) fn service(&self, patience: &Patience) -> Result<Service, Failure> {
        patience.tell(self.builder()).service().map_err(at_start)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Work {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The consumer's name, unique in the fleet [default: POD_NAME, POD_IP, or the host's name and a random suffix].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long a lease lives without a heartbeat.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    pub(crate) lease_ttl: Duration,
    /// How often leases are renewed; at most a third of the ttl.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    heartbeat: Duration,
    /// How often one consumer of the fleet looks for orphans.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration::parse)]
    reap_interval: Duration,
    /// How many streams to own at most [default: 10000, with --exec 100].
    #[arg(long, value_name = "N")]
    capacity: Option<usize>,
    /// Who claims orphans: the library by itself, or this program when it is told that one has expired.
    #[arg(long, value_enum, default_value_t = Claim::Auto)]
    pub(crate) claim: Claim,
    /// How many ownerships of a stream in a row may end in a crash before it is set aside; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_takeovers: u32,
    /// How many times in a row a stream's handler may fail before it is set aside; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_failures: u32,
    /// The command that works on a stream, run by `sh -c`: one process for each owned stream, told of it by
    /// STREAMKEEPER_STREAM, _TOKEN, _ENTRY, _INFO, _CHECKPOINT (what was committed), _CONSUMER, _SERVICE and _REDIS in its
    /// environment. It is killed, with all that it has started, before its lease ends. Exit code 0: the stream is finished
    /// for ever; 75: it is given back, for later; 126 and 127: the command cannot be run here; any other: it has failed.
    /// What it writes goes to standard error; with --commits its standard output is read.
    #[arg(long, value_name = "CMD", conflicts_with_all = ["finish_after", "fail_after", "never_read"])]
    pub(crate) exec: Option<String>,
    /// Hand each process its stream's entries on standard input, from what was committed on: one line of JSON each, with
    /// `id` and `fields`.
    #[arg(long, requires = "exec")]
    pub(crate) entries: bool,
    /// Where a stream begins of which nothing was ever committed: beginning, end, an entry's id to begin behind, or @ and
    /// milliseconds since 1970.
    #[arg(long, value_name = "WHERE", requires = "entries", default_value = "beginning", value_parser = start)]
    pub(crate) from: Start,
    /// Each line on a process's standard output is the id of an entry: everything up to it was worked on, and the next
    /// process begins behind it.
    #[arg(long, requires = "exec")]
    pub(crate) commits: bool,
    /// How long a stream rests that a process has given back for later (75), or whose command cannot be run.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(crate) pause: Duration,
    /// Leave the server's URL, which may have a password in it, out of the environment of the processes.
    #[arg(long, requires = "exec")]
    pub(crate) no_redis_env: bool,
    /// Finish each stream for ever after owning it for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) finish_after: Option<Duration>,
    /// How long giving everything back may take at the end; processes get the most of it to end by themselves.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(crate) shutdown_within: Duration,
    /// How long to wait for the server at start.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    start_within: Duration,
    /// How long one call to Redis may take [default: 1s, less for short leases].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    call_timeout: Option<Duration>,
    /// After an acquire, wait until so many replicas know of it. If too few do in time, that is said, and the streams are
    /// owned all the same.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_for_replicas: u32,
    /// For how long; at most a quarter of --heartbeat.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration::parse)]
    replicas_within: Duration,
    /// One JSON object a line on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// For tests: every stream's handler fails after so long.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = duration::parse)]
    pub(crate) fail_after: Option<Duration>,
    /// For tests: this program's only thread sleeps for so long, once it is ready.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = duration::parse)]
    pub(crate) block_runtime: Option<Duration>,
    /// For tests: no notification is ever read.
    #[arg(long, hide = true)]
    pub(crate) never_read: bool,
    /// For tests: how many notifications may be unread.
    #[arg(long, value_name = "N", hide = true, default_value_t = 1_000)]
    output_buffer: usize,
}

impl Work {
    pub(crate) fn builder(&self) -> Builder {
        let mut builder = self.place.builder();
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        // What remains of a lease after one heartbeat and the margin bounds a call.
        let spare = (self.lease_ttl - self.lease_ttl / 10)
            .saturating_sub(Duration::from_millis(10))
            .saturating_sub(self.heartbeat);
        let timeout = self.call_timeout.unwrap_or(Duration::from_secs(1).min(spare - spare / 10));
        builder
            .lease_ttl(self.lease_ttl)
            .heartbeat(self.heartbeat)
            .reap_interval(self.reap_interval)
            .capacity(self.capacity.unwrap_or(if self.exec.is_some() { 100 } else { 10_000 }))
            .claim(self.claim.into())
            .max_takeovers(self.max_takeovers)
            .max_failures(self.max_failures)
            .call_timeout(timeout)
            .wait_for_replicas(self.wait_for_replicas, self.replicas_within)
            .start_within(self.start_within)
            .output_buffer(self.output_buffer)
    }
}

/// Reads where a stream begins.
fn start(text: &str) -> Result<Start, String> {
    let wrong = || {
        format!("`{text}` is no beginning: expected beginning, end, an id such as 1700000000000-0, or @1700000000000")
    };
    match text.split_at_checked(1) {
        Some(("@", unix_ms)) => Ok(Start::At { unix_ms: unix_ms.parse().map_err(|_| wrong())? }),
        _ => match text {
            "beginning" => Ok(Start::Beginning),
            "end" => Ok(Start::End),
            id => Ok(Start::After(id.parse().map_err(|_| wrong())?)),
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Claim {
    /// The library claims.
    Auto,
    /// This program claims.
    Manual,
}

impl From<Claim> for ClaimMode {
    fn from(claim: Claim) -> ClaimMode {
        match claim {
            Claim::Auto => ClaimMode::Auto,
            Claim::Manual => ClaimMode::Manual,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Announce {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// The streams.
    #[arg(value_name = "STREAM", required_unless_present = "prefix")]
    pub(crate) streams: Vec<String>,
    /// What their owners are to know, as JSON.
    #[arg(long, value_name = "JSON")]
    pub(crate) info: Option<String>,
    /// Announce PREFIX0, PREFIX1, … as well.
    #[arg(long, value_name = "PREFIX", requires = "count")]
    pub(crate) prefix: Option<String>,
    /// How many of those.
    #[arg(long, value_name = "N", requires = "prefix")]
    pub(crate) count: Option<u64>,
    /// Announce each stream once: a repeat with the same key answers the first one's entry.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// For how long the key is remembered.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    pub(crate) window: Duration,
    /// One JSON object a line on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// As a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    fn usage(line: &str) -> Result<Arguments, i32> {
        Arguments::try_parse_from(line.split(' ')).map_err(|e| e.exit_code())
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for line in [
            "streamkeeper",
            "streamkeeper work",
            "streamkeeper work --service s --lease-ttl 3",
            "streamkeeper announce --service s",
            "streamkeeper announce --service s --prefix p",
            "streamkeeper dead retry --service s",
            "streamkeeper dead retry --service s 1-1 --all",
            "streamkeeper dead show --service s x",
            "streamkeeper work --service s --tls-cert f",
            "streamkeeper work --service s --no-redis-env",
            "streamkeeper work --service s --entries",
            "streamkeeper work --service s --commits",
            "streamkeeper work --service s --exec cat --from end",
            "streamkeeper work --service s --exec cat --entries --from 5",
            "streamkeeper work --service s --exec cat --finish-after 1s",
            "streamkeeper status --service s --call-timeout 5",
            "streamkeeper dead list",
            "streamkeeper dead list --service s --stream m --group g",
            "streamkeeper dead list --stream m",
            "streamkeeper dead list --group g",
            "streamkeeper dead list --stream m --group g --partitions 4",
            "streamkeeper send 1",
            "streamkeeper send --stream m --delay 1s --once k 1",
            "streamkeeper send --stream m --id x 1",
            "streamkeeper send --stream m --header x 1",
            "streamkeeper consume --stream m --group g",
            "streamkeeper consume --stream m --group g --exec cat --rate 5",
            "streamkeeper scheduled cancel --stream m",
            "streamkeeper messages status --stream m",
        ] {
            assert_eq!(usage(line).unwrap_err(), 2, "{line}");
        }
    }

    #[test]
    fn right_usage_is_understood() {
        for line in [
            "streamkeeper work --redis redis://h --service s --name n --lease-ttl 3s --heartbeat 1s --claim manual --json",
            "streamkeeper work --service s --fail-after 1s --block-runtime 5s --never-read",
            "streamkeeper work --service s --exec cat --capacity 5 --no-redis-env --commits --pause 1m",
            "streamkeeper work --service s --exec cat --entries --from 5-1",
            "streamkeeper work --service s --exec cat --entries --from @1700000000000",
            "streamkeeper announce --service s a b --info {}",
            "streamkeeper announce --service s --prefix p --count 10 --key k",
            "streamkeeper dead list --service s --reason failed --json",
            "streamkeeper dead retry --service s 1-1 2-1",
            "streamkeeper dead drop --service s --all",
            "streamkeeper status --service s --json",
            "streamkeeper announce --service s a --call-timeout 5s",
            "streamkeeper status --service s --call-timeout 5s",
            "streamkeeper dead list --service s --call-timeout 5s",
            "streamkeeper send --stream m --call-timeout 5s {}",
            "streamkeeper scheduled list --stream m --call-timeout 5s",
            "streamkeeper scheduled cancel --stream m a --call-timeout 5s",
            "streamkeeper messages status --stream m --group g --call-timeout 5s",
            "streamkeeper work --service s --partitions 8",
            "streamkeeper dead list --service s --partitions 8",
            "streamkeeper dead list --stream m --group g --reason rejected",
            "streamkeeper dead retry --stream m --group g 1-1",
            "streamkeeper send --stream m --key k --header a=b --header c=d --once k --window 1h {} [] --json",
            "streamkeeper send --stream m --delay 1s --id x",
            "streamkeeper consume --stream m --group g --exec cat --rate 5/1s --processed 1h --ordered-by key --no-ack",
            "streamkeeper scheduled list --stream m --json",
            "streamkeeper scheduled cancel --stream m a b",
            "streamkeeper messages status --stream m --group g --json",
        ] {
            assert!(usage(line).is_ok(), "{line}");
        }
    }
}
