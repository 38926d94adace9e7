//! `work --exec … --entries --commits`: entries as lines on standard input, ids to commit on standard output.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::Connection;
use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use tempfile::TempDir;

on_both!(
    what_was_committed_does_not_come_again,
    handed_over_without_a_gap_or_a_repeat,
    nonsense_is_not_committed,
    a_process_that_does_not_read,
    where_it_begins,
);

/// Writes down each entry, and has it committed.
const STEADY: &str = r#"while IFS= read -r line; do
    id=${line#*'"id":"'}; id=${id%%'"'*}; n=${line#*'"n":"'}; n=${n%%'"'*}
    echo "$n $STREAMKEEPER_CONSUMER from ${STREAMKEEPER_CHECKPOINT:-nothing}" >>LOG
    echo "$id"
done"#;

/// Where a process writes down which entries it has worked on.
struct Notes(TempDir);

impl Notes {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn script(&self, script: &str) -> String {
        script.replace("LOG", self.log().to_str().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// The numbers of the entries, in the order in which they were worked on.
    fn numbers(&self) -> Vec<usize> {
        self.lines().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    }
}

/// Adds entries with these numbers, and answers the last one's id.
fn add(connection: &mut Connection, stream: &str, numbers: std::ops::Range<usize>, padding: &str) -> String {
    let mut last = String::new();
    for chunk in numbers.collect::<Vec<usize>>().chunks(500) {
        let mut pipeline = redis::pipe();
        for number in chunk {
            pipeline.cmd("XADD").arg(stream).arg("*").arg("n").arg(number).arg("padding").arg(padding);
        }
        let ids: Vec<String> = pipeline.query(connection).expect("entries are added");
        last = ids.last().unwrap().clone();
    }
    last
}

fn committed(fleet: &Fleet<'_>, stream: &str) -> String {
    let record: Option<String> = fleet.run(&["HGET", "svc-checkpoints", stream]);
    record.unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

fn start(fleet: &Fleet<'_>, name: &str, script: &str) -> Arc<Consumer> {
    let consumer = fleet.start_with(name, &["--exec", script, "--entries", "--commits"]);
    fleet.wait_ready(&consumer);
    consumer
}

/// The most memory that a process has ever had, in KB.
fn peak_kb(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux tells");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// kill -9 after everything was committed: the next one begins behind that, and is told so.
fn what_was_committed_does_not_come_again(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let notes = Notes::new();
    let a = start(&fleet, "a", &notes.script(STEADY));
    let last = add(&mut fleet.connect(), "s0", 0..300, "");
    let streams = fleet.announce("s", 1);
    fleet.wait("all to be committed", |_| committed(&fleet, "s0") == last);
    assert_eq!(notes.numbers(), (0..300).collect::<Vec<_>>());
    assert!(notes.lines().iter().all(|line| line.ends_with("a from nothing")));
    a.kill();
    let _b = start(&fleet, "b", &notes.script(STEADY));
    let end = add(&mut fleet.connect(), "s0", 300..400, "");
    fleet.wait("the rest to be committed", |_| committed(&fleet, "s0") == end);
    assert_eq!(notes.numbers(), (0..400).collect::<Vec<_>>());
    assert!(notes.lines()[300..].iter().all(|line| line.ends_with(&format!("b from {last}"))));
    fleet.conclude_with(&streams);
}

/// SIGTERM in the middle of everything: the process reads the end of its input, works on what it has, and what it commits
/// is where the next one begins.
fn handed_over_without_a_gap_or_a_repeat(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--shutdown-within", "60s"]).patient();
    let notes = Notes::new();
    // It ends with its input. SIGTERM, which comes if that takes long, would end it between an entry and its commit.
    let script = notes.script(&format!("trap '' TERM\n{STEADY}"));
    let a = start(&fleet, "a", &script);
    let streams = fleet.announce("s", 1);
    let mut connection = fleet.connect();
    let mut added = 0;
    let mut some_more = || {
        added += 10;
        add(&mut connection, "s0", added - 10..added, "")
    };
    fleet.wait("it to be under way", |_| {
        some_more();
        notes.numbers().len() > 50
    });
    let b = start(&fleet, "b", &script);
    a.terminate();
    fleet.wait("the other one to be under way", |_| {
        some_more();
        notes.lines().iter().filter(|line| line.contains("consumer-b")).count() > 50
    });
    assert!(a.wait_end().success(), "{}", a.errors());
    let last = some_more();
    fleet.wait("all to be committed", |_| committed(&fleet, "s0") == last);
    let numbers = notes.numbers();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert!(!b.errors().contains("not committed"), "{}", b.errors());
    fleet.conclude_with(&streams);
}

/// What is no id, was not handed out or lies behind is complained of, not too often, and takes no memory; what is good is
/// committed all the same.
fn nonsense_is_not_committed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let notes = Notes::new();
    let script = notes.script(
        r#"read -r line; id=${line#*'"id":"'}; id=${id%%'"'*}
        echo nonsense; echo 99999999999999-0; echo "$id"; echo 1-1
        head -c 20000000 /dev/zero | tr '\0' y; echo
        i=0; while [ $i -lt 5000 ]; do echo nonsense; i=$((i+1)); done
        echo flooded >LOG
        read -r line; id=${line#*'"id":"'}; id=${id%%'"'*}; printf '  %s\r\n' "$id"
        sleep 1000"#,
    );
    let a = start(&fleet, "a", &script);
    let before = peak_kb(a.pid());
    let streams = fleet.announce("s", 1);
    let first = add(&mut fleet.connect(), "s0", 0..1, "");
    fleet.wait("the first to be committed", |_| committed(&fleet, "s0") == first);
    fleet.wait("the flood to be over", |_| notes.lines() == ["flooded"]);
    assert_eq!(committed(&fleet, "s0"), first);
    let second = add(&mut fleet.connect(), "s0", 1..2, "");
    fleet.wait("the second to be committed", |_| committed(&fleet, "s0") == second);
    let grown = peak_kb(a.pid()) - before;
    assert!(grown < 15_000, "{grown} KB for a line of 20 MB");
    let complaints = a.errors().lines().filter(|line| line.contains("not committed")).count();
    assert!((1..100).contains(&complaints), "{complaints} complaints: {}", a.errors());
    assert!(a.errors().contains("`nonsense` is no id"), "{}", a.errors());
    fleet.conclude_with(&streams);
}

/// It takes no memory here, and its neighbours are served.
fn a_process_that_does_not_read(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let notes = Notes::new();
    let script = format!("case $STREAMKEEPER_STREAM in deaf*) exec sleep 1000;; esac\n{}", notes.script(STEADY));
    let a = start(&fleet, "a", &script);
    let before = peak_kb(a.pid());
    add(&mut fleet.connect(), "deaf0", 0..8_000, &"x".repeat(10_000));
    let mut streams = fleet.announce("deaf", 1);
    fleet.wait_owned(&streams);
    streams.extend(fleet.announce("s", 1));
    for round in 0..20 {
        let last = add(&mut fleet.connect(), "s0", round * 10..round * 10 + 10, "");
        fleet.wait("the neighbour's to be committed", |_| committed(&fleet, "s0") == last);
    }
    fleet.observe(Duration::from_secs(1), |_| {});
    let grown = peak_kb(a.pid()) - before;
    assert!(grown < 60_000, "{grown} KB for a stream of 80 MB that nobody reads");
    assert_eq!(committed(&fleet, "deaf0"), "");
    fleet.conclude_with(&streams);
}

/// `--from`, as long as nothing was ever committed: then what was committed counts.
fn where_it_begins(flavor: Flavor) {
    for (from, first) in [("beginning", 0), ("end", 10), ("4-1", 5), ("@7", 7)] {
        let server = Server::start(flavor);
        let fleet = Fleet::on(&server);
        let notes = Notes::new();
        let script = notes.script(STEADY);
        let arguments = ["--exec", script.as_str(), "--entries", "--commits", "--from", from];
        // The entry with the number 5 has the id 5-1, since there is no 0-0.
        let add = |numbers: std::ops::Range<usize>| {
            numbers.for_each(|n| fleet.run(&["XADD", "s0", &format!("{n}-1"), "n", &n.to_string()]));
        };
        add(0..10);
        let a = fleet.start_with("a", &arguments);
        let streams = fleet.announce("s", 1);
        if from == "end" {
            fleet.wait("the end to be committed", |_| committed(&fleet, "s0") == "9-1");
        }
        add(10..15);
        fleet.wait("all to be committed", |_| committed(&fleet, "s0") == "14-1");
        a.kill();
        add(15..20);
        let _b = fleet.start_with("b", &arguments);
        fleet.wait("the rest to be committed", |_| committed(&fleet, "s0") == "19-1");
        assert_eq!(notes.numbers(), (first..20).collect::<Vec<_>>(), "from {from}");
        fleet.conclude_with(&streams);
    }
}
