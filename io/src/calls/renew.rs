//! Keep: `renew.lua`.

use redis::aio::ConnectionLike;
use streamkeeper_core::{
    streams::call::{RenewCall, RenewException, Renewed},
    trouble::Trouble,
};

use super::{
    Calls, entry_text, millis, push,
    script::{Lazy, script},
    value::{list, odd, text},
};

pub(super) static RENEW: Lazy = script!(prelude + "renew.lua");

impl Calls {
    pub(super) async fn renew(
        &self,
        connection: &mut impl ConnectionLike,
        call: &RenewCall,
    ) -> Result<Renewed, Trouble> {
        let (names, items) = (&*self.0, &call.items);
        let mut cmd = RENEW.invoke(4 + items.len(), 5 + 3 * items.len(), 256 + 192 * items.len());
        for key in [&names.lbs, &names.fences, &names.epoch, &names.token] {
            cmd.arg(key);
        }
        let mut buffer = String::with_capacity(256);
        for item in items.iter() {
            cmd.arg(names.lease(&mut buffer, &item.stream, item.entry));
        }
        cmd.arg(&names.group).arg(names.consumer.as_str()).arg(millis(names.config.lease_ttl));
        cmd.arg(call.recreate.as_deref().unwrap_or_default());
        for item in items.iter() {
            cmd.arg(entry_text(&mut buffer, item.entry));
        }
        cmd.arg("JUSTID");
        for item in items.iter() {
            cmd.arg(names.lease_value(&mut buffer, item.attempt));
        }
        for item in items.iter().filter(|_| call.recreate.is_some()) {
            buffer.clear();
            push(&mut buffer, item.token);
            buffer.push(' ');
            buffer.push_str(item.stream.as_str());
            cmd.arg(buffer.as_bytes());
        }
        let value = self.run(connection, &RENEW, cmd).await?;
        let mut answers = list(value).ok_or_else(|| Trouble::other("renew: Redis answered no list"))?.into_iter();
        let group = answers.next().and_then(|v| text(&v).map(|t| t.into_owned()));
        let group = group.ok_or_else(|| Trouble::other("renew: Redis answered no text"))?;
        let group_lost = (!group.is_empty()).then(|| crate::wire::troubles::whole(&group).message);
        let mut exceptions = Vec::with_capacity(answers.len());
        for value in answers {
            let exception = text(&value).and_then(|text| exception(&text)).filter(|(i, _)| *i < items.len());
            exceptions.push(exception.ok_or_else(|| odd("renew", &value))?);
        }
        // In the order of the items; of two about the same, the later one counts.
        exceptions.reverse();
        exceptions.sort_by_key(|(index, _)| *index);
        exceptions.dedup_by_key(|(index, _)| *index);
        Ok(Renewed { exceptions, group_lost })
    }
}

fn exception(text: &str) -> Option<(usize, RenewException)> {
    let (index, what) = text.split_once(' ')?;
    let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
    let exception = match word {
        "lost" => RenewException::Lost((!rest.is_empty()).then(|| rest.into())),
        "back" => RenewException::TakenBack,
        "recreated" => RenewException::Recreated,
        "gone" => RenewException::Gone,
        "broken" => RenewException::Broken(rest.into()),
        _ => return None,
    };
    Some((index.parse().ok()?, exception))
}
