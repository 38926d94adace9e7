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
            (Question::Prepare, _) => self.prepare_again(),
            (Question::Identify, Answer::Identified(client)) => self.identified(client, current),
            (Question::Open(about), Answer::Opened(answers)) => self.opened(about, answers),
            (Question::Fetch(about), Answer::Fetched(answers)) => self.fetched(about, answers),
            (Question::Wait(about), Answer::Waited(news)) => self.waited(about, news),
            (Question::Wake(number), Answer::Woken(woken)) => self.woken(number, woken),
            (Question::Commit(about), Answer::Committed(answers)) => self.committed(about, answers),
            (Question::SetAside(about), Answer::SetAside(answers)) => self.asides_answered(about, answers),
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
            Question::Prepare => self.prepare_again(),
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
