//! The record of a committed position as text: what stands in `S-checkpoints`.
//!
//! Each record has one text. What a hand wrote may have others (a bare position, leading zeros); they are read, too.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::call::{Mark, Record};
use crate::id::Attempt;

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.position)?;
        match self.read {
            Some(read) => write!(f, "{read} ")?,
            None => f.write_str("- ")?,
        }
        match self.mark {
            Some(mark) => mark.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl FromStr for Record {
    type Err = RecordError;

    /// Reads what stands there.
    ///
    /// # Errors
    /// It is neither a record nor an id.
    fn from_str(text: &str) -> Result<Record, RecordError> {
        parse(text).ok_or_else(|| RecordError(shown(text)))
    }
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[error(
    "`{0}` is no record of a position: expected `<id> <read or -> <mark or ->`, or an id such as 1700000000000-0 alone; \
     write one (HSET), or delete it (HDEL) to begin anew"
)]
pub struct RecordError(Box<str>);

fn parse(text: &str) -> Option<Record> {
    let mut parts = text.split(' ');
    let position = parts.next()?.parse().ok()?;
    let Some(read) = parts.next() else {
        return Some(Record { position, read: None, mark: None });
    };
    let read = match read {
        "-" => None,
        digits => Some(number(digits)?),
    };
    let mark = match parts.next()? {
        "-" => None,
        text => Some(mark(text)?),
    };
    parts.next().is_none().then_some(Record { position, read, mark })
}

/// A number in plain digits.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// At most so much of a text is shown.
fn shown(text: &str) -> Box<str> {
    let end = (0..=100.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    assert!(end <= 100, "an error does not repeat a whole payload");
    match &text[..end] {
        all if end == text.len() => all.into(),
        part => format!("{part}…").into(),
    }
}

impl fmt::Display for Mark {
    /// `<incarnation>.<attempt>.<number>`, as in the lease's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.number)
    }
}

/// Reads exactly what is printed: marks are compared as texts, too.
fn mark(text: &str) -> Option<Mark> {
    let mut parts = text.splitn(3, '.');
    let incarnation = u64::from_str_radix(parts.next()?, 16).ok()?;
    let attempt = Attempt { incarnation, number: number(parts.next()?)? };
    let mark = Mark { attempt, number: number(parts.next()?)? };
    (mark.to_string() == text).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::EntryId;

    fn mark(incarnation: u64, attempt: u64, number: u64) -> Option<Mark> {
        Some(Mark { attempt: Attempt { incarnation, number: attempt }, number })
    }

    #[test]
    fn a_record_has_one_text() {
        let last = EntryId { ms: u64::MAX, seq: u64::MAX };
        for (record, text) in [
            (Record::default(), "0-0 - -"),
            (Record { position: EntryId { ms: 7, seq: 1 }, read: Some(3), mark: None }, "7-1 3 -"),
            (
                Record { position: EntryId { ms: 7, seq: 1 }, read: None, mark: mark(0xab, 2, 1) },
                "7-1 - 00000000000000ab.2.1",
            ),
            (
                Record { position: last, read: Some(u64::MAX), mark: mark(u64::MAX, u64::MAX, u64::MAX) },
                "18446744073709551615-18446744073709551615 18446744073709551615 \
                 ffffffffffffffff.18446744073709551615.18446744073709551615",
            ),
        ] {
            assert_eq!(record.to_string(), text);
            assert_eq!(text.parse(), Ok(record));
        }
    }

    #[test]
    fn a_hand_may_write_an_id() {
        let record = |text: &str| text.parse::<Record>().unwrap();
        assert_eq!(record("7-1"), record("7-1 - -"));
        assert_eq!(record("07-01 03 -"), record("7-1 3 -"));
    }

    #[test]
    fn anything_else_is_an_error_that_shows_it() {
        for text in [
            "",
            " ",
            "7",
            "7-1 ",
            "7-1 3",
            "7-1 3 - -",
            "7-1 +3 -",
            "7-1  -",
            "7-1 - 1.2.3",
            "7-1 - 00000000000000AB.2.1",
            "7-1 - 00000000000000ab.02.1",
            "7-1 - 00000000000000ab.2",
            "7-1 - 00000000000000ab.2.1.1",
            "18446744073709551616-0",
            "7-1 18446744073709551616 -",
            "7-1\n- -",
        ] {
            let error = text.parse::<Record>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no record")) && error.contains("HSET"), "{error}");
        }
        let long = "ä".repeat(1_000).parse::<Record>().unwrap_err().to_string();
        assert!(long.len() < 400 && long.contains('…'), "{long}");
    }
}
