//! `streamkeeper dead --stream … --group …`, and what stands in a dead letter.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(list_show_retry_drop, by_reason_and_all, the_whole_story);

/// Sends messages, of which those of the handler's choice end among the dead letters: in the order in which they run, and
/// so one at a time; nothing waits here, and is given back.
fn crew_with_dead<'s>(server: &'s Server, count: u64) -> Crew<'s> {
    let crew = Crew::on(server).with(&["--max-attempts", "1", "--concurrency", "1", "--prefetch", "0"]);
    crew.send(count);
    let a = crew.start("a", &Handler::new("case $n in 1|2|3) answer='dead not today';; 4) answer='no luck';; esac"));
    crew.wait_settled();
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    crew
}

fn ids(crew: &Crew<'_>, more: &[&str]) -> Vec<String> {
    let list = crew.command_ok(&[&["dead", "list"], more].concat());
    list.out.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn list_show_retry_drop(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = crew_with_dead(&server, 6);
    let listed = ids(&crew, &[]);
    assert_eq!((listed.len(), crew.dead_numbers()), (4, vec![1, 2, 3, 4]));
    let show = crew.command_ok(&["dead", "show", &listed[0], "--json"]);
    let one: serde_json::Value = serde_json::from_str(&show.out).unwrap();
    assert_eq!(
        (&one["id"], &one["reason"], &one["error"]),
        (&listed[0].as_str().into(), &"rejected".into(), &"not today".into())
    );
    assert_eq!(one["original"]["body"], "{\"n\":1}", "{one}");
    assert!(crew.command_ok(&["dead", "show", &listed[0]]).out.contains("not today"));
    // What is put back is handled like any other message, and its counts begin at zero.
    crew.command_ok(&["dead", "retry", &listed[0], &listed[1]]);
    assert_eq!(crew.dead_numbers(), [3, 4]);
    let b = crew.start("b", &Handler::quick());
    crew.wait_runs("they are done", |runs| {
        [1, 2]
            .iter()
            .all(|number| runs.of(*number).iter().any(|run| run.worker == "b" && run.attempt == 1 && run.succeeded()))
    });
    crew.command_ok(&["dead", "drop", &listed[2]]);
    assert_eq!(crew.dead_numbers(), [4]);
    // One that is not there.
    for words in [["dead", "drop", "1-1"], ["dead", "retry", "1-1"], ["dead", "show", "1-1"]] {
        let answer = crew.command(&words);
        assert!(answer.code == Some(1) && !answer.errors.is_empty(), "{words:?}: {answer:?}");
    }
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    crew.waive("3 was dropped on purpose");
}

fn by_reason_and_all(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = crew_with_dead(&server, 5);
    assert_eq!((ids(&crew, &["--reason", "rejected"]).len(), ids(&crew, &["--reason", "failed"]).len()), (3, 1));
    crew.command_ok(&["dead", "retry", "--reason", "failed"]);
    assert_eq!(crew.dead_numbers(), [1, 2, 3]);
    crew.command_ok(&["dead", "drop", "--reason", "crashed"]);
    assert_eq!(crew.dead_numbers(), [1, 2, 3]);
    crew.command_ok(&["dead", "retry", "--all", "--json"]);
    assert_eq!(crew.dead_numbers(), [0; 0]);
    crew.start("b", &Handler::quick());
    crew.conclude();
}

/// Reason, error, attempts, times, consumer and original id: all that was known of it.
fn the_whole_story(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--max-attempts", "3"]);
    let id = crew.add_raw(&["body", "{\"n\":0}", "h:tenant", "acme", "own", "1"]);
    crew.next_number();
    crew.start("a", &Handler::new("answer=\"no luck $a\""));
    crew.conclude();
    let letter = crew.dead().pop().unwrap();
    let number = |name: &str| letter[name].parse::<u64>().unwrap_or_else(|_| panic!("{name}: {letter:?}"));
    assert_eq!((&letter["id"], &*letter["reason"], &*letter["error"]), (&id, "failed", "no luck 3"));
    assert_eq!((number("attempts"), number("crashed"), number("deliveries")), (3, 0, 3));
    assert!(number("first_ms") < number("last_ms") && number("last_ms") <= number("at_ms"), "{letter:?}");
    assert!(letter["consumer"].starts_with("a-"), "{letter:?}");
    let original: Vec<(&str, &str)> =
        letter.iter().filter_map(|(name, value)| Some((name.strip_prefix("original:")?, &**value))).collect();
    assert_eq!(original, [("body", "{\"n\":0}"), ("h:tenant", "acme"), ("own", "1")]);
}
