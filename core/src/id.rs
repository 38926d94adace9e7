//! Names and numbers with a meaning, as types of their own, so that one cannot be passed for another.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The text between a stream's name and an entry id in a lease key: literal, and the Go library's.
pub const LEASE_SEPARATOR: &str = "<MUTEX_KEY_SEP>";

/// The id of an announcement: its entry in the LBS, `<milliseconds>-<sequence>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Milliseconds part.
    pub ms: u64,
    /// Sequence part.
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntryId {
    type Err = IdError;

    /// Parses `<milliseconds>-<sequence>`, both in plain decimal digits.
    fn from_str(text: &str) -> Result<EntryId, IdError> {
        let parsed = text.split_once('-').and_then(|(ms, seq)| Some(EntryId { ms: number(ms)?, seq: number(seq)? }));
        parsed.ok_or_else(|| IdError::Entry(text.into()))
    }
}

/// Digits alone, as a number.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// The name of a data stream: not empty, and without [`LEASE_SEPARATOR`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// An empty name, or one that contains the lease key's separator.
    pub fn new(name: &str) -> Result<StreamName, IdError> {
        if name.is_empty() {
            return Err(IdError::EmptyStream);
        }
        if name.contains(LEASE_SEPARATOR) {
            return Err(IdError::Separator(name.into()));
        }
        Ok(StreamName(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who consumes: the name of the group's consumer, and the first part of every lease value. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(Arc<str>);

impl ConsumerId {
    /// The prefix of every consumer id, the Go library's.
    pub const PREFIX: &str = "redis-consumer-";

    /// The id of the consumer called `name`.
    ///
    /// # Errors
    /// An empty name, or one with a control character.
    pub fn named(name: &str) -> Result<ConsumerId, IdError> {
        if name.is_empty() {
            return Err(IdError::EmptyConsumer);
        }
        if name.contains(char::is_control) {
            return Err(IdError::ControlInConsumer(name.into()));
        }
        Ok(ConsumerId(format!("{}{name}", ConsumerId::PREFIX).into()))
    }

    /// The id as it stands in Redis.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One try at owning one announcement. Chosen by the caller, so that a repeat of the call is recognised, and that a
/// namesake and an earlier ownership are not taken for this one. In Redis: `<consumer id>#<attempt>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// Random, once per process and machine.
    pub incarnation: u64,
    /// Counts up within the incarnation.
    pub number: u64,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.incarnation, self.number)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// A fencing token. Tokens of one data stream only grow; whatever a stream's owner writes outside, it writes with its
/// token, and the sink refuses a smaller one than it has seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Which call an answer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.0)
    }
}

/// A server as an acknowledged past: `run_id:master_replid`. Empty where the server does not tell (INFO refused).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// From the text that the server gave.
    pub fn new(text: &str) -> Identity {
        Identity(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name or id that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum IdError {
    /// Not an entry id.
    #[error("`{0}` is not an entry id: expected <milliseconds>-<sequence>, such as 1700000000000-0")]
    Entry(String),
    /// A stream without a name.
    #[error("the data stream's name is empty: DataStreamName must be a text of at least one character")]
    EmptyStream,
    /// A stream's name that would make lease keys ambiguous.
    #[error(
        "the data stream's name `{0}` contains `{LEASE_SEPARATOR}`, which separates the parts of a lease key: rename it"
    )]
    Separator(String),
    /// A consumer without a name.
    #[error("the consumer's name is empty: give one, or set POD_NAME or POD_IP")]
    EmptyConsumer,
    /// A consumer whose name would break the lines of logs.
    #[error("the consumer's name {0:?} contains a control character, such as a line break: remove it")]
    ControlInConsumer(String),
    /// A service without a name.
    #[error("the service's name is empty: it is the first part of every key")]
    EmptyService,
    /// A service whose name would make lease keys ambiguous.
    #[error(
        "the service's name `{0}` contains `{LEASE_SEPARATOR}`, which separates the parts of a lease key: rename it"
    )]
    ServiceSeparator(String),
    /// A service whose name, put in braces, is no hash tag.
    #[error(
        "the service's name `{0}` begins with a closing brace, so that its keys would not share a slot of Redis Cluster: \
         choose one without"
    )]
    ServiceBrace(String),
    /// Not a lease key.
    #[error("`{0}` is not a lease key: expected <stream>{LEASE_SEPARATOR}<entry id>")]
    Lease(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_ids_parse_and_print() {
        for text in ["0-0", "1700000000000-3", "18446744073709551615-18446744073709551615"] {
            assert_eq!(text.parse::<EntryId>().unwrap().to_string(), text);
        }
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "+1-0", "1-x", " 1-0", "18446744073709551616-0"] {
            assert!(text.parse::<EntryId>().is_err(), "{text:?}");
        }
        assert!("9-9".parse::<EntryId>().unwrap() < "10-0".parse().unwrap());
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(StreamName::new(""), Err(IdError::EmptyStream));
        assert!(matches!(StreamName::new("a<MUTEX_KEY_SEP>b"), Err(IdError::Separator(_))));
        assert_eq!(StreamName::new("a").unwrap().as_str(), "a");
        assert_eq!(ConsumerId::named("pod-1").unwrap().as_str(), "redis-consumer-pod-1");
        assert_eq!(ConsumerId::named("pod-1").unwrap().to_string(), "redis-consumer-pod-1");
        assert_eq!(ConsumerId::named(""), Err(IdError::EmptyConsumer));
        for name in ["pod\n1", "pod\0", "\u{85}pod", "\x1b[1mpod"] {
            assert_eq!(ConsumerId::named(name), Err(IdError::ControlInConsumer(name.to_owned())));
        }
        let error = ConsumerId::named("pod\n1").unwrap_err().to_string();
        assert!(error.contains(r#""pod\n1""#), "{error}");
        assert!(ConsumerId::named("Bär 7 – küche").is_ok());
    }
}
