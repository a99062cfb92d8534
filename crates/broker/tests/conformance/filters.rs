//! Section 4.7: topic names and topic filters.

use crate::lab::{BOTH, Lab, V5};

/// 3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1
/// 5: MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1
#[tokio::test(start_paused = true)]
async fn wildcards_stand_alone_and_the_last_one_last() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let good = ["#", "+", "a/#", "+/a", "a/+/b", "+/+/#", "/", "/#", "a//+"];
        for filter in good {
            assert_eq!(client.subscribe(&[(filter, 0)]).await, [0], "{filter}");
        }
        let refused = if level == V5 { 0x8F } else { 0x80 };
        for filter in ["a#", "a/#/b", "#/a", "a+", "+a", "a/b+/c", "##", "a/##"] {
            assert_eq!(client.subscribe(&[(filter, 0)]).await, [refused], "{filter}");
        }
    }
}

/// The examples of section 4.7.1.
/// 3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3
/// 5: MQTT-4.7.1-1, MQTT-4.7.1-2
#[tokio::test(start_paused = true)]
async fn wildcards_match_as_in_the_examples() {
    for level in BOTH {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
        ] {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.subscribe(&[(filter, 0)]).await;
            lab.say(topic, 0);
            if expected {
                assert_eq!(client.publish().await.topic, topic, "{filter}");
            }
            client.silent().await;
        }
    }
}

/// 3.1.1: MQTT-4.7.2-1
/// 5: MQTT-4.7.2-1
#[tokio::test(start_paused = true)]
async fn wildcards_do_not_match_topics_of_the_server() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("#", 0), ("+/monitor/Clients", 0), ("+/#", 0)]).await;
        for topic in ["$SYS/monitor/Clients", "$SYS", "$any/thing"] {
            lab.say(topic, 0);
        }
        client.silent().await;
        client.subscribe(&[("$SYS/#", 0), ("$SYS/monitor/+", 0)]).await;
        lab.say("$SYS/monitor/Clients", 0);
        assert_eq!(client.publish().await.topic, "$SYS/monitor/Clients");
        client.silent().await;
        // Retained ones neither.
        lab.broker.publish(&tesaiot_mqtt::Message::new("$SYS/kept", "m", tesaiot_mqtt::QoS::AtMostOnce).retained());
        client.publish().await;
        client.subscribe(&[("#", 0), ("+/kept", 0)]).await;
        client.silent().await;
    }
}

/// 3.1.1: MQTT-4.7.3-3
/// 5: MQTT-4.7.3-3
#[tokio::test(start_paused = true)]
async fn the_longest_name_is_a_name() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let longest = "x".repeat(65_535);
        client.subscribe(&[(&longest, 0)]).await;
        client.say(0, 0, &longest, b"m").await;
        assert_eq!(client.publish().await.topic, longest);
    }
}
