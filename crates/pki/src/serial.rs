//! The number that names a certificate: what the registry stores and what revocation is by.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};

/// RFC 5280 section 4.1.2.2: a conforming serial number has no more octets.
const MAX_BYTES: usize = 20;
/// Octets of the ones we draw: 126 random bits, and always the same length in print.
const DRAWN_BYTES: usize = 16;

/// A certificate's serial number: a non-negative integer of at most 20 octets.
///
/// Ordered as a number. Printed as lower-case hex, two digits per octet, with no leading zero
/// octets; read in either case, with or without colons, as other tools print it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    /// Big-endian, filled from the right: the derived order is the numeric one.
    bytes: [u8; MAX_BYTES],
}

/// What was given is no serial number: empty, not hex, or of more than 20 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate serial number: expected 1 to 40 hexadecimal digits")]
pub struct InvalidSerial;

impl Serial {
    /// Takes the octets of an integer, big-endian. Leading zeros do not matter: DER writes one in
    /// front of a number whose first bit is set.
    ///
    /// # Errors
    /// None at all, or more than 20 octets without leading zeros.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSerial> {
        if bytes.is_empty() {
            return Err(InvalidSerial);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let significant = &bytes[zeros..];
        let start = MAX_BYTES.checked_sub(significant.len()).ok_or(InvalidSerial)?;
        let mut padded = [0; MAX_BYTES];
        padded[start..].copy_from_slice(significant);
        Ok(Self { bytes: padded })
    }

    /// The octets, big-endian, with no leading zeros; one zero octet for zero.
    pub fn as_bytes(&self) -> &[u8] {
        let zeros = self.bytes.iter().take_while(|byte| **byte == 0).count();
        &self.bytes[zeros.min(MAX_BYTES - 1)..]
    }

    /// Draws a new one: 16 octets, positive, unpredictable. Two never collide in practice, so no
    /// counter has to be kept.
    pub(crate) fn random(random: &SystemRandom) -> Result<Self, ring::error::Unspecified> {
        let mut drawn = [0; DRAWN_BYTES];
        random.fill(&mut drawn)?;
        // The first bit clear makes it positive in DER, the second set keeps its length.
        drawn[0] = (drawn[0] & 0x7f) | 0x40;
        let mut bytes = [0; MAX_BYTES];
        bytes[MAX_BYTES - DRAWN_BYTES..].copy_from_slice(&drawn);
        Ok(Self { bytes })
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; MAX_BYTES];
        let mut any = false;
        for character in text.chars().filter(|character| *character != ':') {
            let digit = character.to_digit(16).ok_or(InvalidSerial)?;
            if bytes[0] >> 4 != 0 {
                return Err(InvalidSerial);
            }
            any = true;
            for index in 0..MAX_BYTES {
                let next = bytes.get(index + 1).copied().unwrap_or_default();
                bytes[index] = (bytes[index] << 4) | (next >> 4);
            }
            // to_digit(16) is below 16.
            bytes[MAX_BYTES - 1] |= digit as u8;
        }
        if any { Ok(Self { bytes }) } else { Err(InvalidSerial) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_make_another_serial() {
        let plain = Serial::from_bytes(&[0x9a, 1]).unwrap();
        assert_eq!(Serial::from_bytes(&[0, 0x9a, 1]).unwrap(), plain);
        assert_eq!(Serial::from_bytes(&[0; 30]).unwrap().as_bytes(), [0]);
        assert_eq!(plain.as_bytes(), [0x9a, 1]);
        assert_eq!(plain.to_string(), "9a01");
    }

    #[test]
    fn a_serial_is_read_as_other_tools_print_it() {
        let serial: Serial = "0a1bff".parse().unwrap();
        assert_eq!("A1BFF".parse(), Ok(serial));
        assert_eq!("0A:1B:FF".parse(), Ok(serial));
        assert_eq!("000000000000000000000000000000000000000000000000000a1bff".parse(), Ok(serial));
        assert_eq!(serial.to_string(), "0a1bff");
    }

    #[test]
    fn what_is_no_serial_is_refused() {
        for text in ["", ":", "0x12", "12g", "-1", "é"] {
            assert_eq!(text.parse::<Serial>(), Err(InvalidSerial), "{text}");
        }
        assert!("f".repeat(40).parse::<Serial>().is_ok());
        assert!("f".repeat(41).parse::<Serial>().is_err());
        assert!(Serial::from_bytes(&[]).is_err());
        assert!(Serial::from_bytes(&[1; 21]).is_err());
    }

    #[test]
    fn the_order_is_numeric() {
        let small = Serial::from_bytes(&[0xff]).unwrap();
        let large = Serial::from_bytes(&[1, 0]).unwrap();
        assert!(small < large);
    }

    #[test]
    fn drawn_serials_are_positive_and_print_to_themselves() {
        let random = SystemRandom::new();
        for _ in 0..200 {
            let serial = Serial::random(&random).unwrap();
            assert_eq!(serial.as_bytes().len(), DRAWN_BYTES);
            assert_eq!(serial.as_bytes()[0] & 0x80, 0);
            assert_eq!(serial.to_string().parse(), Ok(serial));
        }
    }
}
