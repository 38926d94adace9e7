//! What servers and consumers use: looked at twice, and divided by the time between.

use std::time::{Duration, Instant};

use streamkeeper_tests::server::Server;

use super::worker::Worker;
use crate::measure::{calls_of, cpu, resident};

/// All processes at one instant. Times and counts are those since they started.
#[derive(Debug)]
pub(crate) struct Load {
    at: Instant,
    servers: Vec<Served>,
    workers: Vec<Duration>,
    harness: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Served {
    cpu: Duration,
    scripts: u64,
    renewals: u64,
    commands: u64,
}

/// What a server did, a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    /// Of one core.
    pub(crate) percent: f64,
    pub(crate) scripts: f64,
    /// Leases whose life was prolonged.
    pub(crate) renewals: f64,
    /// As the server counts them: what scripts call is in it.
    pub(crate) commands: f64,
    pub(crate) resident_bytes: u64,
}

impl Load {
    pub(crate) fn now(servers: &[&Server], workers: &[Worker]) -> Load {
        Load {
            at: Instant::now(),
            servers: servers.iter().map(|server| served(server)).collect(),
            workers: workers.iter().map(|worker| cpu(worker.pid())).collect(),
            harness: cpu(std::process::id() as i32),
        }
    }

    fn since(&self, from: &Load) -> f64 {
        (self.at - from.at).as_secs_f64()
    }

    /// What each server did since then.
    pub(crate) fn servers(&self, from: &Load, servers: &[&Server]) -> Vec<Busy> {
        let seconds = self.since(from);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let both = self.servers.iter().zip(&from.servers).zip(servers);
        both.map(|((now, then), server)| Busy {
            percent: percent(now.cpu, then.cpu, seconds),
            scripts: rate(now.scripts, then.scripts),
            renewals: rate(now.renewals, then.renewals),
            commands: rate(now.commands, then.commands),
            resident_bytes: resident(server.pid()),
        })
        .collect()
    }

    /// How much of a core each consumer used since then, in percent.
    pub(crate) fn workers(&self, from: &Load) -> Vec<f64> {
        let seconds = self.since(from);
        self.workers.iter().zip(&from.workers).map(|(now, then)| percent(*now, *then, seconds)).collect()
    }

    /// The same of this program.
    pub(crate) fn harness(&self, from: &Load) -> f64 {
        percent(self.harness, from.harness, self.since(from))
    }

    /// Seconds of CPU time of all servers, and of all consumers that live, since then: beyond what they use anyhow, as they
    /// did between two instants in which nothing else happened.
    pub(crate) fn beyond_s(&self, from: &Load, usual: &[Load; 2]) -> [f64; 2] {
        let servers = |load: &Load| load.servers.iter().map(|server| server.cpu).collect::<Vec<_>>();
        let workers = |load: &Load| load.workers.clone();
        let beyond = |times: &dyn Fn(&Load) -> Vec<Duration>| {
            let rate = used(&times(&usual[0]), &times(&usual[1])) / usual[1].since(&usual[0]);
            used(&times(from), &times(self)) - rate * self.since(from)
        };
        [beyond(&servers), beyond(&workers)]
    }
}

/// Seconds that all together used, but for those that are gone.
fn used(then: &[Duration], now: &[Duration]) -> f64 {
    then.iter().zip(now).map(|(then, now)| now.saturating_sub(*then).as_secs_f64()).sum()
}

fn percent(now: Duration, then: Duration, seconds: f64) -> f64 {
    now.saturating_sub(then).as_secs_f64() / seconds * 100.0
}

fn served(server: &Server) -> Served {
    let all: String = server.run(&["INFO", "all"]);
    let commands = all.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    Served {
        cpu: cpu(server.pid()),
        scripts: calls_of(&all, "evalsha"),
        // Each lease that is kept is one PEXPIRE of the script that renews.
        renewals: calls_of(&all, "pexpire"),
        commands: commands.and_then(|count| count.trim().parse().ok()).unwrap_or(0),
    }
}
