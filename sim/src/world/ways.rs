//! How a host finds its server: straight, or with the connectors of the shell, which run here as they ship.

use std::{
    io,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use streamkeeper::{
    ByteStream, Clock, Cluster, Connect, Dial, Link, RedisConnectionInfo, Sentinel, Sentinels, Settings, Trouble,
};

use super::servers::{Hosts, PRIMARY, service_key};
use crate::{
    plan::{Plan, Topology},
    stage::{HostId, Stage, address::address_of},
};

/// Forgets what an earlier process knew of the servers: called when a process starts.
pub(crate) type Renew = Rc<dyn Fn()>;

/// How this host reaches its servers.
pub(crate) fn reach(plan: &Plan, host: HostId, drift_ppm: i32, stage: &dyn Stage) -> (Arc<dyn Connect>, Renew) {
    if plan.servers.topology == Topology::One {
        return (stage.connect(host, drift_ppm), Rc::new(|| ()));
    }
    let (hosts, dial) = (Hosts::of(plan), stage.dial(host, drift_ppm));
    let key = service_key(plan);
    let cluster = plan.servers.topology == Topology::Cluster;
    let make = move || if cluster { node(&hosts, dial.clone(), &key) } else { sentinel(&hosts, dial.clone()) };
    let way = Arc::new(Renewed { now: Mutex::new(make()) });
    let renewed = way.clone();
    (way, Rc::new(move || *renewed.now() = make()))
}

fn sentinel(hosts: &Hosts, dial: Arc<dyn Dial>) -> Arc<dyn Connect> {
    Arc::new(Sentinel::new(Sentinels {
        primary: PRIMARY.to_owned(),
        addresses: hosts.sentinels.iter().map(|host| address_of(*host)).collect(),
        login: RedisConnectionInfo::default(),
        dial: dial.clone(),
        server_login: RedisConnectionInfo::default(),
        server_tls: false,
        server_dial: dial,
        call_timeout: Settings::default().call_timeout,
    }))
}

/// To the node that serves the slot of this key.
fn node(hosts: &Hosts, dial: Arc<dyn Dial>, key: &str) -> Arc<dyn Connect> {
    let nodes = hosts.data.iter().map(|host| address_of(*host)).collect();
    let cluster = Cluster::at(dial, nodes, RedisConnectionInfo::default(), key);
    Arc::new(cluster.expect("a cluster has nodes"))
}

/// A connector that is another one for each process, while everything around it stays.
struct Renewed {
    now: Mutex<Arc<dyn Connect>>,
}

impl Renewed {
    fn now(&self) -> MutexGuard<'_, Arc<dyn Connect>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<dyn Connect> {
        self.now().clone()
    }
}

impl Connect for Renewed {
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        self.current().open(link)
    }

    fn login(&self) -> RedisConnectionInfo {
        self.current().login()
    }

    fn describe(&self) -> String {
        self.current().describe()
    }

    fn wrong_server(&self, link: Link, said: &Trouble) {
        self.current().wrong_server(link, said);
    }

    fn asks_role(&self) -> bool {
        self.current().asks_role()
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        self.current().moved()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.current().spawn(task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.current().drive(name, driver)
    }

    fn clock(&self) -> Clock {
        self.current().clock()
    }
}
