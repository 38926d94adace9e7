//! One capacity for all partitions of a service: each driver says how much of it its machine takes up, and tells its machine
//! how much the others do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use streamkeeper_core::streams::Load;
use tokio::sync::Notify;

/// What is shared by the drivers of one client.
pub(crate) struct Capacity {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: Load,
    by_partition: BTreeMap<u32, (Load, Arc<Notify>)>,
}

/// One driver's part in it. Dropped, it holds nothing.
pub(crate) struct Seat {
    capacity: Arc<Capacity>,
    partition: u32,
    /// What the machine was told last of the others.
    told: Load,
    room: Arc<Notify>,
}

impl Capacity {
    pub(crate) fn new(most: usize) -> Arc<Capacity> {
        Arc::new(Capacity { most, held: Mutex::default() })
    }

    pub(crate) fn seat(self: &Arc<Capacity>, partition: u32) -> Seat {
        let room = Arc::new(Notify::new());
        self.lock().by_partition.insert(partition, (Load::default(), room.clone()));
        Seat { capacity: self.clone(), partition, told: Load::default(), room }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// So much is taken up here now. Who had no room is told when there is some again.
    pub(crate) fn hold(&self, load: Load) {
        let mut held = self.capacity.lock();
        let before = held.total;
        let Some((here, _)) = held.by_partition.get_mut(&self.partition) else { return };
        let was = std::mem::replace(here, load);
        held.total.held = before.held - was.held + load.held;
        held.total.owned = before.owned - was.owned + load.owned;
        if before.held >= self.capacity.most && held.total.held < self.capacity.most {
            held.by_partition.values().for_each(|(_, room)| room.notify_one());
        }
    }

    /// How much is taken up elsewhere, if that is not what was answered last.
    pub(crate) fn elsewhere(&mut self) -> Option<Load> {
        let all = self.capacity.lock();
        let here = all.by_partition.get(&self.partition).map(|(here, _)| *here).unwrap_or_default();
        let elsewhere = Load { held: all.total.held - here.held, owned: all.total.owned - here.owned };
        drop(all);
        (std::mem::replace(&mut self.told, elsewhere) != elsewhere).then_some(elsewhere)
    }

    /// Waits until there is room again after there was none. Cancel safe.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hold(Load::default());
        self.capacity.lock().by_partition.remove(&self.partition);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn load(held: usize, owned: usize) -> Load {
        Load { held, owned }
    }

    #[test]
    fn each_hears_what_the_others_hold() {
        let capacity = Capacity::new(10);
        let (mut one, mut two) = (capacity.seat(0), capacity.seat(1));
        assert_eq!((one.elsewhere(), two.elsewhere()), (None, None));
        one.hold(load(7, 2));
        assert_eq!((one.elsewhere(), two.elsewhere()), (None, Some(load(7, 2))));
        assert_eq!(two.elsewhere(), None, "it is told once");
        two.hold(load(2, 1));
        one.hold(load(3, 3));
        assert_eq!((one.elsewhere(), two.elsewhere()), (Some(load(2, 1)), Some(load(3, 3))));
        one.hold(load(3, 2));
        assert_eq!(two.elsewhere(), Some(load(3, 2)));
        drop(one);
        assert_eq!(two.elsewhere(), Some(load(0, 0)));
    }

    #[test]
    fn room_is_told_when_there_was_none() {
        let capacity = Capacity::new(10);
        let (one, two) = (capacity.seat(0), capacity.seat(1));
        one.hold(load(9, 0));
        two.hold(load(1, 0));
        assert!(two.room().now_or_never().is_none());
        one.hold(load(8, 0));
        assert!(two.room().now_or_never().is_some() && one.room().now_or_never().is_some());
        one.hold(load(7, 0));
        assert!(two.room().now_or_never().is_none(), "there was room before");
        one.hold(load(12, 0));
        drop(one);
        assert!(two.room().now_or_never().is_some());
    }
}
