//! Announcing in partitions: where a stream lives, whatever its announcers know, while the number is raised.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use streamkeeper_core::partitions::{Counts, home, keys_of};

use super::*;
use crate::calls::{Heard, OnItsWay, PartOf};

/// One who announces, and what it knows of the numbers of partitions.
struct Announcer {
    counts: Counts,
}

/// The partitions of the service `svc` on one server.
struct Stage {
    connection: MultiplexedConnection,
    calls: Vec<Calls>,
}

impl Stage {
    async fn new(redis: &Redis) -> Stage {
        let calls = |number| {
            let (keys, config) = (keys_of("svc", number).unwrap(), Config::new(settings()).unwrap());
            Calls::new(keys, ConsumerId::named("a").unwrap(), config, Some(100), 1).in_partition(number)
        };
        Stage { connection: redis.connect(false).await, calls: (0..32).map(calls).collect() }
    }

    /// One call of an announcer: what this partition says.
    async fn ask(
        &mut self,
        partition: u32,
        counts: &str,
        item: &ToAnnounce,
        floor: Option<Token>,
    ) -> Result<Heard, Trouble> {
        let part = PartOf { service: "svc".into(), number: partition };
        let calls = self.calls[partition as usize].clone();
        let items = [OnItsWay { item, floor }];
        calls.announce_here(&mut self.connection, &part, counts, &items).await.pop().unwrap()
    }

    /// Announces as announcers do. Answers where.
    async fn announce(&mut self, announcer: &mut Announcer, item: &ToAnnounce) -> (u32, EntryId) {
        let (mut left, mut floor) = (0, None);
        loop {
            let home = announcer.counts.homes("svc", &item.stream)[left];
            match self.ask(home, &announcer.counts.to_string(), item, floor).await.unwrap() {
                Heard::Announced(entry) => return (home, entry),
                Heard::Elsewhere { counts, token } => {
                    announcer.counts = announcer.counts.clone().join("svc", &counts.parse().unwrap()).unwrap();
                    (left, floor) = (left + 1, floor.max(token));
                }
            }
        }
    }

    async fn raw(&mut self, words: &[&str]) -> Value {
        let mut cmd = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            cmd.arg(*word);
        });
        super::super::script::send(&mut self.connection, &cmd).await.unwrap()
    }

    /// An owner has finished it.
    async fn finish(&mut self, (partition, entry): (u32, EntryId)) {
        self.raw(&["XDEL", &format!("{{svc:{partition}}}-input"), &entry.to_string()]).await;
    }

    /// How many fields tell which streams stay.
    async fn staying(&mut self, partition: u32) -> Value {
        self.raw(&["HLEN", &format!("{{svc:{partition}}}-staying")]).await
    }
}

fn knows(counts: &str) -> Announcer {
    Announcer { counts: counts.parse().unwrap() }
}

fn item(stream: &str) -> ToAnnounce {
    ToAnnounce { stream: name(stream), info: None, once: None }
}

/// A stream whose home changes when 4 partitions become 8, and whose name begins like this.
fn one_that_moves(prefix: &str) -> String {
    let moves = |stream: &String| home("svc", &name(stream), 4) != home("svc", &name(stream), 8);
    (0..).map(|i| format!("{prefix}{i}")).find(moves).unwrap()
}

#[test]
fn a_script_finds_the_same_homes() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let odd = [
            "{svc:3}x",
            "x{svc:2}",
            "{svc:03}x",
            "{svc:}",
            "{}{svc:3}",
            "{svc:9}",
            "{svc:+1}",
            "{svc:1",
            "ü",
            "a\"b\\c\n",
        ];
        let plain: Vec<String> = (0..200).map(|i| format!("orders-{i}")).collect();
        for stream in odd.into_iter().chain(plain.iter().map(String::as_str)) {
            let expected = home("svc", &name(stream), 4);
            for partition in 0..4 {
                let heard = stage.ask(partition, "4", &item(stream), None).await.unwrap();
                assert_eq!(
                    matches!(heard, Heard::Announced(_)),
                    partition == expected,
                    "{stream:?} in {partition}: {heard:?}"
                );
            }
        }
    });
}

#[test]
fn what_lives_somewhere_stays_until_it_is_finished() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        // Also a name that JSON writes otherwise.
        for stream in [one_that_moves("s"), one_that_moves("\"\\\n")] {
            stage.raw(&["FLUSHALL"]).await;
            let (mut old, mut new) = (knows("4"), knows("4 8"));
            let item = item(&stream);
            let (before, after) = (home("svc", &item.stream, 4), home("svc", &item.stream, 8));
            let first = stage.announce(&mut old, &item).await;
            let second = stage.announce(&mut new, &item).await;
            assert_eq!((first.0, second.0), (before, before), "it lives there");
            stage.finish(first).await;
            let third = stage.announce(&mut old, &item).await;
            assert_eq!(third.0, before, "one announcement is left");
            stage.finish(second).await;
            stage.finish(third).await;
            assert_eq!(stage.announce(&mut old, &item).await.0, after, "nothing of it is left there");
            assert_eq!(old.counts.to_string(), "4 8", "it has been told");
            assert_eq!(stage.announce(&mut new, &item).await.0, after);
            assert_eq!(stage.staying(before).await, Value::Int(0));
        }
    });
}

#[test]
fn many_are_told_apart_page_by_page() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let (mut old, mut new) = (knows("2"), knows("2 4"));
        let mut lives = BTreeMap::new();
        for i in 0..3_500 {
            let item = item(&format!("s{i}"));
            lives.insert(item.stream.clone(), stage.announce(&mut old, &item).await.0);
        }
        // Some are finished while they are told apart, and others come.
        for i in (0..3_500).rev() {
            let item = item(&format!("s{i}"));
            let (partition, _) = stage.announce(&mut new, &item).await;
            assert_eq!(partition, lives[&item.stream], "{}", item.stream);
        }
        for partition in [0, 1] {
            let is = stage.raw(&["HGETALL", &format!("{{svc:{partition}}}-layout")]).await;
            assert_eq!(is, Value::Array(vec![Value::BulkString(b"is".into()), Value::BulkString(b"2 4".into())]));
        }
    });
}

#[test]
fn tokens_of_a_stream_that_moves_keep_growing() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let item = item(&one_that_moves("s"));
        let (from, to) = (home("svc", &item.stream, 4), home("svc", &item.stream, 8));
        stage.raw(&["SET", &format!("{{svc:{from}}}-token"), "1900000000000000"]).await;
        stage.raw(&["SET", &format!("{{svc:{to}}}-token"), "1700000000000000"]).await;
        assert_eq!(stage.announce(&mut knows("4 8"), &item).await.0, to);
        let token = stage.raw(&["GET", &format!("{{svc:{to}}}-token")]).await;
        assert_eq!(token, Value::BulkString(b"1900000000000000".into()));
    });
}

#[test]
fn a_repeat_is_recognised_where_the_stream_lived() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let stream = one_that_moves("s");
        let once = |key: &str| ToAnnounce { once: Some((key.into(), Duration::from_secs(60))), ..item(&stream) };
        let first = stage.announce(&mut knows("4"), &once("k")).await;
        stage.finish(first).await;
        let moved = stage.announce(&mut knows("4 8"), &once("l")).await;
        assert_ne!(moved.0, first.0);
        for counts in ["4", "4 8"] {
            assert_eq!(stage.announce(&mut knows(counts), &once("k")).await, first);
            assert_eq!(stage.announce(&mut knows(counts), &once("l")).await, moved);
        }
    });
}

#[test]
fn lists_that_do_not_agree_change_nothing() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        stage.announce(&mut knows("4 8"), &item("a")).await;
        let at = home("svc", &name("a"), 4);
        for wrong in ["8", "4 12", "40", "4 80"] {
            let refused = stage.ask(at, wrong, &item("a"), None).await.unwrap_err();
            assert!(refused.message.contains("PARTITIONS"), "{wrong}: {refused}");
        }
        assert_eq!(stage.raw(&["HLEN", &format!("{{svc:{at}}}-layout")]).await, Value::Int(1));
    });
}

#[test]
fn the_list_is_written_by_one_at_a_time() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let calls = stage.calls[0].clone();
        assert_eq!(calls.counts(&mut stage.connection).await.unwrap(), None);
        assert_eq!(&*calls.agree_on_counts(&mut stage.connection, "", "4").await.unwrap(), "4");
        assert_eq!(&*calls.agree_on_counts(&mut stage.connection, "", "8").await.unwrap(), "4");
        assert_eq!(&*calls.agree_on_counts(&mut stage.connection, "4", "4 8").await.unwrap(), "4 8");
        assert_eq!(calls.counts(&mut stage.connection).await.unwrap().as_deref(), Some("4 8"));
    });
}

/// What cannot be divided evenly goes to others in each partition.
#[test]
fn the_remainder_goes_round() {
    on_redis(&[], |redis| async move {
        let mut stage = Stage::new(&redis).await;
        let mut all = [0; 3];
        for partition in 0..3 {
            let (lbs, group) = (format!("{{svc:{partition}}}-input"), format!("{{svc:{partition}}}-group"));
            stage.raw(&["XGROUP", "CREATE", &lbs, &group, "0", "MKSTREAM"]).await;
            for consumer in ["redis-consumer-a", "redis-consumer-b", "redis-consumer-c"] {
                stage.raw(&["XGROUP", "CREATECONSUMER", &lbs, &group, consumer]).await;
            }
            for _ in 0..7 {
                stage.raw(&["XADD", &lbs, "*", "lbs-input", "{}"]).await;
            }
            for (consumer, sum) in ["a", "b", "c"].into_iter().zip(&mut all) {
                let (keys, config) = (keys_of("svc", partition).unwrap(), Config::new(settings()).unwrap());
                let calls =
                    Calls::new(keys, ConsumerId::named(consumer).unwrap(), config, None, 1).in_partition(partition);
                let call = Call::Take { count: 100, share: Some(0) };
                let taken = calls.execute(&mut stage.connection, &call).await.unwrap();
                let Answer::Taken { deliveries, .. } = taken else { panic!() };
                assert!([2, 3].contains(&deliveries.len()), "{consumer} has {}", deliveries.len());
                *sum += deliveries.len();
            }
        }
        assert_eq!(all, [7, 7, 7]);
    });
}

/// What happens while the number is raised.
#[derive(Clone, Debug)]
enum Step {
    /// This announcer goes one call further with its announcement of this stream; it begins one if it has none.
    Go { announcer: usize, stream: usize },
    /// An owner finishes the oldest announcement of a stream.
    Finish { stream: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let go = (0..4_usize, 0..6_usize).prop_map(|(announcer, stream)| Step::Go { announcer, stream });
    let finish = (0..6_usize).prop_map(|stream| Step::Finish { stream });
    prop::collection::vec(prop_oneof![3 => go, 2 => finish], 1..120)
}

/// Plays the steps by announcers who know of different numbers, each call by itself, so that they come between each
/// other's. Answers the first stream that lived in two partitions.
async fn play(redis: &Redis, steps: &[Step]) -> Option<String> {
    let mut stage = Stage::new(redis).await;
    stage.raw(&["FLUSHALL"]).await;
    let mut announcers = ["2", "2 4", "2 4 8", "2 4 8 24"].map(knows);
    let mut under_way: [Option<(usize, usize)>; 4] = [None; 4];
    let mut lives: BTreeMap<usize, Vec<(u32, EntryId)>> = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Go { announcer, stream } => {
                let (stream, left) = under_way[announcer].take().unwrap_or((stream, 0));
                let counts = announcers[announcer].counts.clone();
                let item = item(&format!("s{stream}"));
                let partition = counts.homes("svc", &item.stream)[left];
                match stage.ask(partition, &counts.to_string(), &item, None).await.unwrap() {
                    Heard::Announced(entry) => lives.entry(stream).or_default().push((partition, entry)),
                    Heard::Elsewhere { counts: told, .. } => {
                        announcers[announcer].counts = counts.join("svc", &told.parse().unwrap()).unwrap();
                        under_way[announcer] = Some((stream, left + 1));
                    }
                }
            }
            Step::Finish { stream } => {
                let announcements = lives.entry(stream).or_default();
                if !announcements.is_empty() {
                    let oldest = announcements.remove(0);
                    stage.finish(oldest).await;
                }
            }
        }
        for (stream, announcements) in &lives {
            let partitions: BTreeSet<u32> = announcements.iter().map(|(partition, _)| *partition).collect();
            if partitions.len() > 1 {
                return Some(format!("s{stream} lives in {partitions:?}"));
            }
        }
    }
    None
}

/// Whoever knows what, and however their calls come between each other's: a stream lives in one partition at a time.
#[test]
fn a_stream_lives_in_one_partition_at_a_time() {
    on_redis(&[], |redis| async move {
        use proptest::{strategy::ValueTree, test_runner::TestRunner};
        let mut runner = TestRunner::deterministic();
        for _ in 0..150 {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let found = play(&redis, &steps).await;
            assert_eq!(found, None, "{steps:?}");
        }
    });
}
