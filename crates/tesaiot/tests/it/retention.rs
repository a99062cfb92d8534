//! `tesaiot up --retain…`: what is old goes, and only that.

use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value as Reading};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Entry, Inspection, Options};

use crate::support::platform_process::{PlatformProcess, arguments, tesaiot};
use crate::support::rest::Rest;
use crate::support::wait_until;

/// Ages of samples and of events, in days: what a sample says is its age.
const AGES: [i64; 4] = [40, 10, 5, 0];

/// Stores a sample and an event of each age, as if they had come then.
fn fill(data: &Path, devices: &[&str]) {
    // Each sample is sealed by itself: what waits in memory for its neighbours is not old yet.
    let options = Options { chunk_samples: 1, ..Options::default() };
    let (_telemetry, mut appender) = Telemetry::open(&data.join("telemetry.db"), options).expect("the store opens");
    for age in AGES {
        let then = Timestamp::now() - SignedDuration::from_hours(24 * age);
        let entries = devices.iter().flat_map(|id| {
            let device = DeviceId::new(*id).expect("an id");
            let metric = Metric { name: "age".into(), value: Reading::Integer(age), unit: None };
            let sample = Sample { time: Some(then), id: None, metrics: vec![metric] };
            let payload = json!({"age": age}).to_string().into();
            let topic = format!("device/{id}/events/day").into();
            [
                Entry::Sample { device: device.clone(), kind: None, received_at: then, sample },
                Entry::Message { device, topic, received_at: then, payload },
            ]
        });
        appender.append(&entries.collect::<Vec<_>>()).expect("they are stored");
        while appender.maintain().expect("they are sealed").more {}
    }
    appender.close().expect("the store closes");
}

fn ages(operator: &Rest, device: &str) -> Vec<i64> {
    let points = operator.get(&format!("/devices/{device}/telemetry?metric=age")).expect(200)["points"].clone();
    points.as_array().expect("points").iter().filter_map(|point| point["value"].as_i64()).collect()
}

fn events(operator: &Rest, device: &str) -> Vec<i64> {
    let events = operator.get(&format!("/devices/{device}/events")).expect(200)["events"].clone();
    events.as_array().expect("events").iter().rev().filter_map(|event| event["payload"]["age"].as_i64()).collect()
}

/// What the days added up to, by rollups where the samples are gone.
fn days(operator: &Rest, device: &str) -> Vec<f64> {
    let path = format!("/devices/{device}/telemetry?metric=age&bucket=1d&aggregate=max");
    let buckets = operator.get(&path).expect(200)["buckets"].clone();
    buckets.as_array().expect("buckets").iter().filter_map(|bucket| bucket["max"].as_f64()).collect()
}

#[test]
fn what_is_old_goes_and_only_that() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let platform = PlatformProcess::start(&data);
    for id in ["pump-7", "lab-1"] {
        platform.device(id, "server-tls", directory.path());
    }
    assert_eq!(platform.stop("TERM").code, Some(0));
    fill(&data, &["pump-7", "lab-1"]);

    // Nothing goes by itself.
    let platform = PlatformProcess::start(&data);
    let operator = platform.operator();
    assert_eq!((ages(&operator, "pump-7"), events(&operator, "pump-7")), (AGES.to_vec(), AGES.to_vec()));
    assert_eq!(platform.stop("TERM").code, Some(0));

    let mut command = Command::new(tesaiot());
    command.args(arguments(&data));
    command.args(["--retain", "30d", "--retain-class", "lab-=7d", "--retain-messages", "8d"]);
    let platform = PlatformProcess::start_as(&mut command, &data);
    let operator = platform.operator();
    let chunks = || {
        let inspection = Inspection::open(&data.join("telemetry.db")).expect("the store can be looked at");
        inspection.statistics().expect("its numbers").chunks
    };
    // It is served no more from the first moment on, and soon it is not there any more.
    wait_until("what is old is gone", || {
        (chunks() == 5
            && ages(&operator, "pump-7") == [10, 5, 0]
            && ages(&operator, "lab-1") == [5, 0]
            && events(&operator, "pump-7") == [5, 0])
        .then_some(())
    });
    assert_eq!(events(&operator, "lab-1"), [5, 0]);
    // What the days added up to stays.
    let expected = AGES.map(|age| age as f64).to_vec();
    assert_eq!((days(&operator, "pump-7"), days(&operator, "lab-1")), (expected.clone(), expected));
    // New samples come in as before, and the newest values are what they were.
    let latest = operator.get("/devices/lab-1/telemetry/latest").expect(200)["latest"].clone();
    assert_eq!((&latest[0]["metric"], &latest[0]["value"]), (&json!("age"), &json!(0)));
    assert_eq!(platform.stop("TERM").code, Some(0));
    let platform = PlatformProcess::start(&data);
    let found: Vec<Vec<i64>> = ["pump-7", "lab-1"].iter().map(|id| ages(&platform.operator(), id)).collect();
    assert_eq!(found, [vec![10, 5, 0], vec![5, 0]], "it is gone for good, and the rest is there");
    let _: Value = platform.operator().get("/health").expect(200);
}
