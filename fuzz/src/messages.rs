//! The machine of messages under whatever may happen: events in any order, answers that fit and that do not, times that
//! jump. It must not panic (its own invariants are asserted within), never run a message twice at once, keep to its
//! slots and its room, end when it is told to, and neither flood nor spin.

mod answers;

use std::{collections::BTreeMap, time::Duration};

use arbitrary::Arbitrary;
use streamkeeper_core::{
    config::Retry,
    id::{CallId, EntryId},
    messages::{
        Call, Command, Config, Event, Link, Machine, Notification, Outcome, Output, RunId, Settings,
        call::Reason,
        config::{DeadFailure, Processed, Rate},
    },
    time::Time,
    trouble::{Trouble, TroubleKind},
};

/// A whole life of a machine.
#[derive(Arbitrary, Debug)]
pub struct Life {
    seed: u64,
    concurrency: u8,
    prefetch: u8,
    batch: u8,
    limits: u8,
    options: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Until the machine wants to be woken.
    Wake,
    /// So many milliseconds.
    Pass(u16),
    /// The clock goes back: what is told counts as now.
    Back(u16),
    Connected(bool),
    Disconnected(bool, u8),
    /// One of the calls under way is answered as it may be.
    Answer(u8, Vec<u8>),
    /// All calls under way are answered as they may be.
    AnswerAll(Vec<u8>),
    /// One of the calls under way is answered with the answer to another.
    Misfit(u8, u8, Vec<u8>),
    Fails(u8, u8),
    /// An answer to no call.
    Stray(u8, Vec<u8>),
    /// One of the runs ends.
    Ends(u8, u8),
    /// All runs end.
    EndAll(u8),
    /// A run ends that is not known.
    Ghost(u64),
    Pause(bool),
    Shutdown(u16),
}

/// More steps than this say nothing new.
const MOST_STEPS: usize = 400;
const MOST_SPINS: u32 = 10;

fn link(reader: bool) -> Link {
    if reader { Link::Reader } else { Link::Commands }
}

fn trouble(number: u8) -> Trouble {
    use TroubleKind::*;
    let kinds = [Connection, WrongServer, NotNow, OutOfMemory, GroupLost, WrongType, Refused, Unsupported, Other];
    Trouble { kind: kinds[usize::from(number) % kinds.len()], message: "fuzz".into() }
}

/// Few messages, so that they meet again.
fn entry(number: u8) -> EntryId {
    EntryId { ms: u64::from(number % 24) + 1, seq: 0 }
}

fn outcome(number: u8) -> Outcome {
    let error = || "no".into();
    match number % 8 {
        0..=2 => Outcome::Ack,
        3 => Outcome::Failed { error: error(), pause: None },
        4 => Outcome::Failed { error: error(), pause: Some(Duration::from_millis(u64::from(number) * 9)) },
        5 => Outcome::Dead { reason: Reason::Rejected, error: error() },
        6 => Outcome::Drop,
        _ => Outcome::Cancelled,
    }
}

fn settings(life: &Life) -> Settings {
    let rate = Some(Rate { count: 3, per: Duration::from_millis(50) });
    let with = |bit: u8| life.options & (1 << bit) != 0;
    Settings {
        concurrency: usize::from(life.concurrency % 6) + 1,
        prefetch: usize::from(life.prefetch % 6),
        batch: [1, 3, 1_000][usize::from(life.batch % 3)],
        max_attempts: u32::from(life.limits % 4),
        max_crashes: [0, 3, 4, 5][usize::from(life.limits / 4 % 4)],
        retry: [Retry::Times(3), Retry::Unlimited, Retry::Unlimited][usize::from(life.limits / 16 % 3)],
        no_ack: life.options == 255,
        ordered_by: with(0).then(|| "key".into()),
        processed: with(1).then(|| Processed { age: Duration::from_secs(60), by: with(2).then(|| "key".into()) }),
        rate: rate.filter(|_| with(3)),
        group_rate: rate.filter(|_| with(4)),
        timeout: with(5).then(|| Duration::from_secs(3)),
        dead_failure: if with(6) { DeadFailure::Bury } else { DeadFailure::Keep },
        reclaim_idle: Duration::from_secs(4),
        ..Settings::default()
    }
}

struct World {
    machine: Machine,
    now: Time,
    wake: Option<Time>,
    spins: u32,
    asked: BTreeMap<CallId, Call>,
    runs: BTreeMap<RunId, EntryId>,
    last_run: RunId,
    paused: bool,
    stopping: bool,
    over: bool,
    concurrency: usize,
    most: usize,
}

/// Lives it.
pub fn live(life: &Life) {
    let settings = settings(life);
    let (concurrency, room, batch) = (settings.concurrency, settings.concurrency + settings.prefetch, settings.batch);
    let mut world = World {
        machine: Machine::new(Config::new(settings).expect("good settings"), life.seed),
        now: Time::ZERO,
        wake: None,
        spins: 0,
        asked: BTreeMap::new(),
        runs: BTreeMap::new(),
        last_run: RunId(0),
        paused: false,
        stopping: false,
        over: false,
        concurrency,
        most: 2 * room + 3 * batch,
    };
    world.hand(Event::Timeout);
    for step in life.steps.iter().take(MOST_STEPS) {
        world.take(step);
    }
    world.end();
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Wake => {
                self.now = self.now.max(self.wake.unwrap_or(self.now));
                self.hand(Event::Timeout);
            }
            Step::Pass(ms) => {
                self.now += Duration::from_millis(u64::from(*ms));
                self.hand(Event::Timeout);
            }
            Step::Back(ms) => {
                let now = self.now;
                self.now = Time::from_micros(now.as_micros().saturating_sub(u64::from(*ms) * 1_000));
                self.hand(Event::Timeout);
                self.now = now;
            }
            Step::Connected(reader) => self.hand(Event::Connected(link(*reader))),
            Step::Disconnected(reader, kind) => self.hand(Event::Disconnected(link(*reader), trouble(*kind))),
            Step::Answer(which, choices) => self.answer(*which, choices),
            Step::AnswerAll(choices) => {
                for _ in 0..self.asked.len() {
                    self.answer(0, choices);
                }
            }
            Step::Misfit(which, other, choices) => {
                if let (Some((id, _)), Some((_, call))) = (self.pick(*which), self.pick(*other)) {
                    self.asked.remove(&id);
                    self.hand(Event::Answered(id, Ok(answers::fitting(&call, choices))));
                }
            }
            Step::Fails(which, kind) => {
                if let Some((id, _)) = self.pick(*which) {
                    self.asked.remove(&id);
                    self.hand(Event::Answered(id, Err(trouble(*kind))));
                }
            }
            Step::Stray(which, choices) => {
                if let Some((id, call)) = self.pick(*which) {
                    let id = CallId(id.0.wrapping_add(1_000));
                    self.hand(Event::Answered(id, Ok(answers::fitting(&call, choices))));
                }
            }
            Step::Ends(which, how) => {
                let at = usize::from(*which) % self.runs.len().max(1);
                if let Some(run) = self.runs.keys().nth(at).copied() {
                    self.runs.remove(&run);
                    self.hand(Event::Ran(vec![(run, outcome(*how))]));
                }
            }
            Step::EndAll(how) => {
                let ends = std::mem::take(&mut self.runs).into_keys().map(|run| (run, outcome(*how))).collect();
                self.hand(Event::Ran(ends));
            }
            Step::Ghost(run) => {
                if !self.runs.contains_key(&RunId(*run)) {
                    self.hand(Event::Ran(vec![(RunId(*run), Outcome::Ack)]));
                }
            }
            Step::Pause(paused) => {
                self.paused = *paused;
                self.hand(Event::Pause(*paused));
            }
            Step::Shutdown(ms) => {
                self.stopping = true;
                self.hand(Event::Shutdown(self.now + Duration::from_millis(u64::from(*ms))));
            }
        }
    }

    /// Told to stop, it does, whether anybody answers or not.
    fn end(&mut self) {
        self.stopping = true;
        self.hand(Event::Shutdown(self.now));
        for _ in 0..1_000 {
            let Some(wake) = self.wake else { break };
            self.now = self.now.max(wake);
            self.hand(Event::Timeout);
        }
        assert!(self.machine.stopped(), "the stop does not end");
    }

    fn pick(&self, which: u8) -> Option<(CallId, Call)> {
        let at = usize::from(which) % self.asked.len().max(1);
        self.asked.iter().nth(at).map(|(id, call)| (*id, call.clone()))
    }

    fn answer(&mut self, which: u8, choices: &[u8]) {
        if let Some((id, call)) = self.pick(which) {
            self.asked.remove(&id);
            self.hand(Event::Answered(id, Ok(answers::fitting(&call, choices))));
        }
    }

    fn hand(&mut self, event: Event) {
        let timer = event == Event::Timeout;
        let stopped = self.machine.stopped();
        self.machine.handle(event, self.now);
        let mut count = 0;
        let wake = loop {
            match self.machine.poll() {
                Output::Wait(wake) => break wake,
                output => {
                    count += 1;
                    self.check(output);
                }
            }
        };
        assert!(!stopped || count == 0, "it has stopped, and still speaks");
        assert!(count < 1_000, "{count} outputs at once");
        assert!(self.machine.running() <= self.concurrency, "more runs than slots");
        assert!(self.machine.held() <= self.most, "{} are held", self.machine.held());
        assert_eq!(wake.is_none(), self.machine.stopped());
        self.wake = wake;
        let again = timer && self.wake.is_some_and(|at| at <= self.now);
        self.spins = if again { self.spins + 1 } else { 0 };
        assert!(self.spins < MOST_SPINS, "it spins: {wake:?}");
    }

    fn check(&mut self, output: Output) {
        let farewell = matches!(output, Output::Command(Command::Disconnect(_)) | Output::Remark(_))
            || matches!(output, Output::Settled(_));
        assert!(!self.over || farewell, "after its end it says {output:?}");
        match output {
            Output::Command(Command::Call(id, call)) => {
                let before = self.asked.insert(id, call);
                assert_eq!(before, None, "a call's id is used twice");
            }
            Output::Command(Command::Start(run)) => {
                assert!(!self.paused && !self.stopping, "it starts {run:?}");
                assert!(run.id > self.last_run, "a run's id is used twice");
                self.last_run = run.id;
                let twice = self.runs.values().any(|entry| *entry == run.entry);
                assert!(!twice, "{} runs twice", run.entry);
                self.runs.insert(run.id, run.entry);
            }
            Output::Command(Command::Lost(run) | Command::Cancel(run)) => {
                assert!(self.runs.contains_key(&run), "{run:?} has ended");
            }
            Output::Notification(Notification::Stopped(_) | Notification::Terminated(_)) => self.over = true,
            _ => {}
        }
    }
}
