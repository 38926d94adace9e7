//! What depends on clocks: expiry, the cycle that looks for it, and idle times.

use bytes::Bytes;

use super::{Context, Db, Done, Reply, execute, find, spec, wake};

const START_MS: u64 = 1_700_000_000_000;

struct Server {
    db: Db,
    cx: Context,
}

impl Server {
    fn new() -> Server {
        Server { db: Db::new(1), cx: Context::new(START_MS * 1000, 1) }
    }

    fn say(&mut self, command: &str) -> Done {
        execute(&mut self.db, &mut self.cx, &words(command)).expect("a command of the keyspace")
    }

    fn ask(&mut self, command: &str) -> Reply {
        match self.say(command) {
            Done::Reply(reply) => reply,
            Done::Block { .. } => panic!("{command} blocks"),
        }
    }

    fn at(&mut self, after_ms: i64) {
        self.cx.set_now(START_MS.saturating_add_signed(after_ms) * 1000);
    }

    fn events(&mut self) -> Vec<String> {
        let events = self.cx.events.drain(..).filter(|event| event.class != 'n');
        events.map(|event| format!("{} {}", event.class, event.name)).collect()
    }

    /// When the only consumer was last seen, and when the only pending entry was delivered.
    fn idle_ms(&mut self) -> (Reply, Reply) {
        let Reply::Array(consumers) = self.ask("XINFO CONSUMERS s g") else { panic!("no list") };
        let Some(Reply::Map(rows)) = consumers.into_iter().next() else { panic!("no consumer") };
        let Reply::Array(pending) = self.ask("XPENDING s g - + 1") else { panic!("no list") };
        let Some(Reply::Array(row)) = pending.into_iter().next() else { panic!("nothing is pending") };
        (rows[2].1.clone(), row[2].clone())
    }
}

fn words(command: &str) -> Vec<Bytes> {
    command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn bulk(text: &'static str) -> Reply {
    Reply::bulk(text)
}

#[test]
fn a_key_lives_to_the_end_of_its_last_millisecond() {
    let mut server = Server::new();
    server.ask("SET k v PX 100");
    server.at(100);
    assert_eq!((server.ask("GET k"), server.ask("PTTL k")), (bulk("v"), Reply::Int(0)));
    server.at(101);
    assert_eq!((server.ask("GET k"), server.ask("PTTL k")), (Reply::Nil, Reply::Int(-2)));
}

#[test]
fn who_meets_a_lapsed_key_deletes_it_and_tells() {
    for (command, events) in [
        ("GET k", vec!["x expired"]),
        ("DEL k", vec!["x expired"]),
        ("SCAN 0", vec!["x expired"]),
        ("SET k w NX", vec!["x expired", "$ set"]),
        ("SET k w PX 5", vec!["x expired", "$ set", "g expire"]),
        ("XADD k 1-1 a b", vec!["x expired", "t xadd"]),
        ("KEYS *", vec![]),
        ("DBSIZE", vec![]),
        ("FLUSHALL", vec![]),
    ] {
        let mut server = Server::new();
        server.ask("SET k v PX 100");
        server.events();
        server.at(101);
        server.ask(command);
        assert_eq!(server.events(), events, "{command}");
    }
}

#[test]
fn a_replica_hides_lapsed_keys_from_readers_and_keeps_them_for_its_primary() {
    let mut server = Server::new();
    server.ask("SET k 1 PX 100");
    server.events();
    (server.cx.expire_at_all, _) = (false, server.at(101));
    assert_eq!((server.ask("GET k"), server.ask("DBSIZE")), (Reply::Nil, Reply::Int(1)));
    assert_eq!((server.ask("INCR k"), server.ask("DEL k")), (Reply::Int(2), Reply::Int(1)));
    assert_eq!(server.events(), ["$ incrby", "g del"]);
}

#[test]
fn the_cycle_goes_on_only_while_many_of_its_sample_had_lapsed() {
    let mut server = Server::new();
    for key in 0..2_000 {
        server.ask(&format!("SET lasting{key} v PX 1000000"));
    }
    server.ask("SET lease v PX 100");
    server.at(101);
    server.events();
    let mut cycles = 0;
    while server.events().is_empty() {
        assert!(!server.db.expire_cycle(&mut server.cx, 1, 1_000));
        cycles += 1;
    }
    // 20 of 2,001 at a time, from any of them on.
    assert!((2..=101).contains(&cycles), "{cycles}");

    for key in 0..500 {
        server.ask(&format!("SET crowd{key} v PX 100"));
    }
    for key in 0..2_000 {
        server.ask(&format!("DEL lasting{key}"));
    }
    server.at(202);
    assert!(server.db.expire_cycle(&mut server.cx, 1, 10), "ten loops are not enough");
    assert_eq!(server.db.len(), 300);
    assert!(!server.db.expire_cycle(&mut server.cx, 1, 1_000));
    assert_eq!((server.db.len(), server.db.volatile_len()), (0, 0));
}

#[test]
fn the_next_one_to_lapse_is_known() {
    let mut server = Server::new();
    assert_eq!(server.db.next_expiry_ms(), None);
    server.ask("SET a v PX 500");
    server.ask("SET b v PX 300");
    server.ask("SET c v");
    assert_eq!(server.db.next_expiry_ms(), Some(START_MS + 300));
    server.ask("PERSIST b");
    assert_eq!(server.db.next_expiry_ms(), Some(START_MS + 500));
    server.ask("SET a v");
    assert_eq!(server.db.next_expiry_ms(), None);
}

#[test]
fn loading_drops_lapsed_keys_in_silence_and_eviction_tells() {
    let mut server = Server::new();
    server.ask("SET a v PX 100");
    server.ask("SET b v");
    server.events();
    assert_eq!(server.db.drop_lapsed(START_MS + 101), 1);
    assert!(!server.db.evict(&mut server.cx, b"a") && server.db.evict(&mut server.cx, b"b"));
    assert_eq!(server.events(), ["e evicted"]);
    assert!(server.db.is_empty());
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut server = Server::new();
    server.ask("XADD s 1-1 a b");
    server.ask("XGROUP CREATE s g 0");
    let mut snapshot = Server { db: server.db.clone(), cx: server.cx.clone() };
    server.ask("XADD s 2-1 a b");
    server.ask("XREADGROUP GROUP g c STREAMS s >");
    server.ask("XDEL s 1-1");
    assert_eq!((server.ask("XLEN s"), snapshot.ask("XLEN s")), (Reply::Int(1), Reply::Int(1)));
    let Reply::MapOfPairs(streams) = snapshot.ask("XREADGROUP GROUP g c STREAMS s >") else { panic!("no entries") };
    assert!(format!("{streams:?}").contains("1-1") && !format!("{streams:?}").contains("2-1"));
}

#[test]
fn idle_times_are_the_wall_clock_s() {
    let mut server = Server::new();
    server.ask("XADD s 1-1 a b");
    server.ask("XGROUP CREATE s g 0");
    server.ask("XREADGROUP GROUP g c STREAMS s >");
    server.at(500);
    // In vain: nobody was seen, nothing is delivered.
    for command in ["XREADGROUP GROUP g c STREAMS s >", "XCLAIM s g c 1000 1-1", "XAUTOCLAIM s g c 1000 0"] {
        server.ask(command);
        assert_eq!(server.idle_ms(), (Reply::Int(500), Reply::Int(500)), "{command}");
    }
    server.ask("XREADGROUP GROUP g c STREAMS s 1-1");
    assert_eq!(server.idle_ms(), (Reply::Int(0), Reply::Int(500)));
    server.ask("XREADGROUP GROUP g c STREAMS s 0");
    server.at(700);
    assert_eq!(server.idle_ms(), (Reply::Int(200), Reply::Int(200)));
    server.ask("XCLAIM s g c 200 1-1 JUSTID IDLE 50");
    assert_eq!(server.idle_ms(), (Reply::Int(0), Reply::Int(50)));
    // The clock goes back: not idle at all, and so not to be claimed from who has it.
    server.at(-10_000);
    assert_eq!(server.idle_ms(), (Reply::Int(0), Reply::Int(0)));
    assert_eq!(server.ask("XCLAIM s g c 1 1-1"), Reply::Array(vec![]));
}

#[test]
fn ids_go_on_when_the_clock_goes_back() {
    let mut server = Server::new();
    for (after_ms, id) in [(0, "1700000000000-0"), (0, "1700000000000-1"), (-5_000, "1700000000000-2")] {
        server.at(after_ms);
        assert_eq!(server.ask("XADD s * a b"), bulk(id));
    }
    server.at(3);
    assert_eq!(server.ask("XADD s * a b"), bulk("1700000000003-0"));
}

#[test]
fn who_blocks_is_told_what_came_or_what_went() {
    let gone = || Reply::error("UNBLOCKED the stream key no longer exists");
    let no_group = || Reply::error("NOGROUP the consumer group this client was blocked on no longer exists");
    for (commands, answer) in [
        (vec!["XSETID s 9-0"], None),
        (vec!["XADD t 1-1 a b"], None),
        (vec!["DEL s"], Some(gone())),
        (vec!["SET s v"], Some(gone())),
        (vec!["RENAME s q"], Some(gone())),
        (vec!["XGROUP DESTROY s g"], Some(no_group())),
        (vec!["XGROUP DELCONSUMER s g c"], None),
        (
            vec!["XADD s 2-1 a b"],
            Some(Reply::MapOfPairs(vec![(
                bulk("s"),
                Reply::Array(vec![Reply::Array(vec![bulk("2-1"), Reply::Array(vec![bulk("a"), bulk("b")])])]),
            )])),
        ),
    ] {
        let mut server = Server::new();
        server.ask("XADD s 1-1 a b");
        server.ask("XGROUP CREATE s g $");
        let Done::Block { keys, ms: 0, again } = server.say("XREADGROUP GROUP g c BLOCK 0 STREAMS s >") else {
            panic!("does not block")
        };
        server.cx.events.clear();
        commands.iter().for_each(|command| drop(server.ask(command)));
        let events = std::mem::take(&mut server.cx.events);
        let answers = events.iter().filter(|event| event.wakes() && keys.contains(&event.key)).filter_map(|event| {
            match wake(&mut server.db, &mut server.cx, &again, &event.key) {
                Done::Reply(reply) => Some(reply),
                Done::Block { .. } => None,
            }
        });
        assert_eq!(answers.last(), answer, "{commands:?}");
    }
}

#[test]
fn a_blocked_reader_without_a_group_remembers_where_it_began() {
    let mut server = Server::new();
    server.ask("XADD s 1-1 a b");
    let Done::Block { again, ms, .. } = server.say("XREAD BLOCK 250 STREAMS s $") else { panic!("does not block") };
    assert_eq!((ms, again), (250, words("XREAD BLOCK 250 STREAMS s 1-1")));
    server.cx.in_script = true;
    let refused = Reply::error("ERR XREAD command is not allowed with BLOCK option from scripts");
    assert_eq!(server.ask("XREAD BLOCK 250 STREAMS s $"), refused);
}

#[test]
fn keys_are_found_among_the_arguments() {
    for (command, keys) in [
        ("SET k v", vec!["k"]),
        ("MSET a 1 b 2", vec!["a", "b"]),
        ("DEL a b c", vec!["a", "b", "c"]),
        ("RENAME a b", vec!["a", "b"]),
        ("XGROUP CREATE s g 0", vec!["s"]),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", vec!["a", "b"]),
        ("KEYS *", vec![]),
    ] {
        let args = words(command);
        let spec = find(&args).expect("known").expect("right");
        assert_eq!(spec.keys(&args), keys, "{command}");
    }
    assert!(find(&words("PING")).is_none());
    assert!(find(&words("GET")).expect("known").is_err());
    assert_eq!(spec(b"GeT").map(|spec| (spec.write, spec.deny_oom)), Some((false, false)));
    assert_eq!(spec(b"xadd").map(|spec| (spec.write, spec.deny_oom)), Some((true, true)));
}
