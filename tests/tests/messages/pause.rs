//! Workers that stand still for longer than `reclaim_idle`.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(a_stale_failure_is_ignored, a_stale_success_is_a_success, a_paused_worker_is_a_full_member_again);

/// The paused worker's handler wants its message dead. When the worker wakes, another one has the message and is in
/// the middle of it: nothing that the stale run says may touch it.
fn a_stale_failure_is_ignored(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let a = crew.start("a", &Handler::waiting("a", "answer='dead stale'"));
    crew.send(1);
    crew.wait_runs("a to have begun", |runs| runs.count(0) == 1);
    a.stop();
    crew.start("b", &Handler::waiting("b", ":"));
    crew.wait_runs("b to have taken it over", |runs| !runs.running("b").is_empty());
    crew.open("a");
    a.cont();
    crew.wait("a to hear its handler's answer", || a.outcomes().iter().any(|outcome| outcome.outcome == "dead"));
    crew.open("b");
    crew.conclude();
    assert!(crew.dead().is_empty(), "{:?}", crew.dead());
    assert_eq!(crew.runs().count(0), 2, "it was run once more, and not once more than that");
}

/// What has been done has been done, whoever holds the message by then.
fn a_stale_success_is_a_success(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let a = crew.start("a", &Handler::waiting("a", ":"));
    crew.send(1);
    crew.wait_runs("a to have begun", |runs| runs.count(0) == 1);
    a.stop();
    let b = crew.start("b", &Handler::waiting("b", "answer='failed after all'"));
    crew.wait_runs("b to have taken it over", |runs| !runs.running("b").is_empty());
    crew.open("a");
    a.cont();
    crew.wait("a to have succeeded", || a.outcomes().iter().any(|outcome| outcome.outcome == "ok"));
    crew.open("b");
    crew.wait("b to have failed", || b.outcomes().iter().any(|outcome| outcome.outcome == "failed"));
    crew.conclude();
    assert_eq!(crew.runs().count(0), 2, "a's success was taken: it was not tried a third time");
}

/// Under load, for longer than `reclaim_idle`, several times.
fn a_paused_worker_is_a_full_member_again(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--max-crashes", "0"]);
    let [a, b] = crew.start_all(["a", "b"], &Handler::sleeping("0.05"));
    for paused in [&a, &b, &a] {
        crew.send(60);
        crew.send_until_working(paused);
        paused.stop();
        std::thread::sleep(std::time::Duration::from_millis(1_600));
        paused.cont();
    }
    crew.wait_settled();
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    let more = crew.send(20);
    crew.wait_runs("a to do the rest", |runs| {
        more.iter().all(|number| runs.of(*number).iter().any(|run| run.worker == "a" && run.succeeded()))
    });
    crew.conclude();
    assert!(crew.dead().is_empty());
}
