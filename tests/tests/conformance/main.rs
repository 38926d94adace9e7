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
//!
//! A sequence with the line `redis: 6.2` is for that version alone: the simulation plays it always, a real server
//! answers it where `redis-server` is a 6.2, and then nothing else:
//!
//! ```text
//! REDIS=6 tests/run -- -p streamkeeper-tests --test conformance redis_answers_as_written
//! REDIS=6 SEQUENCE=my-file tests/run -- -p streamkeeper-tests --test conformance -- --ignored write_the_replies
//! ```

mod random;
mod real;

use std::io::Write;

use real::Real;
use streamkeeper_sim::conformance::{Part, Sequence, Side, Simulated, Version, differences, run};
use streamkeeper_tests::flavor::Flavor;

#[test]
fn redis_answers_as_written() {
    compare(&for_server(Flavor::Redis), Real::of, |part| &part.reply);
}

#[test]
fn valkey_answers_as_written() {
    let start = |sequence: &Sequence| Real::start(Flavor::Valkey, &sequence.settings);
    compare(&for_server(Flavor::Valkey), start, |part| part.on_valkey.as_ref().unwrap_or(&part.reply));
}

#[test]
fn the_simulation_answers_as_written() {
    compare(&all(), Simulated::of, |part| &part.reply);
}

#[test]
fn the_simulation_answers_made_up_sequences_as_redis_does() {
    if is_redis_6() {
        return tell("no sequences are made up for a Redis 6.2, of which only little is simulated");
    }
    random::compare(&mut Real::start(Flavor::Redis, &[]), &mut Simulated::start(&[], Version::Redis7), 300);
}

/// The same server twice: what the rules of `masks` do not catch would make the comparison worthless.
#[test]
fn made_up_sequences_are_answered_alike_by_two_redis() {
    random::compare(&mut Real::start(Flavor::Redis, &[]), &mut Real::start(Flavor::Redis, &[]), 50);
}

/// Fills in the replies of the sequences that the servers here are for: an instrument, no test.
#[test]
#[ignore = "it writes files"]
fn write_the_replies() {
    let mut sequences = for_server(Flavor::Redis);
    let on_redis = replies(&sequences, Real::of);
    for (sequence, redis) in sequences.iter_mut().zip(&on_redis) {
        for (part, redis) in sequence.parts.iter_mut().zip(redis) {
            (part.reply, part.on_valkey) = (redis.clone(), None);
        }
    }
    if !is_redis_6() {
        let on_valkey = replies(&sequences, |sequence| Real::start(Flavor::Valkey, &sequence.settings));
        for (sequence, valkey) in sequences.iter_mut().zip(on_valkey) {
            for (part, valkey) in sequence.parts.iter_mut().zip(valkey) {
                part.on_valkey = (valkey != part.reply).then_some(valkey);
            }
        }
    }
    sequences.iter().for_each(Sequence::save);
}

fn all() -> Vec<Sequence> {
    let sequences = Sequence::all();
    assert!(!sequences.is_empty(), "there is no such sequence");
    sequences
}

/// Those that this server is of the version for; it is told which others there are.
fn for_server(flavor: Flavor) -> Vec<Sequence> {
    let version = if flavor == Flavor::Redis && is_redis_6() { Version::Redis6 } else { Version::Redis7 };
    let (its, others): (Vec<Sequence>, Vec<Sequence>) =
        all().into_iter().partition(|sequence| sequence.version == version);
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|sequence| &*sequence.name).collect();
        let hint = if version == Version::Redis7 { "a Redis 6.2 (REDIS=6 tests/run)" } else { "another server" };
        tell(&format!("{flavor:?} is not asked {}, which {} answers", names.join(", "), hint));
    }
    its
}

fn is_redis_6() -> bool {
    Flavor::Redis.is_before_7()
}

/// A line that is seen also where a test passes.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "conformance: {what}");
}

fn compare<S: Side>(sequences: &[Sequence], start: impl Fn(&Sequence) -> S, expected: fn(&Part) -> &[String]) {
    let replies = replies(sequences, start);
    let different: String =
        sequences.iter().zip(&replies).map(|(sequence, replies)| differences(sequence, replies, expected)).collect();
    assert!(different.is_empty(), "{different}");
}

/// What servers answer to each sequence. Those of a version without settings of their own share one.
fn replies<S: Side>(sequences: &[Sequence], start: impl Fn(&Sequence) -> S) -> Vec<Vec<Vec<String>>> {
    let mut shared: Vec<(Version, S)> = Vec::new();
    let on_one = |sequence: &Sequence| {
        if !sequence.settings.is_empty() || sequence.restarts() {
            return run(sequence, &mut start(sequence));
        }
        let at = shared.iter().position(|(version, _)| *version == sequence.version).unwrap_or_else(|| {
            shared.push((sequence.version, start(sequence)));
            shared.len() - 1
        });
        let server = &mut shared[at].1;
        server.reset();
        run(sequence, server)
    };
    sequences.iter().map(on_one).collect()
}
