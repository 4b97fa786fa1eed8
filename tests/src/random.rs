//! A small random generator: the same seed gives the same run.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From `TIDINGS_SEED`, else from the clock; printed, so that a failed run can be had again.
    pub fn from_environment() -> Self {
        let seed = std::env::var("TIDINGS_SEED").ok();
        let seed = seed.map(|seed| seed.parse().expect("TIDINGS_SEED is a number"));
        let seed = seed.unwrap_or_else(|| {
            let now = jiff::Timestamp::now().as_microsecond();
            now.unsigned_abs() % 1_000_000_000
        });
        println!("TIDINGS_SEED={seed}");
        Self::new(seed)
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// What makes the same generator again, as it is now.
    pub fn seed(&self) -> u64 {
        self.0
    }

    /// Another generator, for somebody who draws at a pace of his own.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Below `end`, which must not be zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_that_follows() {
        let draw = || {
            let mut random = Random::new(7);
            let mut fork = random.fork();
            (0..50)
                .map(|_| random.below(10) + 10 * fork.below(10))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().any(|drawn| *drawn != draw()[0]));
    }
}
