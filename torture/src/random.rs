//! Numbers that look random and follow from a seed: splitmix64. Not for secrets.

/// A source of numbers. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that no earlier run had.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is as good a seed as any.
        let nanoseconds = since.map_or(0, |since| since.as_nanos() as u64);
        Self(nanoseconds ^ u64::from(std::process::id()) << 40).number() % 1_000_000_000
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// A number between 0 and `most`, all orders of magnitude alike.
    pub const fn any_magnitude(&mut self, most: u64) -> u64 {
        let n_bits = self.below(64 - most.leading_zeros() as u64 + 1);
        let below = if n_bits == 64 { u64::MAX } else { (1 << n_bits) - 1 };
        let number = self.number() & below;
        if number > most { most } else { number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_all() {
        let draw = |seed| -> Vec<u64> { (0..9).scan(Random::new(seed), |random, _| Some(random.number())).collect() };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_magnitude_comes_up() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..10_000).map(|_| random.any_magnitude(1 << 20)).collect();
        assert!(drawn.contains(&0) && drawn.iter().all(|&number| number <= 1 << 20));
        assert!(drawn.iter().filter(|&&number| number > 1 << 16).count() > 1000);
    }
}
