//! The bytes of a test's connection, on which the words of each request are counted: who sends more than the strictest
//! server takes fails its test.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

use super::MOST_ARGUMENTS;

/// What an application gives us in one piece is its own matter; so is what a test prepares.
const MAY_BE_LONG: [&[u8]; 2] = [b"XADD", b"CLUSTER"];

pub(crate) struct Counted {
    stream: UnixStream,
    requests: Requests,
}

impl Counted {
    pub(crate) fn new(stream: UnixStream) -> Counted {
        Counted { stream, requests: Requests::default() }
    }
}

/// Requests, read as they are written: arrays of bulk strings.
#[derive(Default)]
struct Requests {
    /// What has come of a line.
    line: Vec<u8>,
    /// How much of a bulk string is to come, with the end of its line.
    bulk: usize,
    /// How many words the request has.
    words: usize,
    /// Its name, once it has come.
    name: Option<Vec<u8>>,
}

impl Requests {
    /// Answers the first request that is too long: its name, and how many words it has.
    fn read(&mut self, mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut found = None;
        while let Some((&first, rest)) = bytes.split_first() {
            if self.bulk > 0 {
                let (part, rest) = bytes.split_at(self.bulk.min(bytes.len()));
                self.bulk -= part.len();
                bytes = rest;
                if self.name.is_none() {
                    self.line.extend_from_slice(part);
                    if self.bulk == 0 {
                        found = found.or(self.named());
                    }
                }
                continue;
            }
            bytes = rest;
            match first {
                b'\n' => self.end_line(),
                _ => self.line.push(first),
            }
        }
        found
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let number = std::str::from_utf8(&line[1..]).ok().and_then(|text| text.trim_end().parse::<usize>().ok());
        let number = number.expect("a request in RESP");
        match line[0] {
            b'*' => (self.words, self.name) = (number, None),
            b'$' => self.bulk = number + 2,
            other => panic!("a request begins with {other}"),
        }
    }

    fn named(&mut self) -> Option<(Vec<u8>, usize)> {
        let name = std::mem::take(&mut self.line).trim_ascii_end().to_ascii_uppercase();
        self.name = Some(name.clone());
        (self.words > MOST_ARGUMENTS && !MAY_BE_LONG.contains(&name.as_slice())).then_some((name, self.words))
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(n)) = written
            && let Some((name, words)) = self.requests.read(&bytes[..n])
        {
            let name = String::from_utf8_lossy(&name);
            return Poll::Ready(Err(io::Error::other(format!(
                "{name} with {words} words, more than {MOST_ARGUMENTS}"
            ))));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[test]
fn words_are_counted_however_they_come() {
    let request = |name: &str, more: usize| {
        let mut text = format!("*{}\r\n${}\r\n{name}\r\n", 1 + more, name.len());
        (0..more).for_each(|_| text.push_str("$4\r\n\r\n*9\r\n"));
        text
    };
    let all = [request("get", 1), request("xadd", 5_000), request("del", 3_998), request("mget", 3_999)].concat();
    for size in [1, 7, all.len()] {
        let mut requests = Requests::default();
        let found: Vec<_> = all.as_bytes().chunks(size).filter_map(|part| requests.read(part)).collect();
        assert_eq!(found, [(b"MGET".to_vec(), 4_000)], "{size}");
    }
}
