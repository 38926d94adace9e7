//! Every message as the facts show it: where it stands, whose it is, and who works on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use streamkeeper::Time;

use super::clock::Clock;
use crate::{
    facts::{Fact, Forgot, What, Who},
    messages::{
        alters,
        facts::{How, Record, Said, Stage, Stock},
    },
    plan::{Action, RedisFault},
};

/// The name under which parked messages are pending.
pub(in crate::messages) const PARKED: &str = streamkeeper_core::messages::keys::DELAYED;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::messages) enum State {
    /// In the stream, not delivered to the group yet.
    Unread,
    /// Delivered, and not acknowledged.
    Pending,
    /// Acknowledged.
    Acked,
    /// Taken away by hand, or forgotten by Redis.
    Gone,
}

/// A message.
#[derive(Clone, Debug)]
pub(in crate::messages) struct Message {
    /// Which message of the run.
    pub(in crate::messages) number: Option<u64>,
    pub(in crate::messages) state: State,
    /// Under whose name it is pending.
    pub(in crate::messages) owner: Option<Arc<str>>,
    /// Under whose name it was pending before.
    pub(in crate::messages) former: Option<Arc<str>>,
    pub(in crate::messages) deliveries: u64,
    /// When it was seen first.
    pub(in crate::messages) came: Time,
    /// When it was delivered last.
    pub(in crate::messages) delivered: Time,
    /// When its idle time began last.
    pub(in crate::messages) confirmed: Time,
    /// Since when it waits for a run: the latest thing that happened to it.
    pub(in crate::messages) since: Time,
    /// When it is due by Redis's clock, if it is parked and that is known.
    pub(in crate::messages) due_ms: Option<u64>,
    pub(in crate::messages) record: Record,
    /// How often it has come into the dead letter stream, as far as Redis remembers.
    pub(in crate::messages) buried: u32,
    /// A hand has taken it out of the stream.
    pub(in crate::messages) by_hand: bool,
    /// It is not in the stream any more.
    pub(in crate::messages) removed: bool,
    /// How the latest run of this delivery ended.
    pub(in crate::messages) ended: Option<How>,
    /// Runs of which the worker says that they have failed, or that were cancelled.
    pub(in crate::messages) failures: u32,
    /// It has succeeded, or was dropped.
    pub(in crate::messages) done: bool,
    /// Its worker said: never again.
    pub(in crate::messages) rejected: bool,
    /// What is called for the dead was called.
    pub(in crate::messages) last_rites: bool,
    /// It was delivered anew, or is to be, as if it had never been: what was written down about it is older.
    pub(in crate::messages) anew: bool,
    /// How often it was taken from somebody who did not end it.
    pub(in crate::messages) reclaimed: u32,
}

/// A run that has not ended.
#[derive(Clone, Debug)]
pub(in crate::messages) struct Run {
    pub(in crate::messages) who: Who,
    pub(in crate::messages) entry: Arc<str>,
    pub(in crate::messages) stage: Stage,
    pub(in crate::messages) began: Time,
    /// Which delivery of the message it is.
    pub(in crate::messages) deliveries: u64,
    /// It was told, rightly, that its message is not its own any more. Redis may remember it otherwise afterwards.
    pub(in crate::messages) lost: bool,
}

/// All messages and runs.
#[derive(Default)]
pub(in crate::messages) struct Ledger {
    pub(in crate::messages) messages: BTreeMap<Arc<str>, Message>,
    /// Whose names the consumers' names in Redis are.
    pub(in crate::messages) names: BTreeMap<Arc<str>, Who>,
    /// Runs that have not ended, in processes that live.
    pub(in crate::messages) runs: BTreeMap<u64, Run>,
    /// What was planned for later, and when that is due by Redis's clock.
    pub(in crate::messages) scheduled: BTreeMap<Arc<str>, u64>,
    /// Redis's clock.
    pub(in crate::messages) clock: Clock,
    /// When Redis last forgot something, or was altered by hand, or its clock was set.
    pub(in crate::messages) altered: Time,
    /// Redis has just come up, and has forgotten so much.
    pub(in crate::messages) forgot: Option<Forgot>,
    /// When a run of this process last succeeded for the first time.
    pub(in crate::messages) successes: BTreeMap<Who, (Time, Arc<str>)>,
}

impl Message {
    fn new(number: Option<u64>, at: Time) -> Message {
        Message {
            number,
            state: State::Unread,
            owner: None,
            former: None,
            deliveries: 0,
            came: at,
            delivered: at,
            confirmed: at,
            since: at,
            due_ms: None,
            record: Record::default(),
            buried: 0,
            by_hand: false,
            removed: false,
            ended: None,
            failures: 0,
            done: false,
            rejected: false,
            last_rites: false,
            anew: false,
            reclaimed: 0,
        }
    }

    pub(in crate::messages) fn is_parked(&self) -> bool {
        self.state == State::Pending && self.owner.as_deref() == Some(PARKED)
    }

    /// It has crashed processes, and runs alone.
    pub(in crate::messages) fn is_suspect(&self) -> bool {
        let known = !self.anew || self.deliveries > 1;
        known && (self.record.crashed >= 2 || (self.record.dying && self.record.crashed >= 1))
    }

    fn belongs_to(&mut self, owner: &Arc<str>, at: Time) {
        if self.owner.as_ref() != Some(owner) {
            self.former = self.owner.replace(owner.clone());
            self.since = at;
        }
        (self.state, self.confirmed) = (State::Pending, at);
    }

    fn is_settled(&mut self) {
        (self.state, self.owner, self.due_ms) = (State::Acked, None, None);
    }
}

impl Ledger {
    /// The process under whose name a message is pending, if it is one's.
    pub(in crate::messages) fn holder(&self, message: &Message) -> Option<Who> {
        self.names.get(message.owner.as_ref()?).copied()
    }

    /// The runs of a message that have not ended.
    pub(in crate::messages) fn runs_of<'a>(&'a self, entry: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.values().filter(move |run| &*run.entry == entry)
    }

    /// The run that the delivery of a message as it is now has led to.
    pub(in crate::messages) fn current_run<'a>(&'a self, entry: &'a str, message: &Message) -> Option<&'a Run> {
        let holder = self.holder(message)?;
        self.runs_of(entry).find(|run| run.who == holder && run.deliveries == message.deliveries)
    }

    /// Hears what happened.
    pub(in crate::messages) fn hear(&mut self, fact: &Fact) {
        let at = fact.at;
        match &fact.what {
            What::Message(said) => self.said(at, said),
            What::Crashed { who } | What::Stopped { who } | What::Terminated { who, .. } => {
                let dead: Vec<u64> =
                    self.runs.iter().filter(|(_, run)| run.who == *who).map(|(number, _)| *number).collect();
                for run in dead {
                    if let Some(run) = self.runs.remove(&run)
                        && let Some(message) = self.messages.get_mut(&run.entry)
                    {
                        message.since = at;
                    }
                }
            }
            What::RedisUp { forgot } => self.forgot = Some(*forgot),
            What::Struck { action, .. } => match action.parse() {
                Ok(Action::Redis(RedisFault::ClockStep { by_ms })) => {
                    self.clock.step(by_ms);
                    self.altered = at;
                }
                Ok(Action::Redis(fault)) if alters(&fault) => self.altered = at,
                _ => {}
            },
            _ => {}
        }
    }

    fn said(&mut self, at: Time, said: &Said) {
        match said {
            Said::Entered { entry, number } => {
                self.messages.insert(entry.clone(), Message::new(*number, at));
            }
            Said::Scheduled { id, due_ms } => drop(self.scheduled.entry(id.clone()).or_insert(*due_ms)),
            Said::Unscheduled { id } => drop(self.scheduled.remove(id)),
            Said::Delivered { by, consumer, entries, .. } => {
                self.name(consumer, *by);
                for entry in entries {
                    let message = self.message(entry, at);
                    // Set back by hand: its deliveries are counted from 1 again.
                    let again = message.deliveries > 0;
                    message.anew |= message.deliveries > 0 || message.record != Record::default();
                    message.belongs_to(consumer, at);
                    (message.deliveries, message.since, message.ended) = (1, at, None);
                    // What was set back by hand comes again, and may be buried again.
                    (message.delivered, message.buried) = (at, 0);
                    self.altered = if again { at } else { self.altered };
                }
            }
            Said::Claimed { by, to, entries, counted, .. } => {
                if &**to != PARKED {
                    self.name(to, *by);
                }
                for entry in entries {
                    let owner = self.messages.get(entry).and_then(|message| message.owner.clone());
                    let taken = owner.is_some_and(|owner| {
                        &**to == PARKED && &*owner != PARKED && self.names.get(&owner).copied() != *by
                    });
                    let message = self.message(entry, at);
                    message.belongs_to(to, at);
                    message.reclaimed += u32::from(taken);
                    if *counted {
                        message.deliveries += 1;
                        (message.since, message.delivered, message.ended) = (at, at, None);
                    }
                }
            }
            Said::Acked { entries, .. } => {
                for entry in entries {
                    if let Some(message) = self.messages.get_mut(entry) {
                        message.is_settled();
                        message.since = at;
                    }
                }
            }
            Said::Buried { entry, .. } => self.message(entry, at).buried += 1,
            Said::Removed { by, entries } => {
                for entry in entries {
                    if let Some(message) = self.messages.get_mut(entry) {
                        message.removed = true;
                        message.by_hand |= by.is_none();
                        if by.is_none() && message.state != State::Acked {
                            message.state = State::Gone;
                        }
                    }
                }
            }
            Said::Due { entry, due_ms, .. } => {
                let message = self.message(entry, at);
                (message.due_ms, message.since) = (Some(*due_ms), at);
            }
            Said::Undue { entries } => {
                for entry in entries {
                    if let Some(message) = self.messages.get_mut(entry) {
                        message.due_ms = None;
                        message.since = at;
                    }
                }
            }
            Said::Recorded { entry, record, .. } => self.message(entry, at).record = record.clone(),
            Said::Forgotten { entries } => {
                for entry in entries {
                    if let Some(message) = self.messages.get_mut(entry) {
                        message.record = Record::default();
                    }
                }
            }
            Said::Began { who, run, entry, stage, deliveries, .. } => {
                self.message(entry, at).last_rites |= *stage == Stage::Dead;
                let (who, entry, stage, deliveries) = (*who, entry.clone(), *stage, *deliveries);
                self.runs.insert(*run, Run { who, entry, stage, began: at, deliveries, lost: false });
            }
            Said::Ended { who, run, entry, how } => self.ended(at, *who, *run, entry, *how),
            Said::Dismissed { consumer, .. } => drop(self.names.remove(consumer)),
            Said::Grouped { after } => {
                let after = place(after);
                for (entry, message) in &mut self.messages {
                    if !message.removed && place(entry) > after && message.state != State::Unread {
                        // What was acknowledged comes again, too.
                        (message.state, message.owner, message.deliveries) = (State::Unread, None, 0);
                        message.anew = true;
                        (message.since, message.buried) = (at, 0);
                    }
                }
                self.altered = at;
            }
            Said::Stands(stock) => self.stands(at, stock),
            Said::Lost { who, run, entry } => {
                let holds = |message: &&Message| !message.removed && self.holder(message) == Some(*who);
                let message = self.messages.get(entry).filter(holds);
                if let Some(run) = self.runs.get_mut(run) {
                    run.lost = message.is_none_or(|message| message.deliveries != run.deliveries);
                }
            }
            Said::Sent { .. } | Said::SendUnknown { .. } | Said::Reclaims { .. } => {}
        }
    }

    fn ended(&mut self, at: Time, who: Who, run: u64, entry: &Arc<str>, how: How) {
        let Some(run) = self.runs.remove(&run) else { return };
        let holds = self.messages.get(entry).and_then(|message| self.holder(message)) == Some(who);
        let message = self.message(entry, at);
        message.since = at;
        message.done |= matches!(how, How::Done | How::Dropped);
        message.rejected |= how == How::Rejected;
        message.failures += u32::from(how.failed() || how == How::Cancelled);
        if run.deliveries == message.deliveries && holds {
            message.ended = Some(how);
        }
        if how == How::Done && run.stage == Stage::Process {
            self.successes.entry(who).or_insert_with(|| (at, entry.clone()));
        }
    }

    fn stands(&mut self, at: Time, stock: &Stock) {
        let changed = stock.why != "end";
        if changed {
            self.altered = if stock.why == "up" && self.forgot == Some(Forgot::Nothing) { self.altered } else { at };
        }
        self.forgot = None;
        let read = stock.read.as_deref().map(place);
        let present: BTreeSet<&Arc<str>> = stock.stream.iter().map(|(entry, _)| entry).collect();
        for (entry, number) in &stock.stream {
            self.messages.entry(entry.clone()).or_insert_with(|| Message::new(*number, at));
        }
        let pending: BTreeMap<&Arc<str>, (&Arc<str>, u64)> =
            stock.pending.iter().map(|(entry, owner, count)| (entry, (owner, *count))).collect();
        let due: BTreeMap<&Arc<str>, u64> = stock.due.iter().map(|(entry, due)| (entry, *due)).collect();
        let records: BTreeMap<&Arc<str>, &Record> =
            stock.records.iter().map(|(entry, record)| (entry, record)).collect();
        let mut dead: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
        stock.dead.iter().for_each(|(entry, _)| *dead.entry(entry).or_default() += 1);
        for (entry, message) in &mut self.messages {
            let before = (message.state, message.owner.clone(), message.deliveries);
            message.record = records.get(entry).map(|record| (*record).clone()).unwrap_or_default();
            message.removed = !present.contains(entry);
            message.buried = dead.get(entry).copied().unwrap_or_default();
            message.due_ms = due.get(entry).copied();
            match pending.get(entry) {
                Some((owner, count)) => {
                    (message.state, message.owner, message.deliveries) =
                        (State::Pending, Some((*owner).clone()), *count);
                }
                None if present.contains(entry) && read.is_none_or(|read| place(entry) > read) => {
                    (message.state, message.owner, message.deliveries) = (State::Unread, None, 0);
                    // Whoever was handed it before a hand set the group back may still have it.
                    message.anew |= stock.why == "hand" && before.0 != State::Unread;
                }
                None if before.0 == State::Acked => {}
                None => (message.state, message.owner) = (State::Gone, None),
            }
            // What comes again may be buried again.
            message.buried = if message.state == State::Acked { message.buried } else { 0 };
            if changed && before != (message.state, message.owner.clone(), message.deliveries) {
                (message.since, message.confirmed, message.ended) = (at, at, None);
            }
        }
        self.scheduled = stock.scheduled.iter().cloned().collect();
    }

    fn name(&mut self, consumer: &Arc<str>, by: Option<Who>) {
        if let Some(who) = by {
            self.names.insert(consumer.clone(), who);
        }
    }

    fn message(&mut self, entry: &Arc<str>, at: Time) -> &mut Message {
        self.messages.entry(entry.clone()).or_insert_with(|| Message::new(None, at))
    }
}

/// An id as it is ordered.
pub(in crate::messages) fn place(entry: &str) -> (u64, u64) {
    let (ms, number) = entry.split_once('-').unwrap_or((entry, "0"));
    (ms.parse().unwrap_or(0), number.parse().unwrap_or(0))
}
