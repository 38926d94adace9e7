//! The questions that the machine asks Redis, and the answers: reading owned streams and committing positions, as data.
//! `docs/entries.md` has it in prose, `io/src/lua/entries/` is what executes it.

use std::{sync::Arc, time::Duration};

use crate::id::{Attempt, EntryId, StreamName};

/// A call to Redis. Each is answered exactly once, by an [`Answer`] of the same name or by a
/// [`Trouble`](crate::trouble::Trouble).
///
/// [`Call::Identify`], [`Call::Fetch`] and [`Call::Wait`] go over the reader's connection, one at a time; all others over
/// the one for commands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Look at the server: its version.
    Prepare,
    /// Which client of Redis the reader's connection is: what [`Call::Wake`] wakes.
    Identify,
    /// Where owned streams stand: the record of what was committed, and the last entry of those that start at the end.
    Open(Vec<OpenItem>),
    /// Read what stands behind these positions, without waiting. Each stream is looked at in one step.
    Fetch(Vec<FetchItem>),
    /// Wait until one of these streams has an entry behind this position (`XREAD BLOCK … COUNT 1`): a hint, what it reads
    /// is thrown away, and [`Call::Fetch`] reads it.
    Wait {
        /// The streams and positions; shared, since the machine keeps the call until it is answered.
        streams: Arc<[(StreamName, EntryId)]>,
        /// At most that long.
        block: Duration,
    },
    /// End a [`Call::Wait`] at once (`CLIENT UNBLOCK`).
    Wake {
        /// Which client: the answer to [`Call::Identify`].
        client: u64,
    },
    /// Write positions, and the application's own writes with them: each item all or nothing, fenced.
    Commit(Vec<CommitItem>),
    /// Copy entries that cannot be decoded to `S-dead-entries`, fenced. An entry that stands there already (among the
    /// last 1,000) is not copied again.
    SetAside(Vec<AsideItem>),
}

/// A stream to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenItem {
    /// The stream.
    pub stream: StreamName,
    /// The id of its last entry is asked for, too.
    pub last: bool,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Opened {
    /// Known.
    Known {
        /// What was committed; `None`: nothing ever.
        record: Option<Record>,
        /// The last entry's id, if it was asked for; `0-0` for a stream that is not there.
        last: Option<EntryId>,
    },
    /// It cannot be told: a record that cannot be read, or a key of a wrong type.
    Broken(Box<str>),
}

/// What stands in `S-checkpoints` for a stream: `<position> <read or -> <attempt>.<number or ->`. A bare position, as a
/// hand may write it, is one too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Everything up to here was worked on; `0-0`: nothing yet.
    pub position: EntryId,
    /// How many entries had ever been added to the stream up to the position, where that is known: tells a stream that was
    /// trimmed behind its reader from one that was trimmed under it.
    pub read: Option<u64>,
    /// The last commit with writes: tells a repeat from a new one, and that Redis has forgotten one.
    pub mark: Option<Mark>,
}

/// One commit with writes: the ownership that made it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The ownership.
    pub attempt: Attempt,
    /// Counts up from 1.
    pub number: u64,
}

/// A stream to be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchItem {
    /// The stream.
    pub stream: StreamName,
    /// Behind this id.
    pub after: EntryId,
    /// At most that many.
    pub count: usize,
}

/// What a stream has behind a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fetched {
    /// Entries, none perhaps, in order; and the stream at that very moment.
    Entries(Vec<Entry>, About),
    /// There is no such stream: for now, or not yet.
    Missing,
    /// It cannot be read: a key of a wrong type.
    Broken(Box<str>),
}

/// An entry of a data stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// What it says.
    pub fields: Fields,
}

/// The fields of an entry, as they stand in the stream.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What XINFO STREAM tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// How many entries there are.
    pub length: u64,
    /// How many were ever added; `None` before Redis 7.
    pub added: Option<u64>,
    /// The first entry there is.
    pub first: Option<EntryId>,
    /// The last id that was ever given.
    pub last: EntryId,
}

/// One stream's commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitItem {
    /// The announcement: with the stream, the lease's key.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership: the lease's value.
    pub attempt: Attempt,
    /// The position and mark that are believed to stand there: a commit changes nothing if others do. `0-0` without a
    /// mark also stands for no record at all.
    pub from: (EntryId, Option<Mark>),
    /// The record from now on. Its mark is `from`'s, unless this commit has writes. Where there is no record, it is
    /// written even if its position is `0-0`: who opened an empty stream at its end has decided where it begins.
    pub to: Record,
    /// The application's own writes, tested before the first is made.
    pub writes: Arc<[Write]>,
}

/// What became of a [`CommitItem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Committed {
    /// It stands there, by this call or, its answer lost, by an earlier one.
    Done,
    /// Something else stands there: Redis has forgotten commits, or somebody's hand wrote. Nothing changed.
    Conflict(Record),
    /// The lease is somebody else's. Nothing changed.
    Fenced,
    /// There is no lease: it has lapsed, or Redis has forgotten it and its owner may create it again. Nothing changed.
    Absent,
    /// A write cannot be made: which (from 0 on), and why. Nothing changed.
    Rejected(usize, Box<str>),
    /// It cannot be judged: a key of a wrong type, a record that cannot be read. Nothing changed.
    Broken(Box<str>),
}

/// An entry to set aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsideItem {
    /// The announcement: with the stream, the lease's key.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership: the lease's value.
    pub attempt: Attempt,
    /// Which of its entries.
    pub id: EntryId,
    /// What it says.
    pub fields: Fields,
    /// What is wrong with it.
    pub error: Box<str>,
}

/// What became of an [`AsideItem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Aside {
    /// It stands in `S-dead-entries`.
    Done,
    /// The lease is not ours, or not there for now: nothing changed.
    Fenced,
    /// It cannot be written: a key of a wrong type, or one that this user may not write.
    Broken(Box<str>),
}

/// One write of the application, made with a commit. A closed set, so that everything that could go wrong is tested
/// before the first one is made. Values are bytes; keys lie in the service's slot on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// `SET key value`, with a time to live if one is given. Replaces whatever was there.
    Set(Key, Vec<u8>, Option<Duration>),
    /// `DEL key`, of whatever type.
    Del(Key),
    /// `PEXPIRE key ttl`.
    Expire(Key, Duration),
    /// `INCRBY key by`: on a whole number, without overflow.
    IncrBy(Key, i64),
    /// `HSET key field value …`.
    HSet(Key, Vec<(Vec<u8>, Vec<u8>)>),
    /// `HDEL key field …`.
    HDel(Key, Vec<Vec<u8>>),
    /// `HINCRBY key field by`: on a whole number, without overflow.
    HIncrBy(Key, Vec<u8>, i64),
    /// `SADD key member …`.
    SAdd(Key, Vec<Vec<u8>>),
    /// `SREM key member …`.
    SRem(Key, Vec<Vec<u8>>),
    /// `ZADD key score member …`; scores are no NaN.
    ZAdd(Key, Vec<(Score, Vec<u8>)>),
    /// `ZREM key member …`.
    ZRem(Key, Vec<Vec<u8>>),
    /// `RPUSH key value …`.
    RPush(Key, Vec<Vec<u8>>),
    /// `XADD key * field value …`, trimmed to about so many entries if a number is given.
    XAdd(Key, Vec<(Vec<u8>, Vec<u8>)>, Option<u64>),
}

/// A key of the application.
pub type Key = Box<[u8]>;

/// The score of a member of a sorted set: its IEEE 754 bits, so that the machine's calls can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Score(pub u64);

/// What is known of the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// `redis 7.0.15`, `valkey 9.1.2`.
    pub version: Box<str>,
    /// Whether XINFO STREAM tells how many entries were ever added (Redis 7).
    pub counts_added: bool,
}

/// An answer to a [`Call`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The server.
    Prepared(Server),
    /// The reader's client id; `None`: the server does not tell, or CLIENT is refused.
    Identified(Option<u64>),
    /// One for each item.
    Opened(Vec<Opened>),
    /// One for each item.
    Fetched(Vec<Fetched>),
    /// Which of the streams have something, by index; none: the time is up, or it was woken.
    Waited(Vec<usize>),
    /// Whether the client was blocked; `None`: CLIENT UNBLOCK is refused.
    Woken(Option<bool>),
    /// One for each item.
    Committed(Vec<Committed>),
    /// One for each item.
    SetAside(Vec<Aside>),
}

impl Call {
    /// Its name, for logs and meters, and the same as that of the [`Answer`] to it.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Prepare => "prepare",
            Call::Identify => "identify",
            Call::Open(_) => "open",
            Call::Fetch(_) => "fetch",
            Call::Wait { .. } => "wait",
            Call::Wake { .. } => "wake",
            Call::Commit(_) => "commit",
            Call::SetAside(_) => "set_aside",
        }
    }
}

impl Answer {
    /// The name of the call that it answers.
    pub fn name(&self) -> &'static str {
        match self {
            Answer::Prepared(_) => "prepare",
            Answer::Identified(_) => "identify",
            Answer::Opened(_) => "open",
            Answer::Fetched(_) => "fetch",
            Answer::Waited(_) => "wait",
            Answer::Woken(_) => "wake",
            Answer::Committed(_) => "commit",
            Answer::SetAside(_) => "set_aside",
        }
    }
}

/// Where the reading of a stream begins that nothing was ever committed of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// At its first entry.
    #[default]
    Beginning,
    /// Behind the entry that is the last one when it is opened; that is committed at once, so that a takeover begins
    /// there, too.
    End,
    /// Behind this entry.
    After(EntryId),
    /// At the first entry whose id is of this time or later: milliseconds since 1970.
    At {
        /// The milliseconds part of an id.
        unix_ms: u64,
    },
}
