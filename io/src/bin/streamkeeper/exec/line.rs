//! What a child is told: a message as one line of JSON.

use std::{borrow::Cow, collections::BTreeMap, str};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

/// A message. What it does not have is left out; of `body`, `text` and `base64` it has exactly one.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    id: &'a str,
    attempt: u32,
    /// The payload, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    /// The payload, if it is other text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The payload, if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    headers: &'a BTreeMap<String, String>,
    /// The ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// The line for this message.
    pub(crate) fn new(id: &'a str, attempt: u32, payload: &'a [u8], headers: &'a BTreeMap<String, String>) -> Line<'a> {
        let line = Line { id, attempt, body: None, text: None, base64: None, headers, key: None };
        let Ok(text) = str::from_utf8(payload) else {
            return Line { base64: Some(STANDARD.encode(payload)), ..line };
        };
        match one_line(text) {
            Some(body) => Line { body: Some(body), ..line },
            None => Line { text: Some(text), ..line },
        }
    }

    /// The same with an ordering key.
    pub(crate) fn key(mut self, key: Option<&'a [u8]>) -> Line<'a> {
        self.key = key.map(String::from_utf8_lossy);
        self
    }

    /// As bytes, with the line's end.
    pub(crate) fn bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// JSON as it stands there, numbers unharmed, on one line: within strings there is no line break, so that each one in
/// it is white space.
fn one_line(json: &str) -> Option<Box<RawValue>> {
    let checked: &RawValue = serde_json::from_str(json).ok()?;
    let text = checked.get();
    match text.contains(['\n', '\r']) {
        false => Some(checked.to_owned()),
        true => RawValue::from_string(text.replace(['\n', '\r'], " ")).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(payload: &[u8], headers: &[(&str, &str)], key: Option<&str>) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let bytes = Line::new("5-1", 2, payload, &headers).key(key.map(str::as_bytes)).bytes().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_message_is_one_line() {
        for (payload, expected) in [
            (&b"{\"n\":12345678901234567890123}"[..], r#""body":{"n":12345678901234567890123}"#),
            (b"{\n  \"a\":\r\n [1]\n}\n", r#""body":{   "a":   [1] }"#),
            (b"\"a\\nb\"", r#""body":"a\nb""#),
            (b"null", r#""body":null"#),
            (b"no json\nat all", r#""text":"no json\nat all""#),
            (b"", r#""text":"""#),
            (b"\xff\x00", r#""base64":"/wA=""#),
        ] {
            let expected = format!("{{\"id\":\"5-1\",\"attempt\":2,{expected},\"headers\":{{}}}}\n");
            assert_eq!(line(payload, &[], None), expected);
        }
        let line = line(b"1", &[("traceparent", "00-1"), ("a", "b\n")], Some("k"));
        let expected = "\"headers\":{\"a\":\"b\\n\",\"traceparent\":\"00-1\"},\"key\":\"k\"}\n";
        assert!(line.ends_with(expected), "{line}");
    }
}
