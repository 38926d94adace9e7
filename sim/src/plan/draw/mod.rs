//! Plans drawn from seeds. Each seed has its own subset of faults, their rates, its own fleet and its own settings
//! ("swarm testing"): where every fault is always slightly on, none is ever alone for long, and what one of them does
//! in excess is crowded out by the others. Every concern has dice of its own, so that a change of one does not change
//! the others.

mod dice;
mod entries;
mod faults;
mod fleet;
mod messages;
mod redis;
mod servers;
mod small;
mod stories;
mod work;

use std::{fmt, str::FromStr, time::Duration};

use dice::Dice;

use super::{Action, Plan, Servers, Timed, Topology};

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A fault or two.
    Calm,
    /// Each seed has its own faults, and its own rates of them.
    #[default]
    Swarm,
    /// Most faults, all at once.
    Storm,
    /// A third of a swarm's time, with a few consumers, streams and faults: for very many seeds.
    Small,
    /// As in a calm, with workers and messages.
    MessagesCalm,
    /// As in a swarm, with workers and messages.
    Messages,
    /// As in a storm, with workers and messages.
    MessagesStorm,
    /// As in a calm, with applications that read entries.
    EntriesCalm,
    /// As in a swarm, with applications that read entries.
    Entries,
    /// As in a storm, with applications that read entries.
    EntriesStorm,
    /// As in a swarm, with a primary and its replica behind sentinels.
    Sentinel,
    /// As in a swarm, with three nodes of a cluster.
    Cluster,
}

impl Profile {
    /// Those with streams and their owners.
    pub const STREAMS: [Profile; 4] = [Profile::Calm, Profile::Swarm, Profile::Storm, Profile::Small];
    /// Those with messages and their workers.
    pub const MESSAGES: [Profile; 3] = [Profile::MessagesCalm, Profile::Messages, Profile::MessagesStorm];
    /// Those with applications that read the entries of what they own.
    pub const ENTRIES: [Profile; 3] = [Profile::EntriesCalm, Profile::Entries, Profile::EntriesStorm];

    /// Those with several servers.
    pub const SERVERS: [Profile; 2] = [Profile::Sentinel, Profile::Cluster];

    /// How the servers belong together.
    fn topology(self) -> Topology {
        match self {
            Profile::Sentinel => Topology::Sentinel,
            Profile::Cluster => Topology::Cluster,
            _ => Topology::One,
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Profile> {
        let of_one = Profile::STREAMS.into_iter().chain(Profile::MESSAGES).chain(Profile::ENTRIES);
        of_one.chain(Profile::SERVERS)
    }

    /// How much goes wrong, whatever it is about.
    fn force(self) -> Profile {
        match self {
            Profile::Calm | Profile::MessagesCalm | Profile::EntriesCalm => Profile::Calm,
            Profile::Swarm | Profile::Small | Profile::Messages | Profile::Entries => Profile::Swarm,
            Profile::Sentinel | Profile::Cluster => Profile::Swarm,
            Profile::Storm | Profile::MessagesStorm | Profile::EntriesStorm => Profile::Storm,
        }
    }

    fn is_one_of(self, profiles: &[Profile]) -> bool {
        profiles.contains(&self)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Calm => "calm",
            Profile::Swarm => "swarm",
            Profile::Storm => "storm",
            Profile::Small => "small",
            Profile::MessagesCalm => "messages-calm",
            Profile::Messages => "messages",
            Profile::MessagesStorm => "messages-storm",
            Profile::EntriesCalm => "entries-calm",
            Profile::Entries => "entries",
            Profile::EntriesStorm => "entries-storm",
            Profile::Sentinel => "sentinel",
            Profile::Cluster => "cluster",
        })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        let found = Profile::all().find(|profile| profile.to_string() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no profile: `calm`, `swarm`, `storm` or `small`, or with messages `messages-calm`, `messages` or `messages-storm`, or with entries `entries-calm`, `entries` or `entries-storm`, or with several servers `sentinel` or `cluster`")
        })
    }
}

impl Plan {
    /// The plan of a seed: 60 simulated seconds, mostly the last third of them without faults; of [`Profile::Small`], 20.
    pub fn draw(seed: u64, profile: Profile) -> Plan {
        if profile.is_one_of(&Profile::ENTRIES) {
            return entries::draw(seed, profile.force());
        }
        if profile.is_one_of(&Profile::MESSAGES) {
            return messages::draw(seed, profile.force());
        }
        if profile == Profile::Small {
            return whole(small::draw(seed));
        }
        let mut dice = Dice::new(seed, "run");
        let consumers = fleet::draw(seed);
        let longest_ttl_ms = consumers.iter().map(|consumer| consumer.ttl_ms).max().unwrap_or_default();
        // Long enough to connect again, to wait for a ttl (5.8) and to be owned again, and for that to be finished.
        let calm_ms = dice.between(20_000, 25_000).max(longest_ttl_ms * 7 / 2);
        let mut plan = Plan {
            seed,
            latency_us: dice.pick(&[(200, 1_000), (200, 1_000), (50, 200), (1_000, 3_000), (100, 8_000)]),
            redis: redis::draw(&mut Dice::new(seed, "redis")),
            servers: Servers::default(),
            consumers,
            actions: Vec::new(),
            heal_at: Duration::from_millis(60_000 - calm_ms),
            calm: Duration::from_millis(calm_ms),
            finish: dice.chance(90),
        };
        let (topology, profile) = (profile.topology(), profile.force());
        match dice.between(0, 99) {
            0..4 if profile != Profile::Calm => stories::crash_loop(&mut plan, &mut Dice::new(seed, "crash loop")),
            4..6 if profile != Profile::Calm => stories::long_gone(&mut plan, &mut Dice::new(seed, "long gone")),
            6..8 if profile != Profile::Calm => stories::trimmed(&mut plan, &mut Dice::new(seed, "trimmed")),
            _ => {
                plan.actions.extend(work::draw(seed, &plan));
                plan.actions.extend(faults::draw(seed, profile, &plan));
            }
        }
        if topology != Topology::One {
            servers::spread(seed, topology, &mut plan);
        }
        whole(plan)
    }
}

/// With who comes back once everything is healed, in order, and with an end to every fault.
fn whole(mut plan: Plan) -> Plan {
    plan.actions.extend(recovery(&plan, &mut Dice::new(plan.seed, "recovery")));
    plan.actions.sort_by_key(|timed| timed.at);
    end_in_time(&mut plan);
    plan
}

/// At the end of the faults, those that were crashed or drained come back: the first for certain, so that there is one.
fn recovery(plan: &Plan, dice: &mut Dice) -> Vec<Timed> {
    let mut starts = Vec::new();
    for consumer in 0..plan.consumers.len() {
        let renamed = dice.chance(10);
        if consumer == 0 || dice.chance(70) {
            starts.push(Timed { at: plan.heal_at, action: Action::Start { consumer, renamed } });
        }
    }
    starts
}

/// No fault lasts beyond the end of the faults.
fn end_in_time(plan: &mut Plan) {
    for timed in &mut plan.actions {
        let left = super::millis(plan.heal_at.saturating_sub(timed.at));
        if let Some(ms) = timed.action.ms_mut() {
            *ms = (*ms).min(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_drawn_plan_is_sound() {
        for profile in Profile::STREAMS.into_iter().chain(Profile::SERVERS) {
            for seed in 0..1_000 {
                let plan = Plan::draw(seed, profile);
                assert_eq!(plan, Plan::draw(seed, profile), "{seed}");
                assert!(plan.actions.is_sorted_by_key(|timed| timed.at), "{seed}");
                assert!((1..=6).contains(&plan.consumers.len()), "{seed}");
                let keeper = &plan.consumers[0];
                assert!(keeper.joins && !keeper.go && !keeper.manual, "{seed}");
                for consumer in &plan.consumers {
                    consumer.check().unwrap_or_else(|error| panic!("{seed}: {error}"));
                    assert!(consumer.drift_ppm.abs() <= super::super::drift::DRAWN_DRIFT_PPM, "{seed}");
                }
                for Timed { at, action } in &plan.actions {
                    assert!(
                        action.consumer().is_none_or(|consumer| consumer < plan.consumers.len()),
                        "{seed}: {action}"
                    );
                    assert!(!action.is_fault() || *at <= plan.heal_at, "{seed}: {action}");
                    let over = *at + Duration::from_millis(action.ms().unwrap_or(0));
                    assert!(over <= plan.heal_at.max(*at), "{seed}: {action}");
                    assert!(*at < plan.heal_at + plan.calm, "{seed}: {action}");
                }
            }
        }
    }

    #[test]
    fn a_drawn_plan_of_entries_is_sound() {
        let mut kinds = BTreeSet::new();
        for profile in Profile::ENTRIES {
            for seed in 0..500 {
                let plan = Plan::draw(seed, profile);
                assert_eq!(plan, Plan::draw(seed, profile), "{seed}");
                assert!(plan.actions.is_sorted_by_key(|timed| timed.at), "{seed}");
                for consumer in &plan.consumers {
                    assert!(consumer.app.reading.is_some() && !consumer.go && !consumer.manual, "{seed}");
                    consumer.check().unwrap_or_else(|error| panic!("{seed}: {error}"));
                }
                kinds.extend(plan.actions.iter().map(|timed| timed.action.kind()));
            }
        }
        assert!(kinds.contains("append") && kinds.contains("redis trim-data"), "{kinds:?}");
    }

    #[test]
    fn a_drawn_plan_of_messages_is_sound() {
        let mut kinds = BTreeSet::new();
        for profile in Profile::MESSAGES {
            for seed in 0..500 {
                let plan = Plan::draw(seed, profile);
                assert_eq!(plan, Plan::draw(seed, profile), "{seed}");
                assert!(plan.actions.is_sorted_by_key(|timed| timed.at), "{seed}");
                assert!(plan.consumers[0].joins, "{seed}");
                assert!(plan.calm < Duration::from_secs(40), "{seed}");
                for consumer in &plan.consumers {
                    assert!(consumer.worker.is_some(), "{seed}");
                    consumer.check().unwrap_or_else(|error| panic!("{seed}: {error}"));
                }
                for Timed { at, action } in &plan.actions {
                    let there = action.consumer().is_none_or(|consumer| consumer < plan.consumers.len());
                    assert!(there, "{seed}: {action}");
                    let over = *at + Duration::from_millis(action.ms().unwrap_or(0));
                    assert!(!action.is_fault() || over <= plan.heal_at, "{seed}: {action}");
                    kinds.insert(action.kind());
                }
            }
        }
        assert_eq!(kinds.len(), 13 + 17 + 11, "{kinds:?}");
    }

    #[test]
    fn every_kind_is_drawn_and_no_kind_always() {
        let kinds = |profile| -> Vec<BTreeSet<&'static str>> {
            let plans = (0..500).map(|seed| Plan::draw(seed, profile));
            plans.map(|plan| plan.actions.iter().map(|timed| timed.action.kind()).collect()).collect()
        };
        let swarm = kinds(Profile::Swarm);
        let all: BTreeSet<_> = swarm.iter().flatten().copied().collect();
        assert_eq!(all.len(), 15 + 19 + 11, "{all:?}");
        for kind in all {
            let seeds = swarm.iter().filter(|kinds| kinds.contains(kind)).count();
            assert!(seeds >= 5, "{kind}: {seeds}");
            assert!(seeds < 400 || kind == "announce" || kind == "start", "{kind}: {seeds}");
        }
        let faultless = (0..500).map(|seed| Plan::draw(seed, Profile::Swarm));
        let faultless = faultless.filter(|plan| !plan.actions.iter().any(|timed| timed.action.is_fault())).count();
        assert!(faultless < 50, "{faultless}");
        let faults = |profile| kinds(profile).iter().map(BTreeSet::len).sum::<usize>();
        assert!(faults(Profile::Calm) * 2 < faults(Profile::Swarm));
        assert!(faults(Profile::Swarm) * 3 < faults(Profile::Storm) * 2);
    }
}
