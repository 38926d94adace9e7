//! What the primary says of itself: its own word on ownerships, messages and entries, as its scripts run.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use super::{scene::Scene, server::Connected, stories::Stories, witness};
use crate::{
    entries,
    facts::What,
    messages::{self, witness::Witness},
    redis::{Executed, Output},
};

/// What the scripts answered.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) words: RefCell<BTreeMap<String, u64>>,
    pub(super) stories: RefCell<Stories>,
    witness: RefCell<Witness>,
}

/// Who hears what a server says.
pub(super) struct Listener {
    pub(super) number: usize,
    pub(super) primary: Rc<Cell<usize>>,
    pub(super) scene: Scene,
    pub(super) heard: Rc<Heard>,
    pub(super) connected: Connected,
    pub(super) of_messages: bool,
    pub(super) of_entries: bool,
}

impl Listener {
    pub(super) fn hear(&self, output: Output) {
        // What another one says than the primary is nothing that anybody could rely on.
        if self.number != self.primary.get() {
            return;
        }
        let who = |conn| self.connected.borrow().get(&(self.number, conn)).and_then(|(_, who)| *who);
        match output {
            Output::Executed(executed) => self.heard.hear(&executed, &self.scene),
            Output::Touched(touched) => {
                if !self.of_messages && !self.of_entries {
                    return witness::claimed(&touched).into_iter().for_each(|claimed| self.scene.note(claimed));
                }
                let by = touched.conn.and_then(who);
                if self.of_entries {
                    let said = entries::witness::hear(by, &touched);
                    return said.into_iter().for_each(|said| self.scene.note(What::Entry(said)));
                }
                let said = self.heard.witness.borrow_mut().hear(by, &touched);
                said.into_iter().for_each(|said| self.scene.note(What::Message(said)));
            }
            // Long after the action struck, perhaps: it counts commands.
            Output::AnswerLost(conn) if self.of_messages || self.of_entries => {
                if let Some(who) = who(conn) {
                    self.scene.note(What::Over { kind: "lose-answer", consumer: Some(who.consumer) });
                }
            }
            Output::AnswerLost(_) | Output::Send(..) | Output::Close(_) => {}
        }
    }
}

impl Heard {
    fn hear(&self, Executed { args, script, reply, lost, at, .. }: &Executed, scene: &Scene) {
        let mut words = self.words.borrow_mut();
        let mut say = |word: String| *words.entry(word).or_default() += 1;
        if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EVAL")) {
            say("script sent in full".to_owned());
        }
        let Some(script) = script else { return };
        if script.starts_with("entries/") {
            return entries::sometimes::words(script, reply, *lost).into_iter().for_each(say);
        }
        if script.starts_with("messages/") {
            return messages::sometimes::words(script, reply, *lost).into_iter().for_each(say);
        }
        self.stories.borrow_mut().executed(*at, script, args, reply, *lost);
        let testimony = witness::hear(script, args, reply);
        testimony.words.into_iter().for_each(say);
        testimony.facts.into_iter().for_each(|fact| scene.note(fact));
    }
}
