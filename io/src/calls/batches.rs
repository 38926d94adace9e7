//! Many commands of one kind, pipelined: each has an answer of its own.

use redis::{Cmd, Value, aio::MultiplexedConnection};
use streamkeeper_core::trouble::Trouble;

use super::{Calls, script::Script, trouble, troubles};

/// How many commands are sent before their answers are awaited, and how many ids one script call takes.
pub(super) const BATCH: usize = 500;

impl Calls {
    /// Announces items, in order. Each has its own result: those that failed may or may not be announced. `script` is what
    /// those commands run that run one.
    pub(super) async fn announce_each<I, T>(
        &self,
        connection: &mut MultiplexedConnection,
        script: &Script,
        items: &[I],
        command: impl Fn(&I) -> Cmd,
        understand: impl Fn(Value) -> Result<T, Trouble>,
    ) -> Vec<Result<T, Trouble>> {
        let (mut results, all) = (Vec::with_capacity(items.len()), items.len());
        for items in items.chunks(BATCH) {
            let commands: Vec<Cmd> = items.iter().map(&command).collect();
            let mut pipe = redis::Pipeline::with_capacity(commands.len());
            for cmd in &commands {
                pipe.add_command(cmd.clone());
            }
            let answers = match connection.send_packed_commands(&pipe, 0, pipe.len()).await {
                Ok(answers) => answers,
                Err(error) => {
                    // What became of these, nobody knows; the rest is not sent.
                    let trouble = trouble(&error);
                    results.resize_with(all, || Err(trouble.clone()));
                    break;
                }
            };
            let mut answers = answers.into_iter();
            for cmd in commands {
                results.push(match answers.next() {
                    // Redis did not know the script: nothing has happened.
                    Some(Value::ServerError(e)) if e.code() == "NOSCRIPT" => {
                        self.run(connection, script, cmd).await.and_then(&understand)
                    }
                    Some(Value::ServerError(e)) => Err(trouble(&e.into())),
                    Some(value) => understand(value),
                    None => Err(Trouble::connection("Redis answered fewer announcements than were made")),
                });
            }
        }
        for result in &mut results {
            if let Err(trouble) = result {
                *trouble = troubles::advise(trouble.clone(), &self.0.keys);
            }
        }
        results
    }
}
