//! For how long streams had no owner: printed, not judged.

use std::time::Duration;

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::ledger::Ledger;

/// Prints the longest time without an owner of each of the streams, as a median and a maximum.
pub(crate) fn print(situation: &str, flavor: Flavor, ledger: &Ledger, streams: &[String]) {
    let ownerships = ledger.ownerships();
    let mut gaps: Vec<u64> = streams
        .iter()
        .map(|stream| {
            let list = &ownerships[stream];
            let ended = list.iter().map(|ownership| ownership.last.as_ref().map(|last| last.at_us));
            let next = list.iter().skip(1).map(|ownership| ownership.from_us);
            ended.zip(next).filter_map(|(end, next)| Some(next.saturating_sub(end?))).max().unwrap_or(0)
        })
        .collect();
    gaps.sort_unstable();
    let lost = gaps.iter().filter(|gap| **gap > 0).count();
    let of = |us: u64| Duration::from_millis(us / 1_000);
    println!(
        "{flavor:?}, {situation}: {lost} of {} streams were without an owner, p50 {:?}, max {:?}",
        gaps.len(),
        of(gaps[gaps.len() / 2]),
        of(gaps[gaps.len() - 1]),
    );
}
