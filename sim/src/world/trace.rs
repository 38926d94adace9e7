//! Facts as text, one a line: the true time in seconds, who, what, and the rest. Equal traces are equal runs.

use std::fmt;

use crate::{
    entries,
    facts::{Fact, Forgot, Owned, What, Who},
    messages,
};

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        let Row { who, word, rest } = row(&self.what);
        let line = format!("{:>4}.{:06}  {who:<8}  {word:<12}  {rest}", micros / 1_000_000, micros % 1_000_000);
        f.write_str(line.trim_end())
    }
}

/// The columns behind the time.
struct Row {
    who: String,
    word: &'static str,
    rest: String,
}

fn row(what: &What) -> Row {
    match what {
        What::Announced { stream, entry } => someone("producer", "announced", format!("{stream} {entry}")),
        What::AnnounceUnknown { stream } => someone("producer", "unanswered", stream.to_string()),
        What::Started { who, id, ttl_ms, capacity, automatic, go } => {
            let go = if *go { ", a Go peer" } else { "" };
            let claims = if *automatic { "" } else { ", claims by hand" };
            process(who, "started", format!("{id}, ttl {ttl_ms} ms, capacity {capacity}{claims}{go}"))
        }
        What::Ready { who } => process(who, "ready", String::new()),
        What::Terminated { who, why } => process(who, "terminated", why.clone()),
        What::Draining { who } => process(who, "draining", String::new()),
        What::Stopped { who } => process(who, "stopped", String::new()),
        What::Crashed { who } => process(who, "crashed", String::new()),
        What::Paused { who, ms } => process(who, "paused", format!("{ms} ms")),
        What::Resumed { who } => process(who, "resumed", String::new()),
        What::Added { who, owned, takeover } => {
            let takeover = if *takeover { ", a takeover" } else { "" };
            process(who, "added", format!("{}{takeover}", text(owned)))
        }
        What::Ended { who, owned, how } => process(who, "ended", format!("{}: {how}", text(owned))),
        What::Rejected { who, entry, why } => process(who, "rejected", format!("{entry}: {why}")),
        What::Believes { who, owned } => process(who, "believes", text(owned)),
        What::Asked { who, owned, end } => process(who, "asked", format!("{end} of {}", text(owned))),
        What::Worked { who, owned } => process(who, "worked", text(owned)),
        What::Granted { value, owned } => redis("granted", format!("{} to {value}", text(owned))),
        What::Renewed { consumer, entries } => {
            redis("renewed", format!("{} of {consumer}: {}", entries.len(), entries.join(" ")))
        }
        What::Claimed { entries } => redis("claimed", entries.join(" ")),
        What::Finished { value, stream, entry } => redis("finished", format!("{stream} {entry} by {value}")),
        What::GivenBack { value, stream, entry } => redis("given back", format!("{stream} {entry} by {value}")),
        What::SetAside { entry, why } => redis("set aside", format!("{entry}: {why}")),
        What::Struck { action, consumer, .. } => someone(&befallen(*consumer), "struck", action.clone()),
        What::Over { kind, consumer } => someone(&befallen(*consumer), "over", (*kind).to_owned()),
        What::RedisUp { forgot } => {
            let forgot = match forgot {
                Forgot::Nothing => "has forgotten nothing",
                Forgot::Latest => "has forgotten the latest writes",
                Forgot::All => "has forgotten everything",
            };
            redis("up", forgot.to_owned())
        }
        What::Healed => someone("-", "healed", String::new()),
        What::Message(said) => {
            let (who, word, rest) = messages::trace::row(said);
            Row { who, word, rest }
        }
        What::Entry(said) => {
            let (who, word, rest) = entries::trace::row(said);
            Row { who, word, rest }
        }
        What::Note { text } => someone("-", "note", text.clone()),
    }
}

fn process(who: &Who, word: &'static str, rest: String) -> Row {
    someone(&who.to_string(), word, rest)
}

fn redis(word: &'static str, rest: String) -> Row {
    someone("redis", word, rest)
}

fn someone(who: &str, word: &'static str, rest: String) -> Row {
    Row { who: who.to_owned(), word, rest }
}

fn befallen(consumer: Option<usize>) -> String {
    consumer.map_or("-".to_owned(), |consumer| Who { consumer, life: 0 }.to_string())
}

fn text(owned: &Owned) -> String {
    format!("{} {} token {}", owned.stream, owned.entry, owned.token)
}

#[cfg(test)]
mod tests {
    use streamkeeper::Time;

    use super::*;

    #[test]
    fn a_fact_is_a_line_of_columns() {
        let who = Who { consumer: 1, life: 2 };
        let owned = Owned { stream: "orders-7".into(), entry: "3-0".into(), token: 9 };
        let line = |micros, what| Fact { at: Time::from_micros(micros), what }.to_string();
        assert_eq!(
            line(12_345_678, What::Added { who, owned: owned.clone(), takeover: true }),
            "  12.345678  c1/2      added         orders-7 3-0 token 9, a takeover"
        );
        assert_eq!(line(1, What::Healed), "   0.000001  -         healed");
        let struck = What::Struck { action: "crash c1".to_owned(), kind: "crash", consumer: Some(1), ms: None };
        assert_eq!(line(0, struck), "   0.000000  c1        struck        crash c1");
        let granted = What::Granted { value: "redis-consumer-a#1".into(), owned };
        assert_eq!(
            line(5_000_000, granted),
            "   5.000000  redis     granted       orders-7 3-0 token 9 to redis-consumer-a#1"
        );
    }
}
