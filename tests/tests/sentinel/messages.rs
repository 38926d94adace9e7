//! The second half: producers and workers go on over a failover.

use std::time::Duration;

use serde_json::{Value, json};
use streamkeeper::messages::{Message, Producer};
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::sentinel::Watched;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

use crate::load::wait_replicated;

on_both!(goes_on_after_a_kill, goes_on_after_a_freeze);

fn goes_on_after_a_kill(flavor: Flavor) {
    goes_on(flavor, Server::kill);
}

/// Its connections stay, and nobody answers: the producer's, too, that only asks now and then.
fn goes_on_after_a_freeze(flavor: Flavor) {
    goes_on(flavor, Server::freeze);
}

/// What both replicas had is handled, and so is what a producer sends meanwhile, if it sends it again with the same key
/// until it is acknowledged by the new primary.
fn goes_on(flavor: Flavor, fault: impl Fn(&Server)) {
    let watched = Watched::start(flavor);
    let first = watched.first();
    let crew = Crew::on(first).url(&watched.url()).with(&["--concurrency", "4", "--reclaim-idle", "4s"]);
    crew.start_all(["a", "b"], &Handler::sleeping("0.1"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let producer = Producer::<Value>::builder(crew.stream()).redis(watched.url()).build().unwrap();
    let send = |number: u64| {
        let message = Message::new(json!({ "n": number })).once(format!("key{number}"), Duration::from_secs(3_600));
        runtime.block_on(producer.send_message(message))
    };
    for _ in 0..20 {
        send(crew.next_number()).unwrap();
    }
    crew.send(40);
    wait_replicated(first);
    fault(first);
    let mut unsure = Vec::new();
    wait::until("another primary", || {
        let number = crew.next_number();
        let _ = send(number);
        unsure.push(number);
        watched.primary().is_some_and(|primary| primary.port() != first.port())
    });
    let primary = watched.wait_other_than(first);
    crew.moved_to(primary);
    unsure.extend((0..20).map(|_| crew.next_number()));
    for number in unsure {
        wait::until("the producer to reach the new primary", || send(number).is_ok());
    }
    crew.command_ok(&["messages", "status"]);
    crew.conclude();
}
