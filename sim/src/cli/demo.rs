//! `demo`: the main job, live.

use std::{
    io::{ErrorKind, IsTerminal, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use streamkeeper_sim::demo::{self, Consumer, Demo};

use super::exit::Exit;

/// Shows the main job, live, in 20 seconds and without any set-up: three consumers, of which one is killed, one frozen,
/// one cut off and one told to stop.
///
/// Exits with 0 if nothing was lost and no stream had two owners, otherwise with 2.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A real server, instead of the simulated one in this process: redis://[user:password@]host:port[/db]. The demo
    /// uses keys of its own, and deletes them.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Where to write the report.
    #[arg(long, value_name = "FILE", default_value_os_t = Path::new(super::FOLDER).join("demo.html"))]
    report: PathBuf,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let demo = Demo { redis: self.redis, report: self.report, program, live: stdout().is_terminal() };
        let runtime = runtime()?;
        let outcome = match runtime.block_on(demo::run(&demo)) {
            Ok(outcome) => outcome,
            // Ctrl-C: as the shell says it.
            Err(error) if error.kind() == ErrorKind::Interrupted => std::process::exit(130),
            Err(error) => return Err(error.to_string()),
        };
        println!("{outcome}");
        if self.json {
            println!("{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
        }
        Ok(if outcome.is_good() { Exit::Ok } else { Exit::Safety })
    }
}

/// A process of the demo.
#[derive(clap::Args)]
pub(crate) struct ConsumerArgs {
    #[arg(long)]
    service: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    ttl_ms: u64,
}

impl ConsumerArgs {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let ConsumerArgs { service, name, ttl_ms } = self;
        let consumer = Consumer { service, name, lease_ttl: Duration::from_millis(ttl_ms) };
        runtime()?.block_on(demo::consume(consumer)).map(|()| Exit::Ok)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}
