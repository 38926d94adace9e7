//! The names of a service's keys in Redis, written down once more on purpose: the tests hold the wire format of
//! DESIGN.md section 4 against the program instead of asking the program for it.

/// What stands between a stream's name and its entry in a lease key, literally.
pub const SEPARATOR: &str = "<MUTEX_KEY_SEP>";

/// The keys of one service.
#[derive(Debug, Clone)]
pub struct Keys {
    service: String,
    /// What stands in front of a lease: the tag that all keys share in a cluster, or nothing.
    tag: String,
}

impl Keys {
    /// Of the service of this name.
    #[must_use]
    pub fn of(service: &str) -> Self {
        Self { service: service.to_owned(), tag: String::new() }
    }

    /// The same in the layout for clusters.
    #[must_use]
    pub fn tagged(service: &str) -> Self {
        Self { service: service.to_owned(), tag: format!("{{{service}}}") }
    }

    fn own(&self, what: &str) -> String {
        let base = if self.tag.is_empty() { &self.service } else { &self.tag };
        format!("{base}-{what}")
    }

    /// The load balancer stream.
    #[must_use]
    pub fn lbs(&self) -> String {
        self.own("input")
    }

    /// The consumer group on it.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}-group", self.service)
    }

    /// The hash of what is known of each stream's ownership.
    #[must_use]
    pub fn fences(&self) -> String {
        self.own("fences")
    }

    /// The announcements set aside.
    #[must_use]
    pub fn dead(&self) -> String {
        self.own("dead")
    }

    /// Where the fleet stands with the server.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.own("epoch")
    }

    /// The highest token of the service.
    #[must_use]
    pub fn token(&self) -> String {
        self.own("token")
    }

    /// The lease on one announcement.
    #[must_use]
    pub fn lease(&self, stream: &str, entry: &str) -> String {
        format!("{}{stream}{SEPARATOR}{entry}", self.tag)
    }
}

/// The payload of an announcement, as a producer writes it.
#[must_use]
pub fn announcement(stream: &str) -> String {
    serde_json::json!({"DataStreamName": stream, "Info": {"made": "by a test"}}).to_string()
}
