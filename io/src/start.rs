//! How a client comes to life: everything is checked, put together, handed to the driver, and waited for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{config::Config, id::ConsumerId, streams::Machine, trouble::Trouble};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    builder::Builder,
    calls::Calls,
    client::{Client, Whole},
    driver::{Driver, Progress, Shared},
    entries::{self, Desk},
    errors::Error,
    identity,
    leases::Leases,
    links::{Links, connect::Connect},
    notification::Notification,
    outages::Outages,
    outbox::Outbox,
    partitions::{
        capacity::Capacity,
        muster::Muster,
        serving::{Growing, Part, Parts, Serving, first_counts},
    },
    service::Service,
    witnesses::Witnesses,
};

/// How many claims may wait for the driver; further ones wait to be let in.
const CLAIMS: usize = 1_024;

pub(crate) async fn start(builder: Builder) -> Result<Client, Error> {
    let (config, consumer) = (builder.config()?, builder.consumer()?);
    let connect = builder.connect_to(&config, 0)?;
    let service = Service::with(&builder, connect.clone(), &config)?;
    let (within, clock, places) = (builder.start_within, connect.clock(), service.places().clone());

    let (outbox, muster) = (Arc::new(Outbox::new(builder.output_buffer)), Arc::<Muster>::default());
    let maker = Maker {
        seed: builder.seed.map_or_else(identity::random, Ok)?,
        // A child, so that stopping this client does not stop what else the caller's token stops.
        cancel: builder.cancel.child_token(),
        capacity: places.are_many().then(|| Capacity::new(config.capacity)),
        consumer: consumer.clone(),
        config: config.clone(),
        outbox: outbox.clone(),
        muster: muster.clone(),
        first: connect.clone(),
        builder,
    };
    let (began, patience) = (clock.now(), config.lease_ttl);
    let count = if places.are_many() {
        let counts = tokio::time::timeout(within, first_counts(&places, &clock, &config)).await;
        counts
            .map_err(|_| unreachable(&service, &*connect, within, "the number of partitions was not answered"))??
            .last()
    } else {
        1
    };

    muster.wait_for(0..count);
    let parts = Arc::new(Parts::default());
    let mut drivers = Vec::new();
    for number in 0..count {
        let (part, driver) = maker.make(number)?;
        parts.add(part);
        drivers.push(driver);
    }
    let cancel = maker.cancel.clone();
    let growing = places.are_many().then(|| Growing {
        maker,
        places,
        parts: Arc::downgrade(&parts),
        clock: clock.clone(),
        config,
    });
    let mut serving = Serving::new(cancel, outbox.clone(), growing);
    drivers.into_iter().for_each(|driver| serving.add(driver));
    connect.drive(consumer_name(consumer.as_str()), Box::pin(serving.run()))?;

    let left = within.saturating_sub(clock.now().since(began));
    // If this future is dropped, so is the client, and with it the consumer.
    let client = Client::new(Whole { consumer, service, connect, clock, outbox: outbox.clone(), parts });
    let missing = client.started(within, left, patience).await?;
    if missing.into_iter().any(|partition| muster.ready(partition)) {
        // No driver's turn: all are told if this fills it.
        outbox.push(Notification::Ready, &Arc::default());
    }
    Ok(client)
}

/// Puts together what serves one partition: everything that all partitions of a client have in common.
pub(crate) struct Maker {
    builder: Builder,
    config: Config,
    consumer: ConsumerId,
    seed: u64,
    /// The way to the first partition, or to the service.
    first: Arc<dyn Connect>,
    outbox: Arc<Outbox>,
    /// What all partitions together may hold, if there are several.
    capacity: Option<Arc<Capacity>>,
    muster: Arc<Muster>,
    cancel: CancellationToken,
}

impl Maker {
    /// What the client holds of a partition, and the driver that serves it.
    ///
    /// # Errors
    /// No way to it can be made.
    pub(crate) fn make(&self, partition: u32) -> Result<(Part, BoxFuture<'static, Progress>), Error> {
        let Maker { builder, config, consumer, .. } = self;
        let keys = builder.keys_of(partition)?;
        let connect = if partition == 0 { self.first.clone() } else { builder.connect_to(config, partition)? };
        // Attempts and jitter of its own.
        let seed = self.seed.wrapping_add(u64::from(partition).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let meters = Arc::new(builder.meters(partition));
        let ends = mpsc::unbounded_channel();
        let desk = Desk::new(entries::Parts {
            connect: connect.clone(),
            keys: keys.clone(),
            consumer: consumer.clone(),
            config: builder.entries_config()?,
            dead_limit: builder.dead_limit,
            seed: seed.rotate_left(1),
            meters: builder.entries_meters(partition),
            ends: ends.0.clone(),
        });
        let shared = Arc::new(Shared {
            leases: Leases::default(),
            outbox: self.outbox.clone(),
            meters: meters.clone(),
            clock: connect.clock(),
            desk,
        });
        let (requests, asked) = mpsc::channel(CLAIMS);
        let (progress, seen) = watch::channel(Progress::Starting(None));
        let calls = Calls::new(keys.clone(), consumer.clone(), config.clone(), builder.dead_limit, seed);
        let (witnesses, witnessing) = Witnesses::new(builder.replicas, connect.clone(), &keys, config, meters.clone());
        let driver = Driver {
            partition,
            seat: self.capacity.as_ref().map(|capacity| capacity.seat(partition)),
            muster: self.muster.clone(),
            turns: self.outbox.turns(),
            links: Links::new(connect, &keys, config, builder.hint_buffer, meters),
            calls: if self.capacity.is_some() { calls.in_partition(partition) } else { calls },
            machine: Machine::new(keys, consumer.clone(), config.clone(), seed),
            shared: shared.clone(),
            ends,
            requests: asked,
            progress,
            cancel: self.cancel.child_token(),
            stopping: false,
            draining: None,
            attended: true,
            outages: Outages::default(),
            grace: builder.grace,
            under_way: FuturesUnordered::new(),
            claims: BTreeMap::new(),
            witnesses,
        };
        self.muster.join();
        let ended = seen.clone();
        let running = async move {
            tokio::select! {
                biased;
                () = driver.run() => {}
                () = witnessing => {}
            }
            ended.borrow().clone()
        };
        let span = tracing::info_span!("streamkeeper", service = %builder.name_of(partition), %consumer);
        Ok((Part { shared, requests, progress: seen }, Box::pin(running.instrument(span))))
    }
}

fn unreachable(service: &Service, connect: &dyn Connect, within: Duration, what: &str) -> Error {
    let (service, server) = (service.name().to_owned(), connect.describe());
    Error::Unreachable { service, server, within, trouble: Trouble::connection(what) }
}

fn consumer_name(id: &str) -> &str {
    id.strip_prefix(ConsumerId::PREFIX).unwrap_or(id)
}
