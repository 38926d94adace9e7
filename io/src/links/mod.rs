//! A machine's connections: made when it says so, watched, and heard.
//!
//! Nothing is decided here: a connection that cannot be made or breaks is a fact for the machine, which says when to
//! try again.

pub(crate) mod address;
pub(crate) mod builders;
pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod dial;
pub(crate) mod on_demand;
pub(crate) mod open;
pub(crate) mod push;
pub(crate) mod sentinel;
pub(crate) mod servers;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod url;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use redis::aio::MultiplexedConnection;
use streamkeeper_core::{
    config::Config,
    keys::Keys,
    link::Link,
    trouble::{Trouble, TroubleKind},
};
use tokio::sync::mpsc;

use self::{
    connect::Connect,
    open::{Connection, Opening},
    push::Push,
};
use crate::metrics::Meters;

/// Which connection of a link: an old one's end is not the new one's.
pub(crate) type Generation = u64;

/// A fact about the connections.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It is there.
    Connected(Link),
    /// It could not be made, or broke.
    Disconnected(Link, Trouble),
    /// The subscriber heard this.
    Heard(Push),
}

/// The three connections; who works on messages has no subscriber.
pub(crate) struct Links {
    opening: Opening,
    slots: [Slot; 3],
    ended: mpsc::UnboundedSender<(Link, Generation)>,
    ends: mpsc::UnboundedReceiver<(Link, Generation)>,
    /// Those whose server is not the one to talk to.
    given_up: Vec<(Link, Generation)>,
    pushes: Option<mpsc::Receiver<Push>>,
}

#[derive(Default)]
struct Slot {
    generation: Generation,
    /// The server has said that it is not the one to talk to.
    wrong: bool,
    connecting: Option<BoxFuture<'static, Result<Connection, Trouble>>>,
    connection: Option<Connection>,
}

const LINKS: [Link; 3] = [Link::Commands, Link::Reader, Link::Subscriber];

impl Links {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        keys: &Keys,
        config: &Config,
        push_buffer: usize,
        meters: Arc<Meters>,
    ) -> Links {
        let (sender, pushes) = push::channel(push_buffer, &connect.login(), keys, meters);
        let opening = Opening::new(connect, config.call_timeout, config.block()).subscribed(keys, sender);
        Links { pushes: Some(pushes), ..Links::without_subscriber(opening) }
    }

    /// Two connections: one for commands, one to read on.
    pub(crate) fn without_subscriber(opening: Opening) -> Links {
        let (ended, ends) = mpsc::unbounded_channel();
        Links { opening, slots: Default::default(), ended, ends, given_up: Vec::new(), pushes: None }
    }

    /// Makes a connection, in place of the one that is there or under way.
    pub(crate) fn connect(&mut self, link: Link) {
        let slot = self.drop_connection(link);
        let generation = slot.generation;
        let tell = self.ended.clone();
        let ended = move || {
            let _ = tell.send((link, generation));
        };
        let connecting = self.opening.open(link, ended);
        self.slots[link as usize].connecting = Some(connecting);
    }

    /// Drops the connection, and with it every call on it.
    pub(crate) fn disconnect(&mut self, link: Link) {
        self.drop_connection(link);
    }

    fn drop_connection(&mut self, link: Link) -> &mut Slot {
        let slot = &mut self.slots[link as usize];
        *slot = Slot { generation: slot.generation + 1, ..Slot::default() };
        slot
    }

    /// A handle on the connection, if it is there.
    pub(crate) fn get(&self, link: Link) -> Option<MultiplexedConnection> {
        self.slots[link as usize].connection.as_ref().map(Connection::handle)
    }

    /// Which connection this is.
    pub(crate) fn generation(&self, link: Link) -> Generation {
        self.slots[link as usize].generation
    }

    /// A call on this connection failed. If the server said that it is not the one to talk to, the other connections are
    /// there too, and would not say so: they are given up.
    pub(crate) fn suffered(&mut self, (link, generation): (Link, Generation), trouble: &Trouble) {
        let slot = &mut self.slots[link as usize];
        if !is_wrong_server(trouble) || slot.generation != generation || std::mem::replace(&mut slot.wrong, true) {
            return;
        }
        self.opening.wrong_server(link, trouble);
        self.give_up(LINKS.into_iter().filter(|other| *other != link));
    }

    /// Whether the server is another one than when this connection was opened.
    fn has_moved(&mut self, link: Link, context: &mut Context<'_>) -> bool {
        let connection = self.slots[link as usize].connection.as_mut();
        connection.is_some_and(|connection| connection.poll_moved(context).is_ready())
    }

    fn give_up(&mut self, links: impl IntoIterator<Item = Link>) {
        for link in links {
            self.given_up.push((link, self.generation(link)));
        }
    }

    /// The next fact about the connections: made, not made, broken, or a message that was pushed. Cancel safe.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<LinkEvent> {
        for link in LINKS {
            if self.has_moved(link, context) {
                self.give_up([link]);
            }
        }
        while let Some((link, generation)) = self.given_up.pop() {
            let slot = &mut self.slots[link as usize];
            let current = slot.generation == generation;
            if current && (slot.connecting.take().is_some() || slot.connection.take().is_some()) {
                return Poll::Ready(LinkEvent::Disconnected(
                    link,
                    Trouble::connection("the server is another one now"),
                ));
            }
        }
        for link in LINKS {
            let slot = &mut self.slots[link as usize];
            if let Some(connecting) = &mut slot.connecting
                && let Poll::Ready(made) = connecting.poll_unpin(context)
            {
                slot.connecting = None;
                return Poll::Ready(match made {
                    Ok(connection) => {
                        slot.connection = Some(connection);
                        LinkEvent::Connected(link)
                    }
                    Err(trouble) => LinkEvent::Disconnected(link, trouble),
                });
            }
        }
        while let Poll::Ready(Some((link, generation))) = self.ends.poll_recv(context) {
            let slot = &mut self.slots[link as usize];
            // While it is still being made, its own error tells the same, and more.
            if slot.generation == generation && slot.connection.take().is_some() {
                return Poll::Ready(LinkEvent::Disconnected(link, Trouble::connection("the connection was closed")));
            }
        }
        match self.pushes.as_mut().map(|pushes| pushes.poll_recv(context)) {
            Some(Poll::Ready(Some(push))) => Poll::Ready(LinkEvent::Heard(push)),
            _ => Poll::Pending,
        }
    }
}

/// Whether another server is the right one. A server that is merely full has our other connections still.
fn is_wrong_server(trouble: &Trouble) -> bool {
    trouble.kind == TroubleKind::WrongServer && !trouble.message.contains("max number of clients")
}
