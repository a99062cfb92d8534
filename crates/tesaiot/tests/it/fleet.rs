//! Questions to many devices at once: the right values, and who may ask.

use serde_json::{Value, json};
use tesaiot_store::Registry;
use tesaiot_store::registry::{AuthMode, Role};

use crate::support::platform::TestPlatform;
use crate::support::rest::Rest;

/// Four devices; the last one has sent nothing. Returns the platform and the first device's own REST.
fn scene() -> (TestPlatform, Rest) {
    let platform = TestPlatform::start();
    let mut rests = Vec::new();
    for (id, values) in [("pump-1", &[10, 20][..]), ("pump-2", &[40]), ("pump-3", &[-5, 0, 5]), ("pump-4", &[])] {
        let rest = platform.rest_of(&platform.device(id, AuthMode::ServerTls));
        for (minute, value) in values.iter().enumerate() {
            let time = format!("2025-12-09T10:0{minute}:30Z");
            let sample = json!({"timestamp": time, "data": {"flow": value, "flow_unit": "l/min", "spare": minute}});
            rest.post("/telemetry", sample.to_string().as_bytes()).expect(201);
        }
        rests.push(rest);
    }
    (platform, rests.remove(0))
}

fn latest(page: &Value) -> Vec<(&str, Vec<(&str, &Value)>)> {
    let devices = page["devices"].as_array().expect("devices").iter();
    devices
        .map(|device| {
            let values = device["latest"].as_array().expect("values").iter();
            let values = values.map(|found| (found["metric"].as_str().expect("a name"), &found["value"]));
            (device["device_id"].as_str().expect("an id"), values.collect())
        })
        .collect()
}

#[test]
fn the_newest_values_of_all_devices_come_in_pages() {
    let (platform, _) = scene();
    let operator = platform.operator();
    let all = operator.get("/telemetry/latest").expect(200);
    assert_eq!(
        latest(&all),
        [
            ("pump-1", vec![("flow", &json!(20)), ("spare", &json!(1))]),
            ("pump-2", vec![("flow", &json!(40)), ("spare", &json!(0))]),
            ("pump-3", vec![("flow", &json!(5)), ("spare", &json!(2))]),
        ]
    );
    assert_eq!(all["next"], Value::Null);
    let newest = &all["devices"][2]["latest"][0];
    assert_eq!((&newest["time"], &newest["unit"]), (&json!("2025-12-09T10:02:30Z"), &json!("l/min")));
    let first = operator.get("/telemetry/latest?metric=flow&limit=2").expect(200);
    let flows = [json!(20), json!(40)];
    let expected = vec![("pump-1", vec![("flow", &flows[0])]), ("pump-2", vec![("flow", &flows[1])])];
    assert_eq!((latest(&first), &first["next"]), (expected, &json!("pump-2")));
    let second = operator.get("/telemetry/latest?metric=flow&limit=2&after=pump-2").expect(200);
    assert_eq!((latest(&second), &second["next"]), (vec![("pump-3", vec![("flow", &json!(5))])], &Value::Null));
}

#[test]
fn one_metric_of_some_devices_or_all_adds_up() {
    let (platform, _) = scene();
    let operator = platform.operator();
    let ask = |question: &str| operator.get(&format!("/telemetry/aggregate?{question}")).expect(200);
    let all = ask("metric=flow");
    let bucket = &all["buckets"][0];
    assert_eq!((all["buckets"].as_array().map(Vec::len), &all["devices"]), (Some(1), &Value::Null));
    assert_eq!((&bucket["count"], &bucket["sum"]), (&json!(6), &json!(70.0)), "{bucket}");
    assert_eq!((&bucket["min"], &bucket["max"]), (&json!(-5.0), &json!(40.0)));
    assert!((bucket["avg"].as_f64().expect("a number") - 70.0 / 6.0).abs() < 1e-9);
    let minutes = ask("metric=flow&bucket=1m&aggregate=count,avg&devices=pump-1,pump-3");
    let expected = json!([
        {"start": "2025-12-09T10:00:00Z", "count": 2, "avg": 2.5},
        {"start": "2025-12-09T10:01:00Z", "count": 2, "avg": 10.0},
        {"start": "2025-12-09T10:02:00Z", "count": 1, "avg": 5.0},
    ]);
    assert_eq!((&minutes["buckets"], &minutes["devices"]), (&expected, &json!(["pump-1", "pump-3"])));
    let later = ask("metric=flow&from=2025-12-09T10:01:00Z&to=2025-12-09T10:02:00Z&aggregate=sum");
    assert_eq!(later["buckets"][0]["sum"], 20.0);
    assert_eq!(ask("metric=flow&devices=pump-4")["buckets"], json!([]));
    let csv = operator.get("/telemetry/aggregate?metric=flow&bucket=1m&aggregate=max&format=csv").text;
    assert_eq!(csv.lines().collect::<Vec<_>>()[..2], ["start,max", "2025-12-09T10:00:00Z,40.0"]);
    operator.get("/telemetry/aggregate").expect_problem(400, "invalid_request");
    operator.get("/telemetry/aggregate?metric=flow&devices=a,b").expect_problem(400, "invalid_request");
}

#[test]
fn viewers_may_ask_and_devices_may_not() {
    let (platform, device) = scene();
    let registry = Registry::open(&platform.data_directory().join("registry.db")).expect("the registry");
    let token = registry.create_token("a viewer", Role::Viewer, jiff::Timestamp::now()).expect("a token").1;
    let viewer = platform.anonymous().with_header("X-API-KEY", token.expose());
    for path in ["/telemetry/latest", "/telemetry/aggregate?metric=flow", "/devices/pump-2/telemetry"] {
        viewer.get(path).expect(200);
        device.get(path).expect_problem(403, "forbidden");
        platform.anonymous().get(path).expect_problem(401, "unauthorized");
    }
    // To look is not to change.
    viewer.post("/devices/pump-2/disable", b"").expect_problem(403, "forbidden");
    viewer.post("/dead-letters/replay", b"").expect_problem(403, "forbidden");
}
