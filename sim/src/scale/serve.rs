//! What servers do in a scaled world: one thing after the other, each for as long as it costs.

use std::time::Duration;

use streamkeeper_core::{
    id::CallId,
    streams::{Answer, Call},
    trouble::Trouble,
};

use super::{
    costs::span,
    fleet::stream,
    server::{Executed, Pushes, Request, Waiting, What},
    traffic::Tally,
    world::{Due, World},
};

/// So many announcements go to a server in one write.
const ANNOUNCED_AT_ONCE: usize = 1_000;

/// An answer to a call of a node, and how many round trips it takes beyond the first.
type Reply = (usize, CallId, Result<Answer, Trouble>, u64);

impl World<'_> {
    /// A server that has nothing to do begins with what has waited longest.
    pub(crate) fn serve(&mut self, shard: usize) {
        if self.shards[shard].is_busy {
            return;
        }
        let Some(Request { since, what }) = self.shards[shard].next() else { return };
        let waited = self.now.since(since);
        let mut tally = Tally { calls: 1, items: 1, commands: 1, ..Tally::default() };
        let (mut answers, mut announcer): (Vec<Reply>, _) = (Vec::new(), None);
        let kind = match what {
            What::Call(node, id, call) => {
                let Executed { answer, commands, words, listed } =
                    self.shards[shard].execute(&self.nodes[node].protocol, &call, self.now);
                let costs = &self.fleet.costs;
                tally.micros = costs.of_call(&call, answer.as_ref().ok(), commands, listed);
                (tally.items, tally.commands, tally.words) = (items(&call, &answer), commands, words);
                let kind = call.name();
                match (&call, &answer) {
                    (Call::Read { block, .. }, Ok(Answer::Read(found))) if found.is_empty() => {
                        self.wait(shard, node, id, call.clone(), *block);
                    }
                    _ => answers.push((node, id, answer, commands.saturating_sub(1))),
                }
                kind
            }
            What::Announce(partition, numbers) => {
                for number in &numbers {
                    self.shards[shard].announce(&self.keys[partition], &stream(*number), self.now);
                }
                (tally.items, tally.commands) = (numbers.len() as u64, numbers.len() as u64);
                tally.micros = numbers.len() as f64 * self.fleet.costs.announce_us;
                self.serve_waiting(shard, partition, &mut tally, &mut answers);
                announcer = Some(partition);
                "announce"
            }
            What::Cycle => {
                self.shards[shard].look_for_lapsed(self.now);
                "cycle"
            }
        };
        let pushes = self.shards[shard].published();
        tally.micros += pushes.iter().map(|(partition, pushes)| self.cost_of(*partition, pushes)).sum::<f64>();
        let done = self.now + span(tally.micros);
        self.traffic.note(shard, kind, &tally, waited, self.now);
        self.shards[shard].is_busy = true;
        self.agenda.put(done, Due::Finished(shard));
        let latency = self.fleet.costs.latency();
        for (node, id, answer, trips) in answers {
            let trips = u32::try_from(trips).unwrap_or(u32::MAX);
            self.agenda.put(done + latency + latency * 2 * trips, Due::Answer(node, id, answer));
        }
        for (partition, pushes) in pushes {
            self.agenda.put(done + latency, Due::Push(partition, pushes.events.into()));
        }
        if let Some(partition) = announcer {
            self.agenda.put(done + latency, Due::Announce(partition));
        }
    }

    /// What it takes a server to tell all subscribers of a partition.
    fn cost_of(&self, partition: usize, pushes: &Pushes) -> f64 {
        let of = |consumer: usize| &self.nodes[consumer * self.fleet.partitions + partition];
        let listeners = (0..self.fleet.consumers).filter(|consumer| of(*consumer).listens()).count() as f64;
        let costs = &self.fleet.costs;
        let (lapsed, rings) = (pushes.lapsed as f64, pushes.rings as f64);
        lapsed * (costs.lapse_us + listeners * costs.push_us) + rings * listeners * costs.ring_us
    }

    /// A node waits for announcements.
    fn wait(&mut self, shard: usize, node: usize, id: CallId, call: Call, block: Duration) {
        let partition = self.nodes[node].partition;
        self.shards[shard].waiting.push_back(Waiting { node, partition, id, call });
        self.agenda.put(self.now + block, Due::ReadOver(node, id));
    }

    /// Something was announced: who waits for it is served, in the order in which they came.
    fn serve_waiting(&mut self, shard: usize, partition: usize, tally: &mut Tally, answers: &mut Vec<Reply>) {
        let mut at = 0;
        while let Some(waiting) = self.shards[shard].waiting.get(at) {
            let (node, id) = (waiting.node, waiting.id);
            if waiting.partition != partition {
                at += 1;
                continue;
            }
            let Some(Waiting { call, .. }) = self.shards[shard].waiting.remove(at) else { return };
            if !self.nodes[node].waits_for(id) {
                continue; // its connection is gone
            }
            let executed = self.shards[shard].execute(&self.nodes[node].protocol, &call, self.now);
            if matches!(&executed.answer, Ok(Answer::Read(found)) if found.is_empty()) {
                let partition = self.nodes[node].partition;
                self.shards[shard].waiting.insert(at, Waiting { node, partition, id, call });
                return;
            }
            tally.micros += self.fleet.costs.command_us + self.fleet.costs.read_us;
            answers.push((node, id, executed.answer, 0));
        }
    }

    /// A wait for announcements is over, if it still lasts.
    pub(crate) fn end_wait(&mut self, node: usize, id: CallId) {
        let shard = self.nodes[node].partition % self.fleet.shards;
        let waiting = &mut self.shards[shard].waiting;
        let Some(at) = waiting.iter().position(|waiting| waiting.node == node && waiting.id == id) else { return };
        waiting.remove(at);
        let answer = Ok(Answer::Read(Vec::new()));
        self.agenda.put(self.now + self.fleet.costs.latency(), Due::Answer(node, id, answer));
    }

    /// The next announcements of a partition are on their way.
    pub(crate) fn announce(&mut self, partition: usize) {
        let left = &mut self.unannounced[partition];
        if left.is_empty() {
            return;
        }
        let mut numbers = left.split_off(left.len().saturating_sub(ANNOUNCED_AT_ONCE));
        numbers.reverse();
        let arrival = self.now + self.fleet.costs.latency();
        let request = Request { since: arrival, what: What::Announce(partition, numbers) };
        self.agenda.put(arrival, Due::Arrive(partition % self.fleet.shards, request));
    }
}

/// How many things a call was about.
fn items(call: &Call, answer: &Result<Answer, Trouble>) -> u64 {
    let items = match (call, answer) {
        (Call::Renew(call), _) => call.items.len(),
        (Call::Acquire(call), _) => call.items.len(),
        (Call::Look(entries) | Call::Ring { entries, .. }, _) => entries.len(),
        (Call::Release(items), _) => items.len(),
        (_, Ok(Answer::Read(found) | Answer::Taken { deliveries: found, .. })) => found.len(),
        (_, Ok(Answer::Reaped { idle, .. })) => idle.len(),
        (_, Ok(Answer::Mine(entries))) => entries.len(),
        _ => 1,
    };
    items as u64
}
