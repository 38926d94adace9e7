//! An entry of a stream as one line of JSON.

use std::str;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};
use streamkeeper::{EntryId, entries::Fields};

/// `id`, and of `fields` and `base64` exactly one.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "as_text")]
    id: EntryId,
    /// Names and texts, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Texts<'a>>,
    /// Pairs of names and values, where one of them is no text, or a name stands there twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<(String, String)>>,
}

struct Texts<'a>(Vec<(&'a str, &'a str)>);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, text) in &self.0 {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

fn as_text<S: Serializer>(id: &EntryId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// Appends the entry and the line's end.
pub(super) fn write(id: EntryId, fields: &Fields, to: &mut Vec<u8>) -> serde_json::Result<()> {
    let line = match texts(fields) {
        Some(texts) => Line { id, fields: Some(texts), base64: None },
        None => {
            let encoded = |(name, value): &(Vec<u8>, Vec<u8>)| (STANDARD.encode(name), STANDARD.encode(value));
            Line { id, fields: None, base64: Some(fields.iter().map(encoded).collect()) }
        }
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.push(b'\n');
    Ok(())
}

fn texts(fields: &Fields) -> Option<Texts<'_>> {
    let mut texts: Vec<(&str, &str)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        texts.push((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?));
    }
    let mut names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1]).then_some(Texts(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[(&[u8], &[u8])]) -> String {
        let fields: Fields = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let mut bytes = Vec::new();
        write(EntryId { ms: 5, seq: 1 }, &fields, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_entry_is_one_line() {
        assert_eq!(line(&[]), "{\"id\":\"5-1\",\"fields\":{}}\n");
        assert_eq!(
            line(&[(b"z", b"a\nb"), (b"a", b"{}")]),
            "{\"id\":\"5-1\",\"fields\":{\"z\":\"a\\nb\",\"a\":\"{}\"}}\n"
        );
        // What an object cannot hold is not hidden.
        assert_eq!(line(&[(b"a", b"\xff\x00")]), "{\"id\":\"5-1\",\"base64\":[[\"YQ==\",\"/wA=\"]]}\n");
        let twice = "{\"id\":\"5-1\",\"base64\":[[\"YQ==\",\"MQ==\"],[\"YQ==\",\"Mg==\"]]}\n";
        assert_eq!(line(&[(b"a", b"1"), (b"a", b"2")]), twice);
    }
}
