use super::{super::tested::machine, *};

#[test]
fn what_shows_that_a_server_is_well_again() {
    let read = || Call::Read { count: 1, block: Duration::ZERO };
    let take = || Call::Take { count: 1, share: None };
    let acquire = || {
        let (identity, floor) = (crate::id::Identity::new("a"), crate::id::Token(0));
        Call::Acquire(crate::streams::call::AcquireCall { items: Vec::new(), identity, floor })
    };
    for (call, full, then_full, troubles) in [
        (read(), false, false, 0),
        (take(), false, false, 0),
        // Reading takes no memory, and shows nothing of it.
        (read(), true, true, 3),
        (take(), true, true, 3),
        (acquire(), false, false, 0),
        (acquire(), true, false, 0),
        (Call::Clean, false, false, 3),
    ] {
        let mut machine = machine(|_| {});
        (machine.server.full, machine.server.troubles) = (full, 3);
        machine.thrive(&call);
        let got = (machine.server.full, machine.server.troubles);
        assert_eq!(got, (then_full, troubles), "{} of a server that is full: {full}", call.name());
    }
}

#[test]
fn several_calls_that_fail_of_one_cause_are_one_trouble() {
    let mut machine = machine(|_| {});
    machine.hold();
    let until = machine.server.hold_until;
    machine.now = until - Duration::from_millis(1);
    machine.hold();
    assert_eq!((machine.server.troubles, machine.server.hold_until), (1, until));
    machine.now = until;
    machine.hold();
    assert_eq!(machine.server.troubles, 2, "it was left alone, and fails again");
    assert!(machine.server.hold_until > machine.now);
}
