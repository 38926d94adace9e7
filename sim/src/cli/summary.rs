//! What a campaign came to.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Serialize, Serializer};

use super::{campaign::Digest, failure::Failure};

/// The sums over all runs. With `--json` the last line is this, as one object.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// How many runs.
    pub(crate) seeds: u64,
    /// How many promises were broken, and panics.
    pub(crate) violations: u64,
    #[serde(rename = "simulated_s", serialize_with = "as_seconds")]
    pub(crate) simulated_us: u64,
    #[serde(rename = "wall_s", serialize_with = "seconds")]
    pub(crate) wall: Duration,
    pub(crate) takeovers: u64,
    /// By kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// In how many runs it happened, by name.
    pub(crate) sometimes: BTreeMap<&'static str, u64>,
    /// The runs that failed, what they broke, how to see it again.
    pub(crate) failures: Vec<Failure>,
}

fn as_seconds<S: Serializer>(us: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*us as f64 / 1e6)
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((span.as_secs_f64() * 1e3).round() / 1e3)
}

impl Summary {
    pub(crate) fn add(&mut self, digest: &Digest) {
        self.seeds += 1;
        self.violations += (digest.violations.len() + digest.panics.len()) as u64;
        self.simulated_us += digest.simulated_us;
        self.takeovers += digest.takeovers;
        for (kind, times) in &digest.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        for (name, times) in &digest.sometimes {
            *self.sometimes.entry(name).or_default() += u64::from(*times > 0);
        }
    }

    /// What must happen sometimes, and never did.
    pub(crate) fn never(&self) -> Vec<&'static str> {
        self.sometimes.iter().filter(|(_, runs)| **runs == 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simulated_s = self.simulated_us as f64 / 1e6;
        let wall_s = self.wall.as_secs_f64();
        let struck: u64 = self.faults.values().sum();
        writeln!(f, "seeds       {}", self.seeds)?;
        writeln!(f, "simulated   {simulated_s:.0} s in {wall_s:.1} s: {:.0} a second", simulated_s / wall_s.max(1e-3))?;
        writeln!(f, "takeovers   {}", self.takeovers)?;
        writeln!(f, "faults      {struck}")?;
        for (kind, times) in &self.faults {
            writeln!(f, "  {times:>8}  {kind}")?;
        }
        write!(f, "violations  {}", self.violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_shown_and_written() {
        let digest = Digest {
            simulated_us: 60_000_000,
            takeovers: 7,
            faults: BTreeMap::from([("pause", 2), ("redis crash", 1)]),
            sometimes: BTreeMap::from([("a", 3), ("b", 0)]),
            violations: Vec::new(),
            panics: vec!["at the wall".to_owned()],
            worst: None,
        };
        let mut summary = Summary { wall: Duration::from_millis(500), ..Summary::default() };
        summary.add(&digest);
        summary.add(&digest);
        insta::assert_snapshot!(summary, @r#"
        seeds       2
        simulated   120 s in 0.5 s: 240 a second
        takeovers   14
        faults      6
                 4  pause
                 2  redis crash
        violations  2
        "#);
        let json = r#"{"seeds":2,"violations":2,"simulated_s":120.0,"wall_s":0.5,"takeovers":14,"faults":{"pause":4,"redis crash":2},"sometimes":{"a":2,"b":0},"failures":[]}"#;
        assert_eq!(serde_json::to_string(&summary).unwrap(), json);
        assert_eq!(summary.never(), ["b"]);
    }
}
