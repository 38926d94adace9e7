//! One consumer in one partition: its machine, its connections, and what it waits for.

use std::collections::{BTreeMap, VecDeque};

use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    id::CallId,
    link::Link,
    streams::{Call, Command, Event, Machine, Notification, Output, link_of},
    trouble::Trouble,
};

pub(crate) struct Node {
    /// Which consumer it is part of.
    pub(crate) consumer: usize,
    /// Which partition it serves.
    pub(crate) partition: usize,
    /// `None`: it does not run.
    pub(crate) machine: Option<Box<Machine>>,
    pub(crate) protocol: Protocol,
    /// When it wants to be woken.
    pub(crate) wake: Option<Time>,
    /// When the agenda will wake it, which may be too early.
    pub(crate) woken_at: Option<Time>,
    /// It was told that it takes streams.
    pub(crate) is_ready: bool,
    links: [Connection; 3],
    /// Calls under way.
    asked: BTreeMap<CallId, Link>,
}

/// A connection, and how many there have been before it.
#[derive(Clone, Copy, Default)]
struct Connection {
    is_up: bool,
    number: u64,
}

/// What a machine wants of the world around it.
pub(crate) enum Wish {
    /// A connection, with this number.
    Connect(Link, u64),
    Call(CallId, Call),
    Notify(Notification),
}

impl Node {
    pub(crate) fn new(consumer: usize, partition: usize, protocol: Protocol) -> Node {
        Node {
            consumer,
            partition,
            machine: None,
            protocol,
            wake: None,
            woken_at: None,
            is_ready: false,
            links: [Connection::default(); 3],
            asked: BTreeMap::new(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.machine.is_some()
    }

    /// Whether pushes reach it.
    pub(crate) fn listens(&self) -> bool {
        self.is_running() && self.links[place(Link::Subscriber)].is_up
    }

    /// Whether it still waits for the answer to this call.
    pub(crate) fn waits_for(&self, id: CallId) -> bool {
        self.is_running() && self.asked.contains_key(&id)
    }

    /// A connection that it asked for is there, unless it has asked for another one since. Whether it counts.
    pub(crate) fn connected(&mut self, link: Link, number: u64) -> bool {
        let connection = &mut self.links[place(link)];
        let counts = connection.number == number && self.machine.is_some();
        connection.is_up |= counts;
        counts
    }

    /// An answer arrives, or its time is over. Whether somebody still waits for it.
    pub(crate) fn answered(&mut self, id: CallId) -> bool {
        self.is_running() && self.asked.remove(&id).is_some()
    }

    /// It ends without a word.
    pub(crate) fn crash(&mut self) {
        self.machine = None;
        self.asked.clear();
        self.wake = None;
        self.links = [Connection::default(); 3];
    }

    /// Tells the machine of a fact, and collects what it wants.
    pub(crate) fn tell(&mut self, event: Event, now: Time) -> Vec<Wish> {
        let Some(mut machine) = self.machine.take() else { return Vec::new() };
        let (mut wishes, mut events) = (Vec::new(), VecDeque::from([event]));
        while let Some(event) = events.pop_front() {
            machine.handle(event, now);
            self.wake = loop {
                match machine.poll() {
                    Output::Wait(wake) => break wake.map(|wake| wake.at),
                    Output::Command(Command::Connect(link)) => {
                        self.drop_link(link, &mut events);
                        let connection = &mut self.links[place(link)];
                        connection.number += 1;
                        wishes.push(Wish::Connect(link, connection.number));
                    }
                    Output::Command(Command::Disconnect(link)) => self.drop_link(link, &mut events),
                    Output::Command(Command::Call(id, call)) => {
                        let link = link_of(&call);
                        if self.links[place(link)].is_up {
                            self.asked.insert(id, link);
                            wishes.push(Wish::Call(id, call));
                        } else {
                            let trouble = Trouble::connection("there is no connection");
                            events.push_back(Event::Answered(id, Err(trouble)));
                        }
                    }
                    Output::Notification(notification) => wishes.push(Wish::Notify(notification)),
                    Output::Extended { .. } | Output::Remark(_) => {}
                }
            };
        }
        self.machine = (!machine.stopped()).then_some(machine);
        wishes
    }

    /// A connection is dropped: the calls on it fail.
    fn drop_link(&mut self, link: Link, events: &mut VecDeque<Event>) {
        self.links[place(link)].is_up = false;
        self.asked.retain(|id, over| {
            if *over == link {
                events.push_back(Event::Answered(*id, Err(Trouble::connection("the connection is gone"))));
            }
            *over != link
        });
    }
}

fn place(link: Link) -> usize {
    match link {
        Link::Commands => 0,
        Link::Reader => 1,
        Link::Subscriber => 2,
    }
}
