use std::time::Duration;

use streamkeeper::Settings;

use super::*;

const TTL: Duration = Duration::from_secs(10);

fn ran(fleet: &Fleet) -> Report {
    let report = run(fleet, |_| {}).expect("it can be built");
    assert!(report.all_owned && report.doubled == 0 && report.disowned.is_empty(), "{report}");
    report
}

fn law<'a>(report: &'a Report, what: &str) -> &'a Law {
    report.laws.iter().find(|law| law.what == what).expect("there is such a law")
}

/// The laws hold for a fleet, within a tenth.
fn holds(report: &Report, what: &[&str]) {
    for law in what.iter().map(|what| law(report, what)) {
        assert!((law.measured / law.expected - 1.0).abs() < 0.1, "{law:?}\n{report}");
    }
}

const ALL: [&str; 7] = ["leases renewed", "`renew`", "`read`", "`epoch`", "`ping`", "`reap`", "busy, %"];
const LOOKS: &str = "looks at an orphan";

#[test]
fn a_fleet_takes_all_shares_evenly_and_takes_over() {
    let report = ran(&Fleet { kill: 2, quiet: TTL * 2, ..Fleet::new(20, 2_000, TTL) });
    assert!(report.share.min >= 90 && report.share.max <= 110, "{report}");
    assert_eq!(report.takeover.count, report.streams - 18 * (report.streams / 20), "{report}");
    // Nobody takes a stream before its lease has lapsed, nor much later.
    assert!(report.takeover.p50 >= TTL && report.takeover.max < TTL + Duration::from_millis(500), "{report}");
    assert!(report.takeover_since_crash.p50 < report.takeover.p50, "{report}");
    holds(&report, &ALL);
}

#[test]
fn what_a_crash_costs_does_not_grow_with_the_crowd() {
    for consumers in [30, 90] {
        let report = ran(&Fleet { quiet: TTL, ..Fleet::new(consumers, consumers * 60, TTL) });
        holds(&report, &[LOOKS]);
        assert!(report.asked_for <= 3 * report.takeover.count as u64, "{report}");
        assert!(report.share_after.max <= 70, "one alone does not take them all: {report}");
        assert!(report.takeover.max < TTL + Duration::from_millis(500), "{report}");
    }
}

#[test]
fn a_small_fleet_looks_at_every_orphan() {
    holds(&ran(&Fleet { quiet: TTL, ..Fleet::new(12, 600, TTL) }), &[LOOKS]);
}

#[test]
fn half_a_crowd_dies_and_the_other_half_takes_over() {
    let report = ran(&Fleet { kill: 20, quiet: TTL, ..Fleet::new(40, 1_600, TTL) });
    assert_eq!(report.takeover.count, 800, "{report}");
    assert!(report.takeover.max < TTL + Duration::from_millis(500), "{report}");
}

#[test]
fn the_laws_hold_with_partitions_on_fewer_servers() {
    let fleet = Fleet { partitions: 4, shards: 2, quiet: TTL * 2, ..Fleet::new(6, 1_200, TTL) };
    let report = ran(&fleet);
    holds(&report, &ALL);
    // In 4 partitions each server's calls are those of 2.
    assert!((law(&report, "`epoch`").measured / (6.0 * 2.0 * 0.3) - 1.0).abs() < 0.1, "{report}");
}

#[test]
fn the_same_seed_runs_the_same_way() {
    let fleet = Fleet::new(5, 300, TTL);
    let text = || serde_json::to_string(&ran(&fleet)).expect("it can be written");
    assert_eq!(text(), text());
}

#[test]
fn a_server_that_is_too_slow_shows_it() {
    // Each heartbeat's renewals take longer than a heartbeat.
    let costs = Costs { renew_us: 10_000.0, ..Costs::default() };
    let fleet = Fleet { costs, patience: TTL * 3, ..Fleet::new(4, 2_000, TTL) };
    let report = run(&fleet, |_| {}).expect("it can be built");
    assert!(!report.disowned.is_empty() && report.doubled == 0, "{report}");
    assert!(report.periods.iter().any(|period| period.given_up > 0 && period.longest_wait_ms > 1_000.0), "{report}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let fleet = Fleet::new(4, 10, TTL);
    let settings = Settings { heartbeat: TTL, ..fleet.settings };
    let error = run(&Fleet { settings, ..fleet }, |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("heartbeat is 10s"), "{error}");
}
