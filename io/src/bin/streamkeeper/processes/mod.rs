//! A process for each owned stream: `work --exec`.
//!
//! A process lives no longer than its lease, whatever happens. Three look after that: the task that waits for it
//! ([`running`]), a thread ([`watch`]), and a second process ([`guard`]). When it ends by itself, its exit code says what
//! becomes of the stream ([`verdict`]). Entries and commits go through its pipes ([`talk`]).

mod environment;
pub(crate) mod guard;
mod ids;
mod line;
mod running;
mod talk;
mod verdict;
mod watch;

use std::{
    io,
    pin::pin,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::FusedFuture};
use streamkeeper::{Client, Clock, FinishError, Lease, entries::Start};
use tokio::{process::Child, sync::mpsc, task::JoinSet, time::timeout};
use tracing::{error, warn};

use self::{environment::Environment, running::Running, talk::Handed, verdict::Verdict, watch::Watch};
use crate::{args::Work, exec::shell};

/// How many events may wait to be printed before processes wait for that.
const EVENTS: usize = 1_000;
/// How long a process that has read the end of its input may take to end by itself, before it is asked to.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the last ids of a process that has ended may take to be committed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All processes of one consumer.
pub(crate) struct Processes {
    command: String,
    environment: Environment,
    clock: Clock,
    watch: Arc<Watch>,
    /// Processes are handed the entries, from here on if nothing was ever committed.
    entries: Option<Start>,
    /// Processes say what is to be committed.
    commits: bool,
    /// How long a stream rests that was given back for later.
    pause: Duration,
    events: mpsc::Sender<Event>,
    tasks: Mutex<JoinSet<()>>,
}

/// What is told of processes.
pub(crate) struct Events {
    events: mpsc::Receiver<Event>,
    guard: Child,
}

/// A fact about a process, to be printed.
pub(crate) enum Event {
    /// It works on the stream.
    Started { lease: Lease, pid: i32 },
    /// It does not any more, and what becomes of the stream.
    Ended(Ended),
    /// The guard has ended: without it nothing may go on.
    GuardGone(String),
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) lease: Lease,
    /// `None`: it could not be started.
    pub(crate) pid: Option<i32>,
    /// In a word.
    pub(crate) outcome: &'static str,
    /// As a number, as shells have it.
    pub(crate) code: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) took: Duration,
}

impl Processes {
    /// Prepares everything for a client's streams.
    ///
    /// # Errors
    /// The guard cannot be started.
    pub(crate) fn start(work: &Work, command: &str, client: &Client) -> io::Result<(Arc<Processes>, Events)> {
        let (guard, watch) = watch::start(client.clock().clone(), margin(work.lease_ttl))?;
        let redis = (!work.no_redis_env).then(|| work.place.server.redis.join(" "));
        let service = client.service().name().to_owned();
        let environment = Environment { consumer: client.id().to_string(), service, redis };
        let (events, said) = mpsc::channel(EVENTS);
        let processes = Processes {
            command: command.to_owned(),
            environment,
            clock: client.clock().clone(),
            watch,
            entries: work.entries.then_some(work.from),
            commits: work.commits,
            pause: work.pause,
            events,
            tasks: Mutex::default(),
        };
        Ok((Arc::new(processes), Events { events: said, guard }))
    }

    /// A stream is owned: a process works on it from now on, until it or the ownership ends.
    pub(crate) fn own(self: &Arc<Self>, lease: Lease) {
        let own = self.clone().work(Owned(lease));
        self.tasks().spawn(own);
    }

    /// Waits until all that were begun have ended. Those begun meanwhile are not waited for.
    pub(crate) async fn ended(&self) {
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.join_all().await;
    }

    /// Kills all.
    pub(crate) fn kill(&self) {
        self.watch.kill_all();
    }

    async fn work(self: Arc<Self>, owned: Owned) {
        let lease = &owned.0;
        let (verdict, pid, status, took) = match self.begin(lease).await {
            Ok(running) => self.attend(running, lease).await,
            Err(verdict) => (verdict, None, None, Duration::ZERO),
        };
        let error = verdict.error().map(str::to_owned);
        if let Some(error) = &error {
            warn!(stream = %lease.stream(), command = self.command, "{error}: the stream is given back");
        }
        if pid.is_some() || error.is_some() {
            let (outcome, code) = (verdict.label(), status.map(verdict::code));
            self.say(Event::Ended(Ended { lease: lease.clone(), pid, outcome, code, error, took })).await;
        }
        if let Err(error) = self.settle(lease, &verdict).await {
            warn!(%error, "not ended as wished");
        }
    }

    /// Starts a process, or says what becomes of the stream without one.
    async fn begin(&self, lease: &Lease) -> Result<Running, Verdict> {
        let position = tokio::select! {
            biased;
            _ = lease.draining() => return Err(Verdict::Drained),
            position = lease.position() => position,
        };
        let checkpoint = position.map_err(|error| Verdict::no_position(&error))?;
        let mut command = shell(&self.command);
        self.environment.of(lease, checkpoint, &mut command);
        let started = Running::start(command, (self.entries.is_some(), self.commits), lease, &self.watch);
        started.map_err(|error| Verdict::not_started(&error))
    }

    /// Talks with a process until its end.
    async fn attend(
        &self,
        mut running: Running,
        lease: &Lease,
    ) -> (Verdict, Option<i32>, Option<ExitStatus>, Duration) {
        let (pid, (input, output)) = (running.pid(), running.pipes());
        self.say(Event::Started { lease: lease.clone(), pid }).await;
        let handed = Handed::default();
        let feeding = async {
            if let (Some(input), Some(start)) = (input, self.entries) {
                talk::feed(input, lease, start, &handed).await;
            }
        };
        let listening = async {
            if let Some(output) = output {
                talk::listen(output, lease, self.entries.is_some().then_some(&handed)).await;
            }
        };
        let mut listening = pin!(listening.fuse());
        let ended = {
            let lost = async { drop(lease.lost().await) };
            let patience = if self.entries.is_some() { PATIENCE } else { Duration::ZERO };
            let mut attending = pin!(running.attend(&self.clock, lost, lease.draining(), patience));
            let mut feeding = pin!(feeding.fuse());
            loop {
                tokio::select! {
                    biased;
                    ended = &mut attending => break ended,
                    () = &mut feeding => {}
                    () = &mut listening => {}
                }
            }
        };
        if !listening.is_terminated() {
            let _ = timeout(LAST_WORDS, listening).await;
        }
        match ended {
            Ok((cause, status)) => (Verdict::of(cause, status), Some(pid), Some(status), running.age()),
            Err(error) => {
                let verdict = Verdict::Failed(format!("the process cannot be waited for: {error}"));
                (verdict, Some(pid), None, running.age())
            }
        }
    }

    async fn settle(&self, lease: &Lease, verdict: &Verdict) -> Result<(), FinishError> {
        match verdict {
            Verdict::Done => lease.done().await,
            Verdict::Drained => lease.release().await,
            Verdict::Later | Verdict::CannotRun(_) => lease.release_for(self.pause).await,
            Verdict::Failed(error) => lease.release_failed(error).await,
            // The lease has ended mostly, and that was told.
            Verdict::Killed => {
                let _ = lease.release().await;
                Ok(())
            }
        }
    }

    async fn say(&self, event: Event) {
        // Nobody listens after the last word.
        let _ = self.events.send(event).await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "the task of a process has ended");
            }
        }
        tasks
    }
}

impl Events {
    /// The next one, if there is one by now.
    pub(crate) fn now(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Event {
        let ended = tokio::select! {
            biased;
            Some(event) = self.events.recv() => return event,
            ended = self.guard.wait() => ended,
        };
        Event::GuardGone(match ended {
            Ok(status) => format!("the guard process has ended: {status}"),
            Err(error) => format!("the guard process cannot be waited for: {error}"),
        })
    }
}

/// An ownership whose task may panic: then the stream is given back, too.
struct Owned(Lease);

impl Drop for Owned {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(self.0.release_failed("its task panicked"));
        }
    }
}

/// How long before the end of its lease a process is killed.
fn margin(lease_ttl: Duration) -> Duration {
    (lease_ttl / 10).min(Duration::from_secs(1))
}
