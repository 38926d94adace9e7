//! A line as words: separated by space, in quotes (as in JSON) where they hold what would end them.

use std::str::FromStr;

use super::{
    Unreadable,
    span::{SPAN, parse_ms},
};

const QUOTED: &str = "text in quotes, as in JSON";

/// What remains of a line.
#[derive(Clone)]
pub(super) struct Words<'a> {
    line: usize,
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: usize, text: &'a str) -> Words<'a> {
        Words { line, rest: text }
    }

    /// The next word, if there is one.
    pub(super) fn maybe(&mut self) -> Result<Option<String>, Unreadable> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() || self.rest.starts_with('#') {
            return Ok(None);
        }
        let mut word = String::new();
        while let Some(c) = self.rest.chars().next().filter(|c| !c.is_whitespace()) {
            if c == '"' {
                word.push_str(&self.quoted()?);
            } else {
                word.push(c);
                self.rest = &self.rest[c.len_utf8()..];
            }
        }
        Ok(Some(word))
    }

    /// The text in quotes that comes next.
    fn quoted(&mut self) -> Result<String, Unreadable> {
        let length = quoted(self.rest).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(length);
        let text = serde_json::from_str(part).map_err(|_| self.wrong(part, QUOTED))?;
        self.rest = rest;
        Ok(text)
    }

    /// The next word, which must be there.
    pub(super) fn word(&mut self, expected: &str) -> Result<String, Unreadable> {
        self.maybe()?.ok_or_else(|| self.short(expected))
    }

    /// The next word as a number, or what else can be read from a word.
    pub(super) fn number<T: FromStr>(&mut self, expected: &str) -> Result<T, Unreadable> {
        self.read(expected, |word| word.parse().ok())
    }

    /// The next word, as this function reads it.
    pub(super) fn read<T>(&mut self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Unreadable> {
        let word = self.word(expected)?;
        read(&word).ok_or_else(|| self.wrong(&word, expected))
    }

    /// A length of time in whole milliseconds, with or without `for` in front.
    pub(super) fn ms(&mut self) -> Result<u64, Unreadable> {
        self.skip("for")?;
        self.read(SPAN, parse_ms)
    }

    /// The next word as a number, if it is one.
    pub(super) fn peek_number<T: FromStr>(&mut self) -> Result<Option<T>, Unreadable> {
        let mut ahead = self.clone();
        let found = ahead.maybe()?.and_then(|word| word.parse().ok());
        if found.is_some() {
            *self = ahead;
        }
        Ok(found)
    }

    /// Passes over this word if it is the next.
    pub(super) fn skip(&mut self, word: &str) -> Result<bool, Unreadable> {
        let mut ahead = self.clone();
        let found = ahead.maybe()?.as_deref() == Some(word);
        if found {
            *self = ahead;
        }
        Ok(found)
    }

    /// Everything that remains, as it stands; in quotes if it could not stand so.
    pub(super) fn remainder(&mut self) -> Result<String, Unreadable> {
        let rest = std::mem::take(&mut self.rest).trim();
        if !rest.starts_with('"') {
            return Ok(rest.to_owned());
        }
        serde_json::from_str(rest).map_err(|_| self.wrong(rest, QUOTED))
    }

    /// Nothing must be left.
    pub(super) fn end(mut self) -> Result<(), Unreadable> {
        match self.maybe()? {
            None => Ok(()),
            Some(word) => Err(self.wrong(&word, "the end of the line")),
        }
    }

    /// This word does not fit.
    pub(super) fn wrong(&self, word: &str, expected: impl Into<String>) -> Unreadable {
        Unreadable { line: self.line, word: Some(word.to_owned()), expected: expected.into() }
    }

    fn short(&self, expected: &str) -> Unreadable {
        Unreadable { line: self.line, word: None, expected: expected.to_owned() }
    }
}

/// How long the text in quotes is that stands at the beginning; `None` if it never ends.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map(|(at, _)| at + 1)
}

/// A word as it can stand in a line.
pub(super) fn quote(word: &str) -> String {
    let plain = !word.is_empty()
        && !word.starts_with('#')
        && !word.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"');
    if plain { word.to_owned() } else { json(word) }
}

/// Text as it can stand at the end of a line.
pub(super) fn quote_remainder(text: &str) -> String {
    let plain = text.trim() == text && !text.starts_with('"') && !text.chars().any(char::is_control);
    if plain { text.to_owned() } else { json(text) }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn choice(word: &str, yes: &str, no: &str) -> Option<bool> {
    if word == yes { Some(true) } else { (word == no).then_some(false) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_words_and_a_comment() {
        let mut words = Words::new(3, r#"  pause "c \"2\"" x="a b"c for 4s # why"#);
        assert_eq!(words.word("a word").unwrap(), "pause");
        assert_eq!(words.word("a word").unwrap(), "c \"2\"");
        assert_eq!(words.word("a word").unwrap(), "x=a bc");
        assert!(!words.skip("at").unwrap());
        assert_eq!(words.ms().unwrap(), 4_000);
        let error = words.clone().word("a direction").unwrap_err();
        assert_eq!(error.to_string(), "line 3: the line ends, expected a direction");
        words.end().unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases: [(&str, &str); 3] = [
            ("\"never ends", "line 1: found `\"never ends`, expected text in quotes, as in JSON"),
            (r#""\q""#, r#"line 1: found `"\q"`, expected text in quotes, as in JSON"#),
            ("x y", "line 1: found `x`, expected a number"),
        ];
        for (text, error) in cases {
            assert_eq!(Words::new(1, text).number::<u64>("a number").unwrap_err().to_string(), error);
        }
    }

    proptest! {
        #[test]
        fn every_word_can_be_written(word: String, text: String) {
            let line = format!("{} {}", quote(&word), quote_remainder(&text));
            let mut words = Words::new(1, &line);
            prop_assert_eq!(words.word("a word").unwrap(), word);
            prop_assert_eq!(words.remainder().unwrap(), text);
        }

        #[test]
        fn garbage_never_panics(text: String) {
            let mut words = Words::new(1, &text);
            while let Ok(Some(_)) = words.maybe() {}
        }
    }
}
