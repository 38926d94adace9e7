//! Durations as people write them: `3s`, `200ms`, `1m30s`, `1.5h`.

use std::time::Duration;

/// Units and their nanoseconds; those that begin with another one's letter come first.
const UNITS: [(&str, f64); 7] =
    [("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("s", 1e9), ("m", 60e9), ("h", 3_600e9), ("d", 86_400e9)];

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: expected a number and a unit, such as 3s, 200ms or 1m30s");
    let (mut rest, mut nanos) = (text.trim(), 0.0);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit)).ok_or_else(wrong)?;
        nanos += number * unit.1;
        rest = rest[end + unit.0.len()..].trim_start();
    }
    Duration::try_from_secs_f64((nanos / 1e9 * 1e9).round() / 1e9).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in
            [("3s", 3_000), ("200ms", 200), ("1m30s", 90_000), ("1.5h", 5_400_000), ("2 s", 0), ("1d", 86_400_000)]
        {
            match millis {
                0 => assert!(parse(text).is_err(), "{text}"),
                _ => assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}"),
            }
        }
        assert_eq!(parse("1500us"), Ok(Duration::from_micros(1_500)));
        for text in ["", "3", "s", "3x", "-1s", "1..2s", "3s4"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
