//! Answers to calls: each goes to whoever asked. One that comes twice or to no question is dropped: what it was about is
//! asked again.

use super::{
    Machine, Remark,
    asked::{Asked, Question},
    call::{Answer, Opened},
    fetch,
};
use crate::{id::CallId, trouble::Trouble};

impl Machine {
    pub(super) fn answered(&mut self, id: CallId, result: Result<Answer, Trouble>) {
        let Some(asked) = self.calls.remove(&id) else {
            return self.remark(Remark::StrayAnswer(id));
        };
        assert!(id.0 <= self.last_call, "{id:?} is under way and was never issued");
        match result {
            Ok(answer) if fits(&asked.question, asked.name, &answer) => {
                let kind = asked.question.kind();
                self.links.works(kind.link());
                self.open(kind);
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
        assert_eq!(asked.name, answer.name(), "what is taken in answers what was asked");
        match (asked.question, answer) {
            (Question::Prepare, Answer::Prepared(server)) if current => self.prepared(server),
            (Question::Identify, Answer::Identified(client)) => self.identified(client, current),
            (Question::Open(about), Answer::Opened(answers)) => self.opened(about, answers),
            (Question::Fetch(about), Answer::Fetched(answers)) => self.fetched(about, answers),
            (Question::Wait(about), Answer::Waited(news)) => self.waited(about, news),
            (Question::Wake(number), Answer::Woken(woken)) => self.woken(number, woken),
            (Question::Commit(about), Answer::Committed(answers)) => self.committed(about, answers),
            (Question::SetAside(about), Answer::SetAside(answers)) => self.asides_answered(about, answers),
            // Of a server that is not the one in use.
            _ => {}
        }
    }

    /// Whether this went over the connection that is in use.
    fn is_current(&self, asked: &Asked) -> bool {
        let link = asked.question.kind().link();
        self.links.is_up(link) && asked.generation == self.links.generation(link)
    }

    fn fail(&mut self, asked: Asked, trouble: Trouble) {
        let current = self.is_current(&asked);
        let kind = asked.question.kind();
        let refused = !trouble.kind.needs_new_connection();
        self.remark(Remark::CallFailed { call: asked.name, trouble: trouble.clone() });
        if refused {
            self.close(kind);
        } else if current {
            self.disconnected(kind.link(), trouble);
        }
        assert!(refused || !current || !self.links.is_up(kind.link()), "{kind:?}: a broken connection is not used on");
        match asked.question {
            Question::Prepare if current => self.prepare_again(),
            Question::Prepare => {}
            Question::Identify => self.identify_failed(refused, current),
            Question::Open(about) => self.open_failed(about),
            Question::Fetch(about) => self.fetch_failed(about, refused),
            Question::Wait(about) => self.wait_failed(about, refused),
            Question::Wake(number) => self.wake_failed(number, refused),
            Question::Commit(about) => self.commit_failed(about),
            Question::SetAside(about) => self.asides_failed(about, refused),
        }
    }
}

/// Whether this is an answer to that question, of the right size.
fn fits(question: &Question, name: &str, answer: &Answer) -> bool {
    match (question, answer) {
        (Question::Open(about), Answer::Opened(answers)) => {
            let told = |last: bool, opened: &Opened| match opened {
                Opened::Known { last: known, .. } => !last || known.is_some(),
                Opened::Broken(_) => true,
            };
            about.len() == answers.len() && about.iter().zip(answers).all(|((_, last), opened)| told(*last, opened))
        }
        (Question::Fetch(about), Answer::Fetched(answers)) => {
            about.len() == answers.len() && about.iter().zip(answers).all(|(a, fetched)| fetch::is_possible(a, fetched))
        }
        (Question::Wait(about), Answer::Waited(news)) => news.iter().all(|index| *index < about.len()),
        (Question::Commit(about), Answer::Committed(answers)) => about.len() == answers.len(),
        (Question::SetAside(about), Answer::SetAside(answers)) => about.len() == answers.len(),
        _ => name == answer.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        OwnedId,
        call::{Aside, Committed, Fetched},
    };
    use super::*;
    use crate::id::EntryId;

    #[test]
    fn an_answer_fits_if_it_tells_all_that_was_asked() {
        let (a, b, id) = (OwnedId(1), OwnedId(2), EntryId { ms: 7, seq: 0 });
        let known = |last| Opened::Known { record: None, last };
        let (bare, with_last) = (|| known(None), || known(Some(id)));
        let open = || Question::Open(vec![(a, true), (b, false)]);
        for (question, answer, fit) in [
            (open(), Answer::Opened(vec![with_last(), bare()]), true),
            (open(), Answer::Opened(vec![Opened::Broken("x".into()), with_last()]), true),
            (open(), Answer::Opened(vec![bare(), bare()]), false),
            (open(), Answer::Opened(vec![with_last()]), false),
            (Question::Fetch(vec![]), Answer::Fetched(vec![]), true),
            (Question::Fetch(vec![]), Answer::Fetched(vec![Fetched::Missing]), false),
            (Question::Wait(vec![a, b]), Answer::Waited(vec![]), true),
            (Question::Wait(vec![a, b]), Answer::Waited(vec![0, 1]), true),
            (Question::Wait(vec![a, b]), Answer::Waited(vec![0, 2]), false),
            (Question::Commit(vec![a, b]), Answer::Committed(vec![Committed::Done, Committed::Absent]), true),
            (Question::Commit(vec![a, b]), Answer::Committed(vec![Committed::Done]), false),
            (Question::SetAside(vec![(a, id)]), Answer::SetAside(vec![Aside::Done]), true),
            (Question::SetAside(vec![(a, id)]), Answer::SetAside(vec![]), false),
        ] {
            assert_eq!(fits(&question, answer.name(), &answer), fit, "{question:?} {answer:?}");
        }
        assert!(!fits(&Question::Prepare, "prepare", &Answer::Woken(None)), "another call's");
    }
}
