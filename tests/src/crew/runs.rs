//! What the handlers have written down: every run of every message, in the order in which they began.

use std::path::Path;

/// One run of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The message's number.
    pub number: u64,
    /// Which attempt it was told to be.
    pub attempt: u32,
    /// The worker's name.
    pub worker: String,
    /// The process of the handler.
    pub process: u32,
    /// The line at which it began.
    pub from: usize,
    /// The line at which it ended, if it has.
    pub to: Option<usize>,
    /// What it answered, if it has.
    pub answer: String,
}

impl Run {
    /// Whether it answered `ok`.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.answer == "ok"
    }
}

/// All runs so far.
#[derive(Debug, Clone, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Reads the log. What is not there yet is empty.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(log: &str) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        // Without its end the last line may be half a line.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        for (at, line) in whole.lines().enumerate() {
            let mut words = line.splitn(6, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (what, number, attempt, worker, process) = (word(), word(), word(), word(), word());
            let (Ok(number), Ok(process)) = (number.parse(), process.parse()) else {
                continue; // a message without a number
            };
            let attempt = attempt.parse().unwrap_or(0);
            match what {
                "start" => {
                    let worker = worker.to_owned();
                    runs.push(Run { number, attempt, worker, process, from: at, to: None, answer: String::new() });
                }
                "end" => {
                    let mine = |run: &&mut Run| run.number == number && run.process == process && run.to.is_none();
                    if let Some(run) = runs.iter_mut().rev().find(mine) {
                        (run.to, run.answer) = (Some(at), word().to_owned());
                    }
                }
                _ => {}
            }
        }
        Self(runs)
    }

    /// All, in order.
    #[must_use]
    pub fn all(&self) -> &[Run] {
        &self.0
    }

    /// Those of one message.
    #[must_use]
    pub fn of(&self, number: u64) -> Vec<&Run> {
        self.0.iter().filter(|run| run.number == number).collect()
    }

    /// How often a message was begun.
    #[must_use]
    pub fn count(&self, number: u64) -> usize {
        self.0.iter().filter(|run| run.number == number).count()
    }

    /// Those that run now, as far as is known, with this worker.
    #[must_use]
    pub fn running(&self, worker: &str) -> Vec<u64> {
        self.0.iter().filter(|run| run.worker == worker && run.to.is_none()).map(|run| run.number).collect()
    }

    /// Messages that were begun more than once.
    #[must_use]
    pub fn repeated(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.0.iter().map(|run| run.number).collect();
        numbers.sort_unstable();
        let mut repeated: Vec<u64> = numbers.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
        repeated.dedup();
        repeated
    }

    /// Pairs of runs of one message of which the second began before the first had ended. Of one that never ended, since
    /// its process died, nobody knows.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(&Run, &Run)> {
        let mut by_number: Vec<&Run> = self.0.iter().collect();
        by_number.sort_by_key(|run| (run.number, run.from));
        let next = by_number.windows(2).filter(|two| two[0].number == two[1].number).map(|two| (two[0], two[1]));
        next.filter(|(first, second)| first.to.is_some_and(|to| to > second.from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_understood() {
        let log = "start 1 1 a 10\nstart 2 1 b 20\nend 2 1 b 20 retry 5s\nstart 2 2 a 11\nstart 1 1 b 20\n\
                   end 1 1 b 20 ok\nend 1 1 a 10 dead late\nstart {} 1 b 20\nstart 3 1 b 2";
        let runs = Runs::parse(log);
        assert_eq!(runs.all().len(), 4);
        assert_eq!(runs.of(2).iter().map(|run| &*run.answer).collect::<Vec<_>>(), ["retry 5s", ""]);
        assert_eq!((runs.running("a"), runs.running("b")), (vec![2], vec![]));
        assert_eq!(runs.repeated(), [1, 2]);
        let overlaps: Vec<_> =
            runs.overlaps().iter().map(|(first, second)| (first.number, first.from, second.from)).collect();
        assert_eq!(overlaps, [(1, 0, 4)]);
        assert!(runs.of(1)[1].succeeded() && !runs.of(1)[0].succeeded());
    }
}
