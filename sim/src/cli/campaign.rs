//! Many runs: one per thread at a time, results in the order of their seeds.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use streamkeeper_sim::{
    facts::What,
    judge::{Kind, Violation},
    plan::{Plan, Profile},
    world::{Net, Outcome},
};

use super::{Run, quiet};

/// A run that is to be made: where its plan comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) source: Source,
    pub(crate) net: Net,
}

/// Where a plan comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// Drawn.
    Seed(u64, Profile),
    /// Written down, in this file.
    Text(PathBuf, Box<Plan>),
}

impl Job {
    pub(crate) fn plan(&self) -> Plan {
        match &self.source {
            Source::Seed(seed, profile) if self.net == Net::Core => {
                let plan = Plan::draw(*seed, *profile);
                plan.clone().fitted_to_core().unwrap_or(plan)
            }
            Source::Seed(seed, profile) => Plan::draw(*seed, *profile),
            Source::Text(_, plan) => (**plan).clone(),
        }
    }

    /// Whether its engine can run its plan.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.net != Net::Core {
            return Ok(());
        }
        let fits = self.plan().fits_core().map_err(|unfit| unfit.to_string());
        fits.map_err(|error| format!("{}: {error}", self.source))
    }

    /// A short name, fit for a file.
    pub(crate) fn name(&self) -> String {
        let name = self.source.name();
        match (&self.source, self.net) {
            (Source::Seed(..), Net::Core) => format!("{name}-core"),
            _ => name,
        }
    }

    /// What to give to `replay`, besides the plan or seed itself.
    pub(crate) fn options(&self) -> String {
        match self.net {
            Net::Events => String::new(),
            Net::Turmoil => " --net turmoil".to_owned(),
            Net::Core => " --engine core".to_owned(),
        }
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Source::Seed(seed, Profile::Swarm) => seed.to_string(),
            Source::Seed(seed, profile) => format!("{seed}-{profile}"),
            Source::Text(path, _) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.trim_end_matches(".txt").trim_end_matches(".plan").to_owned()
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Seed(seed, profile) => write!(f, "seed {seed} of the profile {profile}"),
            Source::Text(path, _) => write!(f, "{}", path.display()),
        }
    }
}

/// What remains of a run when its facts are dropped: a campaign makes thousands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Digest {
    pub(crate) simulated_us: u64,
    pub(crate) takeovers: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) sometimes: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) panics: Vec<String>,
    pub(crate) worst: Option<Kind>,
}

impl From<Outcome> for Digest {
    fn from(outcome: Outcome) -> Digest {
        let mut faults = BTreeMap::new();
        let mut takeovers = 0;
        for fact in &outcome.facts {
            match &fact.what {
                What::Struck { kind, action, .. }
                    if action.parse().is_ok_and(|action: streamkeeper_sim::plan::Action| action.is_fault()) =>
                {
                    *faults.entry(*kind).or_default() += 1;
                }
                What::Added { takeover: true, .. } => takeovers += 1,
                _ => {}
            }
        }
        let worst = outcome.worst();
        Digest {
            simulated_us: outcome.end.as_micros(),
            takeovers,
            faults,
            sometimes: outcome.sometimes,
            violations: outcome.violations,
            panics: outcome.panics,
            worst,
        }
    }
}

/// How a campaign is made.
pub(crate) struct Limits {
    /// How many threads.
    pub(crate) jobs: usize,
    /// No run is begun later.
    pub(crate) until: Option<Instant>,
}

/// A run that takes longer than this is spoken of.
const LONG: Duration = Duration::from_secs(30);

/// Makes the runs. `heard` is called with each in order; if it answers false, no further run is begun.
pub(crate) fn campaign(
    run: Run,
    jobs: impl Iterator<Item = Job> + Send,
    limits: &Limits,
    mut heard: impl FnMut(&Job, Digest) -> bool,
) {
    let jobs = Mutex::new(jobs.enumerate());
    let stop = AtomicUsize::new(usize::MAX);
    let running = Mutex::new(BTreeMap::new());
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..limits.jobs.max(1) {
            let (jobs, stop, running, done) = (&jobs, &stop, &running, done.clone());
            scope.spawn(move || {
                let open = || limits.until.is_none_or(|until| Instant::now() < until);
                while open() && stop.load(Ordering::Relaxed) == usize::MAX {
                    let Some((index, job)) = lock(jobs).next() else { break };
                    lock(running).insert(index, (job.name(), Instant::now()));
                    let digest = Digest::from(quiet::run(run, &job.plan(), job.net));
                    lock(running).remove(&index);
                    if done.send((index, job, digest)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut next = 0;
        loop {
            match results.recv_timeout(LONG) {
                Ok((index, job, digest)) => drop(early.insert(index, (job, digest))),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    for (name, since) in lock(&running).values().filter(|(_, since)| since.elapsed() >= LONG) {
                        eprintln!("{name} has been running for {} s", since.elapsed().as_secs());
                    }
                }
            }
            while let Some((job, digest)) = early.remove(&next) {
                next += 1;
                if stop.load(Ordering::Relaxed) == usize::MAX && !heard(&job, digest) {
                    stop.store(next, Ordering::Relaxed);
                }
            }
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
