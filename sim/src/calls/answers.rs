//! Answers of a server as values, many times faster than the client's own parser, which can begin in the middle of anything.
//! What is rare is left to that one.

use redis::{Parser, Value, parse_redis_value};

/// The answers in these bytes. They come whole: what is behind the last one is no beginning of another.
pub(crate) fn answers(bytes: &[u8]) -> Vec<Value> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while !rest.is_empty() {
        match one(rest) {
            Some((value, behind)) => {
                all.push(value);
                rest = behind;
            }
            None => {
                let mut parser = Parser::new();
                while let Ok(value) = parser.parse_value(&mut rest) {
                    all.push(value);
                }
                return all;
            }
        }
    }
    all
}

/// The first answer, and what is behind it; `None`: it is none of those that come all the time.
fn one(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (head, behind) = (&bytes[..end], &bytes[end + 2..]);
    let (kind, text) = head.split_first()?;
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let value = match kind {
        b'+' if text == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(String::from_utf8(text.to_vec()).ok()?),
        b':' => Value::Int(number()?),
        b'-' => parse_redis_value(&bytes[..end + 2]).ok()?,
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else { return Some((Value::Nil, behind)) };
            let bulk = behind.get(..length)?.to_vec();
            return Some((Value::BulkString(bulk), behind.get(length + 2..)?));
        }
        b'*' => {
            let Ok(length) = usize::try_from(number()?) else { return Some((Value::Nil, behind)) };
            let (mut items, mut rest) = (Vec::with_capacity(length.min(behind.len())), behind);
            for _ in 0..length {
                let (item, behind) = one(rest)?;
                items.push(item);
                rest = behind;
            }
            return Some((Value::Array(items), rest));
        }
        _ => return None,
    };
    Some((value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_clients_parser_reads() {
        for text in [
            "+OK\r\n",
            "+PONG\r\n:-7\r\n",
            "$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n*-1\r\n",
            "*3\r\n:1\r\n$1\r\nx\r\n*2\r\n+a\r\n*0\r\n",
            "-ERR no such thing\r\n:3\r\n",
            "*2\r\n-NOSCRIPT No matching script.\r\n:3\r\n",
            "%1\r\n+a\r\n:1\r\n",
            ">3\r\n+message\r\n+s-orphans\r\n+1-1\r\n:5\r\n",
            "_\r\n",
            "",
        ] {
            let (mut parser, mut rest, mut expected) = (Parser::new(), text.as_bytes(), Vec::new());
            while let Ok(value) = parser.parse_value(&mut rest) {
                expected.push(value);
            }
            assert_eq!(answers(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_or_odd_is_no_answer_and_no_panic() {
        let text = b"*2\r\n$3\r\nabc\r\n:12\r\n";
        for end in 0..text.len() {
            assert_eq!(answers(&text[..end]), [], "{end}");
        }
        for odd in ["*99999999999\r\n", "$99999999999999999999\r\n", "$-7\r\n", ":x\r\n", "+", "\r\n"] {
            let _ = answers(odd.as_bytes());
        }
    }
}
