//! What a consumer says: one JSON object a line, as `streamkeeper work --json` prints it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

/// One line of a consumer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// When, in microseconds of Unix time.
    pub at_us: u64,
    /// What happened.
    #[serde(rename = "event")]
    pub kind: Kind,
    /// Who says so.
    #[serde(default)]
    pub consumer: Option<String>,
    /// The data stream.
    #[serde(default)]
    pub stream: Option<String>,
    /// The announcement.
    #[serde(default)]
    pub entry: Option<String>,
    /// The partition of the announcement, in a service that has some.
    #[serde(default)]
    pub partition: Option<u32>,
    /// The fencing token.
    #[serde(default)]
    pub token: Option<u64>,
    /// Whether somebody had owned the stream before.
    #[serde(default)]
    pub takeover: Option<bool>,
    /// How often the announcement was delivered.
    #[serde(default)]
    pub deliveries: Option<u64>,
    /// What the producer said about the stream.
    #[serde(default)]
    pub info: Option<Value>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whatever else the line holds.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Connected, prepared, and willing to take streams.
    Ready,
    /// Owns a stream from now on.
    Added,
    /// Somebody's lease lapsed (manual claim).
    Expired,
    /// Another one was faster (manual claim).
    ClaimLost,
    /// Owns the stream no longer.
    Disowned,
    /// Finished it for ever.
    Done,
    /// Gave it back unfinished.
    Released,
    /// Set an announcement aside.
    Rejected,
    /// Cannot go on.
    Terminated,
    /// The last word.
    Stopped,
    /// Anything that these tests do not know.
    #[serde(other)]
    Other,
}

impl Kind {
    /// Whether it ends an ownership.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Kind::Disowned | Kind::Done | Kind::Released)
    }
}

impl Event {
    /// Whether it is of this kind and about this stream.
    #[must_use]
    pub fn is(&self, kind: Kind, stream: &str) -> bool {
        self.kind == kind && self.stream.as_deref() == Some(stream)
    }

    /// The reason, or nothing.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("")
    }

    /// Reads one line.
    ///
    /// # Errors
    /// If it is not such an object.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

/// The same clock as the events': microseconds of Unix time.
#[must_use]
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_micros()).expect("fits for 500,000 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_specification_is_read() {
        let line = r#"{"at_us":5,"event":"added","consumer":"redis-consumer-a","stream":"s","entry":"1-1","token":7,
            "takeover":true,"deliveries":2,"info":{"k":1},"more":"x"}"#;
        let event = Event::parse(line).unwrap();
        assert!(event.is(Kind::Added, "s"));
        assert_eq!((event.token, event.takeover, event.deliveries), (Some(7), Some(true), Some(2)));
        assert_eq!(event.rest["more"], "x");
        assert_eq!(Event::parse(r#"{"at_us":5,"event":"claim-lost"}"#).unwrap().kind, Kind::ClaimLost);
        assert_eq!(Event::parse(r#"{"at_us":5,"event":"news"}"#).unwrap().kind, Kind::Other);
        assert!(Event::parse("not json").is_err());
    }
}
