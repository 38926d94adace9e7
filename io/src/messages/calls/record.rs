//! What went wrong with a message, as the scripts write it down.

use streamkeeper_core::messages::call::{History, Reason};

/// The longest error that is kept, in bytes.
const LONGEST: usize = 500;

/// An error's text as it is kept: cut between two characters.
pub(super) fn cut(error: &str) -> &str {
    let end = (0..=LONGEST.min(error.len())).rev().find(|at| error.is_char_boundary(*at));
    &error[..end.unwrap_or(0)]
}

/// Reads a record: `<failed> <counted> <crashed> <started> <dying> <state> <first> <last> <error>`, see
/// `lua/messages/prelude.lua`. One that cannot be read is none, and stands as the error.
pub(super) fn history(text: &str) -> History {
    let mut parts = text.splitn(9, ' ');
    let mut next = || parts.next();
    let mut parse = || {
        let failed = next()?.parse().ok()?;
        let _counted = next()?;
        let crashed = next()?.parse().ok()?;
        let _started = next()?;
        let dying = Reason::from_label(next()?);
        let buried_alive = next()? == "alive";
        let (first_ms, last_ms) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(History { failed, crashed, dying, buried_alive, first_ms, last_ms, error: next()?.into() })
    };
    parse().unwrap_or_else(|| History {
        error: format!("this record cannot be read: {}", cut(text)).into(),
        ..History::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let read = history("3 5 2 4 failed alive 1700000000001 1700000000002 no such order 17");
        let expected = History {
            failed: 3,
            crashed: 2,
            dying: Some(Reason::Failed),
            buried_alive: true,
            first_ms: 1_700_000_000_001,
            last_ms: 1_700_000_000_002,
            error: "no such order 17".into(),
        };
        assert_eq!(read, expected);
        let read = history("0 0 1 0 - - 1 2 ");
        assert_eq!((read.crashed, read.dying, read.buried_alive, &*read.error), (1, None, false, ""));
    }

    #[test]
    fn an_odd_record_is_none_and_says_so() {
        for text in ["", "x", "1 2 3", "1 1 -1 0 - - 1 2 e", "99999999999 1 1 1 - - 1 1 e"] {
            let read = history(text);
            assert_eq!((read.failed, read.crashed), (0, 0), "{text}");
            assert!(read.error.contains(text) && read.error.contains("cannot be read"), "{read:?}");
        }
    }

    #[test]
    fn errors_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("x{}", "ä".repeat(400));
        assert_eq!(cut(&long).len(), 499);
    }
}
