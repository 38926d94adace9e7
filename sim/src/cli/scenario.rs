//! `scenario`: a failover scenario under many seeds, as a table.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use streamkeeper_sim::{
    metrics::{Metrics, Spread, histogram, short},
    plan::{Action, RedisFault, Timed},
    report::Report,
    scenario::{BuiltIn, Findings, OneRun, Scenario, built_in},
    timeline::Cause,
    world::Net,
};

use super::{Run, exit::Exit, quiet, report};

/// Runs a failover scenario with your settings: how long are streams without an owner?
///
/// Exits with 0 if everything was as promised and expected, 2 if a promise of safety was broken, 3 if one of liveness or
/// an expectation was missed, 64 if the file cannot be read.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name of a built-in scenario, or a file.
    #[arg(value_name = "NAME|FILE", required_unless_present = "list")]
    what: Option<String>,
    /// Lists the built-in scenarios.
    #[arg(long)]
    list: bool,
    /// Prints the scenario's file, to start an own one from.
    #[arg(long)]
    print: bool,
    /// Sets something over the file, such as lease_ttl=10s: a setting, a name of its [with], streams, seeds or lasts.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// How many seeds, instead of as many as the file says.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// On which network: events (ours, fast) or turmoil.
    #[arg(long, default_value_t)]
    net: Net,
    /// How many threads. Default: as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where to write the report of the worst seed. Default: target/sim/scenario-NAME.html
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a key and its value such as lease_ttl=10s are expected")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Args {
    pub(crate) fn run(mut self, run: Run) -> Result<Exit, String> {
        let Some(what) = self.what.take().filter(|_| !self.list) else { return list() };
        let (file, text) = find(&what)?;
        if self.print {
            print!("{text}");
            return Ok(Exit::Ok);
        }
        if let Some(seeds) = self.seeds {
            self.set.push(("seeds".to_owned(), seeds.to_string()));
        }
        let scenario = Scenario::read(&file, &text, &self.set).map_err(|bad| bad.to_string())?;
        let findings = self.findings(run, &scenario);
        let path = self.report(run, &scenario, &findings)?;
        print!("{}", in_words(&scenario, &findings));
        if let Some((seed, path)) = &path {
            println!("\nThe worst seed, {seed}, as a picture: {path}");
        }
        if self.json {
            let json = Json::of(&scenario, &findings, path.map(|(_, path)| path));
            println!("{}", serde_json::to_string(&json).map_err(|error| error.to_string())?);
        }
        Ok(findings.worst().into())
    }

    /// Runs all seeds.
    fn findings(&self, run: Run, scenario: &Scenario) -> Findings {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (next, runs) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..self.jobs.unwrap_or(cores).max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= scenario.seeds {
                            break;
                        }
                        let one = OneRun::new(scenario, seed, &quiet::run(run, &scenario.plan(seed), self.net));
                        runs.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    }
                });
            }
        });
        let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        runs.sort_by_key(|run| run.seed);
        Findings { runs }
    }

    /// Runs the worst seed again, and writes its report: its number, and where.
    fn report(&self, run: Run, scenario: &Scenario, findings: &Findings) -> Result<Option<(u64, String)>, String> {
        let Some(worst) = findings.worst_run() else { return Ok(None) };
        let plan = scenario.plan(worst.seed);
        let outcome = quiet::run(run, &plan, self.net);
        let usual = || Path::new(super::FOLDER).join(format!("scenario-{}.html", scenario.name));
        let path = self.report.clone().unwrap_or_else(usual);
        let title = format!("{}, seed {}", scenario.name, worst.seed);
        report::write(&Report::new(&plan, &outcome.facts, &outcome.violations).titled(title), &path)?;
        Ok(Some((worst.seed, path.display().to_string())))
    }
}

fn list() -> Result<Exit, String> {
    for BuiltIn { name, text } in built_in() {
        let scenario = Scenario::read(&format!("{name}.toml"), text, &[]).map_err(|bad| bad.to_string())?;
        println!("{name:<18} {}", scenario.about);
    }
    Ok(Exit::Ok)
}

/// The name of a file and its text, or of a built-in scenario.
fn find(what: &str) -> Result<(String, String), String> {
    match fs::read_to_string(what) {
        Ok(text) => Ok((what.to_owned(), text)),
        Err(error) => match built_in().iter().find(|built_in| built_in.name == what) {
            Some(BuiltIn { name, text }) => Ok((format!("{name}.toml"), (*text).to_owned())),
            None => Err(format!("{what}: {error}; `scenario --list` shows the built-in scenarios")),
        },
    }
}

fn in_words(scenario: &Scenario, findings: &Findings) -> String {
    let metrics = findings.metrics();
    let mut text = format!("{}: {}\n{}\n\n", scenario.name, scenario.about, setting(scenario));
    text += &table(&metrics);
    let unplanned: Vec<Duration> = metrics.unplanned().collect();
    if unplanned.len() > 1 {
        let _ = write!(text, "\ntimes without an owner\n{}", histogram(&unplanned, 8, 40));
    }
    let runs = findings.runs.len();
    let each = |count: usize| format!("{count} ({:.1} a seed)", count as f64 / runs.max(1) as f64);
    let reasons: Vec<_> = metrics.disowns.iter().map(|(why, times)| format!("{times} {why}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    let _ = writeln!(text, "\ntakeovers  {}", each(metrics.takeovers));
    let _ = writeln!(text, "disowns    {}{reasons}", each(metrics.disowned()));
    let set_aside: usize = metrics.set_aside.values().sum();
    let _ = writeln!(text, "set aside  {}\n", each(set_aside));
    text + &verdicts(scenario, findings)
}

fn setting(scenario: &Scenario) -> String {
    let plan = &scenario.plan;
    let span = |ms| short(Duration::from_millis(ms)).replace(".00", "");
    let settings =
        plan.consumers.iter().find(|consumer| !consumer.go).map(|consumer| {
            format!(", lease_ttl {}, heartbeat {}", span(consumer.ttl_ms), span(consumer.heartbeat_ms))
        });
    format!(
        "{} seeds of {:.0} s, {} consumers, {} streams{}",
        scenario.seeds,
        (plan.heal_at + plan.calm).as_secs_f64(),
        plan.consumers.len(),
        plan.announced(),
        settings.unwrap_or_default()
    )
}

fn table(metrics: &Metrics) -> String {
    let mut text = format!("{:<22}{:>8}{:>11}{:>11}{:>11}\n", "", "times", "p50", "p99", "longest");
    let mut row = |name: &str, Spread { count, p50, p99, max }: Spread| {
        if count > 0 {
            let [p50, p99, max] = [p50, p99, max].map(short);
            let _ = writeln!(text, "{name:<22}{count:>8}{p50:>11}{p99:>11}{max:>11}");
        }
    };
    let all = metrics.without_owner();
    row("without an owner", all);
    for cause in [Cause::Crash, Cause::Pause, Cause::Lost] {
        row(&format!("  {cause}"), metrics.after(cause));
    }
    row("  still, at the end", Spread::of(metrics.open_gaps.iter().copied()));
    row("handed over", metrics.after(Cause::Release));
    row("handler failed", metrics.after(Cause::Failure));
    row("first owner", metrics.first_owner());
    if all.count == 0 {
        text += "no stream lost its owner against its wish\n";
    }
    text
}

/// The promises, and each expectation: kept or not, and where not.
fn verdicts(scenario: &Scenario, findings: &Findings) -> String {
    let mut text = String::new();
    let broken = broken(findings);
    if broken.is_empty() {
        text += "✓ every promise was kept";
        // The one exception of `exclusive` that a scenario can name.
        let forward = |timed: &Timed| matches!(timed.action, Action::Redis(RedisFault::ClockStep { by_ms: 1.. }));
        let excepted = scenario.plan.actions.iter().any(forward);
        text += if excepted { "\n" } else { ", and no stream had two owners\n" };
    }
    for line in broken.iter().take(10) {
        let _ = writeln!(text, "✗ {line}");
    }
    if broken.len() > 10 {
        let _ = writeln!(text, "✗ and {} more", broken.len() - 10);
    }
    for (index, expectation) in scenario.expectations.iter().enumerate() {
        let missed = findings.missed(index);
        let _ = match missed.first() {
            None => writeln!(text, "✓ {expectation}"),
            Some((seed, instead)) => writeln!(
                text,
                "✗ {expectation}: missed in {} of {} seeds; seed {seed}: {instead}",
                missed.len(),
                findings.runs.len()
            ),
        };
    }
    text
}

/// Every promise that was broken, with its seed.
fn broken(findings: &Findings) -> Vec<String> {
    let of = |run: &OneRun| {
        let panics = run.panics.iter().map(|panic| format!("panicked: {panic}"));
        let all = panics.chain(run.violations.iter().map(ToString::to_string));
        all.map(|what| format!("seed {}: {what}", run.seed)).collect::<Vec<_>>()
    };
    findings.runs.iter().flat_map(of).collect()
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json {
    scenario: String,
    seeds: usize,
    #[serde(flatten)]
    metrics: Metrics,
    violations: Vec<String>,
    expectations: Vec<Expected>,
    report: Option<String>,
}

#[derive(Serialize)]
struct Expected {
    expectation: String,
    met: bool,
    missed: Vec<Missed>,
}

#[derive(Serialize)]
struct Missed {
    seed: u64,
    instead: String,
}

impl Json {
    fn of(scenario: &Scenario, findings: &Findings, report: Option<String>) -> Json {
        let expectations = scenario.expectations.iter().enumerate().map(|(index, expectation)| {
            let missed = findings.missed(index).into_iter();
            let missed: Vec<_> = missed.map(|(seed, instead)| Missed { seed, instead: instead.to_owned() }).collect();
            Expected { expectation: expectation.to_string(), met: missed.is_empty(), missed }
        });
        Json {
            scenario: scenario.name.clone(),
            seeds: findings.runs.len(),
            metrics: findings.metrics(),
            violations: broken(findings),
            expectations: expectations.collect(),
            report,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use streamkeeper::Time;
    use streamkeeper_sim::{
        facts::{Fact, Owned, What, Who},
        judge::{Kind, Violation},
        plan::Plan,
        world::Outcome,
    };

    use super::*;

    /// A world in which worker-1 crashes as planned, and its only stream is taken over 2 s later; in seed 3, 4 s later.
    fn world(plan: &Plan, _: Net) -> Outcome {
        let owned = |token| Owned { stream: "orders-1".into(), entry: "1-0".into(), token };
        let who = |consumer| Who { consumer, life: 0 };
        let late = plan.seed == 3;
        let crash = u64::try_from(plan.actions[1].at.as_millis()).unwrap();
        let facts = [
            (500, What::Added { who: who(1), owned: owned(1), takeover: false }),
            (0, What::Started { who: who(1), id: "1".into(), ttl_ms: 3_000, capacity: 9, automatic: true, go: false }),
            (crash, What::Crashed { who: who(1) }),
            (crash + if late { 4_000 } else { 2_000 }, What::Added { who: who(0), owned: owned(2), takeover: true }),
        ];
        let mut facts = facts.map(|(ms, what)| Fact { at: Time::from_millis(ms), what }).to_vec();
        facts.sort_by_key(|fact| fact.at);
        Outcome {
            facts,
            end: Time::ZERO + plan.heal_at,
            violations: Vec::new(),
            panics: Vec::new(),
            sometimes: BTreeMap::new(),
        }
    }

    fn broken(plan: &Plan, net: Net) -> Outcome {
        let how = "by two".to_owned();
        let violation = Violation { promise: "exclusive", kind: Kind::Safety, at: Time::from_millis(9), how };
        Outcome { violations: vec![violation], ..world(plan, net) }
    }

    fn args(report: PathBuf) -> Args {
        let what = Some("pod-crash".to_owned());
        let (list, print, json, jobs) = (false, false, true, Some(3));
        Args { what, list, print, set: Vec::new(), seeds: Some(5), net: Net::Events, jobs, report: Some(report), json }
    }

    #[test]
    fn the_exit_says_what_was_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = || folder.path().join("deep/report.html");
        assert_eq!(args(path()).run(world), Ok(Exit::Liveness));
        assert_eq!(args(path()).run(broken), Ok(Exit::Safety));
        assert_eq!(Args { seeds: Some(3), ..args(path()) }.run(world), Ok(Exit::Ok));
        assert!(fs::read_to_string(path()).unwrap().contains("pod-crash, seed"));
        let set = vec![("lease_tll".to_owned(), "3s".to_owned())];
        assert!(Args { set, ..args(path()) }.run(world).unwrap_err().contains("--set lease_tll"));
        let nowhere = Args { what: Some("nowhere".to_owned()), ..args(path()) }.run(world).unwrap_err();
        assert!(nowhere.contains("nowhere") && nowhere.contains("--list"), "{nowhere}");
        assert_eq!(Args { list: true, ..args(path()) }.run(world), Ok(Exit::Ok));
    }

    #[test]
    fn the_answer_is_a_table() {
        let args = args(PathBuf::new());
        let (file, text) = find("pod-crash").unwrap();
        let set = [("seeds".to_owned(), "5".to_owned())];
        let scenario = Scenario::read(&file, &text, &set).unwrap();
        let findings = args.findings(world, &scenario);
        insta::assert_snapshot!(in_words(&scenario, &findings));
        let json = serde_json::to_value(Json::of(&scenario, &findings, None)).unwrap();
        assert_eq!((&json["seeds"], &json["takeovers"]), (&5.into(), &5.into()));
        assert_eq!(
            (&json["without_owner"]["p50_ms"], &json["without_owner"]["max_ms"]),
            (&2_000.0.into(), &4_000.0.into())
        );
        assert_eq!(json["expectations"][0]["missed"][0]["seed"], 3);
    }
}
