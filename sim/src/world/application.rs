//! What a consumer's application does with its streams, as the plan says: it works on them for a time, ends them, fails,
//! panics, hangs, reads late or never.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use rand::{Rng, rngs::SmallRng};
use streamkeeper::{Client, Connect, Lease, Lost, Notification};

use super::{
    checkpoints::Checkpoints,
    reader::Reader,
    scene::Scene,
    site::{Handler, Site},
};
use crate::{
    entries::facts::Said,
    facts::{Owned, What, Who},
    plan::{App, End, Point, Wish},
};

/// How often an application that does not listen looks at what it owns.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// How long a reader hears what became of its last commits, once the stream is not its own any more.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// The application in one process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Application(Arc<Process>);

struct Process {
    who: Who,
    app: App,
    client: Client,
    connect: Arc<dyn Connect>,
    scene: Scene,
    checkpoints: Checkpoints,
    dice: Mutex<SmallRng>,
    /// A user's own handler, in place of what the plan says.
    handler: Option<Handler>,
    site: Site,
    /// The client has ended: what is unread is read without delay.
    ended: AtomicBool,
}

impl Application {
    pub(crate) fn new(
        site: Site,
        app: &App,
        client: Client,
        connect: Arc<dyn Connect>,
        checkpoints: Checkpoints,
        dice: SmallRng,
        handler: Option<Handler>,
    ) -> Application {
        let (who, scene) = (site.who, site.scene.clone());
        let (app, dice, ended) = (app.clone(), Mutex::new(dice), AtomicBool::new(false));
        Application(Arc::new(Process { who, app, client, connect, scene, checkpoints, dice, handler, site, ended }))
    }

    /// Runs until the client has ended and everything that it says is read.
    pub(crate) async fn run(&self) {
        if self.0.app.runs || self.0.handler.is_some() {
            self.handle().await;
        } else if self.0.app.never_reads {
            self.look().await;
        } else {
            self.read().await;
        }
    }

    /// The client has ended: read the rest.
    pub(crate) fn hurry(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Asks for this end of a stream, if it is owned.
    pub(crate) fn wish(&self, stream: &str, wish: Wish) {
        if let Some(lease) = self.0.client.lease(stream) {
            self.ask(&lease, wish);
        }
    }

    /// Finishes everything that is owned, whatever its handlers do.
    pub(crate) fn finish(&self) {
        for lease in self.0.client.streams_owned() {
            self.ask(&lease, Wish::Done);
        }
    }

    fn ask(&self, lease: &Lease, wish: Wish) {
        let end = match wish {
            Wish::Done => "done",
            Wish::Release => "release",
            Wish::Fail => "fail",
        };
        self.note(What::Asked { who: self.0.who, owned: owned(lease), end });
        // Sent by the call; how it ends is read elsewhere.
        match wish {
            Wish::Done => drop(lease.done()),
            Wish::Release => drop(lease.release()),
            Wish::Fail => drop(lease.release_failed("a wish")),
        }
    }

    /// Reads the notifications one by one, with a task for each stream.
    async fn read(&self) {
        let mut notifications = self.0.client.notifications();
        loop {
            let pause = Duration::from_millis(self.0.app.reads_every_ms);
            if !pause.is_zero() && !self.0.ended.load(Ordering::Relaxed) {
                tokio::time::sleep(pause).await;
            }
            let Some(notification) = notifications.next().await else { return };
            self.hear(notification);
        }
    }

    fn hear(&self, notification: Notification) {
        match notification {
            Notification::Added(lease) => {
                self.added(&lease);
                let this = self.clone();
                self.spawn(async move { this.serve(lease).await });
            }
            Notification::Expired { entry, .. } => {
                let client = self.0.client.clone();
                // How it ends is read among the notifications.
                self.spawn(async move { drop(client.claim(entry).await) });
            }
            Notification::Disowned { entry, stream, token, reason, .. } => {
                self.ended(&owned_as(&stream, &entry, token), reason.label());
            }
            Notification::Done { entry, stream, token, .. } => self.ended(&owned_as(&stream, &entry, token), "done"),
            Notification::Released { entry, stream, token, .. } => {
                self.ended(&owned_as(&stream, &entry, token), "released");
            }
            Notification::Rejected { entry, reason, .. } => {
                let (who, entry) = (self.0.who, entry.to_string().into());
                self.note(What::Rejected { who, entry, why: reason.label() });
            }
            _ => {}
        }
    }

    /// Works on a stream of which the notifications told.
    async fn serve(&self, lease: Lease) {
        self.0.checkpoints.pass(Point::Handler).await;
        match self.work(&lease).await {
            Some(End::Done) => self.ask(&lease, Wish::Done),
            Some(End::Release) => self.ask(&lease, Wish::Release),
            Some(End::Fail | End::Panic) => self.ask(&lease, Wish::Fail),
            Some(End::Hang) | None => {}
        }
    }

    /// Gives the client a handler.
    async fn handle(&self) {
        let this = self.clone();
        let handler = move |lease: Lease| {
            let this = this.clone();
            async move { this.handler(lease).await }
        };
        // How it has ended is the process's matter.
        let _ = self.0.client.run(handler).await;
    }

    async fn handler(&self, lease: Lease) -> Result<(), String> {
        self.added(&lease);
        self.spawn_end(&lease);
        self.0.checkpoints.pass(Point::Handler).await;
        let end = match &self.0.handler {
            Some(handler) => self.let_work(&lease, handler(lease.clone(), self.0.site.clone())).await,
            None => self.work(&lease).await.unwrap_or(End::Hang),
        };
        let (who, owned) = (self.0.who, owned(&lease));
        match end {
            End::Done => {
                self.note(What::Asked { who, owned, end: "done" });
                Ok(())
            }
            End::Release => {
                self.ask(&lease, Wish::Release);
                Ok(())
            }
            End::Fail => {
                self.note(What::Asked { who, owned, end: "fail" });
                Err("the handler failed".to_owned())
            }
            End::Panic => {
                self.note(What::Asked { who, owned, end: "fail" });
                // A panic without the noise of one.
                std::panic::resume_unwind(Box::new("the plan says so"))
            }
            End::Hang => std::future::pending().await,
        }
    }

    /// Lets a user's handler work. Its panic is a failure, and one of the run.
    async fn let_work(&self, lease: &Lease, working: impl Future<Output = Result<(), String>>) -> End {
        self.note(What::Worked { who: self.0.who, owned: owned(lease) });
        match self.0.scene.watched(&format!("the handler of {}", lease.stream()), working).await {
            Some(Ok(())) => End::Done,
            Some(Err(_)) | None => End::Fail,
        }
    }

    /// Works on a stream for as long as the plan says. `None` if it was lost meanwhile.
    async fn work(&self, lease: &Lease) -> Option<End> {
        let (span, ending) = self.cast();
        if !lease.is_valid() {
            return None;
        }
        self.note(What::Worked { who: self.0.who, owned: owned(lease) });
        if !self.spend(lease, span).await {
            return lease.is_valid().then_some(End::Hang);
        }
        if !lease.is_valid() {
            return None;
        }
        self.note(What::Worked { who: self.0.who, owned: owned(lease) });
        Some(ending)
    }

    /// Spends this time on a stream, or all the time. Whether it is over, and the stream still owned.
    async fn spend(&self, lease: &Lease, span: Option<Duration>) -> bool {
        let reading = async {
            if let Some(reading) = &self.0.app.reading {
                let (who, owned, scene) = (self.0.who, owned(lease), &self.0.scene);
                Reader { who, owned, lease, reading, scene }.read(|| self.takes(reading.takes_ms)).await;
            }
            lease.lost().await;
        };
        // Who commits when it loses a stream hears what became of that, and of the end.
        let lost = async {
            lease.lost().await;
            if self.0.app.reading.is_some() {
                tokio::time::sleep(LAST_WORDS).await;
            }
        };
        let over = async {
            match span {
                Some(span) => tokio::time::sleep(span).await,
                // Hangs, but reads.
                None if self.0.app.reading.is_some() => std::future::pending().await,
                None => {}
            }
        };
        let over = tokio::select! {
            biased;
            () = reading => false,
            () = lost => false,
            () = over => span.is_some(),
        };
        if self.0.app.reading.is_some() {
            self.note(What::Entry(Said::Closed { who: self.0.who, owned: owned(lease) }));
        }
        over
    }

    fn takes(&self, (least, most): (u64, u64)) -> Duration {
        let mut dice = self.0.dice.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(dice.random_range(least..=most.max(least)))
    }

    /// For how long a stream is worked on, `None` for ever, and how that ends.
    fn cast(&self) -> (Option<Duration>, End) {
        let mut dice = self.0.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let span =
            self.0.app.work_ms.map(|(least, most)| Duration::from_millis(dice.random_range(least..=most.max(least))));
        (span, ending(self.0.app.ends, dice.random_range(0..u64::MAX)))
    }

    /// Reads no notification, but sees what it owns.
    async fn look(&self) {
        let mut known = BTreeSet::new();
        while !self.0.ended.load(Ordering::Relaxed) {
            let leases = self.0.client.streams_owned();
            let present: BTreeSet<_> = leases.iter().map(Lease::token).collect();
            for lease in leases.iter().filter(|lease| !known.contains(&lease.token())) {
                self.added(lease);
                self.spawn_end(lease);
            }
            known = present;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes down how an ownership ends, where no notification says so.
    fn spawn_end(&self, lease: &Lease) {
        let (this, lease) = (self.clone(), lease.clone());
        self.spawn(async move {
            let lost: Lost = lease.lost().await;
            this.ended(&owned(&lease), lost.label());
        });
    }

    fn added(&self, lease: &Lease) {
        let (who, owned) = (self.0.who, owned(lease));
        self.note(What::Added { who, owned: owned.clone(), takeover: lease.takeover() });
        let lease = lease.clone();
        self.0.scene.hold(who, &owned, move || lease.is_valid());
    }

    fn ended(&self, owned: &Owned, how: &'static str) {
        self.0.scene.let_go(self.0.who, owned);
        self.note(What::Ended { who: self.0.who, owned: owned.clone(), how });
    }

    fn note(&self, what: What) {
        self.0.scene.note(what);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.connect.spawn(Box::pin(task));
    }
}

/// The ending that a throw of the dice stands for, by weight; done if nothing weighs anything.
pub(super) fn ending(weights: [u32; 5], throw: u64) -> End {
    let mut left = throw % weights.iter().map(|weight| u64::from(*weight)).sum::<u64>().max(1);
    for (ending, weight) in End::ALL.into_iter().zip(weights) {
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => return ending,
        }
    }
    End::Done
}

fn owned(lease: &Lease) -> Owned {
    owned_as(lease.stream(), &lease.entry(), lease.token())
}

fn owned_as(stream: &streamkeeper::StreamName, entry: &streamkeeper::EntryId, token: streamkeeper::Token) -> Owned {
    Owned { stream: stream.as_str().into(), entry: entry.to_string().into(), token: token.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_drawn_by_weight() {
        let drawn = |weights, throws: std::ops::Range<u64>| -> Vec<End> {
            throws.map(|throw| ending(weights, throw)).collect()
        };
        assert_eq!(drawn([1, 0, 2, 0, 0], 0..4), [End::Done, End::Fail, End::Fail, End::Done]);
        assert_eq!(drawn([0, 0, 0, 0, 3], 0..1), [End::Hang]);
        assert_eq!(drawn([0, 1, 0, 1, 0], 0..2), [End::Release, End::Panic]);
        assert_eq!(drawn([0; 5], 0..2), [End::Done, End::Done]);
    }
}
