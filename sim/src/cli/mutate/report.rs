//! What became of the mutants.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use streamkeeper_sim::mutate::{Known, Mutant};

/// What became of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) mutant: String,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) operator: String,
    pub(super) change: String,
    /// Who noticed.
    pub(super) by: Option<String>,
    /// What was noticed; of a survivor, why nobody does, if that is known.
    pub(super) how: String,
}

impl Verdict {
    pub(super) fn new(mutant: &Mutant, by: Option<String>, how: String) -> Verdict {
        Verdict {
            mutant: mutant.to_string(),
            file: mutant.file.clone(),
            line: mutant.line,
            operator: mutant.operator.to_string(),
            change: mutant.change(),
            by,
            how,
        }
    }

    /// If nobody noticed it, it says why, if that is known.
    pub(super) fn explained(mut self, known: &Known) -> Verdict {
        if self.by.is_none() {
            self.how = known.reason(&self.file, &self.change).unwrap_or_default().to_owned();
        }
        self
    }

    /// Nobody noticed it, and nobody knows why.
    pub(super) fn is_news(&self) -> bool {
        self.by.is_none() && self.how.is_empty()
    }

    pub(super) fn line(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    pub(super) fn read(line: &str) -> Result<Verdict, serde_json::Error> {
        serde_json::from_str(line)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { mutant, file, line, operator, change, .. } = self;
        write!(f, "io/src/lua/{file}.lua:{line} ({mutant}, {operator}): {change}")
    }
}

/// How many of a file's mutants were caught, survived, or are no Lua.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Count {
    pub(super) caught: u64,
    pub(super) survived: u64,
    pub(super) unviable: u64,
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) files: BTreeMap<String, Count>,
    /// Who noticed how many.
    pub(super) judges: BTreeMap<String, u64>,
    pub(super) verdicts: Vec<Verdict>,
    #[serde(skip)]
    pub(super) wall: Duration,
}

impl Report {
    pub(super) fn new(unviable: Vec<Mutant>) -> Report {
        let mut report = Report::default();
        for mutant in unviable {
            report.files.entry(mutant.file).or_default().unviable += 1;
        }
        report
    }

    pub(super) fn add(&mut self, verdict: Verdict) {
        let count = self.files.entry(verdict.file.clone()).or_default();
        match &verdict.by {
            Some(by) => {
                count.caught += 1;
                *self.judges.entry(by.clone()).or_default() += 1;
            }
            None => count.survived += 1,
        }
        self.verdicts.push(verdict);
    }

    /// How many survived that nobody has listed.
    pub(super) fn news(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.is_news()).count()
    }

    fn whole(&self) -> Count {
        self.files.values().fold(Count::default(), |all, count| Count {
            caught: all.caught + count.caught,
            survived: all.survived + count.survived,
            unviable: all.unviable + count.unviable,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>7} {:>9} {:>9}", "io/src/lua", "caught", "survived", "unviable")?;
        let mut row = |name: &str, count: Count| {
            writeln!(f, "{name:<24} {:>7} {:>9} {:>9}", count.caught, count.survived, count.unviable)
        };
        self.files.iter().try_for_each(|(file, count)| row(file, *count))?;
        let whole = self.whole();
        row("all", whole)?;
        let viable = whole.caught + whole.survived;
        let percent = whole.caught as f64 * 100.0 / viable.max(1) as f64;
        let judges: Vec<String> = self.judges.iter().map(|(judge, caught)| format!("{judge} {caught}")).collect();
        let seconds = self.wall.as_secs();
        let (judges, news) = (judges.join(", "), self.news());
        write!(f, "{percent:.1} % of {viable} caught, by {judges}; {news} survivors that are not listed; {seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(change: &str, by: Option<&str>) -> Verdict {
        Verdict {
            mutant: "done:3".to_owned(),
            file: "done".to_owned(),
            line: 7,
            operator: "drop".to_owned(),
            change: change.to_owned(),
            by: by.map(str::to_owned),
            how: String::new(),
        }
    }

    #[test]
    fn the_report_counts_and_says_who_noticed() {
        let mut report = Report::default();
        for by in [Some("tests"), Some("tests"), Some("seeds"), None] {
            let verdict = verdict("a()  =>", by);
            assert_eq!(Verdict::read(&verdict.line().unwrap()).unwrap(), verdict);
            report.add(verdict);
        }
        assert_eq!(report.files["done"], Count { caught: 3, survived: 1, unviable: 0 });
        let last = "75.0 % of 4 caught, by seeds 1, tests 2; 1 survivors that are not listed; 0 s";
        assert!(report.to_string().ends_with(last), "{report}");
        assert_eq!(verdict("a()  =>", None).to_string(), "io/src/lua/done.lua:7 (done:3, drop): a()  =>");
    }
    #[test]
    fn a_survivor_is_news_unless_it_is_listed() {
        let known = Known::parse("== Harmless.\ndone: a()  =>").unwrap();
        assert_eq!(verdict("a()  =>", None).explained(&known).how, "Harmless.");
        assert!(!verdict("a()  =>", None).explained(&known).is_news());
        assert!(verdict("b()  =>", None).explained(&known).is_news());
        assert!(!verdict("b()  =>", Some("tests")).explained(&known).is_news());
    }
}
