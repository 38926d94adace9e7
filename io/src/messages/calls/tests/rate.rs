//! Permits under a limit that the group shares.

use super::*;
use streamkeeper_core::messages::config::Rate;

#[test]
fn a_limit_is_shared_and_refills_with_time() {
    on_redis(&[], |redis| async move {
        let limited = || Settings { group_rate: Some(Rate { count: 10, per: Duration::from_secs(1) }), ..settings() };
        let mut a = Peer::with(&redis, "a", limited(), false).await;
        let mut b = Peer::with(&redis, "b", limited(), false).await;
        a.raw("CONFIG SET maxmemory 1").await;
        let start = std::time::Instant::now();
        let mut granted = 0;
        while granted < 35 {
            for peer in [&mut a, &mut b] {
                let Answer::Permits { granted: n, wait } = peer.call(Call::Permits { count: 4 }).await.unwrap() else {
                    panic!()
                };
                granted += n;
                assert!(n <= 4 && (n == 4 || !wait.is_zero()) && wait <= Duration::from_millis(101), "{n} {wait:?}");
                if n == 0 {
                    tokio::time::sleep(wait).await;
                }
            }
            // What a quiet time saved up, and what has become free since.
            let most = 10.0 + 10.0 * start.elapsed().as_secs_f64() + 1.0;
            assert!(f64::from(granted) <= most, "{granted} after {:?}", start.elapsed());
        }
        assert!(start.elapsed() >= Duration::from_millis(2_400), "{:?}", start.elapsed());
    });
}

#[test]
fn a_clock_that_was_set_back_costs_one_span_at_most() {
    on_redis(&[], |redis| async move {
        let limited = Settings { group_rate: Some(Rate { count: 3, per: Duration::from_secs(60) }), ..settings() };
        let mut a = Peer::with(&redis, "a", limited, false).await;
        a.raw("SET m:g:rate 9999999999999999").await;
        let Answer::Permits { granted, wait } = a.call(Call::Permits { count: 1 }).await.unwrap() else { panic!() };
        assert_eq!(granted, 0);
        assert!(wait > Duration::from_secs(19) && wait <= Duration::from_secs(20), "{wait:?}");
        a.raw("DEL m:g:rate").await;
        for (asked, got) in [(2, 2), (0, 0), (2, 1), (1, 0)] {
            let answer = a.call(Call::Permits { count: asked }).await.unwrap();
            assert!(matches!(answer, Answer::Permits { granted, .. } if granted == got), "{asked}: {answer:?}");
        }
        a.raw("DEL m:g:rate").await;
        a.raw("LPUSH m:g:rate x").await;
        let trouble = a.call(Call::Permits { count: 1 }).await.unwrap_err();
        assert!(trouble.message.contains("m:g:rate"), "{trouble}");
        let mut free = Peer::new(&redis, "b").await;
        let all = Answer::Permits { granted: 9, wait: Duration::ZERO };
        assert_eq!(free.call(Call::Permits { count: 9 }).await.unwrap(), all);
    });
}
