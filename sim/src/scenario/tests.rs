use std::time::Duration;

use streamkeeper::Time;

use super::*;
use crate::{
    facts::{Fact, Owned, What, Who},
    plan::Action,
    world::Outcome,
};

const SMALL: &str = r#"
about = "small"
lasts = "crash + 2ttl"
streams = 4

[with]
crash = "5s"

[settings]
lease_ttl = "4s"

[[consumers]]
name = "worker"
count = 2

[[at]]
time = "crash"
do = "crash worker-1"

[[expect]]
owned = "orders-*"
within = "ttl + 500ms"
after = "crash"

[[expect]]
figure = "takeovers"
at_most = 2
"#;

fn read(text: &str, set: &[(&str, &str)]) -> Result<Scenario, Bad> {
    let set: Vec<_> = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Scenario::read("dir/small.toml", text, &set)
}

#[test]
fn a_file_is_a_plan_with_expectations() {
    let scenario = read(SMALL, &[]).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.seeds), ("small", 20));
    let plan = &scenario.plan;
    assert_eq!((plan.heal_at, plan.announced()), (Duration::from_secs(13), 4));
    let names: Vec<_> = plan.consumers.iter().map(|consumer| (consumer.name.as_str(), consumer.ttl_ms)).collect();
    assert_eq!(names, [("worker-0", 4_000), ("worker-1", 4_000)]);
    assert_eq!((plan.actions[1].at, &plan.actions[1].action), (Duration::from_secs(5), &Action::Crash { consumer: 1 }));
    let words: Vec<_> = scenario.expectations.iter().map(Expectation::to_string).collect();
    assert_eq!(words, ["orders-* have an owner 4.5s after 5s", "takeovers at most 2"]);
}

#[test]
fn seeds_strike_at_any_moment_of_a_heartbeat() {
    let scenario = read(SMALL, &[]).unwrap();
    let heartbeat = Duration::from_millis(scenario.plan.consumers[0].heartbeat_ms);
    let shifts: Vec<Duration> =
        (0..100).map(|seed| scenario.plan(seed).actions[1].at - Duration::from_secs(5)).collect();
    assert!(shifts.iter().all(|shift| *shift <= heartbeat));
    let early = shifts.iter().filter(|shift| **shift < heartbeat / 2).count();
    assert!((30..70).contains(&early), "{early} of 100 in the first half");
    let plan = scenario.plan(7);
    assert_eq!((plan.seed, plan.heal_at - scenario.plan.heal_at), (7, shifts[7]));
    assert_eq!(scenario.plan(7), plan);
}

#[test]
fn what_is_set_goes_over_the_file() {
    let set = [("lease_ttl", "10s"), ("capacity", "7"), ("crash", "ttl"), ("streams", "9"), ("seeds", "3")];
    let scenario = read(SMALL, &set).unwrap();
    let plan = &scenario.plan;
    assert_eq!((plan.consumers[0].ttl_ms, plan.consumers[1].capacity, scenario.seeds), (10_000, 7, 3));
    assert_eq!((plan.announced(), plan.heal_at), (9, Duration::from_secs(30)));
    assert_eq!(scenario.expectations[0].to_string(), "orders-* have an owner 10.5s after 10s");
}

#[test]
fn what_is_wrong_is_found_by_line_and_key() {
    let table = [
        (("lease_ttl = \"4s\"", "lease_tll = \"4s\""), 10, "lease_tll", "expected one of `lease_ttl`"),
        (("\"4s\"", "\"4 parsecs\""), 10, "lease_ttl", "a length of time such as"),
        (("\"4s\"", "\"1s\""), 10, "lease_ttl", "lease_ttl"),
        (("crash worker-1", "crash worker-9"), 18, "do", "worker-9"),
        (("crash worker-1", "crush worker-1"), 18, "do", "expected an action"),
        (("\"crash\"\ndo", "\"20s\"\ndo"), 17, "time", "the run lasts for 13s"),
        (("\"ttl + 500ms\"", "\"3ttl\""), 22, "within", "17s is too late"),
        (("takeovers", "takeover"), 26, "figure", "without-owner p99"),
        (("at_most = 2", "at_most = \"2s\""), 27, "at_most", "a number is expected"),
        (("figure = \"takeovers\"", ""), 27, "expect", "one of `owned`"),
        (("after = \"crash\"", ""), 21, "owned", "`within` and `after`"),
        (("count = 2", "count = -2"), 14, "count", "u64"),
        (("count = 2", "count = 297377091"), 14, "count", "at most 1000 consumers are expected"),
        (("\n[with]", "\n[with"), 6, "", ""),
    ];
    for ((from, to), line, key, words) in table {
        let text = SMALL.replacen(from, to, 1);
        assert_ne!(text, SMALL);
        let bad = read(&text, &[]).unwrap_err();
        assert_eq!((bad.line, bad.key.as_str()), (Some(line), key), "{bad}");
        assert!(bad.why.contains(words) && bad.to_string().starts_with("dir/small.toml:"), "{bad}");
    }
    let bad = read(SMALL, &[("lease_tll", "4s")]).unwrap_err();
    assert!(bad.to_string().contains("--set lease_tll: there is no such setting; there are: streams, seeds"), "{bad}");
    let bad = read(SMALL, &[("crash", "later")]).unwrap_err();
    assert_eq!((bad.line, bad.key.as_str()), (Some(3), "lasts"), "{bad}");
    assert!(bad.why.contains("`later` is not a length of time"), "{bad}");
}

/// In seed 0.
fn outcome(takeover_ms: u64) -> Outcome {
    let shift = read(SMALL, &[]).unwrap().shift(0);
    let owned = |token| Owned { stream: "orders-1".into(), entry: "1-0".into(), token };
    let who = |consumer| Who { consumer, life: 0 };
    let id = "redis-consumer-worker-1";
    let facts = [
        (0, What::Started { who: who(1), id: id.into(), ttl_ms: 4_000, capacity: 9, automatic: true, go: false }),
        (500, What::Announced { stream: "orders-1".into(), entry: "1-0".into() }),
        (520, What::Added { who: who(1), owned: owned(1), takeover: false }),
        (5_000, What::Crashed { who: who(1) }),
        (takeover_ms, What::Added { who: who(0), owned: owned(2), takeover: true }),
    ];
    Outcome {
        facts: facts.map(|(ms, what)| Fact { at: Time::from_millis(ms) + shift, what }).to_vec(),
        end: Time::from_millis(13_000) + shift,
        violations: Vec::new(),
        panics: Vec::new(),
        sometimes: std::collections::BTreeMap::new(),
    }
}

#[test]
fn an_owner_in_time_is_told_from_one_too_late() {
    let scenario = read(SMALL, &[]).unwrap();
    let good = OneRun::new(&scenario, 0, &outcome(9_500));
    assert!(good.is_good(), "{:?}", good.missed);
    let late = OneRun::new(&scenario, 0, &outcome(9_501));
    let instead = "orders-1 had no owner for 4.50 s".to_owned();
    assert_eq!(late.missed, [Missed { expectation: 0, instead }]);
    let findings = Findings { runs: vec![good, OneRun { seed: 2, ..late }] };
    assert_eq!(findings.worst_run().map(|run| run.seed), Some(2));
    assert_eq!(findings.missed(0).len(), 1);
    assert_eq!(findings.metrics().takeovers, 2);
}

/// Each expectation, met and missed.
#[test]
fn expectations_can_be_met_and_missed() {
    let table = [
        ("figure = \"takeovers\"\nat_most = 1", "figure = \"takeovers\"\nat_least = 2"),
        ("figure = \"without-owner max\"\nat_most = \"ttl\"", "figure = \"without-owner p50\"\nat_most = \"2s\""),
        ("figure = \"first-owner max\"\nat_most = \"20ms\"", "figure = \"first-owner max\"\nat_most = \"19ms\""),
        (
            "consumer = \"worker-0\"\nowns_at_least = 1\nat = \"9s\"",
            "consumer = \"worker-0\"\nowns_at_least = 1\nat = \"8s\"",
        ),
        ("figure = \"finished\"\nat_most = 0", "finished = \"orders-1\""),
        ("figure = \"set-aside\"\nat_most = 0", "set_aside = \"orders-1\"\nreason = \"failed\""),
        (
            "owned = \"orders-1\"\nwithin = \"0s\"\nafter = \"4s\"",
            "owned = \"orders-2\"\nwithin = \"0s\"\nafter = \"4s\"",
        ),
    ];
    let before = SMALL.split("[[expect]]").next().unwrap();
    for (good, bad) in table {
        let missed = |expect: &str| {
            let scenario = read(&format!("{before}\n[[expect]]\n{expect}"), &[]).unwrap();
            OneRun::new(&scenario, 0, &outcome(8_700)).missed.len()
        };
        assert_eq!((missed(good), missed(bad)), (0, 1), "{good}\n--\n{bad}");
    }
}

#[test]
fn the_scenarios_that_come_along_can_be_read() {
    for BuiltIn { name, text } in built_in() {
        let scenario = Scenario::read(&format!("{name}.toml"), text, &[]).unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(scenario.name, *name);
        assert!(!scenario.expectations.is_empty() && text.starts_with("# "), "{name} explains itself");
        let set = [("lease_ttl".to_owned(), "10s".to_owned())];
        let other = Scenario::read(&format!("{name}.toml"), text, &set);
        assert!(other.is_ok(), "{name}: {other:?}");
    }
}

#[test]
fn a_time_without_end_is_no_reason_to_panic() {
    let text = SMALL.replace("crash + 2ttl", "18446744073709551615s + 2ttl");
    let scenario = Scenario::read("small.toml", &text, &[]).unwrap();
    assert_eq!(scenario.plan(1).heal_at, Duration::MAX);
}
