//! One run: a plan on a stage, recorded as facts and judged.

mod application;
mod checkpoints;
mod consumer;
mod deeds;
mod director;
mod go;
mod lasting;
mod outcome;
mod producer;
mod scene;
mod seeds;
mod sender;
mod server;
mod site;
pub mod sometimes;
mod stories;
mod trace;
mod witness;
mod worker;

use std::{cell::OnceCell, rc::Rc, sync::Arc};

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
    judge, messages,
    plan::Plan,
    stage::{REDIS, Stage, events::Events, turmoil::Turmoil},
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
    let mut stage = stage(plan, net);
    let scene = Scene::new(stage.clock());
    let server = Server::new(plan, scene.clone());
    stage.server(REDIS, server.accept());
    let consumers = (0..plan.consumers.len()).map(|index| consumer(plan, index, fleet, &mut *stage, &scene)).collect();
    let producer = producer(plan, &mut *stage, &scene);

    let mut director = Director::new(plan, stage, scene.clone(), consumers, producer, server);
    let end = director.run();
    if plan.has_workers() {
        director.server.stands("end");
    }

    let facts = scene.record().since(0);
    let violations = judge::judge(plan, &facts, end);
    let panics = director.stage.panics().into_iter().chain(scene.panics()).collect();
    let words = director.server.words();
    let sometimes = match plan.has_workers() {
        true => messages::sometimes::count(&facts, &words),
        false => sometimes::count(&facts, &words, director.server.stories()),
    };
    Outcome { facts, end, violations, panics, sometimes }
}

fn stage(plan: &Plan, net: Net) -> Box<dyn Stage> {
    let seed = seeds::of(plan.seed, &[seeds::NETWORK]);
    match net {
        Net::Events => Box::new(Events::new(seed, plan.latency_us).expect("a runtime without threads or sockets")),
        Net::Turmoil => Box::new(Turmoil::new(seed, plan.latency_us)),
    }
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
    let road = stage.connect(host, setup.drift_ppm);
    let checkpoints = Checkpoints::new(scene.clone(), stage.freezer(host), road.clone());
    let connect = Arc::new(Watched { inner: road, checkpoints: checkpoints.clone() });
    let seed = seeds::of(plan.seed, &[index as u64]);
    let consumer = Consumer::new(index, setup.clone(), fleet, seed, connect, scene.clone(), checkpoints);
    place.get_or_init(|| consumer).clone()
}

/// Puts the producers on a host of their own, and starts them.
fn producer(plan: &Plan, stage: &mut dyn Stage, scene: &Scene) -> Rc<Producer> {
    let host = director::host(plan.consumers.len());
    let seed = seeds::of(plan.seed, &[seeds::PRODUCER]);
    let producer = Producer::new(stage.connect(host, 0), scene.clone(), seed);
    stage.host(host, producer.boot());
    stage.start(host);
    producer
}
