//! Faults of the network that last and overlap: a way is open again when the last fault that closes it is over.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    plan::Way,
    stage::{HostId, Stage},
};

/// What holds bytes back between hosts and the server at present.
#[derive(Default)]
pub(crate) struct Lasting {
    ways: BTreeMap<(HostId, Kind), Ways>,
    slow: BTreeMap<HostId, Vec<Duration>>,
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
    /// One more fault closes this way of a host.
    pub(crate) fn close(&mut self, stage: &mut dyn Stage, host: HostId, kind: Kind, way: Way) {
        let ways = self.ways.entry((host, kind)).or_default();
        let before = (ways.out > 0, ways.into > 0);
        ways.out += u32::from(way != Way::In);
        ways.into += u32::from(way != Way::Out);
        switch(stage, host, kind, before, (ways.out > 0, ways.into > 0));
    }

    /// One of them is over.
    pub(crate) fn open(&mut self, stage: &mut dyn Stage, host: HostId, kind: Kind, way: Way) {
        let ways = self.ways.entry((host, kind)).or_default();
        let before = (ways.out > 0, ways.into > 0);
        ways.out = ways.out.saturating_sub(u32::from(way != Way::In));
        ways.into = ways.into.saturating_sub(u32::from(way != Way::Out));
        switch(stage, host, kind, before, (ways.out > 0, ways.into > 0));
    }

    /// One more fault slows a host down: the slowest counts.
    pub(crate) fn slow(&mut self, stage: &mut dyn Stage, host: HostId, by: Duration) {
        let slow = self.slow.entry(host).or_default();
        slow.push(by);
        stage.slow(host, slow.iter().max().copied().unwrap_or_default());
    }

    /// One of them is over.
    pub(crate) fn hasten(&mut self, stage: &mut dyn Stage, host: HostId, by: Duration) {
        let slow = self.slow.entry(host).or_default();
        if let Some(place) = slow.iter().position(|other| *other == by) {
            slow.remove(place);
        }
        stage.slow(host, slow.iter().max().copied().unwrap_or_default());
    }
}

/// Switches the ways, out and in, that have changed.
fn switch(stage: &mut dyn Stage, host: HostId, kind: Kind, before: (bool, bool), after: (bool, bool)) {
    let way = match (before.0 != after.0, before.1 != after.1) {
        (true, true) => Way::Both,
        (true, false) => Way::Out,
        (false, true) => Way::In,
        (false, false) => return,
    };
    let on = if way == Way::In { after.1 } else { after.0 };
    match kind {
        Kind::Partition => stage.partition(host, way, on),
        Kind::Stall => stage.stall(host, way, on),
    }
}
