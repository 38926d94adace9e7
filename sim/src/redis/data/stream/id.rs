//! Ids of entries, and how commands spell them.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::number;

/// An entry's id: a time in milliseconds, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

/// An id as a command gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Whole(Id),
    /// `5-*`
    Time(u64),
}

impl Id {
    pub(crate) const MIN: Id = Id { ms: 0, seq: 0 };
    pub(crate) const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// The next one; none after the last.
    pub(crate) fn next(self) -> Option<Id> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The one before; none before the first.
    pub(crate) fn previous(self) -> Option<Id> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// An id that has to be one: not `-`, `+` or `5-*`.
    pub(crate) fn strict(text: &[u8], seq: u64) -> Result<Id, Reply> {
        if matches!(text, b"-" | b"+") {
            return Err(invalid());
        }
        Id::lenient(text, seq)
    }

    /// An id as XADD takes it.
    pub(crate) fn to_add(text: &[u8]) -> Result<Given, Reply> {
        match text.strip_suffix(b"-*") {
            Some(ms) if text.len() < 128 => number::unsigned(ms).map(Given::Time).ok_or_else(invalid),
            _ => Id::strict(text, 0).map(Given::Whole),
        }
    }

    /// The lower end of an interval: `(5` is after 5.
    pub(crate) fn start(text: &[u8]) -> Result<Id, Reply> {
        match text {
            [b'(', id @ ..] if !id.is_empty() => {
                Id::strict(id, 0)?.next().ok_or_else(|| Reply::error("ERR invalid start ID for the interval"))
            }
            text => Id::lenient(text, 0),
        }
    }

    /// The upper end of an interval.
    pub(crate) fn end(text: &[u8]) -> Result<Id, Reply> {
        match text {
            [b'(', id @ ..] if !id.is_empty() => {
                Id::strict(id, u64::MAX)?.previous().ok_or_else(|| Reply::error("ERR invalid end ID for the interval"))
            }
            text => Id::lenient(text, u64::MAX),
        }
    }

    /// Its spelling.
    pub(crate) fn text(self) -> Bytes {
        Bytes::from(format!("{}-{}", self.ms, self.seq))
    }

    pub(crate) fn reply(self) -> Reply {
        Reply::Bulk(self.text())
    }

    /// An id, or `-` or `+` for the lowest and the highest.
    pub(crate) fn lenient(text: &[u8], missing_seq: u64) -> Result<Id, Reply> {
        match text {
            b"-" => return Ok(Id::MIN),
            b"+" => return Ok(Id::MAX),
            text if text.len() >= 128 => return Err(invalid()),
            _ => {}
        }
        let mut halves = text.splitn(2, |byte| *byte == b'-');
        let ms = halves.next().and_then(number::unsigned).ok_or_else(invalid)?;
        let seq = halves.next().map_or(Some(missing_seq), number::unsigned).ok_or_else(invalid)?;
        Ok(Id { ms, seq })
    }
}

fn invalid() -> Reply {
    Reply::error("ERR Invalid stream ID specified as stream command argument")
}
