//! A server that is too old is refused at the start. It is played by one that is not, behind a wire that changes what it
//! says of itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(an_old_server_is_refused);

/// The URL of a wire to the server, on which the first text stands as the second, of the same length.
fn disguised(server: &Server, real: &str, fake: &'static str) -> String {
    assert_eq!(real.len(), fake.len());
    let real: Arc<str> = real.into();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let port = server.port();
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let real = real.clone();
            let (to, from) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            thread::spawn(move || copy(client, to, |_| ()));
            thread::spawn(move || copy(server, from, |bytes| replace(bytes, real.as_bytes(), fake.as_bytes())));
        }
    });
    url
}

fn copy(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut buffer = [0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        change(&mut buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn replace(bytes: &mut [u8], real: &[u8], fake: &[u8]) {
    let found = (0..bytes.len().saturating_sub(real.len())).find(|at| bytes[*at..].starts_with(real));
    if let Some(at) = found {
        bytes[at..at + fake.len()].copy_from_slice(fake);
    }
}

fn an_old_server_is_refused(flavor: Flavor) {
    let server = Server::start(flavor);
    let version = server.info("redis_version").expect("a version");
    let (major, minor) = version.split_at(1);
    let url = disguised(&server, &format!("redis_version:{major}."), "redis_version:5.");
    let old = format!("5{minor}");
    for command in [
        &["work", "--service", "svc", "--name", "a"][..],
        &["consume", "--stream", "orders", "--group", "billing", "--exec", "cat"],
    ] {
        let answer = streamkeeper(&[command, &["--redis", &url]].concat());
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.errors.contains(&format!("Redis {old}")) && answer.errors.contains("6.2"), "{answer:?}");
    }
    // The wire is no obstacle by itself.
    let url = disguised(&server, "redis_version:5.", "redis_version:5.");
    let answer = streamkeeper(&["status", "--service", "svc", "--redis", &url]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}
