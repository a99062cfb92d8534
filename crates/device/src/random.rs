//! A small generator of numbers for simulators: fast, and the same numbers for the same seed.
//!
//! It is no source of secrets; [`ring::rand`] is.

use ring::rand::{SecureRandom, SystemRandom};

/// `SplitMix64` (Steele, Lea and Flood, 2014): one addition and two multiplications for 64 well mixed bits.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs in every process.
    pub fn from_system() -> Self {
        let mut seed = [0; 8];
        // Without a system generator the simulator still runs; it then repeats itself.
        let _ = SystemRandom::new().fill(&mut seed);
        Self(u64::from_le_bytes(seed))
    }

    /// 64 bits, each as likely one as zero.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// An integer of `low..=high`.
    pub fn integer(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low) as u64 + 1;
        low + (self.bits() % span) as i64
    }

    /// A number of `low..=high` with this many decimals, at most 6.
    pub fn decimal(&mut self, low: f64, high: f64, decimals: u32) -> f64 {
        let scale = scale(decimals);
        // Drawn among the representable decimals, so that both ends can occur and rounding leaves no range.
        self.integer((low * scale).round() as i64, (high * scale).round() as i64) as f64 / scale
    }

    /// One of `choices`, which must not be empty.
    pub fn choose<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.bits() as usize % choices.len()]
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.bits().is_multiple_of(times.max(1))
    }
}

fn scale(decimals: u32) -> f64 {
    f64::from(10u32.pow(decimals.min(6)))
}

/// `value` with this many decimals, at most 6.
pub fn rounded(value: f64, decimals: u32) -> f64 {
    let scale = scale(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_numbers_of_the_published_algorithm() {
        let mut random = Random::seeded(1_234_567);
        let numbers = [random.bits(), random.bits(), random.bits()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn both_ends_of_a_range_occur_and_nothing_beyond() {
        let mut random = Random::seeded(7);
        let drawn: Vec<_> = (0..2_000).map(|_| random.integer(-2, 2)).collect();
        assert!((-2..=2).all(|value| drawn.contains(&value)));
        assert!(drawn.iter().all(|value| (-2..=2).contains(value)));
        let drawn: Vec<_> = (0..2_000).map(|_| random.decimal(36.2, 36.4, 1)).collect();
        assert!([36.2, 36.3, 36.4].iter().all(|value| drawn.contains(value)));
        assert!(drawn.iter().all(|value| (36.2..=36.4).contains(value)));
    }
}
