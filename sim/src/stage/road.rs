//! How a host's software reaches the world: the shell's seams, the same for every stage.

use std::{io, sync::Arc};

use futures::future::BoxFuture;
use streamkeeper::{Address, ByteStream, Clock, Connect, Link, RedisConnectionInfo};
use tokio::task::spawn_local;

use super::{HostId, REDIS, address, freeze::Ice, panics::Panics};

/// Opens a connection to a server.
pub(super) type Dial = Arc<dyn Fn(HostId) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> + Send + Sync>;

/// How one host reaches the servers, and where its tasks run.
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

/// Where tasks run and which clock holds, however servers are reached: the part that both traits of the shell have.
macro_rules! on_this_host {
    () => {
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
    };
}

/// To the one Redis.
impl Connect for Road {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        (self.dial)(REDIS)
    }

    fn login(&self) -> RedisConnectionInfo {
        RedisConnectionInfo::default()
    }

    fn describe(&self) -> String {
        "the simulated Redis".to_owned()
    }

    on_this_host!();
}

/// To any server, by its address.
impl streamkeeper::Dial for Road {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        match address::server_at(address) {
            Some(server) => (self.dial)(server),
            None => {
                let unknown = format!("{address}: no such host");
                Box::pin(std::future::ready(Err(io::Error::new(io::ErrorKind::NotFound, unknown))))
            }
        }
    }

    on_this_host!();
}
