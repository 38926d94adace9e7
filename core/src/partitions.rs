//! A service that is spread over several partitions: which of them a stream belongs to, and how their number grows.
//!
//! Partition `i` of the service `S` is the service `{S:i}`, with all its keys in one slot. A stream's *home* follows from
//! its name and the number of partitions. The number only grows, to a multiple of itself each time: then the home of a
//! stream stays what it is, or becomes a partition that is new, and never one in which the stream may have been before.
//! What lives in its former home stays there until it is finished; so whoever announces a stream goes through its homes,
//! oldest first (`docs/protocol.md`, Partitions).

use std::{fmt, str::FromStr};

use sha1_smol::Sha1;
use thiserror::Error;

use crate::{
    id::{IdError, StreamName},
    keys::{Keys, hash_tag},
};

/// How many partitions there may be: each costs every consumer three connections.
pub const MOST: u32 = 1_024;

/// What cannot be done with partitions, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PartitionsError {
    /// A number that is none.
    #[error("service `{service}`: {count} partitions are not possible: give a number from 1 to {MOST}")]
    Count {
        /// The service.
        service: Box<str>,
        /// The number.
        count: u32,
    },
    /// The number of partitions of a running service may only be multiplied.
    #[error(
        "service `{service}`: it has {from} partitions, which cannot become {to}: give a multiple of {from}, so that no \
         stream returns to a partition that it has left"
    )]
    NoMultiple {
        /// The service.
        service: Box<str>,
        /// How many it has.
        from: u32,
        /// How many were asked for.
        to: u32,
    },
    /// A service name that partitions cannot be made of.
    #[error(
        "the service name `{service}` has a brace: a service with partitions puts braces around it, choose one without"
    )]
    Brace {
        /// The service.
        service: Box<str>,
    },
    /// A text that is no list of numbers of partitions.
    #[error(
        "`{text}` is no list of numbers of partitions such as `4 8`, each a multiple of the one before: somebody else wrote \
         it; write the true one there"
    )]
    Text {
        /// The text.
        text: Box<str>,
    },
    /// Two lists of which neither continues the other.
    #[error(
        "service `{service}`: its partitions were `{one}` as one partition says, and `{other}` as another does: they belong \
         to different services of one name, or somebody wrote there"
    )]
    Disagree {
        /// The service.
        service: Box<str>,
        /// One list.
        one: Box<str>,
        /// The other.
        other: Box<str>,
    },
}

/// The keys of one partition.
///
/// # Errors
/// See [`Keys::hash_tagged`].
pub fn keys_of(service: &str, partition: u32) -> Result<Keys, IdError> {
    Keys::hash_tagged(&format!("{{{service}:{partition}}}"))
}

/// The partition that a stream belongs to when there are `count`: the one whose hash tag `{service:i}` its name has, so
/// that its entries lie where its lease does; else one by its name's hash.
pub fn home(service: &str, stream: &StreamName, count: u32) -> u32 {
    let hash = Sha1::from(stream.as_str()).digest().bytes();
    let hashed = || u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % count.max(1);
    let home = tagged(service, stream).filter(|partition| *partition < count).unwrap_or_else(hashed);
    assert!(home < count.max(1), "partition {home} of {count} is the home of {stream}");
    home
}

/// The partition that the stream's name itself demands.
fn tagged(service: &str, stream: &StreamName) -> Option<u32> {
    let tag = hash_tag(stream.as_str())?;
    let number = tag[1..tag.len() - 1].strip_prefix(service)?.strip_prefix(':')?;
    let partition: u32 = number.parse().ok()?;
    (partition < MOST && partition.to_string() == number).then_some(partition)
}

/// How many partitions a service has ever had, oldest first; each number is a multiple of the one before. As text, the
/// numbers with spaces between: `4 8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counts(Vec<u32>);

/// What becomes of the list that stands in Redis, as one sees it who knows or wants another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// It is the one to go by.
    Keep(Counts),
    /// It is to be replaced by this one.
    Write(Counts),
}

impl Counts {
    /// A service that begins with so many.
    ///
    /// # Errors
    /// [`PartitionsError::Count`], [`PartitionsError::Brace`].
    pub fn first(service: &str, count: u32) -> Result<Counts, PartitionsError> {
        if count == 0 || count > MOST {
            return Err(PartitionsError::Count { service: service.into(), count });
        }
        if service.contains(['{', '}']) {
            return Err(PartitionsError::Brace { service: service.into() });
        }
        Ok(Counts(vec![count]).checked())
    }

    /// What every list of these is.
    fn checked(self) -> Counts {
        assert!(!self.0.is_empty(), "a service has partitions");
        assert!(self.0[0] > 0, "a service has partitions from its beginning on: {self}");
        assert!(self.last() <= MOST, "more partitions than there may be: {self}");
        let grows = self.0.windows(2).all(|pair| pair[1] > pair[0] && pair[1].is_multiple_of(pair[0]));
        assert!(grows, "each number is a multiple of the one before: {self}");
        self
    }

    /// How many there are now.
    pub fn last(&self) -> u32 {
        self.0.last().copied().unwrap_or(1)
    }

    /// The list that stands in Redis, and what somebody knows (of a list that may be lost) and wants.
    ///
    /// # Errors
    /// [`PartitionsError::Disagree`], [`PartitionsError::NoMultiple`], [`PartitionsError::Count`].
    pub fn agree(
        service: &str,
        stands: Option<Counts>,
        known: &Counts,
        wanted: u32,
    ) -> Result<Agreed, PartitionsError> {
        let mut all = match &stands {
            // Whoever only wants so many goes by what is there.
            Some(stands) if known.0.len() > 1 || wanted == 0 => stands.clone().join(service, known)?,
            Some(stands) => stands.clone(),
            None => known.clone(),
        };
        let last = all.last();
        if wanted > last {
            if wanted > MOST {
                return Err(PartitionsError::Count { service: service.into(), count: wanted });
            }
            if !wanted.is_multiple_of(last) {
                return Err(PartitionsError::NoMultiple { service: service.into(), from: last, to: wanted });
            }
            all.0.push(wanted);
        }
        let all = all.checked();
        assert!(stands.as_ref().is_none_or(|stands| all.0.starts_with(&stands.0)), "a list only grows, to {all}");
        Ok(if stands.as_ref() == Some(&all) { Agreed::Keep(all) } else { Agreed::Write(all) })
    }

    /// The longer of two lists, of which one continues the other.
    ///
    /// # Errors
    /// [`PartitionsError::Disagree`].
    pub fn join(self, service: &str, other: &Counts) -> Result<Counts, PartitionsError> {
        let (longer, shorter) =
            if self.0.len() >= other.0.len() { (self.clone(), other) } else { (other.clone(), &self) };
        assert!(longer.0.len() >= shorter.0.len(), "{longer} is not longer than {shorter}");
        if longer.0.starts_with(&shorter.0) {
            return Ok(longer.checked());
        }
        let (one, other) = (self.to_string().into(), other.to_string().into());
        Err(PartitionsError::Disagree { service: service.into(), one, other })
    }

    /// The homes that a stream has had, oldest first, and the one that it has now; each once.
    pub fn homes(&self, service: &str, stream: &StreamName) -> Vec<u32> {
        let mut homes: Vec<u32> = self.0.iter().map(|count| home(service, stream, *count)).collect();
        // One that it has left never comes again: the same ones stand next to each other.
        homes.dedup();
        assert!(homes.last().is_some_and(|home| *home < self.last()), "the last of {homes:?} is where it lives now");
        assert!(homes.is_sorted_by(|left, entered| left < entered), "a new home is a new partition: {homes:?}");
        homes
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, count) in self.0.iter().enumerate() {
            let space = if place > 0 { " " } else { "" };
            write!(f, "{space}{count}")?;
        }
        Ok(())
    }
}

impl FromStr for Counts {
    type Err = PartitionsError;

    fn from_str(text: &str) -> Result<Counts, PartitionsError> {
        let wrong = || PartitionsError::Text { text: text.into() };
        let counts: Vec<u32> = text.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let grows = counts.windows(2).all(|pair| pair[1] > pair[0] && pair[1].is_multiple_of(pair[0]));
        let counts = Counts(counts);
        let possible = counts.0.first().is_some_and(|first| *first > 0) && counts.last() <= MOST;
        if grows && possible && counts.to_string() == text { Ok(counts.checked()) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    fn counts(text: &str) -> Counts {
        text.parse().unwrap()
    }

    #[test]
    fn homes_are_the_first_eight_digits_of_the_hash() {
        // sha1("a") begins with 86f7e437; io's tests hold this against `redis.sha1hex`.
        for (stream, count, expected) in [("a", 4, 0x86f7_e437 % 4), ("a", 8, 0x86f7_e437 % 8), ("a", 1, 0)] {
            assert_eq!(home("svc", &name(stream), count), expected, "{stream} of {count}");
        }
    }

    #[test]
    fn homes_are_told_oldest_first_and_each_once() {
        // 0x86f7e437 is 3 of 4, 7 of 8 and 7 of 16.
        assert_eq!(counts("4 8 16").homes("svc", &name("a")), [3, 7]);
        assert_eq!(counts("4").homes("svc", &name("{svc:2}a")), [2]);
    }

    #[test]
    fn a_tag_is_a_home() {
        for (stream, count, tagged) in [
            ("{svc:3}orders", 4, true),
            ("x{svc:3}", 4, true),
            ("{svc:3}orders", 3, false),
            ("{svc:03}orders", 4, false),
            ("{svc:+3}orders", 4, false),
            ("{svc:}orders", 4, false),
            ("{other:3}orders", 4, false),
            ("{}{svc:3}orders", 4, false),
            ("{svc:3", 4, false),
        ] {
            assert_eq!(home("svc", &name(&format!("{{svc:{}}}orders", MOST - 1)), MOST), MOST - 1);
            assert_eq!(super::tagged("svc", &name(&format!("{{svc:{MOST}}}orders"))), None);
            let found = super::tagged("svc", &name(stream)).filter(|partition| *partition < count);
            assert_eq!(found, tagged.then_some(3), "{stream}");
            if tagged {
                assert_eq!(home("svc", &name(stream), count), 3);
            }
        }
    }

    #[test]
    fn lists_are_read_and_checked() {
        for good in ["1", "4", "4 8", "4 8 16", "3 12", "1 1024"] {
            assert_eq!(counts(good).to_string(), good);
        }
        for bad in ["", " ", "4 ", "x", "0", "4 4", "8 4", "4 6", "4  8", "04", "2048", "-1", "4,8", "99999999999"] {
            assert!(matches!(bad.parse::<Counts>(), Err(PartitionsError::Text { .. })), "{bad:?}");
        }
    }

    #[test]
    fn what_stands_and_what_is_wanted_agree() {
        use Agreed::{Keep, Write};
        let agree = |stands: Option<&str>, known: &str, wanted| {
            Counts::agree("svc", stands.map(counts), &counts(known), wanted).map_err(|e| e.to_string())
        };
        let keep = |text| Ok(Keep(counts(text)));
        let write = |text| Ok(Write(counts(text)));
        assert_eq!(agree(None, "4", 4), write("4"));
        assert_eq!(agree(Some("4"), "4", 4), keep("4"));
        assert_eq!(agree(Some("4"), "8", 8), write("4 8"), "it is raised");
        assert_eq!(agree(Some("4 8"), "4", 4), keep("4 8"), "the list wins");
        assert_eq!(agree(Some("4 8"), "4", 0), keep("4 8"), "it was raised by somebody else");
        assert_eq!(agree(None, "4 8", 0), write("4 8"), "it was lost");
        assert_eq!(agree(Some("4"), "4 8", 0), write("4 8"), "the end of it was lost");
        assert_eq!(agree(Some("4"), "4", MOST), write("4 1024"), "as many as there may be");
        assert!(agree(Some("8"), "4", 0).unwrap_err().contains("`8`"), "who wants nothing goes by what it knows");
        assert!(agree(Some("4 12"), "4 8", 8).unwrap_err().contains("`4 12`"), "who has known of more, too");
        assert!(agree(Some("4"), "6", 6).unwrap_err().contains("a multiple of 4"));
        assert!(agree(Some("4 12"), "4 8", 0).unwrap_err().contains("`4 12`"));
        assert!(agree(Some("4"), "4", 2048).unwrap_err().contains("1024"));
    }

    #[test]
    fn numbers_and_names_are_checked() {
        assert!(matches!(Counts::first("svc", 0), Err(PartitionsError::Count { .. })));
        assert!(matches!(Counts::first("svc", MOST + 1), Err(PartitionsError::Count { .. })));
        assert!(matches!(Counts::first("s{v}c", 4), Err(PartitionsError::Brace { .. })));
        for count in [1, 4, MOST] {
            assert_eq!(Counts::first("svc", count).unwrap().last(), count);
        }
    }

    #[test]
    fn a_partition_is_a_service() {
        let keys = keys_of("svc", 3).unwrap();
        assert_eq!((keys.lbs(), keys.group()), ("{svc:3}-input".into(), "{svc:3}-group".into()));
        let entry = "7-1".parse().unwrap();
        assert_eq!(keys.lease(&name("s"), entry), "{svc:3}s<MUTEX_KEY_SEP>7-1");
        assert_eq!(keys.lease(&name("{svc:3}s"), entry), "{svc:3}s<MUTEX_KEY_SEP>7-1");
    }

    proptest! {
        /// What the order of announcing rests on: whoever knows more homes than another knows the other's first, and a
        /// home that was left is never a home again.
        #[test]
        fn a_home_that_was_left_never_comes_again(
            stream in "[a-z]{1,8}|\\{svc:[0-9]{1,2}\\}[a-z]", first in 1_u32..10, factors in prop::collection::vec(2_u32..5, 0..4)
        ) {
            let mut list = vec![first];
            for factor in factors {
                list.push(list.last().unwrap() * factor);
            }
            let all = Counts(list.clone()).homes("svc", &name(&stream));
            let mut once = all.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), all.len(), "{:?}", &all);
            for known in 1..=list.len() {
                let homes = Counts(list[..known].to_vec()).homes("svc", &name(&stream));
                prop_assert!(all.starts_with(&homes), "{:?} {:?}", &all, &homes);
            }
            // Each new home is a partition that was not there before.
            for pair in list.windows(2) {
                let (old, new) = (home("svc", &name(&stream), pair[0]), home("svc", &name(&stream), pair[1]));
                prop_assert!(new == old || new >= pair[0]);
            }
        }
    }
}
