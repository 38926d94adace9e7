//! What can be asked for on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use streamkeeper::{Builder, ClaimMode, Client, Tls};

use crate::duration;

mod dead;
mod messages;

pub(crate) use dead::{Dead, DeadTask, Half, Which};
pub(crate) use messages::{Begin, Consume, Messages, MessagesTask, Scheduled, ScheduledTask, Send};

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
}

/// Where the server is.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server: redis://[user][:password@]host[:port][/db], rediss://…, unix:///path?db=1.
    #[arg(
        long,
        value_name = "URL",
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(crate) redis: Vec<String>,
    /// PEM file with the certificate authorities to trust instead of the web's.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM file with our certificate.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with our certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Server {
    pub(crate) fn tls(&self) -> Tls {
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        Tls { ca: self.tls_ca.clone(), identity }
    }

    fn service(&self, name: &str, hash_tagged: bool) -> Builder {
        let builder = Client::builder(name).hash_tagged(hash_tagged).tls(self.tls());
        self.redis.iter().fold(builder, |builder, url| builder.redis(url))
    }
}

/// Which service, where.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    server: Server,
    /// The service: the first part of its keys.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Put {SERVICE} in front of every key: for Redis Cluster.
    #[arg(long)]
    hash_tagged: bool,
}

impl Place {
    pub(crate) fn builder(&self) -> Builder {
        self.server.service(&self.service, self.hash_tagged)
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
    lease_ttl: Duration,
    /// How often leases are renewed; at most a third of the ttl.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    heartbeat: Duration,
    /// How often one consumer of the fleet looks for orphans.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration::parse)]
    reap_interval: Duration,
    /// How many streams to own at most.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    capacity: usize,
    /// Who claims orphans: the library by itself, or this program when it is told that one has expired.
    #[arg(long, value_enum, default_value_t = Claim::Auto)]
    pub(crate) claim: Claim,
    /// How many ownerships of a stream in a row may end in a crash before it is set aside; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_takeovers: u32,
    /// How many times in a row a stream's handler may fail before it is set aside; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_failures: u32,
    /// Finish each stream for ever after owning it for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) finish_after: Option<Duration>,
    /// How long giving everything back may take at the end.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(crate) shutdown_within: Duration,
    /// How long to wait for the server at start.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    start_within: Duration,
    /// How long one call to Redis may take [default: 1s, less for short leases].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    call_timeout: Option<Duration>,
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
            .capacity(self.capacity)
            .claim(self.claim.into())
            .max_takeovers(self.max_takeovers)
            .max_failures(self.max_failures)
            .call_timeout(timeout)
            .start_within(self.start_within)
            .output_buffer(self.output_buffer)
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
            "streamkeeper dead list",
            "streamkeeper dead list --service s --stream m --group g",
            "streamkeeper dead list --stream m",
            "streamkeeper dead list --group g",
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
            "streamkeeper announce --service s a b --info {}",
            "streamkeeper announce --service s --prefix p --count 10 --key k",
            "streamkeeper dead list --service s --reason failed --json",
            "streamkeeper dead retry --service s 1-1 2-1",
            "streamkeeper dead drop --service s --all",
            "streamkeeper status --service s --json",
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
