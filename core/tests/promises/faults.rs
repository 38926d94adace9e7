//! What each action does to the world.

use std::time::Duration;

use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{CallId, EntryId, Identity, StreamName},
    streams::{
        Answer, Event, Link,
        call::{EpochAnswer, Renewed},
    },
    trouble::Trouble,
};

use super::{
    judges::Verdict,
    plan::{Action, ServerFault, Wish},
    redis::{Data, Key, Pending},
    world::{Happening, World},
};

/// The one of them that a number stands for.
fn pick<T>(from: Vec<T>, number: u8) -> Option<T> {
    let at = usize::from(number) % from.len().max(1);
    from.into_iter().nth(at)
}

impl World {
    /// Whether there is such a consumer.
    fn exists(&self, node: usize) -> bool {
        node < self.nodes.len()
    }

    pub(crate) fn act(&mut self, action: &Action) -> Verdict {
        self.note(|| format!("*** {action:?}"));
        match action {
            Action::Run(ms) => self.run(ms * 1_000),
            Action::Announce(number) => {
                self.announce(*number);
                Ok(())
            }
            Action::AnnounceMalformed(number) => {
                let text = pick(vec!["{", "[]", r#"{"DataStreamName":""}"#, "\u{0}"], *number).expect("there are some");
                let field = if number.is_multiple_of(5) { "other" } else { FIELD };
                self.redis.announce(vec![(field.into(), text.into())]);
                Ok(())
            }
            Action::GoTakes(number, ms) => {
                self.go_takes(*number, ms * 1_000);
                Ok(())
            }
            Action::Server(fault) => self.befall(*fault),
            Action::Freeze(ms) => {
                self.server.frozen_until = self.server.frozen_until.max(self.now + ms * 1_000);
                Ok(())
            }
            Action::OutOfMemory(full) => {
                self.redis.out_of_memory = *full;
                Ok(())
            }
            Action::Notifications(told) => {
                self.server.notifications = Some(*told);
                Ok(())
            }
            Action::Evict(number) => {
                if let Some(name) = self.pick_lease(*number) {
                    self.redis.data.leases.remove(&name);
                }
                Ok(())
            }
            Action::Break(number) => {
                if let Some(name) = self.pick_lease(*number) {
                    self.redis.data.leases.insert(name, Key::Wrong);
                }
                Ok(())
            }
            Action::Mend => {
                self.mend();
                Ok(())
            }
            Action::Trim(number) => {
                if self.setup.duplicates
                    && let Some(entry) = pick(self.redis.data.lbs.keys().copied().collect(), *number)
                {
                    self.redis.data.lbs.remove(&entry);
                    self.server.data_was_lost = true;
                }
                Ok(())
            }
            Action::Fare(node, ..)
            | Action::Cut(node, _)
            | Action::Partition(node, _)
            | Action::Pause(node, _)
            | Action::Crash(node)
            | Action::Boot(node)
            | Action::App(node, ..)
            | Action::Drain(node)
            | Action::Shutdown(node, ..)
            | Action::Backlogged(node, _)
            | Action::Stray(node, ..)
            | Action::FalseHint(node, ..)
            | Action::FalseBell(node, _) => {
                if self.exists(*node) {
                    self.act_on(*node, action)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn act_on(&mut self, node: usize, action: &Action) -> Verdict {
        let now = self.now;
        match action {
            Action::Fare(_, kind, fate) => {
                self.nodes[node].fates.push_back((*kind, fate.clone()));
                Ok(())
            }
            Action::Cut(_, link) => self.cut(node, *link),
            Action::Partition(_, ms) => {
                let until = &mut self.nodes[node].partitioned_until;
                *until = (*until).max(now + ms * 1_000);
                Ok(())
            }
            Action::Pause(_, ms) => {
                let until = &mut self.nodes[node].paused_until;
                *until = (*until).max(now + ms * 1_000);
                self.plan(ms * 1_000, Happening::Resumed { node });
                Ok(())
            }
            Action::Crash(_) => {
                self.nodes[node].crash();
                Ok(())
            }
            Action::Boot(_) => self.boot(node),
            Action::App(_, number, wish) => self.wish(node, *number, *wish),
            Action::Drain(_) => {
                self.nodes[node].draining = true;
                self.deliver(node, Event::Drain)
            }
            Action::Shutdown(_, end, ms) => {
                let deadline = self.nodes[node].clock(now + ms * 1_000);
                self.nodes[node].stopping = true;
                self.deliver(node, Event::Shutdown(*end, deadline))
            }
            Action::Backlogged(_, backlogged) => self.deliver(node, Event::Backlogged(*backlogged)),
            Action::Stray(_, id, what) => self.deliver(node, Event::Answered(CallId(u64::from(*id)), stray(*what))),
            Action::FalseHint(_, number, others) => {
                let Some(entry) = self.some_entry(*number) else { return Ok(()) };
                let stream = if *others { "somebody-elses".to_owned() } else { format!("s{}", number % 6) };
                let stream = StreamName::new(&stream).expect("a good name");
                self.deliver(node, Event::KeyExpired(self.keys.lease(&stream, entry)))
            }
            Action::FalseBell(_, number) => {
                let entry = self.some_entry(*number).unwrap_or_default();
                self.deliver(node, Event::Doorbell(format!("{entry} nonsense 1-x {entry}  7-7")))
            }
            _ => Ok(()),
        }
    }

    fn some_entry(&self, number: u8) -> Option<EntryId> {
        pick(self.redis.announced().into_iter().collect(), number)
    }

    fn announce(&mut self, number: u8) {
        let name = format!("s{number}");
        if !self.setup.duplicates && self.is_announced(&name) {
            return;
        }
        let stream = StreamName::new(&name).expect("a good name");
        let json = Announcement::to_json(&stream, Some(r#"{"n":1}"#));
        self.redis.announce(vec![(FIELD.into(), json.into_bytes())]);
    }

    fn is_announced(&self, name: &str) -> bool {
        self.redis.data.lbs.values().any(|fields| stream_of(fields).is_some_and(|stream| stream.as_str() == name))
    }

    fn wish(&mut self, node: usize, number: u8, wish: Wish) -> Verdict {
        if wish == Wish::Claim {
            let offered = self.nodes[node].offered.clone();
            let Some(entry) = pick(offered, number).or_else(|| self.some_entry(number)) else { return Ok(()) };
            return self.deliver(node, Event::Claim(entry));
        }
        let Some(entry) = pick(self.owned_by(node), number) else { return Ok(()) };
        match wish {
            Wish::Done => self.deliver(node, Event::Done(entry)),
            Wish::Release => self.deliver(node, Event::Release(entry, None)),
            Wish::Rest(ms) => self.deliver(node, Event::Rest(entry, Duration::from_millis(ms))),
            Wish::Fail | Wish::Claim => self.deliver(node, Event::Release(entry, Some("it failed".into()))),
        }
    }

    /// A Go peer: SET NX on the lease of what has been idle for its heartbeat, then XCLAIM.
    fn go_takes(&mut self, number: u8, hold: u64) {
        let clock = self.redis.clock;
        self.redis.expire_actively();
        self.publish();
        let Some(group) = &mut self.redis.data.group else { return };
        let idle = i64::try_from(clock).expect("a time") - 2_000_000;
        let old: Vec<EntryId> =
            group.pending.iter().filter(|(_, p)| p.since <= idle).map(|(entry, _)| *entry).collect();
        let Some(entry) = pick(old, number) else { return };
        let Some(stream) = self.redis.data.lbs.get(&entry).and_then(|fields| stream_of(fields)) else { return };
        let name = (stream.to_string(), entry);
        if self.redis.data.leases.contains_key(&name) {
            return;
        }
        self.redis.data.leases.insert(name, Key::Lease { value: "redis-consumer-go".into(), expires: clock + hold });
        let since = i64::try_from(clock).expect("a time");
        let pending = Pending { consumer: "redis-consumer-go".into(), since, deliveries: 2 };
        group.pending.insert(entry, pending);
    }

    /// A lease key may vanish: the idle time is the second witness.
    fn pick_lease(&self, number: u8) -> Option<(String, EntryId)> {
        pick(self.redis.data.leases.keys().cloned().collect(), number)
    }

    pub(crate) fn mend(&mut self) {
        self.redis.data.leases.retain(|_, key| !matches!(key, Key::Wrong));
    }

    fn befall(&mut self, fault: ServerFault) -> Verdict {
        match fault {
            ServerFault::Sync => {
                self.server.snapshot = Some(self.redis.data.clone());
                return Ok(());
            }
            ServerFault::ClockBack(ms) => {
                // A clock that goes back and data that is lost are the documented hole of `fenced` together.
                if !self.server.data_was_lost {
                    self.server.clock_went_back = true;
                    self.clock_offset -= i64::try_from(ms * 1_000).expect("a span");
                    self.set_clock();
                }
                return Ok(());
            }
            ServerFault::DestroyGroup => {
                self.redis.data.group = None;
                return Ok(());
            }
            // Where INFO is refused, a server that forgot leases and kept S-epoch cannot be told from one that did not.
            ServerFault::RestartWithoutLeases | ServerFault::Failover if self.setup.anonymous => return Ok(()),
            _ if self.server.clock_went_back && fault != ServerFault::Restart => return Ok(()),
            ServerFault::FlushAll => {
                self.redis.data = Data::default();
                self.redis.flushed = self.redis.clock;
                self.data_lost();
                return Ok(());
            }
            ServerFault::Restart => {}
            ServerFault::RestartWithoutLeases => self.redis.data.leases.clear(),
            ServerFault::RestartEmpty => {
                self.redis.data = Data::default();
                self.data_lost();
            }
            ServerFault::Failover => {
                self.redis.data = self.server.snapshot.clone().unwrap_or_default();
                self.data_lost();
            }
        }
        self.server.start += 1;
        self.redis.started = self.redis.clock;
        if !self.setup.anonymous {
            self.redis.identity = format!("run-{0}:repl-{0}", self.server.start);
        }
        for node in 0..self.nodes.len() {
            for link in [Link::Subscriber, Link::Commands, Link::Reader] {
                self.cut(node, link)?;
            }
        }
        Ok(())
    }

    fn data_lost(&mut self) {
        self.server.data_was_lost = true;
        self.truth.data_lost();
    }
}

/// The stream that an announcement names.
pub(crate) fn stream_of(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<StreamName> {
    let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    Announcement::parse(pairs).ok().map(|announcement| announcement.stream)
}

/// An answer to no question.
fn stray(what: u8) -> Result<Answer, Trouble> {
    match what % 6 {
        0 => Ok(Answer::Renewed(Renewed::default())),
        1 => Ok(Answer::EpochDiffers),
        2 => Err(Trouble::connection("long ago")),
        3 => Ok(Answer::Acquired(Vec::new())),
        4 => Ok(Answer::Pong),
        _ => Ok(Answer::Epoch(EpochAnswer {
            identity: Identity::new("nobody"),
            wait: None,
            longest_ttl: Duration::from_secs(3),
            consumers: 40,
        })),
    }
}
