//! The demo on a terminal: a table that is drawn again and again; where there is no terminal, a line for each event.

use std::{
    io::{self, Write},
    time::Duration,
};

use streamkeeper::Time;

use super::{
    NAMES,
    fleet::{Member, State},
    stories::{Story, stories},
};
use crate::{
    facts::Fact,
    metrics::{Metrics, short},
    timeline::Timeline,
};

/// What is younger may still be told in another way: who stood still is heard late, takeovers come in groups.
const SETTLED: Duration = Duration::from_millis(600);
/// How many events are shown.
const EVENTS: usize = 12;
/// No line is longer, so that none is broken.
const WIDTH: usize = 79;

pub(super) struct View {
    live: bool,
    redis: String,
    /// How many lines stand on the terminal, to be drawn over.
    drawn: usize,
    /// Until when events have been printed.
    told: Time,
}

impl View {
    pub(super) fn new(live: bool, redis: &str) -> View {
        View { live, redis: redis.to_owned(), drawn: 0, told: Time::ZERO }
    }

    /// Shows the present.
    pub(super) fn draw(&mut self, now: Time, members: &[Member], facts: &[Fact]) -> io::Result<()> {
        let timeline = Timeline::of(facts, now);
        let stories = stories(facts, &timeline, &NAMES);
        if !self.live {
            return self.tell(Time::from_micros(now.as_micros().saturating_sub(SETTLED.as_micros() as u64)), &stories);
        }
        let mut lines = self.table(now, members, facts, &timeline);
        let last = stories.len().saturating_sub(EVENTS);
        lines.push(String::new());
        lines.extend(stories[last..].iter().map(line));
        lines.resize(members.len() + EVENTS + 6, String::new());
        let mut text = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        for line in &lines {
            let line: String = line.chars().take(WIDTH).collect();
            text += &format!("\x1b[2K{line}\n");
        }
        self.drawn = lines.len();
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    }

    /// Shows the end.
    pub(super) fn close(&mut self, members: &[Member], facts: &[Fact]) -> io::Result<()> {
        let end = facts.last().map(|fact| fact.at).unwrap_or_default();
        if self.live {
            self.draw(end, members, facts)?;
        } else {
            self.tell(end, &stories(facts, &Timeline::of(facts, end), &NAMES))?;
        }
        writeln!(io::stdout())
    }

    /// Prints the events that are not printed yet.
    fn tell(&mut self, until: Time, stories: &[Story]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for story in stories.iter().filter(|story| self.told < story.at && story.at <= until) {
            writeln!(stdout, "{}", line(story))?;
        }
        self.told = self.told.max(until);
        stdout.flush()
    }

    fn table(&self, now: Time, members: &[Member], facts: &[Fact], timeline: &Timeline) -> Vec<String> {
        let seconds = now.as_micros() as f64 / 1e6;
        let mut lines = vec![format!("Streamkeeper, live: {seconds:4.1} s, Redis: {}", self.redis), String::new()];
        for member in members {
            let here = timeline.ownerships.iter().filter(|owned| owned.who == member.who);
            let owns = here.clone().filter(|owned| owned.how == "owned" && owned.useful_until >= now).count();
            let of = |owned: &&crate::timeline::Ownership| owned.who.consumer == member.who.consumer;
            let done = timeline.ownerships.iter().filter(of).filter(|owned| owned.how == "done").count();
            let bar = "■".repeat(owns);
            let state = state(member.state);
            lines.push(format!("  {:<10}{state:<22}owns {owns:>2}  done {done:>2}  {bar}", member.name));
        }
        let alone = timeline.gaps.iter().filter(|gap| gap.after.is_none()).count();
        lines.push(format!("  {:<32}     {alone:>2}           {}", "without an owner", "□".repeat(alone)));
        let metrics = Metrics::read(facts, timeline);
        let without = metrics.without_owner();
        lines.push(format!(
            "  {} streams, {} finished, {} takeovers, longest without an owner {}",
            metrics.streams,
            metrics.finished,
            metrics.takeovers,
            short(without.max)
        ));
        lines
    }
}

fn line(story: &Story) -> String {
    format!("{:6.2} s  {}", story.at.as_micros() as f64 / 1e6, story.text)
}

fn state(state: State) -> &'static str {
    match state {
        State::Absent => "",
        State::Starting => "starting",
        State::Running => "running",
        State::Killed => "killed (kill -9)",
        State::Frozen => "frozen (SIGSTOP)",
        State::CutOff => "cut off from Redis",
        State::Draining => "stopping (SIGTERM)",
        State::Stopped => "stopped",
    }
}
