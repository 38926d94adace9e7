//! What happens to entries as text.

use super::facts::{Id, Said};
use crate::facts::{Owned, Who};

/// Who, what, and the rest.
pub(crate) fn row(said: &Said) -> (String, &'static str, String) {
    let redis = |by: &Option<Who>, word, rest: String| {
        let by = by.map_or_else(|| "by hand".to_owned(), |who| format!("for {who}"));
        ("redis".to_owned(), word, format!("{rest} {by}"))
    };
    let alone = |word, rest| ("redis".to_owned(), word, rest);
    let process = |who: &Who, word, owned: &Owned, rest: String| {
        (who.to_string(), word, format!("{} token {}: {rest}", owned.stream, owned.token))
    };
    match said {
        Said::Appended { stream, id } => alone("appended", format!("{stream} {id}")),
        Said::Removed { stream, before: Some(before) } => alone("trimmed", format!("{stream} before {before}")),
        Said::Removed { stream, before: None } => alone("emptied", stream.to_string()),
        Said::Stored { by, stream, position, marked } => {
            let marked = if *marked { ", marked" } else { "" };
            redis(by, "stored", format!("{stream} {position}{marked}"))
        }
        Said::Dropped { stream } => alone("dropped", format!("the position of {stream}")),
        Said::Effect { by, stream, id } => redis(by, "effect", format!("{stream} {id}")),
        Said::Opened { who, owned, position } => process(who, "opened", owned, position.to_string()),
        Said::Yielded { who, owned, ids } => process(who, "read", owned, some(ids)),
        Said::Told { who, owned, what, id } => {
            let id = id.map(|id| format!(" {id}")).unwrap_or_default();
            process(who, "told", owned, format!("{what}{id}"))
        }
        Said::Closed { who, owned } => process(who, "closed", owned, String::new()),
        Said::Asked { who, owned, commit, to } => process(who, "commits", owned, format!("{to}, commit {commit}")),
        Said::Answered { who, owned, commit, how } => process(who, "answered", owned, format!("commit {commit} {how}")),
        Said::Stands(stock) => {
            let entries: usize = stock.streams.iter().map(|(_, ids)| ids.len()).sum();
            let effects: usize = stock.effects.iter().map(|(_, effects)| effects.len()).sum();
            let positions = stock.positions.len();
            alone("stands", format!("{}: {entries} entries, {positions} positions, {effects} effects", stock.why))
        }
    }
}

/// The first and the last, and how many.
fn some(ids: &[Id]) -> String {
    match ids {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first}..{last}, {} entries", ids.len()),
    }
}
