use super::{
    super::tested::{entry, machine},
    *,
};
use crate::id::Identity;

fn owned(failures: u32, gained: Time) -> Owned {
    let (token, identity) = (Token(1), Identity::new("a"));
    Owned { token, failures, gained, identity, deadline: gained, renewing: None }
}

#[test]
fn failures_in_a_row_are_counted_and_end_in_setting_aside() {
    // So many failures before; how long it lived since, in seconds.
    let unlimited = || machine(|settings| settings.max_failures = 0);
    let three = || machine(|settings| settings.max_failures = 3);
    for (mut machine, before, lived, failures, set_aside) in [
        (unlimited(), 0, 1, 1, false),
        (unlimited(), 99, 1, 100, false),
        (three(), 1, 59, 2, false),
        (three(), 2, 59, 3, true),
        (three(), 2, 60, 1, false),
    ] {
        machine.now = Time::from_millis(70_000);
        let gained = machine.now - Duration::from_secs(lived);
        let failure = machine.failure(&owned(before, gained), "boom".into());
        assert_eq!((failure.failures, failure.set_aside), (failures, set_aside), "{before}, and lived for {lived} s");
    }
}

#[test]
fn what_is_given_back_is_told_again_and_has_a_limit() {
    let mut machine = machine(|_| {});
    let item = |machine: &Machine, number: u64| {
        let attempt = Attempt { incarnation: machine.incarnation, number };
        ReleaseItem { entry: entry(number), stream: StreamName::new("s").unwrap(), attempt, failure: None }
    };
    let call = Call::Release(vec![item(&machine, 1), item(&machine, 2)]);
    machine.end_failed(&call);
    assert_eq!(machine.ends.give_back.len(), 2, "it may not have been heard");
    for number in 3..GIVE_BACK_LIMIT as u64 + 9 {
        let ReleaseItem { entry, stream, attempt, .. } = item(&machine, number);
        machine.give_back_attempt(entry, stream, attempt);
    }
    machine.end_failed(&call);
    assert_eq!(machine.ends.give_back.len(), GIVE_BACK_LIMIT);
}
