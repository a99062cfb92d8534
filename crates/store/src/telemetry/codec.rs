//! The bytes of every blob: unsigned varints (LEB128), zigzag integers, length-prefixed text,
//! and the envelope of version and checksum around them.

/// A blob that does not decode, and why. It never quotes the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// Bytes before the body: the version, and the CRC32C of the body.
const ENVELOPE: usize = 5;

/// What is to be done about the checksum of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Compare it.
    Compare,
    /// Nothing: another one, over the whole blob and more, is known to be right.
    Known,
}

/// Builds a blob: a version byte, the CRC32C of the body (little-endian), the body.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend([version, 0, 0, 0, 0]);
        Self { bytes }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(super) fn length(&mut self, length: usize) {
        self.unsigned(length as u64);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.raw(&value.to_bits().to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.raw(text.as_bytes());
    }

    /// Absent text is 0, present text its length plus one.
    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        match text {
            None => self.byte(0),
            Some(text) => {
                self.length(text.len() + 1);
                self.raw(text.as_bytes());
            }
        }
    }

    /// What was written so far, without the envelope.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[ENVELOPE..]
    }

    /// The finished blob.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32c::crc32c(&self.bytes[ENVELOPE..]);
        self.bytes[1..ENVELOPE].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Reads the body of a blob. Never panics and never allocates more than the blob is long.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks version and checksum, and starts at the body.
    pub(super) fn open(blob: &'a [u8], version: u8) -> Result<Self, Malformed> {
        Self::open_any(blob, &[version], Checksum::Compare).map(|(_, reader)| reader)
    }

    /// The same of a blob that may have one of several versions, and says which.
    pub(super) fn open_any(blob: &'a [u8], versions: &[u8], checksum: Checksum) -> Result<(u8, Self), Malformed> {
        let (envelope, body) = blob.split_first_chunk::<ENVELOPE>().ok_or(Malformed("the blob is too short"))?;
        let [version, stored @ ..] = envelope;
        if checksum == Checksum::Compare && crc32c::crc32c(body) != u32::from_le_bytes(*stored) {
            return Err(Malformed("the checksum does not match"));
        }
        if !versions.contains(version) {
            return Err(Malformed("the blob has an unknown version"));
        }
        Ok((*version, Self { bytes: body }))
    }

    /// Reads bytes that stand inside a checked blob.
    pub(super) fn body(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Malformed("the blob ends too early"))?;
        self.bytes = rest;
        Ok(byte)
    }

    pub(super) fn raw(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(Malformed("the blob ends too early"))?;
        self.bytes = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.bytes.split_first_chunk::<N>().ok_or(Malformed("the blob ends too early"))?;
        self.bytes = rest;
        Ok(*array)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is longer than 64 bits"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.unsigned()?).map_err(|_| Malformed("a length is too large"))
    }

    /// A number of items that each take at least one byte, so that memory can be reserved for them.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.length()?;
        if count > self.bytes.len() {
            return Err(Malformed("more items than bytes"));
        }
        Ok(count)
    }

    pub(super) fn float(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        self.text_of(length)
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.length()? {
            0 => Ok(None),
            length => self.text_of(length - 1).map(Some),
        }
    }

    fn text_of(&mut self, length: usize) -> Result<&'a str, Malformed> {
        str::from_utf8(self.raw(length)?).map_err(|_| Malformed("text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            unsigned in any::<u64>(), signed in any::<i64>(), bits in any::<u64>(),
            text in any::<String>(), optional in any::<Option<String>>(),
        ) {
            let mut writer = Writer::new(3);
            writer.unsigned(unsigned);
            writer.signed(signed);
            writer.float(f64::from_bits(bits));
            writer.text(&text);
            writer.optional_text(optional.as_deref());
            let blob = writer.finish();
            let mut reader = Reader::open(&blob, 3).unwrap();
            prop_assert_eq!(reader.unsigned().unwrap(), unsigned);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.float().unwrap().to_bits(), bits);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert_eq!(reader.optional_text().unwrap(), optional.as_deref());
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader { bytes: &bytes };
            let _ = reader.clone().unsigned();
            let _ = reader.clone().text();
            let _ = reader.clone().optional_text();
            let _ = reader.count();
        }
    }

    #[test]
    fn every_flipped_bit_and_every_shorter_blob_is_noticed() {
        let mut writer = Writer::new(1);
        writer.text("some text to protect");
        let blob = writer.finish();
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::open(&damaged, 1).is_err(), "bit {bit}");
        }
        for length in 0..blob.len() {
            assert!(Reader::open(&blob[..length], 1).is_err(), "length {length}");
        }
    }
}
