//! Makes a failing plan small: what remains is needed for the failure. Knows nothing of what a failure is.

use std::time::Duration;

use super::{Action, App, ConsumerPlan, Does, Plan, RedisPlan, Sending, WorkerPlan};

/// The smallest plan that was found which still fails; tries so many plans at most. `plan` itself is taken to fail.
pub fn shrink(plan: &Plan, tries: usize, fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut search = Search { best: plan.clone(), fails, tries };
    loop {
        let before = search.best.clone();
        search.fewer_actions();
        search.fewer_consumers();
        search.fewer_streams();
        search.simpler_settings();
        search.gentler_faults();
        search.shorter();
        if search.best == before || search.tries == 0 {
            return search.best;
        }
    }
}

struct Search<F> {
    best: Plan,
    fails: F,
    tries: usize,
}

impl<F: FnMut(&Plan) -> bool> Search<F> {
    /// Goes on with this change if it changes something and the plan still fails.
    fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        if self.tries == 0 || plan == self.best {
            return false;
        }
        self.tries -= 1;
        let better = (self.fails)(&plan);
        if better {
            self.best = plan;
        }
        better
    }

    /// Delta debugging: without half of them, a quarter, … each single one.
    fn fewer_actions(&mut self) {
        let mut size = self.best.actions.len();
        while size > 0 {
            let mut from = 0;
            while from < self.best.actions.len() {
                let to = (from + size).min(self.best.actions.len());
                let gone = self.change(|plan| drop(plan.actions.drain(from..to)));
                if !gone {
                    from = to;
                }
            }
            size /= 2;
        }
    }

    fn fewer_consumers(&mut self) {
        for index in (0..self.best.consumers.len()).rev() {
            self.change(|plan| remove_consumer(plan, index));
        }
    }

    fn fewer_streams(&mut self) {
        for index in 0..self.best.actions.len() {
            self.change(|plan| match &mut plan.actions[index].action {
                Action::Announce { count, .. } | Action::Send(Sending { count, .. }) => *count = 1,
                _ => {}
            });
            let halve = |plan: &mut Plan| match &mut plan.actions[index].action {
                Action::Announce { count, .. } | Action::Send(Sending { count, .. }) => *count = (*count).div_ceil(2),
                _ => {}
            };
            while self.change(halve) {}
            self.change(|plan| {
                if let Action::Send(sending) = &mut plan.actions[index].action {
                    *sending = Sending { count: sending.count, does: sending.does, ..Sending::default() };
                }
            });
            self.change(|plan| {
                if let Action::Send(sending) = &mut plan.actions[index].action {
                    sending.does = Does::Succeeds;
                }
            });
        }
    }

    fn simpler_settings(&mut self) {
        let usual = Plan::default();
        self.change(|plan| plan.redis = RedisPlan { persistence: plan.redis.persistence, ..usual.redis.clone() });
        self.change(|plan| plan.redis.persistence = usual.redis.persistence);
        self.change(|plan| plan.servers = usual.servers);
        self.change(|plan| plan.servers.wait_ms = None);
        self.change(|plan| plan.latency_us = usual.latency_us);
        self.change(|plan| plan.finish = false);
        for index in 0..self.best.consumers.len() {
            for simpler in SIMPLER {
                self.change(|plan| simpler(&mut plan.consumers[index]));
            }
        }
    }

    /// What lasts lasts less long; what strikes at a point strikes at once.
    fn gentler_faults(&mut self) {
        for index in 0..self.best.actions.len() {
            let halve = |plan: &mut Plan| {
                if let Some(ms) = plan.actions[index].action.ms_mut() {
                    *ms /= 2;
                }
            };
            while self.change(halve) {}
        }
    }

    /// The faults end right after the last action, and the run soon after that.
    fn shorter(&mut self) {
        let second = Duration::from_secs(1);
        self.change(|plan| {
            let over = |timed: &super::Timed| timed.at + Duration::from_millis(timed.action.ms().unwrap_or(0));
            let last = plan.actions.iter().map(over).max().unwrap_or_default();
            plan.heal_at = plan.heal_at.min(last + second);
        });
        while self.change(|plan| plan.calm = (plan.calm / 2).max(second)) {}
    }
}

/// Back to what is usual, one after the other.
const SIMPLER: [fn(&mut ConsumerPlan); 14] = [
    |consumer| {
        let worker = consumer.worker.take().map(|worker| WorkerPlan::usual(worker.idle_ms));
        *consumer = ConsumerPlan { name: consumer.name.clone(), worker, ..ConsumerPlan::default() };
    },
    |consumer| change(consumer, |worker| worker.idle_ms = WorkerPlan::default().idle_ms),
    |consumer| {
        change(consumer, |worker| (worker.deletes, worker.trims, worker.buries, worker.ordered) = Default::default());
    },
    |consumer| change(consumer, |worker| (worker.rate, worker.group_rate, worker.processed_ms) = Default::default()),
    |consumer| {
        change(consumer, |worker| {
            let usual = WorkerPlan::default();
            (worker.max_attempts, worker.max_crashes) = (usual.max_attempts, usual.max_crashes);
            (worker.concurrency, worker.prefetch, worker.batch) = (usual.concurrency, usual.prefetch, usual.batch);
        });
    },
    |consumer| {
        change(consumer, |worker| {
            let usual = WorkerPlan::usual(worker.idle_ms);
            (worker.backoff_ms, worker.factor) = (usual.backoff_ms, usual.factor);
            (worker.jitter_percent, worker.timeout_ms) = (usual.jitter_percent, usual.timeout_ms);
            (worker.block_ms, worker.due_ms) = (usual.block_ms, usual.due_ms);
            (worker.sweep_ms, worker.ack_delay_ms) = (usual.sweep_ms, usual.ack_delay_ms);
        });
    },
    |consumer| consumer.drift_ppm = 0,
    |consumer| consumer.go = false,
    |consumer| consumer.joins = true,
    |consumer| consumer.manual = false,
    |consumer| consumer.app = App::default(),
    |consumer| consumer.app = App { ends: App::default().ends, ..consumer.app.clone() },
    |consumer| {
        let usual = ConsumerPlan::default();
        (consumer.capacity, consumer.output_buffer) = (usual.capacity, usual.output_buffer);
    },
    |consumer| {
        let ConsumerPlan { ttl_ms, heartbeat_ms, reap_ms, claim_delay_ms, heirs, .. } = ConsumerPlan::default();
        (consumer.ttl_ms, consumer.heartbeat_ms) = (ttl_ms, heartbeat_ms);
        (consumer.reap_ms, consumer.claim_delay_ms, consumer.heirs) = (reap_ms, claim_delay_ms, heirs);
    },
];

fn change(consumer: &mut ConsumerPlan, change: impl FnOnce(&mut WorkerPlan)) {
    if let Some(worker) = &mut consumer.worker {
        let before = worker.clone();
        change(worker);
        // Settings that do not go together are no simpler ones.
        if worker.check().is_err() {
            *worker = before;
        }
    }
}

/// Without this consumer and what befalls it; those after it move up.
fn remove_consumer(plan: &mut Plan, index: usize) {
    plan.consumers.remove(index);
    plan.actions.retain(|timed| timed.action.consumer() != Some(index));
    for timed in &mut plan.actions {
        if let Some(consumer) = timed.action.consumer_mut() {
            *consumer -= usize::from(*consumer > index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Profile, Servers, Topology};

    fn kinds(plan: &Plan) -> Vec<&'static str> {
        plan.actions.iter().map(|timed| timed.action.kind()).collect()
    }

    /// A plan of a storm that has what this failure needs.
    fn storm(fails: impl Fn(&Plan) -> bool) -> Plan {
        (0..).map(|seed| Plan::draw(seed, Profile::Storm)).find(|plan| fails(plan)).unwrap()
    }

    #[test]
    fn only_what_is_needed_remains() {
        let fails = |plan: &Plan| {
            let kinds = kinds(plan);
            let failover = kinds.iter().position(|kind| *kind == "redis failover");
            failover.is_some_and(|at| kinds[at..].contains(&"crash")) && plan.announced() >= 3
        };
        let small = shrink(&storm(fails), usize::MAX, fails);
        assert!((3..6).contains(&small.announced()));
        let faults: Vec<&str> = kinds(&small).into_iter().filter(|kind| *kind != "announce").collect();
        assert_eq!(faults, ["redis failover", "crash"]);
        assert_eq!(
            small.consumers,
            [ConsumerPlan { name: small.consumers[0].name.clone(), ..ConsumerPlan::default() }]
        );
        assert_eq!(small.redis, RedisPlan::default());
        assert_eq!(small.calm, Duration::from_secs(1));
        assert!(small.heal_at <= small.actions.last().unwrap().at + Duration::from_secs(1));
    }

    #[test]
    fn several_servers_remain_only_if_they_are_needed() {
        let switched = |plan: &Plan| kinds(plan).contains(&"redis switch");
        let start = (0..)
            .map(|seed| Plan::draw(seed, Profile::Sentinel))
            .find(|plan| switched(plan) && plan.servers.wait_ms.is_some());
        let start = start.unwrap();
        let small = shrink(&start, usize::MAX, switched);
        assert_eq!((kinds(&small), small.servers), (vec!["redis switch"], Plan::default().servers));
        let needed = |plan: &Plan| switched(plan) && plan.servers.topology == Topology::Sentinel;
        let small = shrink(&start, usize::MAX, needed);
        assert_eq!(small.servers, Servers { topology: Topology::Sentinel, wait_ms: None });
    }

    #[test]
    fn a_setting_and_a_length_that_are_needed_remain() {
        let fails = |plan: &Plan| {
            let long = |timed: &super::super::Timed| match timed.action {
                Action::Pause { consumer, ms, .. } => ms >= 1_000 && plan.consumers[consumer].drift_ppm > 0,
                _ => false,
            };
            plan.actions.iter().any(long) && plan.consumers.len() >= 2
        };
        let small = shrink(&storm(fails), usize::MAX, fails);
        assert_eq!((kinds(&small), small.consumers.len()), (vec!["pause"], 2));
        assert!((1_000..2_000).contains(&small.actions[0].action.ms().unwrap()));
        let drifting = small.consumers.iter().filter(|consumer| consumer.drift_ppm > 0).count();
        assert_eq!(drifting, 1);
    }

    #[test]
    fn a_plan_never_gets_unsound_and_the_tries_are_counted() {
        let start = storm(|plan| plan.consumers.len() == 6);
        let mut tried = 0;
        let small = shrink(&start, 40, |plan| {
            tried += 1;
            let consumers = plan.consumers.len();
            assert!(plan.actions.iter().all(|timed| timed.action.consumer().is_none_or(|c| c < consumers)));
            assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
            tried % 2 == 0
        });
        assert_eq!(tried, 40);
        assert!(small.actions.len() < start.actions.len());
        assert_eq!(shrink(&start, 0, |_| panic!("not a single try")), start);
    }
}
