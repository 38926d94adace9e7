//! The machine of entries under whatever may happen: events in any order, answers that fit and that do not, times that
//! jump. It must not panic (its own invariants are asserted within), deliver in order and within the room that it was
//! given, ask one thing at a time over the reader's connection, answer each ticket exactly once, end when it is told to,
//! and neither flood nor spin.

mod answers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arbitrary::Arbitrary;
use streamkeeper_core::{
    entries::{
        Call, Command, Config, Delivery, Event, Link, Machine, Output, Owned, OwnedId, Settings, Ticket,
        call::{Entry, Start, Write},
        event::Commit,
        link_of,
    },
    id::{Attempt, CallId, EntryId, StreamName},
    time::Time,
    trouble::{Trouble, TroubleKind},
};

/// A whole life of a machine.
#[derive(Arbitrary, Debug)]
pub struct Life {
    seed: u64,
    batch: u8,
    prefetch_total: u8,
    commit_batch: u8,
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
    /// One more stream is owned; or one of those that are, again.
    Owned(u8, bool),
    Lost(u8),
    Read(u8, u8, u8),
    Room(u8, u8),
    Closed(u8),
    /// Whose, where to, how many writes.
    Commit(u8, u8, u8),
    /// The application has taken in that it was rolled back.
    KnowsRollback(u8),
    Undecodable(u8, u8),
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

/// Few positions, so that they meet again.
fn entry(number: u8) -> EntryId {
    EntryId { ms: u64::from(number % 32), seq: 0 }
}

/// What is known of an ownership.
#[derive(Debug, Default)]
struct Told {
    /// Where reading stands, from the first word on.
    after: Option<EntryId>,
    reads: bool,
    room: usize,
    rollbacks: u32,
}

struct World {
    machine: Machine,
    now: Time,
    wake: Option<Time>,
    spins: u32,
    asked: BTreeMap<CallId, Call>,
    owned: BTreeMap<OwnedId, Told>,
    last_owned: u64,
    /// Those that wait for an answer.
    tickets: BTreeSet<Ticket>,
    last_ticket: u64,
    prefetch_total: usize,
}

/// Lives it.
pub fn live(life: &Life) {
    let prefetch_total = usize::from(life.prefetch_total % 32) + 1;
    let settings = Settings {
        batch: usize::from(life.batch % 8) + 1,
        prefetch: 1,
        prefetch_total,
        commit_batch: usize::from(life.commit_batch % 4) + 1,
        ..Settings::default()
    };
    let mut world = World {
        machine: Machine::new(Config::new(settings).expect("good settings"), life.seed),
        now: Time::ZERO,
        wake: None,
        spins: 0,
        asked: BTreeMap::new(),
        owned: BTreeMap::new(),
        last_owned: 0,
        tickets: BTreeSet::new(),
        last_ticket: 0,
        prefetch_total,
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
            Step::Owned(stream, again) => self.own(*stream, *again),
            Step::Lost(which) => {
                let id = self.choose(*which);
                self.owned.remove(&id);
                self.hand(Event::Lost(id));
            }
            Step::Read(which, start, room) => self.read(*which, *start, usize::from(*room)),
            Step::Room(which, count) => {
                let (id, count) = (self.choose(*which), usize::from(*count));
                if let Some(told) = self.owned.get_mut(&id).filter(|told| told.reads) {
                    told.room += count;
                }
                self.hand(Event::Room(id, count));
                if count == 0 {
                    self.hand(Event::Look(id));
                }
            }
            Step::Closed(which) => {
                let id = self.choose(*which);
                if let Some(told) = self.owned.get_mut(&id) {
                    told.reads = false;
                }
                self.hand(Event::Closed(id));
            }
            Step::Commit(which, to, writes) => self.commit(*which, *to, *writes),
            Step::KnowsRollback(which) => {
                let id = self.choose(*which);
                if let Some(told) = self.owned.get_mut(&id) {
                    told.rollbacks += 1;
                }
            }
            Step::Undecodable(which, number) => {
                let (id, entry) = (self.choose(*which), Entry { id: entry(*number), fields: Vec::new() });
                self.hand(Event::Undecodable { id, entry, error: "no".into() });
            }
            Step::Shutdown(ms) => self.hand(Event::Shutdown(self.now + Duration::from_millis(u64::from(*ms)))),
        }
    }

    fn own(&mut self, stream: u8, again: bool) {
        let known = again && self.owned.contains_key(&OwnedId(self.last_owned));
        if !known {
            self.last_owned += 1;
            self.owned.insert(OwnedId(self.last_owned), Told::default());
        }
        self.hand(Event::Owned(Owned {
            id: OwnedId(self.last_owned),
            entry: EntryId { ms: 1, seq: 0 },
            stream: StreamName::new(&format!("s{}", stream % 4)).expect("a good name"),
            attempt: Attempt { incarnation: 1, number: self.last_owned % 4 },
        }));
    }

    fn read(&mut self, which: u8, start: u8, room: usize) {
        let id = self.choose(which);
        if let Some(told) = self.owned.get_mut(&id) {
            (told.after, told.reads, told.room) = (None, true, room);
        }
        let start = match start % 4 {
            0 => Start::Beginning,
            1 => Start::End,
            2 => Start::After(entry(start / 4)),
            _ => Start::At { unix_ms: u64::from(start / 4) },
        };
        self.hand(Event::Read { id, start, room });
    }

    fn commit(&mut self, which: u8, to: u8, writes: u8) {
        let id = self.choose(which);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket);
        let write = Write::IncrBy(b"sum".as_slice().into(), 1);
        let rollbacks = self.owned.get(&id).map_or(0, |told| told.rollbacks);
        let (to, writes) = ((to != 255).then(|| entry(to)), vec![write; usize::from(writes % 3)].into());
        self.hand(Event::Commit(Commit { id, ticket, rollbacks, to, writes }));
    }

    /// One of those that are owned, or were.
    fn choose(&self, which: u8) -> OwnedId {
        let at = usize::from(which) % self.owned.len().max(1);
        self.owned.keys().nth(at).copied().unwrap_or(OwnedId(u64::from(which)))
    }

    /// Told to stop, it does, whether anybody answers or not; and whoever waited has been told.
    fn end(&mut self) {
        self.hand(Event::Shutdown(self.now));
        assert!(self.machine.stopped(), "the stop does not end");
        assert!(self.tickets.is_empty(), "never answered: {:?}", self.tickets);
        self.commit(0, 1, 1);
        assert!(self.tickets.is_empty(), "not answered after the end");
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
        assert!(count < 2_000, "{count} outputs at once");
        // Who has none is given one, however full the buffers are.
        let most = self.prefetch_total + self.owned.len();
        assert!(self.machine.buffered() <= most, "{} lie there", self.machine.buffered());
        assert!(self.machine.stopped() || self.machine.owned() == self.owned.len(), "who is owned");
        self.wake = wake;
        let again = timer && self.wake.is_some_and(|at| at <= self.now);
        self.spins = if again { self.spins + 1 } else { 0 };
        assert!(self.spins < MOST_SPINS, "it spins: {wake:?}");
    }

    fn check(&mut self, output: Output) {
        match output {
            Output::Command(Command::Call(id, call)) => {
                let link = link_of(&call);
                let busy = self.asked.values().any(|other| link_of(other) == Link::Reader);
                assert!(link != Link::Reader || !busy, "two calls over the reader's connection");
                let before = self.asked.insert(id, call);
                assert_eq!(before, None, "a call's id is used twice");
            }
            Output::Deliver(id, delivery) => {
                let told = self.owned.get_mut(&id).unwrap_or_else(|| panic!("{id:?} is told {delivery:?}"));
                deliver(told, delivery);
            }
            Output::Committed(ticket, _) => assert!(self.tickets.remove(&ticket), "{ticket:?} is answered twice"),
            Output::Nothing(id) => {
                assert!(self.owned.get(&id).is_some_and(|told| told.reads), "{id:?} is not read");
            }
            Output::SetAside(id, _) => assert!(self.owned.contains_key(&id), "{id:?} is not owned"),
            Output::Command(_) | Output::Remark(_) | Output::Wait(_) => {}
        }
    }
}

/// What a reader is told comes in order, within its room, and not before it is open.
fn deliver(told: &mut Told, delivery: Delivery) {
    match delivery {
        Delivery::Opened(_) if told.reads => told.after = Some(EntryId::default()),
        Delivery::RolledBack(position) if told.after.is_some() => told.after = Some(position),
        Delivery::Entries(entries) => {
            assert!(told.reads && !entries.is_empty(), "nobody reads");
            assert!(entries.len() <= told.room, "{} entries, room for {}", entries.len(), told.room);
            told.room -= entries.len();
            for entry in entries {
                assert!(told.after.is_some_and(|after| entry.id > after), "{} after {:?}", entry.id, told.after);
                told.after = Some(entry.id);
            }
        }
        Delivery::Gap { after, next, .. } => {
            assert!(told.reads && next.is_none_or(|next| next > after), "a gap behind {after}, before {next:?}");
        }
        Delivery::Opened(_) | Delivery::RolledBack(_) | Delivery::Rewound { .. } | Delivery::Broken(_) => {}
    }
}
