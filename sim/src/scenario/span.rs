//! Lengths of time as scenarios write them: `4s`, `ttl + 500ms`, `1.5ttl`, `2pause`.

use std::{collections::BTreeMap, time::Duration};

use crate::plan::text::parse_span;

/// What is expected where a length of time stands.
pub(super) const SPAN: &str = "a length of time such as `4s`, `250ms`, `ttl + 500ms` or `1.5ttl`";

/// The names that lengths of time may use, and what each stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(pub(super) BTreeMap<String, String>);

impl Names {
    /// The length of time that this text stands for, or what is wrong with it.
    pub(super) fn span(&self, text: &str) -> Result<Duration, String> {
        self.sum(text, 0)
    }

    /// Puts what they stand for into the braces of an action: `pause c1 {pause}`.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            filled += before;
            filled += &match self.0.get(inside.trim()) {
                // A word or a number, and no length of time.
                Some(word) if self.span(inside).is_err() => word.clone(),
                _ => crate::plan::text::print_span(self.span(inside)?),
            };
            rest = after;
        }
        Ok(filled + rest)
    }

    fn sum(&self, text: &str, depth: u32) -> Result<Duration, String> {
        let mut sum = Duration::ZERO;
        for term in text.split('+') {
            sum = sum.saturating_add(self.term(term.trim(), depth)?);
        }
        Ok(sum)
    }

    /// `4s`, `ttl` or `1.5ttl`.
    fn term(&self, term: &str, depth: u32) -> Result<Duration, String> {
        if let Some(span) = parse_span(term) {
            return Ok(span);
        }
        let digits = term.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(term.len());
        let (times, name) = term.split_at(digits);
        let times = if times.is_empty() { Ok(1.0) } else { times.parse::<f64>() };
        let (Ok(times), Some(stands_for)) = (times, self.0.get(name.trim())) else {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            return Err(format!("`{term}` is not {SPAN}; the names are: {}", names.join(", ")));
        };
        if depth > 8 {
            return Err(format!("`{}` stands for itself", name.trim()));
        }
        let span = self.sum(stands_for, depth + 1)?;
        Duration::try_from_secs_f64(span.as_secs_f64() * times).map_err(|_| format!("`{term}` is too long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pairs = [("ttl", "3s"), ("pause", "ttl + 1s"), ("one", "two"), ("two", "one"), ("victim", "worker-1")];
        Names(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    }

    #[test]
    fn spans_are_sums_of_times_and_names() {
        let table = [("4s", 4_000), ("ttl", 3_000), ("ttl + 500ms", 3_500), ("1.5ttl", 4_500), ("2 pause+1ms", 8_001)];
        for (text, ms) in table {
            assert_eq!(names().span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "4", "ttl +", "lease", "1..5ttl", "one", "-4s"] {
            assert!(names().span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn actions_are_filled() {
        let fill = |text| names().fill(text);
        assert_eq!(fill("pause {victim} {pause} at answer").as_deref(), Ok("pause worker-1 4s at answer"));
        assert_eq!(fill("pause c1 {ttl + 250ms}").as_deref(), Ok("pause c1 3.25s"));
        assert_eq!(fill("crash c1").as_deref(), Ok("crash c1"));
        assert!(fill("crash {c1").is_err() && fill("crash {nobody}").is_err());
    }
}
