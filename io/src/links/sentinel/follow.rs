//! Sentinels listened to, so that a failover is known although the connections to the former primary still work.
//!
//! To three at once, where there are as many: one of them may be cut off and not know it. What a sentinel publishes is
//! only the reason to ask it; it is asked now and then anyhow, which also finds out that its connection is deaf.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::future::join3;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, aio::MultiplexedConnection};
use streamkeeper_core::trouble::{Trouble, TroubleKind};
use tokio::sync::Notify;

use super::{super::address::Address, Shared, answer, ask::advise};
use crate::wire::value::text;

/// What a sentinel publishes when the primary is another one.
const SWITCHED: &str = "+switch-master";

/// How often a sentinel is asked that publishes nothing. With the time that an answer may take, this is how long a consumer
/// may not see that it is deaf, and go on with a former primary for as long as that serves: no longer than a lease lasts by
/// default.
const EVERY: Duration = Duration::from_secs(2);

/// How long an answer may take at least. Otherwise it is as long as a call: who is too far away for this is too far away
/// for calls.
const ANSWER: Duration = Duration::from_secs(1);

/// How many answers making a connection takes.
const CONNECTED: u32 = 3;

/// The pause before another one is tried, doubled up to the limit as long as none is reached.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Never ends. Nothing is lost when it is dropped.
pub(super) async fn follow(shared: &Shared) {
    join3(keep_listening(shared), keep_listening(shared), keep_listening(shared)).await;
}

/// Listens to one sentinel after the other.
async fn keep_listening(shared: &Shared) {
    let (mut latest, mut pause) = (None, PAUSE.0);
    loop {
        let free = shared.known().listen(latest.as_ref());
        if let Some(sentinel) = free {
            let listening = Listening { shared, sentinel: &sentinel };
            let mut heard = false;
            let trouble = advise(&sentinel, listening.until_it_breaks(&mut heard).await);
            if heard {
                pause = PAUSE.0;
            }
            // Whoever opens a connection says it loudly if nobody else can be asked either.
            tracing::debug!(%trouble, "a sentinel is not listened to any more");
            drop(listening);
            latest = Some(sentinel);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Somebody listens to this sentinel, for as long as this lives.
struct Listening<'a> {
    shared: &'a Shared,
    sentinel: &'a Address,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.shared.known().stop_listening(self.sentinel);
    }
}

impl Listening<'_> {
    async fn until_it_breaks(&self, heard: &mut bool) -> Trouble {
        let asking = &self.shared.asking;
        let switched = Arc::new(Notify::new());
        let (tell, primary) = (switched.clone(), asking.primary.clone());
        let answer = asking.call_timeout.max(ANSWER);
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(answer)).set_push_sender(
            move |push: PushInfo| -> Result<(), Infallible> {
                if speaks_of(&primary, &push) {
                    tell.notify_one();
                }
                Ok(())
            },
        );
        let connecting = asking.connect(self.sentinel, ProtocolVersion::RESP3, settings);
        let connected = answer.saturating_mul(CONNECTED);
        let (redis, running) = match tokio::time::timeout(connected, connecting).await {
            Ok(Ok(made)) => made,
            Ok(Err(trouble)) => return trouble,
            Err(_) => return Trouble::connection(format_args!("no connection within {connected:?}")),
        };
        tokio::select! {
            biased;
            trouble = self.listen(redis, &switched, heard) => trouble,
            () = running => Trouble::connection("the connection was closed"),
        }
    }

    async fn listen(&self, mut redis: MultiplexedConnection, switched: &Notify, heard: &mut bool) -> Trouble {
        if let Err(error) = redis.subscribe(SWITCHED).await {
            let trouble = crate::wire::troubles::trouble(&error);
            if trouble.kind == TroubleKind::Connection {
                return trouble;
            }
            let trouble = advise(self.sentinel, trouble);
            tracing::warn!(%trouble, "failovers are heard of late: the sentinel is asked every {EVERY:?} only");
        }
        loop {
            // Asked behind the subscription: no failover lies between the two.
            match answer::ask(&redis, &self.shared.asking.primary).await {
                Ok(answer) => self.shared.hear(self.sentinel, answer),
                Err(trouble) => return trouble,
            }
            *heard = true;
            tokio::select! {
                biased;
                () = switched.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

/// Whether it is about the primary of this name: `<name> <old host> <old port> <new host> <new port>`.
fn speaks_of(primary: &str, push: &PushInfo) -> bool {
    let [_channel, said] = &*push.data else { return false };
    push.kind == PushKind::Message && text(said).is_some_and(|said| said.split(' ').next() == Some(primary))
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn only_what_is_said_of_our_primary_counts() {
        let push = |kind: PushKind, said: &[&str]| {
            let data = said.iter().map(|text| Value::BulkString((*text).into())).collect();
            speaks_of("p", &PushInfo { kind, data })
        };
        assert!(push(PushKind::Message, &[SWITCHED, "p 10.0.0.1 6379 10.0.0.2 6379"]));
        assert!(!push(PushKind::Message, &[SWITCHED, "pp 10.0.0.1 6379 10.0.0.2 6379"]));
        assert!(!push(PushKind::Message, &[SWITCHED, ""]));
        assert!(!push(PushKind::Subscribe, &[SWITCHED, "p"]));
        assert!(!push(PushKind::Message, &[SWITCHED]));
    }
}
