//! Lengths of time as people write them: `4s`, `1.5s`, `250ms`.

use std::time::Duration;

/// The units, in nanoseconds, the longest name first where one ends another.
const UNITS: [(&str, u128); 6] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What [`parse_span`] expects.
pub(super) const SPAN: &str = "a length of time such as `4s`, `1.5s` or `250ms`";
pub(super) const RANGE: &str = "two lengths of time such as `100ms..2s`";

/// Reads a length of time; `None` if it is none, or has a part of a nanosecond.
pub fn parse_span(text: &str) -> Option<Duration> {
    let (number, unit_ns) = UNITS.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, *ns)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let nanos = digits(whole)?.checked_mul(unit_ns)?;
    let parts = digits(fraction)?.checked_mul(unit_ns)?;
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    if parts % scale != 0 {
        return None;
    }
    let nanos = nanos.checked_add(parts / scale)?;
    let second = 1_000_000_000;
    Some(Duration::new(u64::try_from(nanos / second).ok()?, (nanos % second) as u32))
}

fn digits(text: &str) -> Option<u128> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Writes a length of time so that [`parse_span`] reads it back exactly.
pub fn print_span(span: Duration) -> String {
    let nanos = span.as_nanos();
    let (unit, ns) = match nanos {
        0 | 1_000_000_000.. => ("s", 1_000_000_000),
        1_000_000.. => ("ms", 1_000_000),
        1_000.. => ("us", 1_000),
        _ => ("ns", 1),
    };
    let width = (ns as f64).log10() as usize;
    let fraction = format!("{:0width$}", nanos % ns);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{unit}", nanos / ns),
        fraction => format!("{}.{fraction}{unit}", nanos / ns),
    }
}

/// Reads whole milliseconds.
pub(super) fn parse_ms(text: &str) -> Option<u64> {
    let span = parse_span(text)?;
    let whole = span.subsec_nanos() % 1_000_000 == 0;
    if whole { u64::try_from(span.as_millis()).ok() } else { None }
}

/// Writes whole milliseconds.
pub(super) fn print_ms(ms: u64) -> String {
    print_span(Duration::from_millis(ms))
}

/// Reads whole microseconds.
pub(super) fn parse_us(text: &str) -> Option<u64> {
    let span = parse_span(text)?;
    let whole = span.subsec_nanos() % 1_000 == 0;
    if whole { u64::try_from(span.as_micros()).ok() } else { None }
}

/// Writes whole microseconds.
pub(super) fn print_us(us: u64) -> String {
    print_span(Duration::from_micros(us))
}

pub(super) fn range(text: &str, parse: impl Fn(&str) -> Option<u64>) -> Option<(u64, u64)> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (parse(least)?, parse(most)?);
    (least <= most).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        let cases = [
            ("4s", Some(4_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("12.345s", Some(12_345_000_000)),
            ("250ms", Some(250_000_000)),
            ("0.5ms", Some(500_000)),
            ("100us", Some(100_000)),
            ("7ns", Some(7)),
            ("2m", Some(120_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("0.5ns", None),
            ("4", None),
            ("s", None),
            (".5s", None),
            ("5.s", None),
            ("-4s", None),
            ("4 s", None),
            ("4sec", None),
            ("1.2.3s", None),
            ("99999999999999999999999999999999999999h", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_span(text).map(|s| s.as_nanos()), nanos, "{text}");
        }
        assert_eq!(parse_ms("0.5ms"), None);
        assert_eq!(parse_us("0.5us"), None);
        assert_eq!(print_span(Duration::from_millis(12_345)), "12.345s");
        assert_eq!(print_span(Duration::ZERO), "0s");
        assert_eq!(print_ms(250), "250ms");
        assert_eq!(print_us(1_001), "1.001ms");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(seconds: u64, nanos in 0..1_000_000_000u32, ms: u64, us: u64) {
            let span = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_span(&print_span(span)), Some(span));
            prop_assert_eq!(parse_ms(&print_ms(ms)), Some(ms));
            prop_assert_eq!(parse_us(&print_us(us)), Some(us));
        }

        #[test]
        fn short_spans_too(nanos in 0..2_000_000_000u64) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_span(&print_span(span)), Some(span));
        }

        #[test]
        fn garbage_is_no_span_and_no_panic(text in "[0-9.a-z]{0,60}") {
            parse_span(&text);
        }
    }
}
