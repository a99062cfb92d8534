//! Sections 3.1.2.4, 3.1.2.11.2 and 4.1: sessions.

use std::time::Duration;

use crate::lab::{BOTH, CLEAN, Connect, Lab, V3, V5};

/// 3.1.1: MQTT-3.1.2-4, MQTT-3.1.4-3, MQTT-4.1.0-1
/// 5: MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.2-23, MQTT-3.1.4-4
#[tokio::test(start_paused = true)]
async fn a_session_that_lasts_is_resumed() {
    for (before, after) in [(V3, V3), (V5, V5), (V3, V5), (V5, V3)] {
        let lab = Lab::new();
        let (mut client, present) = lab.lasting(before, "c").await;
        assert!(!present);
        client.subscribe(&[("t", 1)]).await;
        drop(client);
        lab.gone("c").await;
        let (mut client, present) = lab.lasting(after, "c").await;
        assert!(present);
        lab.say("t", 1);
        assert_eq!(client.publish().await.qos(), 1);
    }
}

/// 3.1.1: MQTT-3.1.2-6
/// 5: MQTT-3.1.2-4
#[tokio::test(start_paused = true)]
async fn a_clean_start_forgets_the_session() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("#", 1)]).await;
        lab.say("t", 1);
        client.publish().await;
        drop(client);
        lab.gone("c").await;
        lab.say("t", 1);
        let mut client = lab.client(level, "c").await;
        lab.say("t", 1);
        client.silent().await;
        drop(client);
        lab.gone("c").await;
        assert!(!lab.lasting(level, "c").await.1, "nor is it kept");
    }
}

/// 3.1.1: MQTT-4.1.0-2
/// 5: MQTT-4.1.0-1, MQTT-4.1.0-2
#[tokio::test(start_paused = true)]
async fn a_session_lives_while_connected_and_for_its_expiry() {
    for (expiry, wait, expected) in [(30_u32, 20, true), (30, 40, false), (0, 0, false), (u32::MAX, 3600, true)] {
        let lab = Lab::new();
        let given = [&[0x11][..], &expiry.to_be_bytes()].concat();
        let connect = Connect { flags: 0, ..Connect::new(V5, "c") }.with(&given);
        let (mut client, _) = lab.connect(&connect).await;
        client.subscribe(&[("t", 1)]).await;
        // Longer than the expiry, but connected.
        tokio::time::sleep(Duration::from_secs(100)).await;
        lab.say("t", 1);
        client.publish().await;
        drop(client);
        lab.gone("c").await;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let (_, connack) = lab.connect(&connect).await;
        assert_eq!(connack[2] == 1, expected, "{expiry}");
    }
    // Absent is 0.
    let lab = Lab::new();
    let absent = Connect { flags: 0, ..Connect::new(V5, "c") };
    drop(lab.connect(&absent).await);
    lab.gone("c").await;
    assert_eq!(lab.connect(&absent).await.1[2], 0);
}

/// A clean start of MQTT 5 begins a session that may last.
/// 5: MQTT-3.1.2-4, MQTT-3.2.2-2
#[tokio::test(start_paused = true)]
async fn a_clean_start_may_begin_a_session_that_lasts() {
    let lab = Lab::new();
    let connect = Connect { flags: CLEAN, ..Connect::lasting(V5, "c") };
    let (client, connack) = lab.connect(&connect).await;
    assert_eq!(connack[2], 0);
    drop(client);
    lab.gone("c").await;
    assert!(lab.lasting(V5, "c").await.1);
}
