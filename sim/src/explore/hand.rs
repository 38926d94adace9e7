//! An event for a consumer: what the machine makes of it, and where that leads.

use std::collections::VecDeque;

use streamkeeper::Time;
use streamkeeper_core::{
    id::CallId,
    link::Link,
    streams::{Answer, Call, Command, Event, Output, link_of},
    trouble::Trouble,
};

use super::{
    node::{Life, Read},
    truth::{Verdict, broken, name},
    world::{Setting, Trace, World, line},
};

/// So often in a row a machine may want to be woken at once.
const MOST_SPINS: u32 = 8;

impl World {
    /// An event comes to a consumer, at once or as soon as it does not stand still any more; and all that follows from
    /// it within the consumer.
    pub(crate) fn hand(&mut self, setting: &Setting, node: usize, event: Event, mut trace: Trace<'_>) -> Verdict {
        if !self.life(node).is_awake() {
            if self.life(node).is_running() {
                self.change(node, |life| life.inbox.push_back(event));
            }
            return Ok(());
        }
        let mut life = self.change(node, std::mem::take);
        let mut events = VecDeque::from([event]);
        let mut spins = 0;
        loop {
            let Some(event) = events.pop_front() else {
                // Woken at once, if that is what it wants.
                if life.wake.is_some_and(|at| at <= self.now) && life.is_awake() {
                    spins += 1;
                    if spins > MOST_SPINS {
                        return broken("bounded", format!("{} wants to be woken again and again", name(node)));
                    }
                    events.push_back(Event::Timeout);
                    continue;
                }
                break;
            };
            self.tell(setting, node, &mut life, event, &mut events, &mut trace)?;
        }
        self.change(node, |place| *place = life);
        self.look_at_owners(setting)
    }

    /// One event for the machine, and everything that it wants because of it.
    fn tell(
        &mut self,
        setting: &Setting,
        node: usize,
        life: &mut Life,
        event: Event,
        events: &mut VecDeque<Event>,
        trace: &mut Trace<'_>,
    ) -> Verdict {
        let now = setting.clock(node, self.now);
        let Some(mut machine) = life.machine.take() else { return Ok(()) };
        if let Some(trace) = trace {
            note_event(trace, self.now, node, &event);
        }
        machine.handle(event, now);
        let wake = loop {
            match machine.poll() {
                Output::Wait(wake) => break wake,
                Output::Command(Command::Connect(link)) => {
                    unlink(life, link, events);
                    *up(life, link) = true;
                    events.push_back(Event::Connected(link));
                }
                Output::Command(Command::Disconnect(link)) => unlink(life, link, events),
                Output::Command(Command::Call(id, call)) => self.send(setting, node, life, id, call, events),
                Output::Notification(notification) => {
                    if let Some(trace) = trace {
                        trace.push(line(self.now, &format!("{} tells its application: {notification:?}", name(node))));
                    }
                    self.truth_mut().told(node, &notification)?;
                }
                Output::Extended { .. } | Output::Remark(_) => {}
            }
        };
        life.wake = wake.map(|wake| setting.true_time(node, wake.at));
        life.machine = (!machine.stopped()).then_some(machine);
        Ok(())
    }

    /// A call leaves a consumer. One to which nobody else can add anything is answered at once.
    fn send(
        &mut self,
        setting: &Setting,
        node: usize,
        life: &mut Life,
        id: CallId,
        call: Call,
        events: &mut VecDeque<Event>,
    ) {
        let link = link_of(&call);
        if !*up(life, link) {
            let trouble = Trouble::connection("there is no connection");
            return events.push_back(Event::Answered(id, Err(trouble)));
        }
        match (link, call) {
            (Link::Subscriber, _) => events.push_back(Event::Answered(id, Ok(Answer::Pong))),
            (Link::Reader, call) => {
                let until = self.waits(setting, node, &call);
                life.read = Some(Read { id, call, until });
            }
            (Link::Commands, call) => {
                life.commands.unanswered.insert(id, self.now);
                life.commands.sent.push_back((id, call));
            }
        }
    }

    /// Whether a wait for announcements finds nothing now: then it arrives at once, and waits until the answer.
    fn waits(&mut self, setting: &Setting, node: usize, call: &Call) -> Option<Time> {
        let Call::Read { block, .. } = call else { return None };
        let mut server = self.server.clone();
        let executed = server.execute(&setting.protocols[node], call, self.now, None);
        if !matches!(&executed.answer, Ok(Answer::Read(found)) if found.is_empty()) {
            return None;
        }
        self.server = server;
        Some(self.now + *block)
    }
}

/// A connection is dropped: calls on it fail.
pub(crate) fn unlink(life: &mut Life, link: Link, events: &mut VecDeque<Event>) {
    let gone = || Err(Trouble::connection("the connection is gone"));
    match link {
        Link::Commands => {
            events.extend(life.drop_commands().into_iter().map(|id| Event::Answered(id, gone())));
        }
        Link::Reader => {
            let read = life.read.take();
            life.reader_up = false;
            events.extend(read.map(|read| Event::Answered(read.id, gone())));
        }
        Link::Subscriber => {
            life.subscriber_up = false;
            life.hints.clear();
            life.late_hints.clear();
        }
    }
}

pub(crate) fn up(life: &mut Life, link: Link) -> &mut bool {
    match link {
        Link::Commands => &mut life.commands.up,
        Link::Reader => &mut life.reader_up,
        Link::Subscriber => &mut life.subscriber_up,
    }
}

fn note_event(trace: &mut Vec<String>, now: Time, node: usize, event: &Event) {
    let text = match event {
        Event::Timeout | Event::Answered(_, Ok(_)) | Event::Connected(_) => return,
        Event::Answered(id, Err(trouble)) => format!("{} hears that {id:?} failed: {trouble}", name(node)),
        event => format!("{} hears: {event:?}", name(node)),
    };
    trace.push(line(now, &text));
}
