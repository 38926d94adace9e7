//! The scenarios that come along, run: what they promise to whoever reads them is so.

use streamkeeper_sim::{
    scenario::{Findings, OneRun, Scenario, built_in},
    world::{self, Net},
};

fn run(scenario: &Scenario, seeds: u64, net: Net) -> Findings {
    let run = |seed| OneRun::new(scenario, seed, &world::run(&scenario.plan(seed), net));
    Findings { runs: (0..seeds).map(run).collect() }
}

/// What was broken or missed, in words.
fn wrong(scenario: &Scenario, findings: &Findings) -> Vec<String> {
    let mut wrong = Vec::new();
    for run in &findings.runs {
        wrong.extend(run.panics.iter().cloned());
        wrong.extend(run.violations.iter().map(ToString::to_string));
        let missed = run.missed.iter().map(|missed| (&scenario.expectations[missed.expectation], &missed.instead));
        wrong.extend(missed.map(|(expectation, instead)| format!("seed {}: {expectation}: {instead}", run.seed)));
    }
    wrong
}

#[test]
fn everything_is_as_expected() {
    for built_in in built_in() {
        for (ttl, seeds) in [("3s", 2), ("10s", 1)] {
            let set = [("lease_ttl".to_owned(), ttl.to_owned())];
            let scenario = Scenario::read(&format!("{}.toml", built_in.name), built_in.text, &set).unwrap();
            let findings = run(&scenario, seeds, Net::Events);
            assert!(findings.runs.iter().all(|run| run.metrics.streams > 0), "{}: nothing was owned", built_in.name);
            assert_eq!(wrong(&scenario, &findings), Vec::<String>::new(), "{} with a ttl of {ttl}", built_in.name);
        }
    }
}

/// A pause that is longer than the lease hurts, a shorter one does not: that is the question of that scenario.
#[test]
fn whether_a_pause_hurts_is_seen() {
    let gc_pause = built_in().iter().find(|built_in| built_in.name == "gc-pause").unwrap();
    let lost = |pause: &str| {
        let set = [("pause".to_owned(), pause.to_owned())];
        let scenario = Scenario::read("gc-pause.toml", gc_pause.text, &set).unwrap();
        let metrics = run(&scenario, 3, Net::Events).metrics();
        (metrics.disowned(), metrics.takeovers)
    };
    let (disowned, takeovers) = lost("4s");
    assert!(disowned > 0 && takeovers > 0);
    assert_eq!(lost("800ms"), (0, 0));
}

/// A limit that cannot be held is said to be missed.
#[test]
fn what_is_missed_is_found() {
    let pod_crash = built_in().iter().find(|built_in| built_in.name == "pod-crash").unwrap();
    let strict = pod_crash.text.replace("at_most = \"ttl + 500ms\"", "at_most = \"1s\"");
    let scenario = Scenario::read("pod-crash.toml", &strict, &[]).unwrap();
    let findings = run(&scenario, 1, Net::Events);
    assert_eq!(findings.runs[0].missed.len(), 1, "{:?}", findings.runs[0].missed);
    assert!(wrong(&scenario, &findings)[0].contains("without-owner max at most 1.00 s"));
}
