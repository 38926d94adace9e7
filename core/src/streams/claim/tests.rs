use super::{
    super::{
        event::Event,
        tested::{entry, machine},
    },
    *,
};

/// When what a hint named is to be looked at, behind the time in which hints are gathered.
fn looked_at_after(machine: &Machine, number: u64) -> Option<Duration> {
    match machine.orphans.stage(entry(number))? {
        Stage::Hinted(at, _) => Some(at.since(machine.now + GATHER)),
        stage => panic!("{number} is looked at already: {stage:?}"),
    }
}

#[test]
fn each_orphan_is_the_turn_of_one_consumer_of_a_small_fleet() {
    for consumers in 1..=5 {
        let mut turns = vec![0; consumers as usize];
        for (ms, seq) in (0..30).map(|number| (1_700_000_000_000 + number / 3, number % 3)) {
            let is_turn = |rank: &u32| is_turn_of(Fleet { announced: 30, rank: *rank, consumers }, EntryId { ms, seq });
            let whose: Vec<u32> = (0..consumers).filter(is_turn).collect();
            assert_eq!(whose.len(), 1, "{ms}-{seq} of {consumers}: {whose:?}");
            turns[whose[0] as usize] += 1;
        }
        assert!(turns.iter().all(|count| *count > 0), "nobody is left out: {turns:?}");
    }
}

#[test]
fn a_doorbell_that_rings_for_very_many_is_heard_in_part() {
    let mut machine = machine(|_| {});
    let ids: Vec<String> = (1..=1_100).map(|number| entry(number).to_string()).collect();
    machine.doorbell(&ids.join(" "));
    assert_eq!(machine.orphans.len(), 1_000);
}

#[test]
fn what_is_heard_of_has_a_limit() {
    let mut machine = machine(|settings| settings.capacity = 1);
    for number in 1..=SPARE_CANDIDATES as u64 + 5 {
        machine.hint(entry(number), None, Source::Rumour, 8);
        machine.trimmed(entry(number));
    }
    assert_eq!(machine.orphans.len(), SPARE_CANDIDATES + 1);
    assert_eq!(machine.reaping.trimmed.len(), SPARE_CANDIDATES);
}

#[test]
fn a_hint_of_no_use_is_not_looked_at() {
    let mut machine = machine(|_| {});
    machine.malformed(entry(1), "no announcement".into());
    machine.hint(entry(1), None, Source::Rumour, 8);
    machine.handle(Event::Drain, Time::ZERO);
    machine.hint(entry(2), None, Source::Rumour, 8);
    assert_eq!(machine.orphans.len(), 0, "one is malformed, and whoever drains takes nothing");
}

#[test]
fn of_very_many_those_of_others_are_looked_at_later() {
    let mut machine = machine(|_| {});
    machine.claims.fleet = Fleet { announced: 2_000, consumers: 2, rank: 0 };
    for number in 1..LOOK_BATCH as u64 {
        machine.hint(entry(2 * number), None, Source::Rumour, 8);
    }
    let later = Duration::from_millis(60);
    for (number, source, patience) in [
        (2_001, Source::Rumour, Duration::ZERO), // not very many yet
        (2_003, Source::Rumour, later),
        (2_005, Source::Reaped, later),
        (2_007, Source::Mine, Duration::ZERO),
        (2_008, Source::Rumour, Duration::ZERO),
    ] {
        machine.hint(entry(number), None, source, 8);
        assert_eq!(looked_at_after(&machine, number), Some(patience), "{number}, {source:?}");
    }
}

#[test]
fn in_a_crowd_heirs_look_one_after_the_other_and_nobody_behind_them() {
    let mut machine = machine(|settings| settings.heirs = 2);
    machine.claims.consumers = 10;
    let mut seen = [0; 10];
    for number in 1..200 {
        let place = machine.place_in_line(entry(number)).expect("ten are a crowd");
        seen[place as usize] += 1;
        machine.hint(entry(number), None, Source::Rumour, 2);
        let patience = [Duration::ZERO, Duration::from_millis(45)];
        assert_eq!(looked_at_after(&machine, number), patience.get(place as usize).copied(), "at place {place}");
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn whose_turn_an_orphan_is_and_what_is_left_of_the_share() {
    let ms = Duration::from_millis;
    // How many consumers; what is left of the share, before and after.
    for (consumers, number, before, turn, from, to, after) in [
        (1, 2, 0, Turn::Ours, ms(0), ms(0), 0),
        (3, 4, 2, Turn::Ours, ms(0), ms(10), 1),
        (3, 5, 2, Turn::Theirs, ms(90), ms(100), 2),
        (3, 4, 0, Turn::Anybodys, ms(120), ms(130), 0),
        (20, 4, 2, Turn::Ours, ms(0), ms(0), 1),
        (20, 4, 0, Turn::Anybodys, ms(120), ms(150), 0),
    ] {
        let mut machine = machine(|_| {});
        machine.claims.consumers = consumers;
        let (fleet, mut quota) = (Fleet { announced: 60, consumers, rank: 1 }, before);
        let (whose, delay) = machine.turn(fleet, entry(number), Time::ZERO, &mut quota);
        let case = format!("{number} of {consumers} with {before} left: {whose:?} after {delay:?}, {quota} left");
        assert!((whose, quota) == (turn, after) && (from..=to).contains(&delay), "{case}");
    }
}

#[test]
fn an_orphan_is_offered_for_a_ttl_and_to_nobody_who_is_behind() {
    let mut machine = machine(|settings| settings.claim = ClaimMode::Manual);
    let orders = || Announcement { stream: StreamName::new("orders").unwrap(), info: None };
    machine.offer(entry(1), orders());
    machine.now = Time::from_millis(1_000);
    machine.offer(entry(2), orders());
    machine.now = Time::from_millis(2_999);
    assert!(machine.is_offered(entry(1)) && machine.is_offered(entry(2)) && !machine.is_offered(entry(3)));
    machine.now = Time::from_millis(3_000);
    assert!(!machine.is_offered(entry(1)) && machine.is_offered(entry(2)));
    machine.offer(entry(3), orders());
    let offered: Vec<EntryId> = machine.claims.offers.keys().copied().collect();
    assert_eq!(offered, [entry(2), entry(3)], "what is over is forgotten, nothing else");
    machine.backlogged(true);
    machine.offer(entry(4), orders());
    assert!(!machine.is_offered(entry(4)));
}
