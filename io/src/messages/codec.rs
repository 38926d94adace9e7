//! How a message becomes the fields of a stream entry, and what is made of them at the other end.

use std::{
    any::Any,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{Serialize, de::DeserializeOwned};
use streamkeeper_core::messages::call::Fields;

use super::handler::words;

/// The fields of an entry, as they stand in the stream.
type Owned = Vec<(Vec<u8>, Vec<u8>)>;

/// What is wrong with a message that cannot be encoded or decoded: any error will do.
pub type CodecError = Box<dyn Error + Send + Sync>;

/// How a producer writes a message: the sending half of an own format.
///
/// Header fields are added by the producer: names that begin with `h:`, `traceparent`, and `key` if the message is
/// given one.
///
/// ```
/// use streamkeeper::messages::{CodecError, Decode, Encode, Payload};
///
/// /// Names as they are.
/// struct Plain;
///
/// impl Encode<String> for Plain {
///     fn encode(&self, name: &String, payload: &mut Payload) -> Result<(), CodecError> {
///         payload.push("name", name.as_bytes());
///         Ok(())
///     }
/// }
///
/// impl Decode<String> for Plain {
///     fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<String, CodecError> {
///         let (_, name) = fields.iter().find(|(field, _)| field == b"name").ok_or("the field `name` is missing")?;
///         Ok(String::from_utf8(name.clone())?)
///     }
/// }
/// ```
pub trait Encode<T: ?Sized>: Send + Sync + 'static {
    /// Adds the message's fields.
    ///
    /// # Errors
    /// It cannot be written in this format: it is not sent.
    fn encode(&self, message: &T, payload: &mut Payload) -> Result<(), CodecError>;
}

/// How a consumer reads a message: the receiving half of an own format.
pub trait Decode<T>: Send + Sync + 'static {
    /// Makes a message of an entry's fields, header fields among them.
    ///
    /// # Errors
    /// It is none: the worker's `process_broken` is called for it. So it is if this panics.
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<T, CodecError>;

    /// The same of fields that nobody else needs; gives them back if they are none. A codec that panics says that this is
    /// no message, as one that answers an error does: it would do so again.
    #[doc(hidden)]
    fn decode_owned(&self, fields: Owned) -> Result<T, (CodecError, Owned)> {
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(&fields)));
        let panicked = |panic: Box<dyn Any + Send>| Err(format!("the codec panicked: {}", words(&*panic)).into());
        decoded.unwrap_or_else(panicked).map_err(|error| (error, fields))
    }
}

/// The fields of a message on its way into the stream, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(Vec<(Vec<u8>, Vec<u8>)>);

impl Payload {
    /// Adds a field.
    pub fn push(&mut self, field: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((field.into(), value.into()));
    }

    /// The fields so far.
    pub fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }

    /// A name that occurs twice.
    pub(crate) fn twice(&self) -> Option<&[u8]> {
        let earlier = |at: usize, name: &[u8]| self.0[..at].iter().any(|(other, _)| other == name);
        self.0.iter().enumerate().find(|(at, (name, _))| earlier(*at, name)).map(|(_, (name, _))| &name[..])
    }

    pub(crate) fn into_fields(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0
    }
}

/// The whole message as JSON in one field: `body`, as goxstreams has it. The default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json {
    field: Box<str>,
}

impl Json {
    /// In a field of this name: `json` is redstream's layout.
    pub fn field(name: impl Into<Box<str>>) -> Json {
        Json { field: name.into() }
    }
}

impl Default for Json {
    fn default() -> Json {
        Json::field("body")
    }
}

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, message: &T, payload: &mut Payload) -> Result<(), CodecError> {
        payload.push(self.field.as_bytes(), serde_json::to_vec(message)?);
        Ok(())
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<T, CodecError> {
        let Some(text) = value(fields, &self.field) else {
            return Err(format!("the field `{}` is missing: is the codec the producer's?", self.field).into());
        };
        serde_json::from_slice(text)
            .map_err(|e| format!("the field `{}` is not the JSON expected: {e}", self.field).into())
    }
}

/// The fields themselves, undecoded: for those who route, copy or look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Encode<[(Vec<u8>, Vec<u8>)]> for Raw {
    fn encode(&self, message: &[(Vec<u8>, Vec<u8>)], payload: &mut Payload) -> Result<(), CodecError> {
        payload.0.extend_from_slice(message);
        Ok(())
    }
}

impl Encode<Vec<(Vec<u8>, Vec<u8>)>> for Raw {
    fn encode(&self, message: &Vec<(Vec<u8>, Vec<u8>)>, payload: &mut Payload) -> Result<(), CodecError> {
        Encode::<[(Vec<u8>, Vec<u8>)]>::encode(self, message, payload)
    }
}

impl Decode<Vec<(Vec<u8>, Vec<u8>)>> for Raw {
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, CodecError> {
        Ok(fields.to_vec())
    }

    fn decode_owned(&self, fields: Owned) -> Result<Owned, (CodecError, Owned)> {
        Ok(fields)
    }
}

impl Decode<Fields> for Raw {
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Fields, CodecError> {
        Ok(fields.into())
    }
}

/// What header fields are called.
pub(crate) mod header {
    /// What the name of a caller's own header begins with.
    pub(crate) const PREFIX: &str = "h:";
    /// W3C trace context.
    pub(crate) const TRACEPARENT: &str = "traceparent";
    /// By what messages are serialised.
    pub(crate) const KEY: &str = "key";

    /// Whether a field is none of the message's own. `key` may be either.
    pub(crate) fn is_one(field: &[u8]) -> bool {
        field.starts_with(PREFIX.as_bytes()) || field == TRACEPARENT.as_bytes()
    }
}

/// The value of a field.
pub(crate) fn value<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| &value[..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn json_stands_in_one_field() {
        let message = BTreeMap::from([("a", 1)]);
        for (codec, field) in [(Json::default(), "body"), (Json::field("json"), "json")] {
            let mut payload = Payload::default();
            codec.encode(&message, &mut payload).unwrap();
            assert_eq!(payload.fields(), [(field.into(), b"{\"a\":1}".to_vec())]);
            let back: BTreeMap<String, u8> = codec.decode(payload.fields()).unwrap();
            assert_eq!(back["a"], 1);
        }
    }

    #[test]
    fn what_is_no_message_says_which_field_is_wrong() {
        let decode =
            |fields: &[(Vec<u8>, Vec<u8>)]| Decode::<u8>::decode(&Json::default(), fields).unwrap_err().to_string();
        assert!(decode(&[]).starts_with("the field `body` is missing"));
        assert!(
            decode(&[(b"body".to_vec(), b"\xff".to_vec())]).starts_with("the field `body` is not the JSON expected")
        );
        assert!(decode(&[(b"body".to_vec(), b"300".to_vec())]).contains("invalid value: integer `300`"));
    }

    #[test]
    fn a_name_that_occurs_twice_is_found() {
        let mut payload = Payload::default();
        payload.push("a", "1");
        payload.push("b", "1");
        assert_eq!(payload.twice(), None);
        payload.push("a", "2");
        assert_eq!(payload.twice(), Some(&b"a"[..]));
    }
}
