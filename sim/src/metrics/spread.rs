//! Many spans in few numbers.

use std::time::Duration;

use serde::{Serialize, ser::SerializeStruct};

/// The count, median, 99th percentile and maximum of some spans; zero if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile: the smallest span that at least 99 % do not exceed.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Spread {
    /// Of these spans.
    pub fn of(spans: impl IntoIterator<Item = Duration>) -> Spread {
        let mut spans: Vec<Duration> = spans.into_iter().collect();
        spans.sort_unstable();
        let rank = |percent: usize| spans.get((spans.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let of = |percent| rank(percent).unwrap_or_default();
        Spread { count: spans.len(), p50: of(50), p99: of(99), max: of(100) }
    }
}

impl Serialize for Spread {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
        let mut fields = serializer.serialize_struct("Spread", 4)?;
        fields.serialize_field("count", &self.count)?;
        fields.serialize_field("p50_ms", &ms(self.p50))?;
        fields.serialize_field("p99_ms", &ms(self.p99))?;
        fields.serialize_field("max_ms", &ms(self.max))?;
        fields.end()
    }
}

/// A span as people write it: `0.4 ms`, `38 ms`, `3.21 s`.
pub fn short(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    match ms {
        _ if span.is_zero() => "0".to_owned(),
        ..1.0 => format!("{ms:.1} ms"),
        ..1_000.0 => format!("{ms:.0} ms"),
        ..100_000.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

/// A histogram for a terminal: a row for each of about `rows` equal steps between 0 and the longest span.
pub fn histogram(spans: &[Duration], rows: u32, width: usize) -> String {
    let Some(longest) = spans.iter().max().filter(|span| !span.is_zero()) else { return String::new() };
    let step = step(*longest / rows.max(1));
    let mut counts = vec![0_usize; index(*longest, step) + 1];
    spans.iter().for_each(|span| counts[index(*span, step)] += 1);
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut text = String::new();
    for (row, count) in (0..).zip(counts) {
        let bar = bar(count, most, width);
        let (from, to) = (short(step * row), short(step * (row + 1)));
        text += &format!("{from:>8} – {to:<8} {bar:width$} {count}\n");
    }
    text
}

fn index(span: Duration, step: Duration) -> usize {
    // The longest span of a step belongs to it, so that a histogram of one value has no empty row above it.
    usize::try_from((span.as_nanos().saturating_sub(1)) / step.as_nanos().max(1)).unwrap_or(usize::MAX)
}

/// The next of 1, 2, 5, 10, 20, 50 … milliseconds.
fn step(span: Duration) -> Duration {
    let mut steps = (0..12).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let step = steps.find(|&ms| Duration::from_millis(ms) >= span);
    Duration::from_millis(step.unwrap_or(5 * 10_u64.pow(11)))
}

/// A bar of eighths of a character; what is not zero is seen.
fn bar(count: usize, most: usize, width: usize) -> String {
    const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let eighths = (count * width * 8).div_ceil(most);
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).map(|rest| EIGHTHS[rest]));
    bar
}
