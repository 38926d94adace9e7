//! Kills children before their leases end, whatever else this program does meanwhile.
//!
//! A thread of its own looks at all leases again and again: a program whose output nobody reads, say, must not be the
//! reason that a child works on a stream that is another's by now. What the thread does is done a second time, a little
//! later, by the [guard](super::guard), for the case that the whole program stands still.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use streamkeeper::{Clock, Time};

use super::guard::{self, Wire};
use crate::exec::Group;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(25);

/// Until when a lease is valid, by the client's clock.
type Until = Box<dyn Fn() -> Time + Send>;

/// All groups that live.
pub(super) struct Watch {
    clock: Clock,
    /// How long before the end of the lease a group is killed.
    margin: Duration,
    table: Mutex<Table>,
}

struct Table {
    watched: BTreeMap<Group, Watched>,
    guard: Option<Wire>,
}

struct Watched {
    until: Until,
    /// What the guard knows.
    told: Time,
    killed: bool,
}

impl Watch {
    /// Starts the thread.
    pub(super) fn start(clock: Clock, margin: Duration, guard: Wire) -> Arc<Watch> {
        let table = Table { watched: BTreeMap::new(), guard: Some(guard) };
        let watch = Arc::new(Watch { clock, margin, table: Mutex::new(table) });
        let weak = Arc::downgrade(&watch);
        thread::spawn(move || look_on(&weak));
        watch
    }

    /// From now on the group is killed in time.
    pub(super) fn add(&self, group: Group, until: impl Fn() -> Time + Send + 'static) {
        let watched = Watched { until: Box::new(until), told: Time::ZERO, killed: false };
        self.lock().watched.insert(group, watched);
        self.look();
    }

    /// Whether the group's time is up: then it was killed here, or by the guard.
    pub(super) fn is_up(&self, group: Group) -> bool {
        let now = self.clock.now();
        let is_up = |watched: &Watched| watched.killed || (watched.until)().since(now) <= self.margin;
        self.lock().watched.get(&group).is_some_and(is_up)
    }

    /// The group is no more.
    pub(super) fn remove(&self, group: Group) {
        let mut table = self.lock();
        table.watched.remove(&group);
        if let Some(guard) = &mut table.guard {
            guard.forget(group);
        }
        table.flush();
    }

    /// Kills all, as if their time were up.
    pub(super) fn kill_all(&self) {
        for (group, watched) in &mut self.lock().watched {
            watched.killed = true;
            group.signal(Signal::KILL);
        }
    }

    /// Kills what is to be killed, and tells the guard what is new.
    fn look(&self) {
        let mut table = self.lock();
        let Table { watched, guard } = &mut *table;
        // In this order: if the program stands still in between, the guard is told too little time, not too much.
        let (theirs, ours) = (guard::now(), self.clock.now());
        for (group, watched) in watched.iter_mut() {
            let until = (watched.until)();
            let left = until.since(ours);
            if left <= self.margin {
                watched.killed = true;
                group.signal(Signal::KILL);
            } else if until != watched.told
                && let Some(guard) = guard
            {
                watched.told = until;
                guard.tell(*group, theirs + (left - self.margin / 2));
            }
        }
        table.flush();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// A guard that cannot be told anything must go: whoever waits for its end hears of it.
    fn flush(&mut self) {
        let sent = self.guard.as_mut().map_or(Ok(()), Wire::flush);
        if let Err(error) = sent {
            tracing::error!(%error, "the guard process cannot be reached");
            self.guard = None;
        }
    }
}

/// Looks until nobody needs it any more.
fn look_on(watch: &Weak<Watch>) {
    while let Some(watch) = watch.upgrade() {
        watch.look();
        drop(watch);
        thread::sleep(LOOK);
    }
}

/// Starts the guard, and the watch that tells it.
///
/// # Errors
/// The guard cannot be started.
pub(super) fn start(clock: Clock, margin: Duration) -> io::Result<(tokio::process::Child, Arc<Watch>)> {
    let (process, wire) = guard::start()?;
    Ok((process, Watch::start(clock, margin, wire)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixStream,
        process::{Child, Command},
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn sleeper() -> (Child, Group) {
        let child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let group = Group::numbered(i32::try_from(child.id()).unwrap()).unwrap();
        (child, group)
    }

    #[test]
    fn a_group_is_killed_a_margin_before_its_time_is_up_and_the_guard_knows() {
        let (ours, its) = UnixStream::pair().unwrap();
        let wire = Wire::new(ours).unwrap();
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = {
            let now = now.clone();
            Clock::custom(move || Time::from_micros(now.load(Ordering::Relaxed)))
        };
        let until = Arc::new(AtomicU64::new(60_000_000));
        let watch = Watch::start(clock, Duration::from_millis(300), wire);
        let (mut child, group) = sleeper();
        let began = guard::now();
        let valid = {
            let until = until.clone();
            move || Time::from_micros(until.load(Ordering::Relaxed))
        };
        watch.add(group, valid);
        // Half the margin before the end, by the guard's clock.
        let mut told = BufReader::new(its).lines().map(Result::unwrap);
        let line = told.next().unwrap();
        let at: u64 = line.strip_prefix(&format!("{} ", group.number())).unwrap().parse().unwrap();
        let span = Time::from_micros(at).since(began);
        assert!((Duration::from_millis(58_850)..Duration::from_secs(90)).contains(&span), "{span:?}");
        // Extended just before that.
        until.store(90_000_000, Ordering::Relaxed);
        assert_ne!(told.next().unwrap(), line);
        now.store(89_699_999, Ordering::Relaxed);
        thread::sleep(4 * LOOK);
        assert!(child.try_wait().unwrap().is_none() && !watch.is_up(group));
        now.store(89_700_000, Ordering::Relaxed);
        assert!(!child.wait().unwrap().success());
        assert!(watch.is_up(group));
        watch.remove(group);
        assert!(!watch.is_up(group));
        assert_eq!(told.next().unwrap(), format!("{} 0", group.number()));
        drop(watch);
        // The thread ends, and with it the wire.
        assert_eq!(told.next(), None);
    }

    #[test]
    fn all_are_killed_as_if_their_time_were_up() {
        let (ours, _its) = UnixStream::pair().unwrap();
        let watch = Watch::start(Clock::system(), Duration::from_millis(300), Wire::new(ours).unwrap());
        let (mut child, group) = sleeper();
        watch.add(group, || Time::from_micros(u64::MAX));
        watch.kill_all();
        assert!(!child.wait().unwrap().success() && watch.is_up(group));
    }
}
