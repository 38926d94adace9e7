//! Replies, taken apart by hand: the same in RESP2 and RESP3, without copies where there are many, and without a
//! panic whatever a server sends.

use std::borrow::Cow;

use redis::Value;
use streamkeeper_core::{
    id::EntryId,
    streams::call::{Delivery, Fields},
    trouble::Trouble,
};

/// An answer that makes no sense.
pub(crate) fn odd(call: &str, value: &Value) -> Trouble {
    let mut shown = format!("{value:?}");
    if let Some((at, _)) = shown.char_indices().nth(200) {
        shown.truncate(at);
        shown.push('…');
    }
    Trouble::other(format_args!("{call}: Redis answered {shown}"))
}

/// The bytes of a string, whichever kind of string it is.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

/// A string as text; what is not UTF-8 in it is replaced.
pub(crate) fn text(value: &Value) -> Option<Cow<'_, str>> {
    bytes(value).map(String::from_utf8_lossy)
}

/// A string as text that must be UTF-8.
pub(crate) fn utf8(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

/// A number that cannot be negative, or a string that says one. A negative number counts as zero.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => Some(u64::try_from(*n).unwrap_or(0)),
        Value::Double(n) if n.is_finite() => Some(*n as u64),
        other => utf8(other)?.parse().ok(),
    }
}

/// The elements of a list; nothing for nil.
pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

/// The pairs of a map, or of a list that alternates names and values, as RESP2 sends maps.
pub(crate) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs),
        other => {
            let mut items = list(other)?.into_iter();
            let mut pairs = Vec::with_capacity(items.len() / 2);
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                pairs.push((name, value));
            }
            Some(pairs)
        }
    }
}

/// The value of one name in a map.
pub(crate) fn field<'a>(pairs: &'a [(Value, Value)], name: &str) -> Option<&'a Value> {
    pairs.iter().find(|(n, _)| bytes(n) == Some(name.as_bytes())).map(|(_, v)| v)
}

/// An entry id.
pub(crate) fn entry_id(value: &Value) -> Option<EntryId> {
    utf8(value)?.parse().ok()
}

/// The fields of a stream's entry.
pub(crate) fn fields(value: Value) -> Option<Fields> {
    let owned = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        other => bytes(&other).map(<[u8]>::to_vec),
    };
    match value {
        // As almost always: without a list of pairs in between.
        Value::Array(items) => {
            let (mut fields, mut items) = (Fields::with_capacity(items.len() / 2), items.into_iter());
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                fields.push((owned(name)?, owned(value)?));
            }
            Some(fields)
        }
        other => pairs(other)?.into_iter().map(|(name, value)| Some((owned(name)?, owned(value)?))).collect(),
    }
}

/// An entry of a stream: `[id, [field, value, …]]`, without the list if its payload is not there.
pub(crate) fn delivery(value: Value) -> Option<Delivery> {
    let mut parts = list(value)?.into_iter();
    let entry = entry_id(&parts.next()?)?;
    let fields = match parts.next() {
        None | Some(Value::Nil) => None,
        Some(value) => Some(fields(value)?),
    };
    Some(Delivery { entry, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn maps_look_the_same_in_both_protocols() {
        let flat = Value::Array(vec![bulk("a"), Value::Int(1), bulk("b"), Value::Int(-2), bulk("odd")]);
        let map = Value::Map(vec![(bulk("a"), Value::Int(1)), (bulk("b"), Value::Int(-2))]);
        for value in [flat, map] {
            let pairs = pairs(value).unwrap();
            assert_eq!(field(&pairs, "a").and_then(number), Some(1));
            assert_eq!(field(&pairs, "b").and_then(number), Some(0));
            assert_eq!(field(&pairs, "c"), None);
        }
    }

    #[test]
    fn nonsense_is_no_entry() {
        for value in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![bulk("x")]),
            Value::Array(vec![bulk("1-1"), Value::Int(3)]),
            Value::Array(vec![bulk("1-1"), Value::Array(vec![Value::Nil, Value::Nil])]),
        ] {
            assert_eq!(delivery(value.clone()), None, "{value:?}");
        }
        let trimmed = Value::Array(vec![bulk("1-1"), Value::Nil]);
        assert_eq!(delivery(trimmed).unwrap().fields, None);
    }

    #[test]
    fn an_odd_answer_is_shown_in_part() {
        let trouble = odd("renew", &bulk(&"ä".repeat(10_000)));
        assert!(trouble.message.len() < 1_000);
    }
}
