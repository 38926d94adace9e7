//! One direction of one connection: bytes that take their time, wait, vanish or break.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::{io::ReadBuf, time::Instant};

/// How many bytes may be under way or unread before the writer has to wait: a socket's buffers.
const BUFFER: usize = 256 * 1024;

/// One direction. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Pipe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// Order is kept: nothing arrives before what was sent earlier.
    latest: Option<Instant>,
    stalled: bool,
    /// A firewall forgot the connection: what is sent vanishes.
    dead: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    due: Instant,
    /// `None`: the writer has closed.
    bytes: Option<Bytes>,
}

/// What a reader finds.
pub(super) enum Found {
    /// Something, or the end.
    Read(io::Result<()>),
    /// Something that arrives then.
    Later(Instant),
    /// Nothing: the reader will be woken.
    Nothing,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, bytes: Bytes, due: Instant, context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.bytes >= BUFFER {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = bytes.len();
        state.bytes += length;
        // What vanishes fills the socket's buffer, too: nobody acknowledges it.
        if !state.dead {
            state.push(Some(bytes), due);
        }
        Poll::Ready(Ok(length))
    }

    pub(super) fn close(&self, due: Instant) {
        let mut state = self.lock();
        if !state.dead && !state.broken {
            state.push(None, due);
        }
    }

    pub(super) fn read(&self, into: &mut ReadBuf<'_>, now: Instant, context: &Context<'_>) -> Found {
        let mut state = self.lock();
        if state.broken {
            return Found::Read(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(context.waker().clone());
        let stalled = state.stalled;
        match state.segments.front() {
            Some(segment) if stalled || segment.due > now => match stalled {
                true => return Found::Nothing,
                false => return Found::Later(segment.due),
            },
            Some(_) => {}
            None => return Found::Nothing,
        }
        let before = into.remaining();
        while let Some(segment) = state.segments.front_mut().filter(|segment| segment.due <= now) {
            let Some(bytes) = &mut segment.bytes else { break };
            let length = bytes.len().min(into.remaining());
            into.put_slice(&bytes[..length]);
            bytes.advance(length);
            if !bytes.is_empty() {
                break;
            }
            state.segments.pop_front();
        }
        let read = before - into.remaining();
        state.bytes -= read;
        let writer = if read > 0 { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        Found::Read(Ok(()))
    }

    pub(super) fn stall(&self, on: bool) {
        let mut state = self.lock();
        state.stalled = on;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// What is under way vanishes, and whatever will be sent.
    pub(super) fn kill(&self) {
        let mut state = self.lock();
        state.dead = true;
        state.segments.clear();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    pub(super) fn break_off(&self) {
        let mut state = self.lock();
        state.broken = true;
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        wake(reader);
        wake(writer);
    }

    /// Nobody but this handle knows of it.
    pub(super) fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl State {
    fn push(&mut self, bytes: Option<Bytes>, due: Instant) {
        let due = self.latest.map_or(due, |latest| latest.max(due));
        self.latest = Some(due);
        self.segments.push_back(Segment { due, bytes });
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
