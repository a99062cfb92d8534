//! Samples.

use jiff::Timestamp;

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
