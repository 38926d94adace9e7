//! What was handed to this consumer is taken in: once, however many answers bring it.

use super::{
    Command, Fate, Machine, Remark,
    call::{Delivery, Fields, Hold},
    held::{Held, State, Tie},
    runs::Queue,
};
use crate::{id::EntryId, time::Time};

impl Machine {
    /// New messages: their first delivery.
    pub(super) fn admit_new(&mut self, messages: Vec<(EntryId, Option<Fields>)>, confirmed: Time) {
        assert!(confirmed <= self.now, "an answer to a question that is to come");
        for (entry, fields) in messages {
            let hold = Hold { entry, deliveries: 1 };
            self.admit(Delivery { hold, fields, history: None }, confirmed, Queue::New);
        }
    }

    /// Messages that were taken, or taken in again.
    pub(super) fn admit_all(&mut self, deliveries: Vec<Delivery>, confirmed: Time) {
        assert!(confirmed <= self.now, "an answer to a question that is to come");
        for delivery in deliveries {
            self.admit(delivery, confirmed, Queue::Due);
        }
    }

    fn admit(&mut self, delivery: Delivery, confirmed: Time, queue: Queue) {
        let Delivery { hold, fields, history } = delivery;
        if !self.makes_way(hold, fields.as_ref(), confirmed) {
            return;
        }
        assert!(self.holds.get(hold.entry).is_none(), "{hold:?} is held already, and taken in again");
        let gone = fields.is_none();
        self.holds.insert(Held::new(hold, fields.unwrap_or_default(), history, self.now, confirmed));
        if gone {
            // Nobody can run it any more.
            return self.acknowledge(hold.entry, Fate::Lost);
        }
        if self.is_running() {
            self.runs.push(queue, hold.entry);
        } else {
            self.give_back(hold.entry);
        }
    }

    /// Whether this delivery is to be taken in; what is held of an earlier delivery then ends.
    fn makes_way(&mut self, hold: Hold, fields: Option<&Fields>, confirmed: Time) -> bool {
        if self.settling.is_stray(hold) {
            return false; // it is being given back already, and comes again
        }
        let Some(held) = self.holds.get(hold.entry) else { return true };
        if hold.deliveries <= held.hold.deliveries {
            if hold == held.hold {
                self.comes_again(hold, fields, confirmed);
            }
            return false;
        }
        match held.state() {
            // Never two runs of a message in one process: it is another's turn, or ours later.
            State::Running(_) => {
                self.lose(hold.entry);
                self.return_stray(hold);
                false
            }
            // It has succeeded, and the acknowledgement that is under way is good for this delivery too.
            State::Acking(_) => false,
            State::Parking(parking) => {
                let fate = parking.fate();
                self.forget(hold.entry, fate);
                true
            }
            _ => {
                self.forget(hold.entry, Fate::Lost);
                true
            }
        }
    }

    /// What is held comes once more: an answer came late; or the group was lost and everything comes again; or another
    /// server has forgotten that it handed it out. That one may also have given its id to another message.
    fn comes_again(&mut self, hold: Hold, fields: Option<&Fields>, confirmed: Time) {
        let Some(held) = self.holds.get_mut(hold.entry) else { return };
        let Some(tie) = held.running_mut().map(|running| running.tie) else { return };
        let same = self.server.spans(held.came) || fields == Some(&held.fields);
        match tie {
            Tie::Gone if same => {
                held.tie_again();
                held.confirmed = held.confirmed.max(confirmed);
            }
            Tie::Gone => {
                self.lose(hold.entry);
                self.return_stray(hold);
            }
            Tie::Ours => {}
            Tie::Lost => self.return_stray(hold),
        }
    }

    /// It is another's: a run is told so, everything else ends here.
    pub(super) fn lose(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get_mut(entry) else { return };
        match held.running_mut() {
            Some(running) => {
                let (run, before) = (running.run, std::mem::replace(&mut running.tie, Tie::Lost));
                held.sifted = true;
                if before != Tie::Lost {
                    self.command(Command::Lost(run));
                }
            }
            None => self.forget(entry, Fate::Lost),
        }
    }

    /// It is held no more, and this became of it.
    pub(super) fn forget(&mut self, entry: EntryId, fate: Fate) {
        self.free(entry);
        if let Some(held) = self.holds.remove(entry) {
            let runs = matches!(held.state(), State::Running(running) if self.runs.is_live(running.run));
            assert!(!runs, "{entry} is held no more, and runs");
            assert!(
                !matches!(held.state(), State::Acking(_)) || self.config.no_ack,
                "{entry}: its success is forgotten"
            );
            self.next_suspect(entry);
            assert!(self.runs.suspect != Some(entry), "{entry} is held no more, and others wait for its end");
            self.settled.push((entry, fate));
        }
    }

    /// The group is gone, and with it every hold. What was in flight comes again.
    pub(super) fn lose_everything(&mut self) {
        self.remark(Remark::GroupLost);
        let entries: Vec<EntryId> =
            self.holds.iter().filter(|(_, held)| !matches!(held.state(), State::Acking(_))).map(|(e, _)| e).collect();
        for entry in entries {
            self.lose(entry);
        }
        self.settling.forget_strays();
        let rest = |held: &Held| matches!(held.state(), State::Running(_) | State::Acking(_));
        debug_assert!(self.holds.iter().all(|(_, held)| rest(held)), "only what runs outlives the group");
    }
}
