//! Who asks now and then, with a connection that he has had for long: nothing is refused because the slot is elsewhere now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use streamkeeper::messages::{Consumer, Producer};
use streamkeeper::{Announce, Client};
use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::wait::{self, UntilDropped};

on_both!(slot_moves);

/// The keys of a slot are between two nodes for a while, which both send away whoever asks for them.
const LINGERING: Duration = Duration::from_millis(300);

/// How long announcements are remembered.
const WINDOW: Duration = Duration::from_secs(3_600);

fn slot_moves(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let service = Client::builder("orders").redis(cluster.url()).service().unwrap();
    let producer: Producer<u64> = Producer::builder("orders").redis(cluster.url()).build().unwrap();
    let letters = Consumer::builder("orders", "billing").redis(cluster.url()).messages().unwrap();
    let (asked, over) = (AtomicU64::new(0), AtomicBool::new(false));
    // The keys of both and the stream lie in the slot of `orders`.
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let number = asked.load(Ordering::Relaxed);
                runtime.block_on(async {
                    service.announce(format!("s{number}")).await.unwrap();
                    let two = [format!("t{number}"), format!("u{number}")]
                        .map(|name| Announce::new(name.clone()).once(name, WINDOW));
                    for entry in service.announce_many(two).await {
                        entry.unwrap();
                    }
                    service.status().await.unwrap();
                    producer.send(&number).await.unwrap();
                    letters.scheduled(0, 10).await.unwrap();
                });
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let until_here = UntilDropped(&over);
        let slot = cluster.slot("orders");
        for _ in 0..4 {
            let before = asked.load(Ordering::Relaxed);
            wait::until("some answers", || asker.is_finished() || asked.load(Ordering::Relaxed) > before + 1);
            cluster.move_slot(slot, cluster.another_primary(slot), LINGERING);
        }
        drop(until_here);
        asker.join().unwrap();
    });
    let announced: u64 = runtime.block_on(service.status()).unwrap().announced;
    assert_eq!(announced, 3 * asked.into_inner(), "each once");
}
