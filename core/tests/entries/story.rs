//! A story: a machine, told what happens to it, and everything that it answers, written down so that anybody can read it.
//! A Redis in memory answers every call after a millisecond, unless the story answers by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper_core::{
    entries::{
        Answer, Call, Command, Config, Event, Link, Machine, Output, Owned, OwnedId, Settings, Ticket,
        call::{Record, Start, Write},
        event::Commit,
    },
    id::{Attempt, CallId, EntryId, StreamName},
    time::Time,
    trouble::Trouble,
};

use super::{redis::Redis, words};

pub(crate) fn id(number: u64) -> EntryId {
    EntryId { ms: number, seq: 0 }
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("a good name")
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn attempt(number: u64) -> Attempt {
    Attempt { incarnation: 1, number }
}

/// A machine, and what became of it so far.
pub(crate) struct Story {
    machine: Machine,
    now: Time,
    wake: Option<Time>,
    pub(crate) redis: Redis,
    asked: BTreeMap<CallId, Call>,
    coming: Vec<(Time, CallId, Result<Answer, Trouble>)>,
    /// A wait that blocks, and until when.
    waiting: Option<(CallId, Time)>,
    by_hand: BTreeSet<&'static str>,
    rollbacks: u32,
    tickets: u64,
    lines: Vec<String>,
    said: bool,
}

fn is_routine(call: &Call) -> bool {
    matches!(call, Call::Prepare | Call::Identify)
}

impl Story {
    /// A machine that has not been told anything.
    pub(crate) fn unborn(change: fn(&mut Settings)) -> Story {
        let mut settings = Settings { batch: 3, prefetch: 6, ..Settings::default() };
        change(&mut settings);
        Story {
            machine: Machine::new(Config::new(settings).expect("good settings"), 7),
            now: Time::ZERO,
            wake: None,
            redis: Redis::default(),
            asked: BTreeMap::new(),
            coming: Vec::new(),
            waiting: None,
            by_hand: BTreeSet::new(),
            rollbacks: 0,
            tickets: 0,
            lines: Vec::new(),
            said: false,
        }
    }

    /// This call is answered only by the story.
    pub(crate) fn by_hand(&mut self, call: &'static str) -> &mut Story {
        self.by_hand.insert(call);
        self
    }

    /// This call is answered by itself.
    pub(crate) fn by_itself(&mut self, call: &'static str) -> &mut Story {
        self.by_hand.remove(call);
        self
    }

    /// Something happens to Redis.
    pub(crate) fn there(&mut self, text: &str, change: impl FnOnce(&mut Redis)) -> &mut Story {
        let line = self.head(text);
        self.lines.push(line);
        change(&mut self.redis);
        self
    }

    /// Entries are added.
    pub(crate) fn added(&mut self, name: &str, numbers: impl IntoIterator<Item = u64>) -> &mut Story {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let text = match numbers[..] {
            [first, .., last] if numbers.len() > 4 => format!("{} to {}", id(first), id(last)),
            _ => words::list(&numbers, |number| id(*number).to_string()),
        };
        self.there(&format!("added to {name}: {text}"), |redis| {
            numbers.iter().for_each(|number| redis.add(&stream(name), id(*number)));
        })
    }

    /// Somebody has committed before.
    pub(crate) fn was_committed(&mut self, name: &str, record: Record) -> &mut Story {
        self.redis.records.insert(stream(name), record);
        self
    }

    /// A stream is owned, under the number of its ownership.
    pub(crate) fn owned(&mut self, name: &str, number: u64) -> &mut Story {
        let owned = Owned { id: OwnedId(number), entry: id(1_000), stream: stream(name), attempt: attempt(number) };
        self.redis.leases.insert((stream(name), owned.entry), owned.attempt);
        self.event(Event::Owned(owned))
    }

    /// It is owned and read, and what follows from that has happened.
    pub(crate) fn reads(&mut self, name: &str, number: u64, start: Start, room: usize) -> &mut Story {
        self.owned(name, number).read(number, start, room)
    }

    pub(crate) fn read(&mut self, number: u64, start: Start, room: usize) -> &mut Story {
        self.event(Event::Read { id: OwnedId(number), start, room })
    }

    pub(crate) fn room(&mut self, number: u64, count: usize) -> &mut Story {
        self.event(Event::Room(OwnedId(number), count))
    }

    pub(crate) fn commits(&mut self, number: u64, to: u64) -> &mut Story {
        self.wishes(number, Some(id(to)), &[])
    }

    /// Commits, with something added to keys.
    pub(crate) fn commits_with(&mut self, number: u64, to: u64, adds: &[(&str, i64)]) -> &mut Story {
        self.wishes(number, Some(id(to)), adds)
    }

    pub(crate) fn wishes(&mut self, number: u64, to: Option<EntryId>, adds: &[(&str, i64)]) -> &mut Story {
        self.tickets += 1;
        let writes: Arc<[Write]> = adds.iter().map(|(key, by)| Write::IncrBy(key.as_bytes().into(), *by)).collect();
        let (id, ticket, rollbacks) = (OwnedId(number), Ticket(self.tickets), self.rollbacks);
        self.event(Event::Commit(Commit { id, ticket, rollbacks, to, writes }))
    }

    /// The application has taken in that it was rolled back.
    pub(crate) fn knows_of_the_rollback(&mut self) -> &mut Story {
        self.rollbacks += 1;
        self
    }

    /// Time passes until that instant, and what is due happens.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Story {
        let until = Time::from_millis(millis);
        let mut spins = 0;
        loop {
            spins += 1;
            assert!(spins < 10_000, "it spins\n{}", self.text());
            self.serve_reader();
            let answer = self.coming.iter().map(|(at, ..)| *at).min();
            let wake = self.wake.map(|wake| wake.max(self.now));
            let over = self.waiting.map(|(_, until)| until);
            let Some(next) = [answer, wake, over].into_iter().flatten().min().filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            if answer == Some(next) {
                let at = self.coming.iter().position(|(at, ..)| *at == next).expect("it is there");
                let (_, id, result) = self.coming.remove(at);
                self.hand_over(id, result, false);
            } else if wake == Some(next) {
                self.tell("time has passed", Event::Timeout, false);
            }
        }
        self.now = self.now.max(until);
        self
    }

    fn hand_over(&mut self, id: CallId, result: Result<Answer, Trouble>, anyway: bool) {
        let Some(call) = self.asked.remove(&id) else { return };
        let text = match &result {
            Ok(answer) => format!("{} is answered: {}", answer.name(), words::answer(answer)),
            Err(trouble) => format!("{} fails: {trouble}", call.name()),
        };
        self.tell(&text, Event::Answered(id, result), anyway);
    }

    /// A wait is answered as soon as there is something, or when it has lasted for long enough.
    fn serve_reader(&mut self) {
        let Some((id, until)) = self.waiting else { return };
        let Some(Call::Wait { streams, .. }) = self.asked.get(&id) else { return };
        let news = self.redis.news(streams);
        if news != Ok(Vec::new()) || until <= self.now {
            self.waiting = None;
            self.coming.push((self.now + ms(1), id, news.map(Answer::Waited)));
        }
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
        self.lines.extend(line.map(|line| format!("            {line}")));
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
        match call {
            Call::Wait { block, .. } if !block.is_zero() => {
                self.waiting = Some((id, self.now + *block));
            }
            Call::Wake { .. } if !self.redis.no_client => {
                let woken = self.waiting.take();
                if let Some((wait, _)) = woken {
                    self.coming.push((self.now + ms(1), wait, Ok(Answer::Waited(Vec::new()))));
                }
                self.coming.push((self.now + ms(1), id, Ok(Answer::Woken(Some(woken.is_some())))));
            }
            _ => {
                let result = self.redis.execute(call);
                self.coming.push((self.now + ms(1), id, result));
            }
        }
    }

    /// Both connections are made, and what follows from that has happened.
    pub(crate) fn connected(&mut self) -> &mut Story {
        self.event(Event::Connected(Link::Commands)).event(Event::Connected(Link::Reader))
    }

    /// The oldest call of this name is answered.
    pub(crate) fn answer(&mut self, call: &str, answer: Answer) -> &mut Story {
        let id = self.take(call);
        self.hand_over(id, Ok(answer), true);
        self
    }

    /// The oldest call of this name is executed and answered.
    pub(crate) fn goes(&mut self, call: &str) -> &mut Story {
        let id = self.take(call);
        let result = self.redis.execute(&self.asked[&id].clone());
        self.hand_over(id, result, true);
        self
    }

    /// The oldest call of this name fails, and was not executed.
    pub(crate) fn refused(&mut self, call: &str, trouble: Trouble) -> &mut Story {
        let id = self.take(call);
        self.hand_over(id, Err(trouble), true);
        self
    }

    /// The oldest call of this name is executed, but its answer is lost, and with it the connection.
    pub(crate) fn unanswered(&mut self, call: &str) -> &mut Story {
        let id = self.take(call);
        self.redis.execute(&self.asked[&id].clone()).expect("an answer");
        self.hand_over(id, Err(Trouble::connection("no answer in time")), true);
        self
    }

    fn take(&mut self, call: &str) -> CallId {
        let found = self.asked.iter().find(|(_, asked)| asked.name() == call).map(|(id, _)| *id);
        let id = found.unwrap_or_else(|| panic!("nobody asked {call}\n{}", self.text()));
        self.coming.retain(|(_, other, _)| *other != id);
        self.waiting.take_if(|(other, _)| *other == id);
        id
    }

    /// How the machine stands.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// How many calls of this name are under way.
    pub(crate) fn asks(&self, call: &str) -> usize {
        self.asked.values().filter(|asked| asked.name() == call).count()
    }

    /// How many lines of it say this.
    pub(crate) fn says(&self, what: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(what)).count()
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// What was told so far is left out.
    pub(crate) fn in_short(&mut self, text: &str) -> &mut Story {
        self.lines = vec![self.head(text)];
        self
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
