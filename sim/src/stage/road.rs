//! How a host's software reaches the world: the shell's seam, the same for every stage.

use std::{io, sync::Arc};

use futures::future::BoxFuture;
use streamkeeper::{ByteStream, Clock, Connect, Link, RedisConnectionInfo};
use tokio::task::spawn_local;

use super::{HostId, freeze::Ice, panics::Panics};

/// Opens a connection to the server.
pub(super) type Dial = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> + Send + Sync>;

/// How one host reaches the server, and where its tasks run.
pub(super) struct Road {
    pub(super) host: HostId,
    pub(super) dial: Dial,
    pub(super) ice: Ice,
    pub(super) clock: Clock,
    pub(super) panics: Panics,
}

impl Road {
    fn spawn_on_host(&self, what: &str, task: BoxFuture<'static, ()>) {
        let watched = self.panics.clone().watch(format!("host {}, {what}", self.host), task);
        spawn_local(self.ice.stills(Box::pin(watched)));
    }
}

impl Connect for Road {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        (self.dial)()
    }

    fn login(&self) -> RedisConnectionInfo {
        RedisConnectionInfo::default()
    }

    fn describe(&self) -> String {
        "the simulated Redis".to_owned()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawn_on_host("a task", task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.spawn_on_host(name, driver);
        Ok(())
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }
}
