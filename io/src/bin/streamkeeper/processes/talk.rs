//! What is said between this program and a process: entries on its standard input, ids to commit on its standard output.
//!
//! Nothing piles up: who does not read is not written to, and of ids only the latest matters.

use std::{
    io,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, FusedFuture},
};
use streamkeeper::{
    CommitError, EntriesError, EntryId, Lease,
    entries::{Commits, Start},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    ids::{Complaints, Ids},
    line,
};

/// How much is written or read at once, in bytes, about.
const CHUNK: usize = 64 * 1_024;
/// How long nothing is read from a process that has written so much nonsense: it waits, and not everybody else.
const BREATH: Duration = Duration::from_millis(10);

/// The last entry that a process was handed.
#[derive(Default)]
pub(super) struct Handed(Mutex<Option<EntryId>>);

impl Handed {
    fn hand(&self, id: EntryId) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(Some(id));
    }

    fn last(&self) -> Option<EntryId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands a process the stream's entries, for as long as it reads them and the stream is not to be handed over. Then its
/// standard input is closed, behind a whole line.
pub(super) async fn feed(mut input: ChildStdin, lease: &Lease, start: Start, handed: &Handed) {
    let mut entries = lease.read().from(start).commits(Commits::Manual).open_raw();
    let mut lines = Vec::new();
    let mut drained = pin!(lease.draining().map(drop).fuse());
    loop {
        let batch = tokio::select! {
            biased;
            () = &mut drained => return,
            batch = entries.next_batch() => batch,
        };
        let Some(batch) = batch else { return };
        let batch = match batch {
            Ok(batch) => batch,
            // The last one, which is told elsewhere.
            Err(EntriesError::Lost { .. }) => return,
            Err(error) => {
                warn!("{error}");
                continue;
            }
        };
        let mut left = batch.iter().peekable();
        while let Some(entry) = left.next() {
            handed.hand(entry.id);
            if let Err(error) = line::write(entry.id, &entry.value, &mut lines) {
                warn!(stream = %lease.stream(), id = %entry.id, %error, "the entry cannot be written as JSON, and is left out");
            }
            if lines.len() < CHUNK && left.peek().is_some() {
                continue;
            }
            match write(&mut input, &lines, &mut drained).await {
                Ok(Written::All) => {}
                Ok(Written::Lines) => return,
                // It wants no more, or is about to end.
                Err(error) => return debug!(stream = %lease.stream(), %error, "the process reads no further"),
            }
            lines.clear();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// Only the first ones.
    Lines,
}

/// Writes lines; once it is told to stop, no more than the rest of the one that it is in the middle of. For as long as that
/// takes: a process that does not read is ended by others.
async fn write(input: &mut ChildStdin, lines: &[u8], stop: &mut (impl FusedFuture + Unpin)) -> io::Result<Written> {
    let mut out = 0;
    while out < lines.len() {
        let written = tokio::select! {
            biased;
            _ = &mut *stop => {
                input.write_all(rest_of_line(lines, out)).await?;
                return Ok(Written::Lines);
            }
            written = input.write(&lines[out..]) => written?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        out += written;
    }
    Ok(Written::All)
}

/// What is missing of the line in which so many bytes end.
fn rest_of_line(lines: &[u8], out: usize) -> &[u8] {
    let rest = &lines[out..];
    if out == 0 || lines[out - 1] == b'\n' {
        return &[];
    }
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    &rest[..end]
}

/// Commits the ids that a process writes, until it closes its standard output and the last one is committed.
pub(super) async fn listen(mut output: ChildStdout, lease: &Lease, handed: Option<&Handed>) {
    let (mut ids, mut complaints) = (Ids::default(), Complaints::about(lease.stream().as_str()));
    let mut chunk = vec![0; CHUNK];
    let (mut latest, mut open, mut bad) = (None, true, 0);
    let mut under_way: Option<BoxFuture<'static, Result<(), CommitError>>> = None;
    while open || latest.is_some() || under_way.is_some() {
        if under_way.is_none()
            && let Some(id) = latest.take()
        {
            under_way = Some(lease.commit(id).boxed());
        }
        let read = tokio::select! {
            biased;
            committed = answer(&mut under_way) => {
                under_way = None;
                if let Err(error) = committed {
                    complaints.say(&error.to_string());
                }
                continue;
            }
            read = output.read(&mut chunk), if open => read.unwrap_or(0),
        };
        open = read > 0;
        let mut nonsense = false;
        let mut found = |id: Result<EntryId, String>| {
            let wrong = match id {
                Err(text) => {
                    format!("`{text}` is no id of an entry; what is not to be committed belongs on standard error")
                }
                Ok(id) if handed.is_some_and(|handed| handed.last() < Some(id)) => format!("{id} was not handed out"),
                Ok(id) if latest > Some(id) => format!("{id} is behind {}", latest.unwrap_or(id)),
                Ok(id) => {
                    latest = Some(id);
                    return;
                }
            };
            complaints.say(&wrong);
            nonsense = true;
        };
        match read {
            0 => ids.end(&mut found),
            read => ids.take(&chunk[..read], found),
        }
        if nonsense || ids.is_skipping() {
            bad += read;
        }
        if bad >= CHUNK {
            bad = 0;
            sleep(BREATH).await;
        }
    }
}

async fn answer(under_way: &mut Option<BoxFuture<'static, Result<(), CommitError>>>) -> Result<(), CommitError> {
    match under_way {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::Stdio,
        task::{Context, Poll},
    };

    use futures::future::pending;
    use tokio::process::Command;

    use super::*;

    /// Is there from the third time on that somebody looks: something went out by then, and the pipe is full.
    fn at_third_look() -> impl FusedFuture<Output = ()> + Unpin {
        let mut looks = 0;
        let look = move |_: &mut Context<'_>| {
            looks += 1;
            if looks > 2 { Poll::Ready(()) } else { Poll::Pending }
        };
        std::future::poll_fn(look).fuse()
    }

    #[tokio::test]
    async fn a_process_is_not_left_with_half_a_line() {
        let line = format!("{{\"body\":\"{}\"}}\n", "x".repeat(700_000));
        let lines = line.repeat(3);
        let mut command = Command::new("sh");
        // Reads late, and fails unless every line is whole.
        command.arg("-c").arg("sleep 0.2; tail -c 2 | { IFS= read -r end && [ \"$end\" = '}' ]; }");
        let mut process = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut input = process.stdin.take().unwrap();
        let written = write(&mut input, lines.as_bytes(), &mut at_third_look()).await.unwrap();
        drop(input);
        assert_eq!(written, Written::Lines, "more than a pipe holds");
        assert!(process.wait().await.unwrap().success(), "its last line is cut off");
    }

    #[tokio::test]
    async fn without_an_end_everything_is_written() {
        let mut command = Command::new("sh");
        command.arg("-c").arg("[ $(wc -l) = 3 ]");
        let mut process = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut input = process.stdin.take().unwrap();
        let written = write(&mut input, b"{}\n{}\n{}\n", &mut pending::<()>().fuse()).await;
        drop(input);
        assert_eq!(written.unwrap(), Written::All);
        assert!(process.wait().await.unwrap().success());
    }

    #[test]
    fn the_rest_of_a_line() {
        for (out, rest) in [(0, ""), (1, "b\n"), (2, "\n"), (3, ""), (4, "d")] {
            assert_eq!(rest_of_line(b"ab\ncd", out), rest.as_bytes(), "{out}");
        }
    }
}
