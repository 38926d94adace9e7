//! A process that may hang, or ask for all the memory there is.

use std::{
    fs::File,
    io::{IsTerminal, stderr},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly,
    /// It was ended, since it took too long.
    Hung,
}

/// Runs a program with a limit of memory and of time. Its output goes to `log`.
pub(crate) fn run(
    program: &Path,
    env: &[(&str, String)],
    folder: &Path,
    log: &Path,
    within: Duration,
) -> Result<Ended, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 6000000; exec \"$@\"", "bash"]).arg(program);
    command.envs(env.iter().map(|(name, value)| (name, value))).current_dir(folder).stdin(Stdio::null());
    let log = File::create(log).map_err(failed)?;
    command.stderr(log.try_clone().map_err(failed)?).stdout(log);
    let mut child = command.spawn().map_err(failed)?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(if status.success() { Ended::Well } else { Ended::Badly });
        }
        if begun.elapsed() > within {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Ok(Ended::Hung);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Where there is a terminal.
pub(crate) fn bar(length: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta} {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
