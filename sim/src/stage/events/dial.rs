//! How a connection is made, as TCP does it: who is not heard knocks again.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use streamkeeper::{ByteStream, Time};

use super::net::{Net, Reach};
use crate::stage::{Between, KNOCK_AGAIN};

/// Connects a host to a server.
pub(super) async fn dial(net: Net, between: Between) -> io::Result<Box<dyn ByteStream>> {
    let mut patience = KNOCK_AGAIN;
    loop {
        let knocked = net.now();
        pass(&net, between).await;
        let reach = net.reach(between);
        if !matches!(reach, Reach::Cut) {
            pass(&net, between).await;
            match reach {
                Reach::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                // What was open when the server answered may have been cut off before the answer came.
                _ if matches!(net.reach(between), Reach::Cut) => {}
                _ => return net.connect(between).map(|stream| Box::new(stream) as Box<dyn ByteStream>),
            }
        }
        sleep_until(&net, knocked + patience).await;
        patience *= 2;
    }
}

/// As long as one segment is under way.
async fn pass(net: &Net, between: Between) {
    let delay: Duration = net.delay(between);
    sleep_until(net, net.now() + delay).await;
    poll_fn(|context| net.poll_flow(between, context)).await;
}

/// To the microsecond, unlike tokio's.
async fn sleep_until(net: &Net, at: Time) {
    poll_fn(|context| {
        if net.now() >= at {
            return Poll::Ready(());
        }
        net.wake_at(at, context.waker().clone());
        Poll::Pending
    })
    .await;
}
