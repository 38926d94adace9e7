//! Ids among the lines that a process writes: bounded, whatever it writes.

use std::time::Duration;

use streamkeeper::EntryId;
use tokio::time::Instant;
use tracing::warn;

/// The longest line that is looked at, in bytes: an id has 41 at most.
const LONGEST: usize = 64;
/// How often is complained, at most.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Cuts lines, and finds ids in them.
#[derive(Default)]
pub(super) struct Ids {
    line: Vec<u8>,
    /// The line is too long, and its rest is thrown away.
    skipping: bool,
}

impl Ids {
    /// More was written: the ids in it, and what is none, cut short.
    pub(super) fn take(&mut self, bytes: &[u8], mut found: impl FnMut(Result<EntryId, String>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LONGEST - self.line.len();
            self.skipping |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.end(&mut found);
            }
        }
    }

    /// Whether it is in the middle of a line that is none of an id.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The end of everything is the end of a line, too.
    pub(super) fn end(&mut self, found: &mut impl FnMut(Result<EntryId, String>)) {
        let line = std::mem::take(&mut self.line);
        let skipped = std::mem::take(&mut self.skipping);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        match text.parse() {
            Ok(id) if !skipped => found(Ok(id)),
            _ if text.is_empty() && !skipped => {}
            _ => found(Err(if skipped { format!("{text}…") } else { text.to_owned() })),
        }
    }
}

/// What is wrong with what a process writes: said at once, and then not too often.
pub(super) struct Complaints {
    stream: String,
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    pub(super) fn about(stream: &str) -> Complaints {
        Complaints { stream: stream.to_owned(), said: None, unsaid: 0 }
    }

    pub(super) fn say(&mut self, what: &str) {
        if self.said.is_some_and(|said| said.elapsed() < COMPLAINTS) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.said = Some(Instant::now());
        warn!(stream = self.stream, unsaid, "not committed: {what}");
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if self.unsaid > 0 {
            warn!(stream = self.stream, unsaid = self.unsaid, "not committed: more of the kind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parts: &[&[u8]]) -> Vec<String> {
        let (mut ids, mut found) = (Ids::default(), Vec::new());
        let mut note =
            |id: Result<EntryId, String>| found.push(id.map_or_else(|e| format!("no: {e}"), |id| id.to_string()));
        for part in parts {
            ids.take(part, &mut note);
            assert!(ids.line.len() <= LONGEST && ids.line.capacity() <= 2 * LONGEST);
        }
        ids.end(&mut note);
        found
    }

    #[test]
    fn ids_are_found_however_they_are_cut() {
        assert_eq!(all(&[b"5-1\n6-0\r\n\n  7-2 \n"]), ["5-1", "6-0", "7-2"]);
        assert_eq!(all(&[b"5", b"-", b"1\n6", b"-0"]), ["5-1", "6-0"]);
        assert_eq!(all(&[b"ok\n5-1\n\xff\n5\n-\n"]), ["no: ok", "5-1", "no: \u{fffd}", "no: 5", "no: -"]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let endless = vec![b'y'; 100_000];
        let cut = format!("no: {}…", "y".repeat(LONGEST));
        assert_eq!(all(&[&endless, &endless, b"\n5-1\n", &endless]), [cut.clone(), "5-1".to_owned(), cut]);
        // One that only begins like an id is none.
        let long = [b"5-1".as_slice(), &b" ".repeat(200), b"x\n"].concat();
        assert_eq!(all(&[&long]), ["no: 5-1…"]);
        assert_eq!(all(&[&[b'1'; LONGEST]]), [format!("no: {}", "1".repeat(LONGEST))]);
    }
}
