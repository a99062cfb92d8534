//! The payload rules of section 4 of the wire contract.
#![allow(clippy::unwrap_used, reason = "a test panics to fail")]

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::telemetry::{Limits, PayloadError, parse};
use tesaiot_contract::{DeviceId, Metric, Sample, Value};

const ID: &str = "05f8968a-b400-4727-9678-b53cb0889fce";

fn device() -> DeviceId {
    DeviceId::new(ID).unwrap()
}

fn now() -> Timestamp {
    "2025-12-09T10:31:00Z".parse().unwrap()
}

fn read(payload: &str) -> Result<Vec<Sample>, PayloadError> {
    parse(&device(), None, payload.as_bytes(), now(), &Limits::default())
}

fn one(payload: &str) -> Sample {
    let mut samples = read(payload).unwrap_or_else(|error| panic!("{payload}: {error}"));
    assert_eq!(samples.len(), 1, "{payload}");
    samples.remove(0)
}

fn line(metric: &Metric) -> String {
    let unit = metric.unit.as_ref().map(|unit| format!(" [{unit}]")).unwrap_or_default();
    format!("{} = {:?}{unit}", metric.name, metric.value)
}

fn lines(payload: &str) -> Vec<String> {
    one(payload).metrics.iter().map(line).collect()
}

fn code(payload: &str) -> &'static str {
    match read(payload) {
        Ok(samples) => panic!("{payload} was accepted: {samples:?}"),
        Err(error) => error.code(),
    }
}

#[test]
fn the_payload_of_the_contract() {
    let payload = include_str!("golden/telemetry/nested.json");
    let sample = one(payload);
    assert_eq!(sample.time, Some("2025-12-09T10:30:45Z".parse().unwrap()));
    assert_eq!(sample.id, None);
    let flattened: Vec<String> = sample.metrics.iter().map(line).collect();
    assert_eq!(flattened, include_str!("golden/telemetry/flattened.txt").lines().collect::<Vec<_>>());
    assert_eq!(sample.to_json(Some(&device())), payload, "our clients send exactly this form");
}

#[test]
fn the_flat_form_is_the_same_sample() {
    let nested = include_str!("golden/telemetry/nested.json");
    let flat = nested.replace("\"data\":{", "").replace("}}", "}");
    assert_eq!(one(&flat), one(nested));
}

#[test]
fn a_batch_is_its_samples_in_order() {
    let samples = read(r#"[{"a":1,"seq":7},{"timestamp":"2025-12-09T10:30:45Z","data":{"a":2}}]"#).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[0].id.as_ref().map(|id| (&*id.boot, id.seq)), Some(("", 7)));
    assert_eq!(samples[0].time, None);
    assert_eq!(samples[1].id, None);
    assert_eq!(samples[1].metrics[0].value, Value::Integer(2));
    assert!(samples[1].time.is_some());
}

#[test]
fn kinds_of_values() {
    assert_eq!(
        lines(r#"{"i":-7,"f":1.5,"e":1e3,"t":true,"s":"sinus","n":null,"empty":"","z":-0.0}"#),
        [
            "i = Integer(-7)",
            "f = Float(1.5)",
            "e = Float(1000.0)",
            "t = Bool(true)",
            "s = Text(\"sinus\")",
            "empty = Text(\"\")",
            "z = Float(-0.0)"
        ]
    );
    assert_eq!(
        lines(
            r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808,"d":123456789012345678901234567890}"#
        ),
        [
            "a = Integer(9223372036854775807)",
            "b = Integer(-9223372036854775808)",
            "c = Float(9.223372036854776e18)",
            "d = Float(1.2345678901234568e29)"
        ]
    );
    assert_eq!(Value::Bool(true).number(), Some(1.0));
    assert_eq!(Value::Integer(-3).number(), Some(-3.0));
    assert_eq!(Value::Text("7".into()).number(), None);
}

#[test]
fn nested_names_and_arrays() {
    assert_eq!(
        lines(r#"{"a":{"b":{"c":1},"d":2},"x":[10,{"y":20},[30,null]],"none":{},"nothing":[]}"#),
        ["a_b_c = Integer(1)", "a_d = Integer(2)", "x_0 = Integer(10)", "x_1_y = Integer(20)", "x_2_0 = Integer(30)"]
    );
    // `data` that is no object is a metric of that name, and inside `data` no name is special.
    assert_eq!(lines(r#"{"data":5}"#), ["data = Integer(5)"]);
    assert_eq!(lines(r#"{"data":[1,2]}"#), ["data_0 = Integer(1)", "data_1 = Integer(2)"]);
    assert_eq!(
        lines(r#"{"data":{"timestamp":1,"data":{"seq":2}}}"#),
        ["timestamp = Integer(1)", "data_seq = Integer(2)"]
    );
    // What stands beside `data` is kept, not dropped.
    assert_eq!(lines(r#"{"firmware":"1.2","data":{"a":1}}"#), ["firmware = Text(\"1.2\")", "a = Integer(1)"]);
}

#[test]
fn units_wherever_they_stand() {
    for (payload, expected) in [
        // After, before, and far from the metric.
        (r#"{"x":1,"x_unit":"m"}"#, &["x = Integer(1) [m]"][..]),
        (r#"{"x_unit":"m","x":1}"#, &["x = Integer(1) [m]"]),
        (r#"{"x":1,"y":2,"x_unit":"m"}"#, &["x = Integer(1) [m]", "y = Integer(2)"]),
        (r#"{"a":{"x":1,"x_unit":"m"}}"#, &["a_x = Integer(1) [m]"]),
        // Nothing beside it: a text like any other. A number is never a unit.
        (r#"{"x_unit":"m"}"#, &["x_unit = Text(\"m\")"]),
        (r#"{"_unit":"m"}"#, &["_unit = Text(\"m\")"]),
        (r#"{"x":1,"x_unit":2}"#, &["x = Integer(1)", "x_unit = Integer(2)"]),
        (r#"{"x":1,"x_unit":""}"#, &["x = Integer(1)"]),
        (r#"{"x":1,"x_unit":null}"#, &["x = Integer(1)"]),
        // The reading is null, an object, an array.
        (r#"{"x":null,"x_unit":"m","y":1}"#, &["y = Integer(1)"]),
        (r#"{"x":[1,2],"x_unit":"g"}"#, &["x_0 = Integer(1) [g]", "x_1 = Integer(2) [g]"]),
        (r#"{"x_unit":"g","x":{"a":1,"b":2,"b_unit":"m"}}"#, &["x_a = Integer(1) [g]", "x_b = Integer(2) [m]"]),
        (r#"{"o":{"i":{"a":1},"i_unit":"m","b":2},"o_unit":"g"}"#, &["o_i_a = Integer(1) [m]", "o_b = Integer(2) [g]"]),
        // A unit has no unit.
        (r#"{"x":1,"x_unit":"m","x_unit_unit":"k"}"#, &["x = Integer(1) [m]", "x_unit_unit = Text(\"k\")"]),
        (r#"{"x_unit_unit":"k","x_unit":"m","x":1}"#, &["x_unit_unit = Text(\"k\")", "x = Integer(1) [m]"]),
        (r#"{"x_unit":"m","x_unit_unit":"k","x":1}"#, &["x_unit_unit = Text(\"k\")", "x = Integer(1) [m]"]),
    ] {
        assert_eq!(lines(payload), expected, "{payload}");
    }
}

#[test]
fn a_bare_value_is_named_by_the_topic() {
    let read = |kind, payload: &str| parse(&device(), kind, payload.as_bytes(), now(), &Limits::default());
    for (payload, value) in [
        ("36.6", Value::Float(36.6)),
        (" -4 ", Value::Integer(-4)),
        ("true", Value::Bool(true)),
        ("\"sinus\"", Value::Text("sinus".into())),
        ("18446744073709551615", Value::Float(18_446_744_073_709_551_615.0)),
    ] {
        let samples = read(Some("ward/temperature"), payload).unwrap();
        let name = "ward_temperature".into();
        assert_eq!(samples, [Sample { time: None, id: None, metrics: vec![Metric { name, value, unit: None }] }]);
        assert_eq!(read(None, payload), Err(PayloadError::ScalarWithoutType));
    }
    assert_eq!(read(Some("x"), "null"), Err(PayloadError::NoMetrics));
    assert_eq!(read(Some("x"), "1e999"), Err(PayloadError::NonFinite { name: "x".into() }));
}

#[test]
fn message_identity() {
    let id = |payload| one(payload).id.map(|id| (id.boot.to_string(), id.seq));
    assert_eq!(id(r#"{"boot":"b1","seq":18446744073709551615,"a":1}"#), Some(("b1".into(), u64::MAX)));
    assert_eq!(id(r#"{"seq":0,"a":1}"#), Some((String::new(), 0)));
    assert_eq!(id(r#"{"boot":"b1","a":1}"#), None);
    assert_eq!(id(r#"{"boot":null,"seq":null,"timestamp":null,"device_id":null,"a":1}"#), None);
}

#[test]
fn every_reason_has_its_code() {
    for (payload, expected) in [
        ("", "payload_empty"),
        ("hello", "not_json"),
        ("{\"a\":1", "not_json"),
        ("{\"a\":1}}", "not_json"),
        ("{\"a\":01}", "not_json"),
        ("{a:1}", "not_json"),
        ("{\"a\":\"\\ud800\"}", "not_json"),
        ("[1,2]", "sample_not_an_object"),
        ("[{\"a\":1},[]]", "sample_not_an_object"),
        ("[]", "no_samples"),
        ("{}", "no_metrics"),
        (r#"{"timestamp":"2025-12-09T10:30:45Z","data":{}}"#, "no_metrics"),
        (r#"{"a":null,"a_unit":"m"}"#, "no_metrics"),
        (r#"[{"a":1},{"b":null}]"#, "no_metrics"),
        (r#"{"device_id":"someone-else","a":1}"#, "wrong_device"),
        (r#"{"device_id":"05f8968a-b400-4727-9678-b53cb0889fc","a":1}"#, "wrong_device"),
        (r#"{"device_id":7,"a":1}"#, "wrong_device"),
        (r#"[{"a":1},{"a":1,"device_id":"other"}]"#, "wrong_device"),
        (r#"{"timestamp":1765276245,"a":1}"#, "timestamp_not_text"),
        (r#"{"timestamp":1765276245.5,"a":1}"#, "timestamp_not_text"),
        (r#"{"timestamp":{"t":1},"a":1}"#, "timestamp_not_text"),
        (r#"{"timestamp":"yesterday","a":1}"#, "timestamp_not_rfc3339"),
        (r#"{"timestamp":"1999-12-31T23:59:59Z","a":1}"#, "timestamp_too_early"),
        (r#"{"timestamp":"1970-01-01T00:00:00Z","a":1}"#, "timestamp_too_early"),
        (r#"{"timestamp":"2025-12-10T10:31:00.000000001Z","a":1}"#, "timestamp_too_late"),
        (r#"{"timestamp":"9999-12-31T23:59:59Z","a":1}"#, "timestamp_too_late"),
        (r#"{"seq":-1,"a":1}"#, "seq_not_unsigned"),
        (r#"{"seq":1.0,"a":1}"#, "seq_not_unsigned"),
        (r#"{"seq":"1","a":1}"#, "seq_not_unsigned"),
        (r#"{"seq":18446744073709551616,"a":1}"#, "seq_not_unsigned"),
        (r#"{"boot":1,"a":1}"#, "boot_not_text"),
        (r#"{"boot":"a\u0000","a":1}"#, "boot_not_accepted"),
        (r#"{"seq":1,"seq":2,"a":1}"#, "duplicate_field"),
        (r#"{"data":{"a":1},"data":{"b":1}}"#, "duplicate_field"),
        (r#"[{"boot":"b","seq":1,"a":1},{"boot":"b","seq":2,"a":1},{"boot":"b","seq":1,"a":2}]"#, "duplicate_sequence"),
        (r#"{"a":1,"a":2}"#, "duplicate_metric"),
        (r#"{"a":{"b":1},"a_b":2}"#, "duplicate_metric"),
        (r#"{"a":[1],"a_0":2}"#, "duplicate_metric"),
        (r#"{"a":1,"data":{"a":2}}"#, "duplicate_metric"),
        (r#"{"a":1,"a_unit":"m","a_unit":"k"}"#, "duplicate_metric"),
        (r#"{"a":1,"a_unit":"m","a_unit":5}"#, "duplicate_metric"),
        (r#"{"a":1e999}"#, "non_finite"),
        (r#"{"":1}"#, "empty_name"),
        (r#"{"a\nb":1}"#, "control_character_in_name"),
        (r#"{"a":"x\u0000y"}"#, "nul_in_text"),
        (r#"{"a":1,"a_unit":"\u0007"}"#, "unit_not_accepted"),
        (r#"{"a":[[[[[[[[[1]]]]]]]]]}"#, "too_deep"),
    ] {
        assert_eq!(code(payload), expected, "{payload}");
    }
    assert_eq!(
        parse(&device(), None, b"{\"a\":\"\xff\"}", now(), &Limits::default()),
        Err(PayloadError::NotUtf8 { position: 6 })
    );
}

#[test]
fn numbers_of_different_runs_and_of_none_do_not_collide() {
    for payload in [
        r#"[{"boot":"b","seq":1,"a":1},{"boot":"c","seq":1,"a":1}]"#,
        // Without a run a number identifies nothing: each of these is stored.
        r#"[{"seq":1,"a":1},{"seq":1,"a":1},{"boot":"","seq":1,"a":1}]"#,
        r#"[{"boot":"b","a":1},{"boot":"b","a":1}]"#,
        // A redelivery that came along.
        r#"[{"boot":"b","seq":1,"a":1},{"boot":"b","seq":1,"a":1}]"#,
    ] {
        assert!(read(payload).is_ok(), "{payload}");
    }
}

#[test]
fn what_is_not_a_finite_number_is_named() {
    for payload in [
        r#"{"spo2":97,"data":{"hr":1e999,"x":1}}"#,
        r#"{"hr":-1e400}"#,
        "{\n \"hr\": 123456789e400}",
        r#"{"hr":NaN,"x":1}"#,
        r#"{"hr":Infinity}"#,
        r#"{"hr": -Infinity }"#,
    ] {
        assert_eq!(read(payload), Err(PayloadError::NonFinite { name: "hr".into() }), "{payload}");
    }
    // A fault elsewhere is not taken for one.
    assert_eq!(code(r#"{"hr":1e9,}"#), "not_json");
    assert_eq!(code(r#"{"hr":nothing}"#), "not_json");
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = Limits {
        max_payload_bytes: 200,
        max_samples: 2,
        max_metrics: 3,
        max_batch_metrics: 4,
        max_name_bytes: 4,
        max_text_bytes: 3,
        max_unit_bytes: 2,
        max_boot_bytes: 2,
        max_depth: 1,
        ..Limits::default()
    };
    let read = |payload: &str| parse(&device(), None, payload.as_bytes(), now(), &limits).map_err(|error| error.code());
    for (good, bad, code) in [
        (format!("{{\"a\":1{}}}", " ".repeat(193)), format!("{{\"a\":1{}}}", " ".repeat(194)), "payload_too_large"),
        (r#"[{"a":1},{"a":1}]"#.into(), r#"[{"a":1},{"a":1},{"a":1}]"#.into(), "too_many_samples"),
        (r#"{"a":1,"b":2,"c":3}"#.into(), r#"{"a":1,"b":2,"c":3,"d":4}"#.into(), "too_many_metrics"),
        (r#"{"a":[1,2]}"#.into(), r#"{"a":[1,2,3]}"#.into(), "too_many_metrics"),
        (r#"{"a":1,"b":null,"c":1}"#.into(), r#"{"a":1,"b":null,"c":null,"d":1}"#.into(), "too_many_metrics"),
        (
            r#"[{"a":1,"b":2},{"a":1,"b":2}]"#.into(),
            r#"[{"a":1,"b":2},{"a":1,"b":2,"c":3}]"#.into(),
            "too_many_metrics",
        ),
        (r#"{"abcd":1}"#.into(), r#"{"abcde":1}"#.into(), "name_too_long"),
        (r#"{"ab":{"c":1}}"#.into(), r#"{"ab":{"cd":1}}"#.into(), "name_too_long"),
        (r#"{"ab":[1,2]}"#.into(), r#"{"abc":[1,2]}"#.into(), "name_too_long"),
        (r#"{"a":"xyz"}"#.into(), r#"{"a":"xyzw"}"#.into(), "text_too_long"),
        (r#"{"boot":"ab","a":1}"#.into(), r#"{"boot":"abc","a":1}"#.into(), "boot_not_accepted"),
        (r#"{"a":{"b":1}}"#.into(), r#"{"a":{"b":{"c":1}}}"#.into(), "too_deep"),
        (r#"{"data":{"a":[1]}}"#.into(), r#"{"data":{"a":[[1]]}}"#.into(), "too_deep"),
    ] as [(String, String, &str); 13]
    {
        assert!(read(&good).is_ok(), "{good}: {:?}", read(&good));
        assert_eq!(read(&bad), Err(code), "{bad}");
    }
    let limits = Limits { max_unit_bytes: 2, ..Limits::default() };
    let read = |payload: &str| parse(&device(), None, payload.as_bytes(), now(), &limits).map_err(|error| error.code());
    for (good, bad) in [
        (r#"{"a":1,"a_unit":"°"}"#, r#"{"a":1,"a_unit":"°C"}"#),
        (r#"{"a_unit":"°","a":1}"#, r#"{"a_unit":"°C","a":1}"#),
        (r#"{"a":[1],"a_unit":"°"}"#, r#"{"a":[1],"a_unit":"°C"}"#),
    ] {
        assert!(read(good).is_ok(), "{good}");
        assert_eq!(read(bad), Err("unit_not_accepted"), "{bad}");
    }
}

#[test]
fn only_size_is_too_large() {
    let payload = vec![b' '; 256 * 1024 + 1];
    let error = parse(&device(), None, &payload, now(), &Limits::default()).unwrap_err();
    assert_eq!(error, PayloadError::TooLarge { actual: 262_145, limit: 262_144 });
    assert!(error.is_too_large());
    assert!(!read("{}").unwrap_err().is_too_large());
}

#[test]
fn a_clock_a_day_ahead_is_the_last_accepted() {
    assert!(read(r#"{"timestamp":"2025-12-10T10:31:00Z","a":1}"#).is_ok());
    assert!(read(r#"{"timestamp":"2000-01-01T00:00:00Z","a":1}"#).is_ok());
    let limits = Limits { max_future: SignedDuration::ZERO, ..Limits::default() };
    let payload = br#"{"timestamp":"2025-12-09T10:31:00.5Z","a":1}"#;
    assert!(parse(&device(), None, payload, now(), &limits).is_err());
}

#[test]
fn a_reason_never_repeats_a_value() {
    for payload in [
        r#"{"timestamp":"hunter2","a":1}"#,
        r#"{"device_id":"hunter2","a":1}"#,
        r#"["hunter2"]"#,
        r#"{"a":"hunter2\u0000"}"#,
        r#"{"a":hunter2}"#,
        r#"{"a":1,"a_unit":"hunter2\u0000"}"#,
        r#"{"seq":"hunter2"}"#,
        r#"{"boot":"hunter2\n"}"#,
    ] {
        let error = read(payload).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn many_metrics_are_searched_as_few_are() {
    let members: Vec<String> = (0..200).map(|i| format!("\"m{i}_unit\":\"u{i}\",\"m{i}\":{i}")).collect();
    let sample = one(&format!("{{{}}}", members.join(",")));
    assert_eq!(sample.metrics.len(), 200);
    for (i, metric) in sample.metrics.iter().enumerate() {
        assert_eq!(line(metric), format!("m{i} = Integer({i}) [u{i}]"));
    }
    let duplicate = format!("{{{},\"m7\":1}}", members.join(","));
    assert_eq!(read(&duplicate), Err(PayloadError::DuplicateMetric { name: "m7".into() }));
}
