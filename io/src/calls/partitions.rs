//! What the partitions of a service ask Redis: how many there have been, and to announce a stream in one of them.

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{EntryId, Token},
    keys::Keys,
    trouble::Trouble,
};

use super::{
    Calls, ToAnnounce, millis,
    script::{Lazy, script},
    value::{entry_id, list, odd, text},
};
use crate::wire::longest;

pub(super) static ANNOUNCE: Lazy = script!("partitions/announce.lua");
pub(super) static AGREE: Lazy = script!("partitions/agree.lua");

/// How many announcements one call goes through at most, to learn which streams stay: some milliseconds of Redis's time.
const PAGE: usize = 1_000;

/// Of which service this is a partition.
#[derive(Clone, Debug)]
pub(crate) struct PartOf {
    pub(crate) service: Box<str>,
    pub(crate) number: u32,
}

/// A stream to announce, and the highest token of the partitions that have sent it on.
#[derive(Clone, Debug)]
pub(crate) struct OnItsWay<'a> {
    pub(crate) item: &'a ToAnnounce,
    pub(crate) floor: Option<Token>,
}

/// What a partition says to an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is announced here.
    Announced(EntryId),
    /// The stream is not announced here. For these numbers of partitions this one has told its streams apart, and so high is
    /// its token.
    Elsewhere { counts: Box<str>, token: Option<Token> },
}

impl Calls {
    /// The numbers of partitions that there have been, as text; `None` if nobody has written any.
    pub(crate) async fn counts(&self, connection: &mut MultiplexedConnection) -> Result<Option<Box<str>>, Trouble> {
        let value = self.send(connection, redis::cmd("GET").arg(self.0.keys.partitions())).await;
        let value = value.map_err(|trouble| super::troubles::advise(trouble, &self.0.keys))?;
        Ok(text(&value).map(|text| text.as_ref().into()))
    }

    /// Writes them, if those that `stand` there still do. Answers what stands there then.
    pub(crate) async fn agree_on_counts(
        &self,
        connection: &mut MultiplexedConnection,
        stand: &str,
        wanted: &str,
    ) -> Result<Box<str>, Trouble> {
        let mut cmd = AGREE.invoke(1, 2, 128);
        cmd.arg(self.0.keys.partitions()).arg(stand).arg(wanted);
        let value = self.run(connection, &AGREE, cmd).await;
        let value = value.map_err(|trouble| super::troubles::advise(trouble, &self.0.keys))?;
        text(&value).map(|text| text.as_ref().into()).ok_or_else(|| odd("partitions", &value))
    }

    /// Announces streams in this partition, in order, unless they are another one's. Each has its own result: those that
    /// failed may or may not be announced.
    pub(crate) async fn announce_here(
        &self,
        connection: &mut MultiplexedConnection,
        part: &PartOf,
        counts: &str,
        items: &[OnItsWay<'_>],
    ) -> Vec<Result<Heard, Trouble>> {
        let keys = Layout::of(&self.0.keys);
        let cmd = |item: &OnItsWay<'_>| self.announcement_here(&keys, part, counts, item);
        self.announce_each(connection, &ANNOUNCE, items, cmd, heard).await
    }

    fn announcement_here(&self, keys: &Layout, part: &PartOf, counts: &str, on_its_way: &OnItsWay<'_>) -> Cmd {
        let (names, OnItsWay { item, floor }) = (&*self.0, on_its_way);
        let json = Announcement::to_json(&item.stream, item.info.as_deref());
        let mut cmd = ANNOUNCE.invoke(4 + usize::from(item.once.is_some()), 9, 384 + json.len());
        cmd.arg(&names.lbs).arg(&keys.layout).arg(&keys.staying).arg(&names.token);
        if let Some((key, _)) = &item.once {
            cmd.arg(names.keys.once(key));
        }
        cmd.arg(&*part.service).arg(part.number).arg(counts);
        cmd.arg(floor.map_or_else(String::new, |token| token.to_string()));
        cmd.arg(PAGE).arg(FIELD).arg(json).arg(item.stream.as_str());
        if let Some((_, window)) = &item.once {
            cmd.arg(millis(longest(*window)).max(1));
        }
        cmd
    }

    /// How many streams stay here though their home is elsewhere by now, at most; and for which numbers of partitions this
    /// one has told its streams apart.
    pub(crate) async fn layout(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(u64, Option<Box<str>>), Trouble> {
        let keys = Layout::of(&self.0.keys);
        let fields = self.send(connection, redis::cmd("HLEN").arg(&keys.staying)).await?;
        let is = self.send(connection, redis::cmd("HGET").arg(&keys.layout).arg("is")).await?;
        // Two fields a stream that was announced once.
        let staying = super::value::number(&fields).unwrap_or(0).div_ceil(2);
        Ok((staying, text(&is).map(|text| text.as_ref().into())))
    }
}

/// The keys that only a partition has.
struct Layout {
    layout: String,
    staying: String,
}

impl Layout {
    fn of(keys: &Keys) -> Layout {
        Layout { layout: keys.layout(), staying: keys.staying() }
    }
}

fn heard(value: Value) -> Result<Heard, Trouble> {
    if let Some(entry) = entry_id(&value) {
        return Ok(Heard::Announced(entry));
    }
    let wrong = odd("announce", &value);
    let parts = list(value).unwrap_or_default();
    let counts = parts.first().and_then(text).ok_or(wrong)?.as_ref().into();
    let token = parts.get(1).and_then(text).and_then(|text| text.parse().ok()).map(Token);
    Ok(Heard::Elsewhere { counts, token })
}
