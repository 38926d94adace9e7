//! One stream of chance for each concern: what one draws does not change what another one does.

// Above all indices of consumers, which are parts, too.

/// For [`of`]: the client's own dice.
pub(crate) const CLIENT: u64 = 1 << 32;
/// For [`of`]: how long an application works, and how that ends.
pub(crate) const APPLICATION: u64 = 2 << 32;
/// For [`of`]: whether a producer repeats itself.
pub(crate) const PRODUCER: u64 = 3 << 32;

/// For [`of`]: how long bytes take.
pub(crate) const NETWORK: u64 = 4 << 32;
/// For [`of`]: Redis's own samples and identities.
pub(crate) const REDIS: u64 = 5 << 32;

/// The seed of a part, named by numbers, of a run with this seed. (SplitMix64, once for each number.)
pub(crate) fn of(seed: u64, part: &[u64]) -> u64 {
    part.iter().fold(mix(seed), |seed, number| mix(seed ^ mix(*number)))
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_has_its_own() {
        let parts = (0..10).flat_map(|a| (0..10).map(move |b| [a, b]));
        let seeds: BTreeSet<u64> = parts.map(|part| of(7, &part)).chain([of(7, &[]), of(8, &[1, 2])]).collect();
        assert_eq!(seeds.len(), 102);
        assert_eq!(of(7, &[CLIENT, 3]), of(7, &[CLIENT, 3]));
    }
}
