//! What a process's application does with its streams, as the plan says: the same as `world/application.rs`, without tasks.
//! It works on them for a time, ends them, fails, hangs, reads late or never.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use rand::Rng;
use streamkeeper_core::streams::{Event, Notification};

use super::{
    process::{Happening, Held, Timer, Unread},
    state::State,
};
use crate::{
    facts::{Owned, What, Who},
    plan::{App, End, Point, Wish},
    world::{
        application::{LOOK, ending},
        consumer::{FINISH, Order},
    },
};

/// An application, as far as it has come.
pub(super) struct Application {
    plan: App,
    unread: VecDeque<Unread>,
    limit: usize,
    /// The limit was reached, and not yet half of it read.
    pub(super) backlogged: bool,
    /// It waits before it reads the next notification.
    sleeps: bool,
    handlers: BTreeMap<u64, Handler>,
    next_handler: u64,
    /// The tokens of what it saw when it looked last.
    known: Vec<u64>,
    /// Everything was read, and the process is about to end.
    is_over: bool,
}

/// What works on a stream.
struct Handler {
    held: Rc<Held>,
    ending: End,
}

/// How an application learns what it owns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Reads,
    Looks,
    Runs,
}

impl Application {
    pub(super) fn new(plan: &App, limit: usize) -> Application {
        Application {
            plan: plan.clone(),
            unread: VecDeque::new(),
            limit: limit.max(1),
            backlogged: false,
            sleeps: false,
            handlers: BTreeMap::new(),
            next_handler: 0,
            known: Vec::new(),
            is_over: false,
        }
    }

    fn way(&self) -> Way {
        match (self.plan.runs, self.plan.never_reads) {
            (true, _) => Way::Runs,
            (false, true) => Way::Looks,
            (false, false) => Way::Reads,
        }
    }

    fn pause(&self) -> Duration {
        if self.way() == Way::Reads { Duration::from_millis(self.plan.reads_every_ms) } else { Duration::ZERO }
    }
}

impl State {
    /// The application has its client.
    pub(super) fn ready(&mut self, index: usize) {
        let (now, finishing) = (self.now, self.nodes[index].finishing);
        let Some(process) = self.process(index) else { return };
        process.is_ready = true;
        let (who, way, pause) = (process.who, process.app.way(), process.app.pause());
        process.app.sleeps = !pause.is_zero();
        self.scene.note(What::Ready { who });
        if way == Way::Looks {
            self.put_timer(index, now, Timer::Look);
        } else if !pause.is_zero() {
            self.put_timer(index, now + pause, Timer::Read);
        }
        if finishing {
            self.put_timer(index, now, Timer::Finish);
        }
    }

    /// A notification for the application.
    pub(super) fn push(&mut self, index: usize, unread: Unread) {
        let Some(process) = self.process(index) else { return };
        let app = &mut process.app;
        app.unread.push_back(unread);
        let full = !app.backlogged && app.unread.len() >= app.limit;
        app.backlogged |= full;
        if full {
            self.tell(index, Event::Backlogged(true));
        }
    }

    /// The application reads what it can.
    pub(super) fn read(&mut self, index: usize) {
        let now = self.now;
        loop {
            let Some(process) = self.process(index) else { return };
            let (app, ended) = (&mut process.app, process.ended.is_some());
            if !process.is_ready {
                if ended {
                    self.over(index);
                }
                return;
            }
            if app.sleeps || app.way() == Way::Looks {
                return;
            }
            let Some(unread) = app.unread.pop_front() else {
                if ended && !std::mem::replace(&mut app.is_over, true) {
                    self.put_timer(index, now + Duration::from_millis(1), Timer::Ended);
                }
                return;
            };
            let caught_up = app.backlogged && app.unread.len() < app.limit.div_ceil(2);
            app.backlogged &= !caught_up;
            let pause = app.pause();
            if !pause.is_zero() && !ended {
                app.sleeps = true;
                self.put_timer(index, now + pause, Timer::Read);
            }
            self.hear(index, unread);
            if caught_up {
                self.tell(index, Event::Backlogged(false));
            }
        }
    }

    pub(super) fn read_on(&mut self, index: usize) {
        if let Some(process) = self.process(index) {
            process.app.sleeps = false;
            self.read(index);
        }
    }

    fn hear(&mut self, index: usize, unread: Unread) {
        let Some(process) = self.process(index) else { return };
        let (who, way) = (process.who, process.app.way());
        let notification = match unread {
            Unread::Added(held) => {
                self.added(who, &held);
                if way == Way::Runs {
                    self.watch(index, &held);
                }
                return self.handle(index, held);
            }
            Unread::Said(notification) => notification,
        };
        match notification {
            Notification::Expired { entry, .. } => self.claim(index, entry),
            _ if way == Way::Runs => {}
            Notification::Disowned { entry, stream, token, reason } => {
                self.ended(index, &owned(stream.as_str(), &entry, token.0), reason.label());
            }
            Notification::Done { entry, stream, token } => {
                self.ended(index, &owned(stream.as_str(), &entry, token.0), "done");
            }
            Notification::Released { entry, stream, token } => {
                self.ended(index, &owned(stream.as_str(), &entry, token.0), "released");
            }
            Notification::Rejected { entry, reason, .. } => {
                self.scene.note(What::Rejected { who, entry: entry.to_string().into(), why: reason.label() });
            }
            _ => {}
        }
    }

    fn added(&mut self, who: Who, held: &Held) {
        self.scene.note(What::Added { who, owned: held.owned.clone(), takeover: held.takeover });
        if self.scene.hold(who, &held.owned, held.validity()) {
            self.probe_soon();
        }
    }

    /// How an ownership ends is written down as it does, where no notification says so.
    fn watch(&mut self, index: usize, held: &Held) {
        match held.lost.get() {
            Some(how) => self.ended(index, &held.owned, how),
            None => held.is_watched.set(true),
        }
    }

    /// The application knows that an ownership has ended.
    pub(super) fn ended(&mut self, index: usize, owned: &Owned, how: &'static str) {
        let who = self.who(index);
        self.scene.let_go(who, owned);
        self.scene.note(What::Ended { who, owned: owned.clone(), how });
    }

    /// A handler for a stream begins, unless the process pauses right before.
    fn handle(&mut self, index: usize, held: Rc<Held>) {
        let Some(process) = self.process(index) else { return };
        let app = &mut process.app;
        app.next_handler += 1;
        let number = app.next_handler;
        app.handlers.insert(number, Handler { held, ending: End::Hang });
        if self.strike(index, Point::Handler) {
            self.nodes[index].inbox.push_back(Happening::Timer(Timer::Begin(number)));
        } else {
            self.begin(index, number);
        }
    }

    pub(super) fn begin(&mut self, index: usize, number: u64) {
        let now = self.now;
        let Some(process) = self.process(index) else { return };
        let (work_ms, ends) = (process.app.plan.work_ms, process.app.plan.ends);
        let span =
            work_ms.map(|(least, most)| Duration::from_millis(process.dice.random_range(least..=most.max(least))));
        let ending = ending(ends, process.dice.random_range(0..u64::MAX));
        let Some(handler) = process.app.handlers.get_mut(&number).filter(|handler| handler.held.is_valid()) else {
            process.app.handlers.remove(&number);
            return;
        };
        handler.ending = ending;
        let (who, owned) = (process.who, handler.held.owned.clone());
        self.scene.note(What::Worked { who, owned });
        match span {
            Some(span) => self.put_timer(index, now + span, Timer::End(number)),
            None => self.hangs(index, number),
        }
    }

    fn hangs(&mut self, index: usize, number: u64) {
        if let Some(process) = self.process(index) {
            process.app.handlers.remove(&number);
        }
    }

    /// A handler has worked for as long as it should.
    pub(super) fn end(&mut self, index: usize, number: u64) {
        let Some(process) = self.process(index) else { return };
        let Some(Handler { held, ending }) = process.app.handlers.remove(&number) else { return };
        if !held.is_valid() {
            return;
        }
        self.scene.note(What::Worked { who: self.who(index), owned: held.owned.clone() });
        match ending {
            End::Done => self.ask(index, &held, Wish::Done),
            End::Release => self.ask(index, &held, Wish::Release),
            End::Fail | End::Panic => self.ask(index, &held, Wish::Fail),
            End::Hang => {}
        }
    }

    /// The application asks for this end.
    fn ask(&mut self, index: usize, held: &Held, wish: Wish) {
        let end = match wish {
            Wish::Done => "done",
            Wish::Release => "release",
            Wish::Fail => "fail",
        };
        let who = self.who(index);
        self.scene.note(What::Asked { who, owned: held.owned.clone(), end });
        self.ask_to_end(index, held, wish, "the handler failed");
    }

    /// Reads no notification, but sees what it owns.
    pub(super) fn look(&mut self, index: usize) {
        let now = self.now;
        let Some(process) = self.process(index) else { return };
        if process.ended.is_some() {
            self.put_timer(index, now + Duration::from_millis(1), Timer::Ended);
            return;
        }
        let who = process.who;
        let present: Vec<Rc<Held>> = process.leases.values().filter(|held| held.is_valid()).cloned().collect();
        let tokens = present.iter().map(|held| held.owned.token).collect();
        let known = std::mem::replace(&mut process.app.known, tokens);
        for held in present.iter().filter(|held| !known.contains(&held.owned.token)) {
            self.added(who, held);
            self.watch(index, held);
        }
        self.put_timer(index, now + LOOK, Timer::Look);
    }

    /// The process is told something.
    pub(super) fn obey(&mut self, index: usize, order: Order) {
        let Some(process) = self.process(index) else { return };
        let (who, ready) = (process.who, process.is_ready);
        match order {
            Order::Drain(_) if !ready => self.drained_early(index, who),
            _ if !ready => {}
            Order::Drain(within) => {
                self.scene.note(What::Draining { who });
                self.shut_down(index, within);
            }
            Order::Wish(stream, wish) => {
                let held = process.leases.values().find(|held| *held.owned.stream == *stream && held.is_valid());
                if let Some(held) = held.cloned() {
                    self.ask(index, &held, wish);
                }
            }
            Order::Finish => self.finish_again(index),
        }
    }

    /// Finishes everything that is owned, whatever its handlers do, and looks for more soon.
    pub(super) fn finish_again(&mut self, index: usize) {
        let now = self.now;
        let Some(process) = self.process(index).filter(|process| process.ended.is_none()) else { return };
        let all: Vec<Rc<Held>> = process.leases.values().filter(|held| held.is_valid()).cloned().collect();
        for held in all {
            self.ask(index, &held, Wish::Done);
        }
        self.put_timer(index, now + FINISH, Timer::Finish);
    }
}

fn owned(stream: &str, entry: &streamkeeper::EntryId, token: u64) -> Owned {
    Owned { stream: stream.into(), entry: entry.to_string().into(), token }
}
