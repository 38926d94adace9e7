//! The tests of the shell's calls, with the simulated server in place of a real one. Which of them use which script is
//! found out by running each of them once; those that need what the simulated server has not are left out.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use streamkeeper_sim::mutate::Mutant;

use super::{ends, server};

/// A test that takes longer by itself is not worth it.
const LONGEST: Duration = Duration::from_secs(15);
/// With a mutant one that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The tests, and which scripts each of them runs, those first that end soonest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScriptTests {
    /// The program that they are in.
    program: PathBuf,
    /// What stands in place of redis-server.
    server: PathBuf,
    tests: Vec<(String, Vec<String>)>,
}

impl ScriptTests {
    /// Builds the tests, and runs each once.
    pub(super) fn measured(folder: &Path) -> Result<ScriptTests, String> {
        let server = server::program(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut all = ScriptTests { program: built()?, server, tests: Vec::new() };
        let used = folder.join("used");
        let mut found = BTreeMap::new();
        for name in all.names()? {
            let _ = fs::remove_file(&used);
            let begun = Instant::now();
            if !all.passes(&name, &[(server::USED, used.as_os_str())], LONGEST) {
                continue;
            }
            let scripts = fs::read_to_string(&used).unwrap_or_default();
            let mut scripts: Vec<String> = scripts.lines().map(str::to_owned).collect();
            scripts.sort();
            scripts.dedup();
            if !scripts.is_empty() {
                found.insert((begun.elapsed(), name), scripts);
            }
        }
        all.tests = found.into_iter().map(|((_, name), scripts)| (name, scripts)).collect();
        if all.tests.is_empty() {
            return Err("no test of the calls passes on the simulated server".to_owned());
        }
        Ok(all)
    }

    pub(super) fn read(path: &Path) -> Result<ScriptTests, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The first test that fails with this mutant.
    pub(super) fn notice(&self, mutant: &Mutant) -> Option<String> {
        let scripts = mutant.scripts();
        let name = mutant.to_string();
        let uses = |used: &[String]| used.iter().any(|script| scripts.contains(&script.as_str()));
        let concerned = self.tests.iter().filter(|(_, used)| uses(used));
        let failed =
            concerned.into_iter().find(|(test, _)| !self.passes(test, &[(server::MUTANT, name.as_ref())], PATIENCE));
        failed.map(|(test, _)| test.clone())
    }

    fn names(&self) -> Result<Vec<String>, String> {
        let listed = Command::new(&self.program).args(["--list", "--format", "terse"]).output();
        let listed = listed.map_err(|error| format!("{}: {error}", self.program.display()))?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(names.filter(|name| name.contains("calls::tests::")).map(str::to_owned).collect())
    }

    fn passes(&self, test: &str, variables: &[(&str, &std::ffi::OsStr)], within: Duration) -> bool {
        let mut command = Command::new(&self.program);
        command.args(["--exact", test, "--test-threads", "1"]).current_dir(repository().join("io"));
        command.env("REDIS_SERVER", &self.server).envs(variables.iter().copied());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        spawned.is_ok_and(|mut child| {
            ends(&mut child, within).unwrap_or(false) && child.wait().is_ok_and(|status| status.success())
        })
    }
}

/// The program of the shell's tests.
fn built() -> Result<PathBuf, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--package", "streamkeeper", "--lib", "--no-run", "--quiet", "--message-format", "json"]);
    let output = command.current_dir(repository()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo cannot be run: {error}"))?;
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let program = messages.filter_map(|message| message.executable).next_back();
    program
        .ok_or_else(|| "the tests of the shell cannot be built: cargo test -p streamkeeper --lib --no-run".to_owned())
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
