//! Temporary: the keyspace alone.
use std::{collections::VecDeque, time::Duration};

use streamkeeper_sim::redis::data::{self, Context, Db, Done};
use streamkeeper_sim::redis::reply::Reply;

use crate::{
    side::{Got, Side},
    value::Value,
};

pub(crate) struct Keyspace {
    db: Db,
    cx: Context,
    resp3: bool,
    out: VecDeque<Value>,
    listener: VecDeque<Value>,
}

impl Keyspace {
    pub(crate) fn new() -> Self {
        Self {
            db: Db::new(1),
            cx: Context::new(1_790_000_000_000_000, 1),
            resp3: false,
            out: VecDeque::new(),
            listener: VecDeque::new(),
        }
    }
    fn convert(&self, reply: Reply) -> Value {
        let all = |items: Vec<Reply>| items.into_iter().map(|r| self.convert(r)).collect::<Vec<_>>();
        let b = |t: &str| Value::Bulk(t.as_bytes().to_vec());
        #[allow(unreachable_patterns)]
        match reply {
            Reply::Status(s) => Value::Status(s.to_vec()),
            Reply::Error(e) => Value::Error(e.into_bytes()),
            Reply::Int(n) => Value::Int(n),
            Reply::Bulk(s) => Value::Bulk(s.to_vec()),
            Reply::Nil if self.resp3 => Value::Null,
            Reply::NilArray if self.resp3 => Value::Null,
            Reply::Nil => Value::NilBulk,
            Reply::NilArray => Value::NilArray,
            Reply::Array(i) => Value::Array(all(i)),
            Reply::Map(p) if self.resp3 => {
                Value::Map(p.into_iter().map(|(k, v)| (self.convert(k), self.convert(v))).collect())
            }
            Reply::Map(p) => {
                Value::Array(p.into_iter().flat_map(|(k, v)| [self.convert(k), self.convert(v)]).collect())
            }
            Reply::Set(i) if self.resp3 => Value::Set(all(i)),
            Reply::Set(i) => Value::Array(all(i)),
            Reply::Double(d) => b(&d.to_string()),
            Reply::Verbatim(v) => Value::Bulk(v.to_vec()),
            Reply::Push(i) => Value::Push(all(i)),
            other => self.other(other),
        }
    }
    fn other(&self, reply: Reply) -> Value {
        match reply {
            Reply::MapOfPairs(p) if self.resp3 => {
                Value::Map(p.into_iter().map(|(k, v)| (self.convert(k), self.convert(v))).collect())
            }
            Reply::MapOfPairs(p) => {
                Value::Array(p.into_iter().map(|(k, v)| Value::Array(vec![self.convert(k), self.convert(v)])).collect())
            }
            Reply::Pairs(p) if self.resp3 => {
                Value::Array(p.into_iter().map(|(k, v)| Value::Array(vec![self.convert(k), self.convert(v)])).collect())
            }
            Reply::Pairs(p) => {
                Value::Array(p.into_iter().flat_map(|(k, v)| [self.convert(k), self.convert(v)]).collect())
            }
            _ => Value::Masked("?".into()),
        }
    }
    fn events(&mut self) {
        for e in std::mem::take(&mut self.cx.events) {
            if e.class == 'n' || e.class == 'm' {
                continue;
            }
            let b = |t: &str| Value::Bulk(t.as_bytes().to_vec());
            self.listener.push_back(Value::Array(vec![
                b("pmessage"),
                b("*"),
                Value::Bulk([b"__keyspace@0__:", &e.key[..]].concat()),
                b(e.name),
            ]));
        }
    }
}

impl Side for Keyspace {
    fn send(&mut self, client: &str, bytes: &[u8]) {
        let Some((Value::Array(words), _)) = Value::parse(bytes) else { panic!() };
        let words: Vec<bytes::Bytes> = words
            .into_iter()
            .map(|w| match w {
                Value::Bulk(b) => b.into(),
                _ => panic!(),
            })
            .collect();
        let b = |t: &str| Value::Bulk(t.as_bytes().to_vec());
        self.cx.set_now(self.cx.now_us + 50);
        let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
        let value = match name.as_str() {
            "DEBUG" | "CONFIG" => Value::Status(b"OK".to_vec()),
            "PSUBSCRIBE" => {
                self.listener.push_back(Value::Array(vec![b("psubscribe"), b("*"), Value::Int(1)]));
                return;
            }
            "HELLO" => {
                self.resp3 = words[1] == "3";
                let p = vec![
                    (Reply::bulk("server"), Reply::bulk("redis")),
                    (Reply::bulk("version"), Reply::bulk("redis")),
                    (Reply::bulk("proto"), Reply::Int(if self.resp3 { 3 } else { 2 })),
                    (Reply::bulk("id"), Reply::Int(1)),
                    (Reply::bulk("mode"), Reply::bulk("standalone")),
                    (Reply::bulk("role"), Reply::bulk("master")),
                    (Reply::bulk("modules"), Reply::Array(vec![])),
                ];
                self.convert(Reply::Map(p))
            }
            _ => match data::execute(&mut self.db, &mut self.cx, &words) {
                None => Value::Masked(format!("no such command {words:?}")),
                Some(Done::Reply(r)) => self.convert(r),
                Some(Done::Block { .. }) => self.convert(Reply::NilArray),
            },
        };
        assert_eq!(client, "c1");
        self.events();
        self.out.push_back(value);
    }
    fn read(&mut self, client: &str, _: Duration) -> Got {
        let q = if client == "c1" { &mut self.out } else { &mut self.listener };
        q.pop_front().map_or(Got::Nothing, Got::Value)
    }
    fn settle(&mut self) {}
    fn wait(&mut self, span: Duration) {
        self.cx.set_now(self.cx.now_us + span.as_micros() as u64);
    }
    fn restart(&mut self) {}
    fn hang_up(&mut self, _: &str) {}
    fn reset(&mut self) {
        *self = Self {
            db: Db::new(1),
            cx: Context::new(self.cx.now_us, 1),
            resp3: false,
            out: VecDeque::new(),
            listener: VecDeque::new(),
        };
    }
}
