//! What the machine says has happened: told to the leases, to whoever waits for a claim, and to the application.

use streamkeeper_core::{
    id::EntryId,
    streams::{Event, Notification as Fact},
};

use super::{Driver, Progress};
use crate::{
    errors::ClaimError,
    lease::{Lease, Lost},
    log,
    notification::Notification,
};

impl Driver {
    pub(super) fn notify(&mut self, fact: Fact) {
        log::notification(&fact);
        let partition = self.partition;
        let notification = match fact {
            Fact::Ready if self.muster.ready(self.partition) => Notification::Ready,
            Fact::Ready => return,
            Fact::Added(added) => {
                self.shared.meters.added(added.takeover);
                let (clock, desk) = (self.shared.clock.clone(), self.shared.desk.clone());
                let lease = Lease::new(added, partition, clock, self.ends.0.clone(), desk);
                self.shared.leases.insert(lease.clone());
                self.answer_claims(lease.entry(), "granted", || Ok(lease.clone()));
                Notification::Added(lease)
            }
            Fact::Expired { entry, stream } => {
                // The reaper says it again for as long as it is true.
                if self.shared.outbox.backlogged() {
                    return self.shared.meters.hint_withheld();
                }
                Notification::Expired { entry, stream, partition }
            }
            Fact::ClaimLost { entry, stream, why } => {
                self.answer_claims(entry, why.label(), || Err(ClaimError::Lost { entry, why: why.clone() }));
                Notification::ClaimLost { entry, stream, why, partition }
            }
            Fact::Disowned { entry, stream, token, reason } => {
                self.finish(entry, Lost::Disowned(reason.clone()));
                Notification::Disowned { entry, stream, token, reason, partition }
            }
            Fact::Done { entry, stream, token } => {
                self.finish(entry, Lost::Done);
                Notification::Done { entry, stream, token, partition }
            }
            Fact::Released { entry, stream, token } => {
                self.finish(entry, Lost::Released);
                Notification::Released { entry, stream, token, partition }
            }
            Fact::Rejected { entry, stream, reason, error } => {
                self.shared.meters.rejected(reason.label());
                Notification::Rejected { entry, stream, reason, error, partition }
            }
            Fact::Terminated(trouble) => {
                self.progress.send_replace(Progress::Terminated(trouble.clone()));
                let Some(last) = self.muster.ended(Err(trouble)) else { return };
                last
            }
            Fact::Stopped(report) => {
                self.progress.send_replace(Progress::Stopped(report));
                let Some(last) = self.muster.ended(Ok(report)) else { return };
                last
            }
        };
        if self.shared.outbox.push(notification, &self.turns) {
            self.tell(Event::Backlogged(true));
        }
    }

    fn finish(&mut self, entry: EntryId, lost: Lost) {
        let label = lost.label();
        if let Some(lease) = self.shared.leases.finish(entry, lost) {
            self.shared.meters.ended(label, self.shared.clock.now().since(lease.0.gained()));
        }
    }

    fn answer_claims(&mut self, entry: EntryId, outcome: &'static str, answer: impl Fn() -> Result<Lease, ClaimError>) {
        for claim in self.claims.remove(&entry).unwrap_or_default() {
            self.shared.meters.claimed(outcome);
            // Whoever dropped the question reads the answer among the notifications.
            let _ = claim.send(answer());
        }
    }
}
