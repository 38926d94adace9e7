//! Send messages: what a producer does.

use std::time::Duration;

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    id::EntryId,
    messages::call::Fields,
    trouble::{Trouble, TroubleKind},
};

use super::{
    BATCH, Calls,
    script::{Lazy, Script, script},
    troubles,
    value::{entry_id, number, odd},
};
use crate::wire::{longest, millis, troubles::trouble};

pub(super) static SEND: Lazy = script!(messages / "send.lua");
pub(super) static SCHEDULE: Lazy = script!(common + messages / "schedule.lua");

/// How many fields a message may have that a script is to handle.
const MOST_FIELDS: usize = 3_000;

/// One message to send.
#[derive(Clone, Debug)]
pub(crate) struct ToSend {
    /// What it says.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Send it once: a repeat with the same key within the window answers the first one's id.
    pub(crate) once: Option<(Box<str>, Duration)>,
}

/// One message to send later.
#[derive(Clone, Debug)]
pub(crate) struct ToSchedule {
    /// The caller's name for it: the same one again is a repeat.
    pub(crate) id: Box<str>,
    /// It is due after so long.
    pub(crate) delay: Duration,
    /// A repeat is known as one for so long after it was due; zero: only for as long as it waits.
    pub(crate) window: Duration,
    /// What it says.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// When it is due: milliseconds since 1970 by Redis's clock.
    pub(crate) due_ms: u64,
    /// It had been sent before.
    pub(crate) repeated: bool,
}

/// A command, and the script that it runs if it runs one.
type Command = (Cmd, Option<&'static Script>);

impl Calls {
    /// Sends messages, in order. Each has its own result: those that failed may or may not have been sent if the
    /// connection broke, and were not sent otherwise. (Redis 8.6 has an idempotent XADD; this works with all.)
    pub(crate) async fn send_all(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[ToSend],
    ) -> Vec<Result<EntryId, Trouble>> {
        self.each(connection, items, |item| self.to_send(item), sent).await
    }

    /// Sends a message alone, as [`Calls::send_all`] does.
    pub(crate) async fn send_one(
        &self,
        connection: &mut MultiplexedConnection,
        item: &ToSend,
    ) -> Result<EntryId, Trouble> {
        let answer = match self.to_send(item) {
            Ok(command) => self.alone(connection, command).await,
            Err(trouble) => Err(trouble),
        };
        answer.map_err(|trouble| troubles::advise(trouble, &self.0.keys)).and_then(sent)
    }

    /// Sends messages with a delay. Each has its own result, as in [`Calls::send_all`].
    pub(crate) async fn schedule(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[ToSchedule],
    ) -> Vec<Result<Waits, Trouble>> {
        let decode = |value: Value| match &value {
            Value::Array(parts) => match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
                Some([due_ms, repeated]) => Ok(Waits { due_ms: *due_ms, repeated: *repeated == 1 }),
                _ => Err(odd("schedule", &value)),
            },
            _ => Err(odd("schedule", &value)),
        };
        self.each(connection, items, |item| self.to_schedule(item), decode).await
    }

    fn to_send(&self, item: &ToSend) -> Result<Command, Trouble> {
        let keys = &self.0.keys;
        let script = item.once.is_some().then_some(&*SEND);
        let mut cmd = match &item.once {
            Some((key, window)) => {
                self.manageable(&item.fields)?;
                let mut cmd = SEND.invoke(2, 1 + 2 * item.fields.len(), 256);
                cmd.arg(keys.stream()).arg(keys.once(key)).arg(millis(longest(*window)).max(1));
                cmd
            }
            None => {
                let mut cmd = Cmd::with_capacity(3 + 2 * item.fields.len(), 256);
                cmd.arg("XADD").arg(keys.stream()).arg("*");
                cmd
            }
        };
        for (name, value) in &*item.fields {
            cmd.arg(name).arg(value);
        }
        Ok((cmd, script))
    }

    fn to_schedule(&self, item: &ToSchedule) -> Result<Command, Trouble> {
        self.manageable(&item.fields)?;
        let names = &*self.0;
        let mut cmd = SCHEDULE.invoke(3, 4, 256);
        cmd.arg(&names.scheduled).arg(&names.bodies).arg(names.keys.once(&marker(&item.id)));
        cmd.arg(&*item.id).arg(millis(longest(item.delay))).arg(millis(longest(item.window)));
        cmd.arg(packed(&item.fields));
        Ok((cmd, Some(&*SCHEDULE)))
    }

    /// Whether a script can handle these fields.
    fn manageable(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Trouble> {
        match fields.len() {
            1..=MOST_FIELDS => Ok(()),
            n => Err(Trouble {
                kind: TroubleKind::Other,
                message: format!(
                    "a message with {n} fields cannot be sent to `{}` with a delay or a key: it must have 1 to \
                     {MOST_FIELDS}; put more of them into one",
                    self.0.keys.stream()
                )
                .into(),
            }),
        }
    }

    async fn alone(&self, connection: &mut MultiplexedConnection, (cmd, script): Command) -> Result<Value, Trouble> {
        match script {
            Some(script) => self.run(connection, script, cmd).await,
            None => self.send(connection, &cmd).await,
        }
    }

    /// Sends a command for each item, pipelined.
    async fn each<T, A>(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[T],
        command: impl Fn(&T) -> Result<Command, Trouble>,
        decode: impl Fn(Value) -> Result<A, Trouble>,
    ) -> Vec<Result<A, Trouble>> {
        let mut results = Vec::with_capacity(items.len());
        for items in items.chunks(BATCH) {
            let mut pipe = redis::Pipeline::with_capacity(items.len());
            let refused: Vec<Option<Trouble>> =
                items.iter().map(|item| command(item).map(|(cmd, _)| pipe.add_command(cmd)).err()).collect();
            let sent = match pipe.is_empty() {
                true => Ok(Vec::new()),
                false => connection.send_packed_commands(&pipe, 0, pipe.len()).await,
            };
            let mut answers = sent.map(Vec::into_iter).map_err(|e| trouble(&e));
            for (item, refused) in items.iter().zip(refused) {
                let answer = match (refused, &mut answers) {
                    (Some(trouble), _) => Err(trouble),
                    // What became of these, nobody knows.
                    (None, Err(trouble)) => Err(trouble.clone()),
                    (None, Ok(answers)) => match answers.next() {
                        // Redis did not know the script: nothing has happened.
                        Some(Value::ServerError(e)) if e.code() == "NOSCRIPT" => match command(item) {
                            Ok(command) => self.alone(connection, command).await,
                            Err(trouble) => Err(trouble),
                        },
                        Some(Value::ServerError(e)) => Err(trouble(&e.into())),
                        Some(value) => Ok(value),
                        None => Err(Trouble::connection("Redis answered fewer messages than were sent")),
                    },
                };
                let advised = answer.map_err(|trouble| troubles::advise(trouble, &self.0.keys));
                results.push(advised.and_then(&decode));
            }
        }
        results
    }
}

/// The entry that a message has become.
fn sent(value: Value) -> Result<EntryId, Trouble> {
    entry_id(&value).ok_or_else(|| odd("send", &value))
}

/// Under which idempotency key a message that was sent with a delay is remembered.
pub(super) fn marker(id: &str) -> String {
    format!("~scheduled:{id}")
}

/// Fields as one text: `<length>:<bytes>` by turns.
pub(super) fn packed(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(fields.iter().map(|(name, value)| name.len() + value.len() + 16).sum());
    for part in fields.iter().flat_map(|(name, value)| [name, value]) {
        text.extend_from_slice(part.len().to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(part);
    }
    text
}

/// Reads [`packed`] fields. What is none stands as the field `body`: somebody else has written it.
pub(super) fn unpacked(text: &[u8]) -> Fields {
    let parts = || {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let colon = rest.iter().position(|b| *b == b':')?;
            let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            let part = rest[colon + 1..].get(..length)?;
            parts.push(part.to_vec());
            rest = &rest[colon + 1 + length..];
        }
        (!parts.is_empty() && parts.len().is_multiple_of(2)).then_some(parts)
    };
    match parts() {
        Some(parts) => {
            let mut parts = parts.into_iter();
            std::iter::from_fn(|| Some((parts.next()?, parts.next()?))).collect()
        }
        None => [(b"body".to_vec(), text.to_vec())].into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_packed_and_unpacked() {
        let fields: Fields = [(b"a".to_vec(), b"1:2\r\n\0\xff".to_vec()), (Vec::new(), Vec::new())].into();
        assert_eq!(packed(&fields), b"1:a7:1:2\r\n\0\xff0:0:");
        assert_eq!(unpacked(&packed(&fields)), fields);
    }

    #[test]
    fn what_is_not_packed_is_a_body() {
        for text in [&b""[..], b"{}", b"1:a", b"9:a1:b", b"1:a1:bx", b"-1:a1:b", b"99999999999999999999:a1:b"] {
            assert_eq!(*unpacked(text), [(b"body".to_vec(), text.to_vec())], "{text:?}");
        }
    }
}
