//! The judge: every promise of DESIGN.md section 2 that can be seen from outside, held against a [`Ledger`] after
//! every test. Its own tests give each check a ledger that breaks exactly this promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Event, Kind};
use crate::ledger::{Ledger, Life, Ownership};

#[cfg(test)]
mod tests;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one, by its name in DESIGN.md.
    pub promise: &'static str,
    /// What was seen.
    pub seen: String,
}

/// How long after its validity ended an owner may take to say `released` or `done`: DESIGN.md 5.6 ends validity
/// before the command is sent, and says so only when the answer is back, when another one may own the stream already.
pub const FAREWELL: Duration = Duration::from_millis(500);

/// Judges everything that holds at any time.
#[must_use]
pub fn judge(ledger: &Ledger) -> Vec<Violation> {
    let ownerships = ledger.ownerships();
    let mut violations = Vec::new();
    exclusive(ledger, &ownerships, &mut violations);
    fenced(ledger, &ownerships, &mut violations);
    finished(ledger, &mut violations);
    for life in &ledger.lives {
        in_order(life, &mut violations);
        woken(ledger, life, &mut violations);
    }
    violations
}

/// Judges that nothing was lost, once a test is sure that all is quiet: each of these streams has one owner, or was
/// done or set aside.
#[must_use]
pub fn lost(ledger: &Ledger, announced: &[String]) -> Vec<Violation> {
    let owners = ledger.owners();
    let settled = ledger.settled();
    let nobody = BTreeSet::new();
    announced
        .iter()
        .filter_map(|stream| {
            let owners = owners.get(stream).unwrap_or(&nobody);
            let fine = owners.len() == 1 || owners.is_empty() && settled.contains(stream.as_str());
            let names: Vec<&str> = owners.iter().map(|index| ledger.lives[*index].name.as_str()).collect();
            (!fine).then(|| violation("kept", format!("{stream} is owned by {names:?} at the end")))
        })
        .collect()
}

fn violation(promise: &'static str, seen: String) -> Violation {
    Violation { promise, seen }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("a short span")
}

/// Until when this ownership certainly lasted: only what reaches into another's beginning breaks the promise.
fn valid_until(ledger: &Ledger, ownership: &Ownership) -> u64 {
    let life = &ledger.lives[ownership.life];
    let mut until = match &ownership.last {
        Some(last) if last.kind == Kind::Disowned => last.at_us,
        Some(last) => last.at_us.saturating_sub(micros(FAREWELL)).max(ownership.from_us),
        None => u64::MAX,
    };
    if let Some(end) = life.end {
        until = until.min(end.at_us);
    }
    // A stopped owner says nothing at its lease's end. Its last heartbeat was at most two intervals before the stop.
    let margin = ledger.ttl / 10 + Duration::from_millis(10);
    let rest = micros(ledger.ttl.saturating_sub(2 * ledger.heartbeat + margin));
    for pause in life.pauses.iter().filter(|pause| pause.from_us >= ownership.from_us) {
        let silent_until = pause.to_us.unwrap_or(u64::MAX);
        if until > pause.from_us + rest && silent_until > pause.from_us + rest {
            until = pause.from_us + rest;
        }
    }
    until
}

/// At any instant at most one consumer's lease on a stream is valid.
fn exclusive(ledger: &Ledger, ownerships: &BTreeMap<String, Vec<Ownership>>, violations: &mut Vec<Violation>) {
    for (stream, list) in ownerships {
        for (earlier, later) in list.iter().zip(list.iter().skip(1)) {
            let until = valid_until(ledger, earlier);
            if earlier.life != later.life && until > later.from_us {
                let overlap =
                    if until == u64::MAX { "still".to_owned() } else { format!("{} µs", until - later.from_us) };
                violations.push(violation(
                    "exclusive",
                    format!(
                        "{stream}: {} (token {}) owned it {overlap} when {} (token {}) got it",
                        ledger.lives[earlier.life].name, earlier.token, ledger.lives[later.life].name, later.token
                    ),
                ));
            }
        }
    }
}

/// Tokens of one stream only grow, also where it moves to another partition; and no two ownerships in one partition share
/// one.
fn fenced(ledger: &Ledger, ownerships: &BTreeMap<String, Vec<Ownership>>, violations: &mut Vec<Violation>) {
    let mut holders: BTreeMap<(u32, u64), &Ownership> = BTreeMap::new();
    for (stream, list) in ownerships {
        for ownership in list {
            let name = &ledger.lives[ownership.life].name;
            if ownership.token == 0 {
                violations.push(violation("fenced", format!("{stream}: {name} owns it without a token")));
            } else if let Some(other) = holders.insert((ownership.partition, ownership.token), ownership) {
                violations.push(violation(
                    "fenced",
                    format!("token {} was given twice: for {} and {stream}", ownership.token, other.stream),
                ));
            }
        }
        for (earlier, later) in list.iter().zip(list.iter().skip(1)) {
            if later.token < earlier.token {
                violations
                    .push(violation("fenced", format!("{stream}: token {} after {}", later.token, earlier.token)));
            }
        }
    }
}

/// What was done is never handed out again.
fn finished(ledger: &Ledger, violations: &mut Vec<Violation>) {
    let key = |event: &'_ Event| {
        let (stream, entry) = (event.stream.as_deref().unwrap_or(""), event.entry.as_deref().unwrap_or(""));
        (stream.to_owned(), event.partition.unwrap_or_default(), entry.to_owned())
    };
    let mut done: BTreeMap<(String, u32, String), u64> = BTreeMap::new();
    for (_, event) in ledger.events().filter(|(_, event)| event.kind == Kind::Done) {
        let key = key(event);
        let first = done.entry(key).or_insert(event.at_us);
        *first = (*first).min(event.at_us);
    }
    for (index, event) in ledger.events().filter(|(_, event)| event.kind == Kind::Added) {
        let key = key(event);
        if done.get(&key).is_some_and(|at| event.at_us > *at) {
            let name = &ledger.lives[index].name;
            violations.push(violation("finished", format!("{key:?} was done, and then added by {name}")));
        }
    }
}

/// Added, then exactly one of Done, Released, Disowned, before the next Added; and no word after the last word.
fn in_order(life: &Life, violations: &mut Vec<Violation>) {
    let name = &life.name;
    let mut seen = |text: String| violations.push(violation("in-order", format!("{name}: {text}")));
    let mut open: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut stopped = false;
    let mut previous = 0;
    for event in &life.events {
        if stopped {
            seen(format!("{:?} after `stopped`", event.kind));
        }
        if event.at_us < previous {
            seen(format!("time goes back from {previous} to {}", event.at_us));
        }
        previous = event.at_us;
        stopped |= event.kind == Kind::Stopped;
        let stream = event.stream.as_deref().unwrap_or("");
        if event.kind == Kind::Added {
            if open.insert(stream, event).is_some() {
                seen(format!("{stream} added twice without a final event between"));
            }
        } else if event.kind.is_final() {
            match open.remove(stream) {
                None => seen(format!("{stream}: {:?} without being owned", event.kind)),
                Some(added) if (&added.entry, added.token) != (&event.entry, event.token) => seen(format!(
                    "{stream}: added as {:?} with token {:?}, ended as {:?} with token {:?}",
                    added.entry, added.token, event.entry, event.token
                )),
                Some(_) => {}
            }
        }
    }
    if life.end.is_some_and(|end| !end.killed) && !open.is_empty() {
        seen(format!("ended by itself without a final event for {:?}", open.keys().collect::<Vec<_>>()));
    }
}

/// An owner that slept for longer than its lease says `disowned` before anything else about that stream; but that its
/// process was killed meanwhile may be said as it comes.
fn woken(ledger: &Ledger, life: &Life, violations: &mut Vec<Violation>) {
    for pause in &life.pauses {
        let Some(woke) = pause.to_us.filter(|woke| woke - pause.from_us > micros(ledger.ttl)) else { continue };
        let (before, after): (Vec<&Event>, Vec<&Event>) =
            life.events.iter().partition(|event| event.at_us < pause.from_us);
        let mut owned: BTreeSet<&str> = BTreeSet::new();
        for event in before {
            let Some(stream) = event.stream.as_deref() else { continue };
            if event.kind == Kind::Added {
                owned.insert(stream);
            } else if event.kind.is_final() {
                owned.remove(stream);
            }
        }
        for stream in owned {
            let was_killed = |event: &Event| event.rest.get("outcome").is_some_and(|outcome| outcome == "killed");
            let mut said = after.iter().filter(|event| event.stream.as_deref() == Some(stream));
            if let Some(first) = said.find(|event| !was_killed(event))
                && first.kind != Kind::Disowned
            {
                let name = &life.name;
                violations.push(violation(
                    "exclusive",
                    format!(
                        "{name} woke at {woke} after its lease on {stream} had ended and said {:?} first",
                        first.kind
                    ),
                ));
            }
        }
    }
}
