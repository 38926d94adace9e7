//! Commits of random writes on random keys, beside the same commands made one by one: a commit makes all of them, or
//! none, and it makes none if one of them would fail.

use super::*;

/// Chance, the same in every run of the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize].clone()
    }

    fn key(&mut self) -> Key {
        key(self.one_of(&["k1", "k2", "k3"]))
    }

    fn number(&mut self) -> i64 {
        self.one_of(&[0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 3, i64::MIN + 3])
    }

    fn value(&mut self) -> Vec<u8> {
        match self.roll(3) {
            0 => bytes("text"),
            1 => self.number().to_string().into_bytes(),
            _ => bytes(self.one_of(&["5", "05", "", "-3"])),
        }
    }

    fn name(&mut self) -> Vec<u8> {
        bytes(self.one_of(&["a", "b"]))
    }

    fn write(&mut self) -> Write {
        let key = self.key();
        match self.roll(13) {
            0 => Write::Set(key, self.value(), None),
            1 => Write::Del(key),
            2 => Write::Expire(key, Duration::from_secs(100)),
            3 => Write::IncrBy(key, self.number()),
            4 => Write::HSet(key, vec![(self.name(), self.value())]),
            5 => Write::HDel(key, vec![self.name()]),
            6 => Write::HIncrBy(key, self.name(), self.number()),
            7 => Write::SAdd(key, vec![self.name()]),
            8 => Write::SRem(key, vec![self.name()]),
            9 => Write::ZAdd(key, vec![(Score(1.5_f64.to_bits()), self.name())]),
            10 => Write::ZRem(key, vec![self.name()]),
            11 => Write::RPush(key, vec![self.value()]),
            _ => Write::XAdd(key, vec![(self.name(), self.value())], None),
        }
    }
}

/// Makes the writes one by one: the first that fails.
async fn one_by_one(peer: &mut Peer, writes: &[Write]) -> Option<usize> {
    let commands =
        super::super::writes::commands(writes, &peer.calls.0.foreign).unwrap_or_else(|_| panic!("{writes:?}"));
    let mut failed = None;
    for (i, command) in commands.iter().enumerate() {
        let mut cmd = redis::cmd(command.name);
        cmd.arg(command.key);
        for arg in &command.args {
            cmd.arg(&**arg);
        }
        if script::send(&mut peer.connection, &cmd).await.is_err() {
            failed = failed.or(Some(i));
        }
    }
    failed
}

/// What stands in Redis, but for the ids of stream entries and times to live, and for what a commit itself needs.
async fn contents(peer: &mut Peer) -> Vec<String> {
    let mut all = Vec::new();
    for key in ["k1", "k2", "k3"] {
        let kind = peer.text(&format!("TYPE {key}")).await;
        let what = match kind.as_str() {
            "none" => Value::Nil,
            "string" => peer.line(&format!("GET {key}")).await,
            "hash" => {
                Value::Array(vec![peer.line(&format!("HGET {key} a")).await, peer.line(&format!("HGET {key} b")).await])
            }
            "set" => Value::Array(vec![
                peer.line(&format!("SISMEMBER {key} a")).await,
                peer.line(&format!("SISMEMBER {key} b")).await,
            ]),
            "zset" => Value::Array(vec![
                peer.line(&format!("ZSCORE {key} a")).await,
                peer.line(&format!("ZSCORE {key} b")).await,
            ]),
            "list" => peer.line(&format!("LRANGE {key} 0 -1")).await,
            "stream" => {
                let entries = value::list(peer.line(&format!("XRANGE {key} - +")).await).unwrap();
                let fields = entries.into_iter().map(|entry| value::list(entry).unwrap().pop().unwrap());
                Value::Array(fields.collect())
            }
            other => panic!("{other}"),
        };
        let ttl: i64 = peer.text(&format!("TTL {key}")).await.parse().unwrap();
        all.push(format!("{key} {kind} {what:?} {}", ttl > 0));
    }
    all
}

#[test]
fn a_commit_makes_all_its_writes_or_none() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let (mut done, mut rejected, mut careful) = (0, 0, 0);
        for seed in 0..600 {
            let mut dice = Dice(seed);
            let before: Vec<Write> = (0..dice.roll(5)).map(|_| dice.write()).collect();
            let writes: Vec<Write> = (0..1 + dice.roll(6)).map(|_| dice.write()).collect();

            a.line("SELECT 1").await;
            a.line("FLUSHDB").await;
            one_by_one(&mut a, &before).await;
            let untouched = contents(&mut a).await;
            let failed = one_by_one(&mut a, &writes).await;
            let expected = contents(&mut a).await;

            a.line("SELECT 0").await;
            a.line("FLUSHDB").await;
            a.own("s").await;
            one_by_one(&mut a, &before).await;
            let answer = a.commit(with("s", writes.clone())).await;
            let now = contents(&mut a).await;
            let stands = a.text("EXISTS svc-checkpoints").await;
            let about = format!("seed {seed}: {writes:?} on {untouched:?}: {answer:?}");
            match (&answer, failed) {
                (Committed::Done, None) => {
                    done += 1;
                    assert_eq!((now, stands.as_str()), (expected, "1"), "{about}");
                }
                (Committed::Rejected(index, _), failed) => {
                    rejected += 1;
                    // A key may be emptied by a write, and so vanish: what comes next is refused nevertheless.
                    careful += usize::from(failed != Some(*index));
                    assert!(failed.is_none_or(|failed| *index <= failed), "{about}, but {failed:?}");
                    assert_eq!((now, stands.as_str()), (untouched, "0"), "{about}");
                }
                other => panic!("{about}: {other:?}"),
            }
        }
        assert!(done > 100 && rejected > 100 && careful < 20, "{done} {rejected} {careful}");
    });
}
