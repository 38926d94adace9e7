//! SIGTERM: what runs is finished or given back, and the others go on.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(finishes_what_runs, gives_back_what_does_not_finish, the_second_signal_ends_at_once);

/// Under load, one after another: nothing is lost, and nothing is done twice.
fn finishes_what_runs(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--reclaim-idle", "30s"]);
    let handler = Handler::sleeping("0.1");
    let mut workers: Vec<_> = crew.start_all(["w0", "w1"], &handler).into();
    for number in 2..4 {
        let leaving = workers.remove(0);
        crew.send(50);
        crew.send_until_working(&leaving);
        workers.push(crew.start(&format!("w{number}"), &handler));
        leaving.terminate();
        assert_eq!(leaving.wait_end().code(), Some(0), "{}", leaving.errors());
        assert!(leaving.said("stopped"));
        assert_eq!(crew.runs().running(leaving.name()), [0; 0], "what ran has ended");
    }
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0]);
    let names: Vec<String> = consumers(&crew);
    assert!(names.iter().all(|name| !name.starts_with("w0-") && !name.starts_with("w1-")), "{names:?}");
}

/// What does not end in time is ended and given back: others have it at once, not after `reclaim_idle`, and it has not
/// failed.
fn gives_back_what_does_not_finish(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--reclaim-idle", "60s", "--shutdown-within", "300ms"]);
    let a = crew.start("a", &Handler::sleeping("20"));
    crew.send(3);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    a.terminate();
    assert_eq!(a.wait_end().code(), Some(0), "{}", a.errors());
    crew.start("b", &Handler::quick());
    // Were it left to `reclaim_idle`, this would take a minute.
    crew.conclude();
    let of: Vec<u32> = crew.runs().of(0).iter().map(|run| run.attempt).collect();
    assert_eq!(of, [1, 1], "giving back counts as no attempt");
}

/// A second signal does not wait, and leaves no child behind.
fn the_second_signal_ends_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let a = crew.start("a", &Handler::sleeping("30"));
    crew.send(1);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    let child = crew.runs().of(0)[0].process;
    a.terminate_at_once();
    assert_eq!(a.wait_end().code(), Some(1), "{}", a.errors());
    crew.wait("the child to be gone", || !std::path::Path::new(&format!("/proc/{child}")).exists());
    crew.start("b", &Handler::quick());
    crew.conclude();
}

fn consumers(crew: &Crew<'_>) -> Vec<String> {
    let all: Vec<std::collections::BTreeMap<String, redis::Value>> =
        crew.run(&["XINFO", "CONSUMERS", crew.stream(), crew.group()]);
    all.iter().map(|one| redis::from_redis_value(one["name"].clone()).unwrap()).collect()
}
