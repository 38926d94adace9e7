//! `work --exec`: a process for each owned stream, that never outlives its lease.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::event::{Event, Kind};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;
use tempfile::TempDir;

on_both!(
    exit_codes,
    environment,
    a_command_that_cannot_be_run,
    stubborn_ones_are_killed_at_the_end,
    polite_ones_may_finish,
    a_second_signal_ends_all_at_once,
    their_parent_is_killed,
    their_parent_stands_still,
    redis_stands_still,
    the_guard_is_killed,
);

/// Writes its stream and process down, again and again, for as long as it lives, and so do its children; no SIGTERM ends
/// any of them.
const STUBBORN: &str = "trap '' TERM HUP INT
beat() { while :; do echo \"$STREAMKEEPER_STREAM $$\" >>LOG; sleep 0.05; done; }
(beat) & (beat) & beat";

/// A folder in which processes write down what they do.
struct Notes(TempDir);

impl Notes {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A script in which LOG stands for this folder's log.
    fn script(&self, script: &str) -> String {
        script.replace("LOG", self.path("log").to_str().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        // The last line may still be written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// The processes that wrote about the stream, in order. None of them may write again after another one has begun.
    fn processes(&self, stream: &str) -> Vec<i32> {
        let mut pids: Vec<i32> = Vec::new();
        for line in self.lines() {
            let (of, pid) = line.split_once(' ').unwrap();
            let pid: i32 = pid.parse().unwrap();
            if of == stream && pids.last() != Some(&pid) {
                assert!(!pids.contains(&pid), "{pid} works on {stream} beside a later one: {pids:?}");
                pids.push(pid);
            }
        }
        pids
    }

    fn wait_processes(&self, fleet: &Fleet<'_>, streams: &[String], count: usize) {
        fleet.wait(&format!("{count} processes to have worked on each stream"), |_| {
            streams.iter().all(|stream| self.processes(stream).len() >= count)
        });
    }
}

/// Whether such a process exists and is no zombie.
fn is_running(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// The numbers of all processes that live, each with its parent's, its group's and its command line.
fn processes() -> Vec<(i32, i32, i32, String)> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|folder| {
        let pid: i32 = folder.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(folder.path().join("stat")).ok()?;
        let mut rest = stat.rsplit(')').next()?.split_whitespace().skip(1);
        let (parent, group) = (rest.next()?.parse().ok()?, rest.next()?.parse().ok()?);
        let line = fs::read(folder.path().join("cmdline")).ok()?;
        Some((pid, parent, group, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
    .filter(|(pid, ..)| is_running(*pid))
    .collect()
}

/// Whether anybody of the group lives.
fn lives(group: i32) -> bool {
    processes().iter().any(|(_, _, of, _)| *of == group)
}

fn guard_of(consumer: &Consumer) -> i32 {
    let guards =
        processes().into_iter().filter(|(_, parent, _, line)| *parent == consumer.pid() && line.ends_with("guard "));
    let guards: Vec<i32> = guards.map(|(pid, ..)| pid).collect();
    assert_eq!(guards.len(), 1, "one guard: {guards:?}");
    guards[0]
}

/// What a consumer said of processes.
fn said(consumer: &Consumer, kind: &str, stream: &str) -> Vec<Event> {
    let events = consumer.life().events.into_iter();
    let is = |event: &Event| match kind {
        "started" => event.rest.contains_key("pid") && !event.rest.contains_key("outcome"),
        _ => event.rest.contains_key("outcome"),
    };
    events.filter(|event| is(event) && event.stream.as_deref() == Some(stream)).collect()
}

fn outcomes(consumer: &Consumer, stream: &str) -> Vec<String> {
    let ended = said(consumer, "ended", stream);
    ended.iter().map(|event| event.rest["outcome"].as_str().unwrap().to_owned()).collect()
}

fn start(fleet: &Fleet<'_>, name: &str, script: &str) -> Arc<Consumer> {
    let consumer = fleet.start_with(name, &["--exec", script]);
    fleet.wait_ready(&consumer);
    consumer
}

/// 0: finished for ever. 75: given back, and begun again after a pause. Anything else: a failure, and set aside at last.
fn exit_codes(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--max-failures", "3"]);
    let script =
        "case $STREAMKEEPER_STREAM in good*) exit 0;; later*) exit 75;; bad*) exit 3;; cut*) kill -9 $$;; esac";
    let a = start(&fleet, "a", script);
    for stream in ["good", "later", "bad", "cut"] {
        fleet.announce(stream, 1);
    }
    fleet.wait("all to be settled", |ledger| {
        let set_aside = |stream| ledger.count(Kind::Rejected, stream) == 1;
        ledger.count(Kind::Done, "good0") == 1
            && set_aside("bad0")
            && set_aside("cut0")
            && outcomes(&a, "later0").len() >= 3
    });
    assert_eq!(outcomes(&a, "good0"), ["done"]);
    assert_eq!(outcomes(&a, "bad0"), ["failed"; 3]);
    assert!(outcomes(&a, "later0").iter().all(|outcome| outcome == "later"));
    assert_eq!(said(&a, "ended", "cut0")[0].rest["code"], 137);
    let at: Vec<u64> = said(&a, "started", "later0").iter().map(|event| event.at_us).collect();
    let pauses: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // By the server's clock, which is this machine's.
    assert!(pauses.iter().all(|pause| *pause >= 1_900_000), "{pauses:?}");
    assert_eq!(fleet.announced(), ["later0"]);
    let list = fleet.command_ok(&["dead", "list"]);
    assert!(list.out.contains("exit status: 3") && list.out.contains("SIGKILL"), "why: {list:?}");
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    fleet.conclude();
}

/// Everything that a process is told; and no password where everybody can read it.
fn environment(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["ACL", "SETUSER", "someone", "on", ">very-secret", "~*", "&*", "+@all"]);
    let fleet = Fleet::on(&server).url(&server.url_as("someone", "very-secret"));
    let notes = Notes::new();
    let script = notes.script("env | grep -e ^STREAMKEEPER_ -e ^REDIS_URL >LOG.$STREAMKEEPER_STREAM; exec sleep 1000");
    let a = start(&fleet, "a", &script);
    fleet.command_ok(&["announce", "told", "--info", r#"{"region":"eu west"}"#]);
    let told = |stream: &str| {
        let text = fs::read_to_string(notes.path(&format!("log.{stream}"))).unwrap_or_default();
        // Where the tests find the program is none of it.
        let lines = text.lines().filter(|line| !line.starts_with("STREAMKEEPER_BIN="));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    fleet.wait("the process to write its environment down", |_| told("told").len() >= 7);
    let added = a.life().events.iter().find(|event| event.is(Kind::Added, "told")).unwrap().clone();
    let expected = [
        "STREAMKEEPER_CONSUMER=redis-consumer-a".to_owned(),
        format!("STREAMKEEPER_ENTRY={}", added.entry.unwrap()),
        r#"STREAMKEEPER_INFO={"region":"eu west"}"#.to_owned(),
        format!("STREAMKEEPER_REDIS={}", server.url_as("someone", "very-secret")),
        "STREAMKEEPER_SERVICE=svc".to_owned(),
        "STREAMKEEPER_STREAM=told".to_owned(),
        format!("STREAMKEEPER_TOKEN={}", added.token.unwrap()),
    ];
    assert_eq!(told("told"), expected);
    for (pid, parent, group, line) in processes() {
        let its = pid != a.pid() && (parent == a.pid() || said(&a, "started", "told")[0].rest["pid"] == group);
        assert!(!its || !line.contains("very-secret"), "{line}");
    }
    assert!(!a.errors().contains("very-secret"));
    a.kill();
    // Whoever does not want to tell the URL does not; what is not known is not there.
    fs::remove_file(notes.path("log.told")).unwrap();
    let b = fleet.start_with("b", &["--exec", &script, "--no-redis-env"]);
    fleet.command_ok(&["announce", "plain"]);
    fleet.wait("the processes to write it down", |_| told("told").len() >= 6 && told("plain").len() >= 5);
    assert!(!told("told").concat().contains("very-secret"), "{:?}", told("told"));
    assert!(!told("plain").concat().contains("INFO"), "{:?}", told("plain"));
    b.terminate();
    b.wait_end();
    fleet.conclude();
}

/// Not the stream's fault: nothing is counted, and who has the program works on it.
fn a_command_that_cannot_be_run(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--max-failures", "1", "--pause", "500ms"]);
    let a = start(&fleet, "a", "exec /no/such/program");
    let streams = fleet.announce("s", 1);
    fleet.wait("two attempts", |_| outcomes(&a, "s0").len() >= 2);
    assert!(outcomes(&a, "s0").iter().all(|outcome| outcome == "cannot-run"));
    assert!(a.errors().contains("cannot be run") && a.errors().contains("/no/such/program"), "{}", a.errors());
    let b = start(&fleet, "b", "exec sleep 1000");
    a.terminate();
    a.wait_end();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.wait("its process", |_| !said(&b, "started", "s0").is_empty());
    fleet.conclude_with(&streams);
}

/// SIGTERM: they ignore it, and have children that do. All are dead before the program ends, and the other one goes on.
fn stubborn_ones_are_killed_at_the_end(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 3);
    notes.wait_processes(&fleet, &streams, 1);
    let first: Vec<i32> = streams.iter().map(|stream| notes.processes(stream)[0]).collect();
    assert!(first.iter().all(|pid| lives(*pid)));
    let _b = start(&fleet, "b", &notes.script(STUBBORN));
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    for (pid, stream) in first.iter().zip(&streams) {
        assert!(!lives(*pid), "the group {pid} lives on");
        assert_eq!(outcomes(&a, stream), ["drained"]);
    }
    notes.wait_processes(&fleet, &streams, 2);
    fleet.conclude_with(&streams);
}

/// SIGTERM: they have time for their last words, also when the shell that started them has ended; and that they end with 0
/// then does not finish their streams.
fn polite_ones_may_finish(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--shutdown-within", "60s"]);
    let notes = Notes::new();
    // The shell ends at once at SIGTERM; what it waits for does not.
    let script = notes.script(
        "sh -c 'trap \"sleep 1; echo $STREAMKEEPER_STREAM ended >>LOG; exit 0\" TERM
        echo $STREAMKEEPER_STREAM begun >>LOG
        while :; do sleep 0.05; done'
        echo $STREAMKEEPER_STREAM never >>LOG",
    );
    let a = start(&fleet, "a", &script);
    let streams = fleet.announce("s", 2);
    fleet.wait("both to be begun", |_| notes.lines().len() == 2);
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    let mut lines = notes.lines();
    lines.sort();
    assert_eq!(lines, ["s0 begun", "s0 ended", "s1 begun", "s1 ended"]);
    assert!(streams.iter().all(|stream| outcomes(&a, stream) == ["drained"]));
    assert_eq!(fleet.announced(), streams, "nothing is finished");
    fleet.waive("nobody is left to own them");
}

fn a_second_signal_ends_all_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--shutdown-within", "90s"]);
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 2);
    notes.wait_processes(&fleet, &streams, 1);
    a.terminate_at_once();
    assert_eq!(a.wait_end().code(), Some(1));
    wait::until("all to be dead", || streams.iter().all(|stream| !lives(notes.processes(stream)[0])));
    fleet.waive("it gave nothing back");
}

/// kill -9: the guard reads that its keeper is gone, and no process lives on when others own the streams.
fn their_parent_is_killed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 3);
    notes.wait_processes(&fleet, &streams, 1);
    let guard = guard_of(&a);
    let _b = start(&fleet, "b", &notes.script(STUBBORN));
    a.kill();
    wait::until("all to be dead", || streams.iter().all(|stream| !lives(notes.processes(stream)[0])));
    wait::until("the guard to have ended", || !is_running(guard));
    notes.wait_processes(&fleet, &streams, 2);
    fleet.conclude_with(&streams);
}

/// SIGSTOP for longer than the lease: the processes are not stopped with it, and must not live on.
fn their_parent_stands_still(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).lease(Duration::from_secs(6), Duration::from_secs(1));
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 3);
    notes.wait_processes(&fleet, &streams, 1);
    let b = start(&fleet, "b", &notes.script(STUBBORN));
    let its: Vec<i32> = streams.iter().filter_map(|stream| notes.processes(stream).pop()).collect();
    a.stop();
    fleet.wait_owned_by(&streams, &[&b]);
    wait::until("all to be dead", || its.iter().all(|pid| !lives(*pid)));
    notes.wait_processes(&fleet, &streams, 2);
    a.cont();
    fleet.wait("the killed ones to be told of", |_| {
        streams.iter().all(|stream| outcomes(&a, stream).last().is_some_and(|outcome| outcome == "killed"))
    });
    // It goes on as before.
    b.kill();
    fleet.wait_owned_by(&streams, &[&a]);
    notes.wait_processes(&fleet, &streams, 3);
    fleet.conclude_with(&streams);
}

/// Redis answers nothing for longer than the lease: the processes die before that ends, and others begin afterwards.
fn redis_stands_still(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).lease(Duration::from_secs(6), Duration::from_secs(1));
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 3);
    notes.wait_processes(&fleet, &streams, 1);
    let _b = start(&fleet, "b", &notes.script(STUBBORN));
    server.freeze();
    fleet.wait_said(&a, Kind::Disowned, &streams);
    fleet.wait("the processes to be killed", |_| {
        streams.iter().all(|stream| outcomes(&a, stream).last().is_some_and(|outcome| outcome == "killed"))
    });
    assert!(streams.iter().all(|stream| !lives(notes.processes(stream)[0])));
    // Nothing was written after the last lease had ended.
    let written = fs::metadata(notes.path("log")).and_then(|log| log.modified()).expect("the log");
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let life = a.life();
    let disowned = life.of(Kind::Disowned).map(|event| u128::from(event.at_us)).max();
    assert!(disowned > Some(written), "written at {written}, lost at {disowned:?}");
    server.thaw();
    notes.wait_processes(&fleet, &streams, 2);
    fleet.conclude_with(&streams);
}

/// Without its guard the program gives everything back and ends: somebody must start it anew.
fn the_guard_is_killed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STUBBORN));
    let streams = fleet.announce("s", 2);
    notes.wait_processes(&fleet, &streams, 1);
    let guard = guard_of(&a);
    a.let_end();
    let guard = rustix::process::Pid::from_raw(guard).unwrap();
    rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    assert_eq!(a.wait_end().code(), Some(1), "{}", a.errors());
    assert!(a.errors().contains("guard"), "{}", a.errors());
    assert!(streams.iter().all(|stream| !lives(notes.processes(stream)[0])));
    let _b = start(&fleet, "b", &notes.script(STUBBORN));
    notes.wait_processes(&fleet, &streams, 2);
    fleet.conclude_with(&streams);
}
