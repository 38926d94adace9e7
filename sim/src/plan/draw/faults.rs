//! What goes wrong in a drawn plan, and when.

use std::time::Duration;

use super::{Profile, dice::Dice};
use crate::plan::{Action, Plan, Point, RedisFault, Refusal, Timed, Way, Wish, millis};

/// What a plan may suffer from.
pub(super) struct Feature {
    /// Names its dice.
    pub(super) name: &'static str,
    /// In how many of a hundred seeds of an ordinary swarm.
    pub(super) percent: u64,
    /// How many times in a run at most.
    pub(super) most: u64,
    /// One strike, as actions and how long after it each comes.
    pub(super) strike: fn(&mut Dice, &Fleet) -> Vec<(u64, Action)>,
}

/// Whom it may befall.
pub(super) struct Fleet {
    pub(super) size: u64,
    /// How long it takes until those who were cut off are given up.
    pub(super) ttl_ms: u64,
    pub(super) streams: u64,
}

impl Fleet {
    pub(super) fn one(&self, dice: &mut Dice) -> usize {
        dice.between(0, self.size - 1) as usize
    }

    pub(super) fn length_ms(&self, dice: &mut Dice) -> u64 {
        dice.length_ms(self.ttl_ms)
    }

    /// How long Redis is down: as often as not so short that leases are still trusted when it is back.
    pub(super) fn down_ms(&self, dice: &mut Dice) -> u64 {
        if dice.chance(50) { dice.scaled(20, self.ttl_ms * 2 / 3) } else { self.length_ms(dice) }
    }
}

/// Those at the end are what nobody should do to a service: the promises are weaker there, so they are rare.
pub(super) const FEATURES: [Feature; 36] = [
    Feature { name: "crash", percent: 45, most: 10, strike: crash },
    Feature { name: "drain", percent: 30, most: 6, strike: drain },
    Feature { name: "late start", percent: 60, most: 6, strike: start },
    Feature { name: "pause", percent: 40, most: 10, strike: pause },
    Feature { name: "pause at a point", percent: 40, most: 12, strike: pause_at_a_point },
    Feature {
        name: "suspend",
        percent: 15,
        most: 5,
        strike: |d, f| now(Action::Suspend { consumer: f.one(d), ms: f.length_ms(d) }),
    },
    Feature { name: "partition", percent: 25, most: 6, strike: |d, f| partition(d, f, Way::Both) },
    Feature { name: "partition out", percent: 20, most: 6, strike: |d, f| partition(d, f, Way::Out) },
    Feature { name: "partition in", percent: 20, most: 6, strike: |d, f| partition(d, f, Way::In) },
    Feature { name: "zone", percent: 10, most: 2, strike: zone },
    Feature { name: "stall", percent: 20, most: 8, strike: |d, f| stall(d, f, Way::Both) },
    Feature { name: "stall out", percent: 15, most: 8, strike: |d, f| stall(d, f, Way::Out) },
    Feature { name: "stall in", percent: 15, most: 8, strike: |d, f| stall(d, f, Way::In) },
    Feature { name: "reset", percent: 25, most: 12, strike: |d, f| now(Action::Reset { consumer: f.one(d) }) },
    Feature { name: "slow", percent: 15, most: 4, strike: slow },
    Feature { name: "lost answer", percent: 45, most: 16, strike: lose_answer },
    Feature { name: "wish", percent: 35, most: 24, strike: wish },
    Feature { name: "redis crash", percent: 25, most: 4, strike: |d, f| redis(RedisFault::Crash { ms: f.down_ms(d) }) },
    Feature {
        name: "redis restart",
        percent: 12,
        most: 3,
        strike: |d, f| redis(RedisFault::Restart { ms: f.down_ms(d) }),
    },
    Feature { name: "failover", percent: 25, most: 4, strike: |d, f| redis(RedisFault::Failover { ms: f.down_ms(d) }) },
    Feature {
        name: "redis stall",
        percent: 18,
        most: 5,
        strike: |d, f| redis(RedisFault::Stall { ms: f.length_ms(d) }),
    },
    Feature {
        name: "drop messages",
        percent: 20,
        most: 3,
        strike: |d, _| redis(RedisFault::DropMessages { ms: d.scaled(500, 40_000) }),
    },
    Feature { name: "delay messages", percent: 14, most: 3, strike: delay_messages },
    Feature {
        name: "double messages",
        percent: 14,
        most: 3,
        strike: |d, _| redis(RedisFault::DoubleMessages { ms: d.scaled(500, 40_000) }),
    },
    Feature { name: "clear flags", percent: 14, most: 2, strike: |_, _| redis(RedisFault::ClearFlags) },
    Feature { name: "refuse", percent: 45, most: 8, strike: refuse },
    Feature { name: "disconnect", percent: 18, most: 6, strike: |_, _| redis(RedisFault::Disconnect) },
    Feature { name: "forget scripts", percent: 15, most: 5, strike: |_, _| redis(RedisFault::ForgetScripts) },
    Feature { name: "clock", percent: 14, most: 2, strike: clock },
    Feature { name: "group", percent: 9, most: 4, strike: |_, _| redis(RedisFault::DestroyGroup) },
    Feature { name: "lbs", percent: 12, most: 2, strike: lbs },
    Feature { name: "flush all", percent: 6, most: 1, strike: |_, _| redis(RedisFault::FlushAll) },
    Feature { name: "evict", percent: 9, most: 12, strike: |d, _| redis(RedisFault::Evict { nth: d.between(0, 31) }) },
    Feature {
        name: "delete consumer",
        percent: 8,
        most: 2,
        strike: |d, f| redis(RedisFault::DeleteConsumer { consumer: f.one(d) }),
    },
    Feature { name: "redeliver", percent: 6, most: 2, strike: |_, _| redis(RedisFault::Redeliver) },
    Feature {
        name: "wrong type",
        percent: 9,
        most: 4,
        strike: |d, f| redis(RedisFault::WrongType { nth: d.between(0, 31), ms: f.length_ms(d) }),
    },
];

/// The faults of a seed, between the first second and the end.
pub(super) fn draw(seed: u64, profile: Profile, plan: &Plan) -> Vec<Timed> {
    let fleet = Fleet {
        size: plan.consumers.len() as u64,
        ttl_ms: plan.consumers.iter().map(|consumer| consumer.ttl_ms).min().unwrap_or_default(),
        streams: plan.announced().max(1),
    };
    let mut announce = |dice: &mut Dice, at, number| announce(dice, at, number);
    draw_from(&FEATURES, seed, profile, plan, &fleet, &mut announce)
}

/// Faults among these; sometimes with something new, just when something goes wrong.
pub(super) fn draw_from(
    features: &'static [Feature],
    seed: u64,
    profile: Profile,
    plan: &Plan,
    fleet: &Fleet,
    new: &mut dyn FnMut(&mut Dice, Duration, usize) -> Timed,
) -> Vec<Timed> {
    let mut swarm = Dice::new(seed, "swarm");
    // How many kinds this seed has: from one alone to about half of all.
    let (percent, many) = match profile {
        Profile::Calm => (10, false),
        Profile::Swarm => (swarm.pick(&[15, 40, 70, 100, 150]), swarm.chance(50)),
        _ => (300, true),
    };
    let heart = Heart::draw(&mut swarm, plan.heal_at);
    let chances = features.iter().map(|feature| {
        let mut dice = Dice::new(seed, feature.name);
        let on = dice.chance((feature.percent * percent / 100).min(90));
        (feature, dice, on)
    });
    let (mut on, off): (Vec<_>, Vec<_>) = chances.partition(|(_, _, on)| *on);
    if on.is_empty() {
        // One at least: it has the whole run for itself.
        let only = swarm.between(0, off.len() as u64 - 1) as usize;
        on.extend(off.into_iter().nth(only));
    }
    let mut actions = Vec::new();
    for (feature, mut dice, _) in on {
        let most = if many { feature.most } else { (feature.most / 3).max(1) };
        for _ in 0..dice.scaled(1, most) {
            let at = heart.time(&mut dice);
            let strike = (feature.strike)(&mut dice, fleet);
            if dice.chance(25) {
                actions.push(new(&mut dice, at, actions.len()));
            }
            let timed = strike.into_iter().map(|(after_ms, action)| (at + Duration::from_millis(after_ms), action));
            actions.extend(timed.map(|(at, action)| Timed { at, action }));
        }
    }
    actions.retain(|timed| timed.at < plan.heal_at);
    actions
}

/// Something new, just when something goes wrong.
fn announce(dice: &mut Dice, at: Duration, number: usize) -> Timed {
    let at = at.saturating_sub(Duration::from_millis(5)) + Duration::from_millis(dice.between(0, 25));
    let action = Action::Announce { prefix: format!("late-{number}-"), from: 1, count: dice.scaled(1, 8) };
    Timed { at, action }
}

/// When faults strike: anywhere, or around a few moments, so that they meet.
struct Heart {
    moments_ms: Vec<u64>,
    last_ms: u64,
}

impl Heart {
    fn draw(dice: &mut Dice, heal_at: Duration) -> Heart {
        let last_ms = millis(heal_at) - 1_000;
        let moments = if dice.chance(40) { dice.between(1, 5) } else { 0 };
        Heart { moments_ms: (0..moments).map(|_| dice.between(2_000, last_ms)).collect(), last_ms }
    }

    fn time(&self, dice: &mut Dice) -> Duration {
        let ms = match self.moments_ms.is_empty() {
            true => dice.between(500, self.last_ms),
            false => dice.pick(&self.moments_ms) + dice.scaled(1, 4_000),
        };
        Duration::from_millis(ms)
    }
}

pub(super) fn now(action: Action) -> Vec<(u64, Action)> {
    vec![(0, action)]
}

pub(super) fn redis(fault: RedisFault) -> Vec<(u64, Action)> {
    now(Action::Redis(fault))
}

/// Killed, and mostly started again: before its leases have ended, or after.
pub(super) fn crash(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let consumer = fleet.one(dice);
    let start = Action::Start { consumer, renamed: dice.chance(25) };
    let back = (fleet.length_ms(dice), start);
    let mut strike = now(Action::Crash { consumer });
    if dice.chance(85) {
        strike.push(back);
    }
    strike
}

pub(super) fn drain(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let consumer = fleet.one(dice);
    let deadline_ms = dice.scaled(10, 4_000);
    let start = Action::Start { consumer, renamed: dice.chance(25) };
    vec![(0, Action::Drain { consumer, deadline_ms }), (deadline_ms + dice.scaled(100, 10_000), start)]
}

pub(super) fn start(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    now(Action::Start { consumer: fleet.one(dice), renamed: false })
}

pub(super) fn pause(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    now(Action::Pause { consumer: fleet.one(dice), ms: fleet.length_ms(dice), point: Point::Now })
}

pub(super) fn pause_at_a_point(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let point = dice.pick(&[Point::Answer, Point::Answer, Point::Handler, Point::Call]);
    now(Action::Pause { consumer: fleet.one(dice), ms: fleet.length_ms(dice), point })
}

pub(super) fn partition(dice: &mut Dice, fleet: &Fleet, way: Way) -> Vec<(u64, Action)> {
    now(Action::Partition { consumer: fleet.one(dice), way, ms: fleet.length_ms(dice) })
}

/// Several consumers are cut off together.
pub(super) fn zone(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let (from, ms) = (dice.between(0, fleet.size - 1), fleet.length_ms(dice));
    (from..fleet.size).map(|c| (0, Action::Partition { consumer: c as usize, way: Way::Both, ms })).collect()
}

pub(super) fn stall(dice: &mut Dice, fleet: &Fleet, way: Way) -> Vec<(u64, Action)> {
    now(Action::Stall { consumer: fleet.one(dice), way, ms: fleet.length_ms(dice) })
}

pub(super) fn slow(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    now(Action::Slow { consumer: fleet.one(dice), by_ms: dice.scaled(1, 2_000), ms: dice.scaled(500, 20_000) })
}

pub(super) fn lose_answer(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    now(Action::LoseAnswer { consumer: fleet.one(dice), after: dice.scaled(1, 32) as u32 - 1 })
}

fn wish(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let stream = format!("orders-{}", dice.between(1, fleet.streams));
    now(Action::Wish { stream, end: dice.pick(&[Wish::Done, Wish::Done, Wish::Release, Wish::Release, Wish::Fail]) })
}

fn delay_messages(dice: &mut Dice, _: &Fleet) -> Vec<(u64, Action)> {
    redis(RedisFault::DelayMessages { by_ms: dice.scaled(1, 8_000), ms: dice.scaled(500, 40_000) })
}

pub(super) fn refuse(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    redis(RedisFault::Refuse { with: dice.pick(&Refusal::ALL), ms: fleet.length_ms(dice) })
}

/// Back is within the promises; forward is not. So far forward that consumers count as gone for long, sometimes.
pub(super) fn clock(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let by_ms = dice.pick(&[fleet.ttl_ms / 2, fleet.ttl_ms * 2, 60_000, 7_200_000]) as i64;
    let by_ms = if dice.chance(40) { -by_ms.min(60_000) } else { by_ms };
    redis(RedisFault::ClockStep { by_ms })
}

/// Deleted; or trimmed, often while what a dead consumer leaves behind is looked at.
fn lbs(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    if dice.chance(30) {
        return redis(RedisFault::DeleteLbs);
    }
    let left = dice.between(0, 8);
    if dice.chance(30) {
        return redis(RedisFault::Trim { left });
    }
    let found_ms = fleet.ttl_ms + dice.between(0, 300);
    let trim = |step: u64| (found_ms + 40 * step, Action::Redis(RedisFault::Trim { left: left + 4 - step }));
    let crash = (0, Action::Crash { consumer: fleet.one(dice) });
    [crash].into_iter().chain((0..4).map(trim)).collect()
}
