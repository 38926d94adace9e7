//! Every call once, in both protocols.

use super::*;

#[test]
fn every_call_is_answered_in_both_protocols() {
    for resp3 in [false, true] {
        on_redis(&[], |redis| async move {
            let mut a = Peer::with(&redis, Keys::plain("svc").unwrap(), resp3).await;
            let major = a.major().await;
            let Answer::Prepared(server) = a.call(Call::Prepare).await.unwrap() else { panic!() };
            assert!(server.version.contains('.'), "{server:?}");
            assert_eq!(server.counts_added, major >= 7);
            let Answer::Identified(Some(me)) = a.call(Call::Identify).await.unwrap() else { panic!() };
            assert_eq!(a.text("CLIENT ID").await, me.to_string());
            assert_eq!(a.call(Call::Wake { client: me }).await.unwrap(), Answer::Woken(Some(false)));

            let nothing = Opened::Known { record: None, last: None };
            assert_eq!(a.open(&[("s", false)]).await.unwrap(), [nothing]);
            let nothing = Opened::Known { record: None, last: Some(id("0-0")) };
            assert_eq!(a.open(&[("s", true)]).await.unwrap(), [nothing]);
            assert_eq!(a.fetch(&[("s", "0-0", 9)]).await, [Fetched::Missing]);
            assert_eq!(a.wait(&[("s", "0-0")], 0).await.unwrap(), [0_usize; 0]);

            for entry in ["1-1", "2-1", "3-1"] {
                a.line(&format!("XADD s {entry} body x{entry}")).await;
            }
            a.line("XDEL s 3-1").await;
            assert_eq!(a.wait(&[("s", "0-0")], 0).await.unwrap(), [0]);
            let Some(Fetched::Entries(entries, about)) = a.fetch(&[("s", "1-1", 9)]).await.pop() else { panic!() };
            assert_eq!(entries, [Entry { id: id("2-1"), fields: fields(&[("body", "x2-1")]) }]);
            let added = (major >= 7).then_some(3);
            assert_eq!(about, About { length: 2, added, first: Some(id("1-1")), last: id("3-1") });

            a.own("s").await;
            assert_eq!(a.commit(position("s", "0-0", "1-1")).await, Committed::Done);
            let writes = [Write::IncrBy(key("total"), 5)];
            let item = CommitItem { from: (id("1-1"), None), to: record("2-1", Some(2), mark(1)), ..with("s", writes) };
            assert_eq!(a.commit(item).await, Committed::Done);
            assert_eq!(a.text("GET total").await, "5");
            let known = Opened::Known { record: Some(record("2-1", Some(2), mark(1))), last: Some(id("3-1")) };
            assert_eq!(a.open(&[("s", true)]).await.unwrap(), [known]);

            let aside = AsideItem {
                entry: ENTRY,
                stream: stream("s"),
                attempt: ATTEMPT,
                id: id("2-1"),
                fields: fields(&[("body", "x2-1")]),
                error: "no JSON".into(),
            };
            assert_eq!(a.set_aside(vec![aside]).await.unwrap(), [Aside::Done]);
            assert_eq!(a.text("XLEN svc-dead-entries").await, "1");
        });
    }
}
