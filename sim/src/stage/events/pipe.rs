//! One direction of one connection: bytes that take their time, wait, vanish or break.

use std::{
    collections::VecDeque,
    task::{Context, Waker},
};

use bytes::{Buf, Bytes};
use streamkeeper::Time;
use tokio::io::ReadBuf;

/// How many bytes may be under way or unread before the writer has to wait: a socket's buffers.
const BUFFER: usize = 256 * 1024;

/// One direction.
#[derive(Default)]
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    /// Under way or unread, or vanished: nobody acknowledges those.
    bytes: usize,
    /// Order is kept: nothing arrives before what was sent earlier.
    latest: Time,
    /// The queue of events knows when the next segment arrives.
    pub(super) awaited: bool,
    /// A firewall forgot the connection: what is sent vanishes.
    pub(super) dead: bool,
    /// The writer has closed.
    pub(super) shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    due: Time,
    load: Load,
}

/// What a segment carries.
pub(super) enum Load {
    /// Bytes.
    Bytes(Bytes),
    /// The writer has closed.
    Fin,
    /// The writer is gone, and does not want what it is sent.
    Rst,
}

impl Pipe {
    /// How many bytes a writer may write.
    pub(super) fn room(&self) -> usize {
        BUFFER.saturating_sub(self.bytes)
    }

    /// Sends something that takes until `due`, at least. When it arrives, if nobody waits for anything earlier.
    pub(super) fn send(&mut self, load: Load, due: Time) -> Option<Time> {
        if let Load::Bytes(bytes) = &load {
            self.bytes += bytes.len();
        }
        if self.dead {
            return None;
        }
        self.latest = self.latest.max(due);
        self.segments.push_back(Segment { due: self.latest, load });
        (!std::mem::replace(&mut self.awaited, true)).then_some(self.latest)
    }

    /// Takes bytes that have arrived. Whether there was anything, be it the end.
    pub(super) fn read(&mut self, into: &mut ReadBuf<'_>, now: Time) -> bool {
        let before = into.remaining();
        let mut ended = false;
        while let Some(segment) = self.segments.front_mut().filter(|segment| segment.due <= now) {
            let Load::Bytes(bytes) = &mut segment.load else {
                ended = true;
                break;
            };
            let length = bytes.len().min(into.remaining());
            into.put_slice(&bytes[..length]);
            bytes.advance(length);
            if !bytes.is_empty() {
                break;
            }
            self.segments.pop_front();
        }
        let read = before - into.remaining();
        self.bytes -= read;
        if read > 0 {
            wake(&mut self.writer);
        }
        read > 0 || ended
    }

    /// Nobody reads any more: takes what has arrived. Whether there were bytes.
    pub(super) fn discard(&mut self, now: Time) -> bool {
        let arrived = self.segments.partition_point(|segment| segment.due <= now);
        self.segments.drain(..arrived).filter(|segment| matches!(segment.load, Load::Bytes(_))).count() > 0
    }

    /// The writer has refused whatever it was sent.
    pub(super) fn was_refused(&self, now: Time) -> bool {
        let arrived = self.segments.iter().take_while(|segment| segment.due <= now);
        arrived.into_iter().any(|segment| matches!(segment.load, Load::Rst))
    }

    /// When the next segment arrives that has not.
    pub(super) fn next_after(&self, now: Time) -> Option<Time> {
        let arrived = self.segments.partition_point(|segment| segment.due <= now);
        self.segments.get(arrived).map(|segment| segment.due)
    }

    /// What is under way vanishes, and whatever will be sent.
    pub(super) fn kill(&mut self) {
        self.dead = true;
        self.segments.clear();
    }

    pub(super) fn reader_waits(&mut self, context: &Context<'_>) {
        keep(&mut self.reader, context);
    }

    pub(super) fn writer_waits(&mut self, context: &Context<'_>) {
        keep(&mut self.writer, context);
    }

    pub(super) fn wake_reader(&mut self) {
        wake(&mut self.reader);
    }

    pub(super) fn wake_writer(&mut self) {
        wake(&mut self.writer);
    }
}

fn keep(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
