//! The ownership machine under whatever may happen: events in any order, answers that fit and that do not, times that
//! jump. It must not panic (its own invariants are asserted within), keep the order of what it tells, keep to its
//! capacity, and neither flood nor spin.

mod answers;

use std::{collections::BTreeMap, time::Duration};

use arbitrary::Arbitrary;
use streamkeeper_core::{
    config::{ClaimMode, Config, Retry, Settings},
    id::{CallId, ConsumerId, EntryId, StreamName, Token},
    keys::Keys,
    streams::{Call, Command, End, Event, Link, Machine, Notification, Output},
    time::Time,
    trouble::{Trouble, TroubleKind},
};

/// A whole life of a machine.
#[derive(Arbitrary, Debug)]
pub struct Life {
    seed: u64,
    tagged: bool,
    manual: bool,
    capacity: u8,
    batch: u8,
    retries: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Commands,
    Reader,
    Subscriber,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Until the machine wants to be woken.
    Wake,
    /// So many milliseconds.
    Pass(u16),
    /// The clock goes back: what is told counts as now.
    Back(u16),
    Connected(Which),
    Disconnected(Which, u8),
    /// One of the calls under way is answered as it may be.
    Answer(u8, Vec<u8>),
    /// All calls under way are answered as they may be.
    AnswerAll(Vec<u8>),
    /// One of the calls under way is answered with the answer to another.
    Misfit(u8, u8, Vec<u8>),
    Fails(u8, u8),
    /// An answer to no call.
    Stray(u8, Vec<u8>),
    KeyExpired(u8, u8),
    KeyText(String),
    Doorbell(Vec<u8>),
    DoorbellText(String),
    Claim(u8),
    Done(u8),
    Release(u8, bool),
    Backlogged(bool),
    Shutdown(bool, u16),
    /// So many seconds.
    Rest(u8, u32),
    Drain,
}

/// More steps than this say nothing new.
const MOST_STEPS: usize = 400;
/// So many entries are spoken of at most in one step.
const MOST_ITEMS: usize = 64;
const MOST_SPINS: u32 = 10;

fn link(which: Which) -> Link {
    match which {
        Which::Commands => Link::Commands,
        Which::Reader => Link::Reader,
        Which::Subscriber => Link::Subscriber,
    }
}

fn trouble(number: u8) -> Trouble {
    use TroubleKind::*;
    let kinds = [Connection, WrongServer, NotNow, OutOfMemory, GroupLost, WrongType, Refused, Unsupported, Other];
    Trouble { kind: kinds[usize::from(number) % kinds.len()], message: "fuzz".into() }
}

/// Few entries, so that they meet again.
fn entry(number: u8) -> EntryId {
    EntryId { ms: u64::from(number % 12) + 1, seq: 0 }
}

/// Fewer streams than entries, so that some are announced twice.
fn stream(number: u8) -> StreamName {
    StreamName::new(&format!("s{}", number % 8)).expect("a good name")
}

struct World {
    machine: Machine,
    now: Time,
    wake: Option<Time>,
    spins: u32,
    asked: BTreeMap<CallId, Call>,
    open: BTreeMap<StreamName, (EntryId, Token)>,
    /// It was told to take nothing more.
    draining: bool,
    over: bool,
    capacity: usize,
}

/// Lives it.
pub fn live(life: &Life) {
    let capacity = usize::from(life.capacity % 6) + 1;
    let settings = Settings {
        capacity,
        claim: if life.manual { ClaimMode::Manual } else { ClaimMode::Auto },
        acquire_batch: usize::from(life.batch % 4) + 1,
        renew_batch: usize::from(life.batch / 4 % 4) + 1,
        retry: match life.retries % 4 {
            0 => Retry::Times(3),
            _ => Retry::Unlimited,
        },
        max_failures: 3,
        ..Settings::default()
    };
    live_with(life, Config::new(settings).expect("good settings"));
}

/// Lives it with these settings.
pub fn live_with(life: &Life, config: Config) {
    let capacity = config.capacity;
    let keys = if life.tagged { Keys::hash_tagged("svc") } else { Keys::plain("svc") };
    let machine =
        Machine::new(keys.expect("a good name"), ConsumerId::named("fuzz").expect("a good name"), config, life.seed);
    let mut world = World {
        machine,
        now: Time::ZERO,
        wake: None,
        spins: 0,
        asked: BTreeMap::new(),
        open: BTreeMap::new(),
        draining: false,
        over: false,
        capacity,
    };
    world.hand(Event::Timeout);
    let steps = life.steps.iter().take(MOST_STEPS);
    // The client may begin without this partition: at once if it was added later, or when the start has run out of patience.
    let begins = life.retries.checked_sub(128).map(|late| usize::from(late) % steps.len().max(1));
    for (index, step) in steps.enumerate() {
        if begins == Some(index) {
            world.hand(Event::Begun);
        }
        world.step(step, life.tagged);
    }
}

impl World {
    fn step(&mut self, step: &Step, tagged: bool) {
        match step {
            Step::Wake => {
                if let Some(wake) = self.wake {
                    self.now = self.now.max(wake);
                    self.hand(Event::Timeout);
                }
            }
            Step::Pass(ms) => {
                self.now += Duration::from_millis(u64::from(*ms));
                self.hand(Event::Timeout);
            }
            Step::Back(ms) => {
                let now = self.now;
                self.now = now - Duration::from_millis(u64::from(*ms));
                self.hand(Event::Timeout);
                self.now = now;
            }
            Step::Connected(which) => self.hand(Event::Connected(link(*which))),
            Step::Disconnected(which, kind) => self.hand(Event::Disconnected(link(*which), trouble(*kind))),
            Step::Answer(which, choices) => self.answer(*which, choices),
            Step::AnswerAll(choices) => {
                for _ in 0..self.asked.len().min(MOST_ITEMS) {
                    self.answer(0, choices);
                }
            }
            Step::Misfit(which, other, choices) => {
                let model = self.pick(*other).map(|(_, call)| answers::fitting(&call, choices));
                if let (Some((id, _)), Some(answer)) = (self.pick(*which), model) {
                    self.asked.remove(&id);
                    self.hand(Event::Answered(id, Ok(answer)));
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
            Step::KeyExpired(name, number) => {
                let tag = if tagged { "{svc}" } else { "" };
                self.hand(Event::KeyExpired(format!("{tag}{}<MUTEX_KEY_SEP>{}", stream(*name), entry(*number))));
            }
            Step::KeyText(text) => self.hand(Event::KeyExpired(text.clone())),
            Step::Doorbell(numbers) => {
                let ids: Vec<String> = numbers.iter().take(MOST_ITEMS).map(|n| entry(*n).to_string()).collect();
                self.hand(Event::Doorbell(ids.join(" ")));
            }
            Step::DoorbellText(text) => self.hand(Event::Doorbell(text.clone())),
            Step::Claim(number) => self.hand(Event::Claim(entry(*number))),
            Step::Done(number) => self.hand(Event::Done(entry(*number))),
            Step::Release(number, failed) => {
                self.hand(Event::Release(entry(*number), failed.then(|| "it failed".into())));
            }
            Step::Rest(number, seconds) => {
                self.hand(Event::Rest(entry(*number), Duration::from_secs(u64::from(*seconds))));
            }
            Step::Drain => self.hand(Event::Drain),
            Step::Backlogged(backlogged) => self.hand(Event::Backlogged(*backlogged)),
            Step::Shutdown(done, ms) => {
                let end = if *done { End::Done } else { End::Release };
                self.hand(Event::Shutdown(end, self.now + Duration::from_millis(u64::from(*ms))));
            }
        }
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
        let text = match &event {
            Event::Doorbell(text) => text.len(),
            _ => 0,
        };
        let timer = event == Event::Timeout;
        self.draining |= matches!(event, Event::Drain | Event::Shutdown(..));
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
        assert!(count < 4_000 + 4 * text, "{count} outputs at once");
        assert!(self.machine.owned() <= self.capacity, "it owns more than it has room for");
        let valid = self.open.values().filter(|(entry, _)| self.machine.owns(*entry, self.now)).count();
        assert!(valid <= self.machine.owned());
        assert_eq!(wake.is_none(), self.machine.stopped());
        self.wake = wake.map(|wake| wake.at);
        let again = timer && self.wake.is_some_and(|at| at <= self.now);
        self.spins = if again { self.spins + 1 } else { 0 };
        assert!(self.spins < MOST_SPINS, "it spins: {wake:?}");
    }

    fn check(&mut self, output: Output) {
        let farewell = matches!(output, Output::Command(Command::Disconnect(_)) | Output::Remark(_));
        assert!(!self.over || farewell, "after its end it says {output:?}");
        match output {
            Output::Command(Command::Call(id, call)) => {
                let takes = matches!(call, Call::Read { .. } | Call::Take { .. } | Call::Acquire(_));
                assert!(!takes || !self.draining, "who drains asks for more: {call:?}");
                let before = self.asked.insert(id, call);
                assert_eq!(before, None, "a call's id is used twice");
            }
            Output::Notification(notification) => self.hear(notification),
            _ => {}
        }
    }

    fn hear(&mut self, notification: Notification) {
        match notification {
            Notification::Added(added) => {
                assert!(!self.draining, "who drains is handed {}", added.stream);
                let before = self.open.insert(added.stream.clone(), (added.entry, added.token));
                assert_eq!(before, None, "{} is added twice", added.stream);
            }
            Notification::Done { entry, stream, token }
            | Notification::Released { entry, stream, token }
            | Notification::Disowned { entry, stream, token, .. } => {
                assert_eq!(self.open.remove(&stream), Some((entry, token)), "the end of what did not begin");
            }
            Notification::Stopped(_) | Notification::Terminated(_) => {
                self.over = true;
                assert!(self.open.is_empty(), "it stops, and {:?} did not end", self.open);
            }
            _ => {}
        }
    }
}
