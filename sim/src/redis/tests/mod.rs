//! What the server does, told as conversations. The words of the answers are those of a Redis 7.0.15, which the
//! conformance suite also asks.

mod chance;
mod data_loss;
mod faults;
mod messages;
mod scripts;
mod served;
mod servers;
mod sessions;
mod time;
mod touched;
mod waiting;

use std::time::Duration;

use bytes::Bytes;
use streamkeeper::Time;

use super::{ConnId, Executed, Output, Redis, Touched};
use crate::plan::{Persistence, RedisFault, RedisPlan};

/// A server, and what came out of it by connection.
struct Talk {
    redis: Redis,
    now: Time,
    heard: Vec<(ConnId, String)>,
    executed: Vec<Executed>,
    touched: Vec<Touched>,
}

impl Talk {
    fn new() -> Talk {
        Talk::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut RedisPlan)) -> Talk {
        let mut plan =
            RedisPlan { persistence: Persistence::None, other_keys: 0, notify: String::new(), ..RedisPlan::default() };
        set(&mut plan);
        Talk {
            redis: Redis::new(&plan, 7, Time::ZERO),
            now: Time::ZERO,
            heard: Vec::new(),
            executed: Vec::new(),
            touched: Vec::new(),
        }
    }

    fn connect(&mut self) -> ConnId {
        let conn = self.redis.accept(self.now);
        self.collect();
        conn
    }

    /// Sends lines; what is heard on this connection thereupon, with `|` for the ends of lines, and `closed` at the end.
    fn ask(&mut self, conn: ConnId, lines: &str) -> String {
        self.tell(conn, lines);
        self.hear(conn)
    }

    fn tell(&mut self, conn: ConnId, lines: &str) {
        self.redis.receive(conn, format!("{lines}\r\n").as_bytes(), self.now);
        self.collect();
    }

    /// What has been heard on a connection since it was last asked for.
    fn hear(&mut self, conn: ConnId) -> String {
        let (its, others) = std::mem::take(&mut self.heard).into_iter().partition(|(from, _)| *from == conn);
        self.heard = others;
        let its: Vec<(ConnId, String)> = its;
        its.into_iter().map(|(_, text)| text).collect()
    }

    /// Time passes, as a stage lets it pass; how often the server woke up.
    fn wait(&mut self, ms: u64) -> usize {
        let until = self.now + Duration::from_millis(ms);
        let mut woken = 0;
        while let Some(at) = self.redis.wake_at().filter(|at| *at <= until) {
            assert!(at >= self.now && woken < 1000, "it does not come to rest");
            self.now = at;
            self.redis.tick(at);
            self.collect();
            woken += 1;
        }
        self.now = until;
        self.redis.advance(until);
        self.collect();
        woken
    }

    fn inject(&mut self, fault: RedisFault) {
        self.redis.inject(&fault, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.redis.poll() {
            match output {
                Output::Send(conn, bytes) => {
                    self.heard.push((conn, String::from_utf8_lossy(&bytes).replace("\r\n", "|")));
                }
                Output::Close(conn) => self.heard.push((conn, "closed".to_owned())),
                Output::Executed(executed) => self.executed.push(executed),
                Output::Touched(touched) => self.touched.push(touched),
                Output::AnswerLost(_) => {}
            }
        }
    }
}

/// The value of a line of INFO.
fn info(talk: &mut Talk, name: &str) -> String {
    let super::reply::Reply::Verbatim(text) = talk.redis.command(["INFO"]) else { panic!("no text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has no {name}")).to_owned()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
