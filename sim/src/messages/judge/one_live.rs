//! `one-live`: a message whose worker is alive and reaches Redis is not given to another, however long its handler runs.

use super::{Court, Promise, View, ledger::Run};
use crate::{
    facts::{Fact, What, Who},
    messages::facts::Said,
};

/// Knows nothing of its own.
pub(super) struct OneLive;

impl Promise for OneLive {
    fn name(&self) -> &'static str {
        "one-live"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        match &fact.what {
            What::Message(Said::Claimed { by, entries, script, .. }) => {
                for entry in entries {
                    let Some(message) = view.ledger.messages.get(entry) else { continue };
                    let Some(run) = view.ledger.current_run(entry, message) else { continue };
                    if *by != Some(run.who) && is_safe(run, view, court) {
                        let (holder, by) = (run.who, name(*by));
                        let how = script.unwrap_or("XCLAIM");
                        court.harm(format!("{by} takes {entry} by {how} while {holder} works on it in peace"));
                    }
                }
            }
            What::Message(Said::Began { who, entry, .. }) => {
                if view.ledger.runs_of(entry).any(|run| run.who == *who) {
                    court.harm(format!("{who} begins a second run of {entry} while its first has not ended"));
                }
                let current = view.ledger.messages.get(entry).and_then(|of| view.ledger.current_run(entry, of));
                if let Some(run) = current.filter(|run| run.who != *who && is_safe(run, view, court)) {
                    court.harm(format!("{who} begins a run of {entry} while {} works on it in peace", run.who));
                }
            }
            _ => {}
        }
    }
}

/// Whether a run is entitled to its message: nothing has befallen its process since it began, or so long ago that its
/// message was confirmed since.
fn is_safe(run: &Run, view: &View, court: &Court<'_>) -> bool {
    let well = view.fleet.well(run.who);
    let idle = view.fleet.longest_idle();
    let undisturbed = well <= run.began || (well <= court.at && court.at.since(well) >= idle);
    undisturbed && view.ledger.altered < run.began
}

fn name(by: Option<Who>) -> String {
    by.map_or_else(|| "somebody".to_owned(), |who| who.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "one-live";

    #[test]
    fn nobody_takes_what_another_works_on() {
        let begins = [started(0), ready(0), started(1), ready(1), entered(1), delivered(0, &[1]), began(0, 1, 1)];
        bad(P, &[&begins[..], &[claimed(1, "~delayed", 1, false)]].concat());
        good(P, &[&begins[..], &[ended(0, 1, 1, "failed"), claimed(0, "~delayed", 1, false)]].concat());
        good(P, &[&begins[..], &[crashed(0), claimed(1, "~delayed", 1, false), claimed(1, "w1", 1, true)]].concat());
        bad(P, &[&begins[..], &[began(1, 2, 1)]].concat());
        bad(P, &[&begins[..], &[began(0, 2, 1)]].concat());
        good(P, &[&begins[..], &[ended(0, 1, 1, "failed"), began(0, 2, 1)]].concat());
    }

    #[test]
    fn who_was_cut_off_is_not_safe_until_it_has_come_back() {
        let begins = [started(0), ready(0), started(1), ready(1), entered(1), delivered(0, &[1]), began(0, 1, 1)];
        good(
            P,
            &[&begins[..], &[struck_as("partition", "partition c0 5s"), claimed(1, "~delayed", 1, false)]].concat(),
        );
        good(P, &[&begins[..], &[paused(0, 5_000), claimed(1, "~delayed", 1, false)]].concat());
        bad(P, &[&begins[..], &[struck_as("partition", "partition c1 5s"), claimed(1, "~delayed", 1, false)]].concat());
        let mut later: Vec<_> = each_ms(&begins);
        later.push(timed(100, paused(0, 1_000)));
        later.push(timed(1_100, resumed(0)));
        later.push(timed(60_000, claimed(1, "~delayed", 1, false)));
        bad_timed(P, &later);
        good(P, &[&begins[..], &[stands("hand", &[1], &[], None), claimed(1, "w1", 1, false)]].concat());
    }
}
