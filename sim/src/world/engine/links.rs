//! A process's connections, as the shell has them: made with a handshake, watched, and with the calls that go over them.

use std::{collections::VecDeque, io};

use bytes::Bytes;
use redis::{Pipeline, PushKind, RedisError, Value};
use streamkeeper_core::{
    id::CallId,
    keys::Keys,
    link::Link,
    streams::{Call, Event, link_of},
    trouble::{Trouble, TroubleKind},
};

use super::{
    network::{ConnNo, OUT},
    process::{Happening, Timer},
    state::State,
};
use crate::{
    calls::{self, Step, UnderWay},
    plan::Point,
};

const LINKS: [Link; 3] = [Link::Commands, Link::Reader, Link::Subscriber];

/// One of a process's connections.
#[derive(Default)]
pub(super) struct Slot {
    /// Which connection this is.
    generation: u32,
    conn: Option<ConnNo>,
    phase: Phase,
    /// Those whose answers have not come, in order.
    expects: VecDeque<Expected>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Down,
    Dialling,
    /// So many answers to its greeting are still to come; then it subscribes to the first, and the second channel.
    Greeting {
        left: usize,
        subscribed: usize,
    },
    Up,
}

/// Something that was asked.
struct Expected {
    call: CallId,
    left: usize,
    answers: Vec<Value>,
}

/// A call that was not answered yet.
pub(super) struct Asked {
    link: Link,
    under_way: UnderWay,
    /// How often it has asked: only the latest question can be late.
    questions: u32,
}

impl State {
    /// Makes a connection, in place of the one that is there or under way.
    pub(super) fn connect(&mut self, index: usize, link: Link) {
        self.drop_link(index, link);
        let now = self.now;
        let (conn, arrives) = self.network.dial(index + 1, now);
        self.put_knock(conn, false, arrives);
        let Some(process) = self.process(index) else { return };
        let limit = process.config.call_timeout;
        let slot = &mut process.slots[link as usize];
        (slot.conn, slot.phase) = (Some(conn), Phase::Dialling);
        let generation = slot.generation;
        self.put_timer(index, now + limit, Timer::Unconnected(link, generation));
    }

    /// Drops a connection, and with it every call on it.
    pub(super) fn drop_link(&mut self, index: usize, link: Link) {
        let Some(process) = self.process(index) else { return };
        let slot = &mut process.slots[link as usize];
        let conn = slot.conn;
        *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
        let over_it = process.asked.iter().filter(|(_, asked)| asked.link == link);
        let calls: Vec<CallId> = over_it.map(|(id, _)| *id).collect();
        if let Some(conn) = conn {
            self.close(conn);
        }
        for call in calls {
            self.told(index, call, Err(broken(io::ErrorKind::BrokenPipe)));
        }
    }

    /// A connection has not been made in time.
    pub(super) fn unconnected(&mut self, index: usize, link: Link, generation: u32) {
        let Some(process) = self.process(index) else { return };
        let slot = &process.slots[link as usize];
        if slot.generation == generation && !matches!(slot.phase, Phase::Up | Phase::Down) {
            self.lost(index, link, Trouble::connection("no connection in time"));
        }
    }

    /// The server has taken a connection in: it is greeted.
    pub(super) fn dialled(&mut self, index: usize, conn: ConnNo) {
        let Some((link, slot)) = self.slot_of(index, conn) else { return };
        let mut pipe = Pipeline::new();
        if link == Link::Subscriber {
            pipe.cmd("HELLO").arg(3);
        }
        let greeting = greeting(pipe);
        slot.phase = Phase::Greeting { left: greeting.len(), subscribed: 0 };
        self.transmit(conn, OUT, greeting.get_packed_pipeline().into());
    }

    /// Bytes have come.
    pub(super) fn data(&mut self, index: usize, conn: ConnNo, bytes: Bytes) {
        let Some((link, _)) = self.slot_of(index, conn) else { return };
        // What is pushed is no answer, and nothing is asked there.
        if link != Link::Subscriber && self.strike(index, Point::Answer) {
            self.nodes[index].inbox.push_front(Happening::Data(conn, bytes));
            return;
        }
        for value in calls::answers(&bytes) {
            // Whatever the last value has led to, the connection may be another one now.
            match self.slot_of(index, conn) {
                Some((link, _)) => self.value(index, link, value),
                None => return,
            }
        }
    }

    fn value(&mut self, index: usize, link: Link, value: Value) {
        if let Value::Push { kind, data } = value {
            return self.pushed(index, link, &kind, data);
        }
        let Some(process) = self.process(index) else { return };
        let slot = &mut process.slots[link as usize];
        if let Phase::Greeting { .. } = slot.phase {
            return self.greeted(index, link, &value);
        }
        let Some(expected) = slot.expects.front_mut() else { return };
        expected.answers.push(value);
        expected.left -= 1;
        if expected.left == 0
            && let Some(Expected { call, answers, .. }) = slot.expects.pop_front()
        {
            self.told(index, call, Ok(answers));
        }
    }

    fn pushed(&mut self, index: usize, link: Link, kind: &PushKind, data: Vec<Value>) {
        let kind = match kind {
            PushKind::PMessage => "pmessage",
            PushKind::Message => "message",
            PushKind::PSubscribe | PushKind::Subscribe => return self.greeted(index, link, &Value::Okay),
            _ => return,
        };
        let words: Vec<String> = data.into_iter().filter_map(calls::text).collect();
        if let Some(hint) = calls::hint(kind, &words) {
            self.tell(index, hint);
        }
    }

    /// An answer to the greeting, or to a subscription, has come.
    fn greeted(&mut self, index: usize, link: Link, answer: &Value) {
        let trouble = match answer {
            Value::ServerError(error) => Some(Trouble::from_reply(error.code(), error.details().unwrap_or_default())),
            _ => None,
        };
        let Some(process) = self.process(index) else { return };
        let channels = [Keys::expiry_pattern(0), process.keys.orphans()];
        let slot = &mut process.slots[link as usize];
        let (Phase::Greeting { left, subscribed }, Some(conn)) = (slot.phase, slot.conn) else { return };
        if let Some(trouble) = trouble.filter(|trouble| !is_tolerated(link, subscribed, left, trouble)) {
            return self.lost(index, link, trouble);
        }
        if left > 1 {
            slot.phase = Phase::Greeting { left: left - 1, subscribed };
            return;
        }
        match channels.get(subscribed).filter(|_| link == Link::Subscriber) {
            Some(channel) => {
                slot.phase = Phase::Greeting { left: 1, subscribed: subscribed + 1 };
                let subscribe = redis::cmd(if subscribed == 0 { "PSUBSCRIBE" } else { "SUBSCRIBE" })
                    .arg(channel)
                    .get_packed_command();
                self.transmit(conn, OUT, subscribe.into());
            }
            None => {
                slot.phase = Phase::Up;
                self.tell(index, Event::Connected(link));
            }
        }
    }

    /// A connection was closed or broke.
    pub(super) fn closed(&mut self, index: usize, conn: ConnNo) {
        if let Some((link, _)) = self.slot_of(index, conn) {
            self.lost(index, link, Trouble::connection("the connection was closed"));
        }
    }

    fn lost(&mut self, index: usize, link: Link, trouble: Trouble) {
        self.drop_link(index, link);
        self.tell(index, Event::Disconnected(link, trouble));
    }

    /// Sends a call. Without a connection it is answered at once, with that.
    pub(super) fn issue(&mut self, index: usize, id: CallId, call: Call) {
        let Some(process) = self.process(index) else { return };
        let link = link_of(&call);
        if process.slots[link as usize].phase != Phase::Up {
            let trouble = Trouble::connection("there is no connection");
            return self.tell(index, Event::Answered(id, Err(trouble)));
        }
        let (under_way, step) = UnderWay::begin(process.protocol.clone(), call);
        process.asked.insert(id, Asked { link, under_way, questions: 0 });
        self.go_on(index, id, step);
    }

    /// A question of a call was answered, or never will be.
    fn told(&mut self, index: usize, id: CallId, answers: Result<Vec<Value>, RedisError>) {
        let Some(asked) = self.process(index).and_then(|process| process.asked.get_mut(&id)) else { return };
        let step = asked.under_way.told(answers);
        self.go_on(index, id, step);
    }

    fn go_on(&mut self, index: usize, id: CallId, mut step: Step) {
        loop {
            let now = self.now;
            let Some(process) = self.process(index) else { return };
            let Some(asked) = process.asked.get_mut(&id) else { return };
            let (bytes, left) = match step {
                Step::Asks(bytes, left) => (bytes, left),
                Step::Over(answer) => {
                    let link = asked.link;
                    process.asked.remove(&id);
                    if let Err(trouble) = &answer {
                        self.suffered(index, link, trouble);
                    }
                    return self.tell(index, Event::Answered(id, answer));
                }
            };
            let (link, slot) = (asked.link, &mut process.slots[asked.link as usize]);
            let Some(conn) = slot.conn.filter(|_| slot.phase == Phase::Up) else {
                step = asked.under_way.told(Err(broken(io::ErrorKind::BrokenPipe)));
                continue;
            };
            asked.questions += 1;
            slot.expects.push_back(Expected { call: id, left, answers: Vec::new() });
            let limit = process.config.call_timeout;
            let limit = if link == Link::Reader { limit + process.config.block() } else { limit };
            let late = Timer::Late(id, asked.questions);
            self.put_timer(index, now + limit, late);
            self.transmit(conn, OUT, bytes.into());
            if link != Link::Subscriber {
                self.strike(index, Point::Call);
            }
            return;
        }
    }

    /// A question was not answered in time.
    pub(super) fn late(&mut self, index: usize, id: CallId, question: u32) {
        let asked = self.process(index).and_then(|process| process.asked.get(&id));
        if asked.is_some_and(|asked| asked.questions == question) {
            self.told(index, id, Err(broken(io::ErrorKind::TimedOut)));
        }
    }

    /// The server has said that it is not the one to talk to: the other connections are given up.
    fn suffered(&mut self, index: usize, link: Link, trouble: &Trouble) {
        if trouble.kind != TroubleKind::WrongServer || trouble.message.contains("max number of clients") {
            return;
        }
        for other in LINKS.into_iter().filter(|other| *other != link) {
            let phase = self.process(index).map(|process| process.slots[other as usize].phase);
            if phase.is_some_and(|phase| phase != Phase::Down) {
                self.lost(index, other, Trouble::connection("the server is another one now"));
            }
        }
    }

    fn slot_of(&mut self, index: usize, conn: ConnNo) -> Option<(Link, &mut Slot)> {
        let slots = &mut self.process(index)?.slots;
        LINKS.into_iter().zip(slots).find(|(_, slot)| slot.conn == Some(conn))
    }
}

impl Slot {
    pub(super) fn conn(&self) -> Option<ConnNo> {
        self.conn
    }
}

/// What a client says first over a connection, behind this.
pub(super) fn greeting(mut pipe: Pipeline) -> Pipeline {
    for (what, value) in [("LIB-NAME", "streamkeeper"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        pipe.cmd("CLIENT").arg("SETINFO").arg(what).arg(value);
    }
    pipe
}

/// What the client makes of a connection that does not answer.
fn broken(kind: io::ErrorKind) -> RedisError {
    io::Error::from(kind).into()
}

/// Whether a refusal in a greeting is none of the connection: what it tells of itself, and what it may not subscribe to.
fn is_tolerated(link: Link, subscribed: usize, left: usize, trouble: &Trouble) -> bool {
    match link {
        // HELLO comes first, and there is no going on without it.
        Link::Subscriber if subscribed == 0 => left < 3,
        Link::Subscriber => match trouble.kind {
            TroubleKind::Refused => !trouble.message.starts_with("NOAUTH"),
            kind => kind == TroubleKind::Other,
        },
        Link::Commands | Link::Reader => true,
    }
}
