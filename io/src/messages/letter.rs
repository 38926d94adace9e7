//! A message that is ready to be sent: encoded, and checked.

use std::time::Duration;

use super::{
    calls::{ToSchedule, ToSend},
    codec::{Encode, Payload, header},
    errors::SendError,
    message::Message,
};

/// The fields, and how they are to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) way: Way,
}

/// How a message is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into the stream.
    Add,
    /// Into the stream, unless one with this key was sent within the window.
    Once { key: Box<str>, window: Duration },
    /// Into the stream, after this time; once for each id, which is known for the window after that.
    Schedule { id: Box<str>, delay: Duration, window: Duration },
}

/// What is sent: what is to stand in the stream, or what is to wait.
pub(crate) enum Item {
    Now(ToSend),
    Later(ToSchedule),
}

impl Letter {
    /// How long it is, about.
    pub(crate) fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    pub(crate) fn into_item(self) -> Item {
        let Letter { fields, way } = self;
        match way {
            Way::Add => Item::Now(ToSend { fields, once: None }),
            Way::Once { key, window } => Item::Now(ToSend { fields, once: Some((key, window)) }),
            Way::Schedule { id, delay, window } => Item::Later(ToSchedule { id, delay, window, fields }),
        }
    }
}

/// How long the id that a sender chose for a delayed message is known after the message was due.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// What a producer adds to each message.
pub(crate) struct Stationery<'a, T: ?Sized> {
    pub(crate) stream: &'a str,
    pub(crate) codec: &'a dyn Encode<T>,
    /// Messages that say the same are sent once in this window.
    pub(crate) duplicates: Option<Duration>,
}

impl<T: ?Sized + 'static> Stationery<'_, T> {
    /// Encodes and checks a message. `next_id` makes an id for a message that is to be delayed.
    pub(crate) fn letter(
        &self,
        body: &T,
        rest: Message<()>,
        traceparent: impl FnOnce() -> Option<String>,
        next_id: impl FnOnce() -> Box<str>,
    ) -> Result<Letter, SendError> {
        let mut payload = Payload::default();
        let encoded = self.codec.encode(body, &mut payload);
        encoded.map_err(|e| SendError::Encode { stream: self.stream.to_owned(), why: e.to_string() })?;
        if payload.fields().is_empty() {
            return Err(self.malformed("it".to_owned(), "has no field, and an entry without fields cannot be stored"));
        }
        let way = self.way(&rest, &payload, next_id)?;
        for (name, value) in rest.headers {
            if name.is_empty() {
                return Err(self.malformed("a header".to_owned(), "has an empty name: give it one"));
            }
            payload.push(format!("{}{name}", header::PREFIX), value);
        }
        if let Some(key) = rest.key {
            payload.push(header::KEY, key);
        }
        if let Some(traceparent) = rest.traceparent.or_else(traceparent) {
            if !is_traceparent(&traceparent) {
                let why = "is no W3C trace context: version, trace id, parent id and flags in lower-case hex";
                return Err(self.malformed(format!("its traceparent `{traceparent}`"), why));
            }
            payload.push(header::TRACEPARENT, traceparent);
        }
        if let Some(name) = payload.twice() {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(self.malformed(format!("the field `{name}`"), "is there twice: rename one of them"));
        }
        Ok(Letter { fields: payload.into_fields(), way })
    }

    fn way(
        &self,
        message: &Message<()>,
        payload: &Payload,
        next_id: impl FnOnce() -> Box<str>,
    ) -> Result<Way, SendError> {
        let millisecond = Duration::from_millis(1);
        match (&message.delay, &message.once, &message.id) {
            (Some(_), Some((key, _)), _) => {
                let why = "stands beside a delay: a delayed message is sent once by its id, give it that";
                Err(self.malformed(format!("its key `{key}`"), why))
            }
            (None, _, Some(id)) => {
                Err(self
                    .malformed(format!("its id `{id}`"), "is for a delayed message: give it a delay, or use `once`"))
            }
            (Some(_), None, Some(id)) if id.is_empty() => {
                Err(self.malformed("its id".to_owned(), "is empty: name it, or give it none"))
            }
            (Some(delay), None, id) => {
                let window = id.as_ref().map_or(Duration::ZERO, |_| REMEMBERED);
                Ok(Way::Schedule { id: id.clone().unwrap_or_else(next_id), delay: *delay, window })
            }
            (None, Some((key, window)), None) => {
                if key.is_empty() {
                    return Err(self.malformed("its idempotency key".to_owned(), "is empty: name it, or give it none"));
                }
                if *window < millisecond {
                    let why = "is shorter than a millisecond: a repeat would never be within it";
                    return Err(self.malformed(format!("the window {window:?} of its key `{key}`"), why));
                }
                Ok(Way::Once { key: key.clone(), window: *window })
            }
            (None, None, None) => Ok(match self.duplicates {
                Some(window) => Way::Once { key: fingerprint(payload), window: window.max(millisecond) },
                None => Way::Add,
            }),
        }
    }

    fn malformed(&self, what: String, why: &'static str) -> SendError {
        SendError::Malformed { stream: self.stream.to_owned(), what, why }
    }
}

/// The same for messages that say the same, and for no others: SHA-256 of fields and lengths.
fn fingerprint(payload: &Payload) -> Box<str> {
    use std::fmt::Write as _;

    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for part in payload.fields().iter().flat_map(|(field, value)| [field, value]) {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut text = String::with_capacity(68);
    text.push_str("say:");
    for byte in digest.finish().as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// `00-` and a trace id of 32, a parent id of 16 and flags of 2 hex digits; a later version may say more.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: Option<&str>, digits: usize| {
        part.is_some_and(|part| {
            part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let mut parts = text.split('-');
    let version = text.get(..2);
    hex(parts.next(), 2)
        && version != Some("ff")
        && hex(parts.next(), 32)
        && hex(parts.next(), 16)
        && hex(parts.next(), 2)
        && (parts.next().is_none() || version != Some("00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::codec::Json;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn write(message: Message<&str>) -> Result<Letter, SendError> {
        write_with(None, message)
    }

    fn write_with(duplicates: Option<Duration>, message: Message<&str>) -> Result<Letter, SendError> {
        let codec = Json::default();
        let (body, rest) = message.split();
        Stationery { stream: "s", codec: &codec, duplicates }.letter(body, rest, || None, || "made".into())
    }

    fn names(letter: &Letter) -> Vec<&str> {
        letter.fields.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn everything_said_about_a_message_becomes_a_field() {
        let letter = write(Message::new("x").header("tenant", "acme").key("k").traceparent(TRACE)).unwrap();
        assert_eq!(names(&letter), ["body", "h:tenant", "key", "traceparent"]);
        assert_eq!(letter.way, Way::Add);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        let second = Duration::from_secs(1);
        for (message, says) in [
            (Message::new("x").header("", "v"), "a header has an empty name"),
            (Message::new("x").header("a", "v").header("a", "w"), "the field `h:a` is there twice"),
            (Message::new("x").traceparent("00-12"), "its traceparent `00-12` is no W3C trace context"),
            (Message::new("x").delay(second).once("k", second), "its key `k` stands beside a delay"),
            (Message::new("x").id("i"), "its id `i` is for a delayed message"),
            (Message::new("x").delay(second).id(""), "its id is empty"),
            (Message::new("x").once("", second), "its idempotency key is empty"),
            (Message::new("x").once("k", Duration::ZERO), "the window 0ns of its key `k`"),
        ] {
            let error = write(message).unwrap_err();
            assert!(matches!(error, SendError::Malformed { .. }), "{error:?}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn the_way_follows_from_what_is_said() {
        let second = Duration::from_secs(1);
        let way = |message| write(message).unwrap().way;
        assert_eq!(way(Message::new("x").once("k", second)), Way::Once { key: "k".into(), window: second });
        assert_eq!(
            way(Message::new("x").delay(second)),
            Way::Schedule { id: "made".into(), delay: second, window: Duration::ZERO }
        );
        assert_eq!(
            way(Message::new("x").delay(second).id("i")),
            Way::Schedule { id: "i".into(), delay: second, window: REMEMBERED }
        );
    }

    #[test]
    fn duplicates_are_told_by_what_they_say_alone() {
        let key = |message| match write_with(Some(Duration::ZERO), message).unwrap().way {
            Way::Once { key, window } => {
                assert_eq!(window, Duration::from_millis(1));
                key
            }
            way => panic!("{way:?}"),
        };
        let same = key(Message::new("x"));
        assert_eq!(key(Message::new("x").header("a", "b").traceparent(TRACE)), same);
        assert_ne!(key(Message::new("y")), same);
        let parts = |fields: &[(&str, &str)]| {
            let mut payload = Payload::default();
            fields.iter().for_each(|(field, value)| payload.push(*field, *value));
            fingerprint(&payload)
        };
        assert_ne!(parts(&[("ab", "c")]), parts(&[("a", "bc")]));
    }

    #[test]
    fn trace_contexts_are_checked() {
        for good in [TRACE, "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"] {
            assert!(is_traceparent(good), "{good}");
        }
        for bad in [
            "",
            "00",
            &TRACE.to_uppercase(),
            &format!("{TRACE}-more"),
            &TRACE[..54],
            &TRACE.replacen("00", "ff", 1),
            "\u{e9}",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
