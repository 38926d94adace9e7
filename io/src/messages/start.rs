//! How a consumer comes to life: everything is checked, put together, handed to its drivers, and waited for.

use std::{collections::BTreeMap, sync::Arc};

use futures::stream::FuturesUnordered;
use streamkeeper_core::messages::Machine;
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use super::{
    builder::Builder,
    calls::Calls,
    consumer::{Consumer, Member, Parts},
    context::Place,
    driver::{Driver, Progress},
    errors::Error,
    handler::Handler,
    health::Pulse,
    meters::Meters,
    runs::Runs,
    settled::Settling,
};
use crate::{
    identity,
    links::{Links, open::Opening},
    outages::Outages,
};

/// How many wishes may wait for a driver; further ones wait to be let in.
const WISHES: usize = 64;

pub(crate) async fn start(builder: Builder, handler: Arc<dyn Handler>) -> Result<Consumer, Error> {
    let (keys, config) = (builder.keys()?, builder.config()?);
    let mut connects = builder.connect(&config, &keys)?;
    let seed = builder.seed.map_or_else(identity::random, Ok)?;
    let name = builder.consumer(seed)?;
    let settling = Arc::new(Settling::new(keys.len()));

    let mut members = Vec::with_capacity(keys.len());
    for ((keys, stream), connect) in keys.into_iter().zip(&builder.streams).zip(&connects) {
        let runs = Runs::new(connect.clone(), handler.clone(), builder.on_span.clone());
        let (requests, asked) = mpsc::channel(WISHES);
        let (progress, seen) = watch::channel(Progress::Starting(None));
        let pulse = Arc::new(Pulse::default());
        let place =
            Place { stream: stream.as_str().into(), group: builder.group.as_str().into(), consumer: name.clone() };
        let driver = Driver {
            machine: Machine::new(config.clone(), seed),
            links: Links::without_subscriber(Opening::new(connect.clone(), config.call_timeout, config.block)),
            calls: Calls::new(keys, name.clone(), config.clone()),
            clock: connect.clock(),
            place: Arc::new(place),
            runs: runs.clone(),
            running: BTreeMap::new(),
            settling: settling.clone(),
            meters: Meters(builder.meters(stream)),
            pulse: pulse.clone(),
            requests: asked,
            progress,
            // A child, so that stopping this one does not stop what else the caller's token stops.
            cancel: builder.cancel.child_token(),
            stopping: false,
            attended: true,
            outages: Outages::default(),
            grace: builder.grace,
            under_way: FuturesUnordered::new(),
            issued: false,
        };
        let span = tracing::info_span!("messages", stream, group = builder.group, consumer = %name);
        runs.open();
        connect.drive(&format!("{}-{stream}", name.as_str()), Box::pin(driver.run().instrument(span)))?;
        members.push(Member { stream: stream.clone(), pulse, requests, progress: seen });
    }

    let within = builder.start_within;
    let connect = connects.swap_remove(0);
    let clock = connect.clock();
    let consumer = Consumer::new(Parts { name, group: builder.group, connect, clock, settling, members });
    // If this future is dropped, so is the consumer.
    match tokio::time::timeout(within, consumer.started(within)).await {
        Ok(Ok(())) => Ok(consumer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(consumer.late(within)),
    }
}
