//! Answers to calls: each goes to whoever asked. One that comes twice or to no question is dropped; what it brought is
//! found in the own list.

use super::{
    Machine, Remark,
    asked::{Asked, Question},
    call::{Answer, Fenced, Hold},
};
use crate::{
    id::CallId,
    trouble::{Trouble, TroubleKind},
};

impl Machine {
    pub(super) fn answered(&mut self, id: CallId, result: Result<Answer, Trouble>) {
        let Some(asked) = self.calls.remove(&id) else {
            self.remark(Remark::StrayAnswer(id));
            return self.look_at_own_list();
        };
        assert!(id.0 <= self.last_call, "{id:?} is under way and was never issued");
        assert!(asked.issued <= self.now, "{id:?} is answered before it was issued");
        self.own.answered(id);
        match result {
            Ok(answer) if fits(&asked.question, asked.name, &answer) => {
                self.links.works(asked.question.link());
                self.open(asked.question.kind());
                self.take_in(asked, answer);
            }
            Ok(answer) => {
                let text = format!("{} was answered with an unfit {}", asked.name, answer.name());
                self.fail(asked, Trouble::other(text));
            }
            Err(trouble) => self.fail(asked, trouble),
        }
    }

    fn take_in(&mut self, asked: Asked, answer: Answer) {
        let current = self.is_current(&asked);
        let issued = asked.issued;
        assert_eq!(asked.name, answer.name(), "what is taken in answers what was asked");
        if !self.server.spans(issued) && asked.question.is_about_holds() {
            return self.outlived(asked.question);
        }
        match (asked.question, answer) {
            (Question::Prepare, Answer::Prepared(server)) if current => self.prepared(server, issued),
            (Question::Read(_), Answer::Read(messages)) => self.read_answered(messages, issued),
            (Question::Mine { count, .. }, Answer::Mine(holds)) => self.listed(count, holds),
            (Question::Fetch(_), Answer::Fetched(deliveries)) => self.fetched(deliveries, issued),
            (Question::Due(_), Answer::Due { deliveries, next, now_ms }) => {
                self.compare_clocks(now_ms, issued);
                self.due_answered(deliveries, next, issued);
            }
            (Question::Mark(holds), Answer::Marked(answers)) => self.marked(holds, answers),
            (Question::Check(holds), Answer::Checked(answers)) => self.checked(holds, answers),
            (Question::Permits(_), Answer::Permits { granted, wait }) => self.permitted(granted, wait),
            (Question::Ack(entries), Answer::Acked(_)) => self.acked(entries),
            (Question::Refresh(holds), Answer::Refreshed(answers)) => self.refreshed(holds, answers, issued),
            (Question::Park(holds), Answer::Parked(answers)) => self.parked(holds, answers),
            (Question::Bury(holds), Answer::Buried(answers)) => self.buried(holds, answers),
            (Question::Reclaim, Answer::Reclaimed(reclaimed)) => self.reclaimed(reclaimed, issued),
            (Question::Reclaim, Answer::ReclaimerIs(span)) => self.reclaimer_is(span),
            (Question::Sweep, Answer::Swept(swept)) => self.swept(swept),
            (Question::Leave, _) => self.left(),
            _ => {}
        }
    }

    /// An earlier server has said who holds what. The one of today is asked.
    fn outlived(&mut self, question: Question) {
        assert!(question.is_about_holds(), "{question:?} is good on any server");
        assert!(self.server.identity().is_some(), "no server was known before");
        match question {
            Question::Read(_) => self.read_failed(),
            Question::Due(_) => self.due_failed(),
            Question::Mine { .. } | Question::Fetch(_) => self.listing_failed(),
            Question::Refresh(holds) => self.refresh_failed(&holds),
            Question::Mark(holds) => self.settling_failed(&holds),
            _ => {}
        }
    }

    /// Whether this went over the connection that is in use.
    fn is_current(&self, asked: &Asked) -> bool {
        let link = asked.question.link();
        self.links.is_up(link) && asked.generation == self.links.generation(link)
    }

    fn fail(&mut self, asked: Asked, trouble: Trouble) {
        let current = self.is_current(&asked);
        let question = asked.question;
        // A key of the group that holds something else hinders only what needs it: new messages go on.
        let of_the_stream = matches!(question, Question::Prepare | Question::Read(_));
        let fatal = trouble.kind.is_fatal_at_start() && (of_the_stream || trouble.kind != TroubleKind::WrongType);
        if fatal && !self.server.is_proven() {
            return self.terminate(trouble);
        }
        self.remark(Remark::CallFailed { call: asked.name, trouble: trouble.clone() });
        let kind = trouble.kind;
        if !kind.needs_new_connection() {
            self.close(question.kind());
        } else if current {
            self.disconnected(question.link(), trouble);
            if self.stopped() {
                return;
            }
        }
        let link_is_gone = kind.needs_new_connection() && current;
        assert!(!link_is_gone || !self.links.is_up(question.link()), "a broken connection is not used on");
        if kind == TroubleKind::GroupLost {
            self.group_lost();
        }
        match question {
            Question::Prepare if current => self.prepare_again(),
            Question::Prepare => {} // the connection that is in use has its own
            Question::Read(_) => self.read_failed(),
            Question::Mine { .. } => self.listing_failed(),
            Question::Fetch(_) if kind == TroubleKind::WrongType => self.fetch_cannot_be(),
            // Refused for now, whatever its size.
            Question::Fetch(_) if kind.may_pass() => self.listing_failed(),
            Question::Fetch(count) => self.fetch_failed(count),
            Question::Due(_) => self.due_failed(),
            Question::Mark(holds) | Question::Park(holds) | Question::Bury(holds) => self.settling_failed(&holds),
            Question::Check(holds) => self.check_failed(&holds),
            Question::Permits(_) => self.permitted(0, self.config.retry_backoff),
            Question::Ack(entries) => self.ack_failed(entries),
            Question::Refresh(holds) => self.refresh_failed(&holds),
            Question::Reclaim => self.reclaim_failed(),
            Question::Sweep => self.sweep_failed(),
            Question::Leave => self.left(),
        }
    }
}

/// Whether this is an answer to that question, of the right size.
fn fits(question: &Question, name: &str, answer: &Answer) -> bool {
    let one_each = |holds: &[Hold], answers: &[Fenced]| holds.len() == answers.len();
    match (question, answer) {
        (Question::Mark(holds), Answer::Marked(answers))
        | (Question::Refresh(holds), Answer::Refreshed(answers))
        | (Question::Park(holds), Answer::Parked(answers))
        | (Question::Bury(holds), Answer::Buried(answers)) => one_each(holds, answers),
        (Question::Check(holds), Answer::Checked(answers)) => holds.len() == answers.len(),
        (Question::Read(count), Answer::Read(messages)) => messages.len() <= *count,
        (Question::Due(count), Answer::Due { deliveries, .. }) => deliveries.len() <= *count,
        (Question::Fetch(count), Answer::Fetched(deliveries)) => deliveries.len() <= *count,
        (Question::Mine { after, count }, Answer::Mine(holds)) => {
            let ascending = holds.is_sorted_by(|a, b| a.entry < b.entry);
            holds.len() <= *count && ascending && holds.first().is_none_or(|first| Some(first.entry) > *after)
        }
        (Question::Permits(count), Answer::Permits { granted, .. }) => granted <= count,
        _ => name == answer.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::EntryId, messages::call::Delivery};

    fn hold(number: u64) -> Hold {
        Hold { entry: EntryId { ms: number, seq: 0 }, deliveries: 1 }
    }

    fn deliveries(numbers: std::ops::Range<u64>) -> Vec<Delivery> {
        numbers.map(|number| Delivery { hold: hold(number), fields: None, history: None }).collect()
    }

    fn mine(numbers: &[u64]) -> Answer {
        Answer::Mine(numbers.iter().map(|number| hold(*number)).collect())
    }

    #[test]
    fn an_answer_is_of_the_size_that_was_asked_for() {
        let (holds, done) = (|| vec![hold(1), hold(2)], |count| vec![Fenced::Done; count]);
        let messages = |numbers: std::ops::Range<u64>| Answer::Read(numbers.map(|n| (hold(n).entry, None)).collect());
        let due = |numbers| Answer::Due { deliveries: deliveries(numbers), next: None, now_ms: 0 };
        let permits = |granted| Answer::Permits { granted, wait: std::time::Duration::ZERO };
        let page = |after: u64, count| Question::Mine { after: Some(hold(after).entry), count };
        let cases = [
            ("mark", Question::Mark(holds()), vec![Answer::Marked(done(2))], vec![Answer::Marked(done(1))]),
            ("refresh", Question::Refresh(holds()), vec![Answer::Refreshed(done(2))], vec![Answer::Refreshed(done(3))]),
            ("park", Question::Park(holds()), vec![Answer::Parked(done(2))], vec![Answer::Parked(done(1))]),
            ("bury", Question::Bury(holds()), vec![Answer::Buried(done(2))], vec![Answer::Parked(done(2))]),
            ("bury", Question::Bury(holds()), vec![], vec![Answer::Buried(done(0))]),
            (
                "check",
                Question::Check(holds()),
                vec![Answer::Checked(vec![true; 2])],
                vec![Answer::Checked(vec![true])],
            ),
            ("read", Question::Read(2), vec![messages(1..1), messages(1..3)], vec![messages(1..4)]),
            ("due", Question::Due(2), vec![due(1..1), due(1..3)], vec![due(1..4)]),
            (
                "fetch",
                Question::Fetch(2),
                vec![Answer::Fetched(deliveries(1..3))],
                vec![Answer::Fetched(deliveries(1..4))],
            ),
            ("permits", Question::Permits(2), vec![permits(0), permits(2)], vec![permits(3)]),
            ("mine", page(3, 2), vec![mine(&[]), mine(&[4]), mine(&[4, 5])], vec![mine(&[4, 5, 6])]),
            ("mine", page(3, 3), vec![], vec![mine(&[3, 4]), mine(&[2]), mine(&[5, 4]), mine(&[4, 4])]),
            ("ack", Question::Ack(vec![hold(1).entry]), vec![Answer::Acked(0)], vec![Answer::Left(true)]),
        ];
        for (name, question, fit, unfit) in cases {
            assert!(fit.iter().all(|answer| fits(&question, name, answer)), "{question:?}: one of {fit:?}");
            assert!(unfit.iter().all(|answer| !fits(&question, name, answer)), "{question:?}: one of {unfit:?}");
        }
    }
}
