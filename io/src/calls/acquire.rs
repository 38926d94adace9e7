//! Own: `acquire.lua`.

use std::time::Duration;

use redis::{Value, aio::ConnectionLike};
use streamkeeper_core::{
    id::Token,
    streams::call::{AcquireCall, Acquired, Answer, Grant},
    trouble::Trouble,
};

use super::{
    Calls, entry_text, millis, push,
    script::{Lazy, script},
    value::{bytes, list, odd, utf8},
};

pub(super) static ACQUIRE: Lazy = script!(prelude + "acquire.lua");

impl Calls {
    pub(super) async fn acquire(
        &self,
        connection: &mut impl ConnectionLike,
        call: &AcquireCall,
    ) -> Result<Answer, Trouble> {
        let (names, items) = (&*self.0, &call.items);
        let mut cmd = ACQUIRE.invoke(5 + 2 * items.len(), 7 + 4 * items.len(), 256 + 256 * items.len());
        for key in [&names.lbs, &names.fences, &names.token, &names.epoch, &names.dead] {
            cmd.arg(key);
        }
        let mut buffer = String::with_capacity(256);
        for item in items {
            cmd.arg(names.lease(&mut buffer, &item.stream, item.entry));
            if let Some(other) = item.other {
                names.lease(&mut buffer, &item.stream, other);
            }
            cmd.arg(buffer.as_bytes());
        }
        cmd.arg(&names.group).arg(names.consumer.as_str()).arg(millis(names.config.lease_ttl));
        cmd.arg(call.identity.as_str()).arg(call.floor.0).arg(names.config.max_takeovers).arg(names.cap());
        for item in items {
            cmd.arg(entry_text(&mut buffer, item.entry)).arg(item.stream.as_str());
            buffer.clear();
            push(&mut buffer, item.attempt);
            cmd.arg(buffer.as_bytes());
            match item.other {
                Some(other) => cmd.arg(entry_text(&mut buffer, other)),
                None => cmd.arg(if item.fresh { "+" } else { "" }),
            };
        }
        let value = self.run(connection, &ACQUIRE, cmd).await?;
        if bytes(&value) == Some(b"epoch") {
            return Ok(Answer::EpochDiffers);
        }
        let answers = list(value).ok_or_else(|| Trouble::other("acquire: Redis answered no list"))?;
        if answers.len() != items.len() {
            return Err(Trouble::other(format_args!("acquire: {} answers to {} items", answers.len(), items.len())));
        }
        let acquired: Result<_, _> = answers.iter().map(|v| acquired(v).ok_or_else(|| odd("acquire", v))).collect();
        acquired.map(Answer::Acquired)
    }
}

fn acquired(value: &Value) -> Option<Acquired> {
    // The text of an error need not be UTF-8: a key's name may stand in it.
    if let Some(error) = bytes(value)?.strip_prefix(b"broken ") {
        return Some(Acquired::Broken(String::from_utf8_lossy(error).into()));
    }
    let (word, rest) = utf8(value)?.split_once(' ').unwrap_or((utf8(value)?, ""));
    Some(match word {
        "granted" => {
            let mut numbers = rest.split(' ').map(str::parse::<u64>);
            let mut next = || numbers.next()?.ok();
            Acquired::Granted(Grant {
                token: Token(next()?),
                takeover: next()? != 0,
                takeovers: u32::try_from(next()?).unwrap_or(u32::MAX),
                failures: u32::try_from(next()?).unwrap_or(u32::MAX),
                deliveries: next()?,
            })
        }
        "gone" => Acquired::Gone,
        "trimmed" => Acquired::Trimmed,
        "held" => Acquired::Held(Duration::from_millis(rest.parse().ok()?)),
        "busy" => Acquired::Busy(Duration::from_millis(rest.parse().ok()?)),
        "other" => Acquired::Other(rest.parse().ok()?),
        "aside" => Acquired::SetAside(rest.parse().ok()?),
        _ => return None,
    })
}
