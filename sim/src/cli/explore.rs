//! `explore`: every life of a small cluster.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper::Settings;
use streamkeeper_core::config::Config;
use streamkeeper_sim::{
    explore::{Beginning, Bounds, Found, Kind, explore, walk},
    plan::text::parse_span,
};

use super::{exit::Exit, say};

/// So many lines of a story are told.
const LINES: usize = 400;

/// Tries everything that can happen to a small cluster, with the machine that ships and the scripts that ship.
///
/// Everything that is on its way arrives in every order; faults strike at every point. A broken promise is told as a
/// story.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many consumers.
    #[arg(long, value_name = "N", default_value_t = 2)]
    consumers: usize,
    /// How many streams.
    #[arg(long, value_name = "N", default_value_t = 1)]
    streams: usize,
    /// Where it begins: when the consumers start, or when every stream has its owner.
    #[arg(long, value_enum, default_value_t = From::Owned)]
    from: From,
    /// How many faults, in all.
    #[arg(long, value_name = "N", default_value_t = 1)]
    faults: u8,
    /// How many times an application finishes a stream, gives one back, or stops its consumer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wishes: u8,
    /// For how long after the beginning faults and wishes may happen.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    window: Duration,
    /// Which faults, separated by commas. Default: all.
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<Fault>,
    /// Consumers' clocks run slower and faster than that of Redis by so many percent, by turns.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..50))]
    drift: u64,
    /// All consumers have the same name.
    #[arg(long)]
    namesakes: bool,
    /// The consumers' reap interval.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "200ms")]
    reap: Duration,
    /// Instead of visiting every state, walk at random: so many walks, in which trouble and calm come by turns.
    #[arg(long, value_name = "WALKS", conflicts_with_all = ["faults", "wishes", "window", "from", "most"])]
    walks: Option<u64>,
    /// The seed of the first walk.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// How long a walk is, in the world's time.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    length: Duration,
    /// Stop after so many states.
    #[arg(long, value_name = "STATES")]
    most: Option<u64>,
    /// Stop after so long, in wall time.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    span: Option<Duration>,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    Start,
    Owned,
}

#[derive(Clone, Copy, ValueEnum)]
enum Fault {
    /// A call or its answer is lost.
    Lost,
    /// A call or its answer is late.
    Late,
    /// A connection breaks.
    Cut,
    /// A notification is lost or late.
    Hint,
    /// A consumer crashes, and starts again as another fault.
    Crash,
    /// A consumer stands still.
    Pause,
    /// Redis restarts and has forgotten something.
    Restart,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let bounds = self.bounds()?;
        match self.walks {
            Some(walks) => Ok(self.walk(&bounds, walks)),
            None => visit(&bounds),
        }
    }

    /// Walks, one seed after the other.
    fn walk(&self, bounds: &Bounds, walks: u64) -> Exit {
        let begun = Instant::now();
        let (mut steps, mut strikes, mut passed, mut made) = (0, 0, Duration::ZERO, 0);
        let mut exit = Exit::Ok;
        for seed in self.seed..self.seed.saturating_add(walks) {
            let walked = walk(bounds, None, seed, self.length);
            (steps, strikes, passed) = (steps + walked.steps, strikes + walked.strikes, passed + walked.passed);
            made += 1;
            if let Some(found) = &walked.found {
                say(format_args!("seed {seed}:"));
                exit = exit.worse(tell(found));
            }
            if exit != Exit::Ok || self.span.is_some_and(|span| begun.elapsed() >= span) {
                break;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        say(format_args!(
            "{} consumers, {} streams, {made} walks: {steps} steps, {strikes} faults and wishes, {:.0} simulated seconds; \
             {seconds:.1} s, {:.0} simulated seconds per second",
            bounds.consumers,
            bounds.streams,
            passed.as_secs_f64(),
            passed.as_secs_f64() / seconds
        ));
        exit
    }

    fn bounds(&self) -> Result<Bounds, String> {
        if !(1..=9).contains(&self.consumers) || !(1..=9).contains(&self.streams) {
            return Err(format!(
                "--consumers is {} and --streams is {}: both must be between 1 and 9",
                self.consumers, self.streams
            ));
        }
        let config = Config::new(Settings {
            reap_interval: self.reap,
            // Walks are longer than any stream may crash its owners in a row.
            max_takeovers: if self.walks.is_some() { 0 } else { Settings::default().max_takeovers },
            ..Settings::default()
        });
        let kinds: Vec<Kind> = self.kinds.iter().map(|fault| fault.kind()).collect();
        Ok(Bounds {
            from: match self.from {
                From::Start => Beginning::Start,
                From::Owned => Beginning::Owned,
            },
            faults: self.faults,
            wishes: self.wishes,
            window: self.window,
            kinds: if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds },
            config: config.map_err(|error| error.to_string())?,
            drift: self.drift,
            namesakes: self.namesakes,
            most: self.most,
            span: self.span,
            ..Bounds::new(self.consumers, self.streams)
        })
    }
}

/// Visits every state.
fn visit(bounds: &Bounds) -> Result<Exit, String> {
    let begun = Instant::now();
    let bar = if stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{human_pos} states, {per_sec}").map_err(|e| e.to_string())?);
    let explored = explore(bounds, None, |states| bar.set_position(states));
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    say(format_args!(
        "{} consumers, {} streams, {} faults: {} states, {} steps, depth {}, {} ends; {}; {seconds:.1} s, {:.0} states/s",
        bounds.consumers,
        bounds.streams,
        bounds.faults,
        explored.states,
        explored.steps,
        explored.depth,
        explored.ends,
        if explored.complete { "complete" } else { "not complete" },
        explored.states as f64 / seconds
    ));
    let struck = explored.struck.iter().map(|(kind, times)| format!("{} {times}", kind.name()));
    say(format_args!("faults: {}", struck.collect::<Vec<_>>().join(", ")));
    Ok(explored.found.as_ref().map_or(Exit::Ok, tell))
}

/// Tells what is broken, and how it came about: of a long story the end.
fn tell(found: &Found) -> Exit {
    let untold = found.story.len().saturating_sub(LINES);
    if untold > 0 {
        say(format_args!("({untold} lines before)"));
    }
    found.story[untold..].iter().for_each(say);
    say(&found.broken);
    if found.broken.promise == "kept" { Exit::Liveness } else { Exit::Safety }
}

impl Fault {
    fn kind(self) -> Kind {
        match self {
            Fault::Lost => Kind::Lost,
            Fault::Late => Kind::Late,
            Fault::Cut => Kind::Cut,
            Fault::Hint => Kind::Hint,
            Fault::Crash => Kind::Crash,
            Fault::Pause => Kind::Pause,
            Fault::Restart => Kind::Restart,
        }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| format!("`{text}` is no length of time such as `500ms` or `2s`"))
}
