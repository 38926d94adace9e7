//! The same behaviour on every stage.

mod sockets;
mod twice;

use std::{
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper::{ByteStream, Connect, Link, Time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{HostId, REDIS, Stage, events::Events, turmoil::Turmoil};
use crate::plan::Way;

const HOST: HostId = 1;

type Log = Arc<Mutex<Vec<(u64, String)>>>;

fn stages() -> Vec<(&'static str, Box<dyn Stage>)> {
    vec![
        ("events", Box::new(Events::new(7, (1_000, 1_000)).unwrap())),
        ("turmoil", Box::new(Turmoil::new(7, (1_000, 1_000)))),
    ]
}

/// A server that answers every byte, and a host that sends one every 100 ms on one connection at a time, waits for the
/// answer for 300 ms at most, and then begins anew.
fn set_up(stage: &mut dyn Stage) -> Log {
    set_up_several(stage, 1)
}

/// The same with several hosts. The first one's words stand as they are, the others' with their numbers.
fn set_up_several(stage: &mut dyn Stage, hosts: HostId) -> Log {
    let log = Log::default();
    stage.server(
        REDIS,
        Rc::new(|_, mut stream| {
            Box::pin(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            })
        }),
    );
    for host in 1..=hosts {
        let name = if host == HOST { String::new() } else { format!("{host}: ") };
        let (connect, clock, seen) = (stage.connect(host, 0), stage.clock(), log.clone());
        let say: Rc<dyn Fn(&str)> = Rc::new(move |what| {
            seen.lock().unwrap().push((clock.now().as_micros() / 1_000, format!("{name}{what}")));
        });
        stage.host(host, Rc::new(move || Box::pin(ask_for_ever(connect.clone(), say.clone()))));
        stage.start(host);
    }
    log
}

async fn ask_for_ever(connect: Arc<dyn Connect>, say: Rc<dyn Fn(&str)>) {
    loop {
        let Ok(Ok(mut stream)) = timeout(Duration::from_millis(300), connect.open(Link::Commands)).await else {
            say("no connection");
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        say("connected");
        loop {
            match timeout(Duration::from_millis(300), ask(&mut *stream)).await {
                Ok(Ok(())) => say("answer"),
                Ok(Err(_)) => break say("broken"),
                Err(_) => break say("silence"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn ask(stream: &mut dyn ByteStream) -> std::io::Result<()> {
    let mut byte = [1];
    stream.write_all(&byte).await?;
    stream.read_exact(&mut byte).await.map(drop)
}

fn run(stage: &mut dyn Stage, ms: u64) {
    stage.run_until(stage.now() + Duration::from_millis(ms));
}

/// What was logged from then on, without the times.
fn since(log: &Log, at: Time) -> Vec<String> {
    let at = at.as_micros() / 1_000;
    log.lock().unwrap().iter().filter(|(when, _)| *when >= at).map(|(_, what)| what.clone()).collect()
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|line| *line == what).count()
}

#[test]
fn bytes_take_their_time() {
    for (name, mut stage) in stages() {
        let log = set_up(&mut *stage);
        run(&mut *stage, 1_000);
        let log = log.lock().unwrap().clone();
        assert_eq!(log[0].1, "connected", "{name}");
        let answers = log.iter().filter(|(_, what)| what == "answer").count();
        assert!((8..=10).contains(&answers), "{name}: {log:?}");
    }
}

#[test]
fn what_is_stalled_arrives_afterwards() {
    for way in [Way::Both, Way::Out, Way::In] {
        for (name, mut stage) in stages() {
            let log = set_up(&mut *stage);
            run(&mut *stage, 1_000);
            let before = stage.now();
            stage.stall((HOST, REDIS), way, true);
            run(&mut *stage, 200);
            assert_eq!(count(&since(&log, before), "answer"), 0, "{name} {way:?}");
            stage.stall((HOST, REDIS), way, false);
            run(&mut *stage, 300);
            let seen = since(&log, before);
            assert!(count(&seen, "answer") >= 2 && count(&seen, "connected") == 0, "{name} {way:?}: {seen:?}");
        }
    }
}

#[test]
fn what_is_cut_off_is_dead_for_ever() {
    for way in [Way::Both, Way::Out, Way::In] {
        for (name, mut stage) in stages() {
            let log = set_up(&mut *stage);
            run(&mut *stage, 1_000);
            let before = stage.now();
            stage.partition((HOST, REDIS), way, true);
            run(&mut *stage, 2_000);
            let seen = since(&log, before);
            assert!(count(&seen, "answer") == 0 && count(&seen, "silence") == 1, "{name} {way:?}: {seen:?}");
            assert!(count(&seen, "no connection") > 2, "{name} {way:?}: {seen:?}");
            let healed = stage.now();
            stage.partition((HOST, REDIS), way, false);
            run(&mut *stage, 2_000);
            let seen = since(&log, healed);
            assert!(count(&seen, "connected") == 1 && count(&seen, "answer") > 5, "{name} {way:?}: {seen:?}");
        }
    }
}

#[test]
fn a_short_cut_kills_the_connection_all_the_same() {
    for (name, mut stage) in stages() {
        let log = set_up(&mut *stage);
        run(&mut *stage, 1_000);
        let before = stage.now();
        stage.partition((HOST, REDIS), Way::Both, true);
        run(&mut *stage, 10);
        stage.partition((HOST, REDIS), Way::Both, false);
        run(&mut *stage, 1_000);
        let seen = since(&log, before);
        assert_eq!((count(&seen, "silence"), count(&seen, "connected")), (1, 1), "{name}: {seen:?}");
    }
}

#[test]
fn connections_break() {
    for (name, mut stage) in stages() {
        let log = set_up(&mut *stage);
        run(&mut *stage, 1_000);
        let before = stage.now();
        stage.reset((HOST, REDIS));
        run(&mut *stage, 500);
        let seen = since(&log, before);
        assert_eq!((count(&seen, "broken"), count(&seen, "connected")), (1, 1), "{name}: {seen:?}");
    }
}

#[test]
fn a_slow_road() {
    for (name, mut stage) in stages() {
        let log = set_up(&mut *stage);
        run(&mut *stage, 1_000);
        let before = stage.now();
        stage.slow((HOST, REDIS), Duration::from_millis(100));
        run(&mut *stage, 3_000);
        let seen = since(&log, before);
        let answers = count(&seen, "answer");
        assert!((8..=12).contains(&answers) && count(&seen, "silence") == 0, "{name}: {seen:?}");
    }
}

#[test]
fn the_killed_say_nothing_and_begin_anew() {
    for (name, mut stage) in stages() {
        let log = set_up(&mut *stage);
        run(&mut *stage, 1_000);
        let killed = stage.now();
        stage.crash(HOST);
        run(&mut *stage, 1_000);
        assert_eq!(since(&log, killed + Duration::from_millis(5)), Vec::<String>::new(), "{name}");
        stage.start(HOST);
        run(&mut *stage, 1_000);
        let seen = since(&log, killed + Duration::from_millis(5));
        assert!(count(&seen, "connected") == 1 && count(&seen, "answer") > 5, "{name}: {seen:?}");
    }
}

#[test]
fn the_frozen_do_nothing_and_find_what_came_meanwhile() {
    for inside in [false, true] {
        for (name, mut stage) in stages() {
            let log = set_up(&mut *stage);
            run(&mut *stage, 1_000);
            let frozen = stage.now();
            if inside {
                (stage.freezer(HOST).0)(Duration::from_millis(1_000));
            } else {
                stage.freeze(HOST, frozen + Duration::from_millis(1_000));
            }
            run(&mut *stage, 990);
            assert_eq!(since(&log, frozen + Duration::from_millis(5)), Vec::<String>::new(), "{name}");
            run(&mut *stage, 1_000);
            let seen = since(&log, frozen + Duration::from_millis(5));
            assert!(count(&seen, "answer") > 5 && count(&seen, "connected") == 0, "{name}: {seen:?}");
        }
    }
}

#[test]
fn clocks_of_hosts_drift() {
    for (name, mut stage) in stages() {
        let _log = set_up(&mut *stage);
        run(&mut *stage, 10_000);
        let (fast, slow) = (stage.connect(HOST, 20_000).clock(), stage.connect(HOST, -20_000).clock());
        assert_eq!((fast.now(), slow.now()), (Time::from_millis(10_200), Time::from_millis(9_800)), "{name}");
        assert_eq!(stage.clock().now(), Time::from_millis(10_000), "{name}");
    }
}

#[test]
fn panics_are_told() {
    for (name, mut stage) in stages() {
        stage.server(REDIS, Rc::new(|_, _| Box::pin(async {})));
        let connect = stage.connect(HOST, 0);
        stage.host(
            HOST,
            Rc::new(move || {
                let connect = connect.clone();
                Box::pin(async move {
                    connect.spawn(Box::pin(async { panic!("a planted one") }));
                })
            }),
        );
        stage.start(HOST);
        run(&mut *stage, 100);
        let panics = stage.panics();
        assert!(panics.len() == 1 && panics[0].contains("a planted one"), "{name}: {panics:?}");
    }
}
