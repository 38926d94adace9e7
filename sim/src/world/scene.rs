//! What everybody in a run shares: the record, the true time, and who holds which lease.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt;
use streamkeeper::Clock;
use tokio::sync::Notify;

use crate::facts::{Owned, Record, What, Who};

/// Shared by all hosts of a run and its director. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Scene(Arc<Shared>);

struct Shared {
    record: Record,
    clock: Clock,
    holdings: Mutex<Holdings>,
    crowded: Notify,
    panics: Mutex<Vec<String>>,
    workers: Mutex<Workers>,
}

/// What workers of messages have in common.
#[derive(Default)]
struct Workers {
    /// The process of each consumer that lives.
    lives: BTreeMap<usize, Who>,
    /// Those whose handler kills them.
    doomed: Vec<Who>,
    runs: u64,
    /// How often each message has done something.
    deeds: BTreeMap<(u64, &'static str), u32>,
}

/// By stream: the leases whose end their holder has not heard of.
type Holdings = BTreeMap<Arc<str>, Vec<Holding>>;

struct Holding {
    who: Who,
    owned: Owned,
    /// Whether they still believe in it, by their own clock.
    is_valid: Box<dyn Fn() -> bool + Send>,
}

impl Scene {
    pub(crate) fn new(clock: Clock) -> Scene {
        Scene(Arc::new(Shared {
            record: Record::default(),
            clock,
            holdings: Mutex::default(),
            crowded: Notify::new(),
            panics: Mutex::default(),
            workers: Mutex::default(),
        }))
    }

    /// Writes down what happens at this instant.
    pub(crate) fn note(&self, what: What) {
        self.0.record.write(self.0.clock.now(), what);
    }

    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// A process holds a lease from now on. Whether more than one of its stream are held.
    pub(crate) fn hold(&self, who: Who, owned: &Owned, is_valid: impl Fn() -> bool + Send + 'static) -> bool {
        let mut holdings = self.holdings();
        let holders = holdings.entry(owned.stream.clone()).or_default();
        holders.push(Holding { who, owned: owned.clone(), is_valid: Box::new(is_valid) });
        let crowded = holders.len() > 1;
        drop(holdings);
        if crowded {
            self.note_beliefs();
            self.0.crowded.notify_one();
        }
        crowded
    }

    /// Somebody holds a lease of this stream.
    pub(crate) fn is_held(&self, stream: &str) -> bool {
        self.holdings().contains_key(stream)
    }

    /// A process has heard that its ownership has ended.
    pub(crate) fn let_go(&self, who: Who, owned: &Owned) {
        let mut holdings = self.holdings();
        if let Some(holders) = holdings.get_mut(&owned.stream) {
            holders.retain(|holding| holding.who != who || holding.owned != *owned);
            if holders.is_empty() {
                holdings.remove(&owned.stream);
            }
        }
    }

    /// A consumer's process is no more, and believes nothing.
    pub(crate) fn forget(&self, consumer: usize) {
        let mut holdings = self.holdings();
        for holders in holdings.values_mut() {
            holders.retain(|holding| holding.who.consumer != consumer);
        }
        holdings.retain(|_, holders| !holders.is_empty());
    }

    /// This process of a consumer lives from now on, or none does.
    pub(crate) fn lives(&self, consumer: usize, who: Option<Who>) {
        let mut workers = lock(&self.0.workers);
        match who {
            Some(who) => drop(workers.lives.insert(consumer, who)),
            None => drop(workers.lives.remove(&consumer)),
        }
    }

    /// The process of a consumer that lives.
    pub(crate) fn life(&self, consumer: usize) -> Option<Who> {
        lock(&self.0.workers).lives.get(&consumer).copied()
    }

    /// A handler kills its process: as soon as the director sees it.
    pub(crate) fn doom(&self, who: Who) {
        lock(&self.0.workers).doomed.push(who);
    }

    /// The processes that are to be killed.
    pub(crate) fn doomed(&self) -> Vec<Who> {
        std::mem::take(&mut lock(&self.0.workers).doomed)
    }

    /// The number of one more run of a message.
    pub(crate) fn next_run(&self) -> u64 {
        let mut workers = lock(&self.0.workers);
        workers.runs += 1;
        workers.runs
    }

    /// How often a message has done this, once more included.
    pub(crate) fn once_more(&self, message: u64, deed: &'static str) -> u32 {
        let mut workers = lock(&self.0.workers);
        let times = workers.deeds.entry((message, deed)).or_default();
        *times += 1;
        *times
    }

    /// Waits until more than one lease of some stream is held. Cancel safe.
    pub(crate) async fn crowded(&self) {
        self.0.crowded.notified().await;
    }

    /// Writes down who believes in a lease, where more than one do. Whether more than one lease of some stream is held.
    pub(crate) fn note_beliefs(&self) -> bool {
        let holdings = self.holdings();
        let crowds = holdings.values().filter(|holders| holders.len() > 1);
        let mut crowded = false;
        for holders in crowds {
            crowded = true;
            let believers: Vec<_> = holders.iter().filter(|holding| (holding.is_valid)()).collect();
            if believers.len() > 1 {
                for Holding { who, owned, .. } in believers {
                    self.note(What::Believes { who: *who, owned: owned.clone() });
                }
            }
        }
        crowded
    }

    /// Runs something of a user's: should it panic, the run has failed.
    pub(crate) fn watched<T, F>(&self, whose: &str, task: F) -> impl Future<Output = Option<T>> + use<T, F>
    where
        F: Future<Output = T>,
    {
        let (shared, whose) = (self.0.clone(), whose.to_owned());
        AssertUnwindSafe(task).catch_unwind().map(move |ended| match ended {
            Ok(value) => Some(value),
            Err(panic) => {
                lock(&shared.panics).push(format!("{whose}: {}", words(&*panic)));
                None
            }
        })
    }

    /// The panics so far.
    pub(crate) fn panics(&self) -> Vec<String> {
        lock(&self.0.panics).clone()
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        lock(&self.0.holdings)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}
