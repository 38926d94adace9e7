//! What a server pushes to those who subscribe, as events for a machine.

use redis::{Parser, Value};
use streamkeeper_core::{keys::Keys, streams::Event};

/// The pushes to a connection of the old protocol.
pub(crate) fn understand(bytes: &[u8]) -> Vec<Event> {
    let (mut parser, mut rest, mut events) = (Parser::new(), bytes, Vec::new());
    while let Ok(Value::Array(parts)) = parser.parse_value(&mut rest) {
        let words: Vec<String> = parts.into_iter().filter_map(text).collect();
        if let Some((kind, data)) = words.split_first() {
            events.extend(hint(kind, data));
        }
    }
    events
}

/// A push of this kind, if it is one that concerns a machine.
pub(crate) fn hint(kind: &str, data: &[String]) -> Option<Event> {
    match (kind, data) {
        ("pmessage", [_, channel, what]) if what == "expired" => {
            let key = channel.strip_prefix(&Keys::expiry_prefix(0))?;
            Some(Event::KeyExpired(key.to_owned()))
        }
        ("message", [_, ids]) => Some(Event::Doorbell(ids.clone())),
        _ => None,
    }
}

/// A part of a push.
pub(crate) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}
