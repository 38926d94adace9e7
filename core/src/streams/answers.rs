//! Answers to calls: each goes to whoever asked. One that comes late, twice or to no question is dropped and counted.

use super::{
    Link, Machine, Remark,
    call::{Answer, Call},
};
use crate::{id::CallId, trouble::Trouble};

impl Machine {
    pub(super) fn answered(&mut self, id: CallId, result: Result<Answer, Trouble>) {
        let Some(asked) = self.calls.remove(&id) else { return self.remark(Remark::StrayAnswer) };
        assert!(asked.issued <= self.now, "{id:?} is answered at {:?}, before it was issued", self.now);
        match result {
            Ok(answer) if fits(&asked.call, &answer) => {
                let current = self.is_current(&asked);
                if current && super::link_of(&asked.call) == Link::Commands {
                    self.taking.trust_commands(asked.issued);
                }
                self.thrive(&asked.call);
                match answer {
                    // What an older connection said of its server says nothing of this one.
                    Answer::Epoch(_) if !current => self.epoch_unanswered(false),
                    answer => self.take_in(asked, answer),
                }
            }
            Ok(answer) => {
                let text = format!("{} was answered with an unfit {}", asked.call.name(), answer.name());
                self.fail(asked, &Trouble::other(text));
            }
            Err(trouble) => self.fail(asked, &trouble),
        }
    }

    fn take_in(&mut self, asked: super::Asked, answer: Answer) {
        let issued = asked.issued;
        assert_eq!(asked.call.name(), answer.name(), "what does not fit is not taken in");
        match (asked.call, answer) {
            (Call::Prepare, Answer::Prepared(server)) => self.prepared(server),
            (Call::Epoch(_), Answer::Epoch(answer)) => self.epoch_learned(&answer),
            (Call::Read { .. }, Answer::Read(deliveries)) => self.read(deliveries),
            (Call::Take { .. }, Answer::Taken { deliveries, more }) => self.taken(deliveries, more),
            (Call::Look(asked), Answer::Looked { fleet, deliveries }) => self.looked(&asked, fleet, deliveries),
            (Call::Mine { count, .. }, Answer::Mine(entries)) => self.mine(count, entries),
            (Call::Acquire(call), Answer::Acquired(answers)) => self.acquired(call, issued, answers),
            (Call::Acquire(call), Answer::EpochDiffers) => {
                self.epoch_differs();
                self.acquire_failed(&call);
            }
            (Call::Renew(call), Answer::Renewed(answer)) => self.renewed(call, issued, answer),
            (Call::Done(items), Answer::Done(answers)) => self.done_answered(items, answers),
            (Call::Release(items), Answer::Released(answers)) => self.release_answered(items, answers),
            (Call::Reap { count, .. }, Answer::Reaped { idle, announced }) => self.reaped(count, idle, announced),
            (Call::Reap { .. }, Answer::ReaperIs(span)) => self.reaper_is(span),
            (Call::Bury { entry, error }, Answer::Buried(was_there)) => self.buried(entry, error, was_there),
            (Call::Forget { .. }, Answer::Forgotten(entries)) => self.forgotten(entries),
            (Call::Clean, Answer::Cleaned(names)) if !names.is_empty() => self.remark(Remark::Cleaned(names)),
            (call, answer) => {
                let nothing_to_learn = matches!(call, Call::Ping | Call::Hint(_) | Call::Ring { .. } | Call::Clean);
                assert!(nothing_to_learn, "{} was answered with {answer:?}, which nobody has heard", call.name());
            }
        }
    }

    /// Whether this went over the connection that is in use.
    fn is_current(&self, asked: &super::Asked) -> bool {
        let link = super::link_of(&asked.call);
        self.links.is_up(link) && asked.generation == self.links.generation(link)
    }

    fn fail(&mut self, asked: super::Asked, trouble: &Trouble) {
        let current = self.is_current(&asked);
        let call = asked.call;
        if matches!(call, Call::Read { .. }) && !self.is_running() {
            return; // its connection was closed by us
        }
        self.suffer(&call, current, trouble);
        match &call {
            Call::Prepare => self.prepare_failed(trouble, current),
            Call::Epoch(_) => self.epoch_failed(trouble, current),
            Call::Ping => self.pong_missed(),
            Call::Read { .. } | Call::Take { .. } => self.take_failed(),
            Call::Look(asked) => self.look_failed(asked),
            Call::Mine { .. } => self.mine_failed(),
            Call::Acquire(acquire) => self.acquire_failed(acquire),
            Call::Renew(renew) => self.renewal_failed(renew, trouble.kind),
            Call::Done(_) | Call::Release(_) => self.end_failed(&call),
            Call::Reap { .. } => self.reap_failed(),
            Call::Forget { .. } => self.forgotten(Vec::new()),
            // Hints may be lost, malformed announcements are set aside again later.
            Call::Hint(_) | Call::Ring { .. } | Call::Bury { .. } | Call::Clean => {}
        }
    }
}

/// Whether this is an answer to that call, of the right size.
fn fits(call: &Call, answer: &Answer) -> bool {
    match (call, answer) {
        (Call::Acquire(call), Answer::Acquired(answers)) => call.items.len() == answers.len(),
        (Call::Done(items), Answer::Done(answers)) => items.len() == answers.len(),
        (Call::Release(items), Answer::Released(answers)) => items.len() == answers.len(),
        (Call::Renew(call), Answer::Renewed(answer)) => {
            answer.exceptions.is_sorted_by(|a, b| a.0 < b.0)
                && answer.exceptions.last().is_none_or(|(index, _)| *index < call.items.len())
        }
        _ => call.name() == answer.name(),
    }
}
