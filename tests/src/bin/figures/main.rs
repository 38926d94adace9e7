//! The figures of `docs/performance.md`: a program, not a test, since these machines are slow and noisy.
//!
//! `cargo run --release -p streamkeeper-tests --bin figures` measures everything on a redis-server of its own and prints
//! Markdown; with names behind it, only those: `figures -- takeover steady`. What needs the whole machine for minutes is not
//! among them and has options of its own: `figures -- partitions --help`.

mod entries;
mod machine;
mod measure;
mod measured;
mod messages;
mod partitions;
mod steady;
mod takeover;
mod throughput;

use measure::Table;

type Figure = (&'static str, fn() -> Table);

/// What can be measured, in the order of the page.
const FIGURES: [Figure; 12] = [
    ("takeover", takeover::takeover),
    ("handover", takeover::hand_over),
    ("steady", steady::steady),
    ("throughput", throughput::throughput),
    ("machine", machine::machine),
    ("consume", messages::consume),
    ("produce", messages::produce),
    ("latency", messages::latency),
    ("in-flight", messages::in_flight),
    ("entries", entries::read),
    ("entries-idle", entries::idle),
    ("entries-takeover", entries::takeover),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--child", words)) = wanted.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return match words {
            [url, half, words @ ..] if half == "entries" => entries::child::run(url, words),
            words => messages::child::run(words),
        };
    }
    if let Some(("partitions", words)) = wanted.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return partitions::measure(words);
    }
    for name in &wanted {
        if !FIGURES.iter().any(|(figure, _)| figure == name) {
            let all = FIGURES.map(|(figure, _)| figure).join(", ");
            eprintln!("`{name}` is none of the figures: {all}; partitions, by itself");
            std::process::exit(2);
        }
    }
    for (name, figure) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            println!("### {name}\n\n{}", figure());
        }
    }
}
