//! What a plan does to the promises: under which of its actions they hold as they are, and under which they do not
//! ("holds under" in the design). Data, for the judges.

use std::time::Duration;

use super::{Action, Plan, RedisFault};

/// How far two clocks may drift in drawn plans, each way, in parts per million.
///
/// An owner trusts its lease for ttl − margin by its own clock, while Redis, and in the wait after a data loss (5.8) a
/// newcomer, counts the ttl by another. The owner is safe as long as (ttl − margin) / (1 − d) ≤ ttl / (1 + d), for the
/// slowest owner and the fastest newcomer: d ≤ margin / (2 ttl − margin). The margin being 10 % of the ttl and 10 ms, that
/// is at least 0.1 / 1.9: 52,631 ppm. Real clocks drift by less than 500; 20,000 is what is drawn, since `kept` gives
/// only half a second more than a ttl of true time, and 2 % of the longest ttl that is drawn are 200 ms of it.
pub const DRIFT_PPM: i32 = 20_000;

/// The greatest drift, each way, under which `exclusive` holds with every ttl.
pub const SAFE_DRIFT_PPM: i32 = 52_631;

/// A promise does not hold for some time, or not for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Which.
    pub promise: &'static str,
    /// From then on.
    pub from: Duration,
    /// Until then; [`Duration::MAX`] if it never holds again.
    pub until: Duration,
    /// Of what it does not speak any more.
    pub of: Excluded,
    /// The kind of action that is to blame.
    pub why: &'static str,
}

/// Of what a promise does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// Of anything, between the two times.
    Everything,
    /// Of what was announced before.
    AnnouncedBefore,
}

impl Plan {
    /// All times at which a promise is not in force, or not for everything. Losses of data by a crash or a failover are not among them: what
    /// is lost is known only when Redis is up again ([`What::RedisUp`](crate::facts::What::RedisUp)).
    pub fn exclusions(&self) -> Vec<Exclusion> {
        let ttl = self.longest_ttl();
        let mut exclusions: Vec<Exclusion> =
            self.actions.iter().flat_map(|timed| of_action(timed.at, &timed.action, ttl)).collect();
        if self.consumers.iter().any(|consumer| consumer.drift_ppm.saturating_abs() > SAFE_DRIFT_PPM) {
            exclusions.push(Exclusion {
                promise: "exclusive",
                from: Duration::ZERO,
                until: Duration::MAX,
                of: Excluded::Everything,
                why: "drift",
            });
        }
        exclusions
    }

    /// Why a promise is not in force at all at this time, if it is not.
    pub fn excludes(&self, promise: &str, at: Duration) -> Option<&'static str> {
        let all = self.exclusions().into_iter().filter(|exclusion| exclusion.of == Excluded::Everything);
        let mut now =
            all.filter(|exclusion| exclusion.promise == promise && (exclusion.from..exclusion.until).contains(&at));
        now.next().map(|exclusion| exclusion.why)
    }

    /// The longest `lease_ttl` in the fleet.
    pub fn longest_ttl(&self) -> Duration {
        Duration::from_millis(self.consumers.iter().map(|consumer| consumer.ttl_ms).max().unwrap_or_default())
    }
}

fn of_action(at: Duration, action: &Action, ttl: Duration) -> Vec<Exclusion> {
    let why = action.kind();
    let for_a_while = |promise, span| Exclusion { promise, from: at, until: at + span, of: Excluded::Everything, why };
    let of_before = |promise| Exclusion { promise, from: at, until: Duration::MAX, of: Excluded::AnnouncedBefore, why };
    let Action::Redis(fault) = action else { return Vec::new() };
    match fault {
        // Leases end early: whoever was granted one before the step may believe longer than Redis. Afterwards each lease
        // is as long as it should be.
        RedisFault::ClockStep { by_ms } if *by_ms > 0 => vec![for_a_while("exclusive", ttl * 2)],
        // Leases end late, by as much.
        RedisFault::ClockStep { by_ms } => {
            vec![for_a_while("kept", Duration::from_millis(by_ms.unsigned_abs()) + ttl * 3)]
        }
        // The second witness speaks for an owner that may be dead, or the group is delivered anew: a ttl more, and the
        // time to notice.
        RedisFault::Evict { .. } | RedisFault::Redeliver | RedisFault::DestroyGroup => {
            vec![for_a_while("kept", ttl * 3)]
        }
        RedisFault::WrongType { ms, .. } => vec![for_a_while("kept", Duration::from_millis(*ms) + ttl * 3)],
        // An announcement that was deleted by hand is nobody's, and one that is not pending is delivered to nobody.
        RedisFault::DeleteConsumer { .. } => vec![of_before("kept")],
        RedisFault::DeleteLbs | RedisFault::Trim { .. } => vec![of_before("kept"), of_before("finished")],
        RedisFault::FlushAll => vec![of_before("kept"), of_before("finished"), for_a_while("kept", ttl * 4)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ConsumerPlan, Timed};

    fn plan(action: &str) -> Plan {
        Plan {
            consumers: vec![ConsumerPlan { ttl_ms: 4_000, heartbeat_ms: 1_000, ..ConsumerPlan::default() }],
            actions: vec![Timed { at: Duration::from_secs(10), action: action.parse().unwrap() }],
            ..Plan::default()
        }
    }

    #[test]
    fn a_promise_is_out_of_force_for_a_while() {
        let cases = [
            ("redis clock +5s", "exclusive", 10, 18),
            ("redis clock -5s", "kept", 10, 27),
            ("redis evict 1", "kept", 10, 22),
            ("redis flush-all", "kept", 10, 26),
        ];
        for (action, promise, from, until) in cases {
            let plan = plan(action);
            let excluded: Vec<u64> =
                (0..60).filter(|at| plan.excludes(promise, Duration::from_secs(*at)).is_some()).collect();
            assert_eq!(excluded, (from..until).collect::<Vec<u64>>(), "{action}");
        }
        assert_eq!(plan("redis crash 2s").exclusions(), []);
        assert_eq!(plan("crash c0").exclusions(), []);
        let [lost, _] = plan("redis delete-lbs").exclusions()[..] else { panic!("two promises") };
        assert_eq!((lost.promise, lost.of, lost.until), ("kept", Excluded::AnnouncedBefore, Duration::MAX));
    }

    #[test]
    fn the_drift_that_is_safe_follows_from_the_margin() {
        for ttl_ms in [2_000, 3_000, 10_000, 3_600_000] {
            let consumer = ConsumerPlan { ttl_ms, heartbeat_ms: ttl_ms / 3, ..ConsumerPlan::default() };
            let config = streamkeeper_core::config::Config::new(consumer.settings()).unwrap();
            let safe = |ppm: i32| {
                let d = f64::from(ppm) / 1e6;
                config.trust().as_secs_f64() / (1.0 - d) <= config.lease_ttl.as_secs_f64() / (1.0 + d)
            };
            assert!(safe(DRIFT_PPM) && safe(SAFE_DRIFT_PPM), "{ttl_ms}");
            assert!(!safe(60_000), "{ttl_ms}");
        }
        let mut plan = plan("crash c0");
        plan.consumers[0].drift_ppm = -100_000;
        assert_eq!(plan.excludes("exclusive", Duration::ZERO), Some("drift"));
    }
}
