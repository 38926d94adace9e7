//! The same seed is the same run, to the byte: within a process, and from process to process.

use std::process::Command;

use super::*;

/// Names the variable that asks a process for its trace.
const ASKED: &str = "STREAMKEEPER_SIM_STAGE_TRACE";

#[test]
fn the_same_seed_is_the_same_run() {
    let first = trace(7);
    assert_eq!(first, trace(7));
    assert_ne!(first, trace(8));
    assert!(first.lines().count() > 200, "{first}");
}

#[test]
fn every_process_sees_the_same_run() {
    if std::env::var_os(ASKED).is_some() {
        println!("{}", trace(7));
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let name = "stage::tests::twice::every_process_sees_the_same_run";
    let told = Command::new(itself).args([name, "--exact", "--nocapture"]).env(ASKED, "1").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&trace(7)), "{told}");
}

/// A run with something of everything: three hosts, jitter, and each kind of trouble.
fn trace(seed: u64) -> String {
    let stages: [(&str, Box<dyn Stage>); 2] = [
        ("events", Box::new(Events::new(seed, (200, 9_000)).unwrap())),
        ("turmoil", Box::new(Turmoil::new(seed, (200, 9_000)))),
    ];
    let mut trace = String::new();
    for (name, mut stage) in stages {
        let log = set_up_several(&mut *stage, 3);
        trouble(&mut *stage);
        for (at, what) in &*log.lock().unwrap() {
            trace += &format!("{name} {at} {what}\n");
        }
    }
    trace
}

fn trouble(stage: &mut dyn Stage) {
    run(stage, 700);
    stage.reset((1, REDIS));
    stage.slow((2, REDIS), Duration::from_millis(7));
    run(stage, 501);
    stage.stall((3, REDIS), Way::In, true);
    stage.freeze(1, stage.now() + Duration::from_millis(333));
    run(stage, 150);
    stage.stall((3, REDIS), Way::In, false);
    stage.crash(2);
    run(stage, 200);
    stage.start(2);
    stage.partition((3, REDIS), Way::Out, true);
    run(stage, 900);
    stage.partition((3, REDIS), Way::Out, false);
    (stage.freezer(1).0)(Duration::from_millis(77));
    run(stage, 2_000);
}
