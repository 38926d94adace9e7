//! Replies as they stand on the wire: read in both protocols, every type of its own, and written as text that a person
//! can review.

use std::fmt::Write as _;

/// One value of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Status(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*-1`
    NilArray,
    /// `_`
    Null,
    /// `#`
    Bool(bool),
    /// `,`
    Double(String),
    /// `=`
    Verbatim(Vec<u8>),
    /// `*`
    Array(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// Something that differs from run to run, by its description.
    Masked(String),
}

use Value::{Array, Bool, Bulk, Double, Error, Int, Map, Masked, NilArray, NilBulk, Null, Push, Set, Status, Verbatim};

/// The longest line of a rendered reply.
const WIDTH: usize = 140;

impl Value {
    /// Reads one value off the front of the bytes; answers how many it took, or nothing if it is not all there yet.
    ///
    /// # Panics
    /// If it is no RESP at all.
    pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let (kind, line) = (bytes[0], &bytes[1..end]);
        let at = end + 2;
        let number = || -> i64 {
            let text = String::from_utf8_lossy(line);
            text.parse().unwrap_or_else(|_| panic!("not a number on the wire: {text:?}"))
        };
        let value = match kind {
            b'+' => Status(line.to_vec()),
            b'-' => Error(line.to_vec()),
            b':' => Int(number()),
            b'_' => Null,
            b'#' => Bool(line == b"t"),
            b',' => Double(String::from_utf8_lossy(line).into_owned()),
            b'$' if number() < 0 => NilBulk,
            b'*' if number() < 0 => NilArray,
            b'$' | b'=' => {
                let length = usize::try_from(number()).expect("a length");
                let text = bytes.get(at..at + length + 2)?;
                assert_eq!(&text[length..], b"\r\n", "a string does not end where it should");
                let text = text[..length].to_vec();
                return Some((if kind == b'$' { Bulk(text) } else { Verbatim(text) }, at + length + 2));
            }
            b'*' | b'%' | b'~' | b'>' => {
                let count = usize::try_from(number()).expect("a length") * if kind == b'%' { 2 } else { 1 };
                let (items, taken) = parse_items(&bytes[at..], count)?;
                let value = match kind {
                    b'*' => Array(items),
                    b'%' => Map(items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()),
                    b'~' => Set(items),
                    _ => Push(items),
                };
                return Some((value, at + taken));
            }
            other => panic!("an unknown type on the wire: {:?}", char::from(other)),
        };
        Some((value, at))
    }

    /// The same with each item of a list or map replaced.
    pub(crate) fn map(self, rule: &mut dyn FnMut(Value) -> Value) -> Value {
        let mut all = |items: Vec<Value>| items.into_iter().map(&mut *rule).collect();
        match self {
            Array(items) => Array(all(items)),
            Set(items) => Set(all(items)),
            Push(items) => Push(all(items)),
            Map(pairs) => Map(pairs.into_iter().map(|(key, value)| (rule(key), rule(value))).collect()),
            other => other,
        }
    }

    pub(crate) fn is_push(&self) -> bool {
        matches!(self, Push(_))
    }

    /// The value as lines of text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut text = String::new();
        self.write(&mut text, 0);
        text.lines().map(str::to_owned).collect()
    }

    /// On one line if it fits, else one line an item.
    fn write(&self, out: &mut String, indent: usize) {
        let line = self.to_string();
        let (open, items, close) = match self {
            Array(items) => ("[", items, "]"),
            Set(items) => ("~[", items, "]"),
            Push(items) => (">[", items, "]"),
            Map(pairs) if indent + line.len() > WIDTH => {
                out.push_str("{\n");
                for (key, value) in pairs {
                    let _ = write!(out, "{:indent$}  {key}: ", "");
                    value.write(out, indent + 2);
                    out.push('\n');
                }
                let _ = write!(out, "{:indent$}}}", "");
                return;
            }
            _ => return out.push_str(&line),
        };
        if indent + line.len() <= WIDTH {
            return out.push_str(&line);
        }
        let _ = writeln!(out, "{open}");
        for item in items {
            let _ = write!(out, "{:indent$}  ", "");
            item.write(out, indent + 2);
            out.push('\n');
        }
        let _ = write!(out, "{:indent$}{close}", "");
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Status(text) => write!(f, "+{}", bare(text)),
            Error(text) => write!(f, "-{}", bare(text)),
            Int(number) => write!(f, "{number}"),
            Bulk(text) => write!(f, "{}", quoted(text)),
            NilBulk => f.write_str("nil"),
            NilArray => f.write_str("nil-list"),
            Null => f.write_str("null"),
            Bool(is) => write!(f, "#{is}"),
            Double(text) => write!(f, ",{text}"),
            Verbatim(text) => write!(f, "={}", quoted(text)),
            Masked(what) => f.write_str(what),
            Array(items) => write!(f, "[{}]", commas(items)),
            Set(items) => write!(f, "~[{}]", commas(items)),
            Push(items) => write!(f, ">[{}]", commas(items)),
            Map(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// A command as a client sends it.
pub(crate) fn command(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Text in quotation marks, with escapes for what is not to be seen.
pub(crate) fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", bare(text).replace('"', "\\\""))
}

fn bare(text: &[u8]) -> String {
    let mut out = String::new();
    for &byte in text {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out
}

fn commas(items: &[Value]) -> String {
    items.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn parse_items(bytes: &[u8], count: usize) -> Option<(Vec<Value>, usize)> {
    let (mut items, mut at) = (Vec::new(), 0);
    for _ in 0..count {
        let (item, taken) = Value::parse(&bytes[at..])?;
        items.push(item);
        at += taken;
    }
    Some((items, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_and_told_apart() {
        let cases: [(&[u8], &str); 13] = [
            (b"+OK\r\n", "+OK"),
            (b"-ERR no\r\n", "-ERR no"),
            (b":-7\r\n", "-7"),
            (b"$3\r\na\n\xff\r\n", r#""a\n\xff""#),
            (b"$-1\r\n", "nil"),
            (b"*-1\r\n", "nil-list"),
            (b"_\r\n", "null"),
            (b"#t\r\n", "#true"),
            (b",1.5\r\n", ",1.5"),
            (b"=5\r\ntxt:a\r\n", r#"="txt:a""#),
            (b"*2\r\n:1\r\n*0\r\n", "[1, []]"),
            (b"%1\r\n+a\r\n~1\r\n:1\r\n", "{+a: ~[1]}"),
            (b">2\r\n:1\r\n$0\r\n\r\n", r#">[1, ""]"#),
        ];
        for (bytes, text) in cases {
            let (value, taken) = Value::parse(bytes).expect(text);
            assert_eq!((value.to_string().as_str(), taken), (text, bytes.len()));
            for part in 0..bytes.len() {
                assert_eq!(Value::parse(&bytes[..part]), None, "{text} is not all there");
            }
        }
    }

    #[test]
    fn long_replies_are_broken_into_lines() {
        let long = Array(vec![Int(1), Map(vec![(Int(2), Bulk(vec![b'x'; 150]))])]);
        assert_eq!(long.lines()[..4], ["[", "  1", "  {", &format!("    2: \"{}\"", "x".repeat(150))]);
        assert_eq!(long.lines()[4..], ["  }", "]"]);
    }
}
