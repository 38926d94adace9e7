//! What befalls the server: the faults of a plan, and the hours after them.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use streamkeeper::Time;

use crate::plan::{RedisFault, Refusal};

use super::{Output, Redis, commands::Command, connection::ConnId, down::Down, reply::Reply};

#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// It does not run.
    down: Option<Down>,
    stalled_until: Option<Time>,
    /// It was started again, and does not know its cluster yet.
    rejoins_until: Option<Time>,
    /// What arrived while it stood still; nothing: the connection was closed.
    unread: VecDeque<(ConnId, Option<Bytes>)>,
    refusals: Vec<(Refusal, Time)>,
    messages: Vec<(Messages, Time)>,
    /// Messages that are not sent yet.
    late: VecDeque<(Time, ConnId, Reply)>,
    /// Keys of a wrong type, and when they are deleted again.
    planted: Vec<(Bytes, Time)>,
    /// Those that were deleted again: an old snapshot brings them back.
    uprooted: Vec<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Messages {
    Drop,
    Delay(Duration),
    Double,
}

impl Faults {
    /// It does not run from now on; what was under way is lost.
    pub(crate) fn take_down(&mut self, down: Down) {
        self.unread.clear();
        self.late.clear();
        self.stalled_until = None;
        self.down = Some(down);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub(crate) fn down_since(&self) -> Option<Time> {
        self.down.as_ref().map(|down| down.since)
    }

    pub(crate) fn down_until(&self) -> Option<Time> {
        self.down.as_ref().map(|down| down.until)
    }

    pub(crate) fn is_failing_over(&self) -> bool {
        self.down.as_ref().is_some_and(|down| !down.restarted)
    }

    /// Whether it does not run already; if so, it stays like that at least until then.
    pub(crate) fn stays_down(&mut self, until: Time) -> bool {
        let down = self.down.as_mut();
        down.map(|down| down.until = down.until.max(until)).is_some()
    }

    /// Something of a wrong type stands under this key, for so long.
    pub(crate) fn plant(&mut self, key: Bytes, until: Time) {
        self.planted.push((key, until));
    }

    /// The key goes to another node: until when what stands there is of a wrong type, if it is.
    pub(crate) fn pull_up(&mut self, key: &Bytes) -> Option<Time> {
        let place = self.planted.iter().position(|(planted, _)| planted == key)?;
        Some(self.planted.swap_remove(place).1)
    }

    /// What is of a wrong type in a copy of the data: what was deleted again may still be there.
    pub(crate) fn planted(&self, now: Time) -> Vec<(Bytes, Time)> {
        let gone = self.uprooted.iter().map(|key| (key.clone(), now));
        self.planted.iter().cloned().chain(gone).collect()
    }

    /// An old snapshot stands from now on: what was planted and deleted since may be in it.
    pub(crate) fn uproot_again(&mut self, now: Time) {
        self.planted.extend(self.uprooted.drain(..).map(|key| (key, now)));
    }

    /// It believes in no cluster before then, or before it is given a role there.
    pub(crate) fn rejoins(&mut self, until: Time) {
        self.rejoins_until = Some(until);
    }

    /// It was given a role in its cluster.
    pub(crate) fn has_joined(&mut self) {
        self.rejoins_until = None;
    }

    /// Whether its cluster is down, as far as it knows.
    pub(crate) fn lacks_cluster(&self) -> bool {
        self.rejoins_until.is_some() || self.refuses(Refusal::ClusterDown)
    }

    fn refuses(&self, with: Refusal) -> bool {
        self.refusals.iter().any(|(refusal, _)| *refusal == with)
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.refuses(Refusal::Loading)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.refuses(Refusal::Busy)
    }

    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.refuses(Refusal::Oom)
    }

    pub(crate) fn cannot_save(&self) -> bool {
        self.refuses(Refusal::Misconf)
    }

    /// A replica that has lost its primary.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.refuses(Refusal::MasterDown)
    }

    /// Whether the users have lost the right to this.
    pub(crate) fn denies(&self, name: &str) -> bool {
        let group = name.split('|').next().unwrap_or(name);
        self.refuses(Refusal::NoPerm) && ["config", "info", "publish", "psubscribe"].contains(&group)
    }

    /// When the next of them ends.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let down = self.down.iter().map(|down| down.until);
        let refusals = self.refusals.iter().map(|(_, until)| *until);
        let messages = self.messages.iter().map(|(_, until)| *until);
        let late = self.late.front().map(|(at, ..)| *at);
        let planted = self.planted.iter().map(|(_, until)| *until);
        let down = down.chain(self.rejoins_until);
        down.chain(self.stalled_until).chain(refusals).chain(messages).chain(late).chain(planted).min()
    }
}

impl Redis {
    /// Something befalls the server. It ends by itself.
    pub fn inject(&mut self, fault: &RedisFault, now: Time) {
        self.advance(now);
        self.set_clock();
        let until = |ms: u64| now + Duration::from_millis(ms);
        match *fault {
            RedisFault::Crash { ms } => self.stop(false, ms),
            RedisFault::Restart { ms } => self.stop(true, ms),
            RedisFault::Failover { ms } => self.fail_over(ms),
            RedisFault::ClockStep { by_ms } => {
                self.stepped_us = self.stepped_us.saturating_add(by_ms.saturating_mul(1000));
            }
            RedisFault::Stall { ms } => self.stall_for(Duration::from_millis(ms)),
            RedisFault::DropMessages { ms } => self.faults.messages.push((Messages::Drop, until(ms))),
            RedisFault::DoubleMessages { ms } => self.faults.messages.push((Messages::Double, until(ms))),
            RedisFault::DelayMessages { by_ms, ms } => {
                self.faults.messages.push((Messages::Delay(Duration::from_millis(by_ms)), until(ms)));
            }
            RedisFault::ClearFlags => self.config.put("notify-keyspace-events", String::new()),
            RedisFault::Refuse { with, ms } => {
                self.faults.refusals.push((with, until(ms)));
                if self.is_replica() {
                    self.send_waiting_away();
                }
            }
            RedisFault::Disconnect => self.disconnect_all(),
            RedisFault::ForgetScripts => self.scripts.clear(),
            RedisFault::FlushAll => drop(self.command(["FLUSHALL"])),
            _ => self.befall_keys(fault, now),
        }
        if !self.is_down() && !self.is_stalled() {
            self.settle();
        }
    }

    /// So many commands of this connection are answered yet. The next one is executed, but its answer is lost with the
    /// connection.
    pub fn lose_answer(&mut self, conn: ConnId, after: u32) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.answers_left = Some(after);
        }
    }

    /// Time passes; what was to end by now ends.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        let now = self.now;
        if self.faults.wake_at().is_none_or(|at| at > now) {
            return;
        }
        if let Some(down) = self.faults.down.take_if(|down| down.until <= now) {
            self.come_up(down);
        }
        self.faults.rejoins_until.take_if(|until| *until <= now);
        let was_replica = self.is_replica();
        self.faults.refusals.retain(|(_, until)| *until > now);
        self.faults.messages.retain(|(_, until)| *until > now);
        if was_replica && !self.is_replica() {
            self.begin_history();
        }
        while self.faults.late.front().is_some_and(|(at, ..)| *at <= now)
            && let Some((_, conn, push)) = self.faults.late.pop_front()
        {
            self.answer(conn, &push);
        }
        for (key, _) in self.faults.planted.extract_if(.., |(_, until)| *until <= now).collect::<Vec<_>>() {
            if self.command([Bytes::from_static(b"TYPE"), key.clone()]) == Reply::status("list") {
                self.command([Bytes::from_static(b"DEL"), key.clone()]);
            }
            self.faults.uprooted.push(key);
        }
        if self.faults.stalled_until.take_if(|until| *until <= now).is_some() {
            for (conn, bytes) in std::mem::take(&mut self.faults.unread) {
                match bytes {
                    Some(bytes) => self.read(conn, &bytes),
                    None => self.drop_connection(conn),
                }
            }
        }
        self.settle();
    }

    /// It runs from now on, if it did not.
    pub(crate) fn rise(&mut self) {
        if let Some(down) = self.faults.down.take() {
            self.come_up(down);
        }
    }

    /// Stands still from now on.
    pub(crate) fn stall_for(&mut self, span: Duration) {
        if !span.is_zero() {
            self.faults.stalled_until = self.faults.stalled_until.max(Some(self.now + span));
        }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.faults.stalled_until.is_some()
    }

    /// Whether what comes from a connection has to wait; it is kept.
    pub(crate) fn stalls(&mut self, conn: ConnId, bytes: Option<&[u8]>) -> bool {
        if self.is_stalled() {
            self.faults.unread.push_back((conn, bytes.map(Bytes::copy_from_slice)));
        }
        self.is_stalled() || self.is_down()
    }

    /// Whether it is a replica to whoever asks it: it follows another server, or refuses as one that does.
    pub(crate) fn is_replica(&self) -> bool {
        self.follows() || self.faults.refuses(Refusal::ReadOnly) || self.faults.is_cut_off()
    }

    /// Whether lapsed keys are looked for.
    pub(crate) fn expires(&self) -> bool {
        self.looks_for_lapsed && !self.is_replica() && !self.faults.is_loading() && !self.faults.is_busy()
    }

    pub(crate) fn refuses_connections(&self) -> bool {
        self.faults.refuses(Refusal::MaxClients) || self.conns().count() >= self.config.maxclients
    }

    pub(crate) fn lacks_replicas(&self) -> bool {
        self.faults.refuses(Refusal::NoReplicas) || self.config.min_replicas > self.replicas()
    }

    /// A cluster that is not whole refuses what has keys.
    pub(crate) fn cluster_is_up(&self, command: Command, args: &[Bytes]) -> Result<(), String> {
        let error = if self.faults.lacks_cluster() {
            "CLUSTERDOWN The cluster is down"
        } else if self.faults.refuses(Refusal::TryAgain) {
            "TRYAGAIN Multiple keys request during rehashing of slot"
        } else {
            return Ok(());
        };
        if command.keys(args).is_empty() { Ok(()) } else { Err(error.to_owned()) }
    }

    /// Whether the answer to this command is lost.
    pub(crate) fn loses_answer(&mut self, conn: ConnId) -> bool {
        let left = &mut self.connection(conn).answers_left;
        let lost = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        lost
    }

    /// An answer is lost, and with it the connection.
    pub(crate) fn lose(&mut self, conn: ConnId) {
        self.kill(conn);
        if self.observed_keys.is_some() {
            self.out.push_back(Output::AnswerLost(conn));
        }
    }

    /// Sends a message, if the faults let it.
    pub(crate) fn push(&mut self, conn: ConnId, push: Reply) {
        let has = |kind: Messages| self.faults.messages.iter().any(|(messages, _)| *messages == kind);
        let delay = self.faults.messages.iter().find_map(|(messages, _)| match messages {
            Messages::Delay(by) => Some(*by),
            _ => None,
        });
        if has(Messages::Drop) {
            return;
        }
        for _ in 0..if has(Messages::Double) { 2 } else { 1 } {
            match delay {
                Some(by) => self.faults.late.push_back((self.now + by, conn, push.clone())),
                None => self.answer(conn, &push),
            }
        }
    }
}
