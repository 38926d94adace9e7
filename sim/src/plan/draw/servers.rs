//! Several servers in a drawn plan: what befalls them, besides what befalls one.

use super::{
    Profile,
    dice::Dice,
    faults::{self, Feature, Fleet, now, redis},
};
use crate::plan::{Action, Plan, RedisFault, ServerName, Servers, Timed, Topology, Way};

/// Behind sentinels.
const SENTINEL: [Feature; 9] = [
    Feature { name: "switch", percent: 60, most: 4, strike: |d, f| redis(switch(d, f, false)) },
    Feature { name: "switch alive", percent: 40, most: 3, strike: |d, f| redis(switch(d, f, true)) },
    Feature { name: "cut sentinel", percent: 25, most: 4, strike: |d, f| cut(d, f, sentinel) },
    Feature { name: "cut server", percent: 20, most: 3, strike: |d, f| cut(d, f, server_of_two) },
    Feature { name: "freeze sentinel", percent: 20, most: 4, strike: |d, f| freeze(d, f, sentinel) },
    Feature { name: "freeze server", percent: 15, most: 3, strike: |d, f| freeze(d, f, server_of_two) },
    Feature { name: "kill sentinel", percent: 25, most: 4, strike: |d, f| kill(d, f, sentinel) },
    Feature { name: "kill server", percent: 15, most: 3, strike: |d, f| kill(d, f, server_of_two) },
    Feature { name: "detach", percent: 30, most: 3, strike: |d, f| redis(RedisFault::Detach { ms: f.length_ms(d) }) },
];

/// In a cluster.
const CLUSTER: [Feature; 8] = [
    Feature { name: "switch", percent: 45, most: 3, strike: |d, f| redis(switch(d, f, false)) },
    Feature { name: "switch alive", percent: 30, most: 3, strike: |d, f| redis(briefly(switch(d, f, true), f)) },
    Feature {
        name: "move slot",
        percent: 60,
        most: 5,
        strike: |d, f| redis(RedisFault::MoveSlot { ms: if d.chance(40) { 0 } else { f.length_ms(d) } }),
    },
    Feature {
        name: "stale",
        percent: 40,
        most: 4,
        strike: |d, f| redis(RedisFault::Stale { server: server_of_three(d), ms: f.length_ms(d) }),
    },
    Feature { name: "cut server", percent: 20, most: 3, strike: |d, f| cut(d, f, server_of_three) },
    Feature { name: "freeze server", percent: 15, most: 3, strike: |d, f| freeze(d, f, server_of_three) },
    Feature { name: "kill server", percent: 20, most: 3, strike: |d, f| kill(d, f, server_of_three) },
    Feature { name: "detach", percent: 25, most: 3, strike: |d, f| redis(RedisFault::Detach { ms: f.length_ms(d) }) },
];

/// Makes a plan for one server one for several.
pub(super) fn spread(seed: u64, topology: Topology, plan: &mut Plan) {
    let mut dice = Dice::new(seed, "servers");
    let heartbeat_ms = plan.consumers.iter().map(|consumer| consumer.heartbeat_ms).min().unwrap_or(1_000);
    let wait_ms = dice.chance(40).then(|| dice.between(1, heartbeat_ms / 4));
    plan.servers = Servers { topology, wait_ms };
    for consumer in &mut plan.consumers {
        // They know one server.
        consumer.go = false;
    }
    let fleet = Fleet {
        size: plan.consumers.len() as u64,
        ttl_ms: plan.consumers.iter().map(|consumer| consumer.ttl_ms).min().unwrap_or_default(),
        streams: plan.announced().max(1),
    };
    for timed in &mut plan.actions {
        if matches!(timed.action, Action::Redis(RedisFault::Failover { .. })) {
            timed.action = Action::Redis(switch(&mut dice, &fleet, false));
        }
    }
    let features: &[Feature] = if topology == Topology::Cluster { &CLUSTER } else { &SENTINEL };
    let mut note = |_: &mut Dice, at, _| Timed { at, action: Action::Note("here".to_owned()) };
    let mut more = faults::draw_from(features, seed, Profile::Swarm, plan, &fleet, &mut note);
    more.retain(|timed| !matches!(timed.action, Action::Note(_)));
    plan.actions.extend(more);
}

/// Who goes on alone does so for less than a lease mostly.
fn switch(dice: &mut Dice, fleet: &Fleet, alive: bool) -> RedisFault {
    let after_ms = if alive { dice.scaled(1, 300) } else { fleet.down_ms(dice) };
    let longest_ms = if dice.chance(30) { fleet.ttl_ms } else { fleet.ttl_ms / 2 };
    let spread_ms = dice.scaled(1, longest_ms);
    let more_ms = if dice.chance(75) { dice.between(0, fleet.ttl_ms / 2) } else { dice.between(0, fleet.ttl_ms * 3) };
    // Now and then the former primary is a replica before all have heard of it.
    let ms = after_ms + if dice.chance(60) { spread_ms } else { 0 } + more_ms;
    RedisFault::Switch { ms, after_ms, spread_ms, alive }
}

/// In a cluster nobody publishes that another node is the primary: one that is alone stops by itself
/// (`cluster-node-timeout`), or two would serve for as long as they are not told.
fn briefly(fault: RedisFault, fleet: &Fleet) -> RedisFault {
    match fault {
        RedisFault::Switch { ms, after_ms, spread_ms, alive } => {
            RedisFault::Switch { ms: ms.min(after_ms + fleet.ttl_ms / 2), after_ms, spread_ms, alive }
        }
        other => other,
    }
}

fn sentinel(dice: &mut Dice) -> ServerName {
    ServerName::Sentinel(dice.between(0, 2) as usize)
}

fn server_of_two(dice: &mut Dice) -> ServerName {
    ServerName::Data(dice.between(0, 1) as usize)
}

fn server_of_three(dice: &mut Dice) -> ServerName {
    ServerName::Data(dice.between(0, 2) as usize)
}

fn cut(dice: &mut Dice, fleet: &Fleet, which: fn(&mut Dice) -> ServerName) -> Vec<(u64, Action)> {
    let (server, way) = (which(dice), dice.pick(&[Way::Both, Way::Both, Way::Out, Way::In]));
    redis(RedisFault::Cut { server, way, ms: fleet.length_ms(dice) })
}

fn freeze(dice: &mut Dice, fleet: &Fleet, which: fn(&mut Dice) -> ServerName) -> Vec<(u64, Action)> {
    redis(RedisFault::Freeze { server: which(dice), ms: fleet.length_ms(dice) })
}

fn kill(dice: &mut Dice, fleet: &Fleet, which: fn(&mut Dice) -> ServerName) -> Vec<(u64, Action)> {
    now(Action::Redis(RedisFault::Kill { server: which(dice), ms: fleet.down_ms(dice) }))
}
