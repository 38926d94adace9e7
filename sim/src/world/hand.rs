//! Hands that are laid on the server: whoever has it, and looks before they act.

use streamkeeper_core::{id::LEASE_SEPARATOR, keys::Keys};

use super::servers;
use crate::{
    messages,
    plan::Plan,
    redis::{reply::Reply, serve},
};

/// What the stream and its group are called that hands are laid on.
pub(super) struct Names {
    pub(super) stream: String,
    pub(super) group: String,
    /// Other keys, as patterns of KEYS.
    leases: Vec<String>,
    pub(super) of_messages: bool,
}

/// Whoever has the server in their hands, and looks before they act.
pub(super) struct Hand<'a>(pub(super) &'a serve::Server, pub(super) &'a Names);

impl Hand<'_> {
    pub(super) fn is_there(&self) -> bool {
        self.0.with(|redis, _| !redis.is_down() && !redis.is_stalled())
    }

    pub(super) fn has_no_flags(&self) -> bool {
        match self.ask(["CONFIG", "GET", "notify-keyspace-events"]) {
            Reply::Map(pairs) => pairs.iter().all(|(_, flags)| *flags == Reply::bulk("")),
            _ => true,
        }
    }

    pub(super) fn announced(&self) -> u64 {
        match self.ask(["XLEN".to_owned(), self.1.stream.clone()]) {
            Reply::Int(announced) => announced.unsigned_abs(),
            _ => 0,
        }
    }

    pub(super) fn has_group(&self) -> bool {
        matches!(self.ask(["XINFO".to_owned(), "GROUPS".to_owned(), self.1.stream.clone()]), Reply::Array(groups) if !groups.is_empty())
    }

    pub(super) fn has_consumer(&self, id: &str) -> bool {
        let consumers =
            self.ask(["XINFO".to_owned(), "CONSUMERS".to_owned(), self.1.stream.clone(), self.1.group.clone()]);
        let is_it = |field: &(Reply, Reply)| field.1 == Reply::bulk(id.to_owned());
        let Reply::Array(consumers) = consumers else { return false };
        consumers.iter().any(|consumer| matches!(consumer, Reply::Map(fields) if fields.iter().any(is_it)))
    }

    pub(super) fn has_leases(&self) -> bool {
        let any = |pattern: &String| matches!(self.ask(["KEYS".to_owned(), pattern.clone()]), Reply::Array(found) if !found.is_empty());
        self.1.leases.iter().any(any)
    }

    /// Whether this key of the group of messages is there.
    pub(super) fn has(&self, what: &str) -> bool {
        self.ask(["EXISTS".to_owned(), format!("{}:{}:{what}", self.1.stream, self.1.group)]) == Reply::Int(1)
    }

    fn ask<A: Into<bytes::Bytes>>(&self, command: impl IntoIterator<Item = A>) -> Reply {
        self.0.with(|redis, _| redis.command(command))
    }
}

impl Names {
    pub(super) fn delete_consumer(&self, id: &str) -> [String; 5] {
        let (stream, group) = (self.stream.clone(), self.group.clone());
        ["XGROUP".to_owned(), "DELCONSUMER".to_owned(), stream, group, id.to_owned()]
    }

    pub(super) fn of(plan: &Plan) -> Names {
        if plan.has_workers() {
            let (stream, group) = (messages::STREAM.to_owned(), messages::GROUP.to_owned());
            let leases = vec![format!("{stream}:once:*"), format!("{stream}:{group}:reclaimer")];
            return Names { stream, group, leases, of_messages: true };
        }
        let leases = vec![format!("*{}*", LEASE_SEPARATOR)];
        let keys = servers::keys(plan.servers.topology);
        let name = |name: fn(&Keys) -> String| keys.as_ref().map(name).unwrap_or_default();
        Names { stream: name(Keys::lbs), group: name(Keys::group), leases, of_messages: false }
    }
}
