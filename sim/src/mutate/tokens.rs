//! The words of a Lua text: as much of the language as our scripts use.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    Number,
    /// A text, with its quotation marks.
    Text,
    Sign,
}

/// A token, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Token<'_> {
    pub(super) fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }
}

/// Signs of more than one character, longest first.
const SIGNS: [&str; 6] = ["...", "..", "==", "~=", "<=", ">="];

/// All tokens. Comments and spaces are none.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = |end: Option<usize>| end.unwrap_or(rest.len());
        let (kind, end) = match first {
            _ if first.is_whitespace() => (None, first.len_utf8()),
            _ if rest.starts_with("--") => (None, length(rest.find('\n'))),
            'a'..='z' | 'A'..='Z' | '_' => {
                (Some(Kind::Word), length(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')))
            }
            '0'..='9' => (Some(Kind::Number), length(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.'))),
            '\'' | '"' => (Some(Kind::Text), quoted(rest, first)),
            _ => {
                let long = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                (Some(Kind::Sign), long.map_or(first.len_utf8(), |sign| sign.len()))
            }
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: &rest[..end], at });
        }
        at += end;
    }
    tokens
}

/// How long a quoted text is, with both quotation marks.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == mark && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_signs_and_comments_are_told_apart() {
        let text = "if a.b ~= 'it\\'s -- no' .. 1e12 then -- why\n  x = {...} end";
        let words: Vec<&str> = tokens(text).iter().map(|token| token.text).collect();
        let expected =
            ["if", "a", ".", "b", "~=", "'it\\'s -- no'", "..", "1e12", "then", "x", "=", "{", "...", "}", "end"];
        assert_eq!(words, expected);
        assert!(tokens(text).iter().all(|token| &text[token.range()] == token.text));
    }
}
