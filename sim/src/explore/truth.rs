//! What is true of an explored world, whatever anybody believes: the promises are held against it after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use streamkeeper::Time;
use streamkeeper_core::{
    id::{Attempt, EntryId, StreamName, Token},
    streams::{
        Answer, Call, Notification,
        call::{Acquired, Finished, Released},
    },
};

/// A broken promise: its name, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub promise: &'static str,
    /// Who, which stream, and how.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is broken: {}", self.promise, self.how)
    }
}

pub(crate) type Verdict = Result<(), Broken>;

pub(crate) fn broken(promise: &'static str, how: impl Into<String>) -> Verdict {
    Err(Broken { promise, how: how.into() })
}

/// What is known from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    pub(crate) streams: BTreeMap<EntryId, Stream>,
    /// What each consumer was told that it owns.
    told: BTreeMap<usize, BTreeSet<EntryId>>,
    /// When the last fault ended, or the last wish was fulfilled.
    pub(crate) calm_since: Time,
    /// Somebody crashed or stood still: the reaper may have been among them.
    pub(crate) reaper_lost: bool,
    /// The server has started again: the fleet waits for a ttl before anything is acquired.
    pub(crate) restarted: bool,
    /// Redis has forgotten something.
    pub(crate) data_lost: bool,
}

/// One announced stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) name: StreamName,
    /// The latest ownership that Redis has granted.
    pub(crate) granted: Option<(Token, Attempt)>,
    /// When its owner's heartbeat was last executed.
    pub(crate) heartbeat: Time,
    /// Redis has executed its end.
    pub(crate) finished: bool,
    /// The owners by their own clocks, now.
    pub(crate) owners: BTreeSet<usize>,
}

impl Truth {
    pub(crate) fn announced(&mut self, entry: EntryId, name: StreamName, now: Time) {
        let stream = Stream { name, granted: None, heartbeat: now, finished: false, owners: BTreeSet::new() };
        self.streams.insert(entry, stream);
        self.calm_since = now;
    }

    /// Redis has executed a call, and this is its answer, whether it is heard or not.
    pub(crate) fn executed(&mut self, call: &Call, answer: &Answer, now: Time) -> Verdict {
        match (call, answer) {
            (Call::Acquire(call), Answer::Acquired(answers)) => {
                for (item, answer) in call.items.iter().zip(answers) {
                    if let Acquired::Granted(grant) = answer {
                        self.granted(item.entry, grant.token, item.attempt, now)?;
                    }
                }
            }
            (Call::Renew(call), Answer::Renewed(answer)) => {
                for (index, item) in call.items.iter().enumerate() {
                    let kept = !answer.exceptions.iter().any(|(at, _)| *at == index);
                    if let Some(stream) = self.streams.get_mut(&item.entry)
                        && kept
                    {
                        stream.heartbeat = now;
                    }
                }
            }
            (Call::Done(items), Answer::Done(answers)) => {
                for (item, _) in items.iter().zip(answers).filter(|(_, answer)| **answer == Finished::Done) {
                    self.may_write("done", item.entry, item.attempt)?;
                    if let Some(stream) = self.streams.get_mut(&item.entry) {
                        stream.finished = true;
                    }
                }
            }
            (Call::Release(items), Answer::Released(answers)) => {
                for (item, answer) in items.iter().zip(answers) {
                    // What a rolled back server has forgotten to have granted, it cannot fence a release against.
                    if *answer == Released::Released && !self.data_lost {
                        self.may_write("release", item.entry, item.attempt)?;
                    }
                    if let Some(stream) = self.streams.get_mut(&item.entry)
                        && *answer == Released::Released
                    {
                        stream.heartbeat = stream.heartbeat.max(now);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn granted(&mut self, entry: EntryId, token: Token, attempt: Attempt, now: Time) -> Verdict {
        let Some(stream) = self.streams.get_mut(&entry) else { return Ok(()) };
        if stream.finished && !self.data_lost {
            return broken("finished", format!("{} was finished, and is granted again with {token}", stream.name));
        }
        if let Some((before, by)) = stream.granted
            && by != attempt
            && token <= before
        {
            return broken("fenced", format!("{} is granted with token {token} after {before}", stream.name));
        }
        if let Some((before, by)) = stream.granted
            && by == attempt
            && token != before
        {
            return broken("fenced", format!("one ownership of {} has two tokens: {before}, {token}", stream.name));
        }
        stream.granted = Some((token, attempt));
        stream.finished = false;
        stream.heartbeat = now;
        Ok(())
    }

    /// Only the latest owner changes anything.
    fn may_write(&self, what: &str, entry: EntryId, attempt: Attempt) -> Verdict {
        let Some(stream) = self.streams.get(&entry) else { return Ok(()) };
        match stream.granted {
            Some((_, latest)) if latest == attempt => Ok(()),
            Some((token, _)) => {
                let name = &stream.name;
                broken("fenced", format!("{what} of {name} by an earlier owner: token {token} was granted since"))
            }
            None => broken("fenced", format!("{what} of {}, which nobody was granted", stream.name)),
        }
    }

    /// A consumer told its application.
    pub(crate) fn told(&mut self, node: usize, notification: &Notification) -> Verdict {
        let told = self.told.entry(node).or_default();
        match notification {
            Notification::Added(added) => {
                if !told.insert(added.entry) {
                    return broken("in-order", format!("{} is added twice", added.stream));
                }
                let granted = self.streams.get(&added.entry).and_then(|stream| stream.granted);
                if !self.data_lost && granted.is_some_and(|(token, by)| by == added.attempt && token != added.token) {
                    return broken("fenced", format!("{} is added with a token that was not granted", added.stream));
                }
            }
            Notification::Disowned { entry, stream, .. }
            | Notification::Done { entry, stream, .. }
            | Notification::Released { entry, stream, .. } => {
                if !told.remove(entry) {
                    return broken("in-order", format!("{stream} ends without having been added"));
                }
                if matches!(notification, Notification::Done { .. })
                    && !self.data_lost
                    && !self.streams.get(entry).is_some_and(|stream| stream.finished)
                {
                    return broken("finished", format!("{stream} is said to be done, and is not"));
                }
            }
            Notification::Rejected { entry, .. } => {
                return broken("isolated", format!("{entry} was set aside, and nothing is wrong with it"));
            }
            Notification::Terminated(trouble) => return broken("kept", format!("a consumer gave up: {trouble}")),
            _ => {}
        }
        Ok(())
    }

    /// A consumer has crashed: nobody is told anything there.
    pub(crate) fn crashed(&mut self, node: usize) {
        self.told.remove(&node);
    }

    /// At most one owner.
    pub(crate) fn exclusive(&self) -> Verdict {
        for stream in self.streams.values() {
            if stream.owners.len() > 1 {
                let names: Vec<String> = stream.owners.iter().map(|node| name(*node)).collect();
                return broken("exclusive", format!("{} is owned by {} at once", stream.name, names.join(" and ")));
            }
        }
        Ok(())
    }

    /// Until when a stream without an owner must have one.
    pub(crate) fn due(&self, stream: &Stream, bound: &Bound) -> Time {
        let mut due = stream.heartbeat.max(self.calm_since) + bound.kept;
        if self.reaper_lost {
            due += bound.reaper;
        }
        if self.restarted {
            due += bound.wait;
        }
        due
    }
}

/// What `kept` allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// From an owner's last heartbeat, or the last fault's end, to the next owner.
    pub(crate) kept: Duration,
    /// More, if the reaper was lost.
    pub(crate) reaper: Duration,
    /// More, if the server is another one.
    pub(crate) wait: Duration,
}

/// A consumer's name: `a`, `b`, `c` …
pub(crate) fn name(node: usize) -> String {
    u8::try_from(node)
        .ok()
        .filter(|node| *node < 26)
        .map_or_else(|| node.to_string(), |node| char::from(b'a' + node).to_string())
}
