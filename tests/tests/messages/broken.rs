//! Messages that make no sense.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(without_a_body, other_bodies);

/// PEERS.md D, "message without `json` field": redstream retries it every 5 s for ever. C, "broken message": goxstreams
/// deletes it. Here it is set aside once, with all it had, and its neighbours are processed.
fn without_a_body(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(2);
    let broken = crew.add_raw(&["payload", "1", "colour", "red"]);
    crew.send(2);
    let a = crew.start("a", &Handler::quick());
    crew.conclude();
    let dead = crew.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!((&*dead[0]["id"], &*dead[0]["reason"]), (&*broken, "broken"));
    assert_eq!((&*dead[0]["original:payload"], &*dead[0]["original:colour"]), ("1", "red"));
    assert!(dead[0]["error"].contains("`body`"), "the error names the field: {dead:?}");
    assert_eq!(crew.runs().all().len(), 4, "no handler saw it");
    let said: Vec<_> = a.outcomes().into_iter().filter(|outcome| outcome.outcome == "dead").collect();
    assert_eq!(said.iter().map(|outcome| &*outcome.id).collect::<Vec<_>>(), [&*broken]);
}

/// A body that is no JSON is the handler's to judge: it gets it as text, or in base64.
fn other_bodies(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.add_raw(&["body", "not json"]);
    crew.add_raw(&["body", "{\"multi\":\n 1.50}", "h:tenant", "acme", "key", "k1"]);
    redis::cmd("XADD").arg(crew.stream()).arg("*").arg("body").arg(b"\xff\x00").exec(&mut server.connect()).unwrap();
    // It answers with the line itself, so that the dead letters show what it was told.
    let a = crew.start("a", &Handler::new("answer=\"dead ${line#*attempt}\""));
    crew.conclude();
    let dead = crew.dead();
    let mut told: Vec<&str> = dead.iter().map(|letter| &*letter["error"]).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "\":1,\"base64\":\"/wA=\",\"headers\":{}}",
            "\":1,\"body\":{\"multi\":  1.50},\"headers\":{\"tenant\":\"acme\"},\"key\":\"k1\"}",
            "\":1,\"text\":\"not json\",\"headers\":{}}",
        ]
    );
    assert!(dead.iter().all(|letter| letter["reason"] == "rejected"), "{dead:?}");
    assert_eq!(a.outcomes().len(), 3);
}
