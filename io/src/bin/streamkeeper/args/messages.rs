//! The second half: messages.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use streamkeeper::messages::{self, Consumer, Rate};

use super::server::{Led, Patience, Server};
use crate::{Failure, at_start_of_messages, duration};

/// Which stream of messages, where.
#[derive(Debug, Args)]
pub(crate) struct StreamPlace {
    #[command(flatten)]
    server: Server,
    /// The stream that holds the messages.
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,
    /// Every other key begins with {STREAM}: for Redis Cluster.
    #[arg(long)]
    hash_tagged: bool,
}

impl StreamPlace {
    /// Tells a builder where the server is, and how the keys are named.
    pub(crate) fn lead<B: Led>(&self, builder: B) -> B {
        self.server.lead(builder, self.hash_tagged)
    }

    /// The stream and a group on it, from outside.
    pub(crate) fn messages(&self, patience: &Patience, group: &str) -> Result<messages::Messages, Failure> {
        messages(&self.server, patience, &self.stream, group, self.hash_tagged)
    }
}

/// A stream and a group on it, from outside.
pub(super) fn messages(
    server: &Server,
    patience: &Patience,
    stream: &str,
    group: &str,
    hash_tagged: bool,
) -> Result<messages::Messages, Failure> {
    patience.tell(server.lead(Consumer::builder(stream, group), hash_tagged)).messages().map_err(at_start_of_messages)
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) place: StreamPlace,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// The messages, each JSON [default: the lines of standard input].
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<String>,
    /// The field that holds a message in the stream.
    #[arg(long, value_name = "FIELD", default_value = "body")]
    pub(crate) json_field: String,
    /// The ordering key: a consumer that is told so handles one message of a key at a time.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// A header, also several.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Send each message once: a repeat with the same key answers the first one's id. Of several messages each has its
    /// own key, KEY:1, KEY:2, …, by its number.
    #[arg(long, value_name = "KEY", conflicts_with = "delay")]
    pub(crate) once: Option<String>,
    /// For how long the key is remembered.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    pub(crate) window: Duration,
    /// Put them into the stream only after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) delay: Option<Duration>,
    /// The id under which a delayed message is known: sent again it changes nothing, and it can be cancelled. Of several
    /// messages each has its own, ID:1, ID:2, …, by its number.
    #[arg(long, value_name = "ID", requires = "delay")]
    pub(crate) id: Option<String>,
    /// One JSON object a line on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no header: expected NAME=VALUE")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    pub(crate) place: StreamPlace,
    /// The group whose members share the messages; created if it is missing.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: String,
    /// The consumer's name; a random number is added [default: POD_NAME, POD_IP, or the host's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The command that handles messages, run by `sh -c`. It stays: each message is one line of JSON on its standard
    /// input, with `id`, `attempt`, `body` and `headers`, and it answers each with one line: `ok`, `retry [DELAY] [WHY]`
    /// or `dead [REASON]`; anything else is a failure with that text.
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: String,
    /// How many messages are handled at once: each by a child of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) concurrency: usize,
    /// How many more messages are fetched in advance [default: as many].
    #[arg(long, value_name = "N")]
    pub(crate) prefetch: Option<usize>,
    /// The field that holds a message in the stream.
    #[arg(long, value_name = "FIELD", default_value = "body")]
    pub(crate) json_field: String,
    /// How many times a message may fail before it is a dead letter; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) max_attempts: u32,
    /// How many times a message may crash this program before it is a dead letter: 3 or more; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) max_crashes: u32,
    /// The pause after a message has failed once; it doubles with each further time.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    pub(crate) backoff: Duration,
    /// The longest such pause.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub(crate) backoff_limit: Duration,
    /// How long the command may take for a message before it is ended and the message has failed [default: for ever].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// After what time messages of a consumer that is not heard of are given to others. A slow command needs no longer
    /// time: while this program lives, its messages stay with it.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub(crate) reclaim_idle: Duration,
    /// How often one consumer of the group looks for such messages [default: 1s, less for a short --reclaim-idle].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) reclaim_interval: Option<Duration>,
    /// Where a group begins that is created now.
    #[arg(long, value_enum, default_value_t = Begin::Oldest)]
    pub(crate) begin: Begin,
    /// Handle one message at a time of those that agree in this field, such as `key`.
    #[arg(long, value_name = "FIELD")]
    pub(crate) ordered_by: Option<String>,
    /// Start at most so many messages, such as 100/1s or 5/1m.
    #[arg(long, value_name = "N/DURATION", value_parser = rate)]
    pub(crate) rate: Option<Rate>,
    /// The same for the whole group: all its consumers must be told the same.
    #[arg(long, value_name = "N/DURATION", value_parser = rate)]
    pub(crate) group_rate: Option<Rate>,
    /// Remember for so long which messages were processed, and do not process them again.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) processed: Option<Duration>,
    /// Redis forgets messages as it hands them out: no retries, no dead letters, and what a crash interrupts is lost.
    #[arg(long)]
    pub(crate) no_ack: bool,
    /// Delete messages once they are processed, for as long as this is the only group on the stream.
    #[arg(long)]
    pub(crate) delete_after_success: bool,
    /// Delete messages once every group on the stream is done with them.
    #[arg(long)]
    pub(crate) trim: bool,
    /// How many dead letters are kept, about; the oldest go first [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) dead_limit: Option<u64>,
    /// How long what runs may take at the end, before it is ended and given back.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) shutdown_within: Duration,
    /// How long to wait for the server at start.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) start_within: Duration,
    /// How long one call to Redis may take [default: 1s, less for a short --reclaim-idle].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) call_timeout: Option<Duration>,
    /// One JSON object on stdout for each outcome.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Begin {
    /// At the oldest message of the stream.
    Oldest,
    /// Behind the newest.
    Newest,
}

/// Reads `100/1s`.
fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is no rate: expected a number and a time, such as 100/1s");
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let count: NonZeroU32 = count.trim().parse().map_err(|_| wrong())?;
    let per = duration::parse(per)?;
    Ok(Rate { count: count.get(), per })
}

#[derive(Debug, Args)]
pub(crate) struct Scheduled {
    #[command(subcommand)]
    pub(crate) what: ScheduledTask,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduledTask {
    /// List them, the next one first.
    List {
        #[command(flatten)]
        place: StreamPlace,
        #[command(flatten)]
        patience: Patience,
        /// One JSON object a line on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Take them back: they will not be sent.
    Cancel {
        #[command(flatten)]
        place: StreamPlace,
        #[command(flatten)]
        patience: Patience,
        /// Their ids, as `list` shows them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// A JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Messages {
    #[command(subcommand)]
    pub(crate) what: MessagesTask,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MessagesTask {
    /// How a group stands on a stream: what waits, what is in flight, what is delayed or dead, and who works.
    Status {
        #[command(flatten)]
        place: StreamPlace,
        #[command(flatten)]
        patience: Patience,
        /// The group.
        #[arg(long, value_name = "NAME")]
        group: String,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_headers_are_read() {
        assert_eq!(rate("100/1s"), Ok(Rate { count: 100, per: Duration::from_secs(1) }));
        for text in ["100", "0/1s", "x/1s", "100/", "100/1", "/1s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a="), Ok(("a".to_owned(), String::new())));
        assert!(header("a").is_err() && header("=b").is_err());
    }
}
