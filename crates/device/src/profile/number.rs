//! Numbers of a range, by their distribution.

use crate::random::Random;

/// Most decimals of a number.
pub const MAX_DECIMALS: u32 = 6;
/// The largest number of a range, either way: with six decimals it is still an exact integer.
pub const MAX_NUMBER: f64 = 1e9;

/// A number of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Digits behind the point, at most 6; without any it is an integer
    pub decimals: u32,
    /// The least it may be
    pub low: f64,
    /// The most it may be
    pub high: f64,
    /// How it is drawn
    pub distribution: Distribution,
}

/// How a number is drawn; what would fall outside of its range is turned back to the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each value of the range is as likely.
    Uniform,
    /// Around `mean`: two thirds lie within one `deviation`, none beyond six.
    Normal {
        /// Where most are
        mean: f64,
        /// How far they spread
        deviation: f64,
    },
    /// It moves by at most `step` from one sample to the next.
    Walk {
        /// Where it begins
        start: f64,
        /// How far it moves at most
        step: f64,
    },
}

/// A number at work: in units of its last decimal.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    decimals: u32,
    low: i64,
    high: i64,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Uniform,
    Normal { mean: f64, deviation: f64 },
    Walk { value: i64, step: i64 },
}

impl Draw {
    pub(super) fn new(number: &Number) -> Self {
        let scale = f64::from(10u32.pow(number.decimals.min(MAX_DECIMALS)));
        let scaled = |value: f64| (value * scale).round() as i64;
        let how = match number.distribution {
            Distribution::Uniform => How::Uniform,
            Distribution::Normal { mean, deviation } => {
                How::Normal { mean: mean * scale, deviation: deviation * scale }
            }
            Distribution::Walk { start, step } => How::Walk { value: scaled(start), step: scaled(step) },
        };
        Self { decimals: number.decimals.min(MAX_DECIMALS), low: scaled(number.low), high: scaled(number.high), how }
    }

    /// Appends the next value as JSON.
    pub(super) fn write(&mut self, random: &mut Random, out: &mut Vec<u8>) {
        let value = match &mut self.how {
            How::Uniform => random.integer(self.low, self.high),
            How::Normal { mean, deviation } => (*mean + *deviation * standard_normal(random)).round() as i64,
            How::Walk { value, step } => {
                let moved = (*value + random.integer(-*step, *step)).clamp(self.low, self.high);
                *value = moved;
                moved
            }
        };
        write_decimal(value.clamp(self.low, self.high), self.decimals, out);
    }
}

/// The sum of twelve uniform numbers less six: mean 0, deviation 1, never beyond six (Irwin and Hall).
fn standard_normal(random: &mut Random) -> f64 {
    (0..12).map(|_| (random.bits() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
}

fn write_decimal(value: i64, decimals: u32, out: &mut Vec<u8>) {
    // The digits of a u64 and a point, from the back.
    let mut digits = [0; 24];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    let mut written = 0;
    while rest > 0 || written <= decimals {
        if written == decimals && decimals > 0 {
            at -= 1;
            digits[at] = b'.';
        }
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        written += 1;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for (value, decimals, expected) in [
            (0, 0, "0"),
            (7, 0, "7"),
            (-40, 0, "-40"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (3685, 2, "36.85"),
            (100, 1, "10.0"),
            (1_000_000_000_000_000, 6, "1000000000.000000"),
        ] {
            let mut out = Vec::new();
            write_decimal(value, decimals, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    fn drawn(number: &Number) -> Vec<f64> {
        let (mut draw, mut random) = (Draw::new(number), Random::seeded(3));
        let mut next = || {
            let mut out = Vec::new();
            draw.write(&mut random, &mut out);
            String::from_utf8(out).unwrap().parse().unwrap()
        };
        (0..5_000).map(|_| next()).collect()
    }

    #[test]
    fn each_distribution_keeps_to_the_range_and_has_its_shape() {
        let number = |distribution| Number { decimals: 1, low: -5.0, high: 15.0, distribution };
        let uniform = drawn(&number(Distribution::Uniform));
        let normal = drawn(&number(Distribution::Normal { mean: 5.0, deviation: 2.0 }));
        let walk = drawn(&number(Distribution::Walk { start: 14.0, step: 0.5 }));
        for values in [&uniform, &normal, &walk] {
            assert!(values.iter().all(|value| (-5.0..=15.0).contains(value)));
        }
        for bound in [-5.0, 15.0] {
            assert!(uniform.contains(&bound), "both ends occur");
        }
        let within = |values: &[f64]| values.iter().filter(|value| (3.0..=7.0).contains(*value)).count();
        assert!((900..1_200).contains(&within(&uniform)), "a fifth of a uniform one: {}", within(&uniform));
        assert!((3_200..3_800).contains(&within(&normal)), "two thirds of a normal one: {}", within(&normal));
        assert!((walk[0] - 14.0).abs() <= 0.5 && walk.windows(2).all(|two| (two[0] - two[1]).abs() < 0.51));
        assert!(walk.iter().any(|value| *value < 10.0), "it moves");
    }
}
