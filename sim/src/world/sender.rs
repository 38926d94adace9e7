//! Who sends messages: a producer of the library, whose host the workers' faults do not hit, but Redis's do.

use std::{cell::RefCell, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use streamkeeper::{
    Connect,
    messages::{CodecError, Encode, Json, Message, Payload, Producer, SendError, Sent},
};

use super::{scene::Scene, seeds, worker::Body};
use crate::{
    facts::What,
    messages::{STREAM, facts::Said, once, witness::NUMBER},
    plan::{Does, Sending},
};

/// How long it waits before it says again what was not sent.
const AGAIN: Duration = Duration::from_millis(300);
/// For how long a message with a key is the same one.
const WINDOW: Duration = Duration::from_secs(600);
/// How many go out together.
const TOGETHER: usize = 50;

/// The producer of a run.
pub(crate) struct Sender {
    producer: Producer<Body>,
    scene: Scene,
    dice: RefCell<SmallRng>,
}

/// JSON, but for what cannot be decoded.
struct Codec;

impl Encode<Body> for Codec {
    fn encode(&self, body: &Body, payload: &mut Payload) -> Result<(), CodecError> {
        if body.does == Does::Broken.name() {
            payload.push("body", "no JSON");
            return Ok(());
        }
        Json::default().encode(body, payload)
    }
}

impl Sender {
    pub(crate) fn new(connect: Arc<dyn Connect>, scene: Scene, seed: u64) -> Result<Sender, String> {
        let seed = seeds::of(seed, &[seeds::CLIENT]);
        let producer = Producer::with_codec(STREAM, Codec).connect_with(connect).metrics(None).seed(seed).build();
        let dice = RefCell::new(SmallRng::seed_from_u64(seed));
        Ok(Sender { producer: producer.map_err(|error| error.to_string())?, scene, dice })
    }

    /// Sends messages, numbered from here on, and those again that certainly were not sent. What was not answered is
    /// repeated where that changes nothing, and now and then elsewhere: so a message is sent twice.
    pub(crate) async fn send(&self, sending: &Sending, first: u64) {
        let mut numbers: Vec<u64> = match sending.once {
            Some(key) => vec![once(key); usize::try_from(sending.count).unwrap_or(1)],
            None => (first..first.saturating_add(sending.count)).collect(),
        };
        while !numbers.is_empty() {
            let later = numbers.split_off(numbers.len().min(TOGETHER));
            let messages: Vec<Message<Body>> = numbers.iter().map(|number| message(sending, *number)).collect();
            let results = self.producer.send_batch(messages).await;
            let again: Vec<u64> = numbers
                .into_iter()
                .zip(results)
                .filter_map(|(number, result)| self.hear(sending, number, &result).then_some(number))
                .collect();
            if !again.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
            numbers = [again, later].concat();
        }
    }

    /// Writes down what became of a message, and whether it is to be sent again.
    fn hear(&self, sending: &Sending, number: u64, result: &Result<Sent, SendError>) -> bool {
        let (said, again) = match result {
            Ok(sent) => {
                let entry = sent.entry().map(|entry| entry.to_string().into());
                (Said::Sent { number, entry, once: sending.once.is_some() }, false)
            }
            Err(SendError::Unanswered { .. }) => {
                let safe = sending.once.is_some() || sending.delay_ms > 0;
                (Said::SendUnknown { number }, safe || self.dice.borrow_mut().random_bool(0.5))
            }
            Err(SendError::Unreachable { .. } | SendError::Refused { .. }) => return true,
            Err(error) => {
                self.scene.note(What::Note { text: format!("message {number} cannot be sent: {error}") });
                return false;
            }
        };
        self.scene.note(What::Message(said));
        again
    }
}

fn message(sending: &Sending, number: u64) -> Message<Body> {
    let does = sending.does;
    let body =
        Body { number, does: does.name().to_owned(), times: does.times().unwrap_or(0), takes_ms: sending.takes_ms };
    let mut message = Message::new(body).header(NUMBER, number.to_string());
    if let Some(key) = sending.key {
        message = message.key(key.to_string());
    }
    match sending.once {
        Some(key) => message.once(key.to_string(), WINDOW),
        None if sending.delay_ms > 0 => message.delay(Duration::from_millis(sending.delay_ms)).id(format!("m{number}")),
        None => message,
    }
}
