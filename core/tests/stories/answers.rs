//! Answers that stories need often.

use streamkeeper_core::{
    id::Token,
    streams::{
        Answer,
        call::{Acquired, Finished, Grant, Released, Renewed},
    },
};

pub(crate) fn grant(token: u64) -> Acquired {
    Acquired::Granted(Grant { token: Token(token), takeover: false, takeovers: 0, failures: 0, deliveries: 1 })
}

pub(crate) fn granted(token: u64) -> Answer {
    Answer::Acquired(vec![grant(token)])
}

pub(crate) fn all_done(count: usize) -> Answer {
    Answer::Done(vec![Finished::Done; count])
}

pub(crate) fn all_released(count: usize) -> Answer {
    Answer::Released(vec![Released::Released; count])
}

pub(crate) fn set_aside() -> Answer {
    Answer::Released(vec![Released::SetAside])
}

/// All leases were kept, and the group is gone.
pub(crate) fn group_lost() -> Answer {
    Answer::Renewed(Renewed { exceptions: Vec::new(), group_lost: Some("NOGROUP No such consumer group".into()) })
}
