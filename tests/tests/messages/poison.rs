//! Messages that kill whoever works on them.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(kills_its_child, kills_its_process, hangs_its_child);

/// The child dies with it each time: its neighbours do not notice, and it ends among the dead letters.
fn kills_its_child(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--max-attempts", "3"]);
    crew.start("a", &Handler::new("case $n in 7|13) kill -9 $$;; esac"));
    crew.send(40);
    crew.conclude();
    assert_eq!(crew.dead_numbers(), [7, 13]);
    let runs = crew.runs();
    assert_eq!(runs.repeated(), [7, 13], "only they were repeated");
    assert_eq!((runs.count(7), runs.count(13)), (3, 3));
    for letter in crew.dead() {
        assert_eq!((&*letter["reason"], &*letter["attempts"]), ("failed", "3"), "{letter:?}");
        assert!(letter["error"].contains("SIGKILL"), "{letter:?}");
    }
}

/// It takes the whole worker with it, each time; a supervisor starts the worker again. It is set aside after
/// `max_crashes`, and everything around it is processed. Where nothing else succeeds, the message would not be taken for
/// the cause: so there is something else to do at all times.
fn kills_its_process(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4"]);
    // Neighbours take a little, so that some are in flight when it strikes.
    let handler = Handler::new("case $n in 5) kill -9 $PPID; sleep 5;; *) sleep 0.05;; esac");
    let mut worker = crew.start("w0", &handler);
    crew.send(30);
    let (mut restarts, limit) = (0, 12);
    wait::until("the poison to be set aside", || {
        worker.let_crash();
        if worker.ended().is_some() && restarts < limit {
            restarts += 1;
            crew.send(1);
            worker = crew.start(&format!("w{restarts}"), &handler);
            worker.let_crash();
        }
        crew.is_settled()
    });
    assert_eq!(crew.dead_numbers(), [5]);
    assert_eq!(crew.dead()[0]["reason"], "crashed", "{:?}", crew.dead());
    assert!(restarts < limit, "it was set aside after {restarts} crashes");
    crew.conclude();
}

/// It hangs: the child is ended after `--timeout`, and the slot goes on.
fn hangs_its_child(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--timeout", "400ms", "--max-attempts", "2"]);
    let a = crew.start("a", &Handler::new("case $n in 3) sleep 20;; esac"));
    crew.send(10);
    crew.conclude();
    assert_eq!(crew.dead_numbers(), [3]);
    assert_eq!(crew.runs().count(3), 2);
    let failed: Vec<String> = a.outcomes().into_iter().filter_map(|outcome| outcome.error).collect();
    assert!(failed[0].contains("not answered within 400ms"), "{failed:?}");
}
