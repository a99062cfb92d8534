//! One column of numbers as bytes: a constant, equal steps, packed bits, raw little-endian numbers, or pco.
//!
//! The first byte names the encoding:
//!
//! ```text
//! 0  constant   the one number, little-endian
//! 1  raw        each number, little-endian
//! 2  pco        one standalone pco stream
//! 3  steps      the first number and the step from each to the next (wrapping), little-endian; integers only
//! ```
//!
//! Times of a device that sends every second are such steps: to begin a pco stream costs more than to count.
//!
//! Bits have no first byte: the first value is the lowest bit of the first byte.

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};

use super::codec::Malformed;

const CONSTANT: u8 = 0;
const RAW: u8 = 1;
const PCO: u8 = 2;
const STEPS: u8 = 3;

/// Below this, the header of a pco stream is larger than what it saves.
const MINIMUM_PCO: usize = 8;

/// A number that a column can hold. Two numbers are the same when their bytes are.
pub(super) trait Plain: Number + Default {
    const BYTES: usize;
    fn put(self, bytes: &mut Vec<u8>);
    /// `bytes` has the length `BYTES`.
    fn get(bytes: &[u8]) -> Option<Self>;
    fn is_same(self, other: Self) -> bool;
    /// The step to another number, when adding it gives exactly that number.
    fn step_to(self, next: Self) -> Option<Self>;
    /// The number one step on. Only ever asked for with a step that there was.
    fn add_step(self, step: Self) -> Self;
}

macro_rules! plain {
    ($type:ty, $bits:expr, $step:expr, $add:expr) => {
        impl Plain for $type {
            const BYTES: usize = size_of::<Self>();
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
            fn is_same(self, other: Self) -> bool {
                let bits: fn(Self) -> _ = $bits;
                bits(self) == bits(other)
            }
            fn step_to(self, next: Self) -> Option<Self> {
                let step: fn(Self, Self) -> Option<Self> = $step;
                step(self, next)
            }
            fn add_step(self, step: Self) -> Self {
                let add: fn(Self, Self) -> Self = $add;
                add(self, step)
            }
        }
    };
}

plain!(i64, |value| value, |this, next| Some(next.wrapping_sub(this)), i64::wrapping_add);
plain!(u32, |value| value, |this, next| Some(next.wrapping_sub(this)), u32::wrapping_add);
// By bits: 0.0 and -0.0 are equal numbers but not the same one. Steps of floats are not exact.
plain!(f64, f64::to_bits, |_, _| None, |this, _| this);

/// The bytes of a column. Never empty.
pub(super) fn encode<T: Plain>(values: &[T], level: usize) -> Vec<u8> {
    if let Some((&first, rest)) = values.split_first()
        && rest.iter().all(|value| value.is_same(first))
    {
        let mut bytes = vec![CONSTANT];
        first.put(&mut bytes);
        return bytes;
    }
    if let Some(step) = equal_steps(values) {
        let mut bytes = vec![STEPS];
        values[0].put(&mut bytes);
        step.put(&mut bytes);
        return bytes;
    }
    if values.len() >= MINIMUM_PCO {
        let config = ChunkConfig::default().with_compression_level(level.min(12));
        // Whatever the compressor cannot take is kept as it is: a column is never refused.
        if let Ok(compressed) = simple_compress(values, &config)
            && compressed.len() < values.len() * T::BYTES
        {
            let mut bytes = Vec::with_capacity(compressed.len() + 1);
            bytes.push(PCO);
            bytes.extend(compressed);
            return bytes;
        }
    }
    let mut bytes = Vec::with_capacity(values.len() * T::BYTES + 1);
    bytes.push(RAW);
    for value in values {
        value.put(&mut bytes);
    }
    bytes
}

/// The step between any two neighbours, when it is the same and there are enough of them to save something.
fn equal_steps<T: Plain>(values: &[T]) -> Option<T> {
    let (first, second) = (values.first()?, values.get(1)?);
    let step = first.step_to(*second).filter(|_| values.len() > 2)?;
    let is_equal = |pair: &[T]| pair[0].step_to(pair[1]).is_some_and(|next| next.is_same(step));
    values.windows(2).all(is_equal).then_some(step)
}

/// The `count` numbers of a column.
pub(super) fn decode<T: Plain>(bytes: &[u8], count: usize) -> Result<Vec<T>, Malformed> {
    let wrong = Malformed("a column does not decode");
    let (&encoding, bytes) = bytes.split_first().ok_or(wrong)?;
    match encoding {
        CONSTANT if bytes.len() == T::BYTES => Ok(vec![T::get(bytes).ok_or(wrong)?; count]),
        STEPS if bytes.len() == 2 * T::BYTES => {
            let (first, step) = bytes.split_at(T::BYTES);
            let (first, step) = (T::get(first).ok_or(wrong)?, T::get(step).ok_or(wrong)?);
            // There are none of floats.
            first.step_to(first).ok_or(wrong)?;
            Ok(std::iter::successors(Some(first), |number| Some(number.add_step(step))).take(count).collect())
        }
        RAW if count.checked_mul(T::BYTES) == Some(bytes.len()) => {
            bytes.chunks_exact(T::BYTES).map(|number| T::get(number).ok_or(wrong)).collect()
        }
        PCO => {
            let mut values = vec![T::default(); count];
            let progress = simple_decompress_into(bytes, &mut values).map_err(|_| wrong)?;
            if progress.n_processed != count || !progress.finished {
                return Err(wrong);
            }
            Ok(values)
        }
        _ => Err(wrong),
    }
}

/// Packs bits, eight to a byte.
pub(super) fn encode_bits(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, bit) in bits.enumerate() {
        if place % 8 == 0 {
            bytes.push(0);
        }
        if bit && let Some(byte) = bytes.last_mut() {
            *byte |= 1 << (place % 8);
        }
    }
    bytes
}

/// The `count` bits of packed bytes.
pub(super) fn decode_bits(bytes: &[u8], count: usize) -> Result<Vec<bool>, Malformed> {
    if bytes.len() != count.div_ceil(8) {
        return Err(Malformed("a row of bits has the wrong length"));
    }
    Ok((0..count).map(|place| bytes[place / 8] >> (place % 8) & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_are_exact(values in proptest::collection::vec(any::<i64>(), 1..100)) {
            prop_assert_eq!(decode::<i64>(&encode(&values, 6), values.len()).unwrap(), values);
        }

        #[test]
        fn equal_steps_are_exact_and_short(first in any::<i64>(), step in any::<i64>(), count in 3..100_usize) {
            let values: Vec<i64> = (0..count as i64).map(|place| first.wrapping_add(step.wrapping_mul(place))).collect();
            let encoded = encode(&values, 6);
            prop_assert!(encoded.len() <= 17);
            prop_assert_eq!(decode::<i64>(&encoded, count).unwrap(), values);
        }

        #[test]
        fn floats_keep_every_bit(bits in proptest::collection::vec(any::<u64>(), 1..100), level in 0..12_usize) {
            let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
            let decoded: Vec<u64> = decode::<f64>(&encode(&values, level), values.len()).unwrap()
                .into_iter().map(f64::to_bits).collect();
            prop_assert_eq!(decoded, bits);
        }

        #[test]
        fn rounded_readings_keep_every_bit(steps in proptest::collection::vec(0..2000_i32, 1..400)) {
            let values: Vec<f64> = steps.iter().map(|step| match step % 97 {
                0 => -0.0,
                _ => f64::from(*step) / 100.0,
            }).collect();
            let decoded = decode::<f64>(&encode(&values, 6), values.len()).unwrap();
            prop_assert!(values.iter().zip(&decoded).all(|(given, found)| given.is_same(*found)));
        }

        #[test]
        fn bits_are_exact(bits in proptest::collection::vec(any::<bool>(), 0..100)) {
            prop_assert_eq!(decode_bits(&encode_bits(bits.iter().copied()), bits.len()).unwrap(), bits);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), count in 0..50_usize) {
            let _ = decode::<i64>(&bytes, count);
            let _ = decode::<f64>(&bytes, count);
            let _ = decode::<u32>(&bytes, count);
        }
    }
}
