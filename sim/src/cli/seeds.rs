//! Which seeds: `17`, `0..500`, `1000..`.

use std::{fmt, str::FromStr};

/// A range of seeds; without an end it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) from: u64,
    /// The first that does not belong to it.
    pub(crate) to: Option<u64>,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let wrong = || format!("`{text}` are no seeds: `17`, `0..500` (500 is not among them) or `1000..`");
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let seeds = match text.split_once("..") {
            None => Seeds { from: number(text)?, to: Some(number(text)?.checked_add(1).ok_or_else(wrong)?) },
            Some((from, "")) => Seeds { from: number(from)?, to: None },
            Some((from, to)) => Seeds { from: number(from)?, to: Some(number(to)?) },
        };
        if seeds.to.is_some_and(|to| to <= seeds.from) { Err(wrong()) } else { Ok(seeds) }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.from)?;
        self.to.map_or(Ok(()), |to| write!(f, "{to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        let read = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.to_string()).ok();
        assert_eq!(read("17").as_deref(), Some("17..18"));
        assert_eq!(read("0..500").as_deref(), Some("0..500"));
        assert_eq!(read("1000..").as_deref(), Some("1000.."));
        for text in ["", "..", "..5", "5..5", "9..3", "a..b", "-1", "1..2..3", "18446744073709551615"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
