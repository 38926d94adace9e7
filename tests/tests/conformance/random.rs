//! Sequences that nobody wrote: few keys, few ids, few consumers, so that they collide; wrong types, deleted entries,
//! missing groups; at the end a look at everything. What differs is shrunk to a sequence that can be kept as a file.

use std::cell::RefCell;

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestError, TestRunner},
};

use streamkeeper_sim::conformance::{Part, Sequence, Side, Step, differences, run};

/// The longest one.
const STEPS: usize = 40;

/// Runs so many made-up sequences on both, or as many as `PROPTEST_CASES` says; the answers of the first are right.
pub(crate) fn compare(right: &mut dyn Side, tested: &mut dyn Side, cases: u32) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let (sides, found) = (RefCell::new((right, tested)), RefCell::new(String::new()));
    let result =
        TestRunner::new(config).run(&(beginning(), prop::collection::vec(parts(), 1..STEPS)), |(first, parts)| {
            let sequence = whole(&[first, parts.concat()].concat());
            let (right, tested) = &mut *sides.borrow_mut();
            let replies = |side: &mut dyn Side| {
                side.reset();
                run(&sequence, side)
            };
            let (expected, replies) = (replies(*right), replies(*tested));
            if expected == replies {
                return Ok(());
            }
            *found.borrow_mut() = describe(sequence, expected, &replies);
            Err(TestCaseError::fail("different"))
        });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(..)) => panic!("{}", found.borrow()),
        Err(error) => panic!("{error}"),
    }
}

/// What to do about a difference: the sequence with the right answers, and the wrong ones.
fn describe(mut sequence: Sequence, expected: Vec<Vec<String>>, replies: &[Vec<String>]) -> String {
    for (part, reply) in sequence.parts.iter_mut().zip(expected) {
        part.reply = reply;
    }
    let wrong = differences(&sequence, replies, |part| &part.reply);
    format!("a sequence that is answered in two ways; as a file of sequences/:\n\n{}\n{wrong}", sequence.text())
}

/// The steps between a beginning and a look at everything.
fn whole(parts: &[Part]) -> Sequence {
    let call = |words: &[&str]| Step::call("c1", words);
    let mut all = vec![
        call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]),
        call(&["CONFIG", "SET", "notify-keyspace-events", "KA"]),
        Step::call("listener", &["PSUBSCRIBE", "*"]),
    ];
    all.extend(parts.iter().cloned());
    for key in KEYS {
        all.push(call(&["TYPE", key]));
        all.push(call(&["PTTL", key]));
        all.push(call(&["XINFO", "STREAM", key, "FULL"]));
        all.push(call(&["XINFO", "GROUPS", key]));
        for group in GROUPS {
            all.push(call(&["XINFO", "CONSUMERS", key, group]));
            all.push(call(&["XPENDING", key, group]));
            all.push(call(&["XPENDING", key, group, "-", "+", "100"]));
        }
        all.push(call(&["GET", key]));
        all.push(call(&["HGETALL", key]));
    }
    all.push(Step::receive("listener"));
    Sequence { name: "random".to_owned(), parts: all, ids_are_alike: true, ..Sequence::default() }
}

const KEYS: [&str; 3] = ["s", "t", "k"];
const GROUPS: [&str; 2] = ["g", "h"];
const CONSUMERS: [&str; 3] = ["a", "b", "c"];
const IDS: [&str; 9] = ["0-1", "1-1", "1-2", "2-1", "2-2", "3-1", "4-0", "5-1", "9-9"];

/// Nothing, or a group that has work to do: commands on missing ones are soon boring.
fn beginning() -> impl Strategy<Value = Vec<Part>> {
    let group = vec![words(&["XGROUP CREATE s g 0 MKSTREAM"])];
    let mut busy = group.clone();
    busy.extend(["1-1", "1-2", "2-1"].map(|id| words(&["XADD s", id, "f v"])));
    busy.push(words(&["XREADGROUP GROUP g a COUNT 2 STREAMS s >"]));
    select(vec![vec![], group, busy.clone(), busy])
}

/// One step, or two that belong together.
fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop_oneof![20 => part().prop_map(|part| vec![part]), 1 => death(), 1 => waiting(), 1 => commit(), 1 => fetch()]
}

fn part() -> BoxedStrategy<Part> {
    prop_oneof![
        6 => grow(),
        8 => read(),
        5 => claim(),
        4 => look(),
        3 => shrink(),
        2 => group(),
        2 => strings(),
        2 => hashes(),
        2 => expiry(),
        1 => script(),
        1 => select(vec!["2", "3"]).prop_map(|version| Step::call("c1", &["HELLO", version])),
    ]
    .boxed()
}

/// A key that lapses before the next step.
fn death() -> impl Strategy<Value = Vec<Part>> {
    key().prop_map(|key| vec![words(&["PEXPIRE", key, "10"]), Step::wait(14)])
}

/// Somebody waits for entries of all keys, and is woken if nothing has come.
fn waiting() -> impl Strategy<Value = Vec<Part>> {
    let waits = (id(), id(), id(), select(vec!["", "COUNT 1"]));
    let two = (grow(), grow()).prop_map(|(one, two)| vec![words(&["MULTI"]), one, two, words(&["EXEC"])]);
    let one = prop_oneof![3 => grow(), 1 => shrink()].prop_map(|part| vec![part]);
    (waits, prop::collection::vec(prop_oneof![4 => one, 1 => two], 1..4)).prop_map(|((s, t, k, count), happens)| {
        let read = format!("XREAD {count} BLOCK 0 STREAMS s t k {s} {t} {k}");
        let read: Vec<&str> = read.split(' ').filter(|word| !word.is_empty()).collect();
        let mut parts = vec![Step::call("waiter", &["CLIENT", "ID"]), Step::ask("waiter", &read)];
        parts.extend(happens.concat());
        parts.extend([words(&["CLIENT UNBLOCK <client>"]), Step::receive("waiter")]);
        parts
    })
}

/// What is behind a position, and the stream at that moment.
fn fetch() -> impl Strategy<Value = Vec<Part>> {
    (key(), id(), count()).prop_map(|(key, id, n)| {
        vec![
            words(&["MULTI"]),
            words(&["XRANGE", key, &format!("({id}"), "+ COUNT", n]),
            words(&["XINFO STREAM", key]),
            words(&["EXEC"]),
        ]
    })
}

/// A commit of a few writes, which are made all or not at all.
fn commit() -> impl Strategy<Value = Vec<Part>> {
    let number = || select(vec!["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "-9223372036854775000"]);
    let write = prop_oneof![
        number().prop_map(|n| format!("SET 1 {n}")),
        Just("SET 3 text PX 100000".to_owned()),
        Just("DEL 0".to_owned()),
        Just("PEXPIRE 1 100000".to_owned()),
        number().prop_map(|n| format!("INCRBY 1 {n}")),
        number().prop_map(|n| format!("HSET 4 f {n} g x")),
        Just("HDEL 1 f".to_owned()),
        number().prop_map(|n| format!("HINCRBY 2 f {n}")),
        Just("SADD 2 a b".to_owned()),
        Just("SREM 1 a".to_owned()),
        Just("ZADD 4 1.5 a inf b".to_owned()),
        Just("ZREM 1 a".to_owned()),
        Just("RPUSH 2 a b".to_owned()),
        Just("XADD 3 * f v".to_owned()),
        Just("XADD 6 MAXLEN ~ 2 * f v".to_owned()),
    ];
    prop::collection::vec((key(), write), 1..5).prop_map(|writes| {
        let keys: Vec<&str> = writes.iter().map(|(key, _)| *key).collect();
        let commands: Vec<&str> = writes.iter().map(|(_, command)| command.as_str()).collect();
        let (count, number) = ((2 + keys.len()).to_string(), writes.len().to_string());
        let (keys, commands) = (keys.join(" "), commands.join(" "));
        vec![
            words(&["SET l a#1"]),
            words(&["DEL cps"]),
            words(&["EVAL @lua/entries/commit", &count, "cps l", &keys, "s a#1 0-0 - 1-0 - m.1", &number, &commands]),
            words(&["HGETALL cps"]),
        ]
    })
}

/// Mostly the stream.
fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(KEYS[0]), 2 => Just(KEYS[1]), 1 => Just(KEYS[2])]
}

fn group_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(GROUPS[0]), 1 => Just(GROUPS[1])]
}

fn consumer() -> impl Strategy<Value = &'static str> {
    select(CONSUMERS.to_vec())
}

fn id() -> impl Strategy<Value = &'static str> {
    select(IDS.to_vec())
}

fn bound() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("-".to_owned()),
        2 => Just("+".to_owned()),
        3 => id().prop_map(str::to_owned),
        2 => id().prop_map(|id| format!("({id}")),
        1 => (0..6u8).prop_map(|ms| ms.to_string()),
    ]
}

fn count() -> impl Strategy<Value = &'static str> {
    select(vec!["1", "2", "3", "10"])
}

/// A command of words, some of which may be missing.
fn words(parts: &[&str]) -> Part {
    let words: Vec<&str> = parts.iter().flat_map(|part| part.split(' ')).filter(|word| !word.is_empty()).collect();
    Step::call("c1", &words)
}

fn grow() -> BoxedStrategy<Part> {
    let trim = select(vec!["", "", "", "", "MAXLEN 2", "MAXLEN = 3", "MINID 2", "MAXLEN ~ 2", "NOMKSTREAM"]);
    let id = prop_oneof![6 => id().prop_map(str::to_owned), 2 => Just("*".to_owned()), 2 => (0..6u8).prop_map(|ms| format!("{ms}-*"))];
    (key(), trim, id).prop_map(|(key, trim, id)| words(&["XADD", key, trim, &id, "f v"])).boxed()
}

fn read() -> BoxedStrategy<Part> {
    let from = prop_oneof![6 => Just(">".to_owned()), 2 => Just("0".to_owned()), 2 => id().prop_map(str::to_owned)];
    let options = select(vec!["", "", "COUNT 1", "COUNT 2", "NOACK", "BLOCK 1"]);
    prop_oneof![
        8 => (key(), group_name(), consumer(), options, from).prop_map(|(key, group, consumer, options, from)| {
            words(&["XREADGROUP GROUP", group, consumer, options, "STREAMS", key, &from])
        }),
        1 => (key(), id()).prop_map(|(key, id)| words(&["XREAD COUNT 2 STREAMS", key, id])),
        1 => (id(), id(), id(), select(vec!["", "COUNT 1", "BLOCK 1", "COUNT 1 BLOCK 1"]))
            .prop_map(|(s, t, k, options)| words(&["XREAD", options, "STREAMS s t k", s, t, k])),
        1 => (group_name(), consumer()).prop_map(|(group, consumer)| {
            words(&["XREADGROUP GROUP", group, consumer, "COUNT 2 STREAMS", KEYS[0], KEYS[1], "> >"])
        }),
    ]
    .boxed()
}

fn claim() -> BoxedStrategy<Part> {
    let idle = || select(vec!["0", "0", "0", "3600000"]);
    let options = select(vec![
        "",
        "JUSTID",
        "IDLE 7200000",
        "IDLE 7200000 JUSTID",
        "FORCE",
        "FORCE JUSTID",
        "RETRYCOUNT 5",
        "RETRYCOUNT 0",
        "LASTID 4-0",
        "LASTID 2-2 JUSTID",
        "TIME 1000",
    ]);
    prop_oneof![
        4 => (key(), group_name(), consumer(), idle(), prop::collection::vec(id(), 1..4), options).prop_map(
            |(key, group, consumer, idle, ids, options)| {
                words(&["XCLAIM", key, group, consumer, idle, &ids.join(" "), options])
            }
        ),
        2 => (key(), group_name(), consumer(), idle(), id(), select(vec!["", "JUSTID", "COUNT 1", "COUNT 2 JUSTID"]))
            .prop_map(|(key, group, consumer, idle, id, options)| {
                words(&["XAUTOCLAIM", key, group, consumer, idle, id, options])
            }),
    ]
    .boxed()
}

fn look() -> BoxedStrategy<Part> {
    prop_oneof![
        (key(), bound(), bound()).prop_map(|(key, from, to)| words(&["XRANGE", key, &from, &to])),
        (key(), bound(), bound(), count()).prop_map(|(key, from, to, n)| words(&[
            "XREVRANGE",
            key,
            &from,
            &to,
            "COUNT",
            n
        ])),
        key().prop_map(|key| words(&["XLEN", key])),
        (key(), group_name()).prop_map(|(key, group)| words(&["XPENDING", key, group])),
        (key(), group_name(), bound(), bound(), count(), select(vec!["", "a", "b"]), select(vec!["", "IDLE 3600000"]))
            .prop_map(|(key, group, from, to, n, consumer, idle)| {
                words(&["XPENDING", key, group, idle, &from, &to, n, consumer])
            }),
        (key(), group_name()).prop_map(|(key, group)| words(&["XINFO CONSUMERS", key, group])),
        key().prop_map(|key| words(&["XINFO GROUPS", key])),
        key().prop_map(|key| words(&["XINFO STREAM", key])),
        (key(), count()).prop_map(|(key, n)| words(&["XINFO STREAM", key, "FULL COUNT", n])),
    ]
    .boxed()
}

fn shrink() -> BoxedStrategy<Part> {
    let ids = || prop::collection::vec(id(), 1..4).prop_map(|ids| ids.join(" "));
    prop_oneof![
        4 => (key(), ids()).prop_map(|(key, ids)| words(&["XDEL", key, &ids])),
        4 => (key(), group_name(), ids()).prop_map(|(key, group, ids)| words(&["XACK", key, group, &ids])),
        2 => (key(), select(vec!["MAXLEN 0", "MAXLEN 1", "MAXLEN 2", "MINID 2-1", "MINID 4", "MAXLEN ~ 1"]))
            .prop_map(|(key, how)| words(&["XTRIM", key, how])),
        1 => key().prop_map(|key| words(&["DEL", key])),
        1 => (key(), id()).prop_map(|(key, id)| words(&["XSETID", key, id])),
        1 => (key(), key()).prop_map(|(from, to)| words(&["RENAME", from, to])),
    ]
    .boxed()
}

fn group() -> BoxedStrategy<Part> {
    let start = || prop_oneof![3 => Just("0"), 3 => Just("$"), 2 => id()];
    let more = select(vec!["MKSTREAM", "MKSTREAM", "", "ENTRIESREAD 2"]);
    prop_oneof![
        6 => (key(), group_name(), start(), more)
            .prop_map(|(key, group, start, more)| words(&["XGROUP CREATE", key, group, start, more])),
        2 => (key(), group_name(), start()).prop_map(|(key, group, start)| words(&["XGROUP SETID", key, group, start])),
        1 => (key(), group_name()).prop_map(|(key, group)| words(&["XGROUP DESTROY", key, group])),
        2 => (key(), group_name(), consumer())
            .prop_map(|(key, group, name)| words(&["XGROUP CREATECONSUMER", key, group, name])),
        2 => (key(), group_name(), consumer())
            .prop_map(|(key, group, name)| words(&["XGROUP DELCONSUMER", key, group, name])),
    ]
    .boxed()
}

/// Rarely on the stream's key: then everything answers WRONGTYPE.
fn other_key() -> impl Strategy<Value = &'static str> {
    prop_oneof![1 => Just(KEYS[0]), 3 => Just(KEYS[1]), 12 => Just(KEYS[2])]
}

fn strings() -> BoxedStrategy<Part> {
    let options = select(vec!["", "NX", "XX", "PX 60000", "NX PX 60000", "KEEPTTL", "GET", "XX GET"]);
    let value = select(vec!["v", "w", "7"]);
    prop_oneof![
        5 => (other_key(), value, options).prop_map(|(key, value, options)| words(&["SET", key, value, options])),
        3 => (other_key(), select(vec!["GET", "INCR", "STRLEN", "GETDEL", "TYPE", "EXISTS", "UNLINK"]))
            .prop_map(|(key, command)| words(&[command, key])),
        1 => Just(words(&["MGET", KEYS[0], KEYS[1], KEYS[2]])),
        1 => (other_key(), select(vec!["SETNX", "APPEND", "GETSET", "INCRBY"]))
            .prop_map(|(key, command)| words(&[command, key, "3"])),
    ]
    .boxed()
}

fn hashes() -> BoxedStrategy<Part> {
    let field = || select(vec!["x", "y"]);
    prop_oneof![
        3 => (other_key(), field()).prop_map(|(key, field)| words(&["HSET", key, field, "1"])),
        1 => (other_key(), field()).prop_map(|(key, field)| words(&["HDEL", key, field])),
        1 => (other_key(), field()).prop_map(|(key, field)| words(&["HGET", key, field])),
        1 => (other_key(), field()).prop_map(|(key, field)| words(&["HSETNX", key, field, "2"])),
        1 => (other_key(), field()).prop_map(|(key, field)| words(&["HINCRBY", key, field, "2"])),
        1 => other_key().prop_map(|key| words(&["HMGET", key, "x y z"])),
        1 => other_key().prop_map(|key| words(&["RPUSH", key, "x"])),
        1 => other_key().prop_map(|key| words(&["SADD", key, "x"])),
    ]
    .boxed()
}

fn expiry() -> BoxedStrategy<Part> {
    let how = select(vec!["60000", "60000", "60000 XX", "60000 NX", "0", "-1"]);
    prop_oneof![
        3 => (key(), how).prop_map(|(key, how)| words(&["PEXPIRE", key, how])),
        1 => key().prop_map(|key| words(&["PERSIST", key])),
        1 => key().prop_map(|key| words(&["PTTL", key])),
        1 => Just(words(&["DBSIZE"])),
        1 => Just(words(&["KEYS", "*"])),
    ]
    .boxed()
}

fn script() -> BoxedStrategy<Part> {
    const SCRIPTS: [&str; 5] = [
        "return redis.call('XINFO', 'GROUPS', KEYS[1])",
        "local p = redis.pcall('XPENDING', KEYS[1], 'g', '-', '+', 10) if p.err then return p end return #p",
        "redis.call('SET', 'k', 'v') return redis.call('HGET', 'k', 'x')",
        "return redis.call('XREADGROUP', 'GROUP', 'g', 'a', 'STREAMS', KEYS[1], '>')",
        "redis.pcall('XADD', KEYS[1], '*', 'a', 1, 'b', 2.5) return redis.pcall('XLEN', KEYS[1])",
    ];
    (select(SCRIPTS.to_vec()), key()).prop_map(|(script, key)| Step::call("c1", &["EVAL", script, "1", key])).boxed()
}
