//! What Redis itself did to ownerships, read off the scripts that it executed: its own word, whoever hears the answer.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    facts::{Owned, What},
    redis::{Touched, reply::Reply},
};

/// What a script call did.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Testimony {
    /// The facts, in the order of the call's items.
    pub(crate) facts: Vec<What>,
    /// The script, and the first word of each answer: `acquire granted`, `renew lost` …
    pub(crate) words: Vec<String>,
}

/// What this script (by the name of its file), called by this command (EVAL or EVALSHA), did; nothing if it is none of
/// those that change ownerships, or failed.
pub(crate) fn hear(script: &str, command: &[Bytes], reply: &Reply) -> Testimony {
    testify(script, command, reply).unwrap_or_default()
}

/// What somebody claimed by a command, and not by one of our scripts.
pub(crate) fn claimed(touched: &Touched) -> Option<What> {
    let name = text(touched.args.first().filter(|_| touched.script.is_none())?)?;
    let claimed = match (name.to_ascii_lowercase().as_str(), &touched.reply) {
        ("xclaim", claimed) => claimed,
        ("xautoclaim", Reply::Array(parts)) => parts.get(1)?,
        _ => return None,
    };
    let Reply::Array(claimed) = claimed else { return None };
    let id = |entry: &Reply| match entry {
        Reply::Array(entry) => match entry.first()? {
            Reply::Bulk(id) => shared(id),
            _ => None,
        },
        _ => None,
    };
    let entries: Vec<Arc<str>> = claimed.iter().filter_map(id).collect();
    (!entries.is_empty()).then_some(What::Claimed { entries })
}

fn testify(script: &str, command: &[Bytes], reply: &Reply) -> Option<Testimony> {
    let keys: usize = text(command.get(2)?)?.parse().ok()?;
    let (keys, arguments) = command.get(3..)?.split_at_checked(keys)?;
    let call = Call { keys: keys.len(), arguments };
    match script {
        "acquire" => call.acquire(reply),
        "renew" => call.renew(reply),
        "done" => call.done(reply),
        "release" => call.release(reply),
        "bury" => call.bury(reply),
        "epoch" => said(if answers(reply)?.get(1)?.is_empty() { "epoch settled" } else { "epoch waits" }),
        "forget" => said(answers(reply)?.first().map(|_| "forget acknowledged")?),
        // Announcements in all, then those that are idle.
        "reap" => matches!(reply, Reply::Array(items) if items.len() > 1).then(|| said("reap found"))?,
        _ => None,
    }
}

/// What a script says that changes no ownership.
fn said(word: &str) -> Option<Testimony> {
    Some(Testimony { words: vec![word.to_owned()], ..Testimony::default() })
}

/// One invocation.
struct Call<'a> {
    keys: usize,
    arguments: &'a [Bytes],
}

impl Call<'_> {
    fn acquire(&self, reply: &Reply) -> Option<Testimony> {
        let mut testimony = Testimony::default();
        if let Reply::Status(status) = reply {
            testimony.words.push(format!("acquire {}", text(status)?));
            return Some(testimony);
        }
        for (item, answer) in self.arguments.get(7..)?.chunks_exact(4).zip(answers(reply)?) {
            let (word, rest) = split(&answer);
            testimony.words.push(format!("acquire {word}"));
            let entry = shared(&item[0])?;
            match word {
                "granted" => {
                    let token = rest.split(' ').next()?.parse().ok()?;
                    let value = format!("{}#{}", self.text(1)?, text(&item[2])?).into();
                    testimony
                        .facts
                        .push(What::Granted { value, owned: Owned { stream: shared(&item[1])?, entry, token } });
                }
                "aside" => testimony.facts.push(What::SetAside { entry, why: "crash-loop".into() }),
                _ => {}
            }
        }
        Some(testimony)
    }

    fn renew(&self, reply: &Reply) -> Option<Testimony> {
        let mut testimony = Testimony::default();
        let leases = self.keys.checked_sub(4)?;
        let mut renewed = vec![true; leases];
        for exception in answers(reply)?.iter().skip(1) {
            let (index, what) = exception.split_once(' ')?;
            let word = split(what).0;
            testimony.words.push(format!("renew {word}"));
            *renewed.get_mut(index.parse::<usize>().ok()?)? &= matches!(word, "back" | "recreated");
        }
        let entries: Option<Vec<Arc<str>>> = self
            .arguments
            .get(4..4 + leases)?
            .iter()
            .zip(renewed)
            .filter(|(_, on)| *on)
            .map(|(e, _)| shared(e))
            .collect();
        let entries = entries?;
        if !entries.is_empty() {
            testimony.facts.push(What::Renewed { consumer: self.text(1)?.into(), entries });
        }
        Some(testimony)
    }

    fn done(&self, reply: &Reply) -> Option<Testimony> {
        let mut testimony = Testimony::default();
        for (item, answer) in self.arguments.get(2..)?.chunks_exact(4).zip(answers(reply)?) {
            let word = split(&answer).0;
            testimony.words.push(format!("done {word}"));
            if word == "done" {
                let [entry, stream, value, _] = item else { return None };
                let (entry, stream, value) = (shared(entry)?, shared(stream)?, shared(value)?);
                testimony.facts.push(What::Finished { value, stream, entry });
            }
        }
        Some(testimony)
    }

    fn release(&self, reply: &Reply) -> Option<Testimony> {
        let mut testimony = Testimony::default();
        for (item, answer) in self.arguments.get(3..)?.chunks_exact(7).zip(answers(reply)?) {
            let word = split(&answer).0;
            testimony.words.push(format!("release {word}"));
            let (entry, stream, value) = (shared(&item[0])?, shared(&item[1])?, shared(&item[2])?);
            match word {
                "released" => testimony.facts.push(What::GivenBack { value, stream, entry }),
                "aside" => testimony.facts.push(What::SetAside { entry, why: "failed".into() }),
                _ => {}
            }
        }
        Some(testimony)
    }

    fn bury(&self, reply: &Reply) -> Option<Testimony> {
        let mut testimony = Testimony::default();
        if *reply == Reply::Int(1) {
            testimony.words.push("bury buried".to_owned());
            testimony.facts.push(What::SetAside { entry: self.text(2)?.into(), why: "malformed".into() });
        }
        Some(testimony)
    }

    fn text(&self, argument: usize) -> Option<&str> {
        text(self.arguments.get(argument)?)
    }
}

fn text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn shared(bytes: &Bytes) -> Option<Arc<str>> {
    text(bytes).map(Arc::from)
}

/// The texts of a list.
fn answers(reply: &Reply) -> Option<Vec<String>> {
    let Reply::Array(items) = reply else { return None };
    let one = |item: &Reply| match item {
        Reply::Bulk(bytes) | Reply::Status(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Reply::Int(number) => Some(number.to_string()),
        _ => None,
    };
    items.iter().map(one).collect()
}

/// The first word, and the rest.
fn split(answer: &str) -> (&str, &str) {
    answer.split_once(' ').unwrap_or((answer, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(script: &str, keys: &str, arguments: &str, reply: &Reply) -> Testimony {
        let count = keys.split(' ').count().to_string();
        let parts = ["EVALSHA", "0123", &count].into_iter().chain(keys.split(' ')).chain(arguments.split(' '));
        let command: Vec<Bytes> = parts.map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
        hear(script, &command, reply)
    }

    fn list(answers: &[&'static str]) -> Reply {
        Reply::Array(answers.iter().map(|answer| Reply::bulk(*answer)).collect())
    }

    fn owned(token: u64) -> Owned {
        Owned { stream: "s".into(), entry: "7-0".into(), token }
    }

    #[test]
    fn a_grant_is_the_values_and_the_tokens() {
        let arguments = "g me 3000 id 0 10 10 7-0 s at1 + 8-0 t at2 + 9-0 u at3 +";
        let reply = &list(&["granted 5 1 0 0 2", "held 70", "aside 10"]);
        let heard = called("acquire", "l f t e d k1 k1 k2 k2 k3 k3", arguments, reply);
        let set_aside = What::SetAside { entry: "9-0".into(), why: "crash-loop".into() };
        assert_eq!(heard.facts, [What::Granted { value: "me#at1".into(), owned: owned(5) }, set_aside]);
        assert_eq!(heard.words, ["acquire granted", "acquire held", "acquire aside"]);
        let waits = called("acquire", "l f t e d k1 k1", arguments, &Reply::status("epoch"));
        assert_eq!((waits.facts.len(), waits.words), (0, vec!["acquire epoch".to_owned()]));
    }

    #[test]
    fn an_epoch_is_settled_or_waits() {
        for (wait, word) in [("", "epoch settled"), ("wait:n", "epoch waits")] {
            let reply = [Reply::bulk("id"), Reply::bulk(wait), Reply::bulk("3000"), Reply::Int(17)];
            let heard = called("epoch", "e l t", "3000 n 0 0 0", &Reply::Array(reply.to_vec()));
            assert_eq!((heard.facts.len(), heard.words), (0, vec![word.to_owned()]));
        }
    }

    #[test]
    fn what_is_lost_is_not_renewed() {
        let reply = &list(&["", "1 lost other", "2 back"]);
        let heard = called("renew", "l f e t k1 k2 k3", "g me 3000  7-0 8-0 9-0 JUSTID v1 v2 v3", reply);
        assert_eq!(heard.facts, [What::Renewed { consumer: "me".into(), entries: vec!["7-0".into(), "9-0".into()] }]);
        let nothing = called("renew", "l f e t k1", "g me 3000  7-0 JUSTID v1", &list(&["", "0 gone"]));
        assert_eq!((nothing.facts.len(), nothing.words), (0, vec!["renew gone".to_owned()]));
    }

    #[test]
    fn ends_are_ends_only_where_redis_says_so() {
        let arguments = "g me 7-0 s me#1 id 8-0 t me#2 id";
        let heard = called("done", "l f c e k1 k2", arguments, &list(&["done", "fenced"]));
        let (value, stream, entry): (Arc<str>, Arc<str>, Arc<str>) = ("me#1".into(), "s".into(), "7-0".into());
        let finished = What::Finished { value: value.clone(), stream: stream.clone(), entry: entry.clone() };
        assert_eq!(heard.facts, [finished]);
        let arguments = "g me 10 7-0 s me#1  0 0  8-0 t me#2 3 0 1 why";
        let heard = called("release", "l f d k1 k2", arguments, &list(&["released", "aside"]));
        let set_aside = What::SetAside { entry: "8-0".into(), why: "failed".into() };
        assert_eq!(heard.facts, [What::GivenBack { value, stream, entry }, set_aside]);
        let buried = called("bury", "l d", "g 10 7-0 why", &Reply::Int(1));
        assert_eq!(buried.facts, [What::SetAside { entry: "7-0".into(), why: "malformed".into() }]);
        assert_eq!(called("bury", "l d", "g 10 7-0 why", &Reply::Int(0)), Testimony::default());
    }

    #[test]
    fn what_go_peers_claim_is_heard_before_they_lock() {
        let heard = |command: &str, script, reply| {
            let args = command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            claimed(&Touched { conn: None, script, args, reply, left: None })
        };
        let entry = |id: &'static str| Reply::Array(vec![Reply::bulk(id), list(&["lbs-input", "{}"])]);
        let both = || Reply::Array(vec![entry("7-0"), entry("8-0")]);
        let said = Some(What::Claimed { entries: vec!["7-0".into(), "8-0".into()] });
        assert_eq!(heard("XCLAIM lbs g go 3000 7-0 8-0", None, both()), said);
        let recovered = Reply::Array(vec![Reply::bulk("0-0"), both(), list(&[])]);
        assert_eq!(heard("XAUTOCLAIM lbs g go 40000 0-0", None, recovered), said);
        assert_eq!(heard("XCLAIM lbs g go 3000 7-0", None, list(&[])), None);
        assert_eq!(heard("XCLAIM lbs g c0 0 7-0 8-0", Some("acquire"), both()), None);
        assert_eq!(heard("XACK lbs g 7-0", None, Reply::Int(1)), None);
    }

    #[test]
    fn what_failed_or_is_not_ours_says_nothing() {
        let error = &Reply::error("OOM command not allowed");
        assert_eq!(called("done", "l f c e k1", "g me 7-0 s me#1 id", error), Testimony::default());
        assert_eq!(called("look", "l", "g", &list(&["done"])), Testimony::default());
        for odd in [vec![], vec!["EVALSHA"], vec!["EVALSHA", "ab", "x"], vec!["EVALSHA", "ab", "9", "k"]] {
            let odd: Vec<Bytes> = odd.into_iter().map(Bytes::from).collect();
            assert_eq!(hear("done", &odd, &Reply::Array(Vec::new())), Testimony::default());
        }
    }
}
