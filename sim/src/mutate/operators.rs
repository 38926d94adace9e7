//! What is changed in a Lua text, one thing at a time.

use std::{fmt, ops::Range};

use super::tokens::{Kind, Token, tokens};

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// A statement is dropped.
    Drop,
    /// A condition is negated, `and` is `or`, a `not` is left out.
    Negate,
    /// `==` is `~=`, `<` is `<=`.
    Compare,
    /// `+` is `-`, `*` is `/`.
    Calculate,
    /// A number is one more; ten times as much from a thousand on.
    Count,
    /// Something else is returned.
    Return,
    /// A command that writes is not executed, and its answer is an empty table.
    Write,
}

impl Operator {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operator::Drop => "drop",
            Operator::Negate => "negate",
            Operator::Compare => "compare",
            Operator::Calculate => "calculate",
            Operator::Count => "count",
            Operator::Return => "return",
            Operator::Write => "write",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) operator: Operator,
    /// What is replaced.
    pub(super) range: Range<usize>,
    /// What stands there instead.
    pub(super) with: String,
}

/// The commands of our scripts that write.
const WRITES: [&str; 18] = [
    "SET", "DEL", "PEXPIRE", "HSET", "HDEL", "HINCRBY", "INCRBY", "XADD", "XDEL", "XACK", "XCLAIM", "XGROUP", "XTRIM",
    "ZADD", "ZREM", "SADD", "SREM", "PUBLISH",
];
/// The longest statement that is dropped as a whole.
const LINES: usize = 14;

/// All changes of a text, in the order of their places. `compiles` says whether a text is Lua.
pub(super) fn changes(text: &str, compiles: impl Fn(&str) -> bool) -> Vec<Change> {
    let tokens = tokens(text);
    let mut changes = statements(text, &compiles);
    for at in 0..tokens.len() {
        changes.extend(condition(text, &tokens, at));
        changes.extend(sign(&tokens, at));
        changes.extend(number(&tokens, at));
        changes.extend(returned(text, &tokens, at));
        changes.extend(write(&tokens, at));
    }
    changes.sort_by_key(|change| (change.range.start, change.range.end));
    changes
}

/// Statements that begin and end with a line. Those that declare something are needed by others, and what `return`
/// answers is changed elsewhere.
fn statements(text: &str, compiles: &impl Fn(&str) -> bool) -> Vec<Change> {
    let mut starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    starts.push(text.len());
    let mut changes = Vec::new();
    for line in 0..starts.len() - 1 {
        let first = tokens(&text[starts[line]..starts[line + 1]]).first().map(|token| token.text.to_owned());
        let is_none = |word: String| {
            ["local", "return", "function", "end", "else", "elseif"].contains(&word.as_str())
                || !word.starts_with(|c: char| c.is_ascii_alphabetic())
        };
        if first.is_none_or(is_none) {
            continue;
        }
        let ends = starts[line + 1..].iter().take(LINES).copied();
        let end = ends.into_iter().find(|end| compiles(&format!("while true do {}\nend", &text[starts[line]..*end])));
        if let Some(end) = end {
            let range = starts[line]..text[..end].trim_end().len();
            changes.push(Change { operator: Operator::Drop, range, with: String::new() });
        }
    }
    changes
}

fn condition(text: &str, tokens: &[Token<'_>], at: usize) -> Option<Change> {
    let token = &tokens[at];
    let replaced = |range, with: &str| Some(Change { operator: Operator::Negate, range, with: with.to_owned() });
    if token.kind != Kind::Word {
        return None;
    }
    match token.text {
        "and" => replaced(token.range(), "or"),
        "or" => replaced(token.range(), "and"),
        "not" => replaced(token.range(), ""),
        "if" | "elseif" | "while" => {
            let then = tokens[at..].iter().find(|other| other.text == "then" || other.text == "do")?;
            let range = tokens[at + 1].at..text[..then.at].trim_end().len();
            let with = format!("not ({})", &text[range.clone()]);
            Some(Change { operator: Operator::Negate, range, with })
        }
        _ => None,
    }
}

fn sign(tokens: &[Token<'_>], at: usize) -> Option<Change> {
    let token = &tokens[at];
    let (operator, with) = match token.text {
        "==" => (Operator::Compare, "~="),
        "~=" => (Operator::Compare, "=="),
        "<" => (Operator::Compare, "<="),
        "<=" => (Operator::Compare, "<"),
        ">" => (Operator::Compare, ">="),
        ">=" => (Operator::Compare, ">"),
        "+" => (Operator::Calculate, "-"),
        "-" if at > 0 && is_operand(&tokens[at - 1]) => (Operator::Calculate, "+"),
        "*" => (Operator::Calculate, "/"),
        "/" => (Operator::Calculate, "*"),
        _ => return None,
    };
    Some(Change { operator, range: token.range(), with: with.to_owned() })
}

/// Whether something may be subtracted from what ends with this token.
fn is_operand(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::Number | Kind::Text => true,
        Kind::Word => !["return", "and", "or", "not", "then", "do", "else", "in"].contains(&token.text),
        Kind::Sign => [")", "]"].contains(&token.text),
    }
}

/// Numbers, also those that commands are given as texts.
fn number(tokens: &[Token<'_>], at: usize) -> Option<Change> {
    let token = &tokens[at];
    let (mark, text) = match token.kind {
        Kind::Number => ("", token.text),
        Kind::Text => ("'", &token.text[1..token.text.len() - 1]),
        Kind::Word | Kind::Sign => return None,
    };
    let with = match text.parse::<u64>() {
        Ok(number @ ..1000) => (number + 1).to_string(),
        Ok(number) => number.checked_mul(10)?.to_string(),
        Err(_) if token.kind == Kind::Number => format!("({text} * 10)"),
        Err(_) => return None,
    };
    Some(Change { operator: Operator::Count, range: token.range(), with: format!("{mark}{with}{mark}") })
}

fn returned(text: &str, tokens: &[Token<'_>], at: usize) -> Option<Change> {
    if tokens[at].text != "return" {
        return None;
    }
    let mut depth = 0;
    let mut end = text.trim_end().len();
    for token in &tokens[at + 1..] {
        match token.text {
            "function" => depth += 1,
            "end" if depth > 0 => depth -= 1,
            "end" | "else" | "elseif" => {
                end = text[..token.at].trim_end().len();
                break;
            }
            _ => {}
        }
    }
    let start = tokens.get(at + 1)?.at;
    // Without what is said about it behind the last word.
    let end = tokens.iter().rev().find(|token| token.range().end <= end)?.range().end;
    if start >= end {
        return None;
    }
    let with = match &text[start..end] {
        "nil" => return None,
        "false" => "true",
        "true" => "false",
        _ => "nil",
    };
    Some(Change { operator: Operator::Return, range: start..end, with: with.to_owned() })
}

/// A command that writes, where its answer is used: where it is not, the statement is dropped.
fn write(tokens: &[Token<'_>], at: usize) -> Option<Change> {
    let words: Vec<&str> = tokens[at..].iter().take(5).map(|token| token.text).collect();
    let ["redis", ".", "call" | "pcall", "(", command] = words[..] else { return None };
    if !WRITES.contains(&command.trim_matches('\'')) {
        return None;
    }
    let before = at.checked_sub(1).map(|before| tokens[before].text)?;
    if !["=", "return", "and", "or", "not", "(", ",", "if", "elseif"].contains(&before) {
        return None;
    }
    let mut depth = 0;
    let end = tokens[at..].iter().find(|token| {
        depth += i32::from(token.text == "(") - i32::from(token.text == ")");
        depth == 0 && token.text == ")"
    })?;
    Some(Change { operator: Operator::Write, range: tokens[at].at..end.range().end, with: "{}".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each change as the line that it makes.
    fn changed(text: &str) -> Vec<String> {
        let line = |change: Change| {
            let mut changed = text.to_owned();
            changed.replace_range(change.range, &change.with);
            format!("{}: {}", change.operator, changed.trim()).trim_end().to_owned()
        };
        changes(text, |text| crate::redis::lua::check(text).is_ok()).into_iter().map(line).collect()
    }

    #[test]
    fn each_operator_changes_what_it_is_for() {
        let cases: [(&str, &[&str]); 9] = [
            ("x = y", &["drop:"]),
            ("local x = not y", &["negate: local x =  y"]),
            ("return a < b -- so", &["return: return nil -- so", "compare: return a <= b -- so"]),
            ("return false", &["return: return true"]),
            ("local n = a - 1", &["calculate: local n = a + 1", "count: local n = a - 2"]),
            ("local n = -1", &["count: local n = -2"]),
            (
                "if a and b == '1' then f() end",
                &[
                    "drop:",
                    "negate: if not (a and b == '1') then f() end",
                    "negate: if a or b == '1' then f() end",
                    "compare: if a and b ~= '1' then f() end",
                    "count: if a and b == '2' then f() end",
                ],
            ),
            (
                "local s = redis.pcall('SET', k, 86400000)",
                &["write: local s = {}", "count: local s = redis.pcall('SET', k, 864000000)"],
            ),
            ("redis.call('DEL', f(k))", &["drop:"]),
        ];
        for (text, expected) in cases {
            assert_eq!(changed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_statement_of_several_lines_is_dropped_as_a_whole() {
        let text = "for i = 1, n do\n  f(\n    i\n  )\nend\ng()";
        let dropped = |expected: &str| changed(text).contains(&format!("drop: {expected}"));
        assert!(dropped("g()"), "{:?}", changed(text));
        assert!(dropped("for i = 1, n do\n\nend\ng()"));
        assert!(dropped("for i = 1, n do\n  f(\n    i\n  )\nend"));
    }
}
