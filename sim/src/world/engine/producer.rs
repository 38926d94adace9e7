//! Who announces streams: on a host of its own, over one connection that is made when it is needed. As the library's
//! producer, it repeats what certainly was not announced, and now and then what was not answered.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use redis::{Pipeline, Value};
use streamkeeper::Settings;
use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::StreamName,
    keys::Keys,
};

use super::{
    links::greeting,
    network::{ConnNo, OUT},
    state::State,
};
use crate::{
    calls,
    facts::What,
    stage::HostId,
    world::{
        SERVICE,
        actor::Orders,
        producer::{AGAIN, Order, malformed},
    },
};

/// The producers of a run.
pub(super) struct Producer {
    host: HostId,
    dice: SmallRng,
    conn: Option<ConnNo>,
    /// How many answers to its greeting are still to come: until then nobody knows that there is a server behind it.
    greeting: usize,
    is_up: bool,
    /// What is sent when there is a connection.
    waiting: VecDeque<Batch>,
    /// What was sent, and is not answered yet.
    asked: VecDeque<Question>,
    questions: u64,
}

/// Something to be sent in one write.
#[derive(Clone, Debug)]
pub(super) enum Batch {
    Streams(VecDeque<String>),
    Malformed(u8),
}

struct Question {
    number: u64,
    /// Those whose answers are still to come, in order.
    streams: VecDeque<String>,
    /// Those that certainly were not announced.
    again: VecDeque<String>,
    /// Something malformed, whose answer is still to come.
    malformed: Option<u8>,
}

/// What is due at the producers.
#[derive(Clone, Debug)]
pub(super) enum Timer {
    /// A connection has not been made.
    Unconnected(ConnNo),
    /// A question was not answered.
    Late(u64),
    Again(Batch),
}

impl Producer {
    pub(super) fn new(host: HostId, seed: u64) -> Producer {
        let (waiting, asked) = (VecDeque::new(), VecDeque::new());
        Producer {
            host,
            dice: SmallRng::seed_from_u64(seed),
            conn: None,
            greeting: 0,
            is_up: false,
            waiting,
            asked,
            questions: 0,
        }
    }
}

impl State {
    pub(super) fn produce(&mut self, timer: Timer) {
        match timer {
            Timer::Unconnected(conn) if self.producer.conn == Some(conn) && !self.producer.is_up => {
                self.close(conn);
                self.producer_closed(conn);
            }
            Timer::Late(number) if self.producer.asked.iter().any(|question| question.number == number) => {
                if let Some(conn) = self.producer.conn {
                    self.close(conn);
                    self.producer_closed(conn);
                }
            }
            Timer::Unconnected(_) | Timer::Late(_) => {}
            Timer::Again(batch) => self.announce(batch),
        }
    }

    /// Sends something, as soon as there is a connection.
    fn announce(&mut self, batch: Batch) {
        if let (Some(conn), true) = (self.producer.conn, self.producer.is_up) {
            return self.write(conn, batch);
        }
        self.producer.waiting.push_back(batch);
        if self.producer.conn.is_none() {
            let (conn, arrives) = self.network.dial(self.producer.host, self.now);
            self.producer.conn = Some(conn);
            self.put_knock(conn, false, arrives);
            self.put_producer(self.now + Settings::default().call_timeout, Timer::Unconnected(conn));
        }
    }

    pub(super) fn producer_dialled(&mut self, conn: ConnNo) {
        if self.producer.conn == Some(conn) {
            let greeting = greeting(Pipeline::new());
            self.producer.greeting = greeting.len();
            self.transmit(conn, OUT, greeting.get_packed_pipeline().into());
        }
    }

    /// An answer to the greeting has come.
    fn producer_greeted(&mut self, conn: ConnNo) {
        self.producer.greeting = self.producer.greeting.saturating_sub(1);
        if self.producer.greeting == 0 {
            self.producer.is_up = true;
            for batch in std::mem::take(&mut self.producer.waiting) {
                self.write(conn, batch);
            }
        }
    }

    fn write(&mut self, conn: ConnNo, batch: Batch) {
        let Ok(keys) = Keys::plain(SERVICE) else { return };
        let mut pipe = Pipeline::new();
        let (streams, malformed) = match batch {
            Batch::Streams(streams) => {
                // The library refuses a name that is none before it asks anybody.
                let named = streams.into_iter().filter_map(|stream| Some((StreamName::new(&stream).ok()?, stream)));
                let streams: VecDeque<String> = named
                    .map(|(name, stream)| {
                        pipe.cmd("XADD").arg(keys.lbs()).arg("*").arg(FIELD).arg(Announcement::to_json(&name, None));
                        stream
                    })
                    .collect();
                (streams, None)
            }
            Batch::Malformed(kind) => {
                let (field, value) = malformed(kind);
                pipe.cmd("XADD").arg(keys.lbs()).arg("*").arg(field).arg(value);
                (VecDeque::new(), Some(kind))
            }
        };
        if pipe.is_empty() {
            return;
        }
        self.producer.questions += 1;
        let number = self.producer.questions;
        self.producer.asked.push_back(Question { number, streams, again: VecDeque::new(), malformed });
        self.put_producer(self.now + Settings::default().call_timeout, Timer::Late(number));
        self.transmit(conn, OUT, pipe.get_packed_pipeline().into());
    }

    pub(super) fn producer_data(&mut self, conn: ConnNo, bytes: &[u8]) {
        if self.producer.conn == Some(conn) {
            for answer in calls::answers(bytes) {
                if self.producer.is_up { self.producer_heard(answer) } else { self.producer_greeted(conn) }
            }
        }
    }

    fn producer_heard(&mut self, value: Value) {
        let Some(question) = self.producer.asked.front_mut() else { return };
        if question.malformed.take().is_some() {
            // What became of it is nobody's concern.
        } else if let Some(stream) = question.streams.pop_front() {
            match value {
                Value::BulkString(entry) => {
                    let (stream, entry): (Arc<str>, _) = (stream.into(), String::from_utf8_lossy(&entry).into());
                    self.scene.note(What::Announced { stream, entry });
                }
                _ => question.again.push_back(stream),
            }
        }
        if question.streams.is_empty()
            && question.malformed.is_none()
            && let Some(question) = self.producer.asked.pop_front()
        {
            self.again(question.again);
        }
    }

    /// The connection is gone: what was sent and not answered was announced or not.
    pub(super) fn producer_closed(&mut self, conn: ConnNo) {
        if self.producer.conn != Some(conn) {
            return;
        }
        self.close(conn);
        (self.producer.conn, self.producer.is_up) = (None, false);
        for question in std::mem::take(&mut self.producer.asked) {
            if let Some(kind) = question.malformed {
                self.put_producer(self.now + AGAIN, Timer::Again(Batch::Malformed(kind)));
            }
            let mut again = question.again;
            for stream in question.streams {
                self.scene.note(What::AnnounceUnknown { stream: stream.as_str().into() });
                if self.producer.dice.random_bool(0.5) {
                    again.push_back(stream);
                }
            }
            self.again(again);
        }
        for batch in std::mem::take(&mut self.producer.waiting) {
            self.put_producer(self.now + AGAIN, Timer::Again(batch));
        }
    }

    fn again(&mut self, streams: VecDeque<String>) {
        if !streams.is_empty() {
            self.put_producer(self.now + AGAIN, Timer::Again(Batch::Streams(streams)));
        }
    }
}

/// The producers, as the director knows them.
pub(super) struct Producers(pub(super) Rc<RefCell<State>>);

impl Orders for Producers {
    fn tell(&self, order: Order) {
        let batch = match order {
            Order::Announce(streams) => Batch::Streams(streams.into()),
            Order::Malformed(kind) => Batch::Malformed(kind),
            // No plan that fits has messages.
            Order::Send(..) => return,
        };
        self.0.borrow_mut().announce(batch);
    }
}
