//! `run`: a campaign over seeds.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper_sim::{
    plan::{Profile, text::parse_span},
    world::Net,
};

use super::{
    Run,
    campaign::{Job, Limits, Source, campaign},
    exit::Exit,
    failure::Failure,
    kept, say,
    seeds::Seeds,
    summary::Summary,
};

/// Runs many seeds, each with a plan of its own, and judges them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which seeds: `0..500`, `17`, or `1000..` together with --for. Default: 0..100, with --for 0..
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// How long to go on, in wall time: `2m`, `30s`.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    span: Option<Duration>,
    /// How much goes wrong: calm, swarm, storm or small (short, for very many); with messages: messages-calm, messages or
    /// messages-storm; with entries: entries-calm, entries or entries-storm; with several servers: sentinel or cluster.
    #[arg(long, default_value_t)]
    profile: Profile,
    /// Which engine: the shell on a network, which is events (ours, fast) or turmoil; or core, the machines alone.
    #[arg(long, visible_alias = "engine", default_value_t)]
    net: Net,
    /// How many threads. Default: as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
    /// Runs the seeds that have once found a bug, instead.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "sim/seeds.txt", conflicts_with_all = ["seeds", "profile", "net"])]
    kept: Option<PathBuf>,
    /// How many plans are tried to make that of a failure smaller.
    #[arg(long, value_name = "TRIES", default_value_t = 400)]
    shrink: usize,
    /// Where plans of failures are written to.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim")]
    plans: PathBuf,
    /// After so many runs that failed no further one is begun: they say the same.
    #[arg(long, value_name = "RUNS", default_value_t = 20)]
    failures: usize,
}

impl Args {
    /// All of these seeds.
    pub(crate) fn of(seeds: Seeds, profile: Profile, net: Net, jobs: Option<usize>, json: bool) -> Args {
        let plans = PathBuf::from("target/sim");
        Args {
            seeds: Some(seeds),
            span: None,
            profile,
            net,
            jobs,
            json,
            kept: None,
            shrink: 0,
            plans,
            failures: usize::MAX,
        }
    }

    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let (summary, exit) = self.campaign(run)?;
        say(&summary);
        if self.json {
            say(serde_json::to_string(&summary).map_err(|error| error.to_string())?);
        }
        Ok(exit)
    }

    /// Makes the runs, and says what they broke.
    pub(crate) fn campaign(&self, run: Run) -> Result<(Summary, Exit), String> {
        let begun = Instant::now();
        let (jobs, length) = self.jobs()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits { jobs: self.jobs.unwrap_or(cores), until: self.span.map(|span| begun + span) };
        let bar = bar(length);
        let mut summary = Summary::default();
        let mut failed = Vec::new();
        let mut exit = Exit::Ok;
        campaign(run, jobs, &limits, |job, digest| {
            summary.add(&digest);
            exit = exit.worse(digest.worst.into());
            if let Some(failure) = Failure::of(job, &digest) {
                bar.suspend(|| eprintln!("{}: {}", failure.run, failure.how));
                failed.push((job.clone(), failure));
            }
            bar.set_message(format!("{} violations", summary.violations));
            bar.inc(1);
            failed.len() < self.failures
        });
        bar.finish_and_clear();
        summary.wall = begun.elapsed();
        summary.failures = self.explain(run, failed)?;
        Ok((summary, exit))
    }

    /// The runs, and how many they are if that is known.
    fn jobs(&self) -> Result<(Jobs, Option<u64>), String> {
        if let Some(path) = &self.kept {
            let jobs = kept::read(path)?;
            let length = jobs.len() as u64;
            return Ok((Box::new(jobs.into_iter()), Some(length)));
        }
        let usual = Seeds { from: 0, to: if self.span.is_some() { None } else { Some(100) } };
        let Seeds { from, to } = self.seeds.unwrap_or(usual);
        if to.is_none() && self.span.is_none() {
            return Err("seeds without an end need --for".to_owned());
        }
        let (profile, net) = (self.profile, self.net);
        // Whether there are such plans at all on this engine is the same for all seeds.
        Job { source: Source::Seed(from, profile), net }.check()?;
        let jobs = (from..to.unwrap_or(u64::MAX)).map(move |seed| Job { source: Source::Seed(seed, profile), net });
        Ok((Box::new(jobs), to.map(|to| to - from)))
    }

    /// Says what was broken. The first run that broke a promise has its plan made small.
    fn explain(&self, run: Run, failed: Vec<(Job, Failure)>) -> Result<Vec<Failure>, String> {
        let mut promises = BTreeSet::new();
        let mut failures = Vec::new();
        for (job, mut failure) in failed {
            if promises.insert(failure.promise.clone()) && self.shrink > 0 {
                let shrunk = failure.shrink(run, &job, self.shrink, &self.plans);
                shrunk.map_err(|error| format!("{}: {error}", self.plans.display()))?;
            }
            eprintln!("\n{failure}");
            failures.push(failure);
        }
        if failures.len() == self.failures {
            eprintln!("\nNo further run was begun after {} that failed.", self.failures);
        }
        Ok(failures)
    }
}

type Jobs = Box<dyn Iterator<Item = Job> + Send>;

fn time(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| format!("`{text}` is no length of time such as `2m` or `30s`"))
}

/// Where there is a terminal.
fn bar(length: Option<u64>) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {pos}/{len} seeds, {per_sec}, {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} seeds, {per_sec}, {msg}, {elapsed}"),
    };
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use streamkeeper::Time;
    use streamkeeper_sim::{
        facts::{Fact, What, Who},
        judge::{Kind, Violation},
        plan::Plan,
        world::Outcome,
    };

    use super::*;

    /// A world in which a crash of Redis breaks `kept`, seed 13 panics, and nothing else happens.
    fn world(plan: &Plan, _: Net) -> Outcome {
        assert!(plan.seed != 13, "seed 13 is cursed");
        let strikes = plan.actions.iter().filter(|timed| timed.action.is_fault());
        let facts: Vec<Fact> = strikes
            .map(|timed| Fact {
                at: Time::ZERO + timed.at,
                what: What::Struck {
                    action: timed.action.to_string(),
                    kind: timed.action.kind(),
                    consumer: timed.action.consumer(),
                    ms: timed.action.ms(),
                },
            })
            .collect();
        let crash = plan.actions.iter().find(|timed| timed.action.kind() == "redis crash");
        let violations = crash.map(|timed| Violation {
            promise: "kept",
            kind: Kind::Liveness,
            at: Time::ZERO + timed.at,
            how: format!("{} forgot", Who { consumer: 0, life: 0 }),
        });
        Outcome {
            facts,
            end: Time::ZERO + plan.heal_at + plan.calm,
            violations: violations.into_iter().collect(),
            panics: Vec::new(),
            sometimes: BTreeMap::from([("redis crashed", u64::from(crash.is_some())), ("pigs flew", 0)]),
        }
    }

    fn args(seeds: &str) -> Args {
        Args { shrink: 2_000, ..Args::of(seeds.parse().unwrap(), Profile::default(), Net::default(), Some(3), false) }
    }

    #[test]
    fn a_campaign_finds_shrinks_and_explains() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args { plans: folder.path().to_owned(), ..args("0..60") };
        let (summary, exit) = args.campaign(world).unwrap();
        assert_eq!(exit, Exit::Safety, "a panic is a matter of safety");
        let kept: Vec<&Failure> = summary.failures.iter().filter(|failure| failure.promise == "kept").collect();
        let panicked: Vec<&Failure> = summary.failures.iter().filter(|failure| failure.promise == "panic").collect();
        assert!(kept.len() > 1 && panicked.len() == 1);
        assert!(panicked[0].how.contains("seed 13 is cursed"), "{}", panicked[0].how);
        assert!(kept.is_sorted_by_key(|failure| failure.run.parse::<u64>().unwrap()));
        assert_eq!(kept[1].plan, None, "one plan for each promise");
        let text = std::fs::read_to_string(kept[0].plan.as_ref().unwrap()).unwrap();
        let plan: Plan = text.parse().unwrap();
        assert_eq!(plan.actions.len(), 1);
        assert!(!world(&plan, Net::Events).is_good());
        assert!(kept[0].replay.contains(kept[0].plan.as_ref().unwrap()));
    }

    #[test]
    fn a_campaign_is_the_same_on_any_number_of_threads() {
        let campaign = |jobs| {
            let args = Args { jobs: Some(jobs), shrink: 0, ..args("20..60") };
            let (summary, exit) = args.campaign(world).unwrap();
            (Summary { wall: Duration::ZERO, ..summary }, exit)
        };
        let (summary, exit) = campaign(1);
        assert_eq!(exit, Exit::Liveness);
        assert_eq!(summary.never(), ["pigs flew"]);
        assert!(summary.faults["redis crash"] >= summary.sometimes["redis crashed"]);
        assert_eq!(format!("{summary:?}"), format!("{:?}", campaign(4).0));
    }

    #[test]
    fn a_campaign_ends_in_time_and_not_without() {
        let open = Args { seeds: Some("5..".parse().unwrap()), ..args("5") };
        assert!(open.campaign(world).unwrap_err().contains("--for"));
        let span = Some(Duration::from_millis(50));
        let (summary, _) = Args { span, shrink: 0, ..open }.campaign(world).unwrap();
        assert!(summary.seeds > 0);
        let missing = Args { kept: Some(PathBuf::from("missing.txt")), ..args("5") };
        assert!(missing.campaign(world).unwrap_err().contains("missing.txt"));
    }
}
