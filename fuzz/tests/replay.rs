//! Replays the corpora on a plain toolchain, and random bytes besides.

use std::{fs, path::Path};

use arbitrary::{Arbitrary, Unstructured};
use streamkeeper_fuzz::{announcement, entries, lease_key, machine, messages, settings, simulated};

fn machine(data: &[u8]) {
    if let Ok(life) = machine::Life::arbitrary_take_rest(Unstructured::new(data)) {
        machine::live(&life);
    }
}

fn messages(data: &[u8]) {
    if let Ok(life) = messages::Life::arbitrary_take_rest(Unstructured::new(data)) {
        messages::live(&life);
    }
}

fn entries(data: &[u8]) {
    if let Ok(life) = entries::Life::arbitrary_take_rest(Unstructured::new(data)) {
        entries::live(&life);
    }
}

fn settings(data: &[u8]) {
    if let Ok(knobs) = settings::Knobs::arbitrary_take_rest(Unstructured::new(data)) {
        settings::try_them(&knobs);
    }
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for file in fs::read_dir(&corpus).expect("there is a corpus") {
        let path = file.expect("a file").path();
        let data = fs::read(&path).expect("a file that can be read");
        // What fails is told by its name.
        if std::panic::catch_unwind(|| run(&data)).is_err() {
            panic!("{} fails", path.display());
        }
        count += 1;
    }
    assert!(count > 0, "{} is empty", corpus.display());
}

#[test]
fn announcements() {
    replay("announcement", announcement);
}

#[test]
fn lease_keys() {
    replay("lease_key", lease_key);
}

#[test]
fn machines() {
    replay("machine", machine);
}

#[test]
fn lives_with_messages() {
    replay("messages", messages);
}

#[test]
fn lives_with_entries() {
    replay("entries", entries);
}

#[test]
fn settings_of_all_kinds() {
    replay("settings", settings);
}

#[test]
fn plans() {
    replay("plan", simulated::plan);
}

#[test]
fn scenarios() {
    replay("scenario", simulated::scenario);
}

#[test]
fn bytes_on_a_connection() {
    replay("resp", simulated::resp);
}
