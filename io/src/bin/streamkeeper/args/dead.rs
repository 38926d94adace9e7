//! What was set aside: announcements of a service, or a group's dead letters.

use clap::{Args, Subcommand};
use streamkeeper::{Builder, Client, EntryId, messages::Messages};

use super::{Patience, Server, messages::messages};
use crate::Failure;

/// Whose.
#[derive(Debug, Args)]
pub(crate) struct DeadPlace {
    #[command(flatten)]
    server: Server,
    /// The service whose announcements were set aside.
    #[arg(long, value_name = "NAME", required_unless_present = "stream", conflicts_with_all = ["stream", "group"])]
    service: Option<String>,
    /// The stream of messages.
    #[arg(long, value_name = "NAME", requires = "group")]
    stream: Option<String>,
    /// The group on it whose dead letters are meant.
    #[arg(long, value_name = "NAME", requires = "stream")]
    group: Option<String>,
    /// Keys begin with {SERVICE} or {STREAM}: for Redis Cluster.
    #[arg(long)]
    hash_tagged: bool,
    /// The service is spread over so many partitions.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "stream")]
    partitions: u32,
    #[command(flatten)]
    patience: Patience,
}

/// One of both halves.
pub(crate) enum Half {
    /// Announcements of a service.
    Service(Box<Builder>),
    /// Dead letters of a group on a stream of messages.
    Letters(Box<Messages>),
}

impl DeadPlace {
    pub(crate) fn half(&self) -> Result<Half, Failure> {
        if let Some(service) = &self.service {
            let builder = Client::builder(service).partitions(self.partitions);
            let builder = self.patience.tell(self.server.lead(builder, self.hash_tagged));
            return Ok(Half::Service(Box::new(builder)));
        }
        let (stream, group) = (self.stream.as_deref().unwrap_or_default(), self.group.as_deref().unwrap_or_default());
        let messages = messages(&self.server, &self.patience, stream, group, self.hash_tagged)?;
        Ok(Half::Letters(Box::new(messages)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Dead {
    #[command(subcommand)]
    pub(crate) what: DeadTask,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadTask {
    /// List them, oldest first.
    List {
        #[command(flatten)]
        place: DeadPlace,
        /// Only those for this reason: malformed, crash-loop or failed (--service); failed, crashed, broken or rejected
        /// (--stream).
        #[arg(long)]
        reason: Option<String>,
        /// One JSON object a line on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known of one.
    Show {
        #[command(flatten)]
        place: DeadPlace,
        /// Its id, as `list` shows it.
        id: EntryId,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Put them back: they are announced, or sent, again.
    Retry {
        #[command(flatten)]
        place: DeadPlace,
        #[command(flatten)]
        which: Which,
        /// One JSON object a line on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Delete them for good.
    Drop {
        #[command(flatten)]
        place: DeadPlace,
        #[command(flatten)]
        which: Which,
        /// A JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
}

/// Which of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Their ids, as `list` shows them.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<EntryId>,
    /// All for this reason: malformed, crash-loop or failed (--service); failed, crashed, broken or rejected (--stream).
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// All.
    #[arg(long)]
    pub(crate) all: bool,
}
