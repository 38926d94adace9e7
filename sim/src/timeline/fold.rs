//! Facts into spans, one fact after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{Band, Cause, First, Gap, Life, Mark, Ownership, Timeline};
use crate::facts::{Fact, Forgot, Owned, What, Who};

pub(super) fn fold(facts: &[Fact], end: Time) -> Timeline {
    let mut fold = Fold { timeline: Timeline { end, ..Timeline::default() }, ..Fold::default() };
    for fact in facts {
        fold.hear(fact.at, &fact.what);
    }
    fold.finish()
}

/// What is open while the facts are read.
#[derive(Default)]
struct Fold {
    timeline: Timeline,
    streams: BTreeMap<Arc<str>, Stream>,
    /// The announcements that are not finished, and their streams.
    entries: BTreeMap<Arc<str>, Arc<str>>,
    /// The announcements that were ever owned.
    seen: BTreeSet<Arc<str>>,
    lives: BTreeMap<Who, usize>,
    /// The ownerships that have not ended.
    held: BTreeMap<(Who, Arc<str>), usize>,
    pauses: BTreeMap<Who, Pause>,
    /// How the application asked for an ownership to end.
    asked: BTreeMap<(Who, Arc<str>), &'static str>,
    faults: Vec<usize>,
}

#[derive(Default)]
struct Stream {
    announced: Option<Time>,
    /// Announcements that are not finished.
    open: BTreeSet<Arc<str>>,
    /// Ownerships that have not ended.
    live: Vec<usize>,
    /// Since when nobody owns it, after which ownership.
    alone: Option<(Time, Cause, usize)>,
}

struct Pause {
    from: Time,
    over: bool,
    band: usize,
}

impl Fold {
    fn hear(&mut self, at: Time, what: &What) {
        match what {
            What::Announced { stream, entry } => self.announced(at, stream, entry),
            What::Started { who, id, ttl_ms, go, .. } => {
                let ttl = Duration::from_millis(*ttl_ms);
                self.lives.insert(*who, self.timeline.lives.len());
                let (id, end) = (Arc::clone(id), self.timeline.end);
                let life = Life { who: *who, id, ttl, go: *go, from: at, until: end, how: "running" };
                self.timeline.lives.push(life);
            }
            What::Crashed { who } => self.died(at, *who, "crash"),
            What::Stopped { who } => self.died(at, *who, "stopped"),
            What::Terminated { who, why } => {
                self.mark(at, Some(who.consumer), format!("terminated: {why}"));
                self.died(at, *who, "terminated");
            }
            What::Draining { who } => self.mark(at, Some(who.consumer), "drain".to_owned()),
            What::Paused { who, ms } => self.paused(at, *who, *ms),
            What::Resumed { who } => self.resumed(at, *who),
            What::Added { who, owned, takeover } => self.added(at, *who, owned, *takeover),
            What::Asked { who, owned, end } => {
                self.asked.insert((*who, Arc::clone(&owned.entry)), end);
            }
            What::Ended { who, owned, how } => self.ended(at, *who, owned, how),
            What::Finished { entry, .. } | What::SetAside { entry, .. } | What::Rejected { entry, .. } => {
                self.closed(at, entry);
            }
            What::Struck { action, kind, consumer, ms } => self.struck(at, action, kind, *consumer, *ms),
            What::Over { kind, consumer } => self.over(at, kind, *consumer),
            What::RedisUp { forgot } => {
                let words = match forgot {
                    Forgot::Nothing => "up",
                    Forgot::Latest => "up, latest writes lost",
                    Forgot::All => "up, all data lost",
                };
                self.mark(at, None, words.to_owned());
                if *forgot == Forgot::All {
                    let entries: Vec<_> = self.entries.keys().cloned().collect();
                    entries.iter().for_each(|entry| self.closed(at, entry));
                }
            }
            What::Healed => self.mark(at, None, "healed".to_owned()),
            What::Note { text } => self.mark(at, None, text.clone()),
            What::AnnounceUnknown { .. }
            | What::Ready { .. }
            | What::Believes { .. }
            | What::Worked { .. }
            | What::Granted { .. }
            | What::Renewed { .. }
            | What::Claimed { .. }
            | What::Message(_)
            | What::Entry(_)
            | What::GivenBack { .. } => {}
        }
    }

    fn announced(&mut self, at: Time, name: &Arc<str>, entry: &Arc<str>) {
        let stream = self.streams.entry(Arc::clone(name)).or_default();
        // An owner may hear of a stream before its producer does.
        if self.seen.contains(entry) || !stream.open.insert(Arc::clone(entry)) {
            return;
        }
        self.entries.insert(Arc::clone(entry), Arc::clone(name));
        if stream.open.len() == 1 && stream.live.is_empty() && stream.alone.is_none() {
            stream.announced = Some(at);
        }
    }

    fn added(&mut self, at: Time, who: Who, owned: &Owned, takeover: bool) {
        let index = self.timeline.ownerships.len();
        self.lose_to_the_next(at, who, &owned.stream);
        let stream = self.streams.entry(Arc::clone(&owned.stream)).or_default();
        if stream.open.insert(Arc::clone(&owned.entry)) {
            self.entries.insert(Arc::clone(&owned.entry), Arc::clone(&owned.stream));
        }
        if let Some(from) = stream.announced.take() {
            let stream = Arc::clone(&owned.stream);
            self.timeline.firsts.push(First { stream, from, until: at, owned: true });
        }
        if let Some((from, cause, before)) = stream.alone.take() {
            let stream = Arc::clone(&owned.stream);
            self.timeline.gaps.push(Gap { stream, from, until: at, cause, before, after: Some(index) });
        }
        stream.live.push(index);
        self.seen.insert(Arc::clone(&owned.entry));
        self.held.insert((who, Arc::clone(&owned.entry)), index);
        let end = self.timeline.end;
        let owned = owned.clone();
        let ownership = Ownership { who, owned, takeover, from: at, useful_until: end, until: end, how: "owned" };
        self.timeline.ownerships.push(ownership);
    }

    /// Owners that stand still while somebody else becomes the owner have lost the stream as they began to stand still.
    fn lose_to_the_next(&mut self, at: Time, who: Who, name: &Arc<str>) {
        let live = self.streams.get(name).map(|stream| stream.live.clone()).unwrap_or_default();
        for index in live {
            let owner = self.timeline.ownerships[index].who;
            if owner != who && self.pauses.get(&owner).is_some_and(|pause| !pause.over) {
                let from = self.pauses[&owner].from;
                self.lost(index, from.min(at), Cause::Pause);
            }
        }
    }

    fn ended(&mut self, at: Time, who: Who, owned: &Owned, how: &'static str) {
        let key = (who, Arc::clone(&owned.entry));
        let Some(index) = self.held.remove(&key) else { return };
        let ownership = &mut self.timeline.ownerships[index];
        (ownership.until, ownership.how) = (at, how);
        let asked = self.asked.remove(&key);
        if how == "done" || how == "gone" {
            self.closed(at, &owned.entry);
        }
        let (from, cause) = match how {
            "released" if asked == Some("fail") => (at, Cause::Failure),
            "released" => (at, Cause::Release),
            "paused" => (self.pauses.get(&who).map_or(at, |pause| pause.from), Cause::Pause),
            _ => (at, Cause::Lost),
        };
        self.lost(index, from, cause);
    }

    /// A stream has lost this owner at that time.
    fn lost(&mut self, index: usize, from: Time, cause: Cause) {
        let ownership = &mut self.timeline.ownerships[index];
        let Some(stream) = self.streams.get_mut(&ownership.owned.stream) else { return };
        let Some(place) = stream.live.iter().position(|&live| live == index) else { return };
        stream.live.remove(place);
        ownership.useful_until = from.max(ownership.from);
        if !stream.live.is_empty() || stream.open.is_empty() {
            return;
        }
        match stream.open.contains(&ownership.owned.entry) {
            true => stream.alone = Some((ownership.useful_until, cause, index)),
            // This announcement is finished; the next one of the same stream waits.
            false => stream.announced = Some(from),
        }
    }

    fn died(&mut self, at: Time, who: Who, how: &'static str) {
        let Some(life) = self.lives.remove(&who).map(|index| &mut self.timeline.lives[index]) else { return };
        (life.until, life.how) = (at, how);
        let pause = self.pauses.get(&who).filter(|pause| !pause.over).map(|pause| pause.from);
        self.resumed(at, who);
        let cause = if how == "crash" { Cause::Crash } else { Cause::Lost };
        let (ended, held) = std::mem::take(&mut self.held).into_iter().partition(|((owner, _), _)| *owner == who);
        self.held = held;
        for index in BTreeMap::into_values(ended) {
            let ownership = &mut self.timeline.ownerships[index];
            (ownership.until, ownership.how) = (at, how);
            self.lost(index, pause.unwrap_or(at), cause);
        }
    }

    /// An announcement is finished, set aside, or forgotten: its stream needs no owner for it.
    fn closed(&mut self, at: Time, entry: &Arc<str>) {
        let Some(stream) = self.entries.remove(entry).and_then(|name| self.streams.get_mut(&name)) else { return };
        stream.open.remove(entry);
        if stream.open.is_empty() {
            (stream.alone, stream.announced) = (None, None);
        } else if stream.announced.is_none() && stream.alone.is_none() && stream.live.is_empty() {
            stream.announced = Some(at);
        }
    }

    fn paused(&mut self, at: Time, who: Who, ms: u64) {
        let until = (at + Duration::from_millis(ms)).min(self.timeline.end);
        let text = format!("{who} stands still for {}", Duration::from_millis(ms).as_secs_f64());
        let band = Band { consumer: Some(who.consumer), kind: "pause", text: text + " s", from: at, until };
        self.pauses.insert(who, Pause { from: at, over: false, band: self.timeline.bands.len() });
        self.timeline.bands.push(band);
    }

    fn resumed(&mut self, at: Time, who: Who) {
        if let Some(pause) = self.pauses.get_mut(&who).filter(|pause| !pause.over) {
            pause.over = true;
            self.timeline.bands[pause.band].until = at;
        }
    }

    fn struck(&mut self, at: Time, action: &str, kind: &'static str, consumer: Option<usize>, ms: Option<u64>) {
        match ms {
            // Told by the facts of the process: a pause at a point strikes later than it is planned.
            _ if matches!(kind, "pause" | "suspend" | "crash" | "drain" | "start") => {}
            Some(ms) => {
                let until = (at + Duration::from_millis(ms)).min(self.timeline.end);
                self.faults.push(self.timeline.bands.len());
                self.timeline.bands.push(Band { consumer, kind, text: action.to_owned(), from: at, until });
            }
            None => self.mark(at, consumer, action.to_owned()),
        }
    }

    fn over(&mut self, at: Time, kind: &str, consumer: Option<usize>) {
        let bands = &mut self.timeline.bands;
        let place =
            self.faults.iter().position(|&index| bands[index].kind == kind && bands[index].consumer == consumer);
        if let Some(place) = place {
            bands[self.faults.remove(place)].until = at;
        }
    }

    fn mark(&mut self, at: Time, consumer: Option<usize>, text: String) {
        self.timeline.marks.push(Mark { consumer, text, at });
    }

    fn finish(mut self) -> Timeline {
        let end = self.timeline.end;
        for (name, stream) in self.streams {
            if let Some((from, cause, before)) = stream.alone {
                let stream = Arc::clone(&name);
                self.timeline.gaps.push(Gap { stream, from, until: end, cause, before, after: None });
            }
            if let Some(from) = stream.announced {
                self.timeline.firsts.push(First { stream: name, from, until: end, owned: false });
            }
        }
        self.timeline
    }
}
