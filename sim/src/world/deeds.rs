//! What scripts were asked and answered, as far as it says how somebody came to own something: the witness tells who
//! owns what, this tells what was tried.

use std::sync::Arc;

use bytes::Bytes;

use crate::redis::reply::Reply;

/// What a script did, or refused to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// An announcement was granted. `suspect`: its owners have crashed so often that it was left alone for a while.
    Granted { entry: Arc<str>, suspect: bool },
    /// An announcement was not granted, since somebody holds it.
    Held { consumer: Arc<str>, entry: Arc<str> },
    /// The reaper was told of these.
    Reaped { entries: Vec<Arc<str>> },
    /// Consumers that were not heard of for long were deleted.
    Cleaned,
    /// A script found the group gone.
    Groupless,
    /// Somebody who has waited settled on a server.
    Settled,
    /// What was done, and nobody was told: the script.
    Unanswered { script: String },
}

/// The deeds of a script (by the name of its file), called by this command; the answer may have been lost.
pub(crate) fn of(script: &str, command: &[Bytes], reply: &Reply, lost: bool) -> Vec<Deed> {
    let Reply::Array(answers) = reply else {
        let groupless = matches!(reply, Reply::Error(error) if error.starts_with("NOGROUP"));
        return if groupless { vec![Deed::Groupless] } else { Vec::new() };
    };
    let mut deeds = arguments(command).and_then(|arguments| parse(script, arguments, answers)).unwrap_or_default();
    let granted = deeds.iter().any(|deed| matches!(deed, Deed::Granted { .. }));
    if lost && (granted || script != "acquire") {
        deeds.push(Deed::Unanswered { script: script.to_owned() });
    }
    deeds
}

/// What comes behind the keys.
fn arguments(command: &[Bytes]) -> Option<&[Bytes]> {
    let keys: usize = text(command.get(2)?)?.parse().ok()?;
    command.get(3..)?.get(keys..)
}

fn parse(script: &str, arguments: &[Bytes], answers: &[Reply]) -> Option<Vec<Deed>> {
    match script {
        "acquire" => {
            let consumer = text(arguments.get(1)?)?;
            let max_takeovers: u32 = text(arguments.get(5)?)?.parse().ok()?;
            let items = arguments.get(7..)?.chunks_exact(4);
            Some(
                items
                    .zip(answers)
                    .filter_map(|(item, answer)| acquire(consumer, max_takeovers, &item[0], answer))
                    .collect(),
            )
        }
        "reap" => {
            let entries: Vec<Arc<str>> = answers.iter().skip(1).step_by(2).filter_map(said).map(Arc::from).collect();
            Some(if entries.is_empty() { Vec::new() } else { vec![Deed::Reaped { entries }] })
        }
        "clean" => Some(if answers.is_empty() { Vec::new() } else { vec![Deed::Cleaned] }),
        "renew" => Some(if said(answers.first()?)?.is_empty() { Vec::new() } else { vec![Deed::Groupless] }),
        "epoch" => {
            let settling = text(arguments.get(4)?)? == "1";
            Some(if settling && said(answers.get(1)?)?.is_empty() { vec![Deed::Settled] } else { Vec::new() })
        }
        _ => None,
    }
}

fn acquire(consumer: &str, max_takeovers: u32, entry: &Bytes, answer: &Reply) -> Option<Deed> {
    let entry: Arc<str> = text(entry)?.into();
    let mut words = said(answer)?.split(' ');
    match words.next()? {
        "granted" => {
            let takeovers: u32 = words.nth(2)?.parse().ok()?;
            let suspect = max_takeovers > 0 && takeovers >= max_takeovers.div_ceil(2);
            Some(Deed::Granted { entry, suspect })
        }
        "held" | "busy" => Some(Deed::Held { consumer: consumer.into(), entry }),
        _ => None,
    }
}

fn said(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Bulk(bytes) | Reply::Status(bytes) => text(bytes),
        _ => None,
    }
}

fn text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(script: &str, keys: &str, arguments: &str, answers: &[&'static str]) -> Vec<Deed> {
        let count = keys.split(' ').count().to_string();
        let parts = ["EVALSHA", "0123", &count].into_iter().chain(keys.split(' ')).chain(arguments.split(' '));
        let command: Vec<Bytes> = parts.map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
        of(script, &command, &Reply::Array(answers.iter().map(|answer| Reply::bulk(*answer)).collect()), false)
    }

    #[test]
    fn scripts_are_understood() {
        let acquired = called(
            "acquire",
            "l f t e d k1 k1 k2 k2 k3 k3 k4 k4",
            "g me 3000 id 0 3 10 1-0 s a1 + 2-0 t a2 + 3-0 u a3 + 4-0 v a4 +",
            &["granted 5 1 2 0 2", "held 70", "gone", "granted 6 1 1 0 2"],
        );
        let held = Deed::Held { consumer: "me".into(), entry: "2-0".into() };
        let granted = |entry: &str, suspect| Deed::Granted { entry: entry.into(), suspect };
        assert_eq!(acquired, [granted("1-0", true), held, granted("4-0", false)]);
        let entries = vec!["1-0".into(), "2-0".into()];
        assert_eq!(called("reap", "r l", "me 400", &["7", "1-0", "500", "2-0", "9"]), [Deed::Reaped { entries }]);
        assert_eq!(called("reap", "r l", "me 400", &["7"]), []);
        assert_eq!(called("clean", "l f c", "g me 3600000", &["old"]), [Deed::Cleaned]);
        assert_eq!(called("renew", "l f e t k", "g me 3000  1-0", &["NOGROUP No such key"]), [Deed::Groupless]);
        assert_eq!(called("renew", "l f e t k", "g me 3000  1-0", &[""]), []);
        assert_eq!(called("epoch", "e l t", "3000 n 0 0 1 wait:n id g me 3000", &["id", "", "3000"]), [Deed::Settled]);
        assert_eq!(called("epoch", "e l t", "3000 n 0 0 1 wait:n id g me 3000", &["id", "wait:o", "3000"]), []);
        assert_eq!(called("epoch", "e l t", "3000 n 0 0 0", &["id", "", "3000"]), []);
    }

    #[test]
    fn an_error_is_a_deed_if_the_group_is_gone() {
        assert_eq!(of("reap", &[], &Reply::error("NOGROUP No such key"), false), [Deed::Groupless]);
        assert_eq!(of("reap", &[], &Reply::error("OOM command not allowed"), false), []);
    }

    #[test]
    fn a_lost_answer_matters_if_something_was_done() {
        let lost = |script: &str| of(script, &[], &Reply::Array(Vec::new()), true);
        assert_eq!(lost("done"), [Deed::Unanswered { script: "done".to_owned() }]);
        assert_eq!(lost("acquire"), []);
    }

    #[test]
    fn what_is_odd_is_no_deed() {
        assert_eq!(called("acquire", "l", "g", &["granted"]), []);
        assert_eq!(called("unknown", "l", "g", &["granted"]), []);
        assert_eq!(of("acquire", &[], &Reply::Array(Vec::new()), false), []);
        assert_eq!(of("acquire", &[Bytes::from("EVAL"), Bytes::new(), Bytes::from("99")], &Reply::Nil, true), []);
    }
}
