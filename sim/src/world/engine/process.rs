//! One process of a consumer: the machine, and around it what the shell would be, as data: connections, leases, unread
//! notifications. What happens to it comes as [`Happening`]s, and waits while it stands still.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::rngs::SmallRng;
use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    config::Config,
    id::{CallId, EntryId},
    keys::Keys,
    link::Link,
    streams::{Added, Command, End, Event, Machine, Notification, Output, Remark},
};

use super::{
    application::Application,
    clock::OwnClock,
    links::{Asked, Slot},
    network::ConnNo,
    state::State,
};
use crate::{
    facts::{Owned, What, Who},
    plan::Wish,
    world::consumer::Order,
};

/// How long a client waits for a server at its start, as the shell's builder does unless it is told otherwise.
pub(super) const START: Duration = Duration::from_secs(10);

/// A process, from its start to its end.
pub(super) struct Process {
    pub(super) who: Who,
    pub(super) machine: Machine,
    pub(super) config: Config,
    pub(super) keys: Keys,
    pub(super) protocol: Protocol,
    pub(super) clock: OwnClock,
    pub(super) slots: [Slot; 3],
    pub(super) asked: BTreeMap<CallId, Asked>,
    pub(super) leases: BTreeMap<EntryId, Rc<Held>>,
    pub(super) app: Application,
    pub(super) dice: SmallRng,
    /// The server was prepared: the application has its client.
    pub(super) is_ready: bool,
    is_stopping: bool,
    /// How its client has ended.
    pub(super) ended: Option<Result<(), String>>,
    /// When the machine wants to be woken, by its own clock, and when the agenda will wake it, which may be too early.
    wake: Option<Time>,
    pub(super) woken_at: Option<Time>,
    /// What the machine is still to be told, while it is being told something.
    events: VecDeque<Event>,
    is_told: bool,
}

/// A lease, as a handle knows it.
pub(super) struct Held {
    pub(super) owned: Owned,
    pub(super) entry: EntryId,
    pub(super) takeover: bool,
    /// Microseconds of the own clock; 0 once it has ended.
    valid_until: Arc<AtomicU64>,
    clock: OwnClock,
    asked: Cell<bool>,
    /// How it has ended.
    pub(super) lost: Cell<Option<&'static str>>,
    /// An application that does not hear of ends has heard of it.
    pub(super) is_watched: Cell<bool>,
}

/// Something that happens to a process, and waits for as long as it stands still.
pub(super) enum Happening {
    Dialled(ConnNo),
    Data(ConnNo, Bytes),
    Closed(ConnNo),
    Told(Order),
    Timer(Timer),
}

/// What is due in a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The machine wants to be woken.
    Wake,
    /// A connection has not been made.
    Unconnected(Link, u32),
    /// A question of a call was not answered.
    Late(CallId, u32),
    /// The server has not been prepared.
    Unprepared,
    /// The application reads its next notification.
    Read,
    /// The application looks at what it owns.
    Look,
    /// The application finishes what it owns.
    Finish,
    /// The handler of this number begins.
    Begin(u64),
    /// The handler of this number ends.
    End(u64),
    /// The process has ended.
    Ended,
}

impl Process {
    pub(super) fn new(
        who: Who,
        machine: Machine,
        (config, keys, protocol): (Config, Keys, Protocol),
        clock: OwnClock,
        app: Application,
        dice: SmallRng,
    ) -> Process {
        Process {
            who,
            machine,
            config,
            keys,
            protocol,
            clock,
            slots: Default::default(),
            asked: BTreeMap::new(),
            leases: BTreeMap::new(),
            app,
            dice,
            is_ready: false,
            is_stopping: false,
            ended: None,
            wake: None,
            woken_at: None,
            events: VecDeque::new(),
            is_told: false,
        }
    }
}

impl State {
    /// Something happens to a process that is awake.
    pub(super) fn happens(&mut self, index: usize, happening: Happening) {
        match happening {
            Happening::Dialled(conn) => self.dialled(index, conn),
            Happening::Data(conn, bytes) => self.data(index, conn, bytes),
            Happening::Closed(conn) => self.closed(index, conn),
            Happening::Told(order) => self.obey(index, order),
            Happening::Timer(timer) => match timer {
                Timer::Wake => self.wake(index),
                Timer::Unconnected(link, generation) => self.unconnected(index, link, generation),
                Timer::Late(id, question) => self.late(index, id, question),
                Timer::Unprepared => self.unprepared(index),
                Timer::Read => self.read_on(index),
                Timer::Look => self.look(index),
                Timer::Finish => self.finish_again(index),
                Timer::Begin(number) => self.begin(index, number),
                Timer::End(number) => self.end(index, number),
                Timer::Ended => self.over(index),
            },
        }
    }

    /// The machine hears of something, and all that it wants then is done.
    pub(super) fn tell(&mut self, index: usize, event: Event) {
        let Some(process) = self.process(index) else { return };
        process.events.push_back(event);
        if std::mem::replace(&mut process.is_told, true) {
            return;
        }
        while let Some(process) = self.process(index)
            && let Some(event) = process.events.pop_front()
        {
            process.machine.handle(event, process.clock.now());
            self.do_what_the_machine_wants(index);
        }
        if let Some(process) = self.process(index) {
            process.is_told = false;
            self.set_alarm(index);
            self.read(index);
        }
    }

    fn do_what_the_machine_wants(&mut self, index: usize) {
        while let Some(process) = self.process(index) {
            match process.machine.poll() {
                Output::Command(Command::Connect(link)) => self.connect(index, link),
                Output::Command(Command::Disconnect(link)) => self.drop_link(index, link),
                Output::Command(Command::Call(id, call)) => self.issue(index, id, call),
                Output::Notification(notification) => self.notified(index, notification),
                Output::Extended { until, entries } => {
                    entries.iter().filter_map(|entry| process.leases.get(entry)).for_each(|held| held.extend(until));
                }
                Output::Remark(Remark::Server(_)) if !process.is_ready && process.ended.is_none() => self.ready(index),
                Output::Remark(_) => {}
                Output::Wait(wake) => {
                    process.wake = wake.map(|wake| wake.at);
                    return;
                }
            }
        }
    }

    /// Sees to it that the machine is woken when it wants to be.
    fn set_alarm(&mut self, index: usize) {
        let now = self.now;
        let Some(process) = self.process(index) else { return };
        let Some(at) = process.wake.map(|wake| process.clock.when(wake).max(now)) else { return };
        if process.woken_at.is_none_or(|woken| woken > at) {
            process.woken_at = Some(at);
            self.put_timer(index, at, Timer::Wake);
        }
    }

    fn wake(&mut self, index: usize) {
        let now = self.now;
        let Some(process) = self.process(index) else { return };
        // Later than it should if it has stood still; not at all if it is woken by another entry of the agenda.
        if process.woken_at.is_none_or(|at| at > now) {
            return;
        }
        process.woken_at = None;
        if process.wake.is_some_and(|wake| wake <= process.clock.now()) {
            self.tell(index, Event::Timeout);
        } else {
            self.set_alarm(index);
        }
    }

    fn notified(&mut self, index: usize, notification: Notification) {
        let Some(process) = self.process(index) else { return };
        match &notification {
            Notification::Added(added) => {
                let held = Rc::new(Held::new(added, process.clock.clone()));
                process.leases.insert(added.entry, held.clone());
                return self.push(index, Unread::Added(held));
            }
            // The reaper says it again for as long as it is true.
            Notification::Expired { .. } if process.app.backlogged => return,
            Notification::Disowned { entry, reason, .. } => self.finished(index, *entry, reason.label()),
            Notification::Done { entry, .. } => self.finished(index, *entry, "done"),
            Notification::Released { entry, .. } => self.finished(index, *entry, "released"),
            Notification::Terminated(trouble) => process.ended = Some(Err(trouble.to_string())),
            Notification::Stopped(_) => process.ended = Some(Ok(())),
            _ => {}
        }
        self.push(index, Unread::Said(notification));
    }

    /// An ownership has ended: every handle knows how.
    fn finished(&mut self, index: usize, entry: EntryId, how: &'static str) {
        let Some(held) = self.process(index).and_then(|process| process.leases.remove(&entry)) else { return };
        held.invalidate();
        held.lost.set(Some(how));
        if held.is_watched.get() {
            self.ended(index, &held.owned, how);
        }
    }

    /// The application ends an ownership: only its first wish counts, and none after the end.
    pub(super) fn ask_to_end(&mut self, index: usize, held: &Held, wish: Wish, error: &str) {
        if held.asked.replace(true) || held.lost.get().is_some() {
            return;
        }
        held.invalidate();
        self.tell(
            index,
            match wish {
                Wish::Done => Event::Done(held.entry),
                Wish::Release => Event::Release(held.entry, None),
                Wish::Fail => Event::Release(held.entry, Some(error.into())),
            },
        );
    }

    /// The application wants to own what has expired.
    pub(super) fn claim(&mut self, index: usize, entry: EntryId) {
        if self.process(index).is_some_and(|process| !process.is_stopping) {
            self.tell(index, Event::Claim(entry));
        }
    }

    /// The application wants its client to give everything back and stop.
    pub(super) fn shut_down(&mut self, index: usize, within: Duration) {
        let Some(process) = self.process(index) else { return };
        process.is_stopping = true;
        process.leases.values().for_each(|held| held.invalidate());
        let deadline = process.clock.now() + within;
        self.tell(index, Event::Shutdown(End::Release, deadline));
    }

    /// The server has not been prepared in time.
    fn unprepared(&mut self, index: usize) {
        if let Some(process) = self.process(index)
            && !process.is_ready
        {
            process.ended.get_or_insert(Err(format!("no server within {START:?}")));
            self.over(index);
        }
    }

    /// Told before anything was ready: it ends.
    pub(super) fn drained_early(&mut self, index: usize, who: Who) {
        self.scene.note(What::Draining { who });
        if let Some(process) = self.process(index) {
            process.ended = Some(Ok(()));
        }
        self.over(index);
    }
}

/// What the application has not read.
pub(super) enum Unread {
    Added(Rc<Held>),
    Said(Notification),
}

impl Held {
    fn new(added: &Added, clock: OwnClock) -> Held {
        let (stream, entry) = (added.stream.as_str().into(), added.entry.to_string().into());
        Held {
            owned: Owned { stream, entry, token: added.token.0 },
            entry: added.entry,
            takeover: added.takeover,
            valid_until: Arc::new(AtomicU64::new(added.valid_until.as_micros())),
            clock,
            asked: Cell::new(false),
            lost: Cell::new(None),
            is_watched: Cell::new(false),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        is_trusted(&self.valid_until, &self.clock)
    }

    /// The same, to be asked without the handle.
    pub(super) fn validity(&self) -> impl Fn() -> bool + Send + use<> {
        let (valid_until, clock) = (self.valid_until.clone(), self.clock.clone());
        move || is_trusted(&valid_until, &clock)
    }

    fn invalidate(&self) {
        self.valid_until.store(0, Ordering::Relaxed);
    }

    /// It is trusted for longer, unless it has ended.
    fn extend(&self, until: Time) {
        let now = self.valid_until.load(Ordering::Relaxed);
        if now != 0 && until.as_micros() > now {
            self.valid_until.store(until.as_micros(), Ordering::Relaxed);
        }
    }
}

/// Whether a lease is valid at this instant, by the own clock.
fn is_trusted(valid_until: &AtomicU64, clock: &OwnClock) -> bool {
    valid_until.load(Ordering::Relaxed) > clock.now().as_micros()
}
