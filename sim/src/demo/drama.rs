//! What happens in the demo, and when; and what is heard of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::Duration,
};

use streamkeeper::{Client, Clock, Service, Time};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Demo, LEASE_TTL, NAMES,
    fleet::{Heard, Member, State},
    lines::{Line, Said, since},
    outcome::{Beliefs, Outcome},
    proxy::Proxy,
    server::Server,
    view::View,
    work::{Ledger, STEPS},
};
use crate::{
    facts::{Fact, What, Who},
    metrics::Metrics,
    timeline::Timeline,
};

/// How long processes may take to start, and the last jobs to be done.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(150);

/// Something that the demo does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// So many more streams.
    Announce(usize),
    Kill(usize),
    /// Another process in the place of one that is gone.
    Start(usize),
    Freeze(usize, Duration),
    Thaw(usize),
    Cut(usize, Duration),
    Mend(usize),
    Drain(usize),
}

/// The story, in order of time, since everybody is ready.
fn acts() -> Vec<(Duration, Act)> {
    let at = Duration::from_millis;
    let (freeze, cut) = (at(3_500), at(4_000));
    let mut acts = vec![
        (at(0), Act::Announce(9)),
        (at(2_500), Act::Kill(1)),
        (at(5_000), Act::Start(1)),
        (at(6_500), Act::Freeze(2, freeze)),
        (at(6_500) + freeze, Act::Thaw(2)),
        (at(11_000), Act::Cut(0, cut)),
        (at(11_000) + cut, Act::Mend(0)),
        (at(15_800), Act::Drain(1)),
    ];
    acts.extend((1..30).map(|half| (at(half * 500), Act::Announce(1 + usize::from(half % 3 == 0)))));
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// Everything that takes part.
pub(super) struct Stage<'a> {
    server: &'a Server,
    program: PathBuf,
    report: String,
    service: String,
    producer: Service,
    members: Vec<Member>,
    heard: (mpsc::UnboundedSender<Heard>, mpsc::UnboundedReceiver<Heard>),
    /// The beginning, by the system's clock.
    origin: Time,
    facts: Vec<Fact>,
    beliefs: Beliefs,
    announced: BTreeSet<String>,
    refused: usize,
    view: View,
}

impl Stage<'_> {
    /// Connects, and starts the consumers.
    pub(super) async fn build<'a>(demo: &Demo, server: &'a Server) -> io::Result<Stage<'a>> {
        let origin = Clock::system().now();
        let service = format!("demo-{}-{}", std::process::id(), origin.as_micros());
        // A busy machine may take its time to answer; a call may last for long only where leases do, and it takes none.
        let (ttl, heartbeat, call) = (Duration::from_secs(60), Duration::from_secs(20), Duration::from_secs(20));
        let producer = Client::builder(&service).lease_ttl(ttl).heartbeat(heartbeat).call_timeout(call);
        let producer = producer.redis(server.url()).service().map_err(io::Error::other)?;
        // A server that cannot be reached is said at once.
        server.connect().await?;
        let mut members = Vec::new();
        for (consumer, name) in NAMES.into_iter().enumerate() {
            members.push(Member::new(consumer, name, Proxy::start(server.address.clone()).await?));
        }
        let mut stage = Stage {
            server,
            program: demo.program.clone(),
            report: demo.report.display().to_string(),
            service,
            producer,
            members,
            heard: mpsc::unbounded_channel(),
            origin,
            facts: Vec::new(),
            beliefs: Beliefs::default(),
            announced: BTreeSet::new(),
            refused: 0,
            view: View::new(demo.live, &server.describe()),
        };
        for consumer in 0..NAMES.len() {
            stage.start(consumer)?;
        }
        Ok(stage)
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// How long it took.
    pub(super) fn end(&self) -> Duration {
        self.facts.iter().map(|fact| fact.at).max().unwrap_or_default().since(Time::ZERO)
    }

    /// What happened, in order of time: who stood still is heard late.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let mut facts = self.facts.clone();
        facts.sort_by_key(|fact| fact.at);
        facts
    }

    /// Plays everything, until all work is done or there is no hope any more.
    pub(super) async fn play(&mut self) -> io::Result<Outcome> {
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let mut look = tokio::time::interval(LOOK);
        let patience = Instant::now() + PATIENCE;
        let mut begun = None;
        let last = acts().last().map(|(at, _)| *at).unwrap_or_default();
        let mut acts = acts().into_iter().peekable();
        loop {
            let next = acts.peek().map(|(at, _)| *at).unwrap_or_default();
            let due = begun.map_or_else(Instant::now, |begun: Instant| begun + next);
            tokio::select! {
                biased;
                _ = &mut interrupted => return Err(io::ErrorKind::Interrupted.into()),
                Some((who, line)) = self.heard.1.recv() => self.hear(who, line)?,
                () = tokio::time::sleep_until(due), if begun.is_some() && acts.peek().is_some() => {
                    if let Some((_, act)) = acts.next() {
                        self.act(act).await?;
                    }
                }
                _ = look.tick() => {
                    self.draw()?;
                    let waited_for = begun.map_or(patience, |begun| begun + last + PATIENCE);
                    if begun.is_none() && self.members.iter().all(|member| member.state == State::Running) {
                        begun = Some(Instant::now());
                    } else if begun.is_none() && Instant::now() > waited_for {
                        return Err(io::Error::other("the consumers do not start"));
                    }
                    if begun.is_some() && acts.peek().is_none() && self.is_over(waited_for) {
                        break;
                    }
                }
            }
        }
        self.view.close(&self.members, &self.facts())?;
        self.outcome().await
    }

    /// Ends all processes.
    pub(super) async fn dismiss(&mut self) {
        for member in &mut self.members {
            member.dismiss().await;
        }
    }

    /// All that was announced is done, and who was told to stop has stopped; or it takes too long.
    fn is_over(&self, waited_for: Instant) -> bool {
        let done = self.facts.iter().filter_map(|fact| match &fact.what {
            What::Ended { owned, how: "done", .. } => Some(owned.stream.to_string()),
            _ => None,
        });
        let done: BTreeSet<String> = done.collect();
        let quiet = !self.members.iter().any(|member| member.state == State::Draining);
        (quiet && self.announced.is_subset(&done)) || Instant::now() > waited_for
    }

    async fn act(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Announce(count) => self.announce(count).await?,
            Act::Start(consumer) => self.start(consumer)?,
            Act::Kill(consumer) => {
                self.members[consumer].kill()?;
                let (who, at) = (self.members[consumer].who, Clock::system().now());
                self.beliefs.died(who, at);
                self.note(What::Crashed { who });
            }
            Act::Freeze(consumer, span) => {
                self.members[consumer].freeze()?;
                let who = self.members[consumer].who;
                self.note(What::Paused { who, ms: crate::facts::millis(span) });
            }
            Act::Thaw(consumer) => {
                // Before it can say anything.
                let who = self.members[consumer].who;
                self.note(What::Resumed { who });
                self.members[consumer].thaw()?;
            }
            Act::Cut(consumer, span) => {
                self.members[consumer].cut(true);
                let action = format!("{} is cut off from Redis", self.members[consumer].name);
                let ms = Some(crate::facts::millis(span));
                self.note(What::Struck { action, kind: "cut off", consumer: Some(consumer), ms });
            }
            Act::Mend(consumer) => {
                self.members[consumer].cut(false);
                self.note(What::Over { kind: "cut off", consumer: Some(consumer) });
            }
            Act::Drain(consumer) => {
                let who = self.members[consumer].who;
                self.note(What::Draining { who });
                self.members[consumer].drain()?;
            }
        }
        Ok(())
    }

    async fn announce(&mut self, count: usize) -> io::Result<()> {
        let first = self.announced.len() + 1;
        let streams: Vec<String> = (first..first + count).map(|number| format!("orders-{number}")).collect();
        let answers = self.producer.announce_many(streams.clone()).await;
        for (stream, answer) in streams.into_iter().zip(answers) {
            let entry = answer.map_err(io::Error::other)?;
            self.note(What::Announced { stream: stream.as_str().into(), entry: entry.to_string().into() });
            self.announced.insert(stream);
        }
        Ok(())
    }

    fn start(&mut self, consumer: usize) -> io::Result<()> {
        self.members[consumer].start(&self.program, &self.service, self.server, &self.heard.0)?;
        let who = self.members[consumer].who;
        let (id, ttl_ms) = (self.members[consumer].name.into(), crate::facts::millis(LEASE_TTL));
        self.note(What::Started { who, id, ttl_ms, capacity: 10_000, automatic: true, go: false });
        Ok(())
    }

    fn hear(&mut self, who: Who, line: Option<Line>) -> io::Result<()> {
        let member = &mut self.members[who.consumer];
        let present = member.who == who;
        let Some(Line { at_us, said }) = line else {
            return match present && !member.was_to_end() {
                true => Err(io::Error::other(format!("{} has ended by itself", member.name))),
                false => Ok(()),
            };
        };
        let at = Time::from_micros(at_us);
        match &said {
            Said::Ready { .. } => member.state = State::Running,
            Said::Stopped => member.state = State::Stopped,
            Said::Added { stream, token, until_us, .. } => {
                self.beliefs.trusts(who, stream, *token, at, Time::from_micros(*until_us));
            }
            Said::Holds { leases } => {
                for held in leases {
                    self.beliefs.trusts(who, &held.stream, held.token, at, Time::from_micros(held.until_us));
                }
            }
            Said::Ended { stream, token, .. } => self.beliefs.ended(who, stream, *token, at),
            Said::Refused { .. } => self.refused += 1,
            Said::Terminated { why } => return Err(io::Error::other(format!("{}: {why}", member.name))),
            Said::Wrote { .. } => {}
        }
        self.facts.extend(said.fact(who).map(|what| Fact { at: since(self.origin, at_us), what }));
        Ok(())
    }

    fn note(&mut self, what: What) {
        let at = since(self.origin, Clock::system().now().as_micros());
        self.facts.push(Fact { at, what });
    }

    fn draw(&mut self) -> io::Result<()> {
        let (facts, now) = (self.facts(), since(self.origin, Clock::system().now().as_micros()));
        self.view.draw(now, &self.members, &facts)
    }

    async fn outcome(&self) -> io::Result<Outcome> {
        let mut redis = self.server.connect().await?;
        let steps: BTreeMap<String, u64> =
            Ledger::new(&self.service).steps(&mut redis).await.map_err(io::Error::other)?;
        let lost = self.announced.iter().filter(|stream| steps.get(*stream).is_none_or(|steps| *steps < STEPS));
        let facts = self.facts();
        let timeline = Timeline::of(&facts, Time::ZERO + self.end());
        Ok(Outcome {
            announced: self.announced.len(),
            lost: lost.cloned().collect(),
            double_owned: self.beliefs.double(),
            refused: self.refused,
            metrics: Metrics::read(&facts, &timeline),
            report: self.report.clone(),
        })
    }
}
