//! One column of a record batch while it grows, in the layout it has on the wire.

use super::message::Kind;

/// What stands in one row of a column. A cell must be of the column's kind, or null.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    /// Also a time, in nanoseconds since 1970-01-01 UTC.
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(&'a str),
}

/// A column: which rows are not null, and their values one after the other.
#[derive(Debug)]
pub(super) struct Column {
    kind: Kind,
    valid: Bits,
    truths: Bits,
    /// Values of eight bytes, or the bytes of all texts.
    values: Vec<u8>,
    /// Where each text begins, and where the last one ends.
    offsets: Vec<u8>,
    nulls: usize,
}

/// One bit for each row, the first in the lowest bit of the first byte.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (self.length % 8);
        }
        self.length += 1;
    }
}

impl Column {
    pub(super) fn new(kind: Kind) -> Self {
        let offsets = if matches!(kind, Kind::Text) { 0_i32.to_le_bytes().to_vec() } else { Vec::new() };
        Self { kind, valid: Bits::default(), truths: Bits::default(), values: Vec::new(), offsets, nulls: 0 }
    }

    pub(super) fn push(&mut self, cell: Cell<'_>) {
        self.valid.push(!matches!(cell, Cell::Null));
        self.nulls += usize::from(matches!(cell, Cell::Null));
        match self.kind {
            Kind::Boolean => self.truths.push(matches!(cell, Cell::Boolean(true))),
            Kind::Text => {
                if let Cell::Text(text) = cell {
                    self.values.extend_from_slice(text.as_bytes());
                }
                // The rows of a batch are so few that their texts fit (`super::ROWS`).
                let end = i32::try_from(self.values.len()).unwrap_or(i32::MAX);
                self.offsets.extend_from_slice(&end.to_le_bytes());
            }
            Kind::Time | Kind::Integer | Kind::Float => self.values.extend_from_slice(&match cell {
                Cell::Integer(number) => number.to_le_bytes(),
                Cell::Float(number) => number.to_le_bytes(),
                Cell::Null | Cell::Boolean(_) | Cell::Text(_) => [0; 8],
            }),
        }
    }

    pub(super) fn nulls(&self) -> usize {
        self.nulls
    }

    /// Its buffers, in the order of the format. Where nothing is null the first one may be empty.
    pub(super) fn buffers(self) -> Vec<Vec<u8>> {
        let valid = if self.nulls == 0 { Vec::new() } else { self.valid.bytes };
        match self.kind {
            Kind::Boolean => vec![valid, self.truths.bytes],
            Kind::Text => vec![valid, self.offsets, self.values],
            Kind::Time | Kind::Integer | Kind::Float => vec![valid, self.values],
        }
    }
}
