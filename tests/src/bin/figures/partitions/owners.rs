//! Who owned what and when, as a whole fleet told it: replayed in the order of its words.

use streamkeeper_core::id::EntryId;
use streamkeeper_tests::event::Kind;

use super::worker::Word;

/// What one consumer said, and when it was killed, in microseconds of Unix time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) words: Vec<Word>,
    pub(crate) killed_us: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Owners {
    /// Of each stream: its owner, dead or alive.
    holders: Vec<Option<Holder>>,
    /// What the killed had, and others took: when, in microseconds of Unix time.
    pub(crate) taken: Vec<(Place, u64)>,
    /// When the last stream that had never been owned was.
    pub(crate) last_first_us: u64,
    /// How often a stream was taken from an owner that lived and had not said that it was not its any more.
    pub(crate) doubles: usize,
    /// How often a token was no higher than the stream's last one.
    pub(crate) stale_tokens: usize,
    /// How often an owner lost a stream.
    pub(crate) disowned: usize,
}

/// An announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) entry: EntryId,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    life: usize,
    place: Place,
}

impl Owners {
    /// Of so many streams.
    pub(crate) fn of(lives: &[Life], streams: usize) -> Owners {
        let mut owners = Owners {
            holders: vec![None; streams],
            taken: Vec::new(),
            last_first_us: 0,
            doubles: 0,
            stale_tokens: 0,
            disowned: 0,
        };
        let mut all: Vec<(usize, &Word)> =
            lives.iter().enumerate().flat_map(|(life, all)| all.words.iter().map(move |word| (life, word))).collect();
        all.sort_by_key(|(life, word)| (word.at_us, *life));
        let mut tokens = vec![0; streams];
        for (life, word) in all.into_iter().filter(|(_, word)| word.stream < streams) {
            match word.kind {
                Kind::Added => {
                    let first = tokens[word.stream] == 0;
                    owners.stale_tokens += usize::from(word.token <= tokens[word.stream]);
                    tokens[word.stream] = word.token;
                    if first {
                        owners.last_first_us = word.at_us;
                    }
                    owners.gain(life, word, lives);
                }
                kind if kind.is_final() => {
                    owners.disowned += usize::from(kind == Kind::Disowned);
                    let holder = &mut owners.holders[word.stream];
                    *holder = holder.filter(|holder| holder.life != life);
                }
                _ => {}
            }
        }
        owners
    }

    fn gain(&mut self, life: usize, word: &Word, lives: &[Life]) {
        let holder = Holder { life, place: word.place };
        let Some(former) = self.holders[word.stream].replace(holder).filter(|former| former.life != life) else {
            return;
        };
        match lives[former.life].killed_us {
            Some(killed_us) if killed_us <= word.at_us => self.taken.push((former.place, word.at_us)),
            _ => self.doubles += 1,
        }
    }

    /// How many streams each of so many consumers has.
    pub(crate) fn by_life(&self, lives: usize) -> Vec<usize> {
        let mut counts = vec![0; lives];
        for holder in self.holders.iter().flatten() {
            counts[holder.life] += 1;
        }
        counts
    }

    /// How many owned streams each of so many partitions has.
    pub(crate) fn by_partition(&self, partitions: usize) -> Vec<usize> {
        let mut counts = vec![0; partitions];
        for holder in self.holders.iter().flatten() {
            if let Some(count) = counts.get_mut(holder.place.partition as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// How many streams nobody has who lives.
    pub(crate) fn orphans(&self, lives: &[Life]) -> usize {
        let lives = |holder: &Option<Holder>| holder.is_some_and(|holder| lives[holder.life].killed_us.is_none());
        self.holders.iter().filter(|holder| !lives(holder)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(at_us: u64, kind: Kind, stream: usize, token: u64) -> Word {
        let place = Place { partition: 1, entry: EntryId { ms: stream as u64, seq: 0 } };
        Word { at_us, kind, stream, token, place }
    }

    fn life(killed_us: Option<u64>, words: &[Word]) -> Life {
        Life { words: words.to_vec(), killed_us }
    }

    #[test]
    fn what_the_dead_had_is_taken_or_stays_an_orphan() {
        let victim = life(Some(50), &[word(10, Kind::Added, 0, 1), word(11, Kind::Added, 1, 2)]);
        let heir = life(None, &[word(12, Kind::Added, 2, 3), word(60, Kind::Added, 0, 4)]);
        let lives = [victim, heir];
        let owners = Owners::of(&lives, 4);
        let taken = Place { partition: 1, entry: EntryId { ms: 0, seq: 0 } };
        assert_eq!(owners.taken, [(taken, 60)]);
        assert_eq!((owners.doubles, owners.stale_tokens, owners.last_first_us), (0, 0, 12));
        // Stream 1 is the dead one's still, stream 3 was never anybody's.
        assert_eq!((owners.by_life(2), owners.by_partition(2), owners.orphans(&lives)), (vec![1, 2], vec![0, 3], 2));
    }

    #[test]
    fn two_owners_at_once_are_seen() {
        let first = life(None, &[word(10, Kind::Added, 0, 1), word(30, Kind::Disowned, 0, 1)]);
        let overlapping = Owners::of(&[first.clone(), life(None, &[word(20, Kind::Added, 0, 2)])], 1);
        assert_eq!((overlapping.doubles, overlapping.disowned), (1, 1));
        assert_eq!(overlapping.by_life(2), [0, 1]);
        let following = Owners::of(&[first, life(None, &[word(40, Kind::Added, 0, 2)])], 1);
        assert_eq!((following.doubles, following.taken.len()), (0, 0));
        // Before its owner was killed is too early, too.
        let killed = Life { killed_us: Some(50), ..life(None, &[word(10, Kind::Added, 0, 1)]) };
        assert_eq!(Owners::of(&[killed, life(None, &[word(49, Kind::Added, 0, 2)])], 1).doubles, 1);
    }

    #[test]
    fn a_token_that_does_not_grow_is_seen() {
        let one = life(None, &[word(10, Kind::Added, 0, 7), word(11, Kind::Released, 0, 7)]);
        assert_eq!(Owners::of(&[one, life(None, &[word(20, Kind::Added, 0, 7)])], 1).stale_tokens, 1);
    }
}
