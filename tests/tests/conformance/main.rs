//! The simulated Redis held against real ones: the same sequences of commands on redis-server 7.0, valkey-server 9 and
//! [the simulation](streamkeeper_sim::redis), their replies compared byte for byte but for what legitimately differs.
//!
//! A difference between Redis 7.0 and the simulation is a bug in the simulation. `sequences/` holds the fixed
//! sequences with their replies; `random` makes up others. To add one, write its commands into a file and let Redis and
//! Valkey fill in what they answer, then read it:
//!
//! ```text
//! SEQUENCE=my-file cargo test -p streamkeeper-tests --test conformance -- --ignored write_the_replies
//! ```

mod random;
mod real;

use real::Real;
use streamkeeper_sim::conformance::{Part, Sequence, Side, Simulated, differences, run};
use streamkeeper_tests::flavor::Flavor;

#[test]
fn redis_answers_as_written() {
    compare(|settings| Real::start(Flavor::Redis, settings), |part| &part.reply);
}

#[test]
fn valkey_answers_as_written() {
    compare(|settings| Real::start(Flavor::Valkey, settings), |part| part.on_valkey.as_ref().unwrap_or(&part.reply));
}

#[test]
fn the_simulation_answers_as_written() {
    compare(Simulated::start, |part| &part.reply);
}

#[test]
fn the_simulation_answers_made_up_sequences_as_redis_does() {
    random::compare(&mut Real::start(Flavor::Redis, &[]), &mut Simulated::start(&[]), 300);
}

/// The same server twice: what the rules of `masks` do not catch would make the comparison worthless.
#[test]
fn made_up_sequences_are_answered_alike_by_two_redis() {
    random::compare(&mut Real::start(Flavor::Redis, &[]), &mut Real::start(Flavor::Redis, &[]), 50);
}

/// Fills in the replies of the sequences: an instrument, no test.
#[test]
#[ignore = "it writes files"]
fn write_the_replies() {
    let mut sequences = Sequence::all();
    let on_redis = replies(&sequences, |settings| Real::start(Flavor::Redis, settings));
    let on_valkey = replies(&sequences, |settings| Real::start(Flavor::Valkey, settings));
    for (sequence, (redis, valkey)) in sequences.iter_mut().zip(on_redis.into_iter().zip(on_valkey)) {
        for (part, (redis, valkey)) in sequence.parts.iter_mut().zip(redis.into_iter().zip(valkey)) {
            part.on_valkey = (valkey != redis).then_some(valkey);
            part.reply = redis;
        }
        sequence.save();
    }
}

fn compare<S: Side>(start: impl Fn(&[(String, String)]) -> S, expected: fn(&Part) -> &[String]) {
    let sequences = Sequence::all();
    assert!(!sequences.is_empty(), "there is no such sequence");
    let replies = replies(&sequences, start);
    let different: String =
        sequences.iter().zip(&replies).map(|(sequence, replies)| differences(sequence, replies, expected)).collect();
    assert!(different.is_empty(), "{different}");
}

/// What servers answer to each sequence. Those without settings of their own share one.
fn replies<S: Side>(sequences: &[Sequence], start: impl Fn(&[(String, String)]) -> S) -> Vec<Vec<Vec<String>>> {
    let mut shared = start(&[]);
    let on_one = |sequence: &Sequence| {
        if sequence.settings.is_empty() && !sequence.restarts() {
            shared.reset();
            run(sequence, &mut shared)
        } else {
            run(sequence, &mut start(&sequence.settings))
        }
    };
    sequences.iter().map(on_one).collect()
}
