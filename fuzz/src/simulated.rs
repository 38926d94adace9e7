//! What the simulator reads that people and clients write: plans, scenarios, and the bytes on a connection.

use streamkeeper_core::time::Time;
use streamkeeper_sim::{
    plan::Plan,
    redis::{Output, Redis},
    scenario::Scenario,
};

/// A plan's parser: no panic whatever the file holds, and what it accepts it prints and reads again.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(plan) = text.parse::<Plan>() else { return };
    let printed = plan.to_string();
    assert_eq!(printed.parse::<Plan>().as_ref(), Ok(&plan), "{printed}");
}

/// A scenario's parser: no panic whatever the file holds, and what it accepts is a plan that is printed and read again.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(scenario) = Scenario::read("fuzz.toml", text, &[]) else { return };
    let plan = scenario.plan(1);
    let printed = plan.to_string();
    assert_eq!(printed.parse::<Plan>().as_ref(), Ok(&plan), "{printed}");
}

/// The simulated Redis under whatever bytes arrive, in one piece and in two: no panic, and the same comes out.
pub fn resp(data: &[u8]) {
    let Some((at, bytes)) = data.split_first() else { return };
    let (one, two) = bytes.split_at(usize::from(*at) % (bytes.len() + 1));
    let (whole, cut) = (answers(&[bytes]), answers(&[one, two]));
    if !tells_reads_apart(bytes) {
        assert_eq!(whole, cut, "in one piece, and cut after {} bytes", one.len());
    }
}

/// As in Redis, INFO counts how often was read, and SHUTDOWN takes along what was answered in the same read. Either may be
/// written with escapes.
fn tells_reads_apart(bytes: &[u8]) -> bool {
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    holds(b"info") || holds(b"shutdown") || holds(b"\\")
}

fn answers(pieces: &[&[u8]]) -> Vec<Output> {
    let plan: Plan = "seed 1\nheal-at 1s\ncalm 1s\nconsumer a".parse().expect("a good plan");
    let mut redis = Redis::new(&plan.redis, 1, Time::ZERO);
    let conn = redis.accept(Time::ZERO);
    for piece in pieces {
        redis.receive(conn, piece, Time::ZERO);
    }
    let mut sent = Vec::new();
    let mut rest = Vec::new();
    while let Some(output) = redis.poll() {
        match output {
            // How the bytes are cut into pieces says nothing.
            Output::Send(to, bytes) if to == conn => sent.extend_from_slice(&bytes),
            output => rest.push(output),
        }
    }
    rest.push(Output::Send(conn, sent.into()));
    rest
}
