//! What is refused is tried again and again until a person has mended it: people read of it at once, then once a minute.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper_core::{time::Time, trouble::TroubleKind};

/// For how long the same refusal is not said again.
const SILENCE: Duration = Duration::from_secs(60);

/// When each refusal was said last. As many as there are calls and kinds of trouble.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(&'static str, TroubleKind), Refusal>);

#[derive(Debug)]
struct Refusal {
    said: Time,
    unsaid: u64,
}

impl Refusals {
    /// This was refused now. If it is to be said: how often it was not said since the last time.
    pub(crate) fn note(&mut self, what: &'static str, kind: TroubleKind, now: Time) -> Option<u64> {
        let Some(refusal) = self.0.get_mut(&(what, kind)) else {
            self.0.insert((what, kind), Refusal { said: now, unsaid: 0 });
            return Some(0);
        };
        if now.since(refusal.said) < SILENCE {
            refusal.unsaid += 1;
            return None;
        }
        refusal.said = now;
        Some(std::mem::take(&mut refusal.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_said_once_a_minute() {
        let mut refusals = Refusals::default();
        let mut at = |what, kind, seconds: u64| refusals.note(what, kind, Time::from_millis(seconds * 1_000));
        assert_eq!(at("due", TroubleKind::WrongType, 5), Some(0));
        for seconds in 6..65 {
            assert_eq!(at("due", TroubleKind::WrongType, seconds), None);
        }
        assert_eq!(at("due", TroubleKind::Refused, 40), Some(0), "another cause");
        assert_eq!(at("read", TroubleKind::WrongType, 41), Some(0), "another call");
        assert_eq!(at("due", TroubleKind::WrongType, 65), Some(59));
        assert_eq!(at("due", TroubleKind::WrongType, 66), None);
        assert_eq!(at("due", TroubleKind::WrongType, 600), Some(1));
    }
}
