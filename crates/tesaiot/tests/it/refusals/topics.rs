//! Topics of others. What a device may do follows from who it is.

use serde_json::json;
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::Scene;
use crate::support::PATIENCE;
use crate::support::process::run;
use crate::support::wire::{Connect, VERSIONS, Wire, packet};

/// What `pump` may not publish to. The first ones begin with its own id.
const FOREIGN: [&str; 6] = [
    "device/pump-7/telemetry",
    "devices/pump-7/status",
    "device/valve/telemetry",
    "device/pump/commands/blink",
    "device/pump",
    "$SYS/broker",
];

/// What `pump` may not subscribe to.
const FOREIGN_FILTERS: [&str; 7] =
    ["#", "device/#", "device/+/telemetry", "device/pump-7/#", "device/valve/#", "$SYS/#", "$share/g/device/pump-7/#"];

#[test]
fn publishing_to_a_topic_of_another_is_refused() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump", AuthMode::Mtls);
    let victim = scene.platform.device("pump-7", AuthMode::Mtls);
    for topic in FOREIGN {
        // 3.1.1 has no word for it: the connection is closed, without an acknowledgement.
        let mut wire = Wire::login(scene.platform.mqtt(), &device, Version::V3);
        wire.publish(1, topic, br#"{"t":1}"#);
        wire.expect_closed(0);
        // 5 has one, and the connection goes on.
        let mut wire = Wire::login(scene.platform.mqtt(), &device, Version::V5);
        assert_eq!(wire.acknowledged(1, topic, br#"{"t":1}"#), 0x87, "{topic}");
        assert_eq!(wire.acknowledged(2, &device.topic("telemetry"), br#"{"t":2}"#), 0, "{topic}");
        // QoS 0 has no acknowledgement to say it with.
        let unacknowledged = [&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes(), &[0], b"{}"].concat();
        wire.send(&packet(0x30, &unacknowledged));
        wire.expect_closed(0x87);
    }
    scene.serves_on();
    assert_eq!(scene.platform.counter("denied"), 3 * FOREIGN.len() as u64);
    let latest = scene.platform.operator().get("/devices/pump-7/telemetry/latest").expect(200);
    assert_eq!(latest["latest"], json!([]), "nothing reached the other device");
    assert!(scene.platform.messages(&victim).is_empty() && scene.platform.messages(&device).is_empty());
    scene.ends_with(&FOREIGN.map(|topic| ("topic.publish", topic, "not a topic of this device")));
}

#[test]
fn subscribing_to_topics_of_others_is_refused() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump", AuthMode::Mtls);
    for (version, not_authorized) in VERSIONS.into_iter().zip([0x80, 0x87]) {
        let mut wire = Wire::login(scene.platform.mqtt(), &device, version);
        for filter in FOREIGN_FILTERS {
            let granted = wire.subscribed(1, filter);
            assert_eq!(granted, not_authorized, "{filter}");
        }
        // The connection is as good as before.
        for filter in ["device/pump/commands/#", "devices/pump/config/#", "$share/g/device/pump/commands/#"] {
            assert_eq!(wire.subscribed(2, filter), 1, "{filter}");
        }
        assert_eq!(wire.acknowledged(3, &device.topic("telemetry"), br#"{"t":1}"#), 0);
    }
    scene.serves_on();
    assert_eq!(scene.platform.counter("denied"), 2 * FOREIGN_FILTERS.len() as u64);
    scene.ends_with(&FOREIGN_FILTERS.map(|filter| ("topic.subscribe", filter, "not a topic of this device")));
}

#[test]
fn nothing_of_another_device_reaches_a_subscriber() {
    let scene = Scene::start();
    let eavesdropper = scene.platform.device("pump", AuthMode::Mtls);
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let mut listening = Wire::login(scene.platform.mqtt(), &eavesdropper, Version::V5);
    for filter in FOREIGN_FILTERS {
        assert!(listening.subscribed(1, filter) >= 0x80);
    }
    assert_eq!(listening.subscribed(2, "device/pump/#"), 1);
    let mut wire = Wire::login(scene.platform.mqtt(), &device, Version::V5);
    assert_eq!(wire.acknowledged(1, "device/pump-7/telemetry", br#"{"t":1}"#), 0);
    // Its own message is the first and only one that comes.
    listening.publish(7, "device/pump/events/own", b"mine");
    let (mut acknowledged, mut received) = (false, Vec::new());
    while !acknowledged || received.is_empty() {
        let packet = listening.packet();
        if packet[0] == 0x40 { acknowledged = true } else { received.push(packet) }
    }
    assert!(received.len() == 1 && received[0].ends_with(b"mine"), "{received:02x?}");
}

#[test]
fn a_last_will_on_a_topic_of_another_is_refused_at_connect() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump", AuthMode::Mtls);
    for (version, not_authorized) in VERSIONS.into_iter().zip([5, 0x87]) {
        for topic in FOREIGN {
            let connect = Connect { will: Some((topic, "gone")), ..Connect::of(version, &device) };
            let acknowledgement = scene.connack(&device, &connect);
            assert_eq!(acknowledgement[3], not_authorized, "{topic}: {acknowledgement:02x?}");
        }
        // On its own topic it may.
        let connect = Connect { will: Some(("device/pump/status", "gone")), ..Connect::of(version, &device) };
        Wire::session(scene.platform.mqtt(), &device, &connect);
    }
    scene.serves_on();
    assert_eq!(scene.platform.counter("connects_refused"), 2 * FOREIGN.len() as u64);
    // Each is named twice: which topic, and that the connection was refused for it.
    let topics = FOREIGN.map(|topic| ("topic.publish", topic, "not a topic of this device"));
    let mut expected = topics.to_vec();
    expected.insert(1, ("mqtt.connect", "pump", "Last Will on a topic of another"));
    scene.ends_with(&expected);
}

#[test]
fn mosquitto_is_told_as_well() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump", AuthMode::Mtls);
    let publish = |flags: &[&str]| {
        let mut command = device.mosquitto("mosquitto_pub");
        run(command.args(["-q", "1", "-m", "{\"t\":1}"]).args(flags), PATIENCE)
    };
    let outcome = publish(&["-V", "mqttv5", "-t", "device/pump-7/telemetry"]);
    assert!(outcome.stderr.contains("Not authorized"), "{outcome:#?}");
    let will = ["--will-topic", "device/pump-7/status", "--will-payload", "gone"];
    let outcome = publish(&[&["-t", "device/pump/telemetry"][..], &will].concat());
    assert!(outcome.code != Some(0) && outcome.stderr.contains("not authorised"), "{outcome:#?}");
    scene.serves_on();
}

/// What the platform keeps aside reaches nobody, at whatever quality of service it was published.
#[test]
fn a_message_that_is_no_telemetry_reaches_no_subscriber() {
    let scene = Scene::start();
    let device = scene.platform.device("pump", AuthMode::Mtls);
    let mut wire = Wire::login(scene.platform.mqtt(), &device, Version::V3);
    assert_eq!(wire.subscribed(1, "device/pump/#"), 1);
    let topic = device.topic("telemetry");
    let said =
        |payload: &[u8]| packet(0x30, &[&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes(), payload].concat());
    wire.send(&said(b"no telemetry"));
    wire.publish(2, &topic, b"none either");
    wire.send(&said(b"{\"t\":1}"));
    // In either order: QoS 0 waits for nobody.
    let mut came = [wire.packet(), wire.packet()];
    came.sort_by_key(|packet| packet[0]);
    assert!(came[0].ends_with(b"{\"t\":1}") && came[1][0] == 0x40, "{came:02x?}");
    assert_eq!(scene.platform.operator().get("/dead-letters").expect(200)["total"], 2);
}
