//! What calls cost a server and how long they are on their way: the part of a scaled world that is not executed but
//! modelled.

use std::time::Duration;

use serde::Serialize;
use streamkeeper_core::streams::{Answer, Call};
use thiserror::Error;

/// How long things take. All but the latency is time of a server's one thread, in microseconds; where each default comes
/// from stands in `docs/scale.md`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// One way between a consumer and a server.
    pub latency_us: f64,
    /// Any command by itself: reading it, finding it, answering it.
    pub command_us: f64,
    /// What the question after the epoch takes beyond that.
    pub epoch_us: f64,
    /// Each lease that is renewed, its part of the call's command included.
    pub renew_us: f64,
    /// Each new announcement that is acquired.
    pub acquire_us: f64,
    /// Each orphan that is acquired.
    pub claim_us: f64,
    /// Each pending announcement that is looked at.
    pub look_us: f64,
    /// Each announcement that is handed out.
    pub read_us: f64,
    /// Each announcement that is appended, pipelined.
    pub announce_us: f64,
    /// Each consumer of the group, whenever a script lists them.
    pub consumer_us: f64,
    /// Each pending entry that a scan for orphans passes.
    pub scan_us: f64,
    /// Each lease that lapses.
    pub lapse_us: f64,
    /// Each notification to each subscriber, as they come in crowds.
    pub push_us: f64,
    /// Each ring of the doorbell to each subscriber.
    pub ring_us: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            latency_us: 250.0,
            command_us: 10.0,
            epoch_us: 10.0,
            renew_us: 6.3,
            acquire_us: 16.0,
            claim_us: 20.0,
            look_us: 9.0,
            read_us: 1.0,
            announce_us: 2.65,
            consumer_us: 1.0,
            scan_us: 0.06,
            lapse_us: 2.0,
            push_us: 0.4,
            ring_us: 10.0,
        }
    }
}

/// A cost of a name that there is not, or a value that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no cost: write one of {names} with its microseconds, such as `renew=6.3`")]
pub struct UnknownCost {
    text: String,
    names: String,
}

impl Costs {
    /// Changes one of them: `renew=6.3`.
    ///
    /// # Errors
    /// A name that there is not, and what is no number of microseconds.
    pub fn set(&mut self, text: &str) -> Result<(), UnknownCost> {
        let mut fields = self.fields();
        let names = fields.each_ref().map(|(name, _)| *name).join(", ");
        let unknown = || UnknownCost { text: text.to_owned(), names };
        let Some((name, value)) = text.split_once('=') else { return Err(unknown()) };
        let value = value.parse::<f64>().ok().filter(|value| (0.0..=1e9).contains(value));
        match (fields.iter_mut().find(|(known, _)| *known == name), value) {
            (Some((_, field)), Some(value)) => **field = value,
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn fields(&mut self) -> [(&'static str, &mut f64); 14] {
        [
            ("latency", &mut self.latency_us),
            ("command", &mut self.command_us),
            ("epoch", &mut self.epoch_us),
            ("renew", &mut self.renew_us),
            ("acquire", &mut self.acquire_us),
            ("claim", &mut self.claim_us),
            ("look", &mut self.look_us),
            ("read", &mut self.read_us),
            ("announce", &mut self.announce_us),
            ("consumer", &mut self.consumer_us),
            ("scan", &mut self.scan_us),
            ("lapse", &mut self.lapse_us),
            ("push", &mut self.push_us),
            ("ring", &mut self.ring_us),
        ]
    }

    /// One way.
    pub(crate) fn latency(&self) -> Duration {
        span(self.latency_us)
    }

    /// What a call took the server that answered this, with so many commands, and listed so many consumers for it.
    pub(crate) fn of_call(&self, call: &Call, answer: Option<&Answer>, commands: u64, listed: u64) -> f64 {
        let items = match (call, answer) {
            (Call::Renew(call), _) => call.items.len() as f64 * self.renew_us,
            (Call::Acquire(call), _) => {
                call.items.iter().map(|item| if item.fresh { self.acquire_us } else { self.claim_us }).sum()
            }
            (Call::Look(_), Some(Answer::Looked { deliveries, .. })) => deliveries.len() as f64 * self.look_us,
            (Call::Take { .. }, Some(Answer::Taken { deliveries, .. })) => deliveries.len() as f64 * self.read_us,
            (Call::Read { .. }, Some(Answer::Read(deliveries))) => deliveries.len() as f64 * self.read_us,
            (Call::Mine { .. }, Some(Answer::Mine(entries))) => entries.len() as f64 * self.read_us,
            // All pages together pass every entry once: the last one is charged with it.
            (Call::Reap { count, .. }, Some(Answer::Reaped { idle, announced })) => {
                let scan = if idle.len() < *count { *announced as f64 * self.scan_us } else { 0.0 };
                scan + idle.len() as f64 * self.read_us
            }
            (Call::Epoch(_), _) => self.epoch_us,
            _ => 0.0,
        };
        commands as f64 * self.command_us + listed as f64 * self.consumer_us + items
    }
}

/// So many microseconds.
pub(crate) fn span(micros: f64) -> Duration {
    Duration::from_micros(micros.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cost_can_be_set_by_its_name() {
        let mut costs = Costs::default();
        let names = costs.fields().map(|(name, _)| name);
        for name in names {
            costs.set(&format!("{name}=123.5")).unwrap();
        }
        assert!(costs.fields().iter().all(|(_, value)| **value == 123.5), "{costs:?}");
        for wrong in ["renew", "renew=", "renew=-1", "renew=many", "renewal=1", ""] {
            let error = costs.set(wrong).unwrap_err().to_string();
            assert!(error.contains("latency, command") && error.contains(&format!("`{wrong}`")), "{error}");
        }
    }

    #[test]
    fn a_call_pays_for_those_that_it_listed() {
        let costs = Costs::default();
        let looked = Answer::Looked { fleet: Default::default(), deliveries: Vec::new() };
        for (listed, expected) in [(0, 10.0), (1_000, 1_010.0)] {
            assert_eq!(costs.of_call(&Call::Look(Vec::new()), Some(&looked), 1, listed), expected);
        }
    }
}
