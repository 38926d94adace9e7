//! The one loop: what the machine wants is done, what happens is told to the machine. It decides nothing.
//!
//! One task, one `select!`, and never a wait for the application: a slow one delays no heartbeat.

mod facts;
mod stop;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{
    id::{CallId, EntryId},
    streams::{Answer, Call, Command, End, Event, Link, LostReason, Machine, Output, Remark, Report, link_of},
    time::Time,
    trouble::Trouble,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::trace;

use crate::{
    calls::Calls,
    clock::Clock,
    draining::Draining,
    entries::Desk,
    errors::ClaimError,
    lease::{EndRequest, Lease, Lost, Wish},
    leases::Leases,
    links::{Generation, LinkEvent, Links, push::Push},
    log,
    metrics::Meters,
    outages::Outages,
    outbox::Outbox,
    partitions::{capacity::Seat, muster::Muster},
    witnesses::Witnesses,
};

/// What the driver and the client share.
pub(crate) struct Shared {
    pub(crate) leases: Leases,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: Clock,
    /// Where leases turn to for their entries.
    pub(crate) desk: Arc<Desk>,
}

/// What the client asks the driver for.
pub(crate) enum Request {
    /// Own this announcement.
    Claim(EntryId, oneshot::Sender<Result<Lease, ClaimError>>),
    /// The client has begun without this one.
    Begun,
    /// End everything this way, and stop within this time.
    Stop(End, Duration),
}

/// How far the consumer has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Not prepared yet; the latest trouble.
    Starting(Option<Trouble>),
    /// The server is prepared.
    Started,
    /// It has stopped by wish.
    Stopped(Report),
    /// It has ended, not by wish.
    Terminated(Trouble),
}

/// A call that was answered, and how long that took.
pub(crate) struct Completed {
    id: CallId,
    call: &'static str,
    items: usize,
    link: (Link, Generation),
    answer: Result<Answer, Trouble>,
    took: Duration,
}

pub(crate) struct Driver {
    /// Which partition it serves; 0 in a service without any.
    pub(crate) partition: u32,
    /// Its part in the capacity that all partitions share, if there are several.
    pub(crate) seat: Option<Seat>,
    /// Says what is said once for all of them.
    pub(crate) muster: Arc<Muster>,
    /// When to look at the outbox.
    pub(crate) turns: Arc<Notify>,
    pub(crate) machine: Machine,
    pub(crate) links: Links,
    pub(crate) calls: Calls,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ends: Ends,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) cancel: CancellationToken,
    /// The machine was told to stop. That the token is cancelled does not say so: anybody may do that at any moment.
    pub(crate) stopping: bool,
    /// The application is given time to end what it works on.
    pub(crate) draining: Option<Draining>,
    /// There are handles that may want something.
    pub(crate) attended: bool,
    /// What people were told of what lasts.
    pub(crate) outages: Outages,
    /// How long a stop by the token, or by dropping the client, may take.
    pub(crate) grace: Duration,
    pub(crate) under_way: FuturesUnordered<BoxFuture<'static, Completed>>,
    pub(crate) claims: BTreeMap<EntryId, Vec<oneshot::Sender<Result<Lease, ClaimError>>>>,
    pub(crate) witnesses: Witnesses,
}

/// Where the leases send their wishes to, and where they arrive.
pub(crate) type Ends = (mpsc::UnboundedSender<EndRequest>, mpsc::UnboundedReceiver<EndRequest>);

impl Driver {
    /// Runs until the machine has stopped.
    pub(crate) async fn run(mut self) {
        self.machine.handle(Event::Timeout, self.shared.clock.now());
        while let Some(wake) = self.do_what_the_machine_wants() {
            let clock = self.shared.clock.clone();
            let stopping = self.stopping;
            tokio::select! {
                biased;
                Some(completed) = self.under_way.next() => self.completed(completed),
                event = self.links.next() => self.link_event(event),
                Some(end) = self.ends.1.recv() => self.end(end),
                request = self.requests.recv(), if self.attended => self.request(request),
                () = self.cancel.cancelled(), if !stopping => self.stop(End::Release, self.grace),
                () = self.turns.notified() => self.look_at_the_outbox(),
                () = room(&self.seat) => self.tell(Event::Timeout),
                () = sleep_until(&clock, wake) => self.tell(Event::Timeout),
            }
            self.go_on_draining();
        }
        // Dropped here: every handle learns that it has ended.
    }

    fn tell(&mut self, event: Event) {
        let now = self.shared.clock.now();
        if let Some(load) = self.seat.as_mut().and_then(Seat::elsewhere) {
            trace!(?now, ?load, "heard of other partitions");
            self.machine.handle(Event::Elsewhere(load), now);
        }
        trace!(?now, ?event, "heard");
        self.machine.handle(event, now);
    }

    /// Drains the machine. The instant at which it wants to be woken; `None` if it has stopped.
    fn do_what_the_machine_wants(&mut self) -> Option<Option<Time>> {
        loop {
            match self.machine.poll() {
                Output::Command(Command::Connect(link)) => {
                    self.shared.meters.link(link, false);
                    self.links.connect(link);
                }
                Output::Command(Command::Disconnect(link)) => {
                    self.shared.meters.link(link, false);
                    self.links.disconnect(link);
                }
                Output::Command(Command::Call(id, call)) => self.issue(id, call),
                Output::Notification(fact) => self.notify(fact),
                Output::Extended { until, entries } => self.shared.leases.extend(&entries, until),
                Output::Remark(remark) => self.remark(&remark),
                Output::Wait(_) if self.machine.stopped() => return None,
                Output::Wait(wake) => {
                    if let Some(seat) = &self.seat {
                        seat.hold(self.machine.load());
                    }
                    self.shared.meters.depth(self.shared.leases.len(), self.shared.outbox.len());
                    let draining = self.draining.map(|draining| draining.wake());
                    return Some(wake.map(|wake| wake.at).into_iter().chain(draining).min());
                }
            }
        }
    }

    /// Sends a call. Without a connection it is answered at once, with that.
    fn issue(&mut self, id: CallId, call: Call) {
        trace!(?id, ?call, "calls");
        let link = link_of(&call);
        let (connection, link) = (self.links.get(link), (link, self.links.generation(link)));
        let (calls, clock, issued) = (self.calls.clone(), self.shared.clock.clone(), self.shared.clock.now());
        let witnesses = self.witnesses.clone();
        self.under_way.push(
            async move {
                let answer = match connection {
                    Some(mut redis) => calls.execute(&mut redis, &call).await,
                    None => Err(Trouble::connection("there is no connection")),
                };
                witnesses.see(&answer).await;
                let took = clock.now().since(issued);
                Completed { id, call: call.name(), items: items(&call), link, answer, took }
            }
            .boxed(),
        );
    }

    fn completed(&mut self, Completed { id, call, items, link, answer, took }: Completed) {
        self.shared.meters.answered(call, items, &answer, took);
        if let Err(trouble) = &answer {
            self.links.suffered(link, trouble);
        }
        self.tell(Event::Answered(id, answer));
    }

    fn link_event(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::Connected(link) => {
                self.shared.meters.link(link, true);
                self.outages.link_up(link);
                Event::Connected(link)
            }
            LinkEvent::Disconnected(link, trouble) => {
                self.shared.meters.link(link, false);
                self.still_starting(&trouble);
                Event::Disconnected(link, trouble)
            }
            LinkEvent::Heard(Push::Expired(key)) => Event::KeyExpired(key),
            LinkEvent::Heard(Push::Doorbell(text)) => Event::Doorbell(text),
        };
        self.tell(event);
    }

    /// The application has caught up, or has fallen behind with what other partitions say.
    fn look_at_the_outbox(&mut self) {
        self.tell(Event::Backlogged(self.shared.outbox.backlogged()));
    }

    /// The application ends an ownership, if it still is that one.
    fn end(&mut self, EndRequest { entry, token, end }: EndRequest) {
        if self.shared.leases.is_current(entry, token) {
            self.tell(match end {
                Wish::Done => Event::Done(entry),
                Wish::Release => Event::Release(entry, None),
                Wish::Rest(pause) => Event::Rest(entry, pause),
                Wish::Failed(error) => Event::Release(entry, Some(error)),
            });
        }
    }

    /// The client wants something; `None`: its last handle was dropped.
    fn request(&mut self, request: Option<Request>) {
        match request {
            // Dropped: its client learns that this one has stopped.
            Some(Request::Claim(..)) if self.stopping => {}
            Some(Request::Claim(entry, answer)) => {
                self.claims.entry(entry).or_default().push(answer);
                self.tell(Event::Claim(entry));
            }
            Some(Request::Begun) => self.tell(Event::Begun),
            Some(Request::Stop(end, within)) => self.stop(end, within),
            None => {
                self.attended = false;
                if !self.stopping {
                    self.stop(End::Release, self.grace);
                }
            }
        }
    }

    fn remark(&mut self, remark: &Remark) {
        match remark {
            Remark::Server(_) => {
                self.progress.send_if_modified(|progress| {
                    let starting = matches!(progress, Progress::Starting(_));
                    *progress = if starting { Progress::Started } else { progress.clone() };
                    starting
                });
            }
            // While stopping, connections are dropped by wish.
            Remark::LinkDown { .. } if self.cancel.is_cancelled() => return,
            Remark::LinkDown { trouble, .. } | Remark::CallFailed { trouble, .. } => self.still_starting(trouble),
            _ => {}
        }
        log::remark(remark, &mut self.outages, self.shared.clock.now());
        self.shared.meters.remark(remark);
    }

    fn still_starting(&self, trouble: &Trouble) {
        self.progress.send_if_modified(|progress| {
            if let Progress::Starting(latest) = progress {
                *latest = Some(trouble.clone());
            }
            false
        });
    }
}

impl Drop for Driver {
    /// Whatever ended it: nobody waits for it any longer.
    fn drop(&mut self) {
        for lease in self.shared.leases.all() {
            self.shared.leases.finish(lease.entry(), Lost::Disowned(LostReason::Unknown(End::Release)));
        }
        for link in [Link::Commands, Link::Reader, Link::Subscriber] {
            self.links.disconnect(link);
        }
        self.claims.clear();
        self.shared.desk.close();
        self.cancel.cancel();
    }
}

/// Resolves when there is capacity again after there was none.
async fn room(seat: &Option<Seat>) {
    match seat {
        Some(seat) => seat.room().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How many streams a call speaks of.
fn items(call: &Call) -> usize {
    match call {
        Call::Acquire(call) => call.items.len(),
        Call::Renew(call) => call.items.len(),
        Call::Done(items) => items.len(),
        Call::Release(items) => items.len(),
        _ => 1,
    }
}
