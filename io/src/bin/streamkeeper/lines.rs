//! The lines of standard input, a chunk at a time: what is there is handed on at once, what comes fast comes together.

use std::{
    io::{BufRead, BufReader, Read},
    thread,
};

use tokio::sync::mpsc;

/// How many lines a chunk has, at most.
const CHUNK_LINES: usize = 1_000;
/// How many bytes a chunk has, about.
const CHUNK_BYTES: usize = 1 << 20;
/// How many chunks are read ahead.
const AHEAD: usize = 2;
/// The longest line, in bytes: more than a server takes for one value.
const LONGEST: u64 = 512 << 20;

/// A line without its end, or what is wrong with it; and its number, from 1 on.
pub(crate) type Numbered = (u64, Result<String, String>);

/// Reads lines in a thread of its own, since standard input cannot be waited for otherwise; blank ones count and are
/// skipped. Ends after the last line, or after one that says what went wrong.
pub(crate) fn read(input: impl Read + Send + 'static) -> mpsc::Receiver<Vec<Numbered>> {
    let (to, chunks) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut lines = Lines::new(BufReader::with_capacity(CHUNK_BYTES, input), LONGEST);
        while let Some(chunk) = lines.chunk() {
            if to.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    chunks
}

struct Lines<R> {
    input: BufReader<R>,
    longest: u64,
    /// Of the last line.
    number: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(input: BufReader<R>, longest: u64) -> Lines<R> {
        Lines { input, longest, number: 0, ended: false }
    }

    /// The next lines: as many as are there, at least one. None at the end.
    fn chunk(&mut self) -> Option<Vec<Numbered>> {
        let (mut lines, mut size) = (Vec::new(), 0);
        while !self.ended {
            let Some(line) = self.line() else {
                break;
            };
            size += line.as_ref().map_or(0, String::len);
            if !line.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                lines.push((self.number, line));
            }
            let waits = !self.input.buffer().contains(&b'\n');
            if !lines.is_empty() && (waits || lines.len() >= CHUNK_LINES || size >= CHUNK_BYTES) {
                break;
            }
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn line(&mut self) -> Option<Result<String, String>> {
        let mut line = Vec::new();
        let read = self.input.by_ref().take(self.longest).read_until(b'\n', &mut line);
        self.number += 1;
        let skipped = match read {
            Ok(0) => {
                self.ended = true;
                return None;
            }
            Ok(_) if line.len() as u64 == self.longest && !line.ends_with(b"\n") => self.input.skip_until(b'\n'),
            Ok(_) => {
                let text = String::from_utf8(line).map_err(|_| "it is no UTF-8".to_owned());
                return Some(text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()));
            }
            Err(error) => Err(error),
        };
        match skipped {
            Ok(_) => Some(Err("it is too long".to_owned())),
            Err(error) => {
                self.ended = true;
                Some(Err(format!("standard input cannot be read: {error}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], capacity: usize, longest: u64) -> Vec<Vec<Numbered>> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, input), longest);
        std::iter::from_fn(|| lines.chunk()).collect()
    }

    fn good(number: u64, text: &str) -> Numbered {
        (number, Ok(text.to_owned()))
    }

    #[test]
    fn lines_are_numbered_and_come_together() {
        let all = all(b"1\r\n\n  \n{}\nend", 100, 100);
        // The last line has no end: more might come of it.
        assert_eq!(all, [vec![good(1, "1"), good(4, "{}")], vec![good(5, "end")]]);
    }

    #[test]
    fn what_is_there_is_not_held_back() {
        assert_eq!(all(b"1\n2\n3\n", 4, 100), [vec![good(1, "1"), good(2, "2")], vec![good(3, "3")]]);
        let many = "x\n".repeat(2_500);
        let sizes: Vec<usize> = all(many.as_bytes(), 1 << 16, 100).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
    }

    #[test]
    fn a_bad_line_does_not_hide_the_others() {
        let bad = |number, why: &str| (number, Err(why.to_owned()));
        let all: Vec<Numbered> = all(b"\xff\n12345678901\n1234567890\n\n2", 100, 11).concat();
        assert_eq!(all, [bad(1, "it is no UTF-8"), bad(2, "it is too long"), good(3, "1234567890"), good(5, "2")]);
    }

    #[test]
    fn an_input_that_cannot_be_read_is_told() {
        struct Torn;
        impl Read for Torn {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("torn"))
            }
        }
        let mut chunks = read(Torn);
        let told = (1, Err("standard input cannot be read: torn".to_owned()));
        assert_eq!((chunks.blocking_recv(), chunks.blocking_recv()), (Some(vec![told]), None));
    }
}
