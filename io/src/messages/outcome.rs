//! What a worker says about a message.

use std::{fmt::Display, time::Duration};

use streamkeeper_core::messages::{self, call::Reason};

/// What is to become of a message. `()` and `Ok` are [`ack`](Outcome::ack), `Err` is [`retry`](Outcome::retry) with
/// the error's text.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper::messages::Outcome;
///
/// let outcome: Outcome = Err::<(), _>("the bank is closed").into();
/// assert_eq!(outcome, Outcome::retry().because("the bank is closed"));
/// let later = Outcome::retry_after(Duration::from_secs(60)).because("the bank is closed");
/// let never = Outcome::dead("there is no such account");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it does nothing unless a worker answers it"]
pub struct Outcome(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ack,
    Retry { error: String, pause: Option<Duration> },
    Dead { error: String },
    Drop,
}

impl Outcome {
    /// It is done. From `process_dead`: the application has taken care of it, nothing goes to the dead letter stream.
    pub fn ack() -> Outcome {
        Outcome(Kind::Ack)
    }

    /// It failed: again after the backoff's pause, or dead if its attempts are used up.
    pub fn retry() -> Outcome {
        Outcome(Kind::Retry { error: String::new(), pause: None })
    }

    /// It failed: again after this pause, or dead if its attempts are used up.
    pub fn retry_after(pause: Duration) -> Outcome {
        Outcome(Kind::Retry { error: String::new(), pause: Some(pause) })
    }

    /// Never again: it goes to the dead letter stream, with this reason.
    pub fn dead(reason: impl Display) -> Outcome {
        Outcome(Kind::Dead { error: reason.to_string() })
    }

    /// Never again, and nowhere: acknowledged like a success, but counted as dropped.
    pub fn drop() -> Outcome {
        Outcome(Kind::Drop)
    }

    /// Says why it failed or is dead. It stands in the message's record and among the dead letters, cut to 500 bytes.
    pub fn because(mut self, why: impl Display) -> Outcome {
        if let Kind::Retry { error, .. } | Kind::Dead { error } = &mut self.0 {
            *error = why.to_string();
        }
        self
    }

    /// As the machine takes it. `dead`: why it is dead if it is.
    pub(crate) fn into_core(self, dead: Reason) -> messages::Outcome {
        match self.0 {
            Kind::Ack => messages::Outcome::Ack,
            Kind::Retry { error, pause } => messages::Outcome::Failed { error: error.into(), pause },
            Kind::Dead { error } => messages::Outcome::Dead { reason: dead, error: error.into() },
            Kind::Drop => messages::Outcome::Drop,
        }
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Outcome {
        Outcome::ack()
    }
}

impl<O: Into<Outcome>, E: Display> From<Result<O, E>> for Outcome {
    fn from(result: Result<O, E>) -> Outcome {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Outcome::retry().because(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_return_is_an_outcome() {
        let pause = Duration::from_secs(3);
        let core = |outcome: Outcome| outcome.into_core(Reason::Rejected);
        let failed = |error: &str, pause| messages::Outcome::Failed { error: error.into(), pause };
        assert_eq!(core(().into()), messages::Outcome::Ack);
        assert_eq!(core(Ok::<(), String>(()).into()), messages::Outcome::Ack);
        assert_eq!(core(Err::<(), _>("no").into()), failed("no", None));
        assert_eq!(core(Ok::<_, String>(Outcome::drop()).into()), messages::Outcome::Drop);
        assert_eq!(core(Outcome::retry()), failed("", None));
        assert_eq!(core(Outcome::retry_after(pause).because(7)), failed("7", Some(pause)));
        let dead = messages::Outcome::Dead { reason: Reason::Rejected, error: "never".into() };
        assert_eq!(core(Outcome::dead("never")), dead);
        assert_eq!(core(Outcome::ack().because("nothing")), messages::Outcome::Ack);
    }
}
