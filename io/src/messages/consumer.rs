//! What an application holds: a consumer of one or several streams.

use std::{fmt, sync::Arc, time::Duration};

use streamkeeper_core::{
    messages::{Consumer as ConsumerName, Report},
    trouble::Trouble,
};
use tokio::sync::{mpsc, watch};

use super::{
    builder::Builder,
    driver::{Progress, Request},
    errors::Error,
    health::{Health, Pulse},
    settled::{Settlements, Settling},
};
use crate::{clock::Clock, links::connect::Connect};

/// A running consumer. Cheap to clone.
///
/// When the last clone is dropped, it stops by itself within [`Builder::grace`], if the process lives that long: call
/// [`shutdown`](Consumer::shutdown) to be sure of it, and to learn what became of everything.
#[derive(Clone)]
pub struct Consumer(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) name: ConsumerName,
    pub(crate) group: String,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Clock,
    pub(crate) settling: Arc<Settling>,
    pub(crate) members: Vec<Member>,
}

/// The part of a consumer that works on one stream: the driver's handle.
pub(crate) struct Member {
    pub(crate) stream: String,
    pub(crate) pulse: Arc<Pulse>,
    /// The only sender: the driver stops when it is dropped.
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Consumer {
    /// Sets up a consumer of a stream, as a member of a group: members share the stream's messages.
    pub fn builder(stream: impl Into<String>, group: impl Into<String>) -> Builder {
        Builder::new(stream.into(), group.into())
    }

    pub(crate) fn new(parts: Parts) -> Consumer {
        Consumer(Arc::new(parts))
    }

    /// Its name in the group, as it stands in Redis.
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Starts no new runs, and asks for no more messages, until [`resume`](Consumer::resume). What runs goes on; what
    /// was fetched and not started is given back in time.
    ///
    /// Cancel safe in that a pause whose future is dropped may have been asked for or not.
    pub async fn pause(&self) {
        self.ask(Request::Pause(true)).await;
    }

    /// Goes on after a [`pause`](Consumer::pause).
    pub async fn resume(&self) {
        self.ask(Request::Pause(false)).await;
    }

    /// Starts nothing more and stops: what runs may finish within `deadline`, then it is cancelled, and given back
    /// without counting as failed. Reports what was finished, given back and left.
    ///
    /// Cancel safe: the shutdown goes on without its future. Called again, it waits for the same report; the shorter
    /// deadline counts.
    pub async fn shutdown(&self, deadline: Duration) -> Report {
        self.ask(Request::Stop(deadline)).await;
        let mut total = Report::default();
        for member in &self.0.members {
            if let Ok(report) = member.ended(&self.0.group).await {
                total.finished += report.finished;
                total.returned += report.returned;
                total.left += report.left;
            }
        }
        total
    }

    /// Waits until it has stopped, by whatever cause; of several streams, until the first one has ended that was not
    /// ended by wish, or all have. Cancel safe.
    ///
    /// # Errors
    /// It has ended, and not by wish.
    pub async fn ended(&self) -> Result<Report, Error> {
        let ends = self.0.members.iter().map(|member| member.ended(&self.0.group));
        let reports = futures::future::try_join_all(ends).await?;
        Ok(reports.into_iter().fold(Report::default(), |total, report| Report {
            finished: total.finished + report.finished,
            returned: total.returned + report.returned,
            left: total.left + report.left,
        }))
    }

    /// How it fares, for each stream. Asks nobody.
    pub fn health(&self) -> Vec<Health> {
        let now = self.0.clock.now();
        self.0.members.iter().map(|member| member.pulse.health(&member.stream, now)).collect()
    }

    /// What becomes of messages from now on.
    pub fn settled(&self) -> Settlements {
        self.0.settling.subscribe()
    }

    async fn ask(&self, request: Request) {
        for member in &self.0.members {
            // A driver that has ended has left its report.
            let _ = member.requests.send(request).await;
        }
    }

    /// Waits until every stream is prepared, or it is clear that one will not be.
    pub(crate) async fn started(&self, within: Duration) -> Result<(), Error> {
        for member in &self.0.members {
            let mut progress = member.progress.clone();
            let known = |progress: &Progress| !matches!(progress, Progress::Starting(_));
            let first = progress.wait_for(known).await.map(|progress| progress.clone());
            match first {
                // Not to be tried again, as the settings say.
                Ok(Progress::Terminated(trouble)) if !trouble.kind.is_fatal_at_start() => {
                    return Err(self.unreachable(&member.stream, within, trouble));
                }
                Ok(Progress::Terminated(trouble)) => {
                    return Err(Error::fatal(&member.stream, &self.0.group, trouble));
                }
                Ok(Progress::Stopped(_)) | Err(_) => {
                    return Err(Error::Stopped { stream: member.stream.clone(), group: self.0.group.clone() });
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Why it has not started within this time.
    pub(crate) fn late(&self, within: Duration) -> Error {
        let starting = self.0.members.iter().find_map(|member| match &*member.progress.borrow() {
            Progress::Starting(trouble) => Some((member.stream.clone(), trouble.clone())),
            _ => None,
        });
        let (stream, trouble) = starting.unwrap_or_default();
        self.unreachable(&stream, within, trouble.unwrap_or_else(|| Trouble::connection("no answer")))
    }

    fn unreachable(&self, stream: &str, within: Duration, trouble: Trouble) -> Error {
        let (stream, group, server) = (stream.to_owned(), self.0.group.clone(), self.0.connect.describe());
        Error::Unreachable { stream, group, server, within, trouble }
    }
}

impl Member {
    async fn ended(&self, group: &str) -> Result<Report, Error> {
        let mut progress = self.progress.clone();
        let over = |progress: &Progress| matches!(progress, Progress::Stopped(_) | Progress::Terminated(_));
        let last = progress.wait_for(over).await.map(|progress| progress.clone());
        match last {
            Ok(Progress::Stopped(report)) => Ok(report),
            Ok(Progress::Terminated(trouble)) => Err(Error::fatal(&self.stream, group, trouble)),
            _ => Err(Error::fatal(&self.stream, group, Trouble::other("the driver has ended"))),
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.0.members.iter().map(|member| &member.stream).collect::<Vec<_>>();
        let mut shown = f.debug_struct("Consumer");
        shown.field("streams", &streams).field("group", &self.0.group).field("name", &self.name()).finish()
    }
}
