//! Where leases turn to for their entries: starts the driver when it is first needed, and takes their wishes to it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use streamkeeper_core::{
    entries::{
        Config, Machine,
        call::{Entry, Start},
        event::{Commit, CommitEnd, Owned, OwnedId, Ticket},
    },
    id::ConsumerId,
    keys::Keys,
    time::Time,
};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::{calls::Calls, driver::Driver, inbox::Inbox, meters::Meters, work::Work};
use crate::{
    lease::EndRequest,
    links::{Links, connect::Connect, open::Opening},
};

/// What a lease asks the driver for.
pub(crate) enum Request {
    /// Somebody wants something of this stream.
    Own(Owned, Arc<Work>),
    /// Somebody reads it.
    Read { id: OwnedId, start: Start, room: usize, inbox: Arc<Inbox> },
    /// This reader has taken so many entries in.
    Room(OwnedId, Arc<Inbox>, usize),
    /// This reader wants to be told whether there is nothing.
    Look(OwnedId, Arc<Inbox>, oneshot::Sender<()>),
    /// This reader is gone.
    Close(OwnedId, Arc<Inbox>),
    /// Commit, and tell this one.
    Commit(Commit, Waiter),
    /// Set an entry aside.
    Undecodable { id: OwnedId, entry: Entry, error: Box<str> },
    /// The ownership has ended.
    Lost(OwnedId),
    /// The client has ended.
    Stop,
}

/// Who waits for a commit.
pub(crate) enum Waiter {
    /// The application.
    Asked(oneshot::Sender<Answered>),
    /// A reader that commits by itself.
    Reader,
    /// An end of the ownership, until this instant at most.
    End(EndRequest, Time),
}

/// A commit's answer, and how many rollbacks were told by then.
pub(crate) struct Answered {
    pub(crate) end: CommitEnd,
    pub(crate) rollbacks: u32,
}

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) keys: Keys,
    pub(crate) consumer: ConsumerId,
    pub(crate) config: Config,
    /// How many entries `S-dead-entries` keeps, about.
    pub(crate) dead_limit: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) meters: Meters,
    /// Where ends of ownerships go once what was worked on is committed.
    pub(crate) ends: mpsc::UnboundedSender<EndRequest>,
}

/// One client's.
pub(crate) struct Desk {
    config: Config,
    last_owned: AtomicU64,
    last_ticket: AtomicU64,
    door: Mutex<Door>,
}

enum Door {
    /// Nothing was asked for yet.
    Unopened(Box<Parts>),
    Open(mpsc::UnboundedSender<Request>),
    /// Why nothing can be asked for.
    Shut(Arc<str>),
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Arc<Desk> {
        Desk::with(parts.config.clone(), Door::Unopened(Box::new(parts)))
    }

    fn with(config: Config, door: Door) -> Arc<Desk> {
        Arc::new(Desk { config, last_owned: AtomicU64::new(0), last_ticket: AtomicU64::new(0), door: Mutex::new(door) })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn next_owned(&self) -> OwnedId {
        OwnedId(self.last_owned.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Sends a request, and starts the driver before if need be.
    pub(crate) fn start_and_send(&self, request: Request) -> Result<(), Arc<str>> {
        let mut door = self.lock();
        if matches!(&*door, Door::Unopened(_)) {
            let closed = Door::Shut("the client has ended".into());
            if let Door::Unopened(parts) = std::mem::replace(&mut *door, closed) {
                *door = start(*parts);
            }
        }
        match &*door {
            Door::Open(requests) if requests.send(request).is_ok() => Ok(()),
            Door::Shut(why) => Err(why.clone()),
            Door::Open(_) | Door::Unopened(_) => Err("the client has ended".into()),
        }
    }

    /// Sends a request of somebody who has begun to work; `false` if the driver has ended.
    pub(crate) fn send(&self, request: Request) -> bool {
        match &*self.lock() {
            Door::Open(requests) => requests.send(request).is_ok(),
            Door::Unopened(_) | Door::Shut(_) => false,
        }
    }

    /// The client has ended, and with it the driver.
    pub(crate) fn close(&self) {
        let mut door = self.lock();
        if let Door::Open(requests) = &*door {
            // If it has ended already, that is what was wanted.
            let _ = requests.send(Request::Stop);
        }
        *door = Door::Shut("the client has ended".into());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(parts: Parts) -> Door {
    let Parts { connect, keys, consumer, config, dead_limit, seed, meters, ends } = parts;
    let (requests, asked) = mpsc::unbounded_channel();
    let opening = Opening::new(connect.clone(), config.call_timeout, config.block);
    let span = tracing::info_span!("entries", service = keys.service(), %consumer);
    let name = format!("{}-entries", consumer.as_str().strip_prefix(ConsumerId::PREFIX).unwrap_or(consumer.as_str()));
    let driver = Driver::new(
        Machine::new(config, seed),
        Links::without_subscriber(opening),
        Calls::new(keys, consumer, dead_limit),
        connect.clock(),
        meters,
        asked,
        ends,
    );
    match connect.drive(&name, Box::pin(driver.run().instrument(span))) {
        Ok(()) => Door::Open(requests),
        Err(error) => {
            Door::Shut(format!("the operating system refuses a thread or a runtime for its driver: {error}").into())
        }
    }
}

#[cfg(test)]
impl Desk {
    /// One that hands what it is asked for to a test.
    pub(crate) fn fake() -> (Arc<Desk>, mpsc::UnboundedReceiver<Request>) {
        let (requests, asked) = mpsc::unbounded_channel();
        let config = Config::new(streamkeeper_core::entries::Settings::default()).expect("the defaults hold");
        (Desk::with(config, Door::Open(requests)), asked)
    }
}
