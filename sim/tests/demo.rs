//! The demo, from outside: twenty seconds of real time.

#![cfg(unix)]

use std::process::Command;

#[test]
fn nothing_is_lost_and_nothing_has_two_owners() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("demo.html");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_streamkeeper-sim"));
    let output = demo.args(["demo", "--json", "--report"]).arg(&report).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for told in ["is killed (kill -9)", "is frozen (SIGSTOP)", "is cut off from Redis", "is told to stop (SIGTERM)"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let json: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&json["lost"], &json["double_owned"]), (&0.into(), &0.into()), "{json}");
    // A crash, a freeze and a cut, with some streams each.
    assert!(json["takeovers"].as_u64().unwrap() >= 6, "{json}");
    let (median, longest) = (json["takeover_p50_ms"].as_f64().unwrap(), json["takeover_max_ms"].as_f64().unwrap());
    assert!(median > 0.0 && median <= longest && longest < 10_000.0, "{json}");
    assert!(std::fs::read_to_string(report).unwrap().contains("worker-c"));
}
