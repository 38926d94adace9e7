//! A story: one consumer's machine, told what happens to it, and everything that it answers, written down so that
//! anybody can read it. What is routine (the heartbeat's questions, looking for orphans that are not there) is
//! answered by itself after a millisecond, and not told, unless a story is about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    config::{Config, Settings},
    id::{CallId, ConsumerId, EntryId, Identity, StreamName},
    keys::Keys,
    streams::{
        Answer, Call, Command, End, Event, Link, Load, Machine, Output, Wake,
        call::{Acquired, Delivery, EpochAnswer, Fields, Finished, Fleet, Released, RenewException, Renewed, Server},
    },
    time::Time,
    trouble::Trouble,
};

use super::{answers::grant, words};

/// The id of an announcement.
pub(crate) fn entry(number: u64) -> EntryId {
    EntryId { ms: number, seq: 0 }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A machine, and what became of it so far.
pub(crate) struct Story {
    machine: Machine,
    now: Time,
    wake: Option<Wake>,
    asked: BTreeMap<CallId, Call>,
    /// Answers on their way.
    coming: Vec<(Time, CallId, Answer)>,
    /// What the machine is answered with by the story alone.
    by_hand: BTreeSet<&'static str>,
    lines: Vec<String>,
    said: bool,
    /// Everything that is announced.
    pending: BTreeMap<EntryId, Fields>,
    pub(crate) fleet: Fleet,
    /// How long nobody has touched what is pending.
    pub(crate) idle: Duration,
    identity: &'static str,
    wait: Option<&'static str>,
}

/// Whether an output of that call's is routine.
fn is_routine(call: &Call) -> bool {
    matches!(call, Call::Ping | Call::Epoch(_) | Call::Reap { .. } | Call::Mine { .. } | Call::Read { .. })
        || matches!(call, Call::Take { .. } | Call::Clean)
}

impl Story {
    /// A machine that has not been told anything.
    pub(crate) fn unborn(change: fn(&mut Settings)) -> Story {
        Story::with_keys(Keys::plain("svc").expect("a good name"), change)
    }

    fn with_keys(keys: Keys, change: fn(&mut Settings)) -> Story {
        let mut settings = Settings::default();
        change(&mut settings);
        let machine = Machine::new(
            keys,
            ConsumerId::named("me").expect("a good name"),
            Config::new(settings).expect("good settings"),
            7,
        );
        Story {
            machine,
            now: Time::ZERO,
            wake: None,
            asked: BTreeMap::new(),
            coming: Vec::new(),
            by_hand: ["acquire", "done", "release"].into(),
            lines: Vec::new(),
            said: false,
            pending: BTreeMap::new(),
            fleet: Fleet { announced: 1, consumers: 1, rank: 0 },
            idle: ms(3_000),
            identity: "run-1:repl-1",
            wait: None,
        }
    }

    /// A machine that is connected and waits for announcements; how it came to that is the first story.
    pub(crate) fn started(change: fn(&mut Settings)) -> Story {
        Story::unborn(change).start()
    }

    /// The same in the layout for Redis Cluster.
    pub(crate) fn tagged() -> Story {
        Story::with_keys(Keys::hash_tagged("svc").expect("a good name"), |_| {}).start()
    }

    fn start(mut self) -> Story {
        self.event(Event::Timeout);
        for link in [Link::Commands, Link::Reader, Link::Subscriber] {
            self.event(Event::Connected(link));
        }
        self.at(5);
        self.lines = vec!["at 0 ms     the consumer has connected and waits for announcements".to_owned()];
        self
    }

    /// This call is told, and answered only by the story.
    pub(crate) fn by_hand(&mut self, call: &'static str) -> &mut Story {
        self.by_hand.insert(call);
        self
    }

    /// This call is answered by itself from here on: with good news.
    pub(crate) fn by_itself(&mut self, call: &'static str) -> &mut Story {
        self.by_hand.remove(call);
        for (id, asked) in self.asked.clone() {
            if asked.name() == call && !self.coming.iter().any(|(_, known, _)| *known == id) {
                self.answer_by_itself(id, &asked);
            }
        }
        self
    }

    /// Time passes until that instant, and what is due happens.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Story {
        let until = Time::from_millis(millis);
        loop {
            let answer = self.coming.iter().map(|(at, ..)| *at).min();
            let wake = self.wake.map(|wake| wake.at.max(self.now));
            let Some(next) = [answer, wake].into_iter().flatten().min().filter(|next| *next <= until) else { break };
            self.now = next;
            if answer == Some(next) {
                let at = self.coming.iter().position(|(at, ..)| *at == next).expect("it is there");
                let (_, id, answer) = self.coming.remove(at);
                if self.asked.remove(&id).is_some() {
                    let text = format!("{} is answered: {}", answer.name(), words::answer(&answer));
                    self.tell(&text, Event::Answered(id, Ok(answer)), false);
                }
            } else {
                let why = self.wake.map_or("", |wake| wake.why);
                self.tell(&format!("due: {why}"), Event::Timeout, false);
            }
        }
        self.now = until;
        self
    }

    /// The process stands still until that instant: nothing of what is due happens.
    pub(crate) fn frozen_until(&mut self, millis: u64) -> &mut Story {
        self.now = Time::from_millis(millis);
        self
    }

    /// Something happens now.
    pub(crate) fn event(&mut self, event: Event) -> &mut Story {
        let text = words::event(&event);
        self.tell(&text, event, true);
        self
    }

    /// Hands an event over. Unless it is told anyway, it is told only if something follows from it.
    fn tell(&mut self, text: &str, event: Event, anyway: bool) {
        let head = self.head(text);
        self.said = false;
        if anyway {
            self.say(&head, None);
        }
        self.machine.handle(event, self.now);
        loop {
            match self.machine.poll() {
                Output::Wait(wake) => {
                    self.wake = wake;
                    break;
                }
                output => self.output(&head, output),
            }
        }
    }

    fn head(&self, text: &str) -> String {
        format!("at {:<9}{text}", format!("{} ms", self.now.as_micros() / 1_000))
    }

    fn say(&mut self, head: &str, line: Option<String>) {
        if !self.said {
            self.lines.push(head.to_owned());
            self.said = true;
        }
        if let Some(line) = line {
            self.lines.push(format!("            {line}"));
        }
    }

    fn output(&mut self, head: &str, output: Output) {
        if let Output::Command(Command::Call(id, call)) = &output {
            self.asked.insert(*id, call.clone());
            let by_hand = self.by_hand.contains(call.name());
            if by_hand || !is_routine(call) {
                self.say(head, Some(words::output(&output)));
            }
            if !by_hand {
                self.answer_by_itself(*id, call);
            }
            return;
        }
        let line = words::output(&output);
        if !line.is_empty() {
            self.say(head, Some(line));
        }
    }

    fn answer_by_itself(&mut self, id: CallId, call: &Call) {
        let answer = match call {
            Call::Prepare => Answer::Prepared(Server {
                identity: Identity::new(self.identity),
                version: "7.0.15".into(),
                skipped: 0,
                expiry_notifications: true,
                warnings: Vec::new(),
            }),
            Call::Epoch(_) => Answer::Epoch(self.epoch()),
            Call::Ping => Answer::Pong,
            Call::Read { block, .. } => {
                let at = self.now + *block;
                return self.coming.push((at, id, Answer::Read(Vec::new())));
            }
            Call::Take { .. } => Answer::Taken { deliveries: Vec::new(), more: false },
            Call::Look(entries) => Answer::Looked { fleet: self.fleet, deliveries: self.looked(entries) },
            Call::Mine { .. } => Answer::Mine(Vec::new()),
            Call::Renew(_) => Answer::Renewed(Renewed::default()),
            Call::Hint(_) => Answer::Hinted,
            Call::Ring { .. } => Answer::Rung,
            Call::Reap { .. } => Answer::Reaped { idle: Vec::new(), announced: 0 },
            Call::Bury { .. } => Answer::Buried(true),
            Call::Forget { entries, .. } => Answer::Forgotten(entries.clone()),
            Call::Clean => Answer::Cleaned(Vec::new()),
            Call::Acquire(call) => Answer::Acquired(vec![Acquired::Held(ms(3_000)); call.items.len()]),
            Call::Done(items) => Answer::Done(vec![Finished::Done; items.len()]),
            Call::Release(items) => Answer::Released(vec![Released::Released; items.len()]),
        };
        self.coming.push((self.now + ms(1), id, answer));
    }

    fn epoch(&self) -> EpochAnswer {
        let wait = self.wait.map(Into::into);
        EpochAnswer {
            identity: Identity::new(self.identity),
            wait,
            longest_ttl: ms(3_000),
            consumers: self.fleet.consumers,
        }
    }

    fn look(&self, entries: &[EntryId]) -> Vec<Delivery> {
        let known = entries.iter().filter_map(|entry| self.pending.get(entry).map(|fields| (*entry, fields.clone())));
        known.map(|(entry, fields)| Delivery { entry, fields: (!fields.is_empty()).then_some(fields) }).collect()
    }

    fn looked(&self, entries: &[EntryId]) -> Vec<(Delivery, Duration)> {
        self.look(entries).into_iter().map(|delivery| (delivery, self.idle)).collect()
    }

    /// The server is this one from here on, and the fleet has settled on it, or waits.
    pub(crate) fn server(&mut self, identity: &'static str, wait: Option<&'static str>) -> &mut Story {
        (self.identity, self.wait) = (identity, wait);
        self
    }

    /// An announcement is pending: whoever looks at it will see this.
    pub(crate) fn pending(&mut self, number: u64, stream: &str) -> &mut Story {
        let stream = StreamName::new(stream).expect("a good name");
        let json = Announcement::to_json(&stream, None);
        self.pending.insert(entry(number), vec![(FIELD.into(), json.into_bytes())]);
        self
    }

    /// Something that is no announcement is pending; without any fields, it was trimmed away.
    pub(crate) fn pending_raw(&mut self, number: u64, fields: Fields) -> &mut Story {
        self.pending.insert(entry(number), fields);
        self
    }

    /// The reader comes back with these.
    pub(crate) fn reads(&mut self, numbers: &[u64]) -> &mut Story {
        let entries: Vec<EntryId> = numbers.iter().map(|number| entry(*number)).collect();
        let deliveries = self.look(&entries);
        self.answer("read", Answer::Read(deliveries))
    }

    /// An announcement arrives and is granted at once: how that goes is a story of its own.
    pub(crate) fn owns(&mut self, number: u64, stream: &str, token: u64) -> &mut Story {
        let told = self.lines.len();
        self.pending(number, stream).reads(&[number]).grants(&[token]);
        self.lines.truncate(told);
        let line = self.head(&format!("{stream} ({number}-0) is owned, token {token}"));
        self.lines.push(line);
        self
    }

    /// The oldest call of this name is answered.
    pub(crate) fn answer(&mut self, call: &str, answer: Answer) -> &mut Story {
        let id = self.oldest(call);
        let text = format!("{call} is answered: {}", words::answer(&answer));
        self.tell(&text, Event::Answered(id, Ok(answer)), true);
        self
    }

    /// The oldest call of this name fails.
    pub(crate) fn fails(&mut self, call: &str, trouble: Trouble) -> &mut Story {
        let id = self.oldest(call);
        self.tell(&format!("{call} fails: {trouble}"), Event::Answered(id, Err(trouble)), true);
        self
    }

    fn oldest(&mut self, call: &str) -> CallId {
        let found = self.asked.iter().find(|(_, asked)| asked.name() == call).map(|(id, _)| *id);
        let id = found.unwrap_or_else(|| panic!("nobody asked {call}\n{}", self.text()));
        self.asked.remove(&id);
        self.coming.retain(|(_, other, _)| *other != id);
        id
    }

    /// Everything that the oldest acquire asked for is granted, with these tokens.
    pub(crate) fn grants(&mut self, tokens: &[u64]) -> &mut Story {
        let answer = Answer::Acquired(tokens.iter().map(|token| grant(*token)).collect());
        self.answer("acquire", answer)
    }

    /// The oldest acquire is answered so.
    pub(crate) fn acquired(&mut self, answers: Vec<Acquired>) -> &mut Story {
        self.answer("acquire", Answer::Acquired(answers))
    }

    /// The oldest renewal has these exceptions.
    pub(crate) fn renewed(&mut self, exceptions: Vec<(usize, RenewException)>) -> &mut Story {
        self.answer("renew", Answer::Renewed(Renewed { exceptions, group_lost: None }))
    }

    /// Taking brings these, and that is all there is.
    pub(crate) fn takes(&mut self, numbers: &[u64]) -> &mut Story {
        let entries: Vec<EntryId> = numbers.iter().map(|number| entry(*number)).collect();
        let deliveries = self.look(&entries);
        self.answer("take", Answer::Taken { deliveries, more: false })
    }

    /// Taking brings these, and there is more, which is the share of others.
    pub(crate) fn taken_of_more(&mut self, numbers: &[u64]) -> &mut Story {
        let entries: Vec<EntryId> = numbers.iter().map(|number| entry(*number)).collect();
        let deliveries = self.look(&entries);
        self.answer("take", Answer::Taken { deliveries, more: true })
    }

    /// What is there is the share of others.
    pub(crate) fn withheld(&mut self) -> &mut Story {
        self.answer("take", Answer::Taken { deliveries: Vec::new(), more: true })
    }

    pub(crate) fn stray(&mut self) -> &mut Story {
        self.event(Event::Answered(CallId(9_999), Ok(Answer::Renewed(Renewed::default()))))
    }

    pub(crate) fn hint(&mut self, number: u64, stream: &str) -> &mut Story {
        self.event(Event::KeyExpired(format!("{stream}<MUTEX_KEY_SEP>{number}-0")))
    }

    pub(crate) fn done(&mut self, number: u64) -> &mut Story {
        self.event(Event::Done(entry(number)))
    }

    pub(crate) fn release(&mut self, number: u64, error: Option<&str>) -> &mut Story {
        self.event(Event::Release(entry(number), error.map(Into::into)))
    }

    pub(crate) fn drain(&mut self) -> &mut Story {
        self.event(Event::Drain)
    }

    pub(crate) fn shutdown(&mut self, end: End, deadline: u64) -> &mut Story {
        self.event(Event::Shutdown(end, Time::from_millis(deadline)))
    }

    pub(crate) fn disconnected(&mut self, link: Link) -> &mut Story {
        self.event(Event::Disconnected(link, Trouble::connection("connection reset by peer")))
    }

    pub(crate) fn connected(&mut self, link: Link) -> &mut Story {
        self.event(Event::Connected(link))
    }

    /// Whether this announcement's lease is valid now; told as a line.
    pub(crate) fn valid(&mut self, number: u64) -> &mut Story {
        let valid = self.machine.owns(entry(number), self.now);
        let line = self.head(&format!("is_valid({number}-0) = {valid}"));
        self.lines.push(line);
        self
    }

    /// How much of the capacity is taken up; told as a line.
    pub(crate) fn load(&mut self) -> &mut Story {
        let Load { held, owned } = self.machine.load();
        let line = self.head(&format!("{held} are held, {owned} of them owned"));
        self.lines.push(line);
        self
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Compares the story with the one that is on record.
    pub(crate) fn ends(&self, name: &str, about: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("told");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_description(about);
        settings.bind(|| insta::assert_snapshot!(name, self.text()));
    }
}
