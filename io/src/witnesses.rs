//! Replicas as witnesses: after an acquire that granted something, `WAIT` tells how many of them know of it.
//!
//! On a connection of its own: `WAIT` blocks the one on which it is asked, and on the one for commands the heartbeats
//! would stand behind it. A connection is answered for all that the server had written when that connection wrote last,
//! whoever else wrote it (with Redis a `PING` would do, but not with Valkey 9): hence the `SET` in front. The grant is held up for as long as it takes, within a limit far below a
//! heartbeat, and stands whatever the answer is: its lease counts from the call on, so that nothing is owned for longer.

use std::{sync::Arc, time::Duration};

use redis::Value;
use streamkeeper_core::{
    config::{Config, ConfigError, Value as Setting},
    keys::Keys,
    streams::{Answer, call::Acquired},
    trouble::Trouble,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    links::{
        connect::Connect,
        on_demand::{Borrowed, OnDemand},
    },
    metrics::Meters,
    wire::{
        millis,
        script::send,
        troubles::trouble,
        value::{number, odd},
    },
};

/// How many replicas are to know of what is granted, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) replicas: u32,
    pub(crate) within: Duration,
}

impl Wanted {
    /// Whether the time is one that can be waited: far less than a heartbeat, so that no lease is endangered.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let (shortest, longest) = (Duration::from_millis(1), config.heartbeat / 4);
        let wrong = |rule, other, limit, advice| ConfigError {
            field: "wait_for_replicas: within",
            value: Setting::Span(self.within),
            rule,
            other,
            limit: Setting::Span(limit),
            advice,
        };
        if self.within < shortest {
            return Err(wrong("must not be shorter than the shortest wait", "the shortest", shortest, "raise it"));
        }
        if self.within > longest {
            let rule = "must be at most a quarter of heartbeat";
            return Err(wrong(rule, "a quarter of heartbeat", longest, "lower it or raise heartbeat"));
        }
        Ok(())
    }
}

/// Fewer replicas than wanted know of what was granted.
#[derive(Debug, Error)]
enum TooFew {
    #[error(
        "{had} of {} replicas know of the streams that were acquired, after {:?}: they are owned all the same, but a \
         failover may forget it. Look after the replicas (INFO replication), or ask for fewer or for longer",
        wanted.replicas, wanted.within
    )]
    Counted { had: u64, wanted: Wanted },
    #[error(
        "it is not known how many replicas know of the streams that were acquired ({0}): they are owned all the same, \
         but a failover may forget it"
    )]
    Unknown(Trouble),
}

/// Who is to be told before a grant is. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Witnesses(Option<(Duration, mpsc::UnboundedSender<oneshot::Sender<()>>)>);

impl Witnesses {
    /// Nobody, if none are wanted; and what asks them: it is to be run for as long as they are needed.
    pub(crate) fn new(
        wanted: Option<Wanted>,
        connect: Arc<dyn Connect>,
        keys: &Keys,
        config: &Config,
        meters: Arc<Meters>,
    ) -> (Witnesses, impl Future<Output = ()> + Send + use<>) {
        let (ask, asked) = mpsc::unbounded_channel();
        let witnesses = Witnesses(wanted.map(|wanted| (wanted.within, ask)));
        let (key, call_timeout) = (keys.witness(), config.call_timeout);
        let asking = async move {
            match wanted {
                None => std::future::pending().await,
                Some(wanted) => {
                    let connection = OnDemand::new(connect, call_timeout + wanted.within);
                    Asking { wanted, key, connection, meters, short: false }.run(asked).await;
                }
            }
        };
        (witnesses, asking)
    }

    /// If this answer grants something, waits until enough replicas know of it, or the time is up.
    pub(crate) async fn see(&self, answer: &Result<Answer, Trouble>) {
        let Some((within, ask)) = &self.0 else { return };
        let Ok(Answer::Acquired(items)) = answer else { return };
        if !items.iter().any(|item| matches!(item, Acquired::Granted(_))) {
            return;
        }
        let (seen, told) = oneshot::channel();
        if ask.send(seen).is_ok() {
            // Dropped at the end of a round: that is the answer. The way to the server may take longer than the wait.
            let _ = tokio::time::timeout(*within, told).await;
        }
    }
}

/// Asks, one round after the other: a round is for all that was granted before it began.
struct Asking {
    wanted: Wanted,
    key: String,
    connection: OnDemand,
    meters: Arc<Meters>,
    /// The latest round had too few: that was said.
    short: bool,
}

impl Asking {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>) {
        while let Some(first) = asked.recv().await {
            let mut waiting = vec![first];
            while let Ok(another) = asked.try_recv() {
                waiting.push(another);
            }
            let had = self.count().await;
            self.judge(had);
        }
    }

    /// How many replicas know of everything up to now.
    async fn count(&self) -> Result<u64, Trouble> {
        let Borrowed { number: connection, redis } = self.connection.borrow().await?;
        let (mut write, mut wait) = (redis::cmd("SET"), redis::cmd("WAIT"));
        write.arg(&self.key).arg(1).arg("PX").arg(1_000);
        wait.arg(self.wanted.replicas).arg(millis(self.wanted.within));
        let (mut first, mut second) = (redis.clone(), redis);
        let asked: Result<(Value, Value), _> = futures::try_join!(send(&mut first, &write), send(&mut second, &wait));
        match asked.map_err(|e| trouble(&e)) {
            Ok((_, had)) => number(&had).ok_or_else(|| odd("WAIT", &had)),
            Err(trouble) => {
                self.connection.judge(connection, &trouble);
                Err(trouble)
            }
        }
    }

    fn judge(&mut self, had: Result<u64, Trouble>) {
        let few = match had {
            Ok(had) if had >= u64::from(self.wanted.replicas) => None,
            Ok(had) => Some(TooFew::Counted { had, wanted: self.wanted }),
            Err(trouble) => Some(TooFew::Unknown(trouble)),
        };
        let short = few.is_some();
        self.meters.witnessed(!short);
        match (few, self.short) {
            (Some(few), false) => tracing::warn!("{few}"),
            (Some(few), true) => tracing::debug!("still: {few}"),
            (None, true) => {
                tracing::info!(replicas = self.wanted.replicas, "enough replicas know what is acquired again");
            }
            (None, false) => {}
        }
        self.short = short;
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_core::config::Settings;

    use super::*;

    #[test]
    fn only_far_less_than_a_heartbeat_is_waited() {
        let config = Config::new(Settings::default()).unwrap();
        let check = |within| Wanted { replicas: 1, within }.check(&config).map_err(|error| error.to_string());
        assert_eq!(check(Duration::from_millis(250)), Ok(()));
        assert!(check(Duration::from_millis(251)).unwrap_err().contains("(a quarter of heartbeat is 250ms)"));
        assert!(check(Duration::ZERO).unwrap_err().contains("shortest"), "0 would be for ever");
    }
}
