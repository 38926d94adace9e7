//! What can go wrong with a call, as one table: error codes of Redis, and what each means for the protocol.
//!
//! Codes were read off redis-server 7.0.15 and valkey 9; see `docs/protocol.md`, "Trouble".

use std::fmt;

/// A call that failed: what that means, and what the server or the connection said.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// What it means.
    pub kind: TroubleKind,
    /// The text of the error, for people.
    pub message: Box<str>,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TroubleKind {
    /// The connection is gone, or nobody answered in time: the call was executed or not. On a new connection, again.
    Connection,
    /// The server answers, but not this, or not now, and another connection may lead to a better one: `READONLY`,
    /// `MASTERDOWN`, `MOVED`, a demotion, too many clients.
    WrongServer,
    /// The server cannot do it now: `LOADING`, `BUSY`, `MISCONF`, `NOREPLICAS`, `CLUSTERDOWN`, `TRYAGAIN`, `ASK`.
    /// Wait.
    NotNow,
    /// The server's memory is full: what takes no memory still works.
    OutOfMemory,
    /// The group or the whole LBS is gone: recreate it.
    GroupLost,
    /// A key of the protocol holds something else: `WRONGTYPE`. Nobody but a person can mend it.
    WrongType,
    /// The user lacks a right: `NOPERM`, `NOAUTH`, `WRONGPASS`.
    Refused,
    /// The setup cannot work at all: `CROSSSLOT`, a server that is too old, a cluster with the plain key layout.
    Unsupported,
    /// Anything else.
    Other,
}

impl Trouble {
    /// From the code (the first word) and the text of an error reply.
    pub fn from_reply(code: &str, text: &str) -> Trouble {
        use TroubleKind::*;
        let kind = match code {
            "NOGROUP" => GroupLost,
            "UNBLOCKED" if text.contains("no longer exists") => GroupLost,
            "UNBLOCKED" | "READONLY" | "MASTERDOWN" | "MOVED" => WrongServer,
            // While a slot is being moved, some of the keys of a call are here and some there: no node can serve it.
            "LOADING" | "BUSY" | "MISCONF" | "NOREPLICAS" | "CLUSTERDOWN" | "TRYAGAIN" | "ASK" => NotNow,
            "OOM" => OutOfMemory,
            "WRONGTYPE" => WrongType,
            "NOPERM" | "NOAUTH" | "WRONGPASS" => Refused,
            "CROSSSLOT" => Unsupported,
            "ERR" if text.contains("max number of clients") => WrongServer,
            "ERR" if text.contains("requires the key to exist") => GroupLost,
            _ => Other,
        };
        let message = if text.starts_with(code) { text.into() } else { format!("{code} {text}").into() };
        Trouble { kind, message }
    }

    /// A connection that broke, could not be made, or stayed silent.
    pub fn connection(text: impl fmt::Display) -> Trouble {
        Trouble { kind: TroubleKind::Connection, message: text.to_string().into() }
    }

    /// A setup that cannot work.
    pub fn unsupported(text: impl fmt::Display) -> Trouble {
        Trouble { kind: TroubleKind::Unsupported, message: text.to_string().into() }
    }

    /// An answer that makes no sense.
    pub fn other(text: impl fmt::Display) -> Trouble {
        Trouble { kind: TroubleKind::Other, message: text.to_string().into() }
    }
}

impl TroubleKind {
    /// Whether the connection is to be replaced by a new one.
    pub fn needs_new_connection(self) -> bool {
        matches!(self, TroubleKind::Connection | TroubleKind::WrongServer)
    }

    /// Whether the server has changed nothing, and another one, or this one in a moment, may do what was asked.
    pub fn may_pass(self) -> bool {
        matches!(self, TroubleKind::WrongServer | TroubleKind::NotNow)
    }

    /// Whether waiting cannot help: at start this is reported to the caller instead of being tried again.
    pub fn is_fatal_at_start(self) -> bool {
        matches!(self, TroubleKind::WrongType | TroubleKind::Refused | TroubleKind::Unsupported)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.message)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use TroubleKind::*;
        for (code, text, kind) in [
            ("ERR", "The XGROUP subcommand requires the key to exist. Note that …", GroupLost),
            ("NOGROUP", "No such key 'x-input' or consumer group 'x-group'", GroupLost),
            ("UNBLOCKED", "the stream key no longer exists", GroupLost),
            ("UNBLOCKED", "force unblock from blocking operation, instance state changed", WrongServer),
            ("READONLY", "You can't write against a read only replica.", WrongServer),
            ("MASTERDOWN", "Link with MASTER is down", WrongServer),
            ("ERR", "max number of clients reached", WrongServer),
            ("MOVED", "3999 127.0.0.1:6381", WrongServer),
            ("ASK", "3999 127.0.0.1:6381", NotNow),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot", NotNow),
            ("CLUSTERDOWN", "The cluster is down", NotNow),
            ("LOADING", "Redis is loading the dataset in memory", NotNow),
            ("BUSY", "Redis is busy running a script.", NotNow),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", OutOfMemory),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value", WrongType),
            ("NOPERM", "this user has no permissions", Refused),
            ("NOAUTH", "Authentication required.", Refused),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", Unsupported),
            ("ERR", "something new", Other),
            ("NEWCODE", "", Other),
        ] {
            assert_eq!(Trouble::from_reply(code, text).kind, kind, "{code} {text}");
        }
        // Where it is not known whether the call was executed, it is for the caller to repeat it.
        assert!(!Connection.may_pass() && WrongServer.may_pass() && NotNow.may_pass() && !Refused.may_pass());
        assert_eq!(Trouble::from_reply("OOM", "x").to_string(), "OOM x");
        assert_eq!(Trouble::from_reply("OOM", "OOM x").to_string(), "OOM x");
    }
}
