//! Section 3.2: CONNACK.

use std::time::Duration;

use tesaiot_broker::Config;

use crate::lab::{BOTH, Connect, Lab, V3, V5};

/// 3.1.1: MQTT-3.1.4-4, MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3
/// 5: MQTT-3.1.4-5, MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3
#[tokio::test(start_paused = true)]
async fn session_present_says_whether_there_was_one() {
    for level in BOTH {
        let lab = Lab::new();
        for (connect, expected) in [
            (Connect::lasting(level, "c"), [0, 0]),
            (Connect::lasting(level, "c"), [1, 0]),
            (Connect::new(level, "c"), [0, 0]),
            (Connect::lasting(level, "c"), [0, 0]),
        ] {
            let (client, connack) = lab.connect(&connect).await;
            assert_eq!((connack[0], &connack[2..4]), (0x20, &expected[..]));
            drop(client);
            lab.gone("c").await;
        }
    }
}

/// 3.1.1: MQTT-3.2.2-6
/// 5: MQTT-3.2.2-8
#[tokio::test(start_paused = true)]
async fn a_connack_of_3_1_1_is_two_bytes_and_one_of_5_has_properties() {
    let lab = Lab::new();
    let (_, connack) = lab.connect(&Connect::new(V3, "c")).await;
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let (_, connack) = lab.connect(&Connect::new(V5, "d")).await;
    assert_eq!(usize::from(connack[1]), connack.len() - 2);
    assert_eq!(usize::from(connack[4]), connack.len() - 5);
}

/// 5: MQTT-3.2.0-2, MQTT-3.2.2-9
#[tokio::test(start_paused = true)]
async fn there_is_one_connack_and_it_hides_no_limits() {
    let lab = Lab::with(Config { receive_maximum: 7, max_packet_size: 1000, ..Config::default() });
    let (mut client, connack) = lab.connect(&Connect::new(V5, "c")).await;
    let mut rest = &connack[5..];
    let mut seen = Vec::new();
    while let Some((&kind, value)) = rest.split_first() {
        let size = match kind {
            0x21 | 0x22 | 0x13 => 2,
            0x27 | 0x11 => 4,
            other => panic!("{other:#x}: this broker has no lesser quality, no missing retain, wildcards or shares"),
        };
        seen.push((kind, value[..size].to_vec()));
        rest = &value[size..];
    }
    seen.sort();
    let keep_alive = 3600_u16.to_be_bytes().to_vec();
    let expected = [(0x13, keep_alive), (0x21, vec![0, 7]), (0x22, vec![0, 10]), (0x27, vec![0, 0, 3, 0xE8])];
    assert_eq!(seen, expected);
    client.ping().await;
}

/// 5: MQTT-3.1.2-21
#[tokio::test(start_paused = true)]
async fn the_servers_keep_alive_is_the_one_that_counts() {
    let lab = Lab::with(Config { max_keep_alive: Duration::from_secs(10), ..Config::default() });
    let (mut client, connack) = lab.connect(&Connect { keep_alive: 600, ..Connect::new(V5, "c") }).await;
    assert!(connack.windows(3).any(|window| window == [0x13, 0, 10]));
    let start = tokio::time::Instant::now();
    client.closed(&[0x8D]).await;
    assert_eq!(start.elapsed().as_secs(), 15);
}

/// The expiry that is granted, where it is not the one that was asked for (MQTT 5 section 3.2.2.3.2).
/// 5: MQTT-3.1.2-23
#[tokio::test(start_paused = true)]
async fn a_session_lives_as_long_as_it_was_told() {
    let lab = Lab::with(Config { max_session_expiry: Duration::from_secs(60), ..Config::default() });
    let never = Connect { flags: 0, ..Connect::new(V5, "c") }.with(&[0x11, 0xFF, 0xFF, 0xFF, 0xFF]);
    let (client, connack) = lab.connect(&never).await;
    assert!(connack.windows(5).any(|window| window == [0x11, 0, 0, 0, 60]));
    drop(client);
    tokio::time::sleep(Duration::from_secs(50)).await;
    let (client, connack) = lab.connect(&never).await;
    assert_eq!(connack[2], 1);
    drop(client);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(lab.connect(&never).await.1[2], 0);
}
