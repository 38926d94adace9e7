//! What happens to messages: what producers and workers are told and do, and what Redis itself does to the stream, its
//! group and the records, whoever asked for it. Entries are texts of ids in the stream.

use std::sync::Arc;

use serde::Serialize;

use crate::facts::Who;

/// What happened to messages.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub enum Said {
    /// A producer was told that its message stands, or is planned.
    Sent {
        /// Which message of the run.
        number: u64,
        /// Where it stands; `None`: it is to be delivered later.
        entry: Option<Arc<str>>,
        /// Under an idempotency key: it may have been sent before.
        once: bool,
    },
    /// A producer got no answer: it is sent or not.
    SendUnknown {
        /// Which.
        number: u64,
    },
    /// A run of a message began.
    Began {
        /// The process.
        who: Who,
        /// Which run of the whole simulation.
        run: u64,
        /// Which message of the run.
        number: u64,
        /// Where it stands.
        entry: Arc<str>,
        /// What is called.
        stage: Stage,
        /// Which attempt the worker was told that this is.
        attempt: u32,
        /// Which delivery the worker was told that this is.
        deliveries: u64,
    },
    /// A run ended.
    Ended {
        /// The process.
        who: Who,
        /// Which run.
        run: u64,
        /// The message.
        entry: Arc<str>,
        /// How.
        how: How,
    },
    /// A run was told that its message is not its own any more.
    Lost {
        /// The process.
        who: Who,
        /// Which run.
        run: u64,
        /// The message.
        entry: Arc<str>,
    },
    /// A message came into the stream.
    Entered {
        /// Where it stands.
        entry: Arc<str>,
        /// Which message of the run; `None` if it cannot be told.
        number: Option<u64>,
    },
    /// A message was planned for later.
    Scheduled {
        /// The id that its producer chose.
        id: Arc<str>,
        /// When it is due, by Redis's clock, in milliseconds since 1970.
        due_ms: u64,
    },
    /// A message that was planned for later is planned no more.
    Unscheduled {
        /// The id that its producer chose.
        id: Arc<str>,
    },
    /// Redis delivered new messages.
    Delivered {
        /// To this process.
        by: Option<Who>,
        /// Under this name.
        consumer: Arc<str>,
        /// These.
        entries: Vec<Arc<str>>,
        /// It keeps no account of them.
        forgets: bool,
    },
    /// Redis made messages that are pending this consumer's.
    Claimed {
        /// Asked by this process.
        by: Option<Who>,
        /// By this script.
        script: Option<&'static str>,
        /// Whose they are now.
        to: Arc<str>,
        /// These.
        entries: Vec<Arc<str>>,
        /// That is one delivery more.
        counted: bool,
    },
    /// Messages are not pending any more.
    Acked {
        /// Asked by this process.
        by: Option<Who>,
        /// By this script.
        script: Option<&'static str>,
        /// These, as far as they were pending.
        entries: Vec<Arc<str>>,
    },
    /// A message came into the dead letter stream.
    Buried {
        /// Asked by this process.
        by: Option<Who>,
        /// Which it was.
        entry: Arc<str>,
        /// Where it stands now.
        dead: Arc<str>,
        /// Why.
        reason: Arc<str>,
        /// Which message of the run, by its own fields.
        number: Option<u64>,
        /// What is missing of its story.
        missing: Vec<&'static str>,
    },
    /// Messages were taken out of the stream.
    Removed {
        /// Asked by this process; `None`: by hand.
        by: Option<Who>,
        /// These.
        entries: Vec<Arc<str>>,
    },
    /// A message is due at this time.
    Due {
        /// Asked by this process.
        by: Option<Who>,
        /// By this script.
        script: Option<&'static str>,
        /// Which.
        entry: Arc<str>,
        /// When, by Redis's clock, in milliseconds since 1970.
        due_ms: u64,
    },
    /// Messages are not due at any time any more.
    Undue {
        /// These.
        entries: Vec<Arc<str>>,
    },
    /// What went wrong with a message was written down.
    Recorded {
        /// Asked by this process.
        by: Option<Who>,
        /// By this script.
        script: Option<&'static str>,
        /// Which.
        entry: Arc<str>,
        /// What.
        record: Record,
    },
    /// What went wrong with messages was forgotten.
    Forgotten {
        /// These.
        entries: Vec<Arc<str>>,
    },
    /// The group was created.
    Grouped {
        /// It begins behind this entry.
        after: Arc<str>,
    },
    /// A consumer was deleted from the group, with so much pending.
    Dismissed {
        /// Asked by this process; `None`: by hand.
        by: Option<Who>,
        /// Its name.
        consumer: Arc<str>,
        /// So many messages were pending under it.
        pending: u64,
    },
    /// This process looks for what is idle from now on, or still does.
    Reclaims {
        /// Which.
        by: Option<Who>,
    },
    /// Everything as it stands: said when it may differ from what the facts so far come to.
    Stands(Stock),
}

/// What a worker's method was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// `process`.
    Process,
    /// `process_broken`.
    Broken,
    /// `process_dead`.
    Dead,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
    /// It panicked, which is a failure.
    Panicked,
    /// It said: never again.
    Rejected,
    /// It said: of no interest.
    Dropped,
    /// It was cancelled: by its timeout, or since the process stops.
    Cancelled,
}

impl How {
    /// It counts as a failed attempt; a cancelled one may.
    pub fn failed(self) -> bool {
        matches!(self, How::Failed | How::Panicked)
    }

    /// As traces write it.
    pub fn name(self) -> &'static str {
        match self {
            How::Done => "done",
            How::Failed => "failed",
            How::Panicked => "panicked",
            How::Rejected => "rejected",
            How::Dropped => "dropped",
            How::Cancelled => "cancelled",
        }
    }
}

/// What is written down of a message with which something went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Runs that failed.
    pub failed: u32,
    /// The delivery whose failure was counted last.
    pub counted: u64,
    /// Runs that crashed their process.
    pub crashed: u32,
    /// The delivery whose run was marked as begun.
    pub started: u64,
    /// Its end is decided.
    pub dying: bool,
    /// What is called for the dead has crashed its process.
    pub buried_alive: bool,
}

/// Everything as it stands in Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stock {
    /// Why it is said: `up`, `hand`, `end`.
    pub why: &'static str,
    /// What stands in the stream: where, and which message of the run.
    pub stream: Vec<(Arc<str>, Option<u64>)>,
    /// Up to where the group has read; `None`: there is no group.
    pub read: Option<Arc<str>>,
    /// What is pending: whose, and how often delivered.
    pub pending: Vec<(Arc<str>, Arc<str>, u64)>,
    /// The dead: which they were, and which messages of the run.
    pub dead: Vec<(Arc<str>, Option<u64>)>,
    /// What is due, and when, by Redis's clock in milliseconds since 1970.
    pub due: Vec<(Arc<str>, u64)>,
    /// What is planned for later, and for when, by the same clock.
    pub scheduled: Vec<(Arc<str>, u64)>,
    /// What is written down about messages.
    pub records: Vec<(Arc<str>, Record)>,
}
