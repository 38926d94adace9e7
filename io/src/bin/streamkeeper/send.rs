//! Sending messages: those given, or each line of standard input.

use std::io::{self, BufWriter, Write};

use serde_json::{json, value::RawValue};
use streamkeeper::messages::{Json, Message, Producer, SendError, Sent};

use crate::{
    Failure,
    args::Send,
    at_start_of_messages,
    lines::{self, Numbered},
    output::now_us,
};

type Body = Box<RawValue>;

pub(crate) async fn run(send: Send) -> Result<(), Failure> {
    let place = &send.place;
    let builder =
        send.patience.tell(place.lead(Producer::<Body>::builder(&place.stream))).codec(Json::field(&*send.json_field));
    let producer = builder.build().map_err(at_start_of_messages)?;
    let mut sending = Sending { send: &send, producer, out: BufWriter::new(io::stdout()), sent: 0, failed: 0 };
    if send.messages.is_empty() {
        let mut chunks = lines::read(io::stdin());
        while let Some(chunk) = chunks.recv().await {
            sending.send(chunk).await?;
        }
    } else {
        sending.send((1..).zip(send.messages.iter().cloned().map(Ok)).collect()).await?;
    }
    match sending.failed {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{failed} of {} messages were not sent", failed + sending.sent))),
    }
}

struct Sending<'a> {
    send: &'a Send,
    producer: Producer<Body>,
    out: BufWriter<io::Stdout>,
    sent: u64,
    failed: u64,
}

impl Sending<'_> {
    /// Sends a chunk, and says what became of each; what is bad in it keeps none of the others from being sent.
    ///
    /// Without a server there is no use in going on.
    async fn send(&mut self, chunk: Vec<Numbered>) -> Result<(), Failure> {
        let (mut numbers, mut messages) = (Vec::new(), Vec::new());
        for (number, line) in chunk {
            match line.and_then(|text| self.message(number, text)) {
                Ok(message) => {
                    numbers.push(number);
                    messages.push(message);
                }
                Err(why) => self.failed(number, &why)?,
            }
        }
        let results = self.producer.send_batch(messages).await;
        let mut answered = results.is_empty();
        let mut last = None;
        for (number, result) in numbers.into_iter().zip(results) {
            match result {
                Ok(sent) => {
                    answered = true;
                    self.sent(number, &sent)?;
                }
                Err(error) => {
                    answered |= !matches!(error, SendError::Unreachable { .. } | SendError::Unanswered { .. });
                    self.failed(number, &error.to_string())?;
                    last = Some((number, error));
                }
            }
        }
        self.out.flush()?;
        match last {
            Some((number, error)) if !answered => Err(Failure::Failed(format!(
                "{error}. {} were sent; nothing behind line {number} was tried",
                self.sent
            ))),
            _ => Ok(()),
        }
    }

    fn message(&self, number: u64, text: String) -> Result<Message<Body>, String> {
        let body = RawValue::from_string(text).map_err(|e| format!("it is no JSON: {e}"))?;
        let mut message = Message::new(body);
        for (name, value) in &self.send.headers {
            message = message.header(name, value.as_str());
        }
        if let Some(key) = &self.send.key {
            message = message.key(key.as_str());
        }
        if let Some(key) = &self.send.once {
            message = message.once(self.of_its_own(key, number), self.send.window);
        }
        if let Some(delay) = self.send.delay {
            message = message.delay(delay);
        }
        if let Some(id) = &self.send.id {
            message = message.id(self.of_its_own(id, number));
        }
        Ok(message)
    }

    /// A key for each of several messages.
    fn of_its_own(&self, key: &str, number: u64) -> String {
        if self.send.messages.len() == 1 { key.to_owned() } else { format!("{key}:{number}") }
    }

    fn sent(&mut self, line: u64, sent: &Sent) -> io::Result<()> {
        self.sent += 1;
        let (id, due_ms) = match sent {
            Sent::Entry(entry) => (entry.to_string(), None),
            Sent::Scheduled { id, due_ms, .. } => (id.to_string(), Some(*due_ms)),
            _ => (String::new(), None),
        };
        let outcome = sent.label();
        if self.send.json {
            let mut object = json!({ "at_us": now_us(), "line": line, "outcome": outcome, "id": id });
            if let Some(due_ms) = due_ms {
                object["due_ms"] = due_ms.into();
            }
            return writeln!(self.out, "{object}");
        }
        match due_ms {
            None => writeln!(self.out, "{outcome} {id}"),
            Some(due_ms) => writeln!(self.out, "{outcome} {id} due_ms={due_ms}"),
        }
    }

    fn failed(&mut self, line: u64, why: &str) -> io::Result<()> {
        self.failed += 1;
        if self.send.json {
            let object = json!({ "at_us": now_us(), "line": line, "outcome": "failed", "error": why });
            writeln!(self.out, "{object}")
        } else {
            self.out.flush()?;
            writeln!(io::stderr(), "line {line}: {why}")
        }
    }
}
