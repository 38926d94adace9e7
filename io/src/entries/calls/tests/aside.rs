//! Entries that cannot be decoded.

use super::*;

fn item(of: &str, entry: &str, text: &str) -> AsideItem {
    AsideItem {
        entry: ENTRY,
        stream: stream(of),
        attempt: ATTEMPT,
        id: id(entry),
        fields: fields(&[("body", text), ("f", "v")]),
        error: "no JSON".into(),
    }
}

/// The fields of the latest one.
async fn latest(peer: &mut Peer) -> Vec<(String, String)> {
    let found = value::list(peer.line("XREVRANGE svc-dead-entries + - COUNT 1").await).unwrap().pop().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    value::delivery(found).unwrap().fields.unwrap().into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn an_entry_is_copied_once_with_what_is_wrong() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for _ in 0..3 {
            assert_eq!(a.set_aside(vec![item("s", "1-1", "x")]).await.unwrap(), [Aside::Done]);
        }
        assert_eq!(a.text("XLEN svc-dead-entries").await, "1");
        let mut copy = latest(&mut a).await;
        let (name, at_ms) = copy.remove(5);
        assert!(name == "at_ms" && at_ms.parse::<u64>().unwrap() > 1_600_000_000_000);
        let expected = [
            ("stream", "s"),
            ("id", "1-1"),
            ("error", "no JSON"),
            ("consumer", "redis-consumer-a"),
            ("entry", "7-1"),
            ("original:body", "x"),
            ("original:f", "v"),
        ];
        assert_eq!(copy, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        a.own("t").await;
        let some = vec![item("s", "1-2", "x"), item("t", "1-1", "x"), item("s", "1-2", "x"), item("s", "1-1", "x")];
        assert_eq!(a.set_aside(some).await.unwrap(), [Aside::Done, Aside::Done, Aside::Done, Aside::Done]);
        assert_eq!(a.text("XLEN svc-dead-entries").await, "3");
    });
}

#[test]
fn only_its_owner_sets_it_aside() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.raw(&["SET", "t<MUTEX_KEY_SEP>7-1", "somebody"]).await;
        a.raw(&["RPUSH", "u<MUTEX_KEY_SEP>7-1", "x"]).await;
        let some = ["t", "missing", "u", "s"].map(|name| item(name, "1-1", "x"));
        let answers = a.set_aside(some.into()).await.unwrap();
        assert_eq!(answers[..2], [Aside::Fenced, Aside::Fenced]);
        assert!(matches!(&answers[2], Aside::Broken(why) if why.contains("WRONGTYPE")), "{answers:?}");
        assert_eq!(answers[3], Aside::Done);
        assert_eq!(a.text("XLEN svc-dead-entries").await, "1");
        a.line("DEL svc-dead-entries").await;
        a.line("SET svc-dead-entries x").await;
        let answers = a.set_aside(vec![item("s", "1-1", "x")]).await.unwrap();
        assert!(matches!(&answers[0], Aside::Broken(why) if why.contains("WRONGTYPE")), "{answers:?}");
    });
}

#[test]
fn nothing_of_an_entry_is_left_out() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let odd: Vec<u8> = (0..=255).collect();
        let mut some = item("s", "1-1", "x");
        some.fields = vec![(odd.clone(), vec![0xff]), (vec![], vec![])];
        some.error = "ä".repeat(1_000).into();
        a.set_aside(vec![some]).await.unwrap();
        let found = value::list(a.line("XRANGE svc-dead-entries - +").await).unwrap().pop().unwrap();
        let copy = value::delivery(found).unwrap().fields.unwrap();
        assert_eq!(copy[2].1.len(), 500);
        assert_eq!(copy[6..], [([b"original:", odd.as_slice()].concat(), vec![0xff]), (bytes("original:"), vec![])]);

        for (n, names) in [(1_900, 1_906), (1_901, 7)] {
            let mut many = item("s", &format!("2-{n}"), "x");
            many.fields = (0..n).map(|i| (bytes("n"), i.to_string().into_bytes())).collect();
            a.set_aside(vec![many]).await.unwrap();
            assert_eq!(latest(&mut a).await.len(), names);
        }
        let (name, packed) = latest(&mut a).await.pop().unwrap();
        assert!(name == "packed" && packed.starts_with("1:n1:01:n1:1") && packed.ends_with("1:n4:1900"), "{name}");
    });
}

#[test]
fn a_flood_is_copied_up_to_the_limit() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let many: Vec<_> = (1..=2_500).map(|i| item("s", &format!("{i}-0"), "x")).collect();
        let answers = a.set_aside(many).await.unwrap();
        assert!(answers.len() == 2_500 && answers.iter().all(|answer| *answer == Aside::Done));
        let n: u64 = a.text("XLEN svc-dead-entries").await.parse().unwrap();
        assert!((1_000..1_200).contains(&n), "{n}");
    });
}
