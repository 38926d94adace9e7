//! Write positions, and the application's own writes with them: `commit.lua`.

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::{CommitItem, Committed, Mark},
    trouble::{Trouble, TroubleKind},
};

use super::{
    BATCH, Calls,
    script::{Lazy, script},
    troubles::{about_a_key, advise},
    value::{list, odd, text},
    writes::{self, Command},
};
use crate::wire::{MOST_ARGUMENTS, troubles::trouble};

pub(super) static COMMIT: Lazy = script!(entries + "commit.lua");

/// How many bytes of writes one script call has, at most.
const MOST_BYTES: usize = 32 << 20;

/// One commit, ready to be sent.
struct Ready<'a> {
    item: &'a CommitItem,
    commands: Vec<Command<'a>>,
}

impl Calls {
    pub(super) async fn commit(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[CommitItem],
    ) -> Result<Vec<Committed>, Trouble> {
        let mut all = Vec::with_capacity(items.len());
        let mut ready = Vec::with_capacity(items.len());
        for item in items {
            match writes::commands(&item.writes, &self.0.foreign) {
                Ok(commands) => {
                    ready.push(Ready { item, commands });
                    all.push(None);
                }
                Err((index, why)) => all.push(Some(Committed::Rejected(index, why))),
            }
        }
        let mut committed = Vec::with_capacity(ready.len());
        for part in parts(&ready) {
            match self.commit_all(connection, part).await {
                // Redis looks at all keys of a call together. A key of the application that this user may not touch is
                // its commit's matter, and not that of the others.
                Err(refused) if refused.kind == TroubleKind::Refused && about_a_key(&refused) => {
                    for one in part {
                        committed.push(self.commit_one(connection, one).await?);
                    }
                }
                answer => committed.extend(answer?),
            }
        }
        let mut committed = committed.into_iter();
        let one = |known: Option<Committed>| {
            // `parts` leaves none out.
            known.or_else(|| committed.next()).ok_or_else(|| Trouble::other("commit: an answer is missing"))
        };
        all.into_iter().map(one).collect()
    }

    async fn commit_all(
        &self,
        connection: &mut MultiplexedConnection,
        ready: &[Ready<'_>],
    ) -> Result<Vec<Committed>, Trouble> {
        let names = &*self.0;
        let keys = ready.iter().map(Ready::keys).sum::<usize>();
        let (words, bytes) =
            ready.iter().fold((0, 0), |(words, bytes), one| (words + one.words(), bytes + one.bytes()));
        let deletes = ready.iter().any(|one| one.commands.iter().any(|command| command.name == "DEL"));
        let mut cmd = COMMIT.invoke(1 + keys + usize::from(deletes), words - keys, 256 + bytes);
        cmd.arg(&names.checkpoints);
        for Ready { item, commands } in ready {
            cmd.arg(names.lease(&item.stream, item.entry));
            for command in commands {
                cmd.arg(command.key);
            }
        }
        if let Some(Ready { item, .. }) = ready.first().filter(|_| deletes) {
            // What is deleted to find out whether this user may.
            cmd.arg(names.lease(&item.stream, item.entry) + "?");
        }
        let mark = |mark: Option<Mark>| mark.map_or_else(|| "-".to_owned(), |mark| mark.to_string());
        let packed = (BESIDES + words > MOST_ARGUMENTS).then(|| Vec::with_capacity(8 * words + bytes));
        let mut arguments = Arguments { cmd: &mut cmd, packed };
        for Ready { item, commands } in ready {
            let (from, to) = (&item.from, &item.to);
            arguments.add(item.stream.as_str()).add(names.lease_value(item.attempt));
            arguments.add(from.0.to_string()).add(mark(from.1)).add(to.position.to_string());
            arguments.add(to.read.map_or_else(|| "-".to_owned(), |read| read.to_string())).add(mark(to.mark));
            arguments.add(commands.len().to_string());
            for command in commands {
                arguments.add(command.name).add(command.args.len().to_string());
                for arg in &command.args {
                    arguments.add(arg);
                }
            }
        }
        arguments.end();
        let answers = list(self.run(connection, &COMMIT, cmd).await?);
        let answers = answers.ok_or_else(|| Trouble::other("commit: Redis answered no list"))?;
        if answers.len() != ready.len() {
            return Err(Trouble::other(format_args!("commit: {} answers to {} items", answers.len(), ready.len())));
        }
        ready.iter().zip(&answers).map(|(one, value)| one.decode(value)).collect()
    }

    /// Makes one commit. Only its own keys can be refused.
    async fn commit_one(
        &self,
        connection: &mut MultiplexedConnection,
        ready: &Ready<'_>,
    ) -> Result<Committed, Trouble> {
        let refused = match self.commit_all(connection, std::slice::from_ref(ready)).await {
            Err(trouble) if trouble.kind == TroubleKind::Refused && about_a_key(&trouble) => trouble,
            answer => return answer?.pop().ok_or_else(|| Trouble::other("commit: an answer is missing")),
        };
        if ready.commands.is_empty() {
            return Err(refused);
        }
        // A script needs the right to read and to write every key that it is given, whatever it does with it.
        let mut pipe = redis::Pipeline::with_capacity(ready.commands.len());
        for command in &ready.commands {
            pipe.cmd("EVAL").arg("return 0").arg(1).arg(command.key);
        }
        let answers = self.send_all(connection, &pipe).await?;
        let is_refused = |value: &Value| match value {
            Value::ServerError(error) => trouble(&error.clone().into()).kind == TroubleKind::Refused,
            _ => false,
        };
        match answers.iter().position(is_refused) {
            Some(index) => {
                let why = advise(refused, &self.0.keys).message;
                Ok(Committed::Rejected(index, ready.commands[index].says(&why)))
            }
            // It is one of ours.
            None => Err(refused),
        }
    }
}

/// How many words a call has besides those of its commits: EVALSHA, hash, number of keys, checkpoints, what is deleted to
/// find out whether this user may.
const BESIDES: usize = 5;

/// Cuts the commits into script calls.
fn parts<'a, 'b>(ready: &'a [Ready<'b>]) -> impl Iterator<Item = &'a [Ready<'b>]> {
    let mut rest = ready;
    std::iter::from_fn(move || {
        let (mut words, mut bytes) = (BESIDES, 0);
        let fits = |one: &&Ready<'_>| {
            words += one.words();
            bytes += one.bytes();
            words <= MOST_ARGUMENTS && bytes <= MOST_BYTES
        };
        // One alone is small enough, as its writes are.
        let n = rest.iter().take(BATCH).take_while(fits).count().max(1).min(rest.len());
        let (part, behind) = rest.split_at(n);
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// Behind the keys of a call: its arguments, or all of them as one text, `<length>:<bytes>` by turns, if they are too many.
struct Arguments<'a> {
    cmd: &'a mut Cmd,
    packed: Option<Vec<u8>>,
}

impl Arguments<'_> {
    fn add(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        let argument = argument.as_ref();
        match &mut self.packed {
            Some(text) => {
                text.extend_from_slice(argument.len().to_string().as_bytes());
                text.push(b':');
                text.extend_from_slice(argument);
            }
            None => {
                self.cmd.arg(argument);
            }
        }
        self
    }

    fn end(self) {
        if let Some(text) = self.packed {
            self.cmd.arg(text);
        }
    }
}

impl Ready<'_> {
    fn keys(&self) -> usize {
        1 + self.commands.len()
    }

    /// Its keys and arguments.
    fn words(&self) -> usize {
        self.keys() + 8 + self.commands.iter().map(|command| 2 + command.args.len()).sum::<usize>()
    }

    fn bytes(&self) -> usize {
        256 + self.commands.iter().map(Command::bytes).sum::<usize>()
    }

    fn decode(&self, value: &Value) -> Result<Committed, Trouble> {
        let wrong = || odd("commit", value);
        let text = text(value).ok_or_else(wrong)?;
        Ok(match text.split_once(' ').unwrap_or((&text, "")) {
            ("done", _) => Committed::Done,
            ("fenced", _) => Committed::Fenced,
            ("absent", _) => Committed::Absent,
            ("conflict", record) => match record.parse() {
                Ok(record) => Committed::Conflict(record),
                Err(error) => Committed::Broken(error.to_string().into()),
            },
            ("rejected", rest) => {
                let (index, why) = rest.split_once(' ').ok_or_else(wrong)?;
                let index: usize = index.parse().map_err(|_| wrong())?;
                Committed::Rejected(index, self.commands.get(index).ok_or_else(wrong)?.says(why))
            }
            ("broken", error) => Committed::Broken(error.into()),
            _ => return Err(wrong()),
        })
    }
}
