//! By which law each figure grows: what a run should show, next to what it shows.

use serde::Serialize;

use super::{fleet::Fleet, traffic::Span};

/// One figure: of the quiet time, per server and second, or of the takeover, per orphan.
#[derive(Clone, Debug, Serialize)]
pub struct Law {
    /// What is counted.
    pub what: &'static str,
    /// How it follows from the sizes; the letters are those of [`Law::LETTERS`].
    pub formula: &'static str,
    /// What the formula says.
    pub expected: f64,
    /// What was seen.
    pub measured: f64,
}

impl Law {
    /// What the letters of the formulas mean.
    pub const LETTERS: &'static str = "N consumers, M streams, P partitions, S servers, h heartbeat, b leases in a call (500), \
        r = max(reap interval, 1.2 µs · M/P); of a server's time: R for a lease renewed, C for a command, E for an epoch, \
        s for an entry scanned, L for a consumer listed; c = the least of N/h, 10/s and 10,000/N·s; K consumers killed, H heirs of an orphan (8)";

    /// All laws of a quiet time.
    pub(crate) fn of_quiet(fleet: &Fleet, quiet: &Span) -> Vec<Law> {
        let costs = &fleet.costs;
        let (n, m) = (fleet.consumers as f64, fleet.streams as f64);
        let (p, s) = (fleet.partitions as f64, fleet.shards as f64);
        let h = fleet.settings.heartbeat.as_secs_f64();
        let r = reap_seconds(fleet);
        let batches = (m / (n * p * fleet.settings.renew_batch as f64)).ceil();
        let holders = (n * p).min(m);
        let block = (h / 2.0).max(0.01);
        let there_and_back = 2.0 * costs.latency_us / 1e6;
        let per_server = |count: f64| count / (quiet.seconds() * s);
        let rate = |kind: &str| per_server(quiet.calls(kind) as f64);
        let leases = per_server(quiet.kinds.get("renew").map_or(0.0, |tally| tally.items as f64));
        let fixed_us = costs.command_us * 2.0 / h
            + (costs.command_us + costs.epoch_us) / h
            + costs.command_us / h
            + costs.command_us / r;
        // Whoever asks after the epoch counts the consumers, if nobody has for a while: longer, if they are many.
        let counts = (n / h).min(10.0).min(10_000.0 / n);
        let busy_us = (m * costs.renew_us + holders * batches * costs.command_us) / h
            + n * p * (fixed_us + counts * costs.consumer_us)
            + m * costs.scan_us / r;
        let law = |what, formula, expected, measured| Law { what, formula, expected, measured };
        vec![
            law("leases renewed", "M / (h·S)", m / (h * s), leases),
            law("`renew`", "N·P·⌈M/(N·P·b)⌉ / (h·S)", holders * batches / (h * s), rate("renew")),
            law("`read`", "N·P / ((h/2 + round trip)·S)", n * p / ((block + there_and_back) * s), rate("read")),
            law("`epoch`", "N·P / (h·S)", n * p / (h * s), rate("epoch")),
            law("`ping`", "N·P / (h·S)", n * p / (h * s), rate("ping")),
            law("`reap`", "N·P / (r·S)", n * p / (r * s), rate("reap")),
            law(
                "busy, %",
                "(M·(R/h + s/r) + N·P·(⌈M/(N·P·b)⌉·C/h + (4·C + E)/h + C/r + c·L)) / S",
                busy_us / (s * 1e4),
                per_server(quiet.micros()) / 1e4,
            ),
        ]
    }

    /// The laws of a takeover: what is asked of the servers for one orphan, of so many, until some time after it is over.
    pub(crate) fn of_takeover(fleet: &Fleet, orphans: usize, spans: &[&Span]) -> Vec<Law> {
        if orphans == 0 {
            return Vec::new();
        }
        let living = (fleet.consumers - fleet.kill) as f64;
        let heirs = f64::from(fleet.settings.heirs);
        // The reaper looks at those, too, that it is no heir of.
        let looks = if living > heirs * 2.0 { heirs + 1.0 - heirs / living } else { living };
        let items = spans.iter().filter_map(|span| span.kinds.get("look")).map(|tally| tally.items as f64);
        let measured = items.sum::<f64>() / orphans as f64;
        let formula = "N − K; in a crowd, N − K > 2·H, H + 1 − H/(N − K)";
        vec![Law { what: "looks at an orphan", formula, expected: looks, measured }]
    }
}

/// How often orphans are looked for: a long list less often.
fn reap_seconds(fleet: &Fleet) -> f64 {
    let patience = 1.2e-6 * fleet.streams as f64 / fleet.partitions as f64;
    fleet.settings.reap_interval.as_secs_f64().max(patience)
}
