//! Samples, and the payload that carries them (the wire contract, section 4).
//!
//! [`parse`] reads every accepted form: one object with a `data` object, the flat form, a batch, a bare value. It is on
//! the acknowledgement path of every message, so it reads the JSON once, straight into the samples.
//! [`Sample::to_json`] prints the first of the forms, which is what our own clients send; it reads back as the same
//! sample.

mod error;
mod flatten;
mod json;
mod limits;
mod parse;
mod time;

use jiff::Timestamp;

pub use error::PayloadError;
pub use limits::Limits;
pub use parse::parse;

/// One metric's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number with a fraction or an exponent, or an integer beyond 64 bits. Always finite.
    Float(f64),
    /// An integer, exact to 64 bits.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(Box<str>),
}

impl Value {
    /// The value as a number, true being 1; `None` for text. Integers beyond 2⁵³ are rounded.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            Self::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Self::Text(_) => None,
        }
    }
}

/// One named reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Name, after flattening.
    pub name: Box<str>,
    /// Value.
    pub value: Value,
    /// Unit, when the device gave one.
    pub unit: Option<Box<str>>,
}

/// Identifies a message for exactly-once storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// One run of the device; empty when the device does not say.
    pub boot: Box<str>,
    /// Number of the message within the run.
    pub seq: u64,
}

/// Metrics read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The device's own time; `None` when it gave none.
    pub time: Option<Timestamp>,
    /// Identity of the message, when the device gave one.
    pub id: Option<MessageId>,
    /// At least one metric; names are unique.
    pub metrics: Vec<Metric>,
}
