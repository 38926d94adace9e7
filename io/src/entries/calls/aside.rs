//! Copy entries that cannot be decoded to `S-dead-entries`: `set_aside.lua`.

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::{Aside, AsideItem, Fields},
    trouble::{Trouble, TroubleKind},
};

use super::{
    BATCH, Calls,
    script::{Lazy, script},
    troubles::advise,
    value::{list, odd, text},
};
use crate::wire::{calls, cap, entry_text, troubles};

pub(super) static SET_ASIDE: Lazy = script!(common + entries / "set_aside.lua");

/// More fields than this are packed into one: not every server takes as many words in one call.
const MOST_FIELDS: usize = 1_900;
/// The longest error that is kept, in bytes.
const LONGEST_ERROR: usize = 500;

impl Calls {
    pub(super) async fn set_aside(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[AsideItem],
    ) -> Result<Vec<Aside>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(items.len()));
        let words = |item: &AsideItem| match item.fields.len() {
            n if n > MOST_FIELDS => 7 + 2,
            n => 7 + 2 * n,
        };
        for items in calls(items, BATCH, 6, words) {
            let copies: Vec<_> = items.iter().map(|item| copy(&item.fields)).collect();
            let arguments = 2 + copies.iter().map(|copy| 6 + copy.len()).sum::<usize>();
            let bytes = copies.iter().flatten().map(Vec::len).sum::<usize>();
            let mut cmd = SET_ASIDE.invoke(1 + items.len(), arguments, 256 + 256 * items.len() + bytes);
            cmd.arg(&names.dead_entries);
            for item in items {
                cmd.arg(names.lease(&item.stream, item.entry));
            }
            cmd.arg(names.consumer.as_str());
            cmd.arg(cap(names.dead_limit));
            for (item, copy) in items.iter().zip(&copies) {
                cmd.arg(entry_text(&mut buffer, item.entry)).arg(item.stream.as_str());
                cmd.arg(names.lease_value(item.attempt)).arg(entry_text(&mut buffer, item.id));
                cmd.arg(cut(&item.error)).arg(copy.len());
                for text in copy {
                    cmd.arg(text);
                }
            }
            let answers = match self.run(connection, &SET_ASIDE, cmd).await {
                // It will be refused again, and whoever waits to commit beyond them is to be told why.
                Err(refused) if refused.kind == TroubleKind::Refused && troubles::refused(&refused) => {
                    let why = advise(refused, &names.keys).message;
                    all.extend(items.iter().map(|_| Aside::Broken(why.clone())));
                    continue;
                }
                answer => list(answer?),
            };
            let answers = answers.ok_or_else(|| Trouble::other("set_aside: Redis answered no list"))?;
            if answers.len() != items.len() {
                let n = answers.len();
                return Err(Trouble::other(format_args!("set_aside: {n} answers to {} items", items.len())));
            }
            for value in &answers {
                all.push(decode(value)?);
            }
        }
        Ok(all)
    }
}

/// The fields as they stand in the copy: `original:<name>` and value by turns. Too many of them stand in one field,
/// `packed`: `<length>:<bytes>` by turns.
fn copy(fields: &Fields) -> Vec<Vec<u8>> {
    if fields.len() <= MOST_FIELDS {
        return fields.iter().flat_map(|(name, value)| [[b"original:", &**name].concat(), value.clone()]).collect();
    }
    let mut packed = Vec::new();
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        packed.extend_from_slice(format!("{}:", text.len()).as_bytes());
        packed.extend_from_slice(text);
    }
    vec![b"packed".to_vec(), packed]
}

/// An error's text as it is kept: cut between two characters.
fn cut(error: &str) -> &str {
    let end = (0..=LONGEST_ERROR.min(error.len())).rev().find(|at| error.is_char_boundary(*at));
    &error[..end.unwrap_or(0)]
}

fn decode(value: &Value) -> Result<Aside, Trouble> {
    let wrong = || odd("set_aside", value);
    let text = text(value).ok_or_else(wrong)?;
    match text.split_once(' ').unwrap_or((&text, "")) {
        ("done", _) => Ok(Aside::Done),
        ("fenced", _) => Ok(Aside::Fenced),
        ("broken", error) => Ok(Aside::Broken(error.into())),
        _ => Err(wrong()),
    }
}
