//! Look at the server, tell the reader's connection from others, and wake it.

use std::sync::atomic::Ordering;

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{entries::call::Server, trouble::Trouble};

use super::{
    Calls,
    value::{number, odd, text},
};
use crate::wire::{info::Info, troubles::refused};

impl Calls {
    pub(super) async fn prepare(&self, connection: &mut MultiplexedConnection) -> Result<Server, Trouble> {
        let info = match self.send(connection, &redis::cmd("INFO")).await {
            Ok(value) => Info::new(text(&value).unwrap_or_default().into_owned()),
            // Whoever owns streams has said that already.
            Err(trouble) if refused(&trouble) => Info::new(String::new()),
            Err(trouble) => return Err(trouble),
        };
        info.check_version()?;
        self.0.cluster.store(info.get("cluster_enabled") == Some("1"), Ordering::Relaxed);
        Ok(Server { version: info.version().into(), counts_added: info.major().is_some_and(|major| major >= 7) })
    }

    pub(super) async fn identify(&self, connection: &mut MultiplexedConnection) -> Result<Option<u64>, Trouble> {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("ID");
        match self.send(connection, &cmd).await {
            Ok(value) => number(&value).map(Some).ok_or_else(|| odd("identify", &value)),
            Err(trouble) if refused(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    pub(super) async fn wake(
        &self,
        connection: &mut MultiplexedConnection,
        client: u64,
    ) -> Result<Option<bool>, Trouble> {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("UNBLOCK").arg(client);
        match self.send(connection, &cmd).await {
            Ok(Value::Int(woken)) => Ok(Some(woken != 0)),
            Ok(value) => Err(odd("wake", &value)),
            Err(trouble) if refused(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}
