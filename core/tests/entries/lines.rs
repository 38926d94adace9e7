//! The network of a world: connections, and calls and answers on them, which are delayed, lost, and executed late.

use std::time::Duration;

use streamkeeper_core::{
    entries::{Answer, Call, Event, Link, link_of},
    id::CallId,
    trouble::Trouble,
};

use super::world::{Blocked, Thing, World};

impl World {
    pub(crate) fn call(&mut self, node: usize, id: CallId, call: Call) {
        let link = link_of(&call);
        let reads = |(other, _): &(Link, u32)| *other == Link::Reader;
        let twice = link == Link::Reader && self.nodes[node].asked.values().any(reads);
        assert!(!twice, "two calls over the reader's connection");
        let Some(connection) = self.nodes[node].up[link as usize] else {
            let trouble = Trouble::connection("not connected");
            return self.later(Duration::ZERO, Thing::Tell(node, Event::Answered(id, Err(trouble))));
        };
        let blocks = match &call {
            Call::Wait { block, .. } => *block,
            _ => Duration::ZERO,
        };
        self.nodes[node].asked.insert(id, (link, connection));
        self.later(self.config.call_timeout + blocks, Thing::GivesUp(node, id));
        if self.is_lost(node) {
            return;
        }
        let pause = self.latency();
        self.later(pause, Thing::Arrives(node, id, call, connection));
    }

    fn is_lost(&mut self, node: usize) -> bool {
        self.nodes[node].cut_until > self.now && self.roll(2) == 0
    }

    pub(crate) fn connect(&mut self, node: usize, link: Link) {
        self.break_link(node, link, None);
        self.connections += 1;
        let (connection, pause) = (self.connections, self.latency());
        self.later(pause, Thing::Connected(node, link, connection));
        self.nodes[node].connecting[link as usize] = Some(connection);
    }

    pub(crate) fn connected(&mut self, node: usize, link: Link, connection: u32) {
        if self.nodes[node].connecting[link as usize] != Some(connection) {
            return;
        }
        self.nodes[node].connecting[link as usize] = None;
        let event = if self.outage_until > self.now || self.nodes[node].cut_until > self.now {
            Event::Disconnected(link, Trouble::connection("connection refused"))
        } else {
            self.nodes[node].up[link as usize] = Some(connection);
            Event::Connected(link)
        };
        self.tell(node, event);
    }

    /// A connection breaks. What was asked over it is answered with that; `told`: the node is told of it besides, before
    /// or after.
    pub(crate) fn break_link(&mut self, node: usize, link: Link, told: Option<bool>) {
        if self.nodes[node].up[link as usize].take().is_none() {
            return;
        }
        let lost = Trouble::connection("connection reset");
        let tell = |world: &mut World, first: bool| {
            if told == Some(first) {
                world.later(Duration::ZERO, Thing::Tell(node, Event::Disconnected(link, lost.clone())));
            }
        };
        tell(self, true);
        let over = self.nodes[node].asked.iter().filter(|(_, (other, _))| *other == link).map(|(id, _)| *id);
        for id in over.collect::<Vec<_>>() {
            self.nodes[node].asked.remove(&id);
            self.later(Duration::ZERO, Thing::Tell(node, Event::Answered(id, Err(lost.clone()))));
        }
        tell(self, false);
    }

    /// A call arrives. One whose connection broke meanwhile may still be executed.
    pub(crate) fn arrives(&mut self, node: usize, id: CallId, call: Call, connection: u32) {
        let broken = self.nodes[node].up[link_of(&call) as usize] != Some(connection);
        if self.outage_until > self.now || (broken && self.roll(2) == 0) {
            return;
        }
        let result = match &call {
            Call::Wait { streams, block } if !block.is_zero() => match self.redis.news(streams) {
                Ok(news) if news.is_empty() => {
                    let until = self.now + *block;
                    self.blocked.insert(connection, Blocked { node, id, streams: streams.clone(), until });
                    return self.later(Duration::from_millis(2), Thing::Serve(connection));
                }
                news => news.map(Answer::Waited),
            },
            Call::Identify if !self.redis.no_client => Ok(Answer::Identified(Some(u64::from(connection)))),
            Call::Wake { client } if !self.redis.no_client => {
                let blocked = u32::try_from(*client).ok().and_then(|client| self.blocked.remove(&client));
                let woken = blocked.is_some();
                if let Some(Blocked { node, id, .. }) = blocked {
                    self.answer(node, id, Ok(Answer::Waited(Vec::new())));
                }
                Ok(Answer::Woken(Some(woken)))
            }
            call => self.execute(call),
        };
        self.answer(node, id, result);
    }

    /// Who waits is answered when there is something, or when it has waited for long enough.
    pub(crate) fn serve(&mut self, connection: u32) {
        let Some(Blocked { node, id, streams, until }) = self.blocked.remove(&connection) else { return };
        if self.nodes[node].up[Link::Reader as usize] != Some(connection) || self.outage_until > self.now {
            return;
        }
        let news = self.redis.news(&streams);
        if news == Ok(Vec::new()) && self.now < until {
            self.blocked.insert(connection, Blocked { node, id, streams, until });
            return self.later(Duration::from_millis(2), Thing::Serve(connection));
        }
        self.answer(node, id, news.map(Answer::Waited));
    }

    fn answer(&mut self, node: usize, id: CallId, result: Result<Answer, Trouble>) {
        if self.is_lost(node) {
            return;
        }
        let pause = self.latency();
        self.later(pause, Thing::Answer(node, id, result.clone()));
        if self.roll(200) == 0 {
            self.later(pause * 2, Thing::Tell(node, Event::Answered(id, result))); // twice
        }
    }

    pub(crate) fn latency(&mut self) -> Duration {
        let micros = if self.roll(50) == 0 { 100_000 } else { 1_000 };
        Duration::from_micros(50 + self.roll(micros))
    }
}
