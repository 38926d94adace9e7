//! The one loop of reading and committing: what the machine wants is done, what happens is told to the machine. It decides
//! nothing.
//!
//! One task, one `select!`, and never a wait for the application. It has connections of its own, so that no bulk of
//! entries delays a heartbeat.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{
    entries::{
        Answer, Call, Command, Event, Machine, Output, Remark,
        event::{CommitEnd, Delivery, OwnedId, Ticket},
        link_of,
    },
    id::{CallId, EntryId},
    time::Time,
    trouble::Trouble,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    calls::Calls,
    desk::{Answered, Request, Waiter},
    inbox::{Arrival, Inbox},
    log,
    meters::Meters,
    work::Work,
};
use crate::{
    Link,
    clock::Clock,
    lease::EndRequest,
    links::{Generation, LinkEvent, Links},
    outages::Outages,
};

/// How many requests are taken at once.
const REQUESTS: usize = 100;

/// A stream that somebody works on.
struct Place {
    work: Arc<Work>,
    inbox: Option<Arc<Inbox>>,
    /// How many rollbacks were told.
    rollbacks: u32,
    /// Who is to be told if there is nothing.
    look: Option<oneshot::Sender<()>>,
}

/// A commit that is to be answered.
struct Waiting {
    id: OwnedId,
    to: Option<EntryId>,
    waiter: Waiter,
}

/// A call that was answered, and how long that took.
struct Completed {
    id: CallId,
    call: &'static str,
    link: (Link, Generation),
    answer: Result<Answer, Trouble>,
    took: Duration,
}

pub(crate) struct Driver {
    machine: Machine,
    links: Links,
    calls: Calls,
    clock: Clock,
    meters: Meters,
    requests: mpsc::UnboundedReceiver<Request>,
    received: Vec<Request>,
    /// Where ends of ownerships go.
    ends: mpsc::UnboundedSender<EndRequest>,
    places: BTreeMap<OwnedId, Place>,
    waiting: BTreeMap<Ticket, Waiting>,
    /// Until when ends of ownerships wait for a commit.
    bounds: BTreeSet<(Time, Ticket)>,
    outages: Outages,
    stopping: bool,
    under_way: FuturesUnordered<BoxFuture<'static, Completed>>,
}

impl Driver {
    pub(crate) fn new(
        machine: Machine,
        links: Links,
        calls: Calls,
        clock: Clock,
        meters: Meters,
        requests: mpsc::UnboundedReceiver<Request>,
        ends: mpsc::UnboundedSender<EndRequest>,
    ) -> Driver {
        Driver {
            machine,
            links,
            calls,
            clock,
            meters,
            requests,
            received: Vec::with_capacity(REQUESTS),
            ends,
            places: BTreeMap::new(),
            waiting: BTreeMap::new(),
            bounds: BTreeSet::new(),
            outages: Outages::default(),
            stopping: false,
            under_way: FuturesUnordered::new(),
        }
    }

    /// Runs until the machine has stopped.
    pub(crate) async fn run(mut self) {
        while let Some(wake) = self.do_what_the_machine_wants() {
            let clock = self.clock.clone();
            tokio::select! {
                biased;
                Some(completed) = self.under_way.next() => self.completed(completed),
                event = self.links.next() => self.link_event(event),
                _ = self.requests.recv_many(&mut self.received, REQUESTS) => self.take_requests(),
                () = sleep_until(&clock, wake) => self.tell(Event::Timeout),
            }
            self.end_what_has_waited_for_long();
        }
        // Dropped here: everybody who waits hears that it has ended.
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(event, self.clock.now());
    }

    /// Drains the machine. The instant at which somebody wants to be woken; `None` if it has stopped.
    fn do_what_the_machine_wants(&mut self) -> Option<Option<Time>> {
        let wake = loop {
            match self.machine.poll() {
                Output::Command(Command::Connect(link)) => {
                    self.meters.link(link, false);
                    self.links.connect(link);
                }
                Output::Command(Command::Disconnect(link)) => {
                    self.meters.link(link, false);
                    self.links.disconnect(link);
                }
                Output::Command(Command::Call(id, call)) => self.issue(id, call),
                Output::Deliver(id, delivery) => self.deliver(id, delivery),
                Output::Nothing(id) => self.nothing(id),
                Output::Committed(ticket, end) => self.committed(ticket, end),
                Output::SetAside(id, entry) => self.with_place(id, |place| log::set_aside(place.work.stream(), entry)),
                Output::Remark(remark) => self.remark(&remark),
                Output::Wait(wake) => break wake,
            }
        };
        if self.machine.stopped() {
            return None;
        }
        self.meters.depth(self.machine.owned(), self.machine.buffered());
        let bound = self.bounds.first().map(|(at, _)| *at);
        Some([wake, bound].into_iter().flatten().min())
    }

    fn with_place(&self, id: OwnedId, act: impl FnOnce(&Place)) {
        if let Some(place) = self.places.get(&id) {
            act(place);
        }
    }

    /// Sends a call. Without a connection it is answered at once, with that.
    fn issue(&mut self, id: CallId, call: Call) {
        let link = link_of(&call);
        let (connection, link) = (self.links.get(link), (link, self.links.generation(link)));
        let (calls, clock, issued) = (self.calls.clone(), self.clock.clone(), self.clock.now());
        self.under_way.push(
            async move {
                let answer = match connection {
                    Some(mut redis) => calls.execute(&mut redis, &call).await,
                    None => Err(Trouble::connection("there is no connection")),
                };
                let took = clock.now().since(issued);
                Completed { id, call: call.name(), link, answer, took }
            }
            .boxed(),
        );
    }

    fn completed(&mut self, Completed { id, call, link, answer, took }: Completed) {
        self.meters.answered(call, &answer, took);
        if let Err(trouble) = &answer {
            self.links.suffered(link, trouble);
        }
        self.tell(Event::Answered(id, answer));
    }

    fn link_event(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::Connected(link) => {
                self.meters.link(link, true);
                self.outages.link_up(link);
                Event::Connected(link)
            }
            LinkEvent::Disconnected(link, trouble) => {
                self.meters.link(link, false);
                Event::Disconnected(link, trouble)
            }
            // Nobody subscribes.
            LinkEvent::Heard(_) => return,
        };
        self.tell(event);
    }

    fn take_requests(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        received.drain(..).for_each(|request| self.request(request));
        self.received = received;
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Own(owned, work) => {
                self.places.insert(owned.id, Place { work, inbox: None, rollbacks: 0, look: None });
                self.tell(Event::Owned(owned));
            }
            Request::Read { id, start, room, inbox } => {
                let Some(place) = self.places.get_mut(&id) else { return };
                place.inbox = Some(inbox);
                self.tell(Event::Read { id, start, room });
            }
            Request::Room(id, inbox, entries) if self.is_current(id, &inbox) => self.tell(Event::Room(id, entries)),
            Request::Look(id, inbox, answer) if self.is_current(id, &inbox) => {
                self.places.entry(id).and_modify(|place| place.look = Some(answer));
                self.tell(Event::Look(id));
            }
            Request::Close(id, inbox) if self.is_current(id, &inbox) => {
                self.places.entry(id).and_modify(|place| place.inbox = None);
                self.tell(Event::Closed(id));
            }
            // Of a reader in whose place another one reads.
            Request::Room(..) | Request::Look(..) | Request::Close(..) => {}
            Request::Commit(commit, waiter) => {
                if let Waiter::End(_, until) = &waiter {
                    self.bounds.insert((*until, commit.ticket));
                }
                self.waiting.insert(commit.ticket, Waiting { id: commit.id, to: commit.to, waiter });
                self.tell(Event::Commit(commit));
            }
            Request::Undecodable { id, entry, error } => {
                self.meters.undecodable();
                self.tell(Event::Undecodable { id, entry, error });
            }
            Request::Lost(id) => {
                // Who reads has been woken, and asks the lease how it ended.
                self.places.remove(&id);
                self.tell(Event::Lost(id));
            }
            Request::Stop => {
                self.stopping = true;
                let now = self.clock.now();
                self.tell(Event::Shutdown(now));
            }
        }
    }

    fn is_current(&self, id: OwnedId, inbox: &Arc<Inbox>) -> bool {
        let current = self.places.get(&id).and_then(|place| place.inbox.as_ref());
        current.is_some_and(|current| Arc::ptr_eq(current, inbox))
    }

    fn deliver(&mut self, id: OwnedId, delivery: Delivery) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.rollbacks = place.work.delivered(&delivery);
        self.meters.delivered(&delivery);
        log::delivered(place.work.stream(), &delivery);
        if let Some(inbox) = &place.inbox {
            inbox.push(Arrival::Delivered(delivery, place.rollbacks));
        }
    }

    fn nothing(&mut self, id: OwnedId) {
        if let Some(look) = self.places.get_mut(&id).and_then(|place| place.look.take()) {
            // Whoever does not wait any more has something to do.
            let _ = look.send(());
        }
    }

    fn committed(&mut self, ticket: Ticket, end: CommitEnd) {
        let Some(Waiting { id, to, waiter }) = self.waiting.remove(&ticket) else { return };
        self.meters.committed(&end);
        let place = self.places.get(&id);
        if let (Some(place), Some(position)) = (place, stands(&end, to)) {
            place.work.committed(position);
        }
        match waiter {
            Waiter::Asked(answer) => {
                let rollbacks = place.map_or(0, |place| place.rollbacks);
                // Whoever does not wait any more reads the position.
                let _ = answer.send(Answered { end, rollbacks });
            }
            Waiter::Reader => {
                if let (Some(Place { inbox: Some(inbox), .. }), CommitEnd::Broken(why)) = (place, end) {
                    inbox.push(Arrival::NotCommitted(to, why));
                }
            }
            Waiter::End(request, until) => {
                self.bounds.remove(&(until, ticket));
                self.end(request.settled(&end));
            }
        }
    }

    /// Ends of ownerships wait for a commit only for so long.
    fn end_what_has_waited_for_long(&mut self) {
        let now = self.clock.now();
        while let Some((at, ticket)) = self.bounds.first().copied()
            && at <= now
        {
            self.bounds.pop_first();
            if let Some(Waiting { waiter: Waiter::End(request, _), .. }) = self.waiting.remove(&ticket) {
                self.end(request.settled(&CommitEnd::Unknown));
            }
        }
    }

    fn end(&self, request: EndRequest) {
        // If that driver is gone, it has said how the ownership ended.
        let _ = self.ends.send(request);
    }

    fn remark(&mut self, remark: &Remark) {
        self.meters.remark(remark);
        match remark {
            // While stopping, connections are dropped by wish.
            Remark::LinkDown { .. } if self.stopping => {}
            remark => log::remark(remark, &mut self.outages, self.clock.now()),
        }
    }
}

impl Drop for Driver {
    /// Whatever ended it: nobody waits for it any longer.
    fn drop(&mut self) {
        for link in [Link::Commands, Link::Reader] {
            self.links.disconnect(link);
        }
        self.requests.close();
        let mut received = std::mem::take(&mut self.received);
        while let Ok(request) = self.requests.try_recv() {
            received.push(request);
        }
        let asked = received.into_iter().filter_map(|request| match request {
            Request::Commit(_, waiter) => Some(waiter),
            _ => None,
        });
        let waiting = std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.waiter);
        for waiter in waiting.chain(asked) {
            if let Waiter::End(request, _) = waiter {
                self.end(request.settled(&CommitEnd::Unknown));
            }
        }
    }
}

/// What stands in Redis, as an answer tells.
fn stands(end: &CommitEnd, to: Option<EntryId>) -> Option<EntryId> {
    match end {
        CommitEnd::Done => to,
        CommitEnd::Behind(position) => Some(*position),
        _ => None,
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
