//! Runs of the engine, by hand: what a plan says happens, and the judges say what they say of the other engines.

use streamkeeper::Time;

use super::super::{Net, Outcome, run};
use crate::{
    facts::{Fact, What},
    plan::{Plan, Profile},
};

fn story(outcome: &Outcome) -> String {
    outcome.facts.iter().map(|fact| format!("{fact}\n")).collect()
}

/// Runs a plan here; nothing is broken.
#[track_caller]
fn good(plan: &str) -> Outcome {
    let outcome = run(&plan.parse().unwrap(), Net::Core);
    assert!(outcome.is_good(), "{:#?} {:#?}\n{}", outcome.violations, outcome.panics, story(&outcome));
    outcome
}

fn count(outcome: &Outcome, which: impl Fn(&What) -> bool) -> usize {
    outcome.facts.iter().filter(|fact| which(&fact.what)).count()
}

fn first(outcome: &Outcome, which: impl Fn(&What) -> bool) -> &Fact {
    outcome.facts.iter().find(|fact| which(&fact.what)).unwrap_or_else(|| panic!("{}", story(outcome)))
}

const THREE: &str = "
    heal-at 20s
    calm 20s
    consumer a work=never ends=done
    consumer b work=never ends=done
    consumer c work=never ends=done
    1s announce orders-1..9
";

#[test]
fn what_is_announced_is_owned_and_in_the_end_finished() {
    let outcome = good(THREE);
    assert_eq!(count(&outcome, |what| matches!(what, What::Announced { .. })), 9);
    assert_eq!(count(&outcome, |what| matches!(what, What::Granted { .. })), 9, "{}", story(&outcome));
    assert_eq!(count(&outcome, |what| matches!(what, What::Finished { .. })), 9, "{}", story(&outcome));
}

#[test]
fn streams_of_one_that_crashes_or_is_cut_off_are_taken_over() {
    for strikes in ["5s crash a", "5s partition a 10s out", "5s stall a 10s in", "5s pause a 8s", "5s drain a 2s"] {
        let outcome = good(&format!("{THREE}{strikes}\n"));
        let takeovers = count(&outcome, |what| matches!(what, What::Added { takeover: true, .. }));
        assert!(takeovers >= 3, "{strikes}: {}", story(&outcome));
    }
}

#[test]
fn both_engines_come_to_the_same_verdict() {
    let strikes = "3s redis failover 700ms\n6s crash b\n9s start b\n11s lose-answer c after 2\n12s reset a\n\
        13s redis drop-messages 3s\n14s partition c 5s\n15s fail orders-4\n16s release orders-5\n17s done orders-6\n";
    let plan: Plan = format!("{THREE}{strikes}").parse().unwrap();
    let [here, there] = [Net::Core, Net::Events].map(|net| run(&plan, net));
    for outcome in [&here, &there] {
        assert!(outcome.is_good(), "{:#?}\n{}", outcome.violations, story(outcome));
    }
    // A wish strikes only where the stream is owned just then.
    let struck = |outcome: &Outcome| -> Vec<String> {
        let actions = outcome.facts.iter().filter_map(|fact| match &fact.what {
            What::Struck { kind: "done" | "release" | "fail", .. } => None,
            What::Struck { action, .. } => Some(format!("{:?} {action}", fact.at)),
            _ => None,
        });
        actions.collect()
    };
    assert_eq!(struck(&here), struck(&there));
    let finished = |outcome: &Outcome| count(outcome, |what| matches!(what, What::Finished { .. }));
    assert_eq!((finished(&here), finished(&there)), (9, 9));
}

#[test]
fn a_process_stands_still_at_a_point_and_goes_on() {
    for point in ["answer", "call", "handler"] {
        let outcome = good(&format!("{THREE}500ms pause a 700ms at {point}\n"));
        let paused = first(&outcome, |what| matches!(what, What::Paused { .. })).at;
        let resumed = first(&outcome, |what| matches!(what, What::Resumed { .. })).at;
        assert_eq!(resumed.since(paused).as_millis(), 700, "{point}");
    }
}

#[test]
fn who_goes_on_may_stand_still_again_at_once() {
    // What it was paused at arrives as it goes on, and is what the next pause waits for.
    let outcome = good(
        "heal-at 20s\ncalm 20s\nlatency 2ms..2ms\nconsumer a work=never ends=done\n1s announce orders-1\n\
        1999ms release orders-1\n2s pause a 200ms\n2100ms pause a 4s at answer\n",
    );
    let pauses = outcome.facts.iter().filter_map(|fact| match fact.what {
        What::Paused { .. } => Some((fact.at, true)),
        What::Resumed { .. } => Some((fact.at, false)),
        _ => None,
    });
    let pauses: Vec<(Time, bool)> = pauses.collect();
    let order: Vec<bool> = pauses.iter().map(|(_, paused)| *paused).collect();
    assert_eq!(order, [true, false, true, false], "{}", story(&outcome));
    assert_eq!(pauses[1].0, pauses[2].0);
}

#[test]
fn a_client_that_finds_no_server_ends_and_is_started_again() {
    let outcome = good(&format!("{THREE}0s partition a 12s\n"));
    let why = first(&outcome, |what| matches!(what, What::Terminated { .. }));
    assert!(why.to_string().contains("no server within 10s"), "{why}");
    let again = |what: &What| matches!(what, What::Ready { who } if who.consumer == 0 && who.life == 1);
    assert!(first(&outcome, again).at > why.at);
}

#[test]
fn applications_read_late_never_or_not_at_all_by_themselves() {
    for app in ["app=reads reads-every=300ms", "never-reads", "app=runs"] {
        let plan = format!(
            "heal-at 20s\ncalm 20s\nconsumer a {app} work=100ms..900ms ends=done:3,fail:1,release:1\n\
            consumer b {app} claim=manual work=never\n1s announce orders-1..9\n8s crash b\n"
        );
        let outcome = good(&plan);
        let added = count(&outcome, |what| matches!(what, What::Added { .. }));
        assert!(added >= 9, "{app}: {}", story(&outcome));
        let ended = count(&outcome, |what| matches!(what, What::Ended { .. }));
        assert!(ended >= 9, "{app}: {}", story(&outcome));
    }
}

#[test]
fn what_is_announced_while_the_server_is_down_is_announced_when_it_is_back() {
    // Seed 836: a dead server had taken the connection, and closed it at once.
    let plan = "heal-at 10s\ncalm 20s\nfinish no\nredis persistence=aof-always\nconsumer a work=never\n\
        5s redis crash 2s\n6s malformed 11\n6s announce orders-1\n";
    let outcome = good(plan);
    first(&outcome, |what| matches!(what, What::SetAside { .. }));
    first(&outcome, |what| matches!(what, What::Announced { .. }));
}

#[test]
fn a_few_seeds_of_each_profile_are_clean_and_run_the_same_way_twice() {
    let names = |outcome: &Outcome| outcome.sometimes.keys().any(|name| name.contains("Go peer"));
    for profile in Profile::STREAMS {
        for seed in 0..4 {
            let plan = Plan::draw(seed, profile).fitted_to_core().unwrap();
            let outcome = run(&plan, Net::Core);
            assert!(outcome.is_good(), "{profile} {seed}: {:#?} {:#?}", outcome.violations, outcome.panics);
            assert!(!names(&outcome), "{:?}", outcome.sometimes);
            assert!(run(&plan, Net::Core) == outcome, "{profile} {seed} ran in two ways");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_not_run() {
    for (plan, line) in
        [("consumer a go", "consumer a go"), ("1s send 3", "send 3"), ("topology cluster", "topology cluster")]
    {
        let outcome = run(&plan.parse().unwrap(), Net::Core);
        assert!(!outcome.is_good() && outcome.facts.is_empty());
        assert!(outcome.panics[0].contains(line), "{:?}", outcome.panics);
    }
}
