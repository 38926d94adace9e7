//! The largest call of each kind. A request of more words than the strictest server takes fails: `wire::counted`.

use super::*;

#[test]
fn the_largest_settings_make_no_call_too_long() {
    let (owned, renewed) = (660, 990);
    let most = Settings { acquire_batch: owned, renew_batch: renewed, ..settings() };
    assert!(Config::new(Settings { acquire_batch: owned + 1, ..settings() }).is_err());
    assert!(Config::new(Settings { renew_batch: renewed + 1, ..settings() }).is_err());
    on_redis(&[], |redis| async move {
        let mut a = Peer::with(&redis, "a", most, false).await;
        let identity = a.settle().await;
        let names: Vec<String> = (0..renewed).map(|i| format!("s{i}")).collect();
        let announced: Vec<_> =
            names.iter().map(|stream| ToAnnounce { stream: name(stream), info: None, once: None }).collect();
        a.calls.announce(&mut a.connection, &announced).await;
        let entries = a.take(renewed).await;
        assert_eq!(entries.len(), renewed);
        let all: Vec<_> = entries.iter().zip(&names).map(|(entry, stream)| a.item(*entry, stream)).collect();
        let mut leases = Vec::new();
        for items in all.chunks(owned) {
            for (item, acquired) in items.iter().zip(a.acquire_items(items).await) {
                let Acquired::Granted(grant) = acquired else { panic!("{acquired:?}") };
                let (entry, stream, attempt) = (item.entry, item.stream.clone(), item.attempt);
                leases.push(RenewItem { entry, stream, attempt, token: grant.token });
            }
        }
        assert_eq!(a.renew(&leases, None).await, Renewed::default());
        a.raw("HSET svc-epoch id wait:9").await;
        assert_eq!(a.renew(&leases, Some("wait:9")).await, Renewed::default());

        let (rest, failed) = leases.split_at(renewed - MOST_ENDED);
        let failure = Failure { error: "x".repeat(500).into(), failures: 10, pause: TTL, set_aside: true };
        let one = |lease: &RenewItem| ReleaseItem {
            entry: lease.entry,
            stream: lease.stream.clone(),
            attempt: lease.attempt,
            failure: Some(failure.clone()),
        };
        let released = a.call(Call::Release(failed.iter().map(one).collect())).await.unwrap();
        assert_eq!(released, Answer::Released(vec![Released::SetAside; MOST_ENDED]));
        let one = |lease: &RenewItem| DoneItem {
            entry: lease.entry,
            stream: lease.stream.clone(),
            attempt: lease.attempt,
            identity: identity.clone(),
        };
        let done = a.call(Call::Done(rest[..MOST_ENDED].iter().map(one).collect())).await.unwrap();
        assert_eq!(done, Answer::Done(vec![Finished::Done; MOST_ENDED]));

        let many: Vec<_> = (1..=5_000).map(|ms| EntryId { ms, seq: 1 }).collect();
        a.call(Call::Look(many[..500].to_vec())).await.unwrap();
        a.call(Call::Hint(many.iter().map(|entry| (name("s"), *entry)).collect())).await.unwrap();
        a.call(Call::Ring { entries: many.clone(), heirs: None }).await.unwrap();
        a.call(Call::Forget { entries: many.clone(), idle: Duration::ZERO }).await.unwrap();
        a.calls.dead_retry(&mut a.connection, &many).await.unwrap();
        a.calls.dead_drop(&mut a.connection, &many).await.unwrap();
        a.calls.status(&mut a.connection).await.unwrap();
    });
}
