//! The consumers of a drawn plan, their settings and their applications.

use super::dice::Dice;
use crate::plan::{App, ConsumerPlan, drift::DRAWN_DRIFT_PPM};

/// The first one is always ours, automatic and there from the beginning: somebody must be able to keep what is promised.
pub(super) fn draw(seed: u64) -> Vec<ConsumerPlan> {
    let mut fleet = Dice::new(seed, "fleet");
    let style = Style {
        ttl_ms: fleet.pick(&[2_000, 2_000, 3_000, 3_000, 3_000, 4_000, 6_000, 10_000]),
        ttls_differ: fleet.chance(20),
        odd_settings: fleet.chance(60),
        clocks_differ: fleet.chance(50),
        go_percent: if fleet.chance(15) { 50 } else { 0 },
        manual_percent: fleet.pick(&[0, 0, 0, 40, 100]),
        small_percent: fleet.pick(&[0, 0, 30, 60, 100]),
        absent_percent: fleet.pick(&[0, 0, 20, 60]),
        max_takeovers: fleet.pick(&[0, 2, 2, 3, 10, 10]),
        max_failures: fleet.pick(&[0, 1, 2, 3, 10]),
    };
    let mut apps = Dice::new(seed, "apps");
    let usual = app(&mut apps);
    // With one heir, fleets as small as these are crowds, and some orphans have none.
    let heirs = Dice::new(seed, "heirs").pick(&[8, 8, 8, 1, 2]);
    let size = fleet.pick(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 6]);
    let mut consumers = Vec::new();
    for index in 0..size {
        let own = app(&mut apps);
        let app = if apps.chance(70) { usual.clone() } else { own };
        consumers.push(ConsumerPlan { heirs, ..consumer(index, app, &style, &mut fleet) });
    }
    consumers
}

struct Style {
    ttl_ms: u64,
    ttls_differ: bool,
    odd_settings: bool,
    clocks_differ: bool,
    go_percent: u64,
    manual_percent: u64,
    small_percent: u64,
    absent_percent: u64,
    max_takeovers: u32,
    max_failures: u32,
}

fn consumer(index: usize, app: App, style: &Style, dice: &mut Dice) -> ConsumerPlan {
    let first = index == 0;
    let other_ttl_ms = dice.between(2_000, 10_000);
    let ttl_ms = if style.ttls_differ { other_ttl_ms } else { style.ttl_ms };
    let usual = ConsumerPlan::default();
    let mut consumer = ConsumerPlan {
        name: format!("sim-{index}"),
        go: !first && dice.chance(style.go_percent),
        joins: first || !dice.chance(style.absent_percent),
        ttl_ms,
        heartbeat_ms: ttl_ms / 3,
        manual: !first && dice.chance(style.manual_percent),
        capacity: if dice.chance(style.small_percent) { dice.scaled(1, 20) as usize } else { usual.capacity },
        max_takeovers: style.max_takeovers,
        max_failures: style.max_failures,
        drift_ppm: if style.clocks_differ { dice.signed(DRAWN_DRIFT_PPM) } else { 0 },
        app,
        ..usual
    };
    if style.odd_settings {
        // Longer than the margin, and not longer than a third of the ttl.
        consumer.heartbeat_ms = dice.between(ttl_ms / 10 + 11, ttl_ms / 3);
        consumer.reap_ms = dice.scaled(50, 400);
        consumer.claim_delay_ms = dice.pick(&[0, 20, 150, 150, 300]);
        consumer.output_buffer = dice.pick(&[1, 2, 10, 1_000]);
    }
    consumer
}

fn app(dice: &mut Dice) -> App {
    let most_ms = dice.scaled(1, 16_000);
    let weight = |dice: &mut Dice, percent, most| if dice.chance(percent) { dice.between(1, most) as u32 } else { 0 };
    App {
        runs: dice.chance(50),
        work_ms: if dice.chance(60) { Some((most_ms / 8, most_ms)) } else { None },
        ends: [5, weight(dice, 45, 6), weight(dice, 40, 6), weight(dice, 20, 3), weight(dice, 30, 3)],
        reads_every_ms: if dice.chance(15) { dice.scaled(1, 2_000) } else { 0 },
        never_reads: dice.chance(5),
        reading: None,
    }
}
