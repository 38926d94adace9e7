//! What Redis itself did to messages, read off the commands that it executed, whoever sent them and in whichever script:
//! its own word.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::{
    GROUP, STREAM,
    facts::{Record, Said},
};
use crate::{
    facts::Who,
    redis::{Touched, reply::Reply},
};

/// Hears the commands of a run.
#[derive(Default)]
pub(crate) struct Witness {
    /// What stands in the stream, as it is ordered.
    standing: BTreeSet<(u64, u64)>,
}

/// A command of this process.
struct Call<'a> {
    by: Option<Who>,
    touched: &'a Touched,
}

/// The headers by which messages of the simulation are told apart.
pub(crate) const NUMBER: &str = "number";
/// What a dead letter tells, besides what the message says.
const STORY: [&str; 7] = ["id", "reason", "error", "attempts", "first_ms", "last_ms", "consumer"];

impl Witness {
    /// What this command did to messages.
    pub(crate) fn hear(&mut self, by: Option<Who>, touched: &Touched) -> Vec<Said> {
        let call = Call { by, touched };
        let heard = call.heard(&mut self.standing).unwrap_or_default();
        for said in &heard {
            if let Said::Entered { entry, .. } = said {
                self.standing.insert(place(entry));
            }
        }
        heard
    }
}

impl Call<'_> {
    fn heard(&self, standing: &mut BTreeSet<(u64, u64)>) -> Option<Vec<Said>> {
        let (by, script) = (self.by, self.touched.script);
        let name = self.text(0)?.to_ascii_lowercase();
        let key = self.text(1)?.to_owned();
        let of_group = |what: &str| key == format!("{STREAM}:{GROUP}:{what}");
        let is_stream = key == STREAM;
        // Nothing was there to be taken away.
        if matches!(name.as_str(), "zrem" | "hdel" | "xdel") && self.touched.reply == Reply::Int(0) {
            return None;
        }
        let is_group = |at: usize| self.text(at) == Some(GROUP);
        Some(match name.as_str() {
            "xadd" if is_stream => {
                vec![Said::Entered { entry: bulk(&self.touched.reply)?, number: self.number("h:number") }]
            }
            "xadd" if of_group("dead") => vec![self.buried()?],
            "xreadgroup" => self.delivered()?,
            "xclaim" if is_stream && is_group(2) => self.claimed()?,
            "xack" if is_stream && is_group(2) => {
                let Reply::Int(1..) = self.touched.reply else { return None };
                vec![Said::Acked { by, script, entries: self.texts(3) }]
            }
            "xdel" if is_stream => vec![Said::Removed { by, entries: self.texts(2) }],
            "xtrim" if is_stream => {
                let left = self.touched.left.as_ref().and_then(|id| std::str::from_utf8(id).ok()).map(place);
                let gone: Vec<(u64, u64)> =
                    standing.iter().copied().take_while(|id| left.is_none_or(|left| *id < left)).collect();
                standing.retain(|id| !gone.contains(id));
                let entries: Vec<Arc<str>> = gone.iter().map(|(ms, seq)| format!("{ms}-{seq}").into()).collect();
                if entries.is_empty() { Vec::new() } else { vec![Said::Removed { by, entries }] }
            }
            "zadd" if of_group("delayed") => {
                let due = |(score, entry): (f64, Arc<str>)| Said::Due { by, script, entry, due_ms: score as u64 };
                self.scores()?.into_iter().map(due).collect()
            }
            "zrem" if of_group("delayed") => vec![Said::Undue { entries: self.texts(2) }],
            "zadd" if key == format!("{STREAM}:scheduled") => {
                let Reply::Int(1..) = self.touched.reply else { return None };
                let planned = |(score, id): (f64, Arc<str>)| Said::Scheduled { id, due_ms: score as u64 };
                self.scores()?.into_iter().map(planned).collect()
            }
            "zrem" if key == format!("{STREAM}:scheduled") => {
                self.texts(2).into_iter().map(|id| Said::Unscheduled { id }).collect()
            }
            "hset" if of_group("attempts") => {
                let pairs = self.touched.args.get(2..)?.chunks_exact(2);
                let recorded = |pair: &[Bytes]| {
                    let (entry, record) = (shared(&pair[0])?, record(std::str::from_utf8(&pair[1]).ok()?)?);
                    Some(Said::Recorded { by, script, entry, record })
                };
                pairs.filter_map(recorded).collect()
            }
            "hdel" if of_group("attempts") => vec![Said::Forgotten { entries: self.texts(2) }],
            "set" if of_group("reclaimer") => vec![Said::Reclaims { by }],
            "xgroup" => self.grouped()?,
            _ => return None,
        })
    }

    fn buried(&self) -> Option<Said> {
        let about = |name: &str| self.after(name).and_then(|at| self.text(at));
        let missing = STORY.into_iter().filter(|name| about(name).is_none_or(str::is_empty));
        let original = self.number("original:h:number");
        let missing = missing.chain(original.is_none().then_some("the message")).collect();
        let (entry, reason) = (about("id").unwrap_or_default().into(), about("reason").unwrap_or_default().into());
        Some(Said::Buried { by: self.by, entry, dead: bulk(&self.touched.reply)?, reason, number: original, missing })
    }

    /// XREADGROUP GROUP group consumer … STREAMS key >
    fn delivered(&self) -> Option<Vec<Said>> {
        let new = self.touched.args.last().is_some_and(|id| &id[..] == b">");
        let ours = self.text(2) == Some(GROUP);
        let Reply::MapOfPairs(streams) = &self.touched.reply else { return None };
        let Some((_, Reply::Array(entries))) = streams.first() else { return None };
        let entries: Vec<Arc<str>> = entries.iter().filter_map(first).collect();
        if !new || !ours || entries.is_empty() {
            return None;
        }
        let forgets = self.touched.args.iter().any(|word| word.eq_ignore_ascii_case(b"noack"));
        Some(vec![Said::Delivered { by: self.by, consumer: self.text(3)?.into(), entries, forgets }])
    }

    /// XCLAIM key group consumer min-idle ids … options
    fn claimed(&self) -> Option<Vec<Said>> {
        let Reply::Array(claimed) = &self.touched.reply else { return None };
        let entries: Vec<Arc<str>> = claimed.iter().filter_map(first).collect();
        if entries.is_empty() {
            return None;
        }
        let has = |option: &[u8]| self.touched.args.iter().any(|word| word.eq_ignore_ascii_case(option));
        let counted = !has(b"justid") && !has(b"retrycount");
        let (by, script, to) = (self.by, self.touched.script, self.text(3)?.into());
        Some(vec![Said::Claimed { by, script, to, entries, counted }])
    }

    /// XGROUP CREATE key group id …, XGROUP DELCONSUMER key group consumer
    fn grouped(&self) -> Option<Vec<Said>> {
        if self.text(2) != Some(STREAM) || self.text(3) != Some(GROUP) {
            return None;
        }
        let what = self.text(1)?.to_ascii_lowercase();
        match (what.as_str(), &self.touched.reply) {
            ("create", _) => {
                let after = match self.text(4)? {
                    "$" => self.touched.left.as_ref().and_then(shared).unwrap_or_else(|| "0-0".into()),
                    id if id.contains('-') => id.into(),
                    id => format!("{id}-0").into(),
                };
                Some(vec![Said::Grouped { after }])
            }
            ("delconsumer", Reply::Int(pending)) => {
                let (by, consumer) = (self.by, self.text(4)?.into());
                Some(vec![Said::Dismissed { by, consumer, pending: pending.unsigned_abs() }])
            }
            _ => None,
        }
    }

    /// ZADD key options … score member score member …
    fn scores(&self) -> Option<Vec<(f64, Arc<str>)>> {
        let pairs = self.touched.args.get(2..)?;
        let options = pairs.iter().take_while(|word| number(word).is_none()).count();
        let pairs = pairs.get(options..)?.chunks_exact(2);
        pairs.map(|pair| Some((number(&pair[0])?, shared(&pair[1])?))).collect()
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.text(self.after(field)?)?.parse().ok()
    }

    /// The place behind this word.
    fn after(&self, word: &str) -> Option<usize> {
        Some(self.touched.args.iter().position(|arg| &arg[..] == word.as_bytes())? + 1)
    }

    fn text(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.touched.args.get(at)?).ok()
    }

    fn texts(&self, from: usize) -> Vec<Arc<str>> {
        self.touched.args.iter().skip(from).filter_map(shared).collect()
    }
}

/// The id of an entry, or an id alone.
fn first(reply: &Reply) -> Option<Arc<str>> {
    match reply {
        Reply::Array(entry) => bulk(entry.first()?),
        id => bulk(id),
    }
}

fn bulk(reply: &Reply) -> Option<Arc<str>> {
    match reply {
        Reply::Bulk(text) | Reply::Status(text) => shared(text),
        _ => None,
    }
}

fn shared(bytes: &Bytes) -> Option<Arc<str>> {
    std::str::from_utf8(bytes).ok().map(Arc::from)
}

fn number(bytes: &Bytes) -> Option<f64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// `failed counted crashed started dying state first last error`
pub(crate) fn record(text: &str) -> Option<Record> {
    let mut words = text.splitn(9, ' ');
    let mut next = || words.next();
    Some(Record {
        failed: next()?.parse().ok()?,
        counted: next()?.parse().ok()?,
        crashed: next()?.parse().ok()?,
        started: next()?.parse().ok()?,
        dying: next()? != "-",
        buried_alive: next()? == "alive",
    })
}

pub(super) fn place(entry: &str) -> (u64, u64) {
    let (ms, number) = entry.split_once('-').unwrap_or((entry, "0"));
    (ms.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use streamkeeper::Time;

    use super::*;
    use crate::plan::RedisPlan;

    /// What is heard of these commands, on a server of its own.
    fn heard(commands: &[&str]) -> Vec<String> {
        let mut redis = crate::redis::Redis::new(&RedisPlan::default(), 1, Time::ZERO);
        redis.observe_keys(STREAM);
        let mut witness = Witness::default();
        let mut heard = Vec::new();
        for command in commands {
            let answer = redis.command(command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())));
            assert!(!matches!(answer, Reply::Error(_)), "{command}: {answer:?}");
            while let Some(output) = redis.poll() {
                if let crate::redis::Output::Touched(touched) = output {
                    let said = witness.hear(None, &touched);
                    heard.extend(said.iter().map(|said| {
                        let (_, word, rest) = super::super::trace::row(said);
                        format!("{word} {rest}").trim_end().to_owned()
                    }));
                }
            }
        }
        heard
    }

    #[test]
    fn what_happens_to_the_stream_is_heard() {
        let heard = heard(&[
            "XGROUP CREATE jobs workers 0 MKSTREAM",
            "XADD jobs 1-0 body {} h:number 7",
            "XADD jobs 2-0 body {}",
            "XADD other 2-0 h:number 8",
            "XREADGROUP GROUP workers w-1 COUNT 10 STREAMS jobs >",
            "XREADGROUP GROUP workers w-1 COUNT 10 STREAMS jobs >",
            "XCLAIM jobs workers ~delayed 0 1-0 JUSTID",
            "XCLAIM jobs workers w-1 0 1-0",
            "XACK jobs workers 1-0",
            "XACK jobs workers 1-0",
            "XADD jobs:workers:dead 9-0 id 2-0 reason failed error no attempts 3 first_ms 1 last_ms 2 original:h:number 7",
            "XGROUP DELCONSUMER jobs workers w-1",
            "XADD jobs 3-0 body {}",
            "XTRIM jobs MAXLEN 1",
            "XDEL jobs 3-0",
        ]);
        assert_eq!(
            heard,
            [
                "grouped behind 0-0",
                "entered 1-0 message 7",
                "entered 2-0 message ?",
                "delivered 1-0 2-0 to w-1 by hand",
                "claimed 1-0 for ~delayed (XCLAIM) by hand",
                "claimed 1-0 for w-1, counted (XCLAIM) by hand",
                "acked 1-0 (XACK) by hand",
                "buried 2-0 as 9-0: failed, without consumer by hand",
                "dismissed w-1, 1 pending by hand",
                "entered 3-0 message ?",
                "removed 1-0 2-0 by hand",
                "removed 3-0 by hand",
            ]
        );
    }

    #[test]
    fn what_is_kept_about_messages_is_heard() {
        let heard = heard(&[
            "ZADD jobs:workers:delayed 1767225605000 1-0",
            "ZREM jobs:workers:delayed 1-0",
            "ZADD jobs:scheduled NX 1767225605000 m7",
            "ZADD jobs:scheduled NX 1767225606000 m7",
            "ZREM jobs:scheduled m7",
            "HSET jobs:workers:attempts 1-0 x",
            "HDEL jobs:workers:attempts 1-0",
            "SET jobs:workers:reclaimer w-1",
        ]);
        let expected = [
            "due 1-0 at 5.000 (ZADD) by hand",
            "undue 1-0",
            "planned m7 for 5.000",
            "unplanned m7",
            "forgotten 1-0",
            "reclaims  by hand",
        ];
        assert_eq!(heard, expected);
        let read = record("2 3 1 4 failed alive 5 6 it said so").unwrap();
        assert_eq!(read, Record { failed: 2, counted: 3, crashed: 1, started: 4, dying: true, buried_alive: true });
        assert_eq!(record("2 3"), None);
    }
}
