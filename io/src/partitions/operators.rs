//! What operators ask of all partitions of a service at once.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper_core::{announcement::Announcement, id::EntryId};

use super::places::{Place, Places};
use crate::{
    calls::{Dead, Owner, PartitionStatus, Status, ToAnnounce},
    errors::AskError,
};

/// For how long it is known that an announcement that was set aside was put back into another partition, should the answer
/// have been lost.
const RETRIED: Duration = Duration::from_secs(24 * 3_600);

impl Places {
    /// How all of them stand.
    pub(crate) async fn status(&self) -> Result<Status, AskError> {
        let mut whole: Option<Status> = None;
        for place in self.all().await? {
            let status = place.ask(|calls, mut redis| async move { calls.status(&mut redis).await }).await?;
            let layout = place.ask(|calls, mut redis| async move { calls.layout(&mut redis).await });
            let (staying, told_apart) = layout.await?;
            let here = PartitionStatus {
                announced: status.announced,
                orphans: status.orphans.len(),
                set_aside: status.set_aside,
                consumers: status.consumers.len(),
                settled: status.settled,
                staying,
                told_apart,
            };
            let joined = match whole.take() {
                Some(whole) => join(whole, status),
                None => status,
            };
            whole.insert(joined).partitions.push(here);
        }
        // There is always a first.
        whole.ok_or_else(|| AskError::Refused(streamkeeper_core::trouble::Trouble::other("there are no partitions")))
    }

    /// Announces what was set aside where its stream lives now, and then takes it from where it was set aside: with an
    /// idempotency key, so that it can be repeated.
    pub(crate) async fn retry_dead(&self, ids: &[EntryId]) -> Result<Vec<Option<EntryId>>, AskError> {
        let mut entries = vec![None; ids.len()];
        for place in self.all().await? {
            for (id, entry) in ids.iter().zip(&mut entries) {
                if let Some(new) = self.retry_in(&place, *id).await? {
                    *entry = Some(new);
                }
            }
        }
        Ok(entries)
    }

    async fn retry_in(&self, place: &Place, id: EntryId) -> Result<Option<EntryId>, AskError> {
        let found = place.ask(|calls, mut redis| async move { calls.dead_one(&mut redis, id).await }).await?;
        let Some(Dead { original, .. }) = found else { return Ok(None) };
        let fields = original.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let Ok(Announcement { stream, info }) = Announcement::parse(fields) else {
            // It names no stream that could live elsewhere.
            let retry = place.ask(|calls, mut redis| async move { calls.dead_retry(&mut redis, &[id]).await });
            return Ok(retry.await?.pop().flatten());
        };
        let once = Some((format!("retry:{}:{id}", place.number).into(), RETRIED));
        let mut announced = self.announce(vec![ToAnnounce { stream, info, once }]).await;
        let Some(announced) = announced.pop() else { return Ok(None) };
        let entry = announced?;
        place.ask(|calls, mut redis| async move { calls.dead_drop(&mut redis, &[id]).await }).await?;
        Ok(Some(entry))
    }
}

/// Two partitions as one: the first describes its server.
fn join(mut whole: Status, other: Status) -> Status {
    whole.announced += other.announced;
    whole.set_aside += other.set_aside;
    whole.settled &= other.settled;
    whole.longest_ttl = whole.longest_ttl.max(other.longest_ttl);
    whole.orphans.extend(other.orphans);
    whole.warnings.extend(other.warnings);
    whole.warnings.sort();
    whole.warnings.dedup();
    let mut consumers: BTreeMap<Box<str>, Owner> = BTreeMap::new();
    for owner in whole.consumers.drain(..).chain(other.consumers) {
        match consumers.get_mut(&owner.consumer) {
            Some(known) => {
                known.pending += owner.pending;
                known.idle = known.idle.min(owner.idle);
            }
            None => {
                consumers.insert(owner.consumer.clone(), owner);
            }
        }
    }
    whole.consumers = consumers.into_values().collect();
    whole
}
