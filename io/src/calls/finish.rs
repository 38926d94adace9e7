//! End an ownership: `done.lua`, `release.lua`, and the hint after a release.

use std::sync::atomic::Ordering;

use redis::{Cmd, Value, aio::ConnectionLike};
use streamkeeper_core::{
    id::{EntryId, StreamName},
    streams::call::{DoneItem, Finished, HEIRS, ReleaseItem, Released},
    trouble::Trouble,
};

use super::{
    Calls, entry_text, millis, push_entry,
    script::{Lazy, script},
    trouble,
    value::{list, odd, text},
};
use crate::wire::troubles::refused;

pub(super) static DONE: Lazy = script!(prelude + "done.lua");
pub(super) static RELEASE: Lazy = script!(prelude + "release.lua");

/// How many entries the doorbell names at once.
const RING: usize = 500;

impl Calls {
    pub(super) async fn done(
        &self,
        connection: &mut impl ConnectionLike,
        items: &[DoneItem],
    ) -> Result<Vec<Finished>, Trouble> {
        let names = &*self.0;
        let mut cmd = DONE.invoke(4 + items.len(), 2 + 4 * items.len(), 256 + 256 * items.len());
        for key in [&names.lbs, &names.fences, &names.checkpoints, &names.epoch] {
            cmd.arg(key);
        }
        let mut buffer = String::with_capacity(256);
        for item in items {
            cmd.arg(names.lease(&mut buffer, &item.stream, item.entry));
        }
        cmd.arg(&names.group).arg(names.consumer.as_str());
        for item in items {
            cmd.arg(entry_text(&mut buffer, item.entry)).arg(item.stream.as_str());
            cmd.arg(names.lease_value(&mut buffer, item.attempt)).arg(item.identity.as_str());
        }
        let value = self.run(connection, &DONE, cmd).await?;
        each("done", value, items.len(), |word, error| match word {
            "done" => Some(Finished::Done),
            "gone" => Some(Finished::Gone),
            "fenced" => Some(Finished::Fenced),
            "broken" => Some(Finished::Broken(error.into())),
            _ => None,
        })
    }

    pub(super) async fn release(
        &self,
        connection: &mut impl ConnectionLike,
        items: &[ReleaseItem],
    ) -> Result<Vec<Released>, Trouble> {
        let names = &*self.0;
        let mut cmd = RELEASE.invoke(3 + items.len(), 3 + 7 * items.len(), 256 + 256 * items.len());
        for key in [&names.lbs, &names.fences, &names.dead] {
            cmd.arg(key);
        }
        let mut buffer = String::with_capacity(256);
        for item in items {
            cmd.arg(names.lease(&mut buffer, &item.stream, item.entry));
        }
        cmd.arg(&names.group).arg(names.consumer.as_str()).arg(names.cap());
        for item in items {
            cmd.arg(entry_text(&mut buffer, item.entry)).arg(item.stream.as_str());
            cmd.arg(names.lease_value(&mut buffer, item.attempt));
            match &item.failure {
                Some(f) => cmd.arg(f.failures).arg(millis(f.pause)).arg(u8::from(f.set_aside)).arg(&*f.error),
                None => cmd.arg("").arg(0).arg(0).arg(""),
            };
        }
        let value = self.run(connection, &RELEASE, cmd).await?;
        each("release", value, items.len(), |word, error| match word {
            "released" => Some(Released::Released),
            "aside" => Some(Released::SetAside),
            "fenced" => Some(Released::Fenced),
            "broken" => Some(Released::Broken(error.into())),
            _ => None,
        })
    }

    /// Touches released leases: only then does Redis announce that they have expired.
    pub(super) async fn hint(
        &self,
        connection: &mut impl ConnectionLike,
        items: &[(StreamName, EntryId)],
    ) -> Result<(), Trouble> {
        let (names, mut buffer, mut pipe) = (&*self.0, String::new(), redis::pipe());
        for items in items.chunks(RING) {
            let mut exists = redis::cmd("EXISTS");
            for (stream, entry) in items {
                exists.arg(names.lease(&mut buffer, stream, *entry));
            }
            pipe.add_command(exists);
            pipe.add_command(self.bell(None, items.iter().map(|(_, entry)| *entry)));
        }
        self.send_bells(connection, &pipe).await
    }

    pub(super) async fn ring(
        &self,
        connection: &mut impl ConnectionLike,
        entries: &[EntryId],
        heirs: Option<u32>,
    ) -> Result<(), Trouble> {
        let mut pipe = redis::pipe();
        for entries in entries.chunks(RING) {
            pipe.add_command(self.bell(heirs, entries.iter().copied()));
        }
        self.send_bells(connection, &pipe).await
    }

    fn bell(&self, heirs: Option<u32>, entries: impl Iterator<Item = EntryId>) -> Cmd {
        let mut ids = heirs.map(|heirs| format!("{HEIRS}{heirs}")).unwrap_or_default();
        for entry in entries {
            if !ids.is_empty() {
                ids.push(' ');
            }
            push_entry(&mut ids, entry);
        }
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.0.orphans).arg(ids);
        publish
    }

    /// The doorbell only shortens the wait: where it is refused, everybody finds orphans by looking.
    async fn send_bells(&self, connection: &mut impl ConnectionLike, pipe: &redis::Pipeline) -> Result<(), Trouble> {
        if pipe.is_empty() {
            return Ok(());
        }
        let answers = connection.req_packed_commands(pipe, 0, pipe.len()).await;
        let errors = match answers {
            Ok(answers) => answers
                .into_iter()
                .filter_map(|v| match v {
                    Value::ServerError(error) => Some(trouble(&error.into())),
                    _ => None,
                })
                .collect(),
            Err(error) => vec![trouble(&error)],
        };
        for error in errors {
            if !refused(&error) {
                return Err(error);
            }
            if !self.0.publish_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    channel = self.0.orphans,
                    %error,
                    "the doorbell cannot be rung: orphans are found by looking; allow it: ACL SETUSER <user> +publish &{}",
                    self.0.orphans
                );
            }
        }
        Ok(())
    }
}

/// Decodes one word for each item, with an error's text behind it.
fn each<T>(
    call: &str,
    value: Value,
    items: usize,
    decode: impl Fn(&str, &str) -> Option<T>,
) -> Result<Vec<T>, Trouble> {
    let answers = list(value).ok_or_else(|| Trouble::other(format_args!("{call}: Redis answered no list")))?;
    if answers.len() != items {
        return Err(Trouble::other(format_args!("{call}: {} answers to {items} items", answers.len())));
    }
    let one = |value: &Value| {
        let text = text(value)?;
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        decode(word, rest)
    };
    answers.iter().map(|value| one(value).ok_or_else(|| odd(call, value))).collect()
}
