//! The server on byte streams and tokio's clock.

use std::{cell::RefCell, rc::Rc};

use streamkeeper::{ByteStream, Clock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::{LocalSet, spawn_local},
};

use super::*;
use crate::redis::serve::Server;

/// Runs on tokio's virtual time; the server, and how to connect to it.
fn served<F: Future<Output = ()>>(test: impl FnOnce(Server, Rc<RefCell<Vec<Executed>>>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let plan = RedisPlan { persistence: Persistence::None, ..RedisPlan::default() };
        let (heard, clock) = (Rc::new(RefCell::new(Vec::new())), Clock::tokio());
        let hearing = heard.clone();
        let mut redis = Redis::new(&plan, 1, Time::ZERO);
        redis.observe();
        let server = Server::new(
            redis,
            move || clock.now(),
            move |heard| {
                if let Output::Executed(executed) = heard {
                    hearing.borrow_mut().push(executed);
                }
            },
        );
        let ticker = server.clone();
        spawn_local(async move { ticker.tick().await });
        test(server, heard).await;
    });
}

fn connect(server: &Server) -> DuplexStream {
    let (here, there) = tokio::io::duplex(1024);
    let (server, there): (Server, Box<dyn ByteStream>) = (server.clone(), Box::new(there));
    spawn_local(async move { server.serve(there, |_| {}).await });
    here
}

async fn ask(stream: &mut DuplexStream, line: &str, answer: &str) {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    hear(stream, answer).await;
}

async fn hear(stream: &mut DuplexStream, answer: &str) {
    let mut bytes = vec![0; answer.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), answer);
}

#[test]
fn connections_are_served_side_by_side() {
    served(|server, heard| async move {
        let (mut a, mut b) = (connect(&server), connect(&server));
        a.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").await.unwrap();
        ask(&mut b, "XADD s 1-1 a b", "$3\r\n1-1\r\n").await;
        hear(&mut a, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n").await;
        ask(&mut a, "EVAL \"return 7\" 0", ":7\r\n").await;
        assert_eq!(heard.borrow().len(), 1);
    });
}

#[test]
fn the_server_keeps_its_own_time() {
    served(|server, _| async move {
        let mut a = connect(&server);
        let began = tokio::time::Instant::now();
        ask(&mut a, "XREAD BLOCK 1000 STREAMS s $", "*-1\r\n").await;
        let waited = began.elapsed();
        assert!((Duration::from_secs(1)..=Duration::from_millis(1102)).contains(&waited), "{waited:?}");
        // An earlier end than the one that the ticker sleeps for.
        ask(&mut a, "SET late v EX 100\r\nSUBSCRIBE x", "+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n").await;
        server.with(|redis, now| {
            redis.inject(&RedisFault::DelayMessages { by_ms: 500, ms: 1 }, now);
            redis.command(["PUBLISH", "x", "y"]);
        });
        let began = tokio::time::Instant::now();
        hear(&mut a, "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n").await;
        assert!(began.elapsed() < Duration::from_millis(502));
    });
}

#[test]
fn who_leaves_is_gone_and_who_is_thrown_out_hears_it() {
    served(|server, _| async move {
        let (mut a, mut b) = (connect(&server), connect(&server));
        ask(&mut a, "SUBSCRIBE x", "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n").await;
        drop(a);
        tokio::task::yield_now().await;
        ask(&mut b, "PUBLISH x y", ":0\r\n").await;
        server.with(|redis, now| redis.inject(&RedisFault::Disconnect, now));
        assert_eq!(b.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn it_ends_when_it_is_told_to() {
    served(|server, _| async move {
        let mut a = connect(&server);
        a.write_all(b"SHUTDOWN NOSAVE\r\n").await.unwrap();
        server.ended().await;
        assert_eq!(a.read(&mut [0; 8]).await.unwrap(), 0);
    });
}
