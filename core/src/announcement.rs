//! What an LBS entry says: which data stream, and what its announcer added.

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::id::{IdError, StreamName};

/// The field of an LBS entry that holds the announcement, the Go library's.
pub const FIELD: &str = "lbs-input";

/// One announcement, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// The data stream that is to be owned.
    pub stream: StreamName,
    /// What the announcer added: JSON text, exactly as it was sent. `None` if there was nothing or `null`.
    pub info: Option<Box<str>>,
}

/// Why an LBS entry is not an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum Malformed {
    /// The field is missing.
    #[error(
        "the entry has no field `{FIELD}`: announce with XADD <service>-input * {FIELD} '{{\"DataStreamName\": …}}'"
    )]
    NoField,
    /// The text is no JSON object of the right shape.
    #[error("the field `{FIELD}` is not an announcement: {0}")]
    Json(String),
    /// The name cannot be a data stream's.
    #[error(transparent)]
    Name(#[from] IdError),
}

impl Announcement {
    /// Decodes the fields of an LBS entry. Like Go's decoder it matches JSON names without regard to case and ignores
    /// those it does not know; of repeated names the last one counts.
    ///
    /// # Errors
    /// Says what is wrong with the entry; such an entry is set aside, never dropped.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Announcement, Malformed> {
        let text =
            fields.into_iter().find(|(name, _)| *name == FIELD.as_bytes()).map(|(_, v)| v).ok_or(Malformed::NoField)?;
        let raw: Raw = serde_json::from_slice(text).map_err(|e| Malformed::Json(e.to_string()))?;
        let stream = StreamName::new(&raw.stream)?;
        Ok(Announcement { stream, info: raw.info })
    }

    /// The JSON text of an announcement, as the Go library writes it.
    pub fn to_json(stream: &StreamName, info: Option<&str>) -> String {
        let name = serde_json::Value::from(stream.as_str());
        format!(r#"{{"DataStreamName":{name},"Info":{}}}"#, info.unwrap_or("null"))
    }
}

#[derive(Default)]
struct Raw {
    stream: String,
    info: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Raw, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Raw;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object with DataStreamName")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key.eq_ignore_ascii_case("DataStreamName") {
                        raw.stream = map.next_value::<Option<String>>()?.unwrap_or_default();
                    } else if key.eq_ignore_ascii_case("Info") {
                        let text = map.next_value::<Box<serde_json::value::RawValue>>()?;
                        raw.info = (text.get() != "null").then(|| text.get().into());
                    } else {
                        map.next_value::<de::IgnoredAny>()?;
                    }
                }
                Ok(raw)
            }
        }
        input.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Announcement, Malformed> {
        Announcement::parse([(b"other".as_slice(), b"x".as_slice()), (FIELD.as_bytes(), json.as_bytes())])
    }

    #[test]
    fn reads_what_go_reads() {
        for json in [
            r#"{"DataStreamName":"s","Info":{"a":1}}"#,
            r#"{"datastreamname":"s","INFO":{"a":1},"unknown":[1,{"x":null}]}"#,
            r#"{"DataStreamName":"old","Info":2,"DataStreamName":"s","Info":{"a":1}}"#,
        ] {
            let got = parse(json).unwrap();
            assert_eq!((got.stream.as_str(), got.info.as_deref()), ("s", Some(r#"{"a":1}"#)), "{json}");
        }
        assert_eq!(parse(r#"{"DataStreamName":"s"}"#).unwrap().info, None);
        assert_eq!(parse(r#"{"DataStreamName":"s","Info":null}"#).unwrap().info, None);
        let big = r#"{"DataStreamName":"s","Info":{"n":123456789012345678901234567890}}"#;
        assert_eq!(parse(big).unwrap().info.as_deref(), Some(r#"{"n":123456789012345678901234567890}"#));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(Announcement::parse([(b"x".as_slice(), b"{}".as_slice())]), Err(Malformed::NoField));
        for json in ["", "{", "[]", "1", "null", r#"{"DataStreamName":5}"#, "{\"DataStreamName\":\"\u{0}\"}"] {
            assert!(matches!(parse(json), Err(Malformed::Json(_))), "{json}");
        }
        for json in ["{}", r#"{"DataStreamName":""}"#, r#"{"DataStreamName":"a<MUTEX_KEY_SEP>1-1"}"#] {
            assert!(matches!(parse(json), Err(Malformed::Name(_))), "{json}");
        }
        assert!(Announcement::parse([(FIELD.as_bytes(), b"\xff".as_slice())]).is_err());
    }

    #[test]
    fn writes_what_it_reads() {
        let name = StreamName::new("a\"<b>").unwrap();
        let text = Announcement::to_json(&name, Some(r#"{"x":1}"#));
        let back = parse(&text).unwrap();
        assert_eq!((back.stream, back.info.as_deref()), (name, Some(r#"{"x":1}"#)));
    }
}
