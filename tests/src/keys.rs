//! The names of a service's keys in Redis, written down once more on purpose: the tests hold the wire format of
//! DESIGN.md section 4 against the program instead of asking the program for it.

/// What stands between a stream's name and its entry in a lease key, literally.
pub const SEPARATOR: &str = "<MUTEX_KEY_SEP>";

/// The keys of one service.
#[derive(Debug, Clone)]
pub struct Keys(String);

impl Keys {
    /// Of the service of this name.
    #[must_use]
    pub fn of(service: &str) -> Self {
        Self(service.to_owned())
    }

    /// The load balancer stream.
    #[must_use]
    pub fn lbs(&self) -> String {
        format!("{}-input", self.0)
    }

    /// The consumer group on it.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}-group", self.0)
    }

    /// The hash of what is known of each stream's ownership.
    #[must_use]
    pub fn fences(&self) -> String {
        format!("{}-fences", self.0)
    }

    /// The announcements set aside.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}-dead", self.0)
    }

    /// The highest token of the service.
    #[must_use]
    pub fn token(&self) -> String {
        format!("{}-token", self.0)
    }

    /// The lease on one announcement.
    #[must_use]
    pub fn lease(&self, stream: &str, entry: &str) -> String {
        format!("{stream}{SEPARATOR}{entry}")
    }
}

/// The payload of an announcement, as a producer writes it.
#[must_use]
pub fn announcement(stream: &str) -> String {
    serde_json::json!({"DataStreamName": stream, "Info": {"made": "by a test"}}).to_string()
}
