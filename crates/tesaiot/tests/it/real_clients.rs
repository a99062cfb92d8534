//! Clients as they are in the field, unmodified, with the files of a bundle and nothing else. Every test ends with
//! reading back what was stored.

mod curl;
mod mosquitto;
mod mqttjs;
mod paho;
mod websocket;

use serde_json::Value;

use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::wait_until;

/// The newest value of a metric, as REST tells it, once it is `value`.
#[track_caller]
fn stored(platform: &TestPlatform, device: &Device, metric: &str, value: &Value) -> Value {
    let path = format!("/devices/{}/telemetry/latest", device.id());
    let operator = platform.operator();
    wait_until(&format!("{metric} = {value}"), || {
        let answer = operator.get(&path).expect(200);
        let latest = answer["latest"].as_array().expect("an array").clone();
        latest.into_iter().find(|found| found["metric"] == metric && found["value"] == *value)
    })
}
