//! What a connection does to those who hold its ends.

use std::{cell::RefCell, io};

use super::*;

/// A host that does this with its first connection, and a server that does that with it. Each says what it finds.
fn meet<H, S, HF, SF>(stage: &mut dyn Stage, host: H, server: S) -> Log
where
    H: Fn(Box<dyn ByteStream>, Say) -> HF + 'static,
    S: Fn(Box<dyn ByteStream>, Say) -> SF + 'static,
    HF: Future<Output = ()> + 'static,
    SF: Future<Output = ()> + 'static,
{
    let log = Log::default();
    let say = Say { log: log.clone(), clock: stage.clock() };
    let (host, server) = (Rc::new(host), Rc::new(server));
    let words = say.clone();
    stage.server(REDIS, Rc::new(move |_, stream| Box::pin(server(stream, words.clone()))));
    let connect = stage.connect(HOST, 0);
    stage.host(
        HOST,
        Rc::new(move || {
            let (connect, host, say) = (connect.clone(), host.clone(), say.clone());
            Box::pin(async move {
                match connect.open(Link::Commands).await {
                    Ok(stream) => host(stream, say).await,
                    Err(error) => say.say(&format!("{:?}", error.kind())),
                }
            })
        }),
    );
    stage.start(HOST);
    log
}

#[derive(Clone)]
struct Say {
    log: Log,
    clock: streamkeeper::Clock,
}

impl Say {
    fn say(&self, what: &str) {
        self.log.lock().unwrap().push((self.clock.now().as_micros() / 1_000, what.to_owned()));
    }

    fn found(&self, found: &io::Result<usize>) {
        self.say(&match found {
            Ok(0) => "end".to_owned(),
            Ok(_) => "bytes".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        });
    }
}

/// Reads until there is no more.
async fn listen(mut stream: Box<dyn ByteStream>, say: Say) {
    let mut buffer = [0; 1_024];
    loop {
        let found = stream.read(&mut buffer).await;
        say.found(&found);
        if !matches!(found, Ok(read) if read > 0) {
            return;
        }
    }
}

/// Holds a connection, and does nothing with it.
async fn hold(stream: Box<dyn ByteStream>, _: Say) {
    let () = std::future::pending().await;
    drop(stream);
}

/// What was said, without repetitions.
fn words(log: &Log) -> Vec<String> {
    let mut words: Vec<String> = log.lock().unwrap().iter().map(|(_, word)| word.clone()).collect();
    words.dedup();
    words
}

#[test]
fn who_hangs_up_is_heard_after_what_it_said() {
    for (name, mut stage) in stages() {
        let last_words =
            |mut stream: Box<dyn ByteStream>, _: Say| async move { stream.write_all(b"farewell").await.unwrap() };
        let log = meet(&mut *stage, last_words, listen);
        run(&mut *stage, 100);
        assert_eq!(words(&log), ["bytes", "end"], "{name}");
    }
}

#[test]
fn who_is_killed_is_heard_after_what_it_said() {
    for (name, mut stage) in stages() {
        let speak = |mut stream: Box<dyn ByteStream>, _: Say| async move {
            stream.write_all(b"and then").await.unwrap();
            hold(stream, Say { log: Log::default(), clock: streamkeeper::Clock::system() }).await;
        };
        let log = meet(&mut *stage, speak, listen);
        run(&mut *stage, 100);
        assert_eq!(words(&log), ["bytes"], "{name}");
        stage.crash(HOST);
        run(&mut *stage, 100);
        assert_eq!(words(&log), ["bytes", "end"], "{name}");
    }
}

#[test]
fn who_is_killed_while_cut_off_is_not_heard() {
    for (name, mut stage) in stages() {
        let log = meet(&mut *stage, hold, listen);
        run(&mut *stage, 100);
        stage.partition((HOST, REDIS), Way::Out, true);
        stage.crash(HOST);
        run(&mut *stage, 100);
        stage.partition((HOST, REDIS), Way::Out, false);
        run(&mut *stage, 1_000);
        assert!(words(&log).is_empty(), "{name}: {log:?}");
    }
}

#[test]
fn who_speaks_to_nobody_is_told() {
    for (name, mut stage) in stages() {
        let speak = |mut stream: Box<dyn ByteStream>, say: Say| async move {
            while stream.write_all(b"hello?").await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            say.say("told");
        };
        let log = meet(&mut *stage, speak, |_, _| async {});
        run(&mut *stage, 200);
        assert_eq!(words(&log), ["told"], "{name}");
    }
}

#[test]
fn what_nobody_reads_fills_the_buffers() {
    for (name, mut stage) in stages() {
        let written = Rc::new(RefCell::new(0));
        let sum = written.clone();
        let flood = move |mut stream: Box<dyn ByteStream>, _: Say| {
            let sum = sum.clone();
            async move {
                while let Ok(written) = stream.write(&[0; 4_096]).await {
                    *sum.borrow_mut() += written;
                }
            }
        };
        let log = meet(&mut *stage, flood, listen);
        stage.freeze(REDIS, Time::from_millis(1_000));
        run(&mut *stage, 900);
        let full = *written.borrow();
        assert!(full > 60_000 && full < 1_000_000 && words(&log).is_empty(), "{name}: {full} bytes");
        stage.crash(HOST);
        run(&mut *stage, 1_000);
        assert_eq!(words(&log), ["bytes", "end"], "{name}");
    }
}

#[test]
fn the_order_is_kept_whatever_each_byte_takes() {
    let jittery: [(&str, Box<dyn Stage>); 2] = [
        ("events", Box::new(Events::new(3, (200, 40_000)).unwrap())),
        ("turmoil", Box::new(Turmoil::new(3, (200, 40_000)))),
    ];
    for (name, mut stage) in jittery {
        let count = |mut stream: Box<dyn ByteStream>, _: Say| async move {
            for number in 0..200u8 {
                stream.write_all(&[number]).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
        };
        let heard = Rc::new(RefCell::new(Vec::new()));
        let listens = heard.clone();
        meet(&mut *stage, count, move |mut stream, _| {
            let heard = listens.clone();
            async move {
                while let Ok(byte) = stream.read_u8().await {
                    heard.borrow_mut().push(byte);
                }
            }
        });
        run(&mut *stage, 2_000);
        assert_eq!(*heard.borrow(), (0..200).collect::<Vec<u8>>(), "{name}");
    }
}

#[test]
fn where_nobody_listens_one_is_refused() {
    for (name, mut stage) in stages() {
        let log = meet(&mut *stage, hold, hold);
        stage.crash(REDIS);
        run(&mut *stage, 100);
        assert_eq!(words(&log), ["ConnectionRefused"], "{name}");
    }
}

#[test]
fn who_knocks_at_a_closed_door_gets_in_when_it_opens() {
    for way in [Way::Both, Way::Out, Way::In] {
        for (name, mut stage) in stages() {
            let greet = |stream, say: Say| async move {
                say.say("in");
                hold(stream, say).await;
            };
            let log = meet(&mut *stage, greet, hold);
            stage.partition((HOST, REDIS), way, true);
            run(&mut *stage, 1_500);
            assert!(words(&log).is_empty(), "{name} {way:?}");
            stage.partition((HOST, REDIS), way, false);
            run(&mut *stage, 5_000);
            assert_eq!(words(&log), ["in"], "{name} {way:?}");
        }
    }
}

#[test]
fn a_frozen_server_still_lets_one_in() {
    for (name, mut stage) in stages() {
        let greet = |stream, say: Say| async move {
            say.say("in");
            hold(stream, say).await;
        };
        let log = meet(&mut *stage, greet, hold);
        stage.freeze(REDIS, Time::from_millis(1_000));
        run(&mut *stage, 500);
        assert_eq!(words(&log), ["in"], "{name}");
    }
}

#[test]
fn who_freezes_its_host_freezes_all_its_tasks() {
    for (name, mut stage) in stages() {
        let log = Log::default();
        let say = Say { log: log.clone(), clock: stage.clock() };
        let (connect, freezer) = (stage.connect(HOST, 0), stage.freezer(HOST));
        stage.host(
            HOST,
            Rc::new(move || {
                let (connect, freezer, say) = (connect.clone(), freezer.clone(), say.clone());
                Box::pin(async move {
                    // Woken by the same tick; whoever runs first stops the other one.
                    for _ in 0..2 {
                        let (freezer, say) = (freezer.clone(), say.clone());
                        connect.spawn(Box::pin(async move {
                            sleep(Duration::from_millis(20)).await;
                            say.say("freezes");
                            (freezer.0)(Duration::from_millis(500));
                            tokio::task::yield_now().await;
                            say.say("goes on");
                        }));
                    }
                })
            }),
        );
        stage.start(HOST);
        run(&mut *stage, 300);
        assert_eq!(log.lock().unwrap().len(), 1, "{name}: {log:?}");
        stage.freeze(HOST, stage.now() + Duration::from_millis(1));
        run(&mut *stage, 50);
        assert!(words(&log).len() > 1, "{name}: thawed before its time");
    }
}

#[test]
fn the_network_of_events_is_exact_to_the_microsecond() {
    let mut stage = Events::new(1, (300, 300)).unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let (heard, clock) = (log.clone(), stage.clock());
    meet(
        &mut stage,
        |mut stream, _| async move { stream.write_all(b"x").await.unwrap() },
        move |mut stream, _| {
            let (heard, clock) = (heard.clone(), clock.clone());
            async move {
                let _ = stream.read_u8().await;
                heard.borrow_mut().push(clock.now().as_micros());
            }
        },
    );
    run(&mut stage, 10);
    assert_eq!(*log.borrow(), [900], "there, back, and there again");
}

#[test]
fn a_closed_end_takes_no_more() {
    for (name, mut stage) in stages() {
        let close = |mut stream: Box<dyn ByteStream>, say: Say| async move {
            stream.shutdown().await.unwrap();
            stream.flush().await.unwrap();
            say.found(&stream.write(b"more").await);
            say.found(&stream.read(&mut [0]).await);
        };
        let answer = |mut stream: Box<dyn ByteStream>, _: Say| async move {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            stream.write_all(b"!").await.unwrap();
            sleep(Duration::from_millis(50)).await;
        };
        let log = meet(&mut *stage, close, answer);
        run(&mut *stage, 100);
        assert_eq!(words(&log), ["BrokenPipe", "bytes"], "{name}");
        assert_eq!(stage.panics(), Vec::<String>::new(), "{name}");
    }
}
