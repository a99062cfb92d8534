//! What holds for every payload: nothing panics, and what was read prints to what reads the same.
#![allow(clippy::unwrap_used, reason = "a test panics to fail")]

use jiff::Timestamp;
use proptest::prelude::*;
use tesaiot_contract::telemetry::{Limits, parse};
use tesaiot_contract::{DeviceId, MessageId, Metric, Sample, Value};

fn device() -> DeviceId {
    DeviceId::new("pump-1").unwrap()
}

fn now() -> Timestamp {
    "2100-01-01T00:00:00Z".parse().unwrap()
}

/// Names that clash, nest and look like units more often than chance would have it.
const NAME: &str = "[ab]|[ab]_[ab]|[ab](_unit){1,2}|a_b_unit|[a-zก-๛\"\\\\ ]{1,8}";

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        "[^\\x00]{0,20}".prop_map(|text| Value::Text(text.into())),
    ]
}

/// A sample as a device makes it: different names, and none that would be read as the unit of another.
fn sample() -> impl Strategy<Value = Sample> {
    let unit = proptest::option::of("[^\\x00-\\x1f\\x7f]{1,8}");
    let metrics = proptest::collection::btree_map("[a-zA-Z0-9_ °\"\\\\]{1,20}", (value(), unit), 1..20);
    let seconds = 946_684_800_i64..4_102_444_800;
    let time = proptest::option::of((seconds, prop_oneof![Just(0), 0..1_000_000_000_i32]));
    let id = proptest::option::of(("[a-z0-9-]{0,20}", any::<u64>()));
    (time, id, metrics).prop_map(|(time, id, metrics)| Sample {
        time: time.map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap()),
        id: id.map(|(boot, seq)| MessageId { boot: boot.into(), seq }),
        metrics: metrics
            .into_iter()
            .filter(|(name, _)| !name.ends_with("_unit"))
            .map(|(name, (value, unit))| Metric { name: name.into(), value, unit: unit.map(Into::into) })
            .collect(),
    })
}

/// JSON with repeated and clashing names, which no map type can hold.
fn json() -> impl Strategy<Value = String> {
    let text = |text: String| serde_json::to_string(&text).unwrap();
    let leaf = prop_oneof![
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        4 => "[a-z°]{0,4}".prop_map(text),
        1 => "[a-z°\\x00\\n]{0,4}".prop_map(text),
        1 => Just("null".to_owned()),
        1 => Just("true".to_owned()),
    ];
    let object = move |value: BoxedStrategy<String>| {
        let member = (NAME, value).prop_map(move |(name, value)| format!("{}:{value}", text(name)));
        proptest::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
    };
    let value = leaf.prop_recursive(3, 20, 4, move |inner| {
        let elements = proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![elements.prop_map(|elements| format!("[{}]", elements.join(","))), object(inner)]
    });
    prop_oneof![1 => value.clone(), 9 => object(value.boxed())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_printed_sample_reads_back_as_itself(sample in sample()) {
        prop_assume!(!sample.metrics.is_empty());
        let payload = sample.to_json(Some(&device()));
        prop_assert_eq!(parse(&device(), None, payload.as_bytes(), now(), &Limits::default()), Ok(vec![sample]));
    }

    #[test]
    fn whatever_was_read_prints_to_what_reads_the_same(payload in json()) {
        let limits = Limits::default();
        if let Ok(samples) = parse(&device(), Some("a/b"), payload.as_bytes(), now(), &limits) {
            for sample in samples {
                let printed = sample.to_json(None);
                let again = parse(&device(), None, printed.as_bytes(), now(), &limits);
                prop_assert_eq!(again, Ok(vec![sample]), "{}", printed);
            }
        }
    }

    #[test]
    fn bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&device(), Some("x"), &bytes, now(), &Limits::default());
    }

    #[test]
    fn text_near_json_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-f.e+\\- ntrué\n\\\\]{0,60}") {
        let _ = parse(&device(), None, text.as_bytes(), now(), &Limits::default());
    }

    #[test]
    fn a_damaged_payload_is_read_or_refused(position: prop::sample::Index, byte: u8) {
        let mut payload = include_bytes!("golden/telemetry/nested.json").to_vec();
        let position = position.index(payload.len());
        payload[position] = byte;
        let _ = parse(&device(), None, &payload, now(), &Limits::default());
        let _ = parse(&device(), None, &payload[..position], now(), &Limits::default());
    }
}
