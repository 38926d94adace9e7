//! What a producer says when it announces a stream.

use std::time::Duration;

use serde::Serialize;
use streamkeeper_core::id::StreamName;

use crate::{calls::ToAnnounce, errors::AskError};

/// One announcement: a stream that is to be owned, what its owner is to know, and how a repeat is recognised.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper::Announce;
///
/// let plain = Announce::new("orders-17");
/// let full = Announce::new("orders-17")
///     .info(&serde_json::json!({ "region": "eu" }))
///     .once("import-2024-17", Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is announced by `Client::announce` or `Service::announce`"]
pub struct Announce {
    stream: String,
    info: Result<Option<Box<str>>, String>,
    once: Option<(Box<str>, Duration)>,
}

impl Announce {
    /// Announces the stream of this name: not empty, and without `<MUTEX_KEY_SEP>`.
    pub fn new(stream: impl Into<String>) -> Announce {
        Announce { stream: stream.into(), info: Ok(None), once: None }
    }

    /// What the owner is to know, as JSON: its [`Lease::info`](crate::Lease::info). What cannot be written as JSON is
    /// an error when it is announced.
    pub fn info(mut self, info: &(impl Serialize + ?Sized)) -> Announce {
        self.info = serde_json::to_string(info).map(|text| Some(text.into())).map_err(|e| e.to_string());
        self
    }

    /// The same, given as JSON text.
    pub fn info_json(mut self, text: impl AsRef<str>) -> Announce {
        let checked = serde_json::from_str::<serde::de::IgnoredAny>(text.as_ref());
        self.info = checked.map(|_| Some(text.as_ref().trim().into())).map_err(|e| e.to_string());
        self
    }

    /// Announces it once: a repeat with the same key within the window announces nothing, and answers the first
    /// one's entry. So an announcement that was not answered can be repeated.
    pub fn once(mut self, key: impl Into<Box<str>>, window: Duration) -> Announce {
        self.once = Some((key.into(), window));
        self
    }

    pub(crate) fn check(self) -> Result<ToAnnounce, AskError> {
        let malformed = |text: &str, why: String| AskError::Malformed { text: text.to_owned(), why };
        let stream = StreamName::new(&self.stream).map_err(|e| malformed(&self.stream, e.to_string()))?;
        let info = self.info.map_err(|why| malformed(&self.stream, format!("its info is no JSON: {why}")))?;
        Ok(ToAnnounce { stream, info, once: self.once })
    }
}

impl From<&str> for Announce {
    fn from(stream: &str) -> Announce {
        Announce::new(stream)
    }
}

impl From<String> for Announce {
    fn from(stream: String) -> Announce {
        Announce::new(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_checked() {
        let good = Announce::new("s").info_json(" {\"a\":1} ").check().unwrap();
        assert_eq!((good.stream.as_str(), good.info.as_deref()), ("s", Some("{\"a\":1}")));
        for bad in [Announce::new(""), Announce::new("a<MUTEX_KEY_SEP>b"), Announce::new("s").info_json("{")] {
            assert!(matches!(bad.check(), Err(AskError::Malformed { .. })));
        }
    }
}
