//! The one loop: what the machine wants is done, what happens is told to the machine. It decides nothing.
//!
//! One task, one `select!`, and never a wait for the application: a slow one delays no heartbeat.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{
    id::{CallId, EntryId},
    streams::{
        Answer, Call, Command, End, Event, Link, LostReason, Machine, Notification as Fact, Output, Remark, Report,
        link_of,
    },
    time::Time,
    trouble::{Trouble, TroubleKind},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls,
    clock::Clock,
    errors::ClaimError,
    lease::{EndRequest, Lease, Lost},
    leases::Leases,
    links::{Generation, LinkEvent, Links, push::Push},
    log,
    metrics::Meters,
    notification::Notification,
    outbox::Outbox,
    refusals::Refusals,
};

/// What the driver and the client share.
pub(crate) struct Shared {
    pub(crate) leases: Leases,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: Clock,
}

/// What the client asks the driver for.
pub(crate) enum Request {
    /// Own this announcement.
    Claim(EntryId, oneshot::Sender<Result<Lease, ClaimError>>),
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
    /// There are handles that may want something.
    pub(crate) attended: bool,
    /// Which links people were told are down.
    pub(crate) down: BTreeSet<Link>,
    /// Which refusals they were told of.
    pub(crate) refusals: Refusals,
    /// How long a stop by the token, or by dropping the client, may take.
    pub(crate) grace: Duration,
    pub(crate) under_way: FuturesUnordered<BoxFuture<'static, Completed>>,
    pub(crate) claims: BTreeMap<EntryId, Vec<oneshot::Sender<Result<Lease, ClaimError>>>>,
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
                () = self.shared.outbox.drained() => self.drained(),
                () = sleep_until(&clock, wake) => self.tell(Event::Timeout),
            }
        }
        // Dropped here: every handle learns that it has ended.
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(event, self.shared.clock.now());
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
                    self.shared.meters.depth(self.shared.leases.len(), self.shared.outbox.len());
                    return Some(wake.map(|wake| wake.at));
                }
            }
        }
    }

    /// Sends a call. Without a connection it is answered at once, with that.
    fn issue(&mut self, id: CallId, call: Call) {
        let link = link_of(&call);
        let (connection, link) = (self.links.get(link), (link, self.links.generation(link)));
        let (calls, clock, issued) = (self.calls.clone(), self.shared.clock.clone(), self.shared.clock.now());
        self.under_way.push(
            async move {
                let answer = match connection {
                    Some(mut redis) => calls.execute(&mut redis, &call).await,
                    None => Err(Trouble::connection("there is no connection")),
                };
                let took = clock.now().since(issued);
                Completed { id, call: call.name(), items: items(&call), link, answer, took }
            }
            .boxed(),
        );
    }

    fn completed(&mut self, Completed { id, call, items, link, answer, took }: Completed) {
        self.shared.meters.answered(call, items, &answer, took);
        if matches!(&answer, Err(trouble) if is_wrong_server(trouble)) {
            self.links.wrong_server(link.0, link.1);
        }
        self.tell(Event::Answered(id, answer));
    }

    fn link_event(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::Connected(link) => {
                self.shared.meters.link(link, true);
                if self.down.remove(&link) {
                    log::link_up(link);
                }
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

    /// The application has caught up, unless it has fallen behind again since.
    fn drained(&mut self) {
        self.tell(Event::Backlogged(self.shared.outbox.backlogged()));
    }

    /// The application ends an ownership, if it still is that one.
    fn end(&mut self, EndRequest { entry, token, end, error }: EndRequest) {
        if self.shared.leases.is_current(entry, token) {
            self.tell(match end {
                End::Done => Event::Done(entry),
                End::Release => Event::Release(entry, error),
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
            Some(Request::Stop(end, within)) => self.stop(end, within),
            None => {
                self.attended = false;
                if !self.stopping {
                    self.stop(End::Release, self.grace);
                }
            }
        }
    }

    fn stop(&mut self, end: End, within: Duration) {
        self.stopping = true;
        // Also tells the application's own tasks.
        self.cancel.cancel();
        self.shared.leases.invalidate_all();
        let deadline = self.shared.clock.now() + within;
        self.tell(Event::Shutdown(end, deadline));
    }

    fn notify(&mut self, fact: Fact) {
        log::notification(&fact);
        let notification = match fact {
            Fact::Ready => Notification::Ready,
            Fact::Added(added) => {
                self.shared.meters.added(added.takeover);
                let lease = Lease::new(added, self.shared.clock.clone(), self.ends.0.clone());
                self.shared.leases.insert(lease.clone());
                self.answer_claims(lease.entry(), "granted", || Ok(lease.clone()));
                Notification::Added(lease)
            }
            Fact::Expired { entry, stream } => {
                // The reaper says it again for as long as it is true.
                if self.shared.outbox.backlogged() {
                    return self.shared.meters.hint_withheld();
                }
                Notification::Expired { entry, stream }
            }
            Fact::ClaimLost { entry, stream, why } => {
                self.answer_claims(entry, why.label(), || Err(ClaimError::Lost { entry, why: why.clone() }));
                Notification::ClaimLost { entry, stream, why }
            }
            Fact::Disowned { entry, stream, token, reason } => {
                self.finish(entry, Lost::Disowned(reason.clone()));
                Notification::Disowned { entry, stream, token, reason }
            }
            Fact::Done { entry, stream, token } => {
                self.finish(entry, Lost::Done);
                Notification::Done { entry, stream, token }
            }
            Fact::Released { entry, stream, token } => {
                self.finish(entry, Lost::Released);
                Notification::Released { entry, stream, token }
            }
            Fact::Rejected { entry, stream, reason, error } => {
                self.shared.meters.rejected(reason.label());
                Notification::Rejected { entry, stream, reason, error }
            }
            Fact::Terminated(trouble) => {
                self.progress.send_replace(Progress::Terminated(trouble.clone()));
                Notification::Terminated(trouble)
            }
            Fact::Stopped(report) => {
                self.progress.send_replace(Progress::Stopped(report));
                Notification::Stopped(report)
            }
        };
        if self.shared.outbox.push(notification) {
            self.tell(Event::Backlogged(true));
        }
    }

    fn finish(&mut self, entry: EntryId, lost: Lost) {
        let label = lost.label();
        if let Some(lease) = self.shared.leases.finish(entry, lost) {
            self.shared.meters.ended(label, self.shared.clock.now().since(lease.0.gained()));
        }
    }

    fn answer_claims(&mut self, entry: EntryId, outcome: &'static str, answer: impl Fn() -> Result<Lease, ClaimError>) {
        for claim in self.claims.remove(&entry).unwrap_or_default() {
            self.shared.meters.claimed(outcome);
            // Whoever dropped the question reads the answer among the notifications.
            let _ = claim.send(answer());
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
        match remark {
            // Once for each time that it goes down, however often it is tried again.
            Remark::LinkDown { link, .. } if !self.down.insert(*link) => log::still_down(remark),
            remark => log::remark(remark, &mut self.refusals, self.shared.clock.now()),
        }
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
        self.shared.outbox.close();
        self.cancel.cancel();
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whether another server is the right one. A server that is merely full has our other connections still.
fn is_wrong_server(trouble: &Trouble) -> bool {
    trouble.kind == TroubleKind::WrongServer && !trouble.message.contains("max number of clients")
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
