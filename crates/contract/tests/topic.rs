//! The topics of section 3 of the wire contract, and the access rule that follows from the identity.
#![allow(clippy::unwrap_used, reason = "a test panics to fail")]

use proptest::prelude::*;
use tesaiot_contract::topic::{CommandName, InvalidPath, InvalidTopic, MAX_PATH_BYTES, TopicBase, TopicPath};
use tesaiot_contract::topic::{may_publish, may_subscribe};
use tesaiot_contract::{DeviceId, DeviceTopic, TelemetryType, TopicKind};

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn path(levels: &str) -> TopicPath {
    TopicPath::new(levels).unwrap()
}

/// Every row of the table, with its direction.
fn table() -> Vec<(&'static str, TopicKind, bool)> {
    let name = CommandName::new("reboot").unwrap();
    vec![
        ("telemetry", TopicKind::Telemetry(None), true),
        ("telemetry/vitals", TopicKind::Telemetry(Some(TelemetryType::new("vitals").unwrap())), true),
        ("telemetry/ward/3/bed", TopicKind::Telemetry(Some(TelemetryType::new("ward/3/bed").unwrap())), true),
        ("status", TopicKind::Status, true),
        ("events", TopicKind::Events(None), true),
        ("events/door/open", TopicKind::Events(Some(path("door/open"))), true),
        ("commands", TopicKind::Commands(None), false),
        ("commands/reboot", TopicKind::Commands(Some(path("reboot"))), false),
        ("commands/a/b", TopicKind::Commands(Some(path("a/b"))), false),
        ("commands/a/b/response", TopicKind::Commands(Some(path("a/b/response"))), false),
        ("commands/response", TopicKind::Commands(Some(path("response"))), false),
        ("commands/reboot/response", TopicKind::CommandResponse { name }, true),
        ("commands/ack", TopicKind::CommandAck, true),
        ("commands/csr", TopicKind::CommandSigningRequest, true),
        ("commands/certificate", TopicKind::CommandCertificate, false),
        ("config", TopicKind::Config(None), false),
        ("config/network", TopicKind::Config(Some(path("network"))), false),
        ("receipts", TopicKind::Receipts, false),
    ]
}

#[test]
fn every_topic_of_the_table_parses_prints_and_has_its_direction() {
    let id = device("pump-1");
    for (base_name, base) in [("device", TopicBase::Device), ("devices", TopicBase::Devices)] {
        for (levels, kind, published) in table() {
            let topic = format!("{base_name}/pump-1/{levels}");
            let parsed = DeviceTopic::parse(&topic).unwrap();
            assert_eq!(parsed, DeviceTopic { device: id.clone(), base, kind }, "{topic}");
            assert_eq!(parsed.to_string(), topic);
            assert_eq!(parsed.is_published_by_device(), published, "{topic}");
            assert_eq!(may_publish(&id, &topic), published, "{topic}");
            assert!(may_subscribe(&id, &topic), "{topic}");
        }
    }
}

#[test]
fn constructors_make_the_topics_of_the_table() {
    let id = device("pump-1");
    let name = CommandName::new("reboot").unwrap();
    for (topic, text) in [
        (DeviceTopic::telemetry(&id, None), "device/pump-1/telemetry"),
        (DeviceTopic::telemetry(&id, Some(TelemetryType::new("a/b").unwrap())), "device/pump-1/telemetry/a/b"),
        (DeviceTopic::status(&id), "device/pump-1/status"),
        (DeviceTopic::events(&id, Some(path("door"))), "device/pump-1/events/door"),
        (DeviceTopic::command(&id, &name), "device/pump-1/commands/reboot"),
        (DeviceTopic::command_response(&id, name.clone()), "device/pump-1/commands/reboot/response"),
        (DeviceTopic::command_ack(&id), "device/pump-1/commands/ack"),
        (DeviceTopic::command_signing_request(&id), "device/pump-1/commands/csr"),
        (DeviceTopic::command_certificate(&id), "device/pump-1/commands/certificate"),
        (DeviceTopic::config(&id, None), "device/pump-1/config"),
        (DeviceTopic::receipts(&id), "device/pump-1/receipts"),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(DeviceTopic::parse(text).unwrap(), topic);
    }
    assert_eq!(DeviceTopic::commands_filter(&id), "device/pump-1/commands/#");
    assert_eq!(DeviceTopic::config_filter(&id), "device/pump-1/config/#");
}

#[test]
fn other_topics_are_refused_with_the_reason() {
    let parse = |topic: &str| DeviceTopic::parse(topic).unwrap_err();
    for topic in ["", "device", "Device/pump-1/status", "/device/pump-1/status", "$SYS/broker", "sensor/pump-1/status"]
    {
        assert_eq!(parse(topic), InvalidTopic::Base, "{topic:?}");
    }
    for topic in ["device/", "device//status", "device/ab/status", "device/+/status", "device/pump 1/status"] {
        assert!(matches!(parse(topic), InvalidTopic::Device(_)), "{topic:?}");
    }
    for topic in
        ["device/pump-1", "device/pump-1/", "device/pump-1/Status", "device/pump-1/status/x", "device/pump-1/x"]
    {
        assert_eq!(parse(topic), InvalidTopic::Kind, "{topic:?}");
    }
    for topic in ["telemetry/", "telemetry//a", "telemetry/a/", "events/a//b", "commands/", "config/"] {
        assert_eq!(parse(&format!("device/pump-1/{topic}")), InvalidTopic::Path(InvalidPath::EmptyLevel), "{topic:?}");
    }
    for topic in ["telemetry/+", "telemetry/a#", "events/#", "commands/a\0", "telemetry/a\n"] {
        let error = parse(&format!("device/pump-1/{topic}"));
        assert!(matches!(error, InvalidTopic::Path(InvalidPath::Character(_))), "{topic:?}");
    }
}

#[test]
fn the_free_part_of_a_topic_is_bounded() {
    let longest = "x".repeat(MAX_PATH_BYTES);
    assert!(TelemetryType::new(&longest).is_ok());
    assert_eq!(TelemetryType::new(longest + "x"), Err(InvalidPath::Length(MAX_PATH_BYTES + 1)));
}

#[test]
fn a_command_cannot_take_a_name_that_means_something_else() {
    for name in ["ack", "csr", "certificate"] {
        assert_eq!(CommandName::new(name), Err(InvalidPath::Reserved));
        let topic = format!("device/pump-1/commands/{name}/response");
        assert!(!may_publish(&device("pump-1"), &topic), "{topic}");
    }
    assert_eq!(CommandName::new("a/b"), Err(InvalidPath::SeveralLevels));
}

#[test]
fn a_device_publishes_on_its_own_topics_only() {
    let id = device("pump-1");
    for topic in [
        "device/pump-10/status",
        "device/pump-/status",
        "device/pump-/1/status",
        "device/Pump-1/status",
        "device/other/telemetry",
        "device/pump-1",
        "device/pump-1/anything",
        "device/pump-1/telemetry/#",
        "device/+/telemetry",
        "$share/g/device/pump-1/telemetry",
        "$SYS/device/pump-1/status",
    ] {
        assert!(!may_publish(&id, topic), "{topic}");
    }
}

#[test]
fn a_device_subscribes_under_its_own_id_only() {
    let id = device("pump-1");
    for filter in ["#", "+/#", "commands/#", "commands/+/response", "telemetry/+", "config", "/x"] {
        for base in ["device", "devices"] {
            let filter = format!("{base}/pump-1/{filter}");
            assert!(may_subscribe(&id, &filter), "{filter}");
        }
    }
    for filter in [
        "",
        "#",
        "+/pump-1/#",
        "device/#",
        "device/+/commands/#",
        "device/pump-1",
        "device/pump-1/",
        "device/pump-1#",
        "device/pump-10/#",
        "device/pump/#",
        "devic+/pump-1/#",
        "device/pump-1/commands/#/x",
        "device/pump-1/commands#",
        "device/pump-1/a+/b",
        "device/pump-1/##",
        "device/pump-1/a\0",
        "$share/group/device/pump-1/#",
        "$SYS/#",
    ] {
        assert!(!may_subscribe(&id, filter), "{filter:?}");
    }
    assert!(!may_subscribe(&id, &format!("device/pump-1/{}", "x".repeat(65_535))));
}

fn any_topic() -> impl Strategy<Value = String> {
    let level = "[a-z+#]{0,3}|device|devices|pump-1|telemetry|status|events|commands|ack|csr|response|config|receipts";
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(level, 0..6).prop_map(|levels| levels.join("/")),
        ("devices?", "[A-Za-z0-9_-]{3,64}", "telemetry|events|commands|config", "[^+#/\\x00-\\x1f\\x7f]{1,20}")
            .prop_map(|(base, id, kind, rest)| format!("{base}/{id}/{kind}/{rest}")),
        ("(telemetry|events|commands|config)(/[a-z]{1,3}){0,3}|status|receipts|commands/[a-z]{1,8}/response")
            .prop_map(|levels| format!("device/pump-1/{levels}")),
    ]
}

proptest! {
    #[test]
    fn print_then_parse_is_identity(topic in any_topic()) {
        if let Ok(parsed) = DeviceTopic::parse(&topic) {
            prop_assert_eq!(parsed.to_string(), topic.as_str());
            prop_assert_eq!(DeviceTopic::parse(&topic).unwrap(), parsed);
        }
    }

    #[test]
    fn the_access_rule_says_what_the_parser_says(topic in any_topic()) {
        let id = device("pump-1");
        let parsed = DeviceTopic::parse(&topic).is_ok_and(|topic| topic.device == id && topic.is_published_by_device());
        prop_assert_eq!(may_publish(&id, &topic), parsed);
    }

    #[test]
    fn a_granted_filter_starts_with_the_device(filter in any_topic()) {
        let id = device("pump-1");
        if may_subscribe(&id, &filter) {
            prop_assert!(filter.starts_with("device/pump-1/") || filter.starts_with("devices/pump-1/"));
        }
    }
}
