//! `scale`: how a large fleet behaves.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper::Settings;
use streamkeeper_sim::{
    plan::text::parse_span,
    scale::{Costs, Fleet, Report, run},
};

use super::{exit::Exit, say};

/// Lets a large fleet take streams, leaves it alone, kills some of it, and tells how it went.
///
/// The machines and the scripts are those that ship; latency and what calls cost a server are modelled. Words and calls
/// are counted, times follow from the model: docs/scale.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many consumers.
    #[arg(long, value_name = "N", default_value_t = 10)]
    consumers: usize,
    /// How many streams.
    #[arg(long, value_name = "M", default_value_t = 10_000)]
    streams: usize,
    /// How long a lease lives.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    ttl: Duration,
    /// How often leases are renewed. Default: three times in a ttl.
    #[arg(long, value_name = "TIME", value_parser = time)]
    heartbeat: Option<Duration>,
    /// Over how many services the streams are spread; each consumer serves all of them.
    #[arg(long, value_name = "P", default_value_t = 1)]
    partitions: usize,
    /// How many servers share the partitions. Default: one each.
    #[arg(long, value_name = "S")]
    shards: Option<usize>,
    /// How many consumers are killed.
    #[arg(long, value_name = "K", default_value_t = 1)]
    kill: usize,
    /// How long one call may take.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    call_timeout: Duration,
    /// How long it is left alone. Default: three heartbeats.
    #[arg(long, value_name = "TIME", value_parser = time)]
    quiet: Option<Duration>,
    /// Changes what something costs, in microseconds: `renew=6.3`. Can be repeated; a wrong name lists them all.
    #[arg(long = "cost", value_name = "NAME=MICROS")]
    costs: Vec<String>,
    /// What chance is drawn from.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let fleet = self.fleet()?;
        let begun = Instant::now();
        let bar = if stderr().is_terminal() { ProgressBar::new(self.streams as u64) } else { ProgressBar::hidden() };
        let style =
            ProgressStyle::with_template("{msg:20} {bar:30} {human_pos} of {human_len} streams owned, {elapsed}");
        bar.set_style(style.map_err(|error| error.to_string())?);
        let report = run(&fleet, |progress| {
            bar.set_position(progress.owned as u64);
            bar.set_message(format!("{:8.1} s {}", progress.passed.as_secs_f64(), progress.phase));
        });
        bar.finish_and_clear();
        let report = report.map_err(|error| error.to_string())?;
        if self.json {
            say(serde_json::to_string(&report).map_err(|error| error.to_string())?);
        } else {
            say(&report);
            say(format_args!("{:.1} s of wall time", begun.elapsed().as_secs_f64()));
        }
        Ok(verdict(&report))
    }

    fn fleet(&self) -> Result<Fleet, String> {
        let mut costs = Costs::default();
        self.costs.iter().try_for_each(|text| costs.set(text)).map_err(|error| error.to_string())?;
        let fleet = Fleet::new(self.consumers, self.streams, self.ttl);
        let heartbeat = self.heartbeat.unwrap_or(fleet.settings.heartbeat);
        let left = self.consumers.saturating_sub(self.kill).max(1);
        let capacity = fleet.settings.capacity.max(2 * self.streams.div_ceil(left));
        let settings = Settings { heartbeat, capacity, call_timeout: self.call_timeout, ..fleet.settings };
        Ok(Fleet {
            partitions: self.partitions,
            shards: self.shards.unwrap_or(self.partitions),
            kill: self.kill,
            quiet: self.quiet.unwrap_or(heartbeat * 3),
            settings,
            costs,
            seed: self.seed,
            ..fleet
        })
    }
}

fn verdict(report: &Report) -> Exit {
    match report {
        Report { doubled: 1.., .. } => Exit::Safety,
        Report { all_owned: false, .. } => Exit::Liveness,
        _ => Exit::Ok,
    }
}

fn time(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| format!("`{text}` is no length of time such as `500ms` or `2s`"))
}
