//! One end of a connection: turmoil's, behind what turmoil lacks.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::turmoil::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wires::{Lane, Use, Wire};

/// Whose end it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Host,
    Server,
}

/// One end of a connection between a host and the server.
pub(super) struct Stream {
    bytes: TcpStream,
    from: Lane,
    to: Lane,
    closed: bool,
}

impl Stream {
    pub(super) fn new(bytes: TcpStream, wire: Wire, side: Side) -> Stream {
        let (from, to) = match side {
            Side::Host => (wire.into, wire.out),
            Side::Server => (wire.out, wire.into),
        };
        Stream { bytes, from, to, closed: false }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(self.from.poll_readable(context)) == Use::Broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.bytes).poll_read(context, into))?;
        self.from.read(into.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match ready!(self.to.poll_writable(context)) {
            Use::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Use::Dead => bytes.len(),
            Use::Free => ready!(Pin::new(&mut self.bytes).poll_write(context, bytes))?,
        };
        self.to.written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.closed, true) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}
