//! The command line. A command is a module with its arguments and a `run`; to add one, add its variant to [`Command`].

mod campaign;
mod cover;
#[cfg(unix)]
mod demo;
mod exit;
mod explore;
mod failure;
mod kept;
mod mutate;
mod quiet;
mod redis;
mod replay;
mod report;
mod run;
mod scale;
mod scenario;
mod seeds;
mod shrink;
mod summary;
mod trace;
mod twice;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use streamkeeper_sim::{
    plan::Plan,
    world::{self, Net, Outcome},
};

use exit::Exit;

/// Streamkeeper under simulated crashes, pauses, partitions and failovers of Redis.
///
/// Exits with 0 if every promise was kept, 2 if one of safety was broken, 3 if one of liveness, 4 if something that must
/// happen sometimes never did, 5 if a seed ran in two ways, 64 if it was used wrongly.
#[derive(Parser)]
#[command(name = "streamkeeper-sim", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Replay(Box<replay::Args>),
    Shrink(shrink::Args),
    Twice(twice::Args),
    Cover(cover::Args),
    Explore(explore::Args),
    Scale(scale::Args),
    Scenario(scenario::Args),
    Report(report::Args),
    Redis(redis::Args),
    Mutate(mutate::Args),
    #[command(hide = true)]
    RedisServer(mutate::server::Args),
    #[cfg(unix)]
    Demo(demo::Args),
    #[cfg(unix)]
    #[command(hide = true)]
    DemoConsumer(demo::ConsumerArgs),
    #[command(hide = true)]
    Traces(twice::TracesArgs),
}

/// Where plans and reports are written to, unless another place is named.
const FOLDER: &str = "target/sim";

/// What makes an outcome of a plan: the world, or a test's double.
type Run = fn(&Plan, Net) -> Outcome;

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, and no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return if error.print().is_ok() { exit.into() } else { Exit::Usage.into() };
        }
    };
    quiet::install();
    let run: Run = world::run;
    let done = match cli.command {
        Command::Run(args) => args.run(run),
        Command::Replay(args) => args.run(run),
        Command::Shrink(args) => args.run(run),
        Command::Twice(args) => args.run(),
        Command::Cover(args) => args.run(run),
        Command::Explore(args) => args.run(),
        Command::Scale(args) => args.run(),
        Command::Scenario(args) => args.run(run),
        Command::Report(args) => args.run(run),
        Command::Redis(args) => args.run(),
        Command::Mutate(args) => args.run(),
        Command::RedisServer(args) => args.run(),
        #[cfg(unix)]
        Command::Demo(args) => args.run(),
        #[cfg(unix)]
        Command::DemoConsumer(args) => args.run(),
        Command::Traces(args) => args.run(run),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("streamkeeper-sim: {error}");
            Exit::Usage.into()
        }
    }
}

/// Prints a line. Whoever has read enough and closed the pipe ends the program, in silence.
fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
