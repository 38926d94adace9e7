//! What scripts have said before. A script that draws no lots is a function of its keys, its arguments and the answers to
//! its commands: where all of these were the same before, it asks and says the same. So it is not run again: its commands
//! are executed, each as ever, and what it says is looked up. Where an answer is new, the script is run, and is given the
//! answers that its first commands have got already.
//!
//! ```text
//!   (script, keys, arguments) ──▶ asks GET k ──┬─ "a" ──▶ asks SET … ── OK ──▶ says 1
//!                                              └─ nil ──▶ says {"lost"}
//! ```

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use bytes::Bytes;

use super::Host;
use crate::redis::reply::Reply;

/// So many places in scripts are remembered; then everything is forgotten.
const MOST: usize = 100_000;
/// So many answers to one command: where each is another one, as with times, none comes again.
const MOST_ANSWERS: usize = 48;

/// A script that is called: its hash, keys and arguments.
pub(super) type Called<'a> = (&'a str, &'a [Bytes], &'a [Bytes]);

/// A command of a script, and its answer.
pub(super) type Executed = (Vec<Bytes>, Reply);

#[derive(Default)]
pub(super) struct Memo {
    places: Vec<Place>,
    /// Where scripts begin, by the hash of how they are called.
    begins: BTreeMap<u64, Vec<Begin>>,
}

/// How a script was called, and where it is then.
struct Begin {
    script: String,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
    place: usize,
}

/// Where a script is.
enum Place {
    /// Nobody has been here to the end.
    Unknown,
    /// It executes this command, and is there next.
    Asks(Vec<Bytes>, Vec<(Reply, usize)>),
    /// It ends with this.
    Says(Reply),
}

/// What is known of a call.
pub(super) enum Recalled {
    /// All: its commands were executed, and this is what it says.
    Whole(Reply),
    /// These commands were executed; what comes then is not known.
    Part(Vec<Executed>),
}

impl Memo {
    /// Executes what the script would, as far as that is known.
    pub(super) fn recall(&self, called: Called<'_>, host: &mut dyn Host) -> Recalled {
        let (mut executed, mut place) = (Vec::new(), self.begin(called));
        while let Some(at) = place {
            match &self.places[at] {
                Place::Unknown => break,
                Place::Says(reply) => return Recalled::Whole(reply.clone()),
                Place::Asks(command, answers) => {
                    let answer = host.call(command.clone());
                    place = answers.iter().find(|(known, _)| *known == answer).map(|(_, next)| *next);
                    executed.push((command.clone(), answer));
                }
            }
        }
        Recalled::Part(executed)
    }

    /// Remembers a call.
    pub(super) fn learn(&mut self, called: Called<'_>, executed: Vec<Executed>, reply: &Reply) {
        if self.places.len() > MOST {
            *self = Memo::default();
        }
        let mut at = match self.begin(called) {
            Some(at) => at,
            None => {
                let (place, (script, keys, args)) = (self.add(), called);
                let begin = Begin { script: script.to_owned(), keys: keys.to_vec(), args: args.to_vec(), place };
                self.begins.entry(hash(called)).or_default().push(begin);
                place
            }
        };
        for (command, answer) in executed {
            let next = self.places.len();
            let place = &mut self.places[at];
            if let Place::Unknown = place {
                *place = Place::Asks(command.clone(), Vec::new());
            }
            let Place::Asks(known, answers) = place else { return };
            debug_assert_eq!(*known, command, "a script asks something else where all was the same");
            at = match answers.iter().find(|(known, _)| *known == answer) {
                Some((_, next)) => *next,
                None if answers.len() >= MOST_ANSWERS => return,
                None => {
                    answers.push((answer, next));
                    self.add()
                }
            };
        }
        self.places[at] = Place::Says(reply.clone());
    }

    fn add(&mut self) -> usize {
        self.places.push(Place::Unknown);
        self.places.len() - 1
    }

    fn begin(&self, called: Called<'_>) -> Option<usize> {
        let (script, keys, args) = called;
        let same = |begin: &&Begin| begin.script == script && begin.keys == keys && begin.args == args;
        self.begins.get(&hash(called))?.iter().find(same).map(|begin| begin.place)
    }
}

fn hash(called: Called<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    called.hash(&mut hasher);
    hasher.finish()
}

/// A host that gives a script the answers that its first commands have got already, and remembers all.
pub(super) struct Recorder<'a> {
    host: &'a mut dyn Host,
    executed: Vec<Executed>,
    /// How many of them the script has not asked for yet.
    ahead: usize,
    /// It has asked for something that is no command.
    pub(super) is_odd: bool,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(host: &'a mut dyn Host, executed: Vec<Executed>) -> Recorder<'a> {
        Recorder { host, ahead: executed.len(), executed, is_odd: false }
    }

    /// All that was executed.
    pub(super) fn executed(self) -> Vec<Executed> {
        self.executed
    }

    pub(super) fn call(&mut self, command: Vec<Bytes>) -> Reply {
        if self.ahead > 0 {
            let (asked, answer) = &self.executed[self.executed.len() - self.ahead];
            debug_assert_eq!(*asked, command, "a script asks something else where all was the same");
            self.ahead -= 1;
            return answer.clone();
        }
        let answer = self.host.call(command.clone());
        self.executed.push((command, answer.clone()));
        answer
    }

    pub(super) fn may(&mut self, args: &[Bytes]) -> Option<bool> {
        self.is_odd = true;
        self.host.may(args)
    }

    /// See [`Host::refused`].
    pub(super) fn refused(&self) -> bool {
        self.host.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each command with the next of these, and counts.
    struct Answers(Vec<Reply>, usize);

    impl Host for Answers {
        fn call(&mut self, _: Vec<Bytes>) -> Reply {
            self.1 += 1;
            self.0.remove(0)
        }

        fn may(&self, _: &[Bytes]) -> Option<bool> {
            None
        }
    }

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn what_was_said_is_said_again_and_every_command_is_executed() {
        let (mut memo, keys) = (Memo::default(), words("k"));
        let called = ("script", &keys[..], &[][..]);
        let whole = [(words("GET k"), Reply::Int(1)), (words("DEL k"), Reply::Int(1))];
        memo.learn(called, whole.to_vec(), &Reply::Int(7));
        let mut host = Answers(vec![Reply::Int(1), Reply::Int(1)], 0);
        assert!(matches!(memo.recall(called, &mut host), Recalled::Whole(Reply::Int(7))));
        assert_eq!(host.1, 2);
        let mut host = Answers(vec![Reply::Int(1), Reply::Int(0)], 0);
        let Recalled::Part(executed) = memo.recall(called, &mut host) else { panic!("it is known") };
        assert_eq!(executed, [(words("GET k"), Reply::Int(1)), (words("DEL k"), Reply::Int(0))]);
        let other = words("other");
        let mut host = Answers(Vec::new(), 0);
        assert!(matches!(memo.recall(("script", &keys, &other), &mut host), Recalled::Part(none) if none.is_empty()));
    }

    #[test]
    fn a_script_that_is_run_on_executes_nothing_twice() {
        let mut host = Answers(vec![Reply::Int(5)], 0);
        let mut recorder = Recorder::new(&mut host, vec![(words("GET k"), Reply::Int(4))]);
        assert_eq!(recorder.call(words("GET k")), Reply::Int(4));
        assert_eq!(recorder.call(words("GET l")), Reply::Int(5));
        assert_eq!(recorder.executed().len(), 2);
        assert_eq!(host.1, 1);
    }

    #[test]
    fn answers_that_never_come_again_are_not_all_kept() {
        let mut memo = Memo::default();
        for time in 0..1_000 {
            memo.learn(("script", &[], &[]), vec![(words("TIME"), Reply::Int(time))], &Reply::Int(time));
        }
        assert!(memo.places.len() <= MOST_ANSWERS + 1, "{}", memo.places.len());
    }
}
