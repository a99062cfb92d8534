//! What clients of the broker may take: the platform's defaults, and what is wrong with other numbers.

use std::time::Duration;

use tesaiot_broker::{Config, Rate};

/// Bounds that hurt no device in order and stop one that runs wild. A device that delivers what it kept for weeks has two
/// million messages at full speed; beyond that it is held back for minutes before it is let go, and loses nothing.
pub(super) fn defaults(announcements: Vec<(String, String)>) -> Config {
    Config {
        publish_rate: Some(Rate { per_second: 20_000, burst: 2_000_000 }),
        publish_bytes_rate: Some(Rate { per_second: 20_000_000, burst: 1_000_000_000 }),
        publish_patience: Duration::from_secs(300),
        announcements,
        ..Config::default()
    }
}

/// Everything that is wrong with them, in words for the operator.
pub(super) fn mistakes(config: &Config) -> Vec<String> {
    const SECOND: Duration = Duration::from_secs(1);
    let rates = [
        ("the publish rate", config.publish_rate),
        ("the publish rate in bytes", config.publish_bytes_rate),
        ("the rate of connections of an address", config.connect_rate_per_address),
        ("the rate of connections of a device", config.connect_rate_per_client),
        ("the rate of failed logins", config.failed_login_rate_per_address),
    ];
    let rates = rates.into_iter().filter(|(_, rate)| rate.is_some_and(|rate| rate.per_second == 0 || rate.burst == 0));
    let mut mistakes: Vec<String> =
        rates.map(|(name, _)| format!("{name} is at least 1/s, and 1 at once; or there is none")).collect();
    let counts = [
        ("connections", config.max_connections),
        ("connections of one address", config.max_connections_per_address),
        ("TLS handshakes", config.max_handshakes),
        ("messages that wait for a subscriber", config.max_queued),
        ("messages that may be unacknowledged", config.receive_maximum.into()),
    ];
    let none = counts.into_iter().filter(|(_, count)| *count == 0);
    mistakes.extend(none.map(|(name, _)| format!("there are at least 1 of these: {name}")));
    if config.max_connections_per_address > config.max_connections {
        mistakes.push("one address may have more connections than all together".into());
    }
    if config.max_retained_per_client > config.max_retained
        || config.max_retained_bytes_per_client > config.max_retained_bytes
    {
        let (messages, bytes) = (config.max_retained, config.max_retained_bytes / 1_000_000);
        mistakes.push(format!(
            "one device may have more retained than all together, which is {messages} messages and {bytes}MB"
        ));
    }
    if !(SECOND..=300 * SECOND).contains(&config.handshake_timeout) {
        mistakes.push("a handshake gets between 1s and 5m".into());
    }
    if config.publish_patience < SECOND {
        mistakes.push("the patience with a device that publishes too much is at least 1s".into());
    }
    if !(64_000..=256 * 1024 * 1024).contains(&config.max_packet_size) {
        mistakes.push("the largest MQTT packet is between 64kB and 268MB".into());
    }
    if config.max_queued_bytes < 64_000 || config.max_stored_bytes < config.max_queued_bytes {
        mistakes.push("what waits for one subscriber is at least 64kB, and for all sessions at least as much".into());
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_every_mistake_is_said() {
        let good = defaults(Vec::new());
        assert_eq!(mistakes(&good), Vec::<String>::new());
        let none = Config { publish_rate: None, connect_rate_per_address: None, ..good.clone() };
        assert_eq!(mistakes(&none), Vec::<String>::new());
        let bad = Config {
            publish_rate: Some(Rate { per_second: 0, burst: 1 }),
            max_connections: 0,
            max_retained_per_client: usize::MAX,
            handshake_timeout: Duration::ZERO,
            publish_patience: Duration::ZERO,
            max_packet_size: 10,
            max_queued_bytes: 0,
            ..good
        };
        assert_eq!(mistakes(&bad).len(), 8, "{:#?}", mistakes(&bad));
    }
}
