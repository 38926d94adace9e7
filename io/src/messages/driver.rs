//! The one loop of a consumer of one stream: what the machine wants is done, what happens is told to the machine. It
//! decides nothing.
//!
//! One task, one `select!`, and never a wait for the application: workers run elsewhere.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{
    id::CallId,
    messages::{Answer, Call, Command, Event, Machine, Notification, Output, Remark, Report, RunId, link_of},
    time::Time,
    trouble::Trouble,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    calls::Calls,
    context::{Handed, Place},
    flight::End,
    health::Pulse,
    log,
    meters::Meters,
    runs::Runs,
    settled::Settling,
};
use crate::{
    Link,
    clock::Clock,
    links::{Generation, LinkEvent, Links},
    outages::Outages,
};

/// What the consumer's handle asks a driver for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Start no new runs (`true`), or start them again.
    Pause(bool),
    /// Stop within this time.
    Stop(Duration),
}

/// How far a driver has come.
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
    link: (Link, Generation),
    answer: Result<Answer, Trouble>,
    took: Duration,
}

pub(crate) struct Driver {
    pub(crate) machine: Machine,
    pub(crate) links: Links,
    pub(crate) calls: Calls,
    pub(crate) clock: Clock,
    pub(crate) place: Arc<Place>,
    pub(crate) runs: Arc<Runs>,
    /// Those that were started and have not ended.
    pub(crate) running: BTreeMap<RunId, Arc<Handed>>,
    pub(crate) settling: Arc<Settling>,
    pub(crate) meters: Meters,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) cancel: CancellationToken,
    /// The machine was told to stop. That the token is cancelled does not say so: anybody may do that at any moment.
    pub(crate) stopping: bool,
    /// There are handles that may want something.
    pub(crate) attended: bool,
    /// What people were told of what lasts.
    pub(crate) outages: Outages,
    /// How long a stop by the token, or by dropping the consumer, may take.
    pub(crate) grace: Duration,
    pub(crate) under_way: FuturesUnordered<BoxFuture<'static, Completed>>,
    /// Some of them have just been issued.
    pub(crate) issued: bool,
}

impl Driver {
    /// Runs until the machine has stopped.
    pub(crate) async fn run(mut self) {
        self.machine.handle(Event::Timeout, self.clock.now());
        while let Some(wake) = self.do_what_the_machine_wants() {
            if std::mem::take(&mut self.issued) {
                self.let_calls_out().await;
                continue;
            }
            let (clock, runs, stopping) = (self.clock.clone(), self.runs.clone(), self.stopping);
            tokio::select! {
                biased;
                // First of all what comes seldom: where runs end all the time, it would have no turn.
                request = self.requests.recv(), if self.attended => self.request(request),
                () = self.cancel.cancelled(), if !stopping => self.stop(self.grace),
                Some(completed) = self.under_way.next() => self.completed(completed),
                event = self.links.next() => self.link_event(event),
                ends = runs.next_ended(stopping) => self.ended(ends),
                () = sleep_until(&clock, wake) => self.tell(Event::Timeout),
            }
        }
        // Dropped here: every handle learns that it has ended.
    }

    /// What was issued goes out before anything else is done: connections are tasks of this very thread, and while the
    /// ends of runs come in there would be no turn for them. Redis works meanwhile.
    async fn let_calls_out(&mut self) {
        tokio::select! {
            biased;
            Some(completed) = self.under_way.next() => self.completed(completed),
            () = tokio::task::yield_now() => {}
        }
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(event, self.clock.now());
    }

    /// Drains the machine. The instant at which it wants to be woken; `None` if it has stopped.
    fn do_what_the_machine_wants(&mut self) -> Option<Option<Time>> {
        let mut started = Vec::new();
        let wake = loop {
            match self.machine.poll() {
                Output::Command(Command::Connect(link)) => {
                    self.link_down(link);
                    self.links.connect(link);
                }
                Output::Command(Command::Disconnect(link)) => {
                    self.link_down(link);
                    self.links.disconnect(link);
                }
                Output::Command(Command::Call(id, call)) => self.issue(id, call),
                Output::Command(Command::Start(run)) => {
                    let handed = Arc::new(Handed::new(run, self.place.clone()));
                    self.running.insert(handed.run.id, handed.clone());
                    started.push(handed);
                }
                Output::Command(Command::Lost(id)) => self.with_run(id, Handed::lose),
                Output::Command(Command::Cancel(id)) => self.with_run(id, Handed::cancel),
                Output::Notification(fact) => self.notify(fact),
                Output::Settled(fates) => {
                    self.meters.settled(&fates);
                    log::settled(&fates);
                    self.settling.push(&self.place.stream, fates);
                }
                Output::Remark(remark) => self.remark(&remark),
                Output::Wait(wake) => break wake,
            }
        };
        if !started.is_empty() {
            self.runs.start(started);
        }
        if self.machine.stopped() {
            return None;
        }
        let depth = (self.machine.held(), self.machine.running());
        self.pulse.depth(depth);
        self.meters.depth(depth);
        Some(wake)
    }

    fn with_run(&self, id: RunId, act: fn(&Handed)) {
        if let Some(handed) = self.running.get(&id) {
            act(handed);
        }
    }

    /// Sends a call. Without a connection it is answered at once, with that.
    fn issue(&mut self, id: CallId, call: Call) {
        let link = link_of(&call);
        let (connection, link) = (self.links.get(link), (link, self.links.generation(link)));
        let (calls, clock, issued) = (self.calls.clone(), self.clock.clone(), self.clock.now());
        self.issued = true;
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
        match &answer {
            Ok(_) => self.pulse.answered(self.clock.now()),
            Err(trouble) => {
                self.pulse.trouble(trouble);
                self.links.suffered(link, trouble);
            }
        }
        self.tell(Event::Answered(id, answer));
    }

    fn link_event(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::Connected(link) => {
                self.meters.link(link, true);
                self.pulse.link_up(link, self.clock.now());
                self.outages.link_up(link);
                Event::Connected(link)
            }
            LinkEvent::Disconnected(link, trouble) => {
                self.link_down(link);
                self.pulse.trouble(&trouble);
                self.still_starting(&trouble);
                Event::Disconnected(link, trouble)
            }
            // Nobody subscribes.
            LinkEvent::Heard(_) => return,
        };
        self.tell(event);
    }

    fn link_down(&self, link: Link) {
        self.meters.link(link, false);
        self.pulse.link_down(link);
    }

    /// Runs have ended; nothing, if that is because the application's runtime has.
    fn ended(&mut self, ends: Vec<End>) {
        if ends.is_empty() {
            return self.stop(self.grace);
        }
        self.meters.ended(&ends);
        let mut outcomes = Vec::with_capacity(ends.len());
        for end in ends {
            self.running.remove(&end.id);
            outcomes.push((end.id, end.outcome));
        }
        self.tell(Event::Ran(outcomes));
    }

    /// The consumer's handle wants something; `None`: the last one was dropped.
    fn request(&mut self, request: Option<Request>) {
        match request {
            Some(Request::Pause(paused)) => self.tell(Event::Pause(paused)),
            Some(Request::Stop(within)) => self.stop(within),
            None => {
                self.attended = false;
                if !self.stopping {
                    self.stop(self.grace);
                }
            }
        }
    }

    fn stop(&mut self, within: Duration) {
        self.stopping = true;
        // Also tells the application's own tasks.
        self.cancel.cancel();
        let deadline = self.clock.now() + within;
        self.tell(Event::Shutdown(deadline));
    }

    fn notify(&mut self, fact: Notification) {
        log::notification(&fact);
        if fact != Notification::Ready {
            self.pulse.ended();
        }
        self.progress.send_replace(match fact {
            Notification::Ready => Progress::Started,
            Notification::Stopped(report) => Progress::Stopped(report),
            Notification::Terminated(trouble) => Progress::Terminated(trouble),
        });
    }

    fn remark(&mut self, remark: &Remark) {
        self.meters.remark(remark);
        match remark {
            // While stopping, connections are dropped by wish.
            Remark::LinkDown { .. } if self.stopping => return,
            Remark::LinkDown { trouble, .. } | Remark::CallFailed { trouble, .. } => self.still_starting(trouble),
            _ => {}
        }
        log::remark(remark, &mut self.outages, self.clock.now());
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
    /// Whatever ended it: what still runs is not ours any more, and nobody waits for it any longer.
    fn drop(&mut self) {
        self.running.values().for_each(|handed| handed.cancel());
        self.runs.close();
        for link in [Link::Commands, Link::Reader] {
            self.links.disconnect(link);
        }
        self.settling.close();
        self.pulse.ended();
        self.cancel.cancel();
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
