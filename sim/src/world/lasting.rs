//! Faults of the network that last and overlap: a way is open again when the last fault that closes it is over.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    plan::Way,
    stage::{Between, Course},
};

/// What holds bytes back between hosts and servers at present.
#[derive(Default)]
pub(crate) struct Lasting {
    ways: BTreeMap<(Between, Kind), Ways>,
    slow: BTreeMap<Between, Vec<Duration>>,
}

/// How bytes are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nothing passes, and connections die.
    Partition,
    /// What is held back arrives afterwards.
    Stall,
}

/// How many faults close each way.
#[derive(Default)]
struct Ways {
    out: u32,
    into: u32,
}

impl Lasting {
    /// One more fault closes this way between a host and a server.
    pub(crate) fn close(&mut self, stage: &mut dyn Course, between: Between, kind: Kind, way: Way) {
        let ways = self.ways.entry((between, kind)).or_default();
        let before = (ways.out > 0, ways.into > 0);
        ways.out += u32::from(way != Way::In);
        ways.into += u32::from(way != Way::Out);
        switch(stage, between, kind, before, (ways.out > 0, ways.into > 0));
    }

    /// One of them is over.
    pub(crate) fn open(&mut self, stage: &mut dyn Course, between: Between, kind: Kind, way: Way) {
        let ways = self.ways.entry((between, kind)).or_default();
        let before = (ways.out > 0, ways.into > 0);
        ways.out = ways.out.saturating_sub(u32::from(way != Way::In));
        ways.into = ways.into.saturating_sub(u32::from(way != Way::Out));
        switch(stage, between, kind, before, (ways.out > 0, ways.into > 0));
    }

    /// One more fault slows them down: the slowest counts.
    pub(crate) fn slow(&mut self, stage: &mut dyn Course, between: Between, by: Duration) {
        let slow = self.slow.entry(between).or_default();
        slow.push(by);
        stage.slow(between, slow.iter().max().copied().unwrap_or_default());
    }

    /// One of them is over.
    pub(crate) fn hasten(&mut self, stage: &mut dyn Course, between: Between, by: Duration) {
        let slow = self.slow.entry(between).or_default();
        if let Some(place) = slow.iter().position(|other| *other == by) {
            slow.remove(place);
        }
        stage.slow(between, slow.iter().max().copied().unwrap_or_default());
    }
}

/// Switches the ways, out and in, that have changed.
fn switch(stage: &mut dyn Course, between: Between, kind: Kind, before: (bool, bool), after: (bool, bool)) {
    let way = match (before.0 != after.0, before.1 != after.1) {
        (true, true) => Way::Both,
        (true, false) => Way::Out,
        (false, true) => Way::In,
        (false, false) => return,
    };
    let on = if way == Way::In { after.1 } else { after.0 };
    match kind {
        Kind::Partition => stage.partition(between, way, on),
        Kind::Stall => stage.stall(between, way, on),
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper::Time;

    use super::*;
    use crate::stage::{HostId, REDIS};

    /// Only remembers how the ways of host 1 stand.
    #[derive(Default)]
    struct Ways {
        partition: [bool; 2],
        stall: [bool; 2],
        slow: Duration,
        switched: u32,
    }

    fn set(ways: &mut [bool; 2], way: Way, on: bool) {
        *ways = [if way == Way::In { ways[0] } else { on }, if way == Way::Out { ways[1] } else { on }];
    }

    impl Course for Ways {
        fn partition(&mut self, _: Between, way: Way, on: bool) {
            set(&mut self.partition, way, on);
            self.switched += 1;
        }
        fn stall(&mut self, _: Between, way: Way, on: bool) {
            set(&mut self.stall, way, on);
            self.switched += 1;
        }
        fn slow(&mut self, _: Between, by: Duration) {
            self.slow = by;
        }
        fn now(&self) -> Time {
            Time::ZERO
        }
        fn run_until(&mut self, _: Time) {}
        fn start(&mut self, _: HostId) {}
        fn crash(&mut self, _: HostId) {}
        fn freeze(&mut self, _: HostId, _: Time) {}
        fn reset(&mut self, _: Between) {}
        fn panics(&mut self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_way_opens_with_the_last_fault_that_closed_it() {
        let (mut stage, mut lasting) = (Ways::default(), Lasting::default());
        lasting.close(&mut stage, (1, REDIS), Kind::Partition, Way::Out);
        assert_eq!(stage.partition, [true, false]);
        lasting.close(&mut stage, (1, REDIS), Kind::Partition, Way::Both);
        assert_eq!(stage.partition, [true, true]);
        lasting.close(&mut stage, (1, REDIS), Kind::Stall, Way::In);
        assert_eq!((stage.partition, stage.stall), ([true, true], [false, true]));
        lasting.open(&mut stage, (1, REDIS), Kind::Partition, Way::Out);
        assert_eq!(stage.partition, [true, true]);
        lasting.open(&mut stage, (1, REDIS), Kind::Partition, Way::Both);
        assert_eq!((stage.partition, stage.stall), ([false, false], [false, true]));
        lasting.open(&mut stage, (1, REDIS), Kind::Stall, Way::In);
        assert_eq!((stage.stall, stage.switched), ([false, false], 5));
    }

    #[test]
    fn of_two_that_slow_down_the_slower_counts() {
        let (mut stage, mut lasting) = (Ways::default(), Lasting::default());
        let ms = Duration::from_millis;
        lasting.slow(&mut stage, (1, REDIS), ms(50));
        lasting.slow(&mut stage, (1, REDIS), ms(20));
        assert_eq!(stage.slow, ms(50));
        lasting.hasten(&mut stage, (1, REDIS), ms(50));
        assert_eq!(stage.slow, ms(20));
        lasting.hasten(&mut stage, (1, REDIS), ms(20));
        assert_eq!(stage.slow, Duration::ZERO);
    }
}
