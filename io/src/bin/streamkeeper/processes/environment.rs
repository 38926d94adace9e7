//! What a process is told about its stream: its environment.

use streamkeeper::{EntryId, Lease};
use tokio::process::Command;

/// What is the same for all processes.
pub(super) struct Environment {
    /// This consumer's id.
    pub(super) consumer: String,
    /// The service.
    pub(super) service: String,
    /// The server's URL with its password; `None`: processes are not to know it.
    pub(super) redis: Option<String>,
}

impl Environment {
    /// Puts everything into the environment of a command. What is not known is not there, whatever this program's own
    /// environment says.
    pub(super) fn of(&self, lease: &Lease, checkpoint: Option<EntryId>, command: &mut Command) {
        let variables = [
            ("STREAMKEEPER_STREAM", Some(lease.stream().to_string())),
            ("STREAMKEEPER_TOKEN", Some(lease.token().to_string())),
            ("STREAMKEEPER_ENTRY", Some(lease.entry().to_string())),
            ("STREAMKEEPER_INFO", lease.info().map(str::to_owned)),
            ("STREAMKEEPER_CHECKPOINT", checkpoint.map(|id| id.to_string())),
            ("STREAMKEEPER_CONSUMER", Some(self.consumer.clone())),
            ("STREAMKEEPER_SERVICE", Some(self.service.clone())),
            ("STREAMKEEPER_REDIS", self.redis.clone()),
        ];
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if self.redis.is_none() {
            // Where this program may have its own from.
            command.env_remove("REDIS_URL");
        }
    }
}
