//! How a client comes to life: everything is checked, put together, handed to the driver, and waited for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::stream::FuturesUnordered;
use streamkeeper_core::{id::ConsumerId, streams::Machine, trouble::Trouble};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::{
    builder::Builder,
    calls::Calls,
    client::{Client, Parts},
    driver::{Driver, Progress, Shared},
    errors::Error,
    identity,
    leases::Leases,
    links::Links,
    outbox::Outbox,
    refusals::Refusals,
    service::Service,
};

/// How many claims may wait for the driver; further ones wait to be let in.
const CLAIMS: usize = 1_024;

pub(crate) async fn start(builder: Builder) -> Result<Client, Error> {
    let (keys, config, consumer) = (builder.keys()?, builder.config()?, builder.consumer()?);
    let connect = builder.connect(&config)?;
    let seed = builder.seed.map_or_else(identity::random, Ok)?;
    let service = Service::with(&builder, connect.clone(), &config)?;

    let meters = Arc::new(builder.meters());
    let outbox = Arc::new(Outbox::new(builder.output_buffer));
    let shared = Arc::new(Shared { leases: Leases::default(), outbox, meters: meters.clone(), clock: connect.clock() });
    let (requests, asked) = mpsc::channel(CLAIMS);
    let (progress, seen) = watch::channel(Progress::Starting(None));
    // A child, so that stopping this client does not stop what else the caller's token stops.
    let cancel = builder.cancel.child_token();

    let driver = Driver {
        links: Links::new(connect.clone(), &keys, &config, builder.hint_buffer, meters),
        calls: Calls::new(keys.clone(), consumer.clone(), config.clone(), builder.dead_limit, seed),
        machine: Machine::new(keys, consumer.clone(), config, seed),
        shared: shared.clone(),
        ends: mpsc::unbounded_channel(),
        requests: asked,
        progress,
        cancel,
        stopping: false,
        attended: true,
        refusals: Refusals::default(),
        grace: builder.grace,
        under_way: FuturesUnordered::new(),
        claims: BTreeMap::new(),
        down: BTreeSet::new(),
    };
    let span = tracing::info_span!("streamkeeper", service = %builder.service, %consumer);
    connect.drive(consumer_name(consumer.as_str()), Box::pin(driver.run().instrument(span)))?;

    let within = builder.start_within;
    let client = Client::new(Parts { consumer, service, connect, shared, requests, progress: seen });
    // If this future is dropped, so is the client, and with it the consumer.
    match tokio::time::timeout(within, client.started(within)).await {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let trouble = client.latest_trouble().unwrap_or_else(|| Trouble::connection("no answer"));
            Err(client.unreachable(within, trouble))
        }
    }
}

fn consumer_name(id: &str) -> &str {
    id.strip_prefix(ConsumerId::PREFIX).unwrap_or(id)
}
