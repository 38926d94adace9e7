//! Runs the copy, once per canary, until the judges see it.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    canary::{Canary, Explored, Half},
    copy::{self, Tree},
};

/// In how many seeds each must be found.
const SEEDS: u64 = 200;

/// What the copy runs: it has no need of the tool.
const PROBE: &str = include_str!("probe.rs");

/// The compiled copy.
pub(crate) struct Hunter {
    program: PathBuf,
    plans: PathBuf,
}

impl Hunter {
    /// Writes the copy and compiles it.
    pub(crate) fn build(tree: &Tree) -> Result<Hunter, String> {
        // The workspace's own target folder: what everything depends on is compiled there already.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let sources = target.join("canaries/sources");
        let mut tree = tree.clone();
        tree.insert("sim/src/bin/canary.rs".to_owned(), PROBE.as_bytes().to_vec());
        copy::write(&tree, &sources).map_err(|error| format!("{}: {error}", sources.display()))?;
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "-p", "streamkeeper-sim", "--bin", "canary"])
            .current_dir(&sources)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .output();
        match built {
            Ok(built) if built.status.success() => {
                Ok(Hunter { program: target.join("debug/canary"), plans: target.join("canaries/plans") })
            }
            Ok(built) => {
                let why = String::from_utf8_lossy(&built.stderr);
                Err(format!("the copy in {} does not compile:\n{why}", sources.display()))
            }
            Err(error) => Err(format!("cargo: {error}")),
        }
    }

    /// Looks for each canary, as many at once as there are cores, and last for none: what went wrong.
    pub(crate) fn hunt(&self, canaries: &[&Canary]) -> Vec<String> {
        let (queue, failures) = (Mutex::new(VecDeque::from_iter(canaries)), Mutex::new(Vec::new()));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some(canary) = next() {
                        let failure = self.look_for(canary).err();
                        failures.lock().unwrap_or_else(PoisonError::into_inner).extend(failure);
                    }
                });
            }
        });
        let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.extend(self.look_for_none().err());
        failures
    }

    /// The first seed in which something is broken breaks what is expected.
    fn look_for(&self, canary: &Canary) -> Result<(), String> {
        let (name, began) = (&canary.name, Instant::now());
        for engine in ["events", "core"].into_iter().take(1 + usize::from(canary.core)) {
            let found = self.run(name, canary.profile, engine, canary.plan.as_deref())?;
            let Some((seed, promise, how)) = found else {
                return Err(format!("{name}: not found in {SEEDS} seeds on {engine} ({})", canary.what));
            };
            println!("{name}: seed {seed} on {engine}, `{promise}`, {:.1} s: {how}", began.elapsed().as_secs_f64());
            if !canary.promises.contains(&promise) {
                let expected = &canary.promises;
                return Err(format!(
                    "{name}: seed {seed} on {engine} breaks `{promise}`, expected {expected:?}: {how}"
                ));
            }
        }
        canary.explored.map_or(Ok(()), |explored| self.explore(canary, explored))
    }

    /// It is among all lives of a small cluster.
    fn explore(&self, canary: &Canary, Explored { faults, wishes }: Explored) -> Result<(), String> {
        let (name, began) = (&canary.name, Instant::now());
        let mut command = Command::new(&self.program);
        command.args(["explore", &faults.to_string(), &wishes.to_string()]).env("STREAMKEEPER_CANARY", name);
        let Some((states, promise, how)) = self.found(name, &mut command)? else {
            return Err(format!("{name}: in no life with {faults} faults and {wishes} wishes ({})", canary.what));
        };
        println!("{name}: {states} states, `{promise}`, {:.1} s: {how}", began.elapsed().as_secs_f64());
        if canary.promises.contains(&promise) {
            return Ok(());
        }
        Err(format!("{name}: explored, it breaks `{promise}`, expected {:?}: {how}", canary.promises))
    }

    /// With no canary, all is well.
    fn look_for_none(&self) -> Result<(), String> {
        for (half, engine) in [(Half::Swarm, "events"), (Half::Messages, "events"), (Half::Swarm, "core")] {
            if let Some((seed, promise, how)) = self.run("", half, engine, None)? {
                return Err(format!("no canary: seed {seed} ({half:?}, {engine}) breaks `{promise}`: {how}"));
            }
        }
        Ok(())
    }

    /// The first seed in which something is broken: the seed, the promise and how.
    fn run(
        &self,
        canary: &str,
        half: Half,
        engine: &str,
        plan: Option<&str>,
    ) -> Result<Option<(u64, String, String)>, String> {
        let mut command = Command::new(&self.program);
        command.arg(SEEDS.to_string()).arg(half.profile().to_string()).arg(engine).env("STREAMKEEPER_CANARY", canary);
        if let Some(plan) = plan {
            let path = self.plans.join(format!("{canary}.txt"));
            std::fs::create_dir_all(&self.plans)
                .and_then(|()| std::fs::write(&path, plan))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            command.arg(path);
        }
        self.found(canary, &mut command)
    }

    /// What the copy says that it has found.
    fn found(&self, canary: &str, command: &mut Command) -> Result<Option<(u64, String, String)>, String> {
        let output = command.output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("canary `{canary}`: the copy ended with {}: {said}{why}", output.status));
        }
        let mut words = said.trim_end().splitn(3, '\t');
        let found = (words.next().and_then(|seed| seed.parse().ok()), words.next(), words.next());
        Ok(match found {
            (Some(seed), Some(promise), Some(how)) => Some((seed, promise.to_owned(), how.to_owned())),
            _ => None,
        })
    }
}
