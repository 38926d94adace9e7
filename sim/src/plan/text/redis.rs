//! What befalls Redis, as text.

use std::fmt;

use super::{
    Unreadable,
    action::{by, consumer, only, way},
    span::{parse_ms, print_ms},
    words::Words,
};
use crate::plan::{RedisFault, Refusal, ServerName};

const REDIS: &str = "what befalls Redis: crash, restart, failover, clock, stall, drop-messages, delay-messages, \
     double-messages, clear-flags, refuse, disconnect, forget-scripts, destroy-group, delete-lbs, trim, trim-data, \
     flush-all, evict, \
     switch, cut, freeze, kill, detach, move-slot, stale, \
     delete-consumer, redeliver, delete-attempts, delete-delayed, unpark or wrong-type";

pub(super) fn parse(words: &mut Words, names: &[String]) -> Result<RedisFault, Unreadable> {
    let first = words.word(REDIS)?;
    Ok(match first.as_str() {
        "crash" => RedisFault::Crash { ms: words.ms()? },
        "restart" => RedisFault::Restart { ms: words.ms()? },
        "failover" => RedisFault::Failover { ms: words.ms()? },
        "switch" => {
            let ms = words.ms()?;
            let after_ms = if words.skip("after")? { words.ms()? } else { 0 };
            let spread_ms = if words.skip("spread")? { words.ms()? } else { 0 };
            RedisFault::Switch { ms, after_ms, spread_ms, alive: words.skip("alive")? }
        }
        "cut" => RedisFault::Cut { server: server(words)?, ms: words.ms()?, way: way(words)? },
        "freeze" => RedisFault::Freeze { server: server(words)?, ms: words.ms()? },
        "kill" => RedisFault::Kill { server: server(words)?, ms: words.ms()? },
        "detach" => RedisFault::Detach { ms: words.ms()? },
        "move-slot" => RedisFault::MoveSlot { ms: words.ms()? },
        "stale" => RedisFault::Stale { server: server(words)?, ms: words.ms()? },
        "clock" => RedisFault::ClockStep { by_ms: words.read("a step such as `+5s` or `-250ms`", parse_step)? },
        "stall" => RedisFault::Stall { ms: words.ms()? },
        "drop-messages" => RedisFault::DropMessages { ms: words.ms()? },
        "delay-messages" => RedisFault::DelayMessages { by_ms: by(words)?, ms: words.ms()? },
        "double-messages" => RedisFault::DoubleMessages { ms: words.ms()? },
        "clear-flags" => RedisFault::ClearFlags,
        "refuse" => {
            let expected = Refusal::ALL.map(Refusal::name).join(", ");
            let with = words.read(&expected, |word| Refusal::ALL.into_iter().find(|r| r.name() == word))?;
            RedisFault::Refuse { with, ms: words.ms()? }
        }
        "disconnect" => RedisFault::Disconnect,
        "forget-scripts" => RedisFault::ForgetScripts,
        "destroy-group" => RedisFault::DestroyGroup,
        "delete-lbs" => RedisFault::DeleteLbs,
        "trim" => RedisFault::Trim { left: words.number("how many entries are left")? },
        "trim-data" => {
            let nth = words.number("which data stream: a number")?;
            RedisFault::TrimData { nth, left: words.number("how many entries are left")? }
        }
        "flush-all" => RedisFault::FlushAll,
        "evict" => RedisFault::Evict { nth: words.number("which lease: a number")? },
        "delete-consumer" => RedisFault::DeleteConsumer { consumer: consumer(words, names)? },
        "redeliver" => RedisFault::Redeliver,
        "delete-attempts" => RedisFault::DeleteAttempts,
        "delete-delayed" => RedisFault::DeleteDelayed,
        "unpark" => RedisFault::Unpark { nth: words.number("which parked message: a number")? },
        "wrong-type" => RedisFault::WrongType { nth: words.number("which lease: a number")?, ms: words.ms()? },
        other => return Err(words.wrong(other, REDIS)),
    })
}

fn server(words: &mut Words) -> Result<ServerName, Unreadable> {
    words.read("a server: `r0`, `r1` … or a sentinel `s0`, `s1`, `s2`", |word| word.parse().ok())
}

fn parse_step(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(back) => 0i64.checked_sub_unsigned(parse_ms(back)?),
        None => parse_ms(text.strip_prefix('+').unwrap_or(text))?.try_into().ok(),
    }
}

pub(super) fn arguments(f: &mut fmt::Formatter<'_>, fault: &RedisFault) -> fmt::Result {
    match fault {
        RedisFault::Crash { ms }
        | RedisFault::Restart { ms }
        | RedisFault::Failover { ms }
        | RedisFault::Stall { ms }
        | RedisFault::DropMessages { ms }
        | RedisFault::DoubleMessages { ms }
        | RedisFault::Refuse { ms, .. } => write!(f, " {}", print_ms(*ms)),
        RedisFault::Switch { ms, after_ms, spread_ms, alive } => {
            write!(f, " {}", print_ms(*ms))?;
            for (word, ms) in [("after", *after_ms), ("spread", *spread_ms)] {
                if ms > 0 {
                    write!(f, " {word} {}", print_ms(ms))?;
                }
            }
            f.write_str(if *alive { " alive" } else { "" })
        }
        RedisFault::Cut { server, way, ms } => write!(f, " {server} {}{}", print_ms(*ms), only(*way)),
        RedisFault::Freeze { server, ms } | RedisFault::Kill { server, ms } | RedisFault::Stale { server, ms } => {
            write!(f, " {server} {}", print_ms(*ms))
        }
        RedisFault::Detach { ms } | RedisFault::MoveSlot { ms } => write!(f, " {}", print_ms(*ms)),
        RedisFault::ClockStep { by_ms } => {
            write!(f, " {}{}", if *by_ms < 0 { '-' } else { '+' }, print_ms(by_ms.unsigned_abs()))
        }
        RedisFault::DelayMessages { by_ms, ms } => write!(f, " by {} for {}", print_ms(*by_ms), print_ms(*ms)),
        RedisFault::Trim { left } => write!(f, " {left}"),
        RedisFault::TrimData { nth, left } => write!(f, " {nth} {left}"),
        RedisFault::Evict { nth } | RedisFault::Unpark { nth } => write!(f, " {nth}"),
        RedisFault::DeleteConsumer { consumer } => write!(f, " c{consumer}"),
        RedisFault::WrongType { nth, ms } => write!(f, " {nth} {}", print_ms(*ms)),
        RedisFault::ClearFlags
        | RedisFault::Disconnect
        | RedisFault::ForgetScripts
        | RedisFault::DestroyGroup
        | RedisFault::DeleteLbs
        | RedisFault::FlushAll
        | RedisFault::Redeliver
        | RedisFault::DeleteAttempts
        | RedisFault::DeleteDelayed => Ok(()),
    }
}

impl RedisFault {
    /// Its first words: what it is counted as.
    pub fn kind(&self) -> &'static str {
        match self {
            RedisFault::Crash { .. } => "redis crash",
            RedisFault::Restart { .. } => "redis restart",
            RedisFault::Failover { .. } => "redis failover",
            RedisFault::Switch { alive: false, .. } => "redis switch",
            RedisFault::Switch { alive: true, .. } => "redis switch alive",
            RedisFault::Cut { .. } => "redis cut",
            RedisFault::Freeze { .. } => "redis freeze",
            RedisFault::Kill { .. } => "redis kill",
            RedisFault::Detach { .. } => "redis detach",
            RedisFault::MoveSlot { .. } => "redis move-slot",
            RedisFault::Stale { .. } => "redis stale",
            RedisFault::ClockStep { .. } => "redis clock",
            RedisFault::Stall { .. } => "redis stall",
            RedisFault::DropMessages { .. } => "redis drop-messages",
            RedisFault::DelayMessages { .. } => "redis delay-messages",
            RedisFault::DoubleMessages { .. } => "redis double-messages",
            RedisFault::ClearFlags => "redis clear-flags",
            RedisFault::Refuse { with, .. } => with.kind(),
            RedisFault::Disconnect => "redis disconnect",
            RedisFault::ForgetScripts => "redis forget-scripts",
            RedisFault::DestroyGroup => "redis destroy-group",
            RedisFault::DeleteLbs => "redis delete-lbs",
            RedisFault::Trim { .. } => "redis trim",
            RedisFault::TrimData { .. } => "redis trim-data",
            RedisFault::FlushAll => "redis flush-all",
            RedisFault::Evict { .. } => "redis evict",
            RedisFault::DeleteConsumer { .. } => "redis delete-consumer",
            RedisFault::Redeliver => "redis redeliver",
            RedisFault::DeleteAttempts => "redis delete-attempts",
            RedisFault::DeleteDelayed => "redis delete-delayed",
            RedisFault::Unpark { .. } => "redis unpark",
            RedisFault::WrongType { .. } => "redis wrong-type",
        }
    }
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 11] = [
        Refusal::Loading,
        Refusal::ReadOnly,
        Refusal::MasterDown,
        Refusal::Oom,
        Refusal::Busy,
        Refusal::Misconf,
        Refusal::NoReplicas,
        Refusal::MaxClients,
        Refusal::NoPerm,
        Refusal::TryAgain,
        Refusal::ClusterDown,
    ];

    /// As actions name it.
    pub fn name(self) -> &'static str {
        self.kind().trim_start_matches("redis refuse ")
    }

    fn kind(self) -> &'static str {
        match self {
            Refusal::Loading => "redis refuse loading",
            Refusal::ReadOnly => "redis refuse readonly",
            Refusal::MasterDown => "redis refuse masterdown",
            Refusal::Oom => "redis refuse oom",
            Refusal::Busy => "redis refuse busy",
            Refusal::Misconf => "redis refuse misconf",
            Refusal::NoReplicas => "redis refuse noreplicas",
            Refusal::MaxClients => "redis refuse maxclients",
            Refusal::NoPerm => "redis refuse noperm",
            Refusal::TryAgain => "redis refuse tryagain",
            Refusal::ClusterDown => "redis refuse clusterdown",
        }
    }
}
