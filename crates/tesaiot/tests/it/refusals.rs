//! What bad input gets. After each: the platform serves a good device, what happened was counted, and it is named in
//! the audit log once, however often it was tried.

mod bytes;
mod certificates;
mod payloads;
mod secrets;
mod topics;

use serde_json::json;
use tesaiot_mqtt::Version;
use tesaiot_platform::Config;
use tesaiot_store::registry::AuthMode;

use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::wire::{Connect, Wire};

/// A platform, and a device that does everything right.
struct Scene {
    platform: TestPlatform,
    good: Device,
    served: u64,
}

impl Scene {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(setting: impl Fn(&mut Config) + 'static) -> Self {
        let platform = TestPlatform::start_with(move |config| {
            // Each refusal is looked at for its own cause: nobody pauses after the fifth.
            config.broker.failed_login_rate_per_address = None;
            setting(config);
        });
        let good = platform.device("good-device", AuthMode::Mtls);
        Self { platform, good, served: 0 }
    }

    /// The good device stores another sample, and it can be read.
    #[track_caller]
    fn serves_on(&mut self) {
        self.served += 1;
        let payload = json!({"served": self.served}).to_string();
        let mut wire = Wire::login(self.platform.mqtt(), &self.good, Version::V3);
        assert_eq!(wire.acknowledged(1, &self.good.topic("telemetry"), payload.as_bytes()), 0);
        let latest = self.platform.operator().get("/devices/good-device/telemetry/latest").expect(200);
        assert_eq!(latest["latest"][0]["value"], self.served, "{latest}");
    }

    /// CONNECT with this packet and with the TLS of this device: the whole CONNACK.
    #[track_caller]
    fn connack(&self, device: &Device, connect: &Connect<'_>) -> Vec<u8> {
        let port = if device.certificate().is_some() { self.platform.mqtt() } else { self.platform.mqtt_tls() };
        let mut wire = Wire::tls(port, device.tls(), connect.version).expect("a TLS handshake");
        wire.send(&connect.packet());
        let acknowledgement = wire.packet();
        assert!(wire.rest().is_empty(), "a refusal is the last packet");
        acknowledgement
    }

    /// Ends the scene: the audit log holds exactly these refusals, as action, subject and detail, in this order.
    #[track_caller]
    fn ends_with(mut self, expected: &[(&str, &str, &str)]) {
        self.serves_on();
        // A drained platform has written everything down.
        self.platform.stop();
        let records = self.platform.audit_log();
        let refused = records.iter().rev().filter(|record| record.event.outcome == "refused").map(|record| {
            let event = &record.event;
            (event.action.as_str(), event.subject.as_str(), event.detail.as_str())
        });
        assert_eq!(refused.collect::<Vec<_>>(), expected);
    }
}
