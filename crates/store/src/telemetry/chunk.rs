//! A chunk: up to some hundred sealed samples of one device, column by column, in one blob.
//!
//! ```text
//! envelope    version 3, CRC32C of the rest
//! rows        how many samples, at least 1
//! kinds       count, then each text
//! columns     count, then for each:
//!   name      text
//!   unit      optional text
//!   type      0 float, 1 integer, 2 bool, 3 text
//!   count     values, 1 to rows
//!   statistics  float: minimum, maximum, sum of the values that are not NaN (8 bytes each)
//!               integer: minimum and maximum (zigzag), sum (16 bytes) · bool: how many are true · text: none
//! sections    the offset table: the length of each of the 4 + 2 × columns sections that follow
//!   0         times in nanoseconds, rising; equal times in the order of arrival
//!   1         receive times minus times (wrapping)
//!   2         bits: the device gave the time. Empty: it always did
//!   3         kinds: 0 for none, else the place in `kinds` plus one. Empty: none has one
//!   4 + 2i    the rows that have a value of column i. Empty: every row. As long as a bit for each
//!             row takes: bits. Shorter: the first row, then of each further one how many rows
//!             without a value stand before it
//!   5 + 2i    the values of column i that are there. Numbers and text indexes as in `numbers`;
//!             bools as bits; texts: count, each different text, then the indexes
//! ```
//!
//! Numbers without a remark are unsigned varints, other multi-byte numbers little-endian. A
//! reader of one metric decodes the sections it needs. A metric with two types or units in the
//! same chunk has two columns.
//!
//! Version 2 is the same without numbers in equal steps, version 1 also without the short form of section 4 + 2i.
//! Both are still read.
//!
//! A chunk is bounded in rows times columns and in bytes (`cut`), so that what a reader must look
//! at does not grow with what a device sent at once.

mod cut;
mod read;
mod write;

pub(super) use cut::MAXIMUM_SPAN;
pub(super) use read::{Chunk, Series};
pub(super) use write::{Sealed, seal};

use super::codec::{Malformed, Reader, Writer};
use super::head::Values;

const VERSION: u8 = 3;
/// Without numbers in equal steps. Still read.
const VERSION_WITHOUT_STEPS: u8 = 2;
/// Also without lists of rows. Still read.
const VERSION_WITHOUT_LISTS: u8 = 1;

const TIMES: usize = 0;
const RECEIVED: usize = 1;
const DEVICE_TIME: usize = 2;
const KINDS: usize = 3;
const FIXED_SECTIONS: usize = 4;

const FLOAT: u8 = 0;
const INTEGER: u8 = 1;
const BOOL: u8 = 2;
const TEXT: u8 = 3;

/// What is known of a column without decoding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistics {
    /// Of the values that are not NaN; a minimum above the maximum when there are none.
    Float {
        minimum: f64,
        maximum: f64,
        sum: f64,
    },
    Integer {
        minimum: i64,
        maximum: i64,
        sum: i128,
    },
    Bool {
        truths: u64,
    },
    Text,
}

impl Statistics {
    pub(super) fn of(values: &Values) -> Self {
        match values {
            Values::Float(values) => {
                let numbers = values.iter().copied().filter(|value| !value.is_nan());
                Self::Float {
                    minimum: numbers.clone().fold(f64::INFINITY, f64::min),
                    maximum: numbers.clone().fold(f64::NEG_INFINITY, f64::max),
                    sum: numbers.sum(),
                }
            }
            Values::Integer(values) => Self::Integer {
                minimum: values.iter().copied().min().unwrap_or(i64::MAX),
                maximum: values.iter().copied().max().unwrap_or(i64::MIN),
                sum: values.iter().copied().map(i128::from).sum(),
            },
            Values::Bool(values) => Self::Bool { truths: values.iter().filter(|value| **value).count() as u64 },
            Values::Text(_) => Self::Text,
        }
    }

    fn type_byte(self) -> u8 {
        match self {
            Self::Float { .. } => FLOAT,
            Self::Integer { .. } => INTEGER,
            Self::Bool { .. } => BOOL,
            Self::Text => TEXT,
        }
    }

    fn write(self, writer: &mut Writer) {
        match self {
            Self::Float { minimum, maximum, sum } => {
                for number in [minimum, maximum, sum] {
                    writer.float(number);
                }
            }
            Self::Integer { minimum, maximum, sum } => {
                writer.signed(minimum);
                writer.signed(maximum);
                writer.raw(&sum.to_le_bytes());
            }
            Self::Bool { truths } => writer.unsigned(truths),
            Self::Text => {}
        }
    }

    fn read(type_byte: u8, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match type_byte {
            FLOAT => Self::Float { minimum: reader.float()?, maximum: reader.float()?, sum: reader.float()? },
            INTEGER => Self::Integer {
                minimum: reader.signed()?,
                maximum: reader.signed()?,
                sum: i128::from_le_bytes(reader.array()?),
            },
            BOOL => Self::Bool { truths: reader.unsigned()? },
            TEXT => Self::Text,
            _ => return Err(Malformed("a column has an unknown type")),
        })
    }
}
