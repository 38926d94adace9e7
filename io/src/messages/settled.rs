//! What became of messages, for whoever wants to hear it.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use streamkeeper_core::{id::EntryId, messages::Fate};
use tokio::sync::broadcast::{self, error::RecvError};

/// How many fates are kept for a subscriber that does not read.
const KEPT: usize = 8_192;

/// What became of one message here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Settled {
    /// The stream.
    pub stream: Arc<str>,
    /// The message.
    pub entry: EntryId,
    /// What became of it.
    pub fate: Fate,
}

/// The drivers' end. Nothing is kept, nor is there room for it, before somebody subscribes.
#[derive(Default)]
pub(crate) struct Settling {
    sender: Mutex<Sender>,
}

#[derive(Default)]
struct Sender {
    fates: Option<broadcast::Sender<Settled>>,
    /// How many drivers have ended, of how many.
    ended: usize,
    drivers: usize,
}

impl Settling {
    /// For that many drivers.
    pub(crate) fn new(drivers: usize) -> Settling {
        Settling { sender: Mutex::new(Sender { drivers, ..Sender::default() }) }
    }

    pub(crate) fn push(&self, stream: &str, fates: Vec<(EntryId, Fate)>) {
        let sender = self.lock().fates.clone();
        if let Some(sender) = sender.filter(|sender| sender.receiver_count() > 0) {
            let stream: Arc<str> = stream.into();
            for (entry, fate) in fates {
                // The last subscriber may just have left.
                let _ = sender.send(Settled { stream: stream.clone(), entry, fate });
            }
        }
    }

    /// A driver has ended: after the last one, subscribers end too.
    pub(crate) fn close(&self) {
        let mut sender = self.lock();
        sender.ended += 1;
        if sender.ended >= sender.drivers {
            sender.fates = None;
        }
    }

    pub(crate) fn subscribe(&self) -> Settlements {
        let mut sender = self.lock();
        let receiver = if sender.ended >= sender.drivers {
            broadcast::channel(1).1
        } else {
            sender.fates.get_or_insert_with(|| broadcast::channel(KEPT).0).subscribe()
        };
        let missed = Arc::new(AtomicU64::new(0));
        Settlements { missed: missed.clone(), fates: receive(receiver, missed).boxed() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn receive(
    receiver: broadcast::Receiver<Settled>,
    missed: Arc<AtomicU64>,
) -> impl Stream<Item = Settled> + Send + 'static {
    futures::stream::unfold((receiver, missed), |(mut receiver, missed)| async move {
        loop {
            match receiver.recv().await {
                Ok(settled) => return Some((settled, (receiver, missed))),
                Err(RecvError::Lagged(count)) => {
                    missed.fetch_add(count, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

/// What becomes of messages, from the subscription on, as a [`Stream`]. It ends with the consumer.
///
/// It holds 8,192; who reads more slowly misses the oldest, and [`missed`](Settlements::missed) counts them.
pub struct Settlements {
    fates: BoxStream<'static, Settled>,
    missed: Arc<AtomicU64>,
}

impl Settlements {
    /// How many were not read in time and are lost.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Stream for Settlements {
    type Item = Settled;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Settled>> {
        self.fates.poll_next_unpin(context)
    }
}

impl fmt::Debug for Settlements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlements").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(ms: u64) -> (EntryId, Fate) {
        (EntryId { ms, seq: 0 }, Fate::Acked)
    }

    #[tokio::test]
    async fn only_subscribers_hear_and_what_they_miss_is_counted() {
        let settling = Settling::new(2);
        settling.push("s", vec![acked(1)]);
        assert!(settling.lock().fates.is_none(), "nothing is kept for nobody");
        let mut heard = settling.subscribe();
        settling.push("s", vec![acked(2), acked(3)]);
        assert_eq!(heard.next().await.map(|s| s.entry.ms), Some(2));
        let many = u64::try_from(KEPT).unwrap() + 10;
        settling.push("s", (0..many).map(|n| acked(100 + n)).collect());
        assert_eq!(heard.next().await.map(|s| s.entry.ms), Some(110), "3 and the first 10 are lost");
        assert_eq!(heard.missed(), 11);
        settling.close();
        settling.push("t", vec![acked(9_999_999)]);
        settling.close();
        let rest: Vec<_> = heard.by_ref().collect().await;
        assert_eq!(rest.last().map(|s| (&*s.stream, s.entry.ms)), Some(("t", 9_999_999)));
        assert_eq!(settling.subscribe().count().await, 0);
    }
}
