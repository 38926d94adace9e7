//! A story: one consumer's machine, told what happens to it, and everything that it answers, written down so that anybody
//! can read it. A group in memory answers every call after a millisecond, unless the story answers by hand. What is
//! routine (reading, asking for what is due, looking for what is idle) is not told, unless a story is about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper_core::{
    id::{CallId, EntryId},
    messages::{Answer, Call, Command, Config, Event, Link, Machine, Outcome, Output, RunId, Settings, call::Fields},
    time::Time,
    trouble::Trouble,
};

use super::{
    group::{DELAYED, Group, Name, Pending, Record},
    words,
};

/// The consumer's own name, and that of another one.
const ME: Name = 1;
pub(crate) const OTHER: Name = 2;

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
    wake: Option<Time>,
    pub(crate) group: Group,
    asked: BTreeMap<CallId, Call>,
    coming: Vec<(Time, CallId, Result<Answer, Trouble>)>,
    /// A read that waits, and until when.
    reading: Option<(CallId, usize, Time)>,
    runs: BTreeMap<EntryId, RunId>,
    told: BTreeSet<&'static str>,
    by_hand: BTreeSet<&'static str>,
    lines: Vec<String>,
    said: bool,
}

fn is_routine(call: &Call) -> bool {
    matches!(call, Call::Prepare | Call::Mine { .. } | Call::Read { .. } | Call::Due { .. } | Call::Reclaim)
        || matches!(call, Call::Sweep { .. })
}

impl Story {
    /// A machine that has not been told anything.
    pub(crate) fn unborn(change: fn(&mut Settings)) -> Story {
        let mut settings = Settings { concurrency: 4, prefetch: 4, ..Settings::default() };
        settings.backoff.jitter_percent = 0;
        change(&mut settings);
        let config = Config::new(settings).expect("good settings");
        Story {
            group: Group::new(config.reclaim_idle),
            machine: Machine::new(config, 7),
            now: Time::ZERO,
            wake: None,
            asked: BTreeMap::new(),
            coming: Vec::new(),
            reading: None,
            runs: BTreeMap::new(),
            told: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            lines: Vec::new(),
            said: false,
        }
    }

    /// A machine that is connected and reads; how it came to that is the first story.
    pub(crate) fn started(change: fn(&mut Settings)) -> Story {
        let mut story = Story::unborn(change);
        story.event(Event::Timeout);
        story.event(Event::Connected(Link::Commands)).event(Event::Connected(Link::Reader)).at(100);
        story.lines = vec!["at 0 ms     the consumer has connected and reads".to_owned()];
        story
    }

    /// This call is told, and answered only by the story.
    pub(crate) fn by_hand(&mut self, call: &'static str) -> &mut Story {
        self.by_hand.insert(call);
        self
    }

    /// This call is told, and answered by itself.
    pub(crate) fn told(&mut self, call: &'static str) -> &mut Story {
        self.told.insert(call);
        self.by_hand.remove(call);
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
            let Some(next) = [answer, wake].into_iter().flatten().min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if answer == Some(next) {
                let at = self.coming.iter().position(|(at, ..)| *at == next).expect("it is there");
                let (_, id, result) = self.coming.remove(at);
                if let Some(call) = self.asked.remove(&id) {
                    let text = match &result {
                        Ok(answer) => format!("{} is answered: {}", answer.name(), words::answer(answer)),
                        Err(trouble) => format!("{} fails: {trouble}", call.name()),
                    };
                    self.tell(&text, Event::Answered(id, result), false);
                }
            } else {
                self.tell("time has passed", Event::Timeout, false);
            }
        }
        self.now = self.now.max(until);
        self
    }

    /// A read that waits is answered as soon as there is something, or when it has waited for long enough.
    fn serve_reader(&mut self) {
        let Some((id, count, until)) = self.reading else { return };
        let messages = self.group.read(ME, count, self.now);
        let at = if messages.is_empty() { until } else { self.now + ms(1) };
        if !messages.is_empty() || until <= self.now {
            self.reading = None;
            self.coming.push((at, id, Ok(Answer::Read(messages))));
        } else if !self.coming.iter().any(|(_, other, _)| *other == id) {
            // Looked at again when it is over.
            self.coming.retain(|(_, other, _)| *other != id);
            self.wake = Some(self.wake.map_or(until, |wake| wake.min(until)));
        }
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
        self.lines.extend(line.map(|line| format!("            {line}")));
    }

    fn output(&mut self, head: &str, output: Output) {
        match &output {
            Output::Command(Command::Call(id, call)) => {
                self.asked.insert(*id, call.clone());
                let by_hand = self.by_hand.contains(call.name());
                if by_hand || !is_routine(call) || self.told.contains(call.name()) {
                    self.say(head, Some(words::output(&output)));
                }
                if !by_hand {
                    self.answer_by_itself(*id, call);
                }
                return;
            }
            Output::Command(Command::Start(run)) => {
                self.runs.insert(run.entry, run.id);
            }
            Output::Command(Command::Disconnect(Link::Reader)) => self.reading = None,
            _ => {}
        }
        let line = words::output(&output);
        if !line.is_empty() {
            self.say(head, Some(line));
        }
    }

    fn answer_by_itself(&mut self, id: CallId, call: &Call) {
        if let Call::Read { count, block } = call
            && self.group.there
        {
            self.reading = Some((id, *count, self.now + *block));
            return;
        }
        let result = self.group.execute(ME, call, self.now);
        self.coming.push((self.now + ms(1), id, result));
    }

    /// Messages are sent.
    pub(crate) fn sends(&mut self, numbers: &[u64]) -> &mut Story {
        for number in numbers {
            self.put(*number, b"a");
        }
        let line = self.head(&format!("sent: {}", words::list(numbers, |number| entry(*number).to_string())));
        self.lines.push(line);
        self
    }

    /// A message with an ordering key is sent.
    pub(crate) fn sends_keyed(&mut self, number: u64, key: &str) -> &mut Story {
        self.put(number, key.as_bytes());
        let line = self.head(&format!("sent: {}, key {key}", entry(number)));
        self.lines.push(line);
        self
    }

    fn put(&mut self, number: u64, key: &[u8]) {
        let fields: Fields = vec![(b"body".to_vec(), b"1".to_vec()), (b"key".to_vec(), key.to_vec())].into();
        self.group.stream.insert(entry(number), fields);
    }

    /// A message is due, and this is its record.
    pub(crate) fn is_due(&mut self, number: u64, change: fn(&mut Record)) -> &mut Story {
        self.is_due_keyed(number, "a", change)
    }

    /// A message with an ordering key is due, and this is its record.
    pub(crate) fn is_due_keyed(&mut self, number: u64, key: &str, change: fn(&mut Record)) -> &mut Story {
        self.put(number, key.as_bytes());
        self.group.read(OTHER, usize::MAX, self.now);
        let touched = self.now;
        self.group.pending.insert(entry(number), Pending { owner: DELAYED, deliveries: 1, touched });
        self.group.delayed.insert(entry(number), self.now);
        let record = self.group.records.entry(entry(number)).or_default();
        change(record);
        let text = format!("due: {}, failed {}, crashed {}", entry(number), record.failed, record.crashed);
        let line = self.head(&text);
        self.lines.push(line);
        self
    }

    /// It is pending under another's name.
    pub(crate) fn another_takes(&mut self, number: u64) -> &mut Story {
        let deliveries = match self.group.pending.get(&entry(number)) {
            Some(pending) => pending.deliveries + 1,
            None => {
                self.group.read(OTHER, usize::MAX, self.now);
                1
            }
        };
        self.group.pending.insert(entry(number), Pending { owner: OTHER, deliveries, touched: self.now });
        let line = self.head(&format!("another consumer takes {}", entry(number)));
        self.lines.push(line);
        self
    }

    /// It is deleted from the stream.
    pub(crate) fn trimmed(&mut self, number: u64) -> &mut Story {
        self.group.stream.remove(&entry(number));
        let line = self.head(&format!("{} is deleted from the stream", entry(number)));
        self.lines.push(line);
        self
    }

    /// The server forgets that it was delivered.
    pub(crate) fn forgotten(&mut self, number: u64) -> &mut Story {
        self.group.forget_delivery(entry(number));
        let line = self.head(&format!("the server forgets that {} was delivered", entry(number)));
        self.lines.push(line);
        self
    }

    /// Another server takes over that has never heard of this message: the connections break.
    pub(crate) fn fails_over_without(&mut self, number: u64) -> &mut Story {
        self.group.fail_over_without(entry(number));
        self.lines.push(self.head(&format!("another server takes over, and has never heard of {}", entry(number))));
        for link in [Link::Commands, Link::Reader] {
            self.event(Event::Disconnected(link, Trouble::connection("closed")));
        }
        for call in self.asked.values().map(Call::name).collect::<Vec<_>>() {
            self.refused(call, Trouble::connection("closed"));
        }
        self
    }

    /// Both connections are made.
    pub(crate) fn connects(&mut self) -> &mut Story {
        self.event(Event::Connected(Link::Commands)).event(Event::Connected(Link::Reader))
    }

    /// The server forgets that it was deleted: it stands again where it stood, delivered once.
    pub(crate) fn stands_again(&mut self, number: u64) -> &mut Story {
        self.put(number, b"a");
        self.group.pending.insert(entry(number), Pending { owner: ME, deliveries: 1, touched: self.now });
        self.group.records.remove(&entry(number));
        let line = self.head(&format!("the server forgets that {} was deleted", entry(number)));
        self.lines.push(line);
        self
    }

    /// The run of this message ends so.
    pub(crate) fn ran(&mut self, number: u64, outcome: Outcome) -> &mut Story {
        let run = self.runs.remove(&entry(number)).unwrap_or_else(|| panic!("{number} does not run\n{}", self.text()));
        let text = format!("{run:?} ({}) {}", entry(number), words::outcome(&outcome));
        self.tell(&text, Event::Ran(vec![(run, outcome)]), true);
        self
    }

    pub(crate) fn succeeds(&mut self, number: u64) -> &mut Story {
        self.ran(number, Outcome::Ack)
    }

    pub(crate) fn fails(&mut self, number: u64, error: &str) -> &mut Story {
        self.ran(number, Outcome::Failed { error: error.into(), pause: None })
    }

    /// The oldest call of this name is answered.
    pub(crate) fn answer(&mut self, call: &str, answer: Answer) -> &mut Story {
        let id = self.oldest(call);
        self.asked.remove(&id);
        let text = format!("{call} is answered: {}", words::answer(&answer));
        self.tell(&text, Event::Answered(id, Ok(answer)), true);
        self
    }

    /// The oldest call of this name is executed and answered.
    pub(crate) fn goes(&mut self, call: &str) -> &mut Story {
        let id = self.oldest(call);
        let asked = self.asked[&id].clone();
        let answer = self.group.execute(ME, &asked, self.now).expect("an answer");
        self.answer(call, answer)
    }

    /// The oldest call of this name fails, and was not executed.
    pub(crate) fn refused(&mut self, call: &str, trouble: Trouble) -> &mut Story {
        let id = self.oldest(call);
        self.asked.remove(&id);
        self.coming.retain(|(_, other, _)| *other != id);
        self.reading.take_if(|(other, ..)| *other == id);
        self.tell(&format!("{call} fails: {trouble}"), Event::Answered(id, Err(trouble)), true);
        self
    }

    /// The oldest call of this name is executed, but its answer is lost, and with it the connection.
    pub(crate) fn unanswered(&mut self, call: &str) -> &mut Story {
        let id = self.oldest(call);
        let asked = self.asked[&id].clone();
        self.group.execute(ME, &asked, self.now).expect("an answer");
        self.refused(call, Trouble::connection("no answer in time"))
    }

    /// The oldest call of this name is executed; its answer is on its way.
    pub(crate) fn executes(&mut self, call: &str) -> Answer {
        let asked = self.asked[&self.oldest(call)].clone();
        self.lines.push(self.head(&format!("{call} is executed, its answer is on its way")));
        self.group.execute(ME, &asked, self.now).expect("an answer")
    }

    /// How many calls of this name are under way.
    pub(crate) fn under_way(&self, call: &str) -> usize {
        self.asked.values().filter(|asked| asked.name() == call).count()
    }

    /// Which messages run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.runs.keys().map(|entry| entry.ms).collect()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now.as_micros() / 1_000
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Connections are lost. What became of the calls that went over them is told later.
    pub(crate) fn breaks(&mut self, links: &[Link]) -> &mut Story {
        for link in links {
            self.event(Event::Disconnected(*link, Trouble::connection("gone")));
        }
        self
    }

    /// A delivery of another consumer was given back, and is due.
    pub(crate) fn comes_back(&mut self, number: u64, deliveries: u64) -> &mut Story {
        let pending = Pending { owner: DELAYED, deliveries, touched: self.now };
        self.group.pending.insert(entry(number), pending);
        self.group.delayed.insert(entry(number), self.now);
        self.lines.push(self.head(&format!("{} was given back by another, and is due", entry(number))));
        self
    }

    fn oldest(&self, call: &str) -> CallId {
        let found = self.asked.iter().find(|(_, asked)| asked.name() == call).map(|(id, _)| *id);
        found.unwrap_or_else(|| panic!("nobody asked {call}\n{}", self.text()))
    }

    pub(crate) fn stop(&mut self, deadline: u64) -> &mut Story {
        self.event(Event::Shutdown(Time::from_millis(deadline)))
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
