//! The simulated server in place of redis-server, as tests start it: with the options of that.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use clap::Parser;
use streamkeeper_sim::mutate::{Planted, hear};

use super::{
    super::{exit::Exit, redis, say},
    one,
};

/// The variable that names the mutant that is planted.
pub(super) const MUTANT: &str = "STREAMKEEPER_SIM_MUTANT";
/// The variable that names the file into which the names of the scripts go that are run.
pub(super) const USED: &str = "STREAMKEEPER_SIM_USED";

/// What tests ask of a server that the simulated one has not, or has always.
const OTHERS: [&str; 6] = ["save", "dir", "bind", "cluster-port", "enable-debug-command", "port"];

/// Stands in for redis-server.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    redis: redis::Args,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        if self.options.iter().any(|option| option == "--version") {
            say("Redis server v=7.0.15, simulated");
            return Ok(Exit::Ok);
        }
        // Whoever started it may be ended before it ends this.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let mutant = std::env::var(MUTANT).ok().map(|name| one::named(&name)).transpose()?;
        let _planted = mutant.as_ref().map(Planted::new);
        if let Some(path) = std::env::var_os(USED) {
            let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| error.to_string())?;
            hear(move |script| {
                let _ = writeln!(&file, "{script}");
            });
        }
        let options = Options::try_parse_from(arguments(&self.options)).map_err(|error| error.to_string())?;
        options.redis.run()
    }
}

/// The same as arguments of `redis`.
fn arguments(options: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> = ["redis", "--port", "0"].map(str::to_owned).into();
    for pair in options.chunks(2) {
        let [name, value] = pair else { continue };
        match name.trim_start_matches("--") {
            "unixsocket" => arguments.extend(["--unixsocket".to_owned(), value.clone()]),
            "notify-keyspace-events" => arguments.extend(["--notify".to_owned(), value.clone()]),
            other if OTHERS.contains(&other) => {}
            other => arguments.extend(["--set".to_owned(), format!("{other}={value}")]),
        }
    }
    arguments
}

/// A program that is started as redis-server is.
pub(super) fn program(folder: &Path) -> std::io::Result<PathBuf> {
    let path = folder.join("redis-server");
    let tool = std::env::current_exe()?;
    fs::write(&path, format!("#!/bin/sh\nexec '{}' redis-server \"$@\"\n", tool.display()))?;
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_redis_server_are_understood() {
        let options = ["--port", "0", "--save", "", "--unixsocket", "s", "--maxmemory-policy", "noeviction"];
        let options = options.map(str::to_owned);
        let expected = ["redis", "--port", "0", "--unixsocket", "s", "--set", "maxmemory-policy=noeviction"];
        assert_eq!(arguments(&options), expected);
    }
}
