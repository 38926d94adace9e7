//! Servers that change roles while they refuse commands as a replica would.

use streamkeeper::Time;

use super::*;
use crate::{
    plan::Refusal,
    redis::reply::Reply,
    stage::{Stage, events::Events},
};

/// The servers of this topology, and their clock.
fn servers(topology: &str) -> (Servers, Rc<Cell<Time>>) {
    let plan: Plan = format!("seed 1\ntopology {topology}\n").parse().unwrap();
    let now = Rc::new(Cell::new(Time::ZERO));
    let server = |number: usize| {
        let now = now.clone();
        Server::new(Redis::new(&plan.redis, number as u64, Time::ZERO), move || now.get(), |_| ())
    };
    let data = (0..plan.servers.topology.data()).map(server).collect();
    let scene = Scene::new(Events::new(1, (100, 100)).unwrap().clock());
    (Servers::new(&plan, data, Rc::default(), &scene), now)
}

fn size(servers: &Servers, number: usize) -> Reply {
    servers.data[number].with(|redis, _| redis.command(["DBSIZE"]))
}

fn refuse(servers: &Servers, with: Refusal) {
    servers.inject(&RedisFault::Refuse { with, ms: 60_000 });
}

#[test]
fn a_node_that_refuses_as_a_replica_would_keeps_the_half_of_a_slot_that_came_back() {
    for with in [Refusal::MasterDown, Refusal::ReadOnly] {
        let (servers, _) = servers("cluster");
        let key = keys(Topology::Cluster).unwrap().lbs();
        for number in 0..10 {
            let set = ["SET".to_owned(), format!("{key}{number}"), "1".to_owned()];
            servers.primary().with(|redis, _| redis.command(set));
        }
        refuse(&servers, with);
        assert!(servers.begin_move());
        servers.end_switch();
        servers.visited(0);
        assert_eq!((size(&servers, 0), size(&servers, 2)), (Reply::Int(0), Reply::Int(10)), "they have moved");
        assert!(servers.begin_move());
        servers.visited(0);
        servers.end_switch();
        assert_eq!((size(&servers, 0), size(&servers, 2)), (Reply::Int(10), Reply::Int(0)), "they have moved back");
    }
}

#[test]
fn a_former_primary_that_refuses_as_a_replica_would_keeps_what_it_has_until_it_is_told() {
    let (servers, _) = servers("sentinel");
    refuse(&servers, Refusal::ReadOnly);
    servers.begin_switch(10_000, 0, 0, true);
    servers.promote();
    servers.primary().with(|redis, _| redis.command(["SET", "new", "1"]));
    servers.visited(0);
    assert_eq!(size(&servers, 0), Reply::Int(0));
    servers.end_switch();
    servers.visited(0);
    assert_eq!(size(&servers, 0), Reply::Int(1), "it follows now");
}

#[test]
fn a_replica_that_is_started_again_follows_although_it_refuses_as_a_replica_would() {
    let (servers, now) = servers("sentinel");
    refuse(&servers, Refusal::ReadOnly);
    servers.begin_switch(0, 0, 0, true);
    servers.promote();
    servers.end_switch();
    servers.inject(&RedisFault::Kill { server: ServerName::Data(0), ms: 1_000 });
    let pass = |ms: u64| {
        now.set(Time::from_millis(ms));
        servers.data.iter().for_each(|server| server.with(Redis::tick));
    };
    pass(1_000);
    servers.over("redis kill");
    pass(60_000);
    assert!(servers.has_heir(), "it still follows when it does not refuse any more");
}
