//! Looking for orphans, so that nothing depends on a notification: one consumer of the fleet asks the pending list and
//! rings the doorbell; everybody looks at what is pending under the own name after each gap (DESIGN 5.4).

use std::{collections::BTreeSet, time::Duration};

use super::{
    Machine, Remark,
    call::{Call, Idle},
    heirs::Rung,
    orphans::Source,
};
use crate::{config::ClaimMode, id::EntryId, time::Time};

/// How many entries one look at the pending list returns.
const PAGE: usize = 1_000;
/// How many ids one ring of the doorbell carries.
const RING: usize = 500;
/// What Redis takes for each pending entry of a scan, and how often over it is left in peace: 5 % of its time
/// (measured on 7.0.15: 60 ns).
const SCAN_COST: Duration = Duration::from_nanos(60 * 20);
/// How often the reaper looks for consumers that were not heard of for an hour.
const CLEAN_INTERVAL: Duration = Duration::from_secs(600);

/// Where looking stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    reap_at: Time,
    /// The next page begins behind this.
    after: Option<EntryId>,
    reaping: bool,
    /// This consumer is the reaper, as far as it knows.
    is_reaper: bool,
    /// What it rang for.
    pub(super) rung: Rung,
    found: usize,
    clean_at: Option<Time>,
    /// The next page of what is pending under our name.
    mine: Mine,
    /// Announcements without payload, to be acknowledged.
    pub(super) trimmed: BTreeSet<EntryId>,
    forgetting: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Mine {
    #[default]
    Seen,
    Due(Option<EntryId>),
    Asked {
        again: bool,
    },
}

impl State {
    /// What is true between two events, with so many questions of each kind under way.
    pub(super) fn check(&self, reaps: usize, mines: usize, forgets: usize) {
        assert_eq!(usize::from(self.reaping), reaps, "orphans are looked for by one call at a time, or by none");
        let asked = matches!(self.mine, Mine::Asked { .. });
        assert_eq!(usize::from(asked), mines, "what is pending under our name is listed by one call, or by none");
        assert_eq!(
            usize::from(self.forgetting),
            forgets,
            "what has no payload is acknowledged by one call, or by none"
        );
        assert!(self.after.is_some() || self.found == 0, "{} were found in no look that is under way", self.found);
        assert!(self.is_reaper || self.after.is_none(), "who does not look for orphans has no next page of them");
        self.rung.check();
    }
}

impl Machine {
    /// Something may have been missed: look at everything.
    pub(super) fn look_around(&mut self) {
        self.reaping.reap_at = self.reaping.reap_at.min(self.now);
        assert!(self.reaping.reap_at <= self.now, "whoever looks around looks for orphans, too, and now");
        self.reaping.mine = match self.reaping.mine {
            Mine::Asked { .. } => Mine::Asked { again: true },
            Mine::Seen | Mine::Due(_) => Mine::Due(None),
        };
    }

    pub(super) fn reap(&mut self) {
        if !self.may_acquire() || self.taking.backlogged {
            return;
        }
        if let Mine::Due(after) = self.reaping.mine {
            self.reaping.mine = Mine::Asked { again: false };
            self.ask(Call::Mine { after, count: PAGE });
        }
        if self.room() > 0 && !self.reaping.reaping && self.reaping.reap_at <= self.now {
            self.reaping.reaping = true;
            let room = if self.config.claim == ClaimMode::Auto { self.room() } else { 0 };
            self.ask(Call::Reap { after: self.reaping.after, count: PAGE, room });
        }
        if !self.reaping.trimmed.is_empty() && !self.reaping.forgetting {
            self.reaping.forgetting = true;
            let entries = std::mem::take(&mut self.reaping.trimmed).into_iter().collect();
            let idle = self.server.longest_ttl(&self.config);
            assert!(idle >= self.config.lease_ttl, "what may have an owner for another {idle:?} is not acknowledged");
            self.ask(Call::Forget { entries, idle });
        }
    }

    /// Whether this consumer is the one that looks for orphans, as far as it knows.
    pub(super) fn is_reaper(&self) -> bool {
        self.reaping.is_reaper && self.room() > 0
    }

    pub(super) fn reaping_wake(&self) -> Option<Time> {
        let able = self.is_running() && self.server.epoch.settled().is_some() && self.server.is_prepared();
        if !able || self.taking.backlogged || !self.links.is_up(super::Link::Commands) {
            return None;
        }
        let hold = self.server.hold_until;
        if matches!(self.reaping.mine, Mine::Due(_)) {
            return Some(hold);
        }
        (self.room() > 0 && !self.reaping.reaping).then_some(self.reaping.reap_at.max(hold))
    }

    /// This consumer is the reaper, and this is what has been idle for too long.
    pub(super) fn reaped(&mut self, asked: usize, idle: Vec<Idle>, announced: u64) {
        assert!(self.reaping.reaping, "idle entries come, and nobody has looked for any");
        self.reaping.reaping = false;
        self.reaping.is_reaper = true;
        let mut orphans = Vec::new();
        for &Idle { entry, .. } in &idle {
            // What is offered to our application may be taken by others, who do not know of it: the bell rings for it.
            let known = self.leases.contains(entry) || self.orphans.contains(entry);
            if known {
                self.reaping.rung.keep(entry);
            } else if !self.orphans.is_held(entry, self.now)
                || (self.is_in_a_crowd() && self.orphans.is_held_firmly(entry, self.now))
            {
                // In a crowd nobody stands in its line for certain while we do not.
                orphans.push(entry);
            }
        }
        self.reaping.found += orphans.len();
        for (heirs, orphans) in self.rings(&orphans) {
            for chunk in orphans.chunks(RING) {
                self.ask(Call::Ring { entries: chunk.to_vec(), heirs });
                for &entry in chunk {
                    if !self.is_offered(entry) && !self.orphans.is_held(entry, self.now) {
                        self.remark(Remark::NotificationMissed(entry));
                        self.hint(entry, None, Source::Reaped, self.config.heirs);
                    }
                }
            }
        }
        if idle.len() >= asked {
            self.reaping.after = idle.last().map(|last| last.entry);
            return; // the next page at once
        }
        self.reaping.after = None;
        self.reaping.rung.turn_over();
        assert!(self.reaping.is_reaper, "a whole look is the reaper's");
        let cost = SCAN_COST.saturating_mul(u32::try_from(announced).unwrap_or(u32::MAX));
        self.reaping.reap_at = self.now + self.config.reap_interval.max(cost);
        assert!(self.reaping.reap_at >= self.now + self.config.reap_interval, "looks keep their distance");
        let found = std::mem::take(&mut self.reaping.found);
        self.remark(Remark::Orphans(found));
        self.clean();
    }

    fn clean(&mut self) {
        match self.reaping.clean_at {
            Some(at) if at > self.now => {}
            Some(_) => {
                assert!(self.reaping.is_reaper, "one consumer of the fleet cleans");
                self.reaping.clean_at = Some(self.now + CLEAN_INTERVAL);
                self.ask(Call::Clean);
            }
            None => self.reaping.clean_at = Some(self.now + CLEAN_INTERVAL / 10),
        }
    }

    /// Somebody else is the reaper, for so long at least.
    pub(super) fn reaper_is(&mut self, span: Duration) {
        assert!(self.reaping.reaping, "somebody else is the reaper, and nobody has asked");
        self.reaping.reaping = false;
        self.reaping.is_reaper = false;
        self.reaping.rung = Rung::default();
        self.reaping.found = 0;
        self.remark(Remark::Orphans(0)); // somebody else counts them
        self.reaping.after = None;
        let jitter = self.dice.below(self.config.reap_interval / 10);
        self.reaping.reap_at = self.now + span.max(Duration::from_millis(1)) + jitter;
    }

    pub(super) fn reap_failed(&mut self) {
        assert!(self.reaping.reaping, "a look for orphans fails, and there was none");
        self.reaping.reaping = false;
        self.reaping.rung.break_off();
        self.reaping.found = 0;
        self.reaping.after = None;
        self.reaping.reap_at = self.now + self.config.reap_interval;
    }

    /// A page of what is pending under our name: what is not ours is looked at.
    pub(super) fn mine(&mut self, asked: usize, entries: Vec<EntryId>) {
        assert!(matches!(self.reaping.mine, Mine::Asked { .. }), "what is pending here is listed to who has not asked");
        let again = matches!(self.reaping.mine, Mine::Asked { again: true });
        self.reaping.mine = match entries.last() {
            _ if again => Mine::Due(None),
            Some(&last) if entries.len() >= asked => Mine::Due(Some(last)),
            _ => Mine::Seen,
        };
        for entry in entries {
            self.hint(entry, None, Source::Mine, self.config.heirs);
        }
    }

    pub(super) fn mine_failed(&mut self) {
        assert!(matches!(self.reaping.mine, Mine::Asked { .. }), "a list fails that nobody has asked for");
        self.reaping.mine = Mine::Due(None);
    }

    pub(super) fn forgotten(&mut self, entries: Vec<EntryId>) {
        assert!(self.reaping.forgetting, "what has no payload was acknowledged, and nobody has asked for that");
        self.reaping.forgetting = false;
        if !entries.is_empty() {
            self.remark(Remark::Forgotten(entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tested::{entry, machine},
        *,
    };

    #[test]
    fn what_a_look_has_found_that_was_cut_off_is_not_counted_twice() {
        let ends: [fn(&mut Machine); 2] =
            [Machine::reap_failed, |machine| machine.reaper_is(Duration::from_millis(300))];
        for end in ends {
            let mut machine = machine(|_| {});
            machine.reaping.reaping = true;
            let idle = Idle { entry: entry(1), idle: Duration::from_secs(4) };
            machine.reaped(1, vec![idle], 2);
            assert_eq!((machine.reaping.found, machine.reaping.after), (1, Some(idle.entry)), "there is a next page");
            machine.reaping.reaping = true;
            end(&mut machine);
            assert_eq!((machine.reaping.found, machine.reaping.after), (0, None), "the next look begins anew");
        }
    }

    #[test]
    fn what_is_pending_here_is_listed_page_by_page() {
        for (again, numbers, next) in [
            (false, vec![3, 7], Mine::Due(Some(entry(7)))),
            (false, vec![3], Mine::Seen),
            (false, vec![], Mine::Seen),
            (true, vec![3, 7], Mine::Due(None)),
            (true, vec![3], Mine::Due(None)),
        ] {
            let mut machine = machine(|_| {});
            machine.reaping.mine = Mine::Asked { again };
            machine.mine(2, numbers.iter().map(|number| entry(*number)).collect());
            assert_eq!(machine.reaping.mine, next, "behind {numbers:?}, two at a time, again: {again}");
            assert_eq!(machine.orphans.len(), numbers.len(), "each is looked at");
        }
    }

    #[test]
    fn a_long_list_is_looked_through_less_often() {
        let ms = Duration::from_millis;
        for (announced, pause) in [(0, ms(200)), (100_000, ms(200)), (1_000_000, ms(1_200)), (u64::MAX, ms(5_153_960))]
        {
            let mut machine = machine(|_| {});
            machine.reaping.reaping = true;
            machine.reaped(PAGE, Vec::new(), announced);
            let next = machine.reaping.reap_at.since(machine.now);
            assert!(next >= pause && next < pause + ms(1), "{announced} are announced: again after {next:?}");
        }
    }
}
