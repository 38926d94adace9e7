//! What must never happen in a world, and what must have happened in the end.

use streamkeeper_core::{
    entries::{Answer, Call},
    id::EntryId,
    trouble::Trouble,
};

use super::{application::is_odd, plan::STREAMS, world::World};

impl World {
    /// A call is executed, and what it has done is judged.
    pub(crate) fn execute(&mut self, call: &Call) -> Result<Answer, Trouble> {
        let result = self.redis.execute(call);
        for stream in 0..STREAMS {
            let position = self.position(stream);
            assert!(position >= self.positions[stream], "{position} after {}", self.positions[stream]);
            self.positions[stream] = position;
            self.judge_set_aside(stream);
        }
        assert!(self.redis.ledger.values().all(|effects| *effects <= 1), "an effect was made twice");
        if matches!(call, Call::Commit(_) | Call::SetAside(_)) {
            self.remember();
        }
        result
    }

    pub(crate) fn position(&self, stream: usize) -> EntryId {
        self.redis.records.get(&self.names[stream]).map_or(EntryId::default(), |record| record.position)
    }

    /// What cannot be decoded is not passed over.
    fn judge_set_aside(&self, stream: usize) {
        let name = &self.names[stream];
        let Some(data) = self.redis.streams.get(name).filter(|_| !self.plan.forgets()) else { return };
        for odd in data.entries.range(..=self.position(stream)).filter(|id| is_odd(**id)) {
            assert!(self.redis.dead.contains(&(name.clone(), *odd)), "{odd} of {name} is passed over");
        }
    }

    pub(crate) fn is_all_done(&self) -> bool {
        (0..STREAMS).all(|stream| {
            let last = self.redis.streams.get(&self.names[stream]).map(|data| data.last);
            last.is_none_or(|last| self.position(stream) == last)
        })
    }

    pub(crate) fn judge_the_end(&self) {
        for stream in 0..STREAMS {
            let name = &self.names[stream];
            let Some(data) = self.redis.streams.get(name) else { panic!("{name} got a last entry") };
            let position = self.position(stream);
            assert_eq!(position, data.last, "{name} is not read to its end");
            if !self.plan.effects[stream] {
                continue;
            }
            for entry in data.entries.iter().filter(|entry| !is_odd(**entry)) {
                let effects = self.redis.ledger.get(format!("{name}:{entry}").as_bytes());
                assert_eq!(effects, Some(&1), "the effect of {entry} of {name}");
            }
        }
        for node in &self.nodes {
            assert!(node.machine.owned() <= STREAMS + 1, "streams that nobody owns");
        }
    }
}
