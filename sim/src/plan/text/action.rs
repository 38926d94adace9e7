//! Actions as text.

use std::{fmt, str::FromStr};

use super::{
    Unreadable, redis,
    span::print_ms,
    words::{Words, quote, quote_remainder},
};
use crate::plan::{Action, Does, Point, RedisFault, Sending, Way, Wish};

const ACTION: &str = "an action: announce, append, malformed, send, start, crash, drain, pause, suspend, partition, stall, reset, \
     slow, lose-answer, lose-send, done, release, fail, redis or note";
const SENDING: &str = "what the messages do (succeeds, fails, panics, crashes, hangs, rejects, drops, broken, dead-fails, \
     dead-acks, dead-crashes), `taking`, `delayed`, `once`, `keyed`, or the end of the line";
const STREAMS: &str = "streams such as `orders-7` or `orders-1..40`";

impl Action {
    /// Reads an action in which consumers may be named as in this list, besides `c0`, `c1` …
    ///
    /// # Errors
    /// The first word that does not fit.
    pub fn parse(text: &str, names: &[String]) -> Result<Action, Unreadable> {
        let mut words = Words::new(1, text);
        let action = parse(&mut words, names)?;
        words.end()?;
        Ok(action)
    }

    /// Its first word or words: what it is counted as.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Announce { .. } => "announce",
            Action::Append { .. } => "append",
            Action::Malformed { .. } => "malformed",
            Action::Start { .. } => "start",
            Action::Crash { .. } => "crash",
            Action::Drain { .. } => "drain",
            Action::Pause { .. } => "pause",
            Action::Suspend { .. } => "suspend",
            Action::Partition { .. } => "partition",
            Action::Stall { .. } => "stall",
            Action::Reset { .. } => "reset",
            Action::Slow { .. } => "slow",
            Action::LoseAnswer { .. } => "lose-answer",
            Action::Send(_) => "send",
            Action::LoseSend { .. } => "lose-send",
            Action::Wish { end, .. } => wish(*end),
            Action::Redis(fault) => fault.kind(),
            Action::Note(_) => "note",
        }
    }
}

impl FromStr for Action {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Action, Unreadable> {
        Action::parse(text, &[])
    }
}

pub(super) fn parse(words: &mut Words, names: &[String]) -> Result<Action, Unreadable> {
    let first = words.word(ACTION)?;
    Ok(match first.as_str() {
        "announce" => {
            let (prefix, from, count) = streams(words)?;
            Action::Announce { prefix, from, count }
        }
        "append" => {
            let entries = words.number("how many entries")?;
            let (prefix, from, count) = streams(words)?;
            Action::Append { prefix, from, count, entries }
        }
        "malformed" => Action::Malformed { kind: words.number("a number from 0 to 255")? },
        "start" => Action::Start { consumer: consumer(words, names)?, renamed: words.skip("renamed")? },
        "crash" => Action::Crash { consumer: consumer(words, names)? },
        "drain" => Action::Drain { consumer: consumer(words, names)?, deadline_ms: words.ms()? },
        "pause" => Action::Pause { consumer: consumer(words, names)?, ms: words.ms()?, point: point(words)? },
        "suspend" => Action::Suspend { consumer: consumer(words, names)?, ms: words.ms()? },
        "partition" => Action::Partition { consumer: consumer(words, names)?, ms: words.ms()?, way: way(words)? },
        "stall" => Action::Stall { consumer: consumer(words, names)?, ms: words.ms()?, way: way(words)? },
        "reset" => Action::Reset { consumer: consumer(words, names)? },
        "slow" => Action::Slow { consumer: consumer(words, names)?, by_ms: by(words)?, ms: words.ms()? },
        "lose-answer" => {
            let consumer = consumer(words, names)?;
            let after = if words.skip("after")? { words.number("a number of calls")? } else { 0 };
            Action::LoseAnswer { consumer, after }
        }
        "send" => Action::Send(sending(words)?),
        "lose-send" => {
            let after = if words.skip("after")? { words.number("a number of calls")? } else { 0 };
            Action::LoseSend { after }
        }
        "done" => Action::Wish { end: Wish::Done, stream: words.word(STREAMS)? },
        "release" => Action::Wish { end: Wish::Release, stream: words.word(STREAMS)? },
        "fail" => Action::Wish { end: Wish::Fail, stream: words.word(STREAMS)? },
        "redis" => Action::Redis(redis::parse(words, names)?),
        "note" => Action::Note(words.remainder()?),
        other => return Err(words.wrong(other, ACTION)),
    })
}

fn sending(words: &mut Words) -> Result<Sending, Unreadable> {
    let mut sending = Sending { count: words.number("how many messages")?, ..Sending::default() };
    let mut does = None;
    while let Some(word) = words.maybe()? {
        match word.as_str() {
            "taking" => sending.takes_ms = words.ms()?,
            "delayed" => sending.delay_ms = words.ms()?,
            "once" => sending.once = Some(words.number("an idempotency key: a number")?),
            "keyed" => sending.key = Some(words.number("a key: a number")?),
            other => match (Does::from_name(other, 0), does) {
                (Some(kind), None) => {
                    let times = kind.times().map(|_| words.peek_number()).transpose()?.flatten();
                    does = Does::from_name(other, times.unwrap_or(0));
                }
                _ => return Err(words.wrong(other, SENDING)),
            },
        }
    }
    sending.does = does.unwrap_or(Does::Succeeds);
    Ok(sending)
}

/// The prefix of names, the first number and how many.
fn streams(words: &mut Words) -> Result<(String, u64, u64), Unreadable> {
    let first = words.word(STREAMS)?;
    let second = words.maybe()?;
    let (prefix, range) = match &second {
        Some(range) => (first.as_str(), range.as_str()),
        None => {
            let start = first.split_once("..").map_or(first.as_str(), |(start, _)| start);
            first.split_at(start.trim_end_matches(|c: char| c.is_ascii_digit()).len())
        }
    };
    let (from, to) = range.split_once("..").unwrap_or((range, range));
    let wrong = || words.wrong(second.as_ref().unwrap_or(&first), STREAMS);
    let (from, to) = (plain_number(from).ok_or_else(wrong)?, plain_number(to).ok_or_else(wrong)?);
    let count = to.checked_sub(from).and_then(|more| more.checked_add(1)).ok_or_else(wrong)?;
    Ok((prefix.to_owned(), from, count))
}

/// A number as it is written at the end of a stream's name: `07` would be another name than `7`.
fn plain_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

pub(super) fn consumer(words: &mut Words, names: &[String]) -> Result<usize, Unreadable> {
    words.read("a consumer: its name, or `c0`, `c1` …", |word| {
        let place = word.strip_prefix('c').and_then(plain_number).and_then(|place| usize::try_from(place).ok());
        place.or_else(|| names.iter().position(|name| name == word))
    })
}

pub(super) fn by(words: &mut Words) -> Result<u64, Unreadable> {
    words.skip("by")?;
    words.ms()
}

fn point(words: &mut Words) -> Result<Point, Unreadable> {
    if !words.skip("at")? {
        return Ok(Point::Now);
    }
    words.read("`answer`, `handler` or `call`", |word| match word {
        "answer" => Some(Point::Answer),
        "handler" => Some(Point::Handler),
        "call" => Some(Point::Call),
        _ => None,
    })
}

pub(super) fn way(words: &mut Words) -> Result<Way, Unreadable> {
    Ok(match words.maybe()?.as_deref() {
        None => Way::Both,
        Some("out") => Way::Out,
        Some("in") => Way::In,
        Some(other) => return Err(words.wrong(other, "`out`, `in`, or the end of the line")),
    })
}

fn wish(end: Wish) -> &'static str {
    match end {
        Wish::Done => "done",
        Wish::Release => "release",
        Wish::Fail => "fail",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Its kind says the last word first.
            Action::Redis(RedisFault::Switch { .. }) => f.write_str("redis switch")?,
            _ => f.write_str(self.kind())?,
        }
        match self {
            Action::Announce { prefix, from, count } => announced(f, prefix, *from, *count),
            Action::Append { prefix, from, count, entries } => {
                write!(f, " {entries}")?;
                announced(f, prefix, *from, *count)
            }
            Action::Malformed { kind } => write!(f, " {kind}"),
            Action::Start { consumer, renamed } => write!(f, " c{consumer}{}", if *renamed { " renamed" } else { "" }),
            Action::Crash { consumer } | Action::Reset { consumer } => write!(f, " c{consumer}"),
            Action::Drain { consumer, deadline_ms: ms } | Action::Suspend { consumer, ms } => {
                write!(f, " c{consumer} {}", print_ms(*ms))
            }
            Action::Pause { consumer, ms, point } => write!(f, " c{consumer} {}{}", print_ms(*ms), at(*point)),
            Action::Partition { consumer, way, ms } | Action::Stall { consumer, way, ms } => {
                write!(f, " c{consumer} {}{}", print_ms(*ms), only(*way))
            }
            Action::Slow { consumer, by_ms, ms } => {
                write!(f, " c{consumer} by {} for {}", print_ms(*by_ms), print_ms(*ms))
            }
            Action::LoseAnswer { consumer, after: 0 } => write!(f, " c{consumer}"),
            Action::LoseAnswer { consumer, after } => write!(f, " c{consumer} after {after}"),
            Action::Send(sending) => sent(f, sending),
            Action::LoseSend { after: 0 } => Ok(()),
            Action::LoseSend { after } => write!(f, " after {after}"),
            Action::Wish { stream, .. } => write!(f, " {}", quote(stream)),
            Action::Redis(fault) => redis::arguments(f, fault),
            Action::Note(text) => write!(f, " {}", quote_remainder(text)),
        }
    }
}

fn announced(f: &mut fmt::Formatter<'_>, prefix: &str, from: u64, count: u64) -> fmt::Result {
    let one_word = quote(&format!("{prefix}0")) == format!("{prefix}0");
    let plain = one_word && !prefix.contains("..") && !prefix.ends_with(|c: char| c.is_ascii_digit());
    if plain {
        write!(f, " {prefix}{from}")?;
    } else {
        write!(f, " {} {from}", quote(prefix))?;
    }
    match count {
        0 | 1 => Ok(()),
        _ => write!(f, "..{}", from.saturating_add(count - 1)),
    }
}

fn sent(f: &mut fmt::Formatter<'_>, sending: &Sending) -> fmt::Result {
    write!(f, " {}", sending.count)?;
    if sending.does != Does::Succeeds {
        write!(f, " {}", sending.does.name())?;
    }
    match sending.does.times() {
        None | Some(0) => {}
        Some(times) => write!(f, " {times}")?,
    }
    for (word, ms) in [("taking", sending.takes_ms), ("delayed", sending.delay_ms)] {
        if ms > 0 {
            write!(f, " {word} {}", print_ms(ms))?;
        }
    }
    for (word, key) in [("once", sending.once), ("keyed", sending.key)] {
        if let Some(key) = key {
            write!(f, " {word} {key}")?;
        }
    }
    Ok(())
}

fn at(point: Point) -> &'static str {
    match point {
        Point::Now => "",
        Point::Answer => " at answer",
        Point::Handler => " at handler",
        Point::Call => " at call",
    }
}

pub(super) fn only(way: Way) -> &'static str {
    match way {
        Way::Both => "",
        Way::Out => " out",
        Way::In => " in",
    }
}
