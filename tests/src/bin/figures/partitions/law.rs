//! What `docs/scale.md` says that a fleet of this size costs: its laws with its costs, to stand beside what real servers show.

use std::time::Duration;

/// How many leases are renewed in one call.
const BATCH: f64 = 500.0;
/// How often orphans are looked for, in seconds; a long list less often.
const REAP_S: f64 = 0.2;
/// How many of the pending entries a reaper passes in a second is bounded: each makes it wait for so long, in seconds.
const PATIENCE_S: f64 = 1.2e-6;

/// In a larger one an orphan has heirs.
const SMALL_FLEET: f64 = 16.0;

// Time of a server's one thread, in microseconds.
const ANNOUNCE_US: f64 = 2.65;
const READ_US: f64 = 1.0;
const ACQUIRE_US: f64 = 16.0;
const RENEW_US: f64 = 6.3;
const LOOK_US: f64 = 9.0;
const CLAIM_US: f64 = 20.0;
/// A notification and a 500th of a ring of the doorbell, to each consumer.
const TOLD_US: f64 = 0.4 + 10.0 / 500.0;
const COMMAND_US: f64 = 10.0;
const EPOCH_US: f64 = 10.0;
const SCAN_US: f64 = 0.06;
/// Time of a consumer, in microseconds: for each lease and heartbeat (`docs/performance.md`).
const CLIENT_US: f64 = 1.66;

/// The sizes that the laws know. They are written with one letter each there: N, M, P and h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) consumers: f64,
    pub(crate) streams: f64,
    pub(crate) partitions: f64,
    pub(crate) servers: f64,
    pub(crate) ttl: Duration,
    pub(crate) heartbeat: Duration,
}

impl Sizes {
    fn heartbeat_s(&self) -> f64 {
        self.heartbeat.as_secs_f64()
    }

    fn reap_s(&self) -> f64 {
        REAP_S.max(PATIENCE_S * self.streams / self.partitions)
    }

    /// Calls that a consumer renews its leases of one partition with.
    fn batches(&self) -> f64 {
        (self.streams / (self.consumers * self.partitions * BATCH)).ceil()
    }

    /// Seconds until all are owned, if the servers had as many cores.
    pub(crate) fn owned_after_s(&self) -> f64 {
        self.streams * (ANNOUNCE_US + READ_US + ACQUIRE_US) / 1e6 / self.servers
    }

    /// Leases that a server with so many streams renews in a second.
    pub(crate) fn renewals(&self, streams: f64) -> f64 {
        streams / self.heartbeat_s()
    }

    /// Scripts that a server with so many partitions runs in a second: `renew`, `epoch`, `reap`.
    pub(crate) fn scripts(&self, partitions: f64) -> f64 {
        self.consumers * partitions * ((self.batches() + 1.0) / self.heartbeat_s() + 1.0 / self.reap_s())
    }

    /// How much of a core a server with so many streams in so many partitions needs while nothing happens, in percent.
    pub(crate) fn server_percent(&self, streams: f64, partitions: f64) -> f64 {
        let (h, r) = (self.heartbeat_s(), self.reap_s());
        let each_lease = RENEW_US / h + SCAN_US / r;
        let each_place = (self.batches() * COMMAND_US + 4.0 * COMMAND_US + EPOCH_US) / h + COMMAND_US / r;
        (streams * each_lease + self.consumers * partitions * each_place) / 1e4
    }

    /// How much of a core a consumer needs for its leases while nothing happens, in percent.
    pub(crate) fn consumer_percent(&self) -> f64 {
        self.streams / self.consumers * CLIENT_US / self.heartbeat_s() / 1e4
    }

    /// Seconds from the last heartbeat of a dead owner to the next, without the servers' work for the crash.
    pub(crate) fn without_owner_s(&self) -> f64 {
        self.ttl.as_secs_f64() + self.reap_s() / 2.0 + 0.1
    }

    /// Seconds of all servers' time for one dead consumer with so many streams.
    pub(crate) fn crash_s(&self, orphans: f64) -> f64 {
        let living = self.consumers - 1.0;
        if living <= SMALL_FLEET {
            return orphans * living * (LOOK_US + CLAIM_US) / 1e6;
        }
        // Its heirs and the reaper look; everybody is told.
        orphans * (9.0 * LOOK_US + 3.0 * CLAIM_US + self.consumers * TOLD_US) / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the tables of `docs/scale.md`, which the same laws stand beside there.
    #[test]
    fn they_say_what_the_page_says() {
        let heartbeat = Duration::from_millis(3_333);
        let ttl = Duration::from_secs(10);
        let sizes = Sizes { consumers: 10.0, streams: 100_000.0, partitions: 1.0, servers: 1.0, ttl, heartbeat };
        let near = |seen: f64, said: f64| assert!((seen / said - 1.0).abs() < 0.02, "{seen}, and not {said}");
        near(sizes.renewals(100_000.0), 30_000.0);
        near(sizes.scripts(1.0), 60.0 + 3.0 + 50.0);
        near(sizes.server_percent(100_000.0, 1.0), 22.0);
        near(sizes.crash_s(10_000.0), 2.61);
        near(Sizes { consumers: 100.0, ..sizes }.crash_s(1_000.0), 0.14 + 0.04);
    }
}
