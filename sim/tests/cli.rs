//! The tool from outside: what it prints, and how it ends.

use std::process::{Command, Output};

fn tool(arguments: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamkeeper-sim"));
    command.args(arguments.split_whitespace()).current_dir(folder.path()).output().unwrap()
}

fn code(arguments: &str) -> Option<i32> {
    tool(arguments).status.code()
}

#[test]
fn wrong_use_is_64_and_help_is_not() {
    for arguments in [
        "",
        "explode",
        "run --seeds 5..5",
        "run --seeds 5..",
        "run --for ever",
        "run --profile loud",
        "run --kept missing.txt",
        "replay missing.plan.txt",
        "twice --seeds 5..",
        "run --engine steam",
        "run --engine core --profile messages",
        "replay 3 --engine core --profile cluster",
        "twice --engine core --profile entries",
        "replay 3 --log a[b",
        "replay 3 --engine core --log",
    ] {
        assert_eq!(code(arguments), Some(64), "{arguments}");
    }
    assert_eq!(code("--help"), Some(0));
    assert_eq!(code("--version"), Some(0));
}

#[test]
fn the_last_line_of_a_campaign_is_one_object() {
    let output = tool("run --seeds 0..3 --profile calm --jobs 2 --json");
    let text = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["seeds"], 3);
    for number in ["violations", "simulated_s", "wall_s"] {
        assert!(last[number].is_number(), "{number}: {text}");
    }
    assert!(last["faults"].is_object() && last["sometimes"].is_object(), "{text}");
    let expected = if last["violations"] == 0 { [0].as_slice() } else { &[2, 3] };
    assert!(expected.contains(&output.status.code().unwrap()), "{text}");
}

#[test]
fn a_seed_runs_the_same_way_in_two_processes() {
    for arguments in ["twice --seeds 0..2", "twice --seeds 0..8 --engine core"] {
        let output = tool(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_plan_that_its_engine_cannot_run_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.txt");
    std::fs::write(&path, "consumer a\nconsumer b go\n1s announce orders-1\n").unwrap();
    let refused = tool(&format!("replay {} --engine core", path.display()));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("plan.txt") && said.contains("consumer b go") && said.contains("Go peers"), "{said}");
    let taken = tool(&format!("replay {}", path.display()));
    assert_eq!(taken.status.code(), Some(0));
}

#[test]
fn a_printed_plan_runs_like_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.txt");
    std::fs::write(&path, tool("replay 3 --plan").stdout).unwrap();
    let drawn = String::from_utf8(tool("replay 3 --trace").stdout).unwrap();
    let read = String::from_utf8(tool(&format!("replay {} --trace", path.display())).stdout).unwrap();
    let trace =
        |text: &str| text.lines().take_while(|line| !line.contains("the end")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(trace(&drawn), trace(&read));
}

#[test]
fn what_consumers_log_can_be_read() {
    let said = |arguments: &str| String::from_utf8(tool(arguments).stderr).unwrap();
    let all = said("replay 3 --profile calm --log");
    for line in ["driver: heard now=", "driver: calls id=", "server prepared", "consumer=redis-consumer-sim-0"] {
        assert!(all.contains(line), "{line}: {all}");
    }
    let some = said("replay 3 --profile calm --log streamkeeper=info");
    assert!(some.contains("server prepared") && !some.contains("driver: heard"), "{some}");
    assert_eq!(said("replay 3 --profile calm"), "");
}
