//! One end of a connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    net::Net,
    pipe::{Found, Pipe},
};
use crate::stage::HostId;

/// One end of a connection between a host and the server.
pub(super) struct Stream {
    net: Net,
    host: HostId,
    from: Pipe,
    to: Pipe,
    arrives: Option<Pin<Box<Sleep>>>,
    closed: bool,
}

impl Stream {
    pub(super) fn new(net: Net, host: HostId, from: Pipe, to: Pipe) -> Stream {
        Stream { net, host, from, to, arrives: None, closed: false }
    }

    fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.to.close(Instant::now() + self.net.delay(self.host));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.from.read(into, Instant::now(), context) {
                Found::Read(result) => return Poll::Ready(result),
                Found::Nothing => return Poll::Pending,
                Found::Later(due) => {
                    let arrives = self.arrives.get_or_insert_with(|| Box::pin(sleep_until(due)));
                    if arrives.deadline() != due {
                        arrives.as_mut().reset(due);
                    }
                    if arrives.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let due = Instant::now() + self.net.delay(self.host);
        self.to.send(Bytes::copy_from_slice(bytes), due, context)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // At the very end of a run there is no network left.
        if Handle::try_current().is_ok() {
            self.close();
            // Who goes on writing is told that nobody reads, unless nothing gets through to tell it.
            if !self.to.is_dead() {
                self.from.break_off();
            }
        }
    }
}
