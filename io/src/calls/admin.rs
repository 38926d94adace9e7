//! What producers and operators ask: announce, and look after what was set aside.

use std::time::Duration;

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{EntryId, StreamName},
    streams::call::Fields,
    trouble::Trouble,
};

use super::{
    Calls,
    batches::BATCH,
    entry_text, millis,
    script::{Lazy, script},
    start,
    value::{delivery, entry_id, list, odd},
};
use crate::wire::longest;

pub(super) static ANNOUNCE: Lazy = script!("announce.lua");
pub(super) static RETRY: Lazy = script!("retry.lua");

/// One stream to announce.
#[derive(Clone, Debug)]
pub(crate) struct ToAnnounce {
    /// The stream.
    pub(crate) stream: StreamName,
    /// What its owner is to know: JSON text.
    pub(crate) info: Option<Box<str>>,
    /// Announce it once: a repeat with the same key within the window answers the first one's entry.
    pub(crate) once: Option<(Box<str>, Duration)>,
}

/// An announcement that was set aside, as it stands in `S-dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dead {
    /// Its id in `S-dead`: what `retry` and `drop` take.
    pub id: EntryId,
    /// The partition that it was set aside in; 0 in a service without any.
    pub partition: u32,
    /// The id it had in the LBS.
    pub entry: Option<EntryId>,
    /// The stream, if it was an announcement.
    pub stream: Option<Box<str>>,
    /// `malformed`, `crash-loop` or `failed`.
    pub reason: Box<str>,
    /// In words.
    pub error: Box<str>,
    /// Who had it last.
    pub consumer: Box<str>,
    /// How many ownerships in a row had ended in a crash.
    pub takeovers: u64,
    /// How many times in a row its handler had failed.
    pub failures: u64,
    /// How often Redis had delivered it.
    pub deliveries: u64,
    /// When it was set aside: milliseconds since 1970 by Redis's clock.
    pub at_ms: u64,
    /// The fields it had in the LBS.
    pub original: Fields,
}

impl Calls {
    /// Announces streams, in order. Each has its own result: those that failed may or may not be announced.
    pub(crate) async fn announce(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[ToAnnounce],
    ) -> Vec<Result<EntryId, Trouble>> {
        self.announce_each(connection, &ANNOUNCE, items, |item| self.announcement(item), |value| announced(&value))
            .await
    }

    fn announcement(&self, item: &ToAnnounce) -> Cmd {
        let names = &*self.0;
        let json = Announcement::to_json(&item.stream, item.info.as_deref());
        match &item.once {
            Some((key, window)) => {
                let mut cmd = ANNOUNCE.invoke(2, 3, 256 + json.len());
                cmd.arg(&names.lbs).arg(names.keys.once(key)).arg(millis(longest(*window)).max(1)).arg(FIELD).arg(json);
                cmd
            }
            None => {
                let mut cmd = redis::cmd("XADD");
                cmd.arg(&names.lbs).arg("*").arg(FIELD).arg(json);
                cmd
            }
        }
    }

    /// Lists what was set aside, oldest first, behind `after`; fewer than `count` at the end.
    pub(crate) async fn dead(
        &self,
        connection: &mut MultiplexedConnection,
        after: Option<EntryId>,
        count: usize,
    ) -> Result<Vec<Dead>, Trouble> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(&self.0.dead).arg(start(after)).arg("+").arg("COUNT").arg(count);
        let entries = list(self.send(connection, &cmd).await?).unwrap_or_default();
        let one = |value| dead(value).ok_or_else(|| Trouble::other("dead: no entry"));
        entries.into_iter().map(one).collect()
    }

    /// One that was set aside, if it is there.
    pub(crate) async fn dead_one(
        &self,
        connection: &mut MultiplexedConnection,
        id: EntryId,
    ) -> Result<Option<Dead>, Trouble> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(&self.0.dead).arg(id.to_string()).arg(id.to_string());
        let found = list(self.send(connection, &cmd).await?).unwrap_or_default().into_iter().next();
        found.map(|value| dead(value).ok_or_else(|| Trouble::other("dead: no entry"))).transpose()
    }

    /// Puts announcements that were set aside back into the LBS. For each: its new id, or `None` if it is not there.
    pub(crate) async fn dead_retry(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[EntryId],
    ) -> Result<Vec<Option<EntryId>>, Trouble> {
        let (mut buffer, mut all) = (String::new(), Vec::with_capacity(ids.len()));
        for ids in ids.chunks(BATCH) {
            let mut cmd = RETRY.invoke(2, ids.len(), 128 + 32 * ids.len());
            cmd.arg(&self.0.lbs).arg(&self.0.dead);
            for id in ids {
                cmd.arg(entry_text(&mut buffer, *id));
            }
            let answers = list(self.run(connection, &RETRY, cmd).await?).unwrap_or_default();
            all.extend(answers.iter().map(entry_id));
        }
        Ok(all)
    }

    /// Deletes announcements that were set aside for good. Answers how many were there.
    pub(crate) async fn dead_drop(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[EntryId],
    ) -> Result<u64, Trouble> {
        let (mut buffer, mut dropped) = (String::new(), 0);
        for ids in ids.chunks(BATCH) {
            let mut cmd = redis::cmd("XDEL");
            cmd.arg(&self.0.dead);
            for id in ids {
                cmd.arg(entry_text(&mut buffer, *id));
            }
            let value = self.send(connection, &cmd).await?;
            dropped += super::value::number(&value).ok_or_else(|| odd("drop", &value))?;
        }
        Ok(dropped)
    }
}

fn announced(value: &Value) -> Result<EntryId, Trouble> {
    entry_id(value).ok_or_else(|| odd("announce", value))
}

fn dead(value: Value) -> Option<Dead> {
    let found = delivery(value)?;
    let (mut about, mut original) = (Vec::new(), Vec::new());
    for (name, value) in found.fields.unwrap_or_default() {
        match name.strip_prefix(b"original:") {
            Some(name) => original.push((name.to_vec(), value)),
            None => about.push((name, value)),
        }
    }
    let text = |wanted: &str| {
        let found = about.iter().find(|(name, _)| name == wanted.as_bytes());
        Box::<str>::from(found.map(|(_, value)| String::from_utf8_lossy(value)).unwrap_or_default())
    };
    let number = |wanted| text(wanted).parse().unwrap_or(0);
    Some(Dead {
        id: found.entry,
        partition: 0,
        entry: text("entry").parse().ok(),
        stream: Some(text("stream")).filter(|stream| !stream.is_empty()),
        reason: text("reason"),
        error: text("error"),
        consumer: text("consumer"),
        takeovers: number("takeovers"),
        failures: number("failures"),
        deliveries: number("deliveries"),
        at_ms: number("at_ms"),
        original,
    })
}
