//! A worker of messages: does what each message says, and writes down every run.

use std::{future::Future, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use streamkeeper::messages::{Broken, Context, Dead, Outcome, Worker};

use super::{checkpoints::Checkpoints, scene::Scene};
use crate::{
    facts::{What, Who},
    messages::{
        facts::{How, Said, Stage},
        witness::NUMBER,
    },
    plan::{Does, Point},
};

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// Which message of the run.
    pub(crate) number: u64,
    /// What it makes its worker do.
    pub(crate) does: String,
    /// How many times; 0 is always.
    pub(crate) times: u32,
    /// How long each run takes.
    pub(crate) takes_ms: u64,
}

/// The worker of one process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Process(Arc<Parts>);

struct Parts {
    who: Who,
    scene: Scene,
    checkpoints: Checkpoints,
}

impl Process {
    pub(crate) fn new(who: Who, scene: Scene, checkpoints: Checkpoints) -> Process {
        Process(Arc::new(Parts { who, scene, checkpoints }))
    }

    /// Writes down a run from its beginning to its end, however that comes.
    async fn run(&self, stage: Stage, context: &Context, doing: impl Future<Output = Did>) -> Outcome {
        let run = Run::begin(self.clone(), stage, context);
        self.0.checkpoints.pass(Point::Handler).await;
        let told = async {
            context.lost().await;
            run.note_lost();
            std::future::pending::<Did>().await
        };
        let did = tokio::select! {
            biased;
            did = doing => did,
            did = told => did,
        };
        run.end(did)
    }

    /// What a run does that is to do this so many times, and then to succeed.
    async fn until(&self, number: u64, does: Does, did: Did) -> Did {
        let times = self.0.scene.once_more(number, does.name());
        match does.times() {
            Some(0) | None => did,
            Some(most) if times <= most => did,
            Some(_) => Did::Done,
        }
    }

    async fn does(&self, body: &Body) -> Did {
        tokio::time::sleep(Duration::from_millis(body.takes_ms)).await;
        let Some(does) = Does::from_name(&body.does, body.times) else { return Did::Done };
        match does {
            Does::Succeeds | Does::Broken => Did::Done,
            Does::Fails(_) => self.until(body.number, does, Did::Failed).await,
            Does::Panics(_) => self.until(body.number, does, Did::Panicked).await,
            Does::Crashes(_) => self.dies_if(self.until(body.number, does, Did::Dies).await).await,
            Does::Hangs => std::future::pending().await,
            Does::Rejects => Did::Rejected,
            Does::Drops => Did::Dropped,
            Does::DeadFails(_) | Does::DeadAcks | Does::DeadCrashes(_) => Did::Failed,
        }
    }

    async fn does_when_dead(&self, body: Option<&Body>) -> Did {
        let Some(body) = body else { return Did::Rejected };
        let Some(does) = Does::from_name(&body.does, body.times) else { return Did::Rejected };
        let did = match does {
            Does::DeadFails(_) => self.until(body.number, does, Did::Failed).await,
            Does::DeadCrashes(_) => self.dies_if(self.until(body.number, does, Did::Dies).await).await,
            Does::DeadAcks => return Did::Done,
            _ => Did::Done,
        };
        // What it does when it succeeds is to have the message buried.
        if matches!(did, Did::Done) { Did::Rejected } else { did }
    }

    /// Kills the process, if that was to be done.
    async fn dies_if(&self, did: Did) -> Did {
        if matches!(did, Did::Dies) {
            self.0.scene.doom(self.0.who);
            self.0.checkpoints.freeze();
            return std::future::pending().await;
        }
        did
    }
}

impl Worker<Body> for Process {
    async fn process(&self, body: Body, context: Context) -> Outcome {
        self.run(Stage::Process, &context, self.does(&body)).await
    }

    async fn process_broken(&self, broken: Broken, context: Context) -> Outcome {
        let _ = broken;
        self.run(Stage::Broken, &context, async { Did::Rejected }).await
    }

    async fn process_dead(&self, dead: Dead<Body>, context: Context) -> Outcome {
        self.run(Stage::Dead, &context, self.does_when_dead(dead.message().ok())).await
    }
}

/// What a run comes to.
#[derive(Clone, Copy, Debug)]
enum Did {
    Done,
    Failed,
    Panicked,
    Rejected,
    Dropped,
    Dies,
}

/// A run that is written down.
struct Run {
    process: Process,
    run: u64,
    entry: Arc<str>,
    over: bool,
}

impl Run {
    fn begin(process: Process, stage: Stage, context: &Context) -> Run {
        let Parts { who, scene, .. } = &*process.0;
        let (who, run, entry): (Who, u64, Arc<str>) = (*who, scene.next_run(), context.entry().to_string().into());
        let number = context.header(NUMBER).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let (attempt, deliveries) = (context.attempt(), context.deliveries());
        let number = number.unwrap_or_default();
        scene.note(What::Message(Said::Began { who, run, number, entry: entry.clone(), stage, attempt, deliveries }));
        Run { process, run, entry, over: false }
    }

    fn note_lost(&self) {
        let (who, run, entry) = (self.process.0.who, self.run, self.entry.clone());
        self.process.0.scene.note(What::Message(Said::Lost { who, run, entry }));
    }

    fn end(mut self, did: Did) -> Outcome {
        let (how, outcome) = match did {
            Did::Done => (How::Done, Outcome::ack()),
            Did::Failed | Did::Dies => (How::Failed, Outcome::retry().because("the plan says so")),
            Did::Panicked => (How::Panicked, Outcome::retry()),
            Did::Rejected => (How::Rejected, Outcome::dead("the plan says so")),
            Did::Dropped => (How::Dropped, Outcome::drop()),
        };
        self.note_end(how);
        if matches!(did, Did::Panicked) {
            // A panic without the noise of one.
            std::panic::resume_unwind(Box::new("the plan says so"));
        }
        outcome
    }

    fn note_end(&mut self, how: How) {
        self.over = true;
        let Parts { who, scene, .. } = &*self.process.0;
        // Who was killed says nothing any more.
        if scene.life(who.consumer) == Some(*who) {
            let (who, run, entry) = (*who, self.run, self.entry.clone());
            scene.note(What::Message(Said::Ended { who, run, entry, how }));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.over {
            self.note_end(How::Cancelled);
        }
    }
}
