//! The protocol on the wire: requests in, as Redis reads them, and replies out, in both versions.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};

use super::{
    data::number::{general, integer},
    reply::Reply,
};

const LONGEST_LINE: usize = 64 * 1024;
const LONGEST_BULK: i64 = 512 * 1024 * 1024;
const MOST_ARGS: i64 = i32::MAX as i64;
/// Who has not logged in may not make the server set memory aside.
const LONGEST_BULK_OF_STRANGERS: i64 = 16 * 1024;
const MOST_ARGS_OF_STRANGERS: i64 = 10;

/// The bytes that a connection has sent and that are not yet executed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    bytes: BytesMut,
    /// How far the first request has been read.
    at: usize,
    /// Arguments of the first request that are still to come, if its head has been read.
    left: usize,
    /// The length of the argument that comes next, if its head has been read.
    len: Option<usize>,
    /// Where the arguments of the first request stand.
    args: Vec<(usize, usize)>,
}

impl Requests {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next request; `None`: it has not arrived in full. After an error nothing can be read any more.
    pub(crate) fn next(&mut self, stranger: bool) -> Result<Option<Vec<Bytes>>, String> {
        loop {
            let Some(first) = self.bytes.first() else { return Ok(None) };
            let args = if self.left > 0 || *first == b'*' { self.multibulk(stranger)? } else { self.inline()? };
            match args {
                Some(args) if args.is_empty() => {} // an empty line, or no arguments: not answered
                args => return Ok(args),
            }
        }
    }

    fn multibulk(&mut self, stranger: bool) -> Result<Option<Vec<Bytes>>, String> {
        if self.left == 0 {
            let Some((from, till)) = self.line("mbulk count string")? else { return Ok(None) };
            let count = integer(&self.bytes[from + 1..till]).filter(|n| *n <= MOST_ARGS);
            let count = count.ok_or("invalid multibulk length")?;
            if stranger && count > MOST_ARGS_OF_STRANGERS {
                return Err("unauthenticated multibulk length".to_owned());
            }
            if count <= 0 {
                self.cut();
                return Ok(Some(Vec::new()));
            }
            self.left = usize::try_from(count).unwrap_or_default();
        }
        while self.left > 0 {
            let len = match self.len {
                Some(len) => len,
                None => match self.bulk_length(stranger)? {
                    Some(len) => len,
                    None => return Ok(None),
                },
            };
            self.len = Some(len);
            if self.bytes.len() < self.at + len + 2 {
                return Ok(None);
            }
            self.args.push((self.at, self.at + len));
            self.at += len + 2;
            self.left -= 1;
            self.len = None;
        }
        let args = std::mem::take(&mut self.args);
        let request = self.cut();
        Ok(Some(args.into_iter().map(|(from, till)| request.slice(from..till)).collect()))
    }

    fn bulk_length(&mut self, stranger: bool) -> Result<Option<usize>, String> {
        let Some((from, till)) = self.line("bulk count string")? else { return Ok(None) };
        if self.bytes[from] != b'$' {
            return Err(format!("expected '$', got '{}'", char::from(self.bytes[from])));
        }
        let len = integer(&self.bytes[from + 1..till]).filter(|len| (0..=LONGEST_BULK).contains(len));
        let len = len.ok_or("invalid bulk length")?;
        if stranger && len > LONGEST_BULK_OF_STRANGERS {
            return Err("unauthenticated bulk length".to_owned());
        }
        Ok(usize::try_from(len).ok())
    }

    /// The next line, without its end, and steps over it.
    fn line(&mut self, what: &str) -> Result<Option<(usize, usize)>, String> {
        let from = self.at;
        let end = self.bytes[from..].iter().position(|byte| *byte == b'\r');
        match end {
            None if self.bytes.len() - from > LONGEST_LINE => Err(format!("too big {what}")),
            Some(end) if from + end + 1 < self.bytes.len() => {
                self.at = from + end + 2;
                Ok(Some((from, from + end)))
            }
            _ => Ok(None),
        }
    }

    fn inline(&mut self) -> Result<Option<Vec<Bytes>>, String> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            let too_big = self.bytes.len() > LONGEST_LINE;
            return if too_big { Err("too big inline request".to_owned()) } else { Ok(None) };
        };
        self.at = end + 1;
        let line = self.cut();
        let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
        words(line).map(Some).ok_or_else(|| "unbalanced quotes in request".to_owned())
    }

    /// Takes away what has been read.
    fn cut(&mut self) -> Bytes {
        let read = self.bytes.split_to(self.at);
        self.at = 0;
        read.freeze()
    }
}

/// The words of a line, with the quotes and escapes of a shell. `None`: a quote is not closed.
fn words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' | b'\'' => {
                    loop {
                        match rest.next()? {
                            end if end == byte => break,
                            b'\\' if byte == b'"' => word.push(escaped(&mut rest)?),
                            b'\\' if rest.next_if_eq(&b'\'').is_some() => word.push(b'\''),
                            plain => word.push(plain),
                        }
                    }
                    if rest.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                        return None;
                    }
                }
                plain => word.push(plain),
            }
        }
        words.push(word.into());
    }
}

fn escaped(rest: &mut std::iter::Peekable<impl Iterator<Item = u8> + Clone>) -> Option<u8> {
    let byte = rest.next()?;
    if byte == b'x' {
        let mut ahead = rest.clone();
        let digits = [ahead.next(), ahead.next()].map(|digit| char::from(digit.unwrap_or_default()).to_digit(16));
        if let [Some(high), Some(low)] = digits {
            *rest = ahead;
            return u8::try_from(high * 16 + low).ok();
        }
    }
    Some(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    })
}

/// Writes a reply in RESP3 or RESP2.
pub(crate) fn encode(reply: &Reply, resp3: bool, out: &mut Vec<u8>) {
    match reply {
        Reply::Status(text) => line(out, '+', text),
        // Redis, too, takes the end of a line away that a text may have.
        Reply::Error(text) => line(out, '-', text.trim_end_matches(['\r', '\n']).as_bytes()),
        Reply::Int(number) => head(out, ':', *number),
        Reply::Bulk(text) => bulk(out, text),
        Reply::Nil => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NilArray => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
        Reply::Array(items) => list(out, '*', items, resp3),
        Reply::Set(items) => list(out, if resp3 { '~' } else { '*' }, items, resp3),
        Reply::Push(items) => list(out, if resp3 { '>' } else { '*' }, items, resp3),
        Reply::Map(pairs) => {
            let size = i64::try_from(pairs.len()).unwrap_or(i64::MAX);
            let (kind, size) = if resp3 { ('%', size) } else { ('*', size * 2) };
            head(out, kind, size);
            flat(out, pairs, resp3);
        }
        Reply::MapOfPairs(pairs) if resp3 => {
            head(out, '%', i64::try_from(pairs.len()).unwrap_or(i64::MAX));
            flat(out, pairs, resp3);
        }
        Reply::Pairs(pairs) if !resp3 => {
            head(out, '*', i64::try_from(pairs.len() * 2).unwrap_or(i64::MAX));
            flat(out, pairs, resp3);
        }
        Reply::MapOfPairs(pairs) | Reply::Pairs(pairs) => {
            head(out, '*', i64::try_from(pairs.len()).unwrap_or(i64::MAX));
            for pair in pairs {
                out.extend_from_slice(b"*2\r\n");
                flat(out, std::slice::from_ref(pair), resp3);
            }
        }
        Reply::Double(number) if resp3 => line(out, ',', general(*number).as_bytes()),
        Reply::Double(number) => bulk(out, general(*number).as_bytes()),
        Reply::Verbatim(text) if resp3 => {
            head(out, '=', i64::try_from(text.len() + 4).unwrap_or(i64::MAX));
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim(text) => bulk(out, text),
    }
}

fn head(out: &mut Vec<u8>, kind: char, number: i64) {
    let _ = write!(out, "{kind}{number}\r\n"); // a Vec takes everything
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    head(out, '$', i64::try_from(text.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn list(out: &mut Vec<u8>, kind: char, items: &[Reply], resp3: bool) {
    head(out, kind, i64::try_from(items.len()).unwrap_or(i64::MAX));
    for item in items {
        encode(item, resp3, out);
    }
}

fn flat(out: &mut Vec<u8>, pairs: &[(Reply, Reply)], resp3: bool) {
    for (key, value) in pairs {
        encode(key, resp3, out);
        encode(value, resp3, out);
    }
}

/// A line cannot hold a line break.
fn line(out: &mut Vec<u8>, kind: char, text: &[u8]) {
    out.push(kind as u8);
    out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str], stranger: bool) -> Result<Vec<Vec<String>>, String> {
        let (mut requests, mut out) = (Requests::default(), Vec::new());
        for chunk in chunks {
            requests.push(chunk.as_bytes());
            while let Some(args) = requests.next(stranger)? {
                out.push(args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect());
            }
        }
        Ok(out)
    }

    #[test]
    fn requests_arrive_in_any_pieces() {
        let whole = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n*1\r\n$4\r\nPING\r\n";
        let expected = vec![vec!["GET".to_owned(), "k".to_owned()], vec!["PING".to_owned()]];
        for cut in 0..whole.len() {
            assert_eq!(read(&[&whole[..cut], &whole[cut..]], false).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_is_a_request_too() {
        let words = |line: &str| read(&[line], false);
        assert_eq!(words("PING\r\n\r\n").unwrap(), [["PING"]]);
        assert_eq!(words("set  a \"x y\\n\\x41\"\n").unwrap(), [["set", "a", "x y\nA"]]);
        assert_eq!(words("set a 'it\\'s'\n").unwrap(), [["set", "a", "it's"]]);
        assert_eq!(words("set a \"x\n").unwrap_err(), "unbalanced quotes in request");
        assert_eq!(words("set a \"x\"y\n").unwrap_err(), "unbalanced quotes in request");
    }

    #[test]
    fn nonsense_is_refused_with_the_words_of_redis() {
        let long = "x".repeat(LONGEST_LINE + 1);
        for (bytes, stranger, error) in [
            ("*x\r\n", false, "invalid multibulk length"),
            ("*01\r\n", false, "invalid multibulk length"),
            ("*11\r\n", true, "unauthenticated multibulk length"),
            ("*1\r\nx\r\n", false, "expected '$', got 'x'"),
            ("*1\r\n$-1\r\n", false, "invalid bulk length"),
            ("*1\r\n$20000\r\n", true, "unauthenticated bulk length"),
            (&long, false, "too big inline request"),
            (&format!("*{long}"), false, "too big mbulk count string"),
            (&format!("*1\r\n${long}"), false, "too big bulk count string"),
        ] {
            assert_eq!(read(&[bytes], stranger).unwrap_err(), error);
        }
    }

    #[test]
    fn replies_differ_between_the_versions() {
        let text = Bytes::from_static(b"a");
        for (reply, two, three) in [
            (Reply::ok(), "+OK\r\n", "+OK\r\n"),
            (Reply::error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Reply::Int(-1), ":-1\r\n", ":-1\r\n"),
            (Reply::Nil, "$-1\r\n", "_\r\n"),
            (Reply::NilArray, "*-1\r\n", "_\r\n"),
            (Reply::Map(vec![(Reply::Int(1), Reply::Int(2))]), "*2\r\n:1\r\n:2\r\n", "%1\r\n:1\r\n:2\r\n"),
            (Reply::MapOfPairs(vec![(Reply::Int(1), Reply::Nil)]), "*1\r\n*2\r\n:1\r\n$-1\r\n", "%1\r\n:1\r\n_\r\n"),
            (Reply::Pairs(vec![(Reply::Int(1), Reply::Nil)]), "*2\r\n:1\r\n$-1\r\n", "*1\r\n*2\r\n:1\r\n_\r\n"),
            (Reply::Set(vec![Reply::Nil]), "*1\r\n$-1\r\n", "~1\r\n_\r\n"),
            (Reply::Push(vec![Reply::Nil]), "*1\r\n$-1\r\n", ">1\r\n_\r\n"),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Reply::Verbatim(text), "$1\r\na\r\n", "=5\r\ntxt:a\r\n"),
        ] {
            for (resp3, expected) in [(false, two), (true, three)] {
                let mut out = Vec::new();
                encode(&reply, resp3, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), expected, "{reply:?}");
            }
        }
    }
}
