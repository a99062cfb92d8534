//! Generators for the property tests of this module.

mod golden;
mod model;
mod questions;
mod upkeep;

use jiff::Timestamp;
use proptest::prelude::*;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};

use crate::time::from_nanoseconds;

pub(super) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (0..500).prop_map(|step| Value::Float(f64::from(step) / 10.0)),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        "[a-c]{0,2}".prop_map(|text| Value::Text(text.into())),
    ]
}

fn any_metrics() -> impl Strategy<Value = Vec<Metric>> {
    proptest::collection::vec(("[a-d]", any_value(), proptest::option::of("[%V]")), 0..4).prop_map(|metrics| {
        let mut unique: Vec<Metric> = Vec::new();
        for (name, value, unit) in metrics {
            if unique.iter().all(|metric| *metric.name != name) {
                unique.push(Metric { name: name.into(), value, unit: unit.map(Into::into) });
            }
        }
        unique
    })
}

pub(super) fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (0..40_i64).prop_map(|second| from_nanoseconds(1_764_000_000_000_000_000 + second * 1_000_000_000)),
        // Minutes, hours and days apart, and at the very end of a minute.
        2 => (0..72_i64, 0..4_i64, prop_oneof![Just(0_i64), Just(59_999_999_999)]).prop_map(|(hours, minutes, rest)| {
            from_nanoseconds(1_763_942_400_000_000_000 + (hours * 60 + minutes) * 60_000_000_000 + rest)
        }),
        1 => any::<i64>().prop_map(from_nanoseconds),
    ]
}

pub(super) fn any_sample() -> impl Strategy<Value = Sample> {
    let id = ("[xy]", 0..30_u64).prop_map(|(boot, seq)| MessageId { boot: boot.into(), seq });
    (proptest::option::of(any_time()), proptest::option::of(id), any_metrics()).prop_map(|(time, id, metrics)| Sample {
        time,
        id,
        metrics,
    })
}
