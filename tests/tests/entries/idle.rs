//! Many streams: one connection reads all of them, and a busy one starves nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use streamkeeper::{EntriesError, Lease};
use streamkeeper_tests::{flavor::Flavor, wait};

use crate::stage::{Stage, block_on, within};

on_both!(ten_thousand_idle_streams_share_one_reader);

const STREAMS: usize = 10_000;

/// How many entries were read of each stream, and how many streams are opened.
struct Counted {
    read: Vec<AtomicU64>,
    opened: AtomicU64,
}

impl Counted {
    fn read(&self, stream: usize) -> u64 {
        self.read[stream].load(Ordering::Relaxed)
    }

    async fn read_all(&self, lease: Lease) -> Result<(), EntriesError> {
        let number: usize = lease.stream().as_str()[1..].parse().expect("a number");
        let mut entries = lease.entries_as::<u64>();
        self.opened.fetch_add(1, Ordering::Relaxed);
        while let Some(batch) = entries.next_batch().await {
            self.read[number].fetch_add(batch?.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What CLIENT LIST says of those that are connected.
fn clients(stage: &Stage) -> Vec<String> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut stage.connection()).unwrap();
    list.lines().map(str::to_owned).collect()
}

fn is_reading(client: &str) -> bool {
    client.contains(" cmd=xread ")
}

fn ten_thousand_idle_streams_share_one_reader(flavor: Flavor) {
    let stage = Arc::new(Stage::on(flavor));
    let names: Vec<String> = (0..STREAMS).map(|n| format!("s{n}")).collect();
    stage.announce(&names);
    let counted = Arc::new(Counted { read: (0..STREAMS).map(|_| AtomicU64::new(0)).collect(), opened: 0.into() });
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let running = tokio::spawn({
            let (client, counted) = (client.clone(), counted.clone());
            async move {
                let work = move |lease| {
                    let counted = counted.clone();
                    async move { counted.read_all(lease).await }
                };
                client.run(work).await
            }
        });
        tokio::task::block_in_place(|| {
            wait::until("all are opened", || counted.opened.load(Ordering::Relaxed) == STREAMS as u64);
            wait::until("one connection waits for all of them", || {
                clients(&stage).iter().filter(|client| is_reading(client)).count() == 1
            });
            // Any of them is heard of.
            for stream in (0..STREAMS).step_by(997) {
                stage.add(&names[stream], 0..1);
                wait::until("its entry arrives", || counted.read(stream) == 1);
            }
            // Three to own, two to read and commit, and the one that asks; those that added entries are going.
            wait::until("five connections serve all streams", || clients(&stage).len() == 6);
            one_busy_stream_starves_nobody(&stage, &names, &counted);
        });
        client.shutdown(Duration::from_secs(60)).await;
        within(running).await.unwrap().unwrap();
    });
}

/// There is more to be read of one stream than is read; what trickles into others arrives meanwhile.
fn one_busy_stream_starves_nobody(stage: &Arc<Stage>, names: &[String], counted: &Counted) {
    const BUSY: usize = 1;
    const MUCH: u64 = 300_000;
    let adding = std::thread::spawn({
        let (stage, name) = (stage.clone(), names[BUSY].clone());
        move || (0..MUCH).step_by(10_000).for_each(|first| stage.add(&name, first..first + 10_000))
    });
    wait::until("it is busy", || counted.read(BUSY) > 1_000);
    for stream in (2..STREAMS).step_by(1_999) {
        let before = counted.read(stream);
        stage.add(&names[stream], 5..6);
        wait::until("what trickles arrives", || counted.read(stream) > before);
        assert!(counted.read(BUSY) < MUCH, "it arrives after all of the busy one");
    }
    adding.join().unwrap();
    wait::until("all of the busy one arrives", || counted.read(BUSY) == MUCH);
}
