//! What a run came to.

use std::{collections::BTreeMap, fmt, str::FromStr};

use streamkeeper::Time;

use crate::{
    facts::Fact,
    judge::{Kind, Violation},
};

/// Which network a run has, and with it which engine drives the consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Net {
    /// Our own, event-driven: fast.
    #[default]
    Events,
    /// turmoil.
    Turmoil,
    /// None: the engine that has no shell either, but the machines alone. For volume.
    Core,
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Net::Events => "events",
            Net::Turmoil => "turmoil",
            Net::Core => "core",
        })
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Net, String> {
        match text {
            "events" => Ok(Net::Events),
            "turmoil" => Ok(Net::Turmoil),
            "core" => Ok(Net::Core),
            _ => Err(format!("`{text}` is no network and no engine: `events`, `turmoil` or `core`")),
        }
    }
}

/// What a run came to: a pure function of its plan and its network.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// When it ended.
    pub end: Time,
    /// The promises that were broken, in the order in which it was seen.
    pub violations: Vec<Violation>,
    /// Panics that the plan did not ask for, of the shell or of the simulation itself: each fails the run.
    pub panics: Vec<String>,
    /// What must happen sometimes, over many runs, and how often it did in this one; all names, with 0 if not.
    pub sometimes: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Nothing was broken.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.panics.is_empty()
    }

    /// The worst that was broken; a panic counts as safety.
    pub fn worst(&self) -> Option<Kind> {
        let panicked = (!self.panics.is_empty()).then_some(Kind::Safety);
        panicked.or_else(|| self.violations.iter().map(|violation| violation.kind).min())
    }

    /// The simulated time that passed, in seconds.
    pub fn simulated_s(&self) -> f64 {
        self.end.as_micros() as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_a_matter_of_safety() {
        let broken = |kind| Violation { promise: "kept", kind, at: Time::ZERO, how: String::new() };
        let mut outcome = Outcome {
            facts: Vec::new(),
            end: Time::from_millis(1_500),
            violations: Vec::new(),
            panics: Vec::new(),
            sometimes: BTreeMap::new(),
        };
        assert_eq!((outcome.is_good(), outcome.worst(), outcome.simulated_s()), (true, None, 1.5));
        outcome.violations.push(broken(Kind::Liveness));
        assert_eq!((outcome.is_good(), outcome.worst()), (false, Some(Kind::Liveness)));
        outcome.violations.push(broken(Kind::Safety));
        assert_eq!(outcome.worst(), Some(Kind::Safety));
        outcome.violations.clear();
        outcome.panics.push("at the wall".to_owned());
        assert_eq!((outcome.is_good(), outcome.worst()), (false, Some(Kind::Safety)));
    }

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for net in [Net::Events, Net::Turmoil, Net::Core] {
            assert_eq!(net.to_string().parse(), Ok(net));
        }
        assert!("wire".parse::<Net>().is_err());
    }
}
