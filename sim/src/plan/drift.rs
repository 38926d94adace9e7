//! How far clocks may drift.

/// How far two clocks may drift under which `exclusive` holds with every ttl, each way, in parts per million.
///
/// An owner trusts its lease for ttl − margin by its own clock, while Redis, and in the wait after a data loss (5.8) a
/// newcomer, counts the ttl by another. The owner is safe as long as (ttl − margin) / (1 − d) ≤ ttl / (1 + d), for the
/// slowest owner and the fastest newcomer: d ≤ margin / (2 ttl − margin). The margin being 10 % of the ttl and 10 ms,
/// that is at least 0.1 / 1.9.
pub const SAFE_DRIFT_PPM: i32 = 52_631;

/// How far they drift in drawn plans. Real clocks drift by less than 500; more than this is not drawn since `kept` gives
/// only half a second more than a ttl of true time, and 2 % of the longest ttl that is drawn are 200 ms of it.
pub(super) const DRAWN_DRIFT_PPM: i32 = 20_000;

#[cfg(test)]
mod tests {
    use streamkeeper_core::config::Config;

    use super::*;
    use crate::plan::ConsumerPlan;

    #[test]
    fn the_drift_that_is_safe_follows_from_the_margin() {
        for ttl_ms in [2_000, 3_000, 10_000, 3_600_000] {
            let consumer = ConsumerPlan { ttl_ms, heartbeat_ms: ttl_ms / 3, ..ConsumerPlan::default() };
            let config = Config::new(consumer.settings()).unwrap();
            let safe = |ppm: i32| {
                let d = f64::from(ppm) / 1e6;
                config.trust().as_secs_f64() / (1.0 - d) <= config.lease_ttl.as_secs_f64() / (1.0 + d)
            };
            assert!(safe(DRAWN_DRIFT_PPM) && safe(SAFE_DRIFT_PPM), "{ttl_ms}");
            assert!(!safe(60_000), "{ttl_ms}");
        }
    }
}
