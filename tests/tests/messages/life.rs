//! What every command does, once, as one story: told over each way to a server.

use streamkeeper_tests::crew::{Crew, Handler};

/// Send, delay, list, cancel, consume, fail, crash, reclaim, bury, retry, stop, drop: nothing is refused, nothing lost.
/// The group's `--max-attempts` must be 2.
pub(crate) fn whole_life(crew: &Crew<'_>) {
    let handler = Handler::new("case $n in 1) answer=no;; 2) answer=dead;; esac; sleep 0.1");
    let a = crew.start("a", &handler);
    for words in [&["send", "--once", "k"][..], &["send"], &["send", "--delay", "500ms", "--id", "x"]] {
        let line = format!("{{\"n\":{}}}", crew.next_number());
        let answer = crew.command_on_stream(&[words, &[&line]].concat(), b"");
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
    }
    let answer = crew.command_on_stream(&["send", "--delay", "1h", "--id", "y", "1"], b"");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(crew.command_on_stream(&["scheduled", "list"], b"").out.contains('y'));
    assert_eq!(crew.command_on_stream(&["scheduled", "cancel", "y"], b"").code, Some(0));
    crew.send_until_working(&a);
    a.kill();
    let b = crew.start("b", &handler);
    crew.wait("two to be dead", || crew.dead_numbers() == [1, 2]);
    crew.command_ok(&["messages", "status"]);
    crew.command_ok(&["dead", "list"]);
    crew.command_ok(&["dead", "retry", "--reason", "failed"]);
    crew.wait("it to be dead again", || crew.dead_numbers() == [1, 2]);
    crew.wait_settled();
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    crew.conclude();
    crew.command_ok(&["dead", "drop", "--all"]);
    assert!(crew.dead().is_empty());
}
