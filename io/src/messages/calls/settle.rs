//! What becomes of messages: acknowledged, parked, buried.

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    messages::call::{AckItem, BuryItem, Fenced, ParkItem},
    trouble::Trouble,
};

use super::{
    BATCH, Calls,
    record::cut,
    script::{Lazy, script},
    send::packed,
    value::{list, number, odd, text},
};
use crate::wire::{MOST_ARGUMENTS, calls, cap, entry_text, longest, millis};

pub(super) static ACK: Lazy = script!(messages + "ack.lua");
pub(super) static PARK: Lazy = script!(messages + "park.lua");
pub(super) static BURY: Lazy = script!(messages + "bury.lua");

/// How many messages one XACK is about, at most.
const PLAIN: usize = MOST_ARGUMENTS - 3;
/// More texts than this in a payload come as one, packed.
const MOST_TEXTS: usize = 1_000;

impl Calls {
    pub(super) async fn ack(&self, connection: &mut MultiplexedConnection, items: &[AckItem]) -> Result<u64, Trouble> {
        let (names, mut buffer, mut acked) = (&*self.0, String::new(), 0);
        let owes = |item: &AckItem| item.recorded || item.processed.is_some();
        let plain = !names.config.delete_after_success && !items.iter().any(owes);
        for items in items.chunks(if plain { PLAIN } else { BATCH }) {
            let value = if plain {
                let mut cmd = redis::cmd("XACK");
                cmd.arg(names.keys.stream()).arg(names.keys.group());
                for item in items {
                    cmd.arg(entry_text(&mut buffer, item.entry));
                }
                self.send(connection, &cmd).await?
            } else {
                // Without the setting nothing is to be remembered.
                let age = names.config.processed.as_ref().map_or(1, |p| millis(longest(p.age)).max(1));
                let marks = || items.iter().filter_map(|item| item.processed.as_ref());
                let mut cmd = ACK.invoke(3 + marks().count(), 3 + 3 * items.len(), 256 + 128 * items.len());
                cmd.arg(names.keys.stream()).arg(&names.attempts).arg(&names.delayed);
                for key in marks() {
                    cmd.arg(names.keys.done(key));
                }
                cmd.arg(names.keys.group()).arg(u8::from(names.config.delete_after_success)).arg(age);
                for item in items {
                    cmd.arg(entry_text(&mut buffer, item.entry));
                    cmd.arg(u8::from(item.recorded)).arg(u8::from(item.processed.is_some()));
                }
                self.run(connection, &ACK, cmd).await?
            };
            acked += number(&value).ok_or_else(|| odd("ack", &value))?;
        }
        Ok(acked)
    }

    pub(super) async fn park(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[ParkItem],
    ) -> Result<Vec<Fenced>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(items.len()));
        for items in items.chunks(BATCH) {
            let mut cmd = PARK.invoke(3, 2 + 5 * items.len(), 256 + 256 * items.len());
            cmd.arg(names.keys.stream()).arg(&names.attempts).arg(&names.delayed);
            cmd.arg(names.keys.group()).arg(names.consumer.as_str());
            for ParkItem { hold, delay, failure } in items {
                cmd.arg(entry_text(&mut buffer, hold.entry)).arg(hold.deliveries).arg(millis(longest(*delay)));
                cmd.arg(u8::from(failure.is_some())).arg(failure.as_deref().map(cut).unwrap_or_default());
            }
            all.extend(fenced("park", self.run(connection, &PARK, cmd).await?, items.len())?);
        }
        Ok(all)
    }

    pub(super) async fn bury(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[BuryItem],
    ) -> Result<Vec<Fenced>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(items.len()));
        let texts = |item: &BuryItem| match item.gone.as_ref().map_or(0, |fields| 2 * fields.len()) {
            n if n > MOST_TEXTS => 1,
            n => n,
        };
        for items in calls(items, BATCH, 11, |item| 5 + texts(item)) {
            let arguments = 4 + items.iter().map(|item| 5 + texts(item)).sum::<usize>();
            let mut cmd = BURY.invoke(4, arguments, 256 + 256 * items.len());
            cmd.arg(names.keys.stream()).arg(&names.attempts).arg(&names.delayed).arg(&names.dead);
            cmd.arg(names.keys.group()).arg(names.consumer.as_str());
            cmd.arg(cap(names.config.dead_limit));
            cmd.arg(u8::from(names.config.delete_after_success));
            for item in items {
                cmd.arg(entry_text(&mut buffer, item.hold.entry)).arg(item.hold.deliveries);
                cmd.arg(item.reason.label()).arg(cut(&item.error)).arg(texts(item));
                match &item.gone {
                    Some(fields) if texts(item) == 1 => {
                        cmd.arg(packed(fields));
                    }
                    gone => {
                        for (name, value) in gone.iter().flat_map(|fields| fields.iter()) {
                            cmd.arg(name).arg(value);
                        }
                    }
                }
            }
            all.extend(fenced("bury", self.run(connection, &BURY, cmd).await?, items.len())?);
        }
        Ok(all)
    }
}

/// Decodes one word for each item, with an error's text behind it.
pub(super) fn fenced(call: &str, value: Value, items: usize) -> Result<Vec<Fenced>, Trouble> {
    let answers = list(value).ok_or_else(|| Trouble::other(format_args!("{call}: Redis answered no list")))?;
    if answers.len() != items {
        return Err(Trouble::other(format_args!("{call}: {} answers to {items} messages", answers.len())));
    }
    let one = |value: &Value| {
        let text = text(value)?;
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("done", _) => Some(Fenced::Done),
            ("lost", _) => Some(Fenced::Lost),
            ("gone", _) => Some(Fenced::Gone),
            ("broken", error) => Some(Fenced::Broken(error.into())),
            _ => None,
        }
    };
    answers.iter().map(|value| one(value).ok_or_else(|| odd(call, value))).collect()
}
