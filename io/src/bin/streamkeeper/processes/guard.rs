//! A second process that kills the children when this one cannot: because it was killed, or because it stands still.
//!
//! It is told of every process group until when that may live, and has nothing else to do than to kill it then; when it
//! reads the end of its input, its keeper is gone, and it kills all.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use streamkeeper::Time;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};
use tracing::warn;

use crate::{Failure, exec::Group};

/// How often it looks at the clock, at least: a machine that was suspended wakes late.
const LOOK: Duration = Duration::from_millis(100);
/// A guard that has not read so many bytes reads nothing any more.
const UNREAD: usize = 1 << 20;

/// The clock of the guard and of who tells it: the same in all processes of a machine, also while that is suspended.
pub(super) fn now() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Time::from_micros(now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000)
}

/// The way to the guard. Never waits for it.
pub(super) struct Wire {
    stream: UnixStream,
    unsent: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> io::Result<Wire> {
        stream.set_nonblocking(true)?;
        Ok(Wire { stream, unsent: Vec::new() })
    }

    /// From now on the group may live until then.
    pub(super) fn tell(&mut self, group: Group, until: Time) {
        // An instant of zero would mean something else.
        self.write(group, until.as_micros().max(1));
    }

    /// The group is no more.
    pub(super) fn forget(&mut self, group: Group) {
        self.write(group, 0);
    }

    fn write(&mut self, group: Group, micros: u64) {
        // What a guard that reads nothing is not told does not matter: it is replaced by the end of everything.
        if self.unsent.len() < UNREAD {
            let line = format!("{} {micros}\n", group.number());
            self.unsent.extend_from_slice(line.as_bytes());
        }
    }

    /// Sends what can be sent at once.
    ///
    /// # Errors
    /// The guard is gone, or has not read anything for long.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.unsent.len() < UNREAD => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Starts the guard: this same program. It lives until the wire is dropped.
///
/// # Errors
/// This program cannot be started once more.
pub(super) fn start() -> io::Result<(Child, Wire)> {
    let (ours, its) = UnixStream::pair()?;
    let mut guard = Command::new(std::env::current_exe()?);
    // It needs no secrets; and what is sent to our whole group, such as Ctrl-C, is not meant for it.
    guard.arg("guard").env_clear().envs(std::env::var("STREAMKEEPER_LOG").map(|log| ("STREAMKEEPER_LOG", log)));
    guard.process_group(0).stdin(OwnedFd::from(its)).stdout(Stdio::null());
    Ok((guard.spawn()?, Wire::new(ours)?))
}

/// What the guard does.
pub(crate) fn run() -> Result<(), Failure> {
    // It ends with its keeper, not before.
    let deaf = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let (to, lines) = mpsc::channel();
    thread::spawn(move || read(io::stdin(), &to));
    let mut groups = Groups::default();
    loop {
        let line = match groups.next() {
            None => lines.recv().map_err(RecvTimeoutError::from),
            Some(next) => lines.recv_timeout(next.since(now()).min(LOOK)),
        };
        match line {
            Ok((group, until)) => groups.told(group, until),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for group in groups.due(now()) {
            warn!(group = group.number(), "the lease nearly ends, and its keeper stands still: its process is killed");
            group.signal(Signal::KILL);
        }
    }
    let left = groups.all();
    if !left.is_empty() {
        warn!("the keeper is gone: {} processes are killed", left.len());
    }
    left.into_iter().for_each(|group| group.signal(Signal::KILL));
    drop(deaf);
    Ok(())
}

/// Hands lines on until the end of the input.
fn read(input: impl Read, to: &mpsc::Sender<(Group, Time)>) {
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        let told = parse(&line);
        if told.is_none_or(|told| to.send(told).is_err()) {
            return;
        }
    }
}

fn parse(line: &str) -> Option<(Group, Time)> {
    let (number, micros) = line.split_once(' ')?;
    let group = number.parse().ok().and_then(Group::numbered)?;
    Some((group, Time::from_micros(micros.parse().ok()?)))
}

/// The groups, and until when they may live.
#[derive(Default)]
struct Groups(BTreeMap<Group, Time>);

impl Groups {
    fn told(&mut self, group: Group, until: Time) {
        if until == Time::ZERO {
            self.0.remove(&group);
        } else {
            self.0.insert(group, until);
        }
    }

    fn next(&self) -> Option<Time> {
        self.0.values().min().copied()
    }

    /// Those whose time is up, once.
    fn due(&mut self, now: Time) -> Vec<Group> {
        let due: Vec<Group> = self.0.iter().filter(|(_, until)| **until <= now).map(|(group, _)| *group).collect();
        self.0.retain(|group, _| !due.contains(group));
        due
    }

    fn all(self) -> Vec<Group> {
        self.0.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: i32) -> Group {
        Group::numbered(number).unwrap()
    }

    #[test]
    fn groups_are_due_when_their_time_is_up() {
        let at = Time::from_millis;
        let mut groups = Groups::default();
        for (number, until) in [(5, 100), (6, 200), (7, 300), (5, 250), (6, 0)] {
            groups.told(group(number), at(until));
        }
        assert_eq!(groups.next(), Some(at(250)));
        assert_eq!(groups.due(at(249)), []);
        assert_eq!(groups.due(at(250)), [group(5)]);
        assert_eq!(groups.due(at(260)), []);
        groups.told(group(8), at(400));
        assert_eq!(groups.all(), [group(7), group(8)]);
    }

    #[test]
    fn what_is_told_arrives() {
        let (ours, its) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours).unwrap();
        wire.tell(group(17), Time::from_micros(5));
        wire.tell(group(18), Time::ZERO);
        wire.forget(group(17));
        wire.flush().unwrap();
        drop(wire);
        let (to, lines) = mpsc::channel();
        read(its, &to);
        drop(to);
        let told: Vec<_> = lines.iter().map(|(group, until)| (group.number(), until.as_micros())).collect();
        assert_eq!(told, [(17, 5), (18, 1), (17, 0)]);
    }

    #[test]
    fn nonsense_ends_the_reading_and_names_nobody() {
        for line in ["", "5", "x 5", "5 x", "0 5", "1 5", "-5 5"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_guard_that_reads_nothing_or_is_gone_is_noticed() {
        let (ours, its) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours).unwrap();
        let mut told = 0;
        while wire.flush().is_ok() {
            (0..1_000).for_each(|_| wire.tell(group(17), Time::from_micros(u64::MAX)));
            told += 1;
            assert!(told < 10_000 && wire.unsent.len() < 2 * UNREAD);
        }
        drop(its);
        let (ours, its) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours).unwrap();
        drop(its);
        wire.forget(group(17));
        assert!(wire.flush().is_err());
    }
}
