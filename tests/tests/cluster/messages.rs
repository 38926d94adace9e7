//! Messages while the cluster changes.

use std::time::Duration;

use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;

on_both!(failover_and_move);

/// Producers and workers go on over failovers and while the slot moves, there and back.
fn failover_and_move(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let crew = Crew::on_cluster(&cluster).with(&["--concurrency", "4", "--reclaim-idle", "6s"]);
    crew.start_all(["a", "b"], &Handler::sleeping("0.05"));
    let slot = cluster.slot("orders");
    for round in 0..3 {
        let numbers = crew.send(100);
        crew.wait_runs("some progress", |runs| runs.all().iter().filter(|run| run.number >= numbers[0]).count() > 10);
        match round {
            0 => cluster.fail_over(slot),
            1 => cluster.move_slot(slot, cluster.join(), Duration::ZERO),
            _ => cluster.move_slot(slot, cluster.another_primary(slot), Duration::ZERO),
        }
        // The command line by the URL alone: producers, and a look.
        let number = crew.next_number();
        let sent = crew.command_on_stream(&["send", &format!("{{\"n\":{number}}}")], b"");
        assert_eq!(sent.code, Some(0), "{sent:?}");
        crew.command_ok(&["messages", "status"]);
    }
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0], "everything was held by somebody who lived");
}
