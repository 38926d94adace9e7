//! What is wrong with a scenario's file, so that whoever wrote it finds the place.

use std::{fmt, ops::Range};

/// A scenario that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The file, or the built-in scenario.
    pub file: String,
    /// The line, from 1 on; none if `--set` is to blame.
    pub line: Option<usize>,
    /// The key.
    pub key: String,
    /// What is wrong, and what is expected instead.
    pub why: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.key.as_str()) {
            (Some(line), "") => write!(f, "{}:{line}: {}", self.file, self.why),
            (Some(line), key) => write!(f, "{}:{line}: `{key}`: {}", self.file, self.why),
            (None, key) => write!(f, "{}: --set {key}: {}", self.file, self.why),
        }
    }
}

impl std::error::Error for Bad {}

/// Where something stands that came from `--set`, and not from the file.
pub(super) const FROM_SET: Range<usize> = usize::MAX..usize::MAX;

/// A file that is being read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Something is wrong with what stands here.
    pub(super) fn bad(&self, key: &str, place: &Range<usize>, why: impl Into<String>) -> Bad {
        let line = (place.start != FROM_SET.start).then(|| self.line(place.start));
        Bad { file: self.file.to_owned(), line, key: key.to_owned(), why: why.into() }
    }

    /// It is no TOML, or not of our shape.
    pub(super) fn not_toml(&self, error: &toml::de::Error) -> Bad {
        let place = error.span().unwrap_or(0..0);
        let line = self.text.lines().nth(self.line(place.start) - 1).unwrap_or_default();
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        self.bad(key, &place, error.message().replace('\n', "; "))
    }

    fn line(&self, place: usize) -> usize {
        self.text.as_bytes().iter().take(place).filter(|&&byte| byte == b'\n').count() + 1
    }
}
