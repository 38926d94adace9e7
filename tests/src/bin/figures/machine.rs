//! The state machine alone: no Redis, no runtime.

use std::time::{Duration, Instant};

use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    config::{Config, Settings},
    id::{ConsumerId, EntryId, Identity, StreamName, Token},
    keys::Keys,
    streams::{
        Answer, Call, Command, Event, Machine, Output,
        call::{Acquired, Delivery, EpochAnswer, Grant, Renewed, Server},
    },
    time::Time,
};

use crate::measure::{Table, resident};

const STREAMS: usize = 100_000;

/// Streams through the machine, heartbeats, memory.
pub(crate) fn machine() -> Table {
    let mut table = Table::new(["the machine alone, 100,000 streams", "value"]);
    let before = resident(std::process::id() as i32);
    let mut bench = Bench::new();
    let started = Instant::now();
    bench.run_until(|machine| machine.owned() == STREAMS);
    let taken = started.elapsed();
    let bytes = resident(std::process::id() as i32).saturating_sub(before) / STREAMS as u64;
    bench.events = 0;
    let (started, from) = (Instant::now(), bench.now);
    bench.run_until_time(from + Duration::from_secs(30));
    let renewed = started.elapsed();
    let each = |span: Duration, n: usize| format!("{:.3} µs", span.as_secs_f64() * 1e6 / n as f64);
    table.row(["taken, acquired and announced to the application, each".into(), each(taken, STREAMS)]);
    table.row(["a lease's heartbeat, each".into(), each(renewed, STREAMS * 30)]);
    let rate = bench.events as f64 / renewed.as_secs_f64();
    table.row(["events (batches of 500 leases, mostly) per second".into(), format!("{rate:.0}")]);
    table.row(["memory per owned stream".into(), format!("{bytes} bytes")]);
    table
}

/// The machine, and a Redis that grants everything.
struct Bench {
    machine: Machine,
    now: Time,
    next: u64,
    events: usize,
}

impl Bench {
    fn new() -> Bench {
        let settings = Settings { capacity: STREAMS, ..Settings::default() };
        let config = Config::new(settings).expect("the settings go together");
        let (keys, me) = (Keys::plain("svc").expect("a name"), ConsumerId::named("bench").expect("a name"));
        Bench { machine: Machine::new(keys, me, config, 1), now: Time::ZERO, next: 0, events: 0 }
    }

    fn run_until(&mut self, done: impl Fn(&Machine) -> bool) {
        while !done(&self.machine) {
            self.step();
        }
    }

    fn run_until_time(&mut self, until: Time) {
        while self.now < until {
            self.step();
        }
    }

    fn step(&mut self) {
        match self.machine.poll() {
            Output::Command(Command::Connect(link)) => self.tell(Event::Connected(link)),
            Output::Command(Command::Call(id, call)) => {
                let answer = self.answer(&call);
                if !matches!(call, Call::Read { .. }) || self.next < STREAMS as u64 {
                    self.tell(Event::Answered(id, Ok(answer)));
                }
            }
            Output::Wait(Some(wake)) => {
                self.now = self.now.max(wake.at);
                self.tell(Event::Timeout);
            }
            Output::Wait(None) => unreachable!("it always has something to wait for"),
            _ => {}
        }
    }

    fn tell(&mut self, event: Event) {
        self.events += 1;
        self.machine.handle(event, self.now);
    }

    fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let until = (self.next + count as u64).min(STREAMS as u64);
        let deliver = |i: u64| {
            let stream = StreamName::new(&format!("session-{i:08}")).expect("a name");
            let text = Announcement::to_json(&stream, None).into_bytes();
            Delivery { entry: EntryId { ms: i + 1, seq: 0 }, fields: Some(vec![(FIELD.as_bytes().to_vec(), text)]) }
        };
        let deliveries = (self.next..until).map(deliver).collect();
        self.next = until;
        deliveries
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let identity = Identity::new("bench:bench");
        match call {
            Call::Prepare => Answer::Prepared(Server {
                identity,
                version: "7.0.15".into(),
                skipped: 0,
                expiry_notifications: true,
                warnings: Vec::new(),
            }),
            Call::Epoch(_) => {
                Answer::Epoch(EpochAnswer { identity, wait: None, longest_ttl: Duration::from_secs(3), consumers: 1 })
            }
            Call::Ping => Answer::Pong,
            Call::Read { count, .. } => Answer::Read(self.deliveries(*count)),
            Call::Take { count, .. } => Answer::Taken { deliveries: self.deliveries(*count), more: false },
            Call::Mine { .. } => Answer::Mine(Vec::new()),
            Call::Acquire(call) => Answer::Acquired(call.items.iter().map(|item| granted(item.entry.ms)).collect()),
            Call::Renew(_) => Answer::Renewed(Renewed::default()),
            Call::Reap { .. } => Answer::ReaperIs(Duration::from_millis(200)),
            other => unreachable!("{} is not asked here", other.name()),
        }
    }
}

fn granted(token: u64) -> Acquired {
    let token = Token(token);
    Acquired::Granted(Grant { token, takeover: false, takeovers: 0, failures: 0, deliveries: 1 })
}
