//! What a child answers: one line for each message.

use std::time::Duration;

use crate::duration;

/// The longest answer that is read, in bytes.
pub(crate) const LONGEST: usize = 64 * 1_024;

/// What a child said about the message that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `ok`: it is done.
    Ok,
    /// `retry [DELAY] [WHY]`: it failed, and is due again after so long, or after the backoff's pause.
    Retry {
        /// The pause that the child wants.
        after: Option<Duration>,
        /// Why.
        error: String,
    },
    /// `dead [REASON]`: never again.
    Dead(String),
    /// Anything else: it failed with this text.
    Failed(String),
}

impl Reply {
    /// Reads a line, with or without its end.
    pub(crate) fn parse(line: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim_start();
        match word {
            "ok" if rest.is_empty() => Reply::Ok,
            "retry" => retry(rest),
            "dead" if rest.is_empty() => Reply::Dead("the command said so".to_owned()),
            "dead" => Reply::Dead(rest.to_owned()),
            "" => Reply::Failed("the command answered with an empty line".to_owned()),
            _ => Reply::Failed(text.to_owned()),
        }
    }

    /// The word for it on standard output.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Reply::Ok => "ok",
            Reply::Retry { .. } => "retry",
            Reply::Dead(_) => "dead",
            Reply::Failed(_) => "failed",
        }
    }

    /// What went wrong, if anything did.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Reply::Ok => None,
            Reply::Retry { error, .. } | Reply::Dead(error) | Reply::Failed(error) => Some(error),
        }
    }
}

fn retry(rest: &str) -> Reply {
    let (word, why) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (after, why) = match duration::parse(word) {
        Ok(after) => (Some(after), why.trim_start()),
        Err(_) => (None, rest),
    };
    let error = if why.is_empty() { "the command asked for another try" } else { why };
    Reply::Retry { after, error: error.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let again = "the command asked for another try";
        let retry = |ms: Option<u64>, error: &str| Reply::Retry {
            after: ms.map(Duration::from_millis),
            error: error.to_owned(),
        };
        let failed = |text: &str| Reply::Failed(text.to_owned());
        for (line, expected) in [
            ("ok\n", Reply::Ok),
            ("  ok \r\n", Reply::Ok),
            ("retry\n", retry(None, again)),
            ("retry 1m30s", retry(Some(90_000), again)),
            ("retry 5s  the database is down\n", retry(Some(5_000), "the database is down")),
            ("retry the database is down\n", retry(None, "the database is down")),
            ("retry 10\n", retry(None, "10")),
            ("dead\n", Reply::Dead("the command said so".to_owned())),
            ("dead no such customer\n", Reply::Dead("no such customer".to_owned())),
            ("ok then\n", failed("ok then")),
            ("OK\n", failed("OK")),
            ("retrying\n", failed("retrying")),
            ("deadly\n", failed("deadly")),
            ("\n", failed("the command answered with an empty line")),
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(Reply::parse(b"\xff\xfe\n"), failed("\u{fffd}\u{fffd}"));
    }
}
