use std::time::Duration;

use streamkeeper::Settings;
use streamkeeper_core::config::Config;

use super::*;

/// A world in which so many faults and wishes may happen.
fn bounds(faults: u8, wishes: u8, kinds: &[Kind]) -> Bounds {
    Bounds { faults, wishes, kinds: kinds.to_vec(), most: Some(200_000), ..Bounds::new(2, 1) }
}

/// A world in which streams may lose as many owners as they like.
fn patient(consumers: usize, streams: usize) -> Bounds {
    let settings = Settings { max_takeovers: 0, ..Settings::default() };
    Bounds { config: Config::new(settings).unwrap(), ..Bounds::new(consumers, streams) }
}

/// What is broken is found, and told.
fn is_found(defect: Defect, bounds: &Bounds, promise: &str) {
    let explored = explore(bounds, Some(defect.clone()), |_| {});
    let found = explored.found.unwrap_or_else(|| panic!("{defect:?}: not found in {} states", explored.states));
    eprintln!("{} states: {}", explored.states, found.broken);
    assert_eq!(found.broken.promise, promise, "{defect:?}: {}\n{}", found.broken, found.story.join("\n"));
    assert!(found.story.len() > 3, "{:?}", found.story);
}

#[test]
fn without_a_fault_there_is_nothing_to_find() {
    let explored = explore(&bounds(0, 0, &[]), None, |_| {});
    assert!(explored.complete && explored.found.is_none(), "{explored:?}");
}

#[test]
fn each_fault_strikes_and_none_of_them_harms() {
    let bounds = Bounds { window: Duration::from_millis(30), ..bounds(1, 1, &Kind::ALL) };
    let explored = explore(&bounds, None, |_| {});
    assert!(explored.complete && explored.found.is_none(), "{explored:?}");
    assert!(Kind::ALL.iter().all(|kind| explored.struck.get(kind).is_some_and(|times| *times > 5)), "{explored:?}");
}

#[test]
fn every_life_with_one_crash_or_pause_is_a_good_one() {
    let explored = explore(&bounds(1, 0, &[Kind::Crash, Kind::Pause]), None, |_| {});
    assert!(explored.complete && explored.ends > 10, "{explored:?}");
    let found = explored.found.map(|found| found.broken);
    assert_eq!(found, None);
}

#[test]
fn clocks_may_run_at_different_rates_within_the_margin() {
    let bounds =
        |drift| Bounds { drift, window: Duration::from_millis(300), ..bounds(1, 0, &[Kind::Pause, Kind::Late]) };
    let explored = explore(&bounds(4), None, |_| {});
    assert!(explored.complete, "{explored:?}");
    let explored = explore(&bounds(20), None, |_| {});
    assert_eq!(explored.found.map(|found| found.broken.promise), Some("exclusive"));
}

#[test]
fn a_done_without_the_fence_is_found() {
    let defect = Defect::Script {
        find: "if holder == value then return finish(lease, entry, stream, record) end",
        replace: "if holder == value or pending(lbs, group, entry) then return finish(lease, entry, stream, record) end",
    };
    // It is sent, held up, its sender crashes, and it arrives when somebody else owns the stream.
    let bounds = Bounds { window: Duration::from_millis(100), ..bounds(2, 1, &[Kind::Late, Kind::Crash]) };
    is_found(defect, &bounds, "fenced");
}

#[test]
fn a_stream_that_is_released_to_nobody_is_found() {
    let defect = Defect::Script {
        find: "  if held then redis.call('PEXPIRE', lease, '1') end\n  return 'released'",
        replace: "  redis.call('XACK', lbs, group, item.entry)\n  return 'released'",
    };
    is_found(defect, &bounds(0, 1, &[]), "kept");
}

#[test]
fn a_server_that_is_believed_at_once_is_found() {
    let defect = Defect::Script { find: "  write = 'wait:' .. ARGV[2]", replace: "  write = here" };
    is_found(defect, &bounds(2, 0, &[Kind::Restart, Kind::Pause]), "exclusive");
}

#[test]
fn a_release_without_the_fence_is_found() {
    let defect = Defect::Script { find: "  if not held and (holder or not last) then", replace: "  if false then" };
    is_found(defect, &bounds(1, 0, &[Kind::Pause]), "fenced");
}

#[test]
fn nobody_who_looks_for_orphans_is_missed() {
    let defect = Defect::Script {
        find: "'XPENDING', lbs, ARGV[3], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6]",
        replace: "'XPENDING', lbs, ARGV[3], 'IDLE', '9999999', ARGV[5], '+', ARGV[6]",
    };
    is_found(defect, &bounds(1, 0, &[Kind::Crash]), "kept");
}

#[test]
fn a_world_is_as_long_as_its_window() {
    let near = Bounds { window: Duration::from_millis(200), ..bounds(1, 0, &[Kind::Crash]) };
    let far = Bounds { window: Duration::from_millis(600), ..near.clone() };
    let (near, far) = (explore(&near, None, |_| {}), explore(&far, None, |_| {}));
    assert!(near.states < far.states && near.complete && far.complete, "{near:?} {far:?}");
}

#[test]
fn a_walk_is_a_good_one_and_the_same_each_time() {
    let bounds = patient(3, 2);
    let (first, again) =
        (walk(&bounds, None, 7, Duration::from_secs(100)), walk(&bounds, None, 7, Duration::from_secs(100)));
    assert!(first.found.is_none(), "{:?}", first.found);
    assert!(first.strikes > 20 && first.passed >= Duration::from_secs(100), "{first:?}");
    assert_eq!((first.steps, first.strikes, first.passed), (again.steps, again.strikes, again.passed));
}

#[test]
fn a_walk_finds_what_is_broken() {
    let defect = Defect::Script { find: "  write = 'wait:' .. ARGV[2]", replace: "  write = here" };
    let walks = (0..200).map(|seed| walk(&patient(2, 1), Some(defect.clone()), seed, Duration::from_secs(60)));
    let promises: Vec<&str> = walks.filter_map(|walked| Some(walked.found?.broken.promise)).take(1).collect();
    assert_eq!(promises, ["exclusive"]);
}
