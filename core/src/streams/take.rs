//! Taking new announcements: one wait for a first one, then the fair share of what else is there (DESIGN 5.1).

use std::time::Duration;

use super::{
    Link, Machine,
    call::{Call, Delivery},
};
use crate::time::Time;

/// Between two questions for a share while others are to take theirs.
const SHARE_PAUSE: Duration = Duration::from_millis(25);
/// So many times in a row others are given the chance to take their share; then what they leave is taken.
const PATIENCE: u32 = 5;
/// What is taken at once of what others have left; doubles for as long as they leave it.
const LEFT_OVER: usize = 20;

/// Where taking stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    stage: Stage,
    /// The application is behind with its notifications.
    pub(super) backlogged: bool,
    /// The reader was made anew at this time, and nothing that was asked since on the connection for commands has been
    /// answered yet: what broke the one may have broken the other unnoticed, and what is read could not be acquired.
    unproven_since: Option<Time>,
    /// Questions in a row that were answered with: your share is taken, others' is not.
    withheld: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    /// Wait for a first announcement as soon as there is room.
    #[default]
    Idle,
    /// Waiting for one.
    Reading,
    /// There may be more: ask for them at this time.
    More(Time),
    /// Asking for so many more.
    Taking(usize),
}

impl State {
    pub(super) fn is_reading(&self) -> bool {
        self.stage == Stage::Reading
    }

    /// How many announcements the answer to a question may bring.
    pub(super) fn asked_for(&self) -> usize {
        if let Stage::Taking(count) = self.stage { count } else { 0 }
    }

    /// What is true between two events while announcements are taken, with so many questions under way.
    pub(super) fn check(&self, reads: usize, takes: usize) {
        assert_eq!(usize::from(self.is_reading()), reads, "whoever waits for an announcement has asked for one, once");
        let taking = matches!(self.stage, Stage::Taking(_));
        assert_eq!(usize::from(taking), takes, "whoever takes more has asked for more, once");
    }

    /// The reader was made anew.
    pub(super) fn doubt_commands(&mut self, now: Time) {
        self.unproven_since = Some(now);
    }

    /// Something that was asked at `issued` was answered on the connection for commands that is in use.
    pub(super) fn trust_commands(&mut self, issued: Time) {
        if self.unproven_since.is_some_and(|since| since <= issued) {
            self.unproven_since = None;
        }
        assert!(self.unproven_since.is_none_or(|since| since > issued), "what was asked since is proof enough");
    }
}

impl Machine {
    pub(super) fn take_announcements(&mut self) {
        if !self.may_acquire() || !self.may_take() {
            return;
        }
        match self.taking.stage {
            Stage::Idle if self.may_read() => {
                assert!(self.room() > 0, "who waits for an announcement has room for it");
                self.taking.stage = Stage::Reading;
                self.ask(Call::Read { count: 1, block: self.config.block() });
            }
            Stage::More(at) if at <= self.now => {
                let share = self.taking.withheld < PATIENCE;
                let doublings = self.taking.withheld.saturating_sub(PATIENCE).min(10);
                let most = if share { self.config.acquire_batch } else { LEFT_OVER << doublings };
                let count = self.free().min(most).min(self.config.acquire_batch);
                let share = share.then(|| self.leases.len() + self.orphans.fresh());
                assert!(count > 0, "nobody asks for nothing");
                assert!(count <= self.room(), "{count} are asked for, and there is room for {}", self.room());
                self.taking.stage = Stage::Taking(count);
                self.ask(Call::Take { count, share });
            }
            _ => {}
        }
    }

    pub(super) fn taking_wake(&self) -> Option<Time> {
        if !self.may_acquire_later() || !self.may_take() {
            return None;
        }
        match self.taking.stage {
            Stage::More(at) => Some(at.max(self.server.hold_until)),
            Stage::Idle if self.may_read() => Some(self.server.hold_until),
            _ => None,
        }
    }

    /// Whether there is room for more, here and on the server.
    fn may_take(&self) -> bool {
        !self.taking.backlogged && self.free() > 0 && !(self.server.full && self.is_acquiring())
    }

    fn may_read(&self) -> bool {
        self.links.is_up(Link::Reader) && self.taking.unproven_since.is_none()
    }

    /// Whether announcements may be acquired as soon as the server is not left alone any more.
    fn may_acquire_later(&self) -> bool {
        self.is_running()
            && self.links.is_up(Link::Commands)
            && self.server.is_prepared()
            && self.server.epoch.settled().is_some()
    }

    /// The application is behind with its notifications, or has caught up: then what was passed over is looked for.
    pub(super) fn backlogged(&mut self, backlogged: bool) {
        self.taking.backlogged = backlogged;
        if !backlogged {
            self.look_around();
        }
    }

    /// The wait is over.
    pub(super) fn read(&mut self, deliveries: Vec<Delivery>) {
        assert_eq!(self.taking.stage, Stage::Reading, "a wait is over, and nobody was waiting");
        self.taking.stage = if deliveries.is_empty() { Stage::Idle } else { Stage::More(self.now) };
        self.taking.withheld = 0;
        for delivery in deliveries {
            self.took(delivery);
        }
    }

    /// More came, or others are to have theirs.
    pub(super) fn taken(&mut self, deliveries: Vec<Delivery>, more: bool) {
        assert!(matches!(self.taking.stage, Stage::Taking(_)), "more comes, and nobody has asked for more");
        self.taking.stage = match (deliveries.is_empty(), more) {
            (true, false) => Stage::Idle,
            (true, true) => self.withheld(),
            (false, _) if self.taking.withheld >= PATIENCE => self.withheld(),
            // The patience goes on: whoever finishes streams meanwhile has a little share left each time.
            (false, _) => Stage::More(self.now),
        };
        if self.taking.stage == Stage::Idle {
            self.taking.withheld = 0;
        }
        for delivery in deliveries {
            self.took(delivery);
        }
    }

    /// Others first: the next question comes a little later, and in the end asks for more than the share.
    fn withheld(&mut self) -> Stage {
        assert!(matches!(self.taking.stage, Stage::Taking(_)), "others' share is known from an answer only");
        self.taking.withheld = self.taking.withheld.saturating_add(1);
        Stage::More(self.now + SHARE_PAUSE)
    }

    /// The question failed. What its answer would have held is pending under our name: it is looked for.
    pub(super) fn take_failed(&mut self) {
        let asked = matches!(self.taking.stage, Stage::Reading | Stage::Taking(_));
        assert!(asked, "a question for announcements fails, and none was asked: {:?}", self.taking.stage);
        self.taking.stage = Stage::Idle;
        self.look_around();
    }
}
