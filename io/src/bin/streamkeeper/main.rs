//! `streamkeeper`: own streams, announce them, look after those set aside, and see how a service stands; send messages,
//! work on them with any command, and look after what was delayed or given up.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

#![allow(clippy::disallowed_methods)] // an application of the shell: its tasks and its wall clock are its own

mod announce;
mod args;
mod consume;
mod dead;
mod duration;
mod exec;
mod letters;
mod lines;
mod messages;
mod outcomes;
mod output;
mod password;
mod processes;
mod scheduled;
mod send;
mod signals;
mod status;
mod work;

use std::{
    error::Error,
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Task};

/// How a task ends that did not do what it was asked for.
pub(crate) enum Failure {
    /// It could not.
    Failed(String),
    /// It was asked for in a wrong way.
    Usage(String),
    /// Whoever read its output has read enough.
    Unread,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let io = (&error as &dyn Error).downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::BrokenPipe) => Failure::Unread,
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// An error at start: of the usage, or of the world.
pub(crate) fn at_start(error: streamkeeper::Error) -> Failure {
    use streamkeeper::{
        Error,
        PartitionsError::{Brace, Count},
    };
    match error {
        Error::Url { .. } | Error::Tls { .. } | Error::Name(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        Error::Partitions(Count { .. } | Brace { .. }) => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

/// The same for messages.
pub(crate) fn at_start_of_messages(error: streamkeeper::messages::Error) -> Failure {
    use streamkeeper::messages::Error;
    match error {
        Error::Server(error) => at_start(error),
        Error::Name(_) | Error::Config(_) | Error::Twice { .. } => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("STREAMKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    log.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).init();
    // One thread is enough: the driver of a consumer brings its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => complain(&why, 1),
        Err(Failure::Usage(why)) => complain(&why, 2),
    }
}

fn complain(why: &str, code: u8) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(code)
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.task {
        Task::Work(work) => work::run(*work).await,
        Task::Announce(announce) => announce::run(announce).await,
        Task::Send(send) => send::run(send).await,
        Task::Consume(consume) => consume::run(*consume).await,
        Task::Dead(dead) => dead::run(dead).await,
        Task::Scheduled(scheduled) => scheduled::run(scheduled).await,
        Task::Messages(messages) => messages::run(messages).await,
        Task::Status(status) => status::run(status).await,
        Task::Guard => processes::guard::run(),
    }
}
