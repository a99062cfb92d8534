//! A platform that is asked to end: it acknowledges what it has stored, says goodbye, and forgets nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tesaiot_mqtt::Version;
use tesaiot_mqtt::client::Lost;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tokio::runtime::Runtime;

use crate::support::load::Run;
use crate::support::platform_process::PlatformProcess;
use crate::support::wait_until;
use crate::support::wire::Wire;

/// Devices publish as fast as they can; the platform gets `signal` in the middle of it.
fn drains(signal: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let runtime = Runtime::new().expect("a runtime");
    let platform = PlatformProcess::start(&data);
    let versions = [("version-3", Version::V3), ("version-5", Version::V5)];
    let clients = versions.map(|(id, version)| {
        let device = platform.device(id, "mtls", directory.path());
        let counter = Arc::new(AtomicU64::new(0));
        let run = Run { device: device.clone(), version, window: 50, number: 0, again: Vec::new(), next: 0 };
        let run = runtime.spawn(run.publish(platform.mqtt(), Arc::clone(&counter)));
        (device, version, counter, run)
    });
    let busy = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 200;
    wait_until("load", || clients.iter().all(|(_, _, counter, _)| busy(counter)).then_some(()));
    let outcome = platform.stop(signal);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");

    let platform = PlatformProcess::start(&data);
    for (device, version, _, run) in clients {
        let report = runtime.block_on(run).expect("a client does not panic");
        match (version, &report.lost) {
            (Version::V5, Some(Lost::ByBroker(DisconnectReasonCode::ServerShuttingDown))) => {}
            // 3.1.1 has no word for it.
            (Version::V3, Some(Lost::Link(_))) => {}
            (_, other) => panic!("{version} heard {other:?}"),
        }
        let path = format!("/devices/{}/telemetry?metric=n&limit=100000", device.id());
        let answer = platform.operator().get(&path).expect(200);
        let points = answer["points"].as_array().expect("points");
        let stored: Vec<u64> = points.iter().filter_map(|point| point["value"].as_u64()).collect();
        let acknowledged = report.acknowledged.len();
        // A drain acknowledges in order: what is stored beyond is what it read and could no longer tell.
        assert_eq!(stored[..acknowledged], report.acknowledged[..], "everything acknowledged is stored, once");
        let gaps = platform.operator().get(&format!("/devices/{}/gaps", device.id())).expect(200);
        assert_eq!(gaps["boots"][0]["missing"], serde_json::json!([]));
    }
}

#[test]
fn sigterm_loses_nothing_and_exits_with_0() {
    drains("TERM");
}

#[test]
fn sigint_loses_nothing_and_exits_with_0() {
    drains("INT");
}

#[test]
fn idle_sessions_are_told_and_do_not_delay_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let platform = PlatformProcess::start(&directory.path().join("data"));
    let [one, other] = ["version-3", "version-5"].map(|id| platform.device(id, "server-tls", directory.path()));
    let mut version_3 = Wire::login(platform.mqtt_tls(), &one, Version::V3);
    let mut version_5 = Wire::login(platform.mqtt_tls(), &other, Version::V5);
    // Somebody who has not said who he is, and somebody who has not even spoken TLS.
    let mut mute = Wire::tls(platform.mqtt_tls(), one.tls(), Version::V3).expect("TLS");
    let _silent = Wire::tcp(platform.mqtt());
    assert_eq!(platform.stop("TERM").code, Some(0));
    version_3.expect_closed(0);
    version_5.expect_closed(0x8b);
    assert!(mute.rest().is_empty());
}
