//! A wire that can be cut: between a consumer and Redis.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// A proxy on a port of its own. Dropping it ends all its connections.
pub(super) struct Proxy {
    pub(super) port: u16,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Passes everything on to this address.
    pub(super) async fn start(upstream: String) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (cut, open) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connect(stream, upstream.clone(), open.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Proxy { port, cut, task })
    }

    /// From now on no bytes pass, in either direction; or all that were held back, and all others.
    pub(super) fn cut(&self, on: bool) {
        self.cut.send_replace(on);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. It ends with either side.
async fn connect(down: TcpStream, upstream: String, mut cut: watch::Receiver<bool>) -> io::Result<()> {
    // Who connects to a server that is cut off waits.
    open(&mut cut).await?;
    let up = TcpStream::connect(upstream).await?;
    down.set_nodelay(true)?;
    up.set_nodelay(true)?;
    let ((from_down, to_down), (from_up, to_up)) = (down.into_split(), up.into_split());
    tokio::select! {
        biased;
        ended = pass(from_down, to_up, cut.clone()) => ended,
        ended = pass(from_up, to_down, cut) => ended,
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        open(&mut cut).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}

/// Waits until the wire is whole.
async fn open(cut: &mut watch::Receiver<bool>) -> io::Result<()> {
    cut.wait_for(|cut| !*cut).await.map(drop).map_err(io::Error::other)
}
