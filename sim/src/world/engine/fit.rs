//! Which plans the engine takes: those about ownerships with one server. What exists only in the shell, or has a machine of
//! its own, is not there.

use thiserror::Error;

use crate::plan::{Action, Plan, RedisFault, Servers};

/// A plan that the engine cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the engine `core` has no {what}, which this line of the plan asks for: `{line}`; take `--engine events`, or the line out"
)]
pub struct Unfit {
    /// What it does not have.
    pub what: &'static str,
    /// The line, as the plan writes it.
    pub line: String,
}

impl Plan {
    /// Whether the engine `core` can run it.
    ///
    /// # Errors
    /// The first line that it cannot.
    pub fn fits_core(&self) -> Result<(), Unfit> {
        if !self.servers.is_usual() {
            return Err(Unfit { what: "several servers", line: format!("topology {}", self.servers) });
        }
        for consumer in &self.consumers {
            let (what, kind) = match consumer {
                consumer if consumer.worker.is_some() => ("workers", "worker"),
                consumer if consumer.go => ("Go peers", "consumer"),
                consumer if consumer.app.reading.is_some() => ("readers of entries", "consumer"),
                _ => continue,
            };
            return Err(Unfit { what, line: format!("{kind} {consumer}") });
        }
        match self.actions.iter().find_map(|timed| lacks(&timed.action).map(|what| (what, timed.action.to_string()))) {
            Some((what, line)) => Err(Unfit { what, line }),
            None => Ok(()),
        }
    }

    /// The plan that the engine `core` runs in place of this one: without what it does not have. Go peers are consumers of
    /// ours instead.
    ///
    /// # Errors
    /// Nothing would be left of it: it is about messages, entries or several servers.
    pub fn fitted_to_core(mut self) -> Result<Plan, Unfit> {
        let many = self.servers != Servers::default();
        if !many && !self.has_workers() && !self.has_readers() {
            self.consumers.iter_mut().for_each(|consumer| consumer.go = false);
            self.actions.retain(|timed| lacks(&timed.action).is_none());
        }
        self.fits_core().map(|()| self)
    }
}

/// What an action asks for that is not there.
fn lacks(action: &Action) -> Option<&'static str> {
    match action {
        Action::Append { .. } => Some("entries"),
        Action::Send(_) | Action::LoseSend { .. } => Some("messages"),
        Action::Redis(fault) => lacks_fault(fault),
        _ => None,
    }
}

fn lacks_fault(fault: &RedisFault) -> Option<&'static str> {
    match fault {
        RedisFault::TrimData { .. } => Some("entries"),
        RedisFault::DeleteAttempts | RedisFault::DeleteDelayed | RedisFault::Unpark { .. } => Some("messages"),
        RedisFault::Switch { .. }
        | RedisFault::Cut { .. }
        | RedisFault::Freeze { .. }
        | RedisFault::Kill { .. }
        | RedisFault::Detach { .. }
        | RedisFault::MoveSlot { .. }
        | RedisFault::Stale { .. } => Some("several servers"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn what_it_does_not_have_is_named_with_its_line() {
        for (text, what, line) in [
            ("topology sentinel", "several servers", "topology sentinel"),
            ("consumer a\nconsumer b go", "Go peers", "consumer b go"),
            ("worker w", "workers", "worker w "),
            ("consumer a entries=10", "readers of entries", "consumer a "),
            ("1s append 2 data-1..3", "entries", "append 2 data-1..3"),
            ("1s send 4", "messages", "send 4"),
            ("1s lose-send", "messages", "lose-send"),
            ("1s redis detach 3s", "several servers", "redis detach 3s"),
            ("1s redis trim-data 1 5", "entries", "redis trim-data 1 5"),
            ("1s redis unpark 3", "messages", "redis unpark 3"),
        ] {
            let plan: Plan = text.parse().unwrap();
            let unfit = plan.fits_core().unwrap_err();
            assert_eq!(unfit.what, what, "{text}");
            assert!(unfit.line.starts_with(line), "{unfit}");
            assert!(unfit.to_string().contains("--engine events"), "{unfit}");
        }
    }

    #[test]
    fn drawn_plans_are_fitted_and_change_in_nothing_else() {
        for profile in Profile::STREAMS {
            for seed in 0..200 {
                let plan = Plan::draw(seed, profile);
                let fitted = plan.clone().fitted_to_core().unwrap();
                assert_eq!(fitted.fits_core(), Ok(()));
                assert_eq!((&fitted.actions, fitted.seed), (&plan.actions, plan.seed), "{seed}");
                if plan.consumers.iter().all(|consumer| !consumer.go) {
                    assert_eq!(fitted, plan);
                }
            }
        }
        let others = Profile::all().filter(|profile| !Profile::STREAMS.contains(profile));
        assert!(others.into_iter().all(|profile| Plan::draw(1, profile).fitted_to_core().is_err()));
    }
}
