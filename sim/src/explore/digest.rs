//! What tells states apart: 128 bits of a hash over everything in them.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The digest of a value.
pub(crate) type Digest = u128;

/// Two hashes of the same bytes, begun differently: together they are long enough that two of a hundred million states
/// are mistaken for one another once in 10²² explorations.
#[derive(Clone)]
pub(crate) struct Digester(DefaultHasher, DefaultHasher);

impl Digester {
    pub(crate) fn new() -> Digester {
        let (first, mut second) = (DefaultHasher::new(), DefaultHasher::new());
        second.write_u64(0x9E37_79B9_7F4A_7C15);
        Digester(first, second)
    }

    pub(crate) fn digest(&self) -> Digest {
        (u128::from(self.0.finish()) << 64) | u128::from(self.1.finish())
    }
}

impl Hasher for Digester {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}

/// The digest of something that can be hashed.
pub(crate) fn of(what: &impl Hash) -> Digest {
    let mut digester = Digester::new();
    what.hash(&mut digester);
    digester.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_another_digest() {
        let digests: std::collections::BTreeSet<Digest> = (0..1_000_u32).map(|number| of(&(number, "x"))).collect();
        assert_eq!(digests.len(), 1_000);
        assert_eq!(of(&(7, "x")), of(&(7, "x")));
        assert_ne!(of(&7) >> 64, of(&7) & u128::from(u64::MAX), "the halves are two hashes");
    }
}
