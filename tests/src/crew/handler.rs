//! What handles messages in a test: a shell script that writes down what it does.

/// A handler.
#[derive(Debug, Clone)]
pub struct Handler {
    body: String,
}

impl Handler {
    /// It does this with each message, in shell: `$n` is the message's number, `$a` the attempt, and what it leaves in
    /// `$answer` is its answer, `ok` if it leaves that alone. What writes to standard output spoils the conversation.
    #[must_use]
    pub fn new(body: &str) -> Self {
        Self { body: body.to_owned() }
    }

    /// It succeeds at once.
    #[must_use]
    pub fn quick() -> Self {
        Self::new(":")
    }

    /// It sleeps for so long, given as `sleep` takes it, and succeeds.
    #[must_use]
    pub fn sleeping(span: &str) -> Self {
        Self::new(&format!("sleep {span}"))
    }

    /// It waits for [`Crew::open`](super::Crew::open) of this gate, does this, and answers as [`Handler::new`] says. When
    /// the test is over, nobody waits any more.
    #[must_use]
    pub fn waiting(gate: &str, body: &str) -> Self {
        Self::new(&format!("while [ -e \"$LOG\" ] && [ ! -e \"$LOG.{gate}\" ]; do sleep 0.05; done\n{body}"))
    }

    /// The same for the message of this number; with all others it does nothing.
    #[must_use]
    pub fn waiting_with(number: u64, gate: &str, body: &str) -> Self {
        let Self { body } = Self::waiting(gate, body);
        Self::new(&format!("case $n in {number}) {body};; esac"))
    }

    /// The whole script.
    #[must_use]
    pub fn script(&self) -> String {
        // Numbers are cut out of the line by the shell itself: no process is started but those of the body.
        format!(
            r#"while IFS= read -r line; do
n=${{line#*\"n\":}}; n=${{n%%[!0-9]*}}
a=${{line#*\"attempt\":}}; a=${{a%%[!0-9]*}}
answer=ok
echo "start $n $a $WORKER $$" >>"$LOG"
{}
echo "end $n $a $WORKER $$ $answer" >>"$LOG"
echo "$answer"
done"#,
            self.body
        )
    }
}
