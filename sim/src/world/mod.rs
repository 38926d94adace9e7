//! One run: a plan on a stage, recorded as facts and judged.

mod actor;
mod agenda;
mod application;
mod checkpoints;
mod consumer;
mod deeds;
mod director;
mod engine;
mod go;
mod hand;
mod hearing;
mod lasting;
mod outcome;
mod producer;
mod reader;
mod scene;
mod seeds;
mod sender;
mod server;
mod servers;
mod site;
pub mod sometimes;
mod stories;
#[cfg(test)]
mod topologies;
mod trace;
mod ways;
mod witness;
mod worker;

use std::{cell::OnceCell, rc::Rc, sync::Arc};

pub use engine::Unfit;
pub use outcome::{Net, Outcome};
pub use site::{Fleet, Handler, Site};

use self::{
    checkpoints::{Checkpoints, Watched},
    consumer::Consumer,
    director::Director,
    producer::Producer,
    scene::Scene,
    server::Server,
};
use crate::{
    entries, judge, messages,
    plan::{Plan, Topology},
    stage::{Stage, events::Events, turmoil::Turmoil},
};

/// The name of the simulated service.
pub const SERVICE: &str = "simulated";

/// Runs a plan, and judges what happened.
pub fn run(plan: &Plan, net: Net) -> Outcome {
    run_fleet(plan, net, &Fleet::default())
}

/// Runs a plan with what a user brings along.
///
/// # Panics
/// The operating system gives us no runtime.
pub fn run_fleet(plan: &Plan, net: Net, fleet: &Fleet) -> Outcome {
    let mut stage: Box<dyn Stage> = match net {
        Net::Core => return engine::run(plan, fleet),
        Net::Events => {
            Box::new(Events::new(network(plan), plan.latency_us).expect("a runtime without threads or sockets"))
        }
        Net::Turmoil => Box::new(Turmoil::new(network(plan), plan.latency_us)),
    };
    let scene = Scene::new(stage.clock());
    let server = Server::new(plan, scene.clone());
    server.enter(&mut *stage);
    let consumers = (0..plan.consumers.len())
        .map(|index| consumer(plan, index, fleet, &mut *stage, &scene) as Rc<dyn actor::Actor>)
        .collect();
    let producer = producer(plan, &mut *stage, &scene);

    let mut director = Director::new(plan, stage, scene, consumers, producer, server);
    judged(plan, &mut director)
}

/// Lets a plan happen, and judges what happened.
fn judged(plan: &Plan, director: &mut Director<'_>) -> Outcome {
    let end = director.run();
    director.server.stands("end");

    let scene = &director.scene;
    let facts = scene.record().since(0);
    let violations = judge::judge(plan, &facts, end);
    let panics = director.stage.panics().into_iter().chain(scene.panics()).collect();
    let words = director.server.words();
    let sometimes = match plan.has_workers() {
        true => messages::sometimes::count(&facts, &words),
        false if plan.has_readers() => entries::sometimes::count(&facts, &words),
        false if plan.servers.topology != Topology::One => sometimes::of_servers(plan.servers.topology, &facts, &words),
        false => sometimes::count(&facts, &words, director.server.stories()),
    };
    Outcome { facts, end, violations, panics, sometimes }
}

/// What the network's delays come from.
fn network(plan: &Plan) -> u64 {
    seeds::of(plan.seed, &[seeds::NETWORK])
}

/// Puts a consumer on its host, not started.
fn consumer(plan: &Plan, index: usize, fleet: &Fleet, stage: &mut dyn Stage, scene: &Scene) -> Rc<Consumer> {
    let (host, setup) = (director::host(index), &plan.consumers[index]);
    let place = Rc::new(OnceCell::<Rc<Consumer>>::new());
    let boot = place.clone();
    stage.host(
        host,
        Rc::new(move || {
            let consumer = boot.get().cloned();
            Box::pin(async move {
                if let Some(consumer) = consumer {
                    consumer.live().await;
                }
            })
        }),
    );
    let (road, renew) = ways::reach(plan, host, setup.drift_ppm, stage);
    let checkpoints = Checkpoints::new(scene.clone(), stage.freezer(host), road.clone());
    let connect = Arc::new(Watched { inner: road, checkpoints: checkpoints.clone() });
    let seed = seeds::of(plan.seed, &[index as u64]);
    let ways = consumer::Ways { connect, renew, servers: plan.servers };
    let consumer = Consumer::new(index, setup.clone(), fleet, seed, ways, scene.clone(), checkpoints);
    place.get_or_init(|| consumer).clone()
}

/// Puts the producers on a host of their own, and starts them.
fn producer(plan: &Plan, stage: &mut dyn Stage, scene: &Scene) -> Rc<Producer> {
    let host = director::host(plan.consumers.len());
    let seed = seeds::of(plan.seed, &[seeds::PRODUCER]);
    let (connect, _) = ways::reach(plan, host, 0, stage);
    let producer = Producer::new(connect, plan.servers.topology, scene.clone(), seed);
    stage.host(host, producer.boot());
    stage.start(host);
    producer
}
