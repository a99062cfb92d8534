//! Limits of the client: Maximum Packet Size, Topic Alias Maximum, Receive Maximum.

use crate::lab::{Connect, Lab, V5, packet, text};

fn at_most(size: u32, given: &[u8]) -> Connect {
    Connect::new(V5, "c").with(&[&[0x27][..], &size.to_be_bytes(), given].concat())
}

/// 5: MQTT-3.1.2-24, MQTT-3.1.2-25
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_that_is_larger_than_the_client_takes() {
    let lab = Lab::new();
    let (mut client, _) = lab.connect(&at_most(40, &[])).await;
    client.subscribe(&[("#", 1)]).await;
    // 1 + 1 + (2 + 1) + 2 + 1 + payload: 40 bytes with a payload of 32, two more without an identifier.
    let mut publisher = lab.client(V5, "p").await;
    for size in [33, 32, 31] {
        publisher.say(0, 0, "t", &vec![b'x'; size]).await;
        publisher.say(2, 1, "t", &vec![b'y'; size]).await;
        publisher.acknowledged(0x40, 1).await;
    }
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let publish = client.publish().await;
        sizes.push((publish.qos(), publish.payload.len()));
    }
    assert_eq!(sizes, [(0, 33), (0, 32), (1, 32), (0, 31), (1, 31)]);
    client.silent().await;
    assert_eq!(lab.broker.counters().messages_dropped, 1);
}

/// 5: MQTT-3.2.2-19, MQTT-3.4.2-2, MQTT-3.5.2-2, MQTT-3.9.2-1, MQTT-3.14.2-3
#[tokio::test(start_paused = true)]
async fn reasons_in_words_are_left_out_where_they_do_not_fit() {
    let lab = Lab::new();
    let (mut client, connack) = lab.connect(&at_most(22, &[])).await;
    assert!(connack.len() <= 22, "{connack:02x?}");
    client.say(2, 1, "denied/t", b"").await;
    client.expect_code(0x40, 1, 0x87).await;
    client.say(4, 2, "denied/t", b"").await;
    client.expect_code(0x50, 2, 0x87).await;
    assert_eq!(client.subscribe(&[("denied/t", 0)]).await, [0x87]);
    client.send(&[0xD0, 0]).await;
    let goodbye = client.packet().await.unwrap();
    assert!(goodbye[2] == 0x82 && goodbye.len() <= 22);
    let refused = at_most(20, &[]).with_will(0, &[]);
    let refused = Connect { payload: [text("c"), vec![0], text("denied/t"), text("m")].concat(), ..refused };
    let (_, connack) = lab.connect(&refused).await;
    assert!(connack[3] == 0x87 && connack.len() <= 20, "{connack:02x?}");
}

/// 5: MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11
#[tokio::test(start_paused = true)]
async fn aliases_of_the_server_keep_to_the_maximum_of_the_client() {
    for (given, maximum) in [(&[][..], 0), (&[0x22, 0, 0], 0), (&[0x22, 0, 1], 1), (&[0x22, 0, 3], 3)] {
        let lab = Lab::new();
        let (mut client, _) = lab.connect(&Connect::new(V5, "c").with(given)).await;
        client.subscribe(&[("#", 0)]).await;
        let mut known = std::collections::HashMap::new();
        for number in 0..20 {
            let name = format!("t/{}", number % 5);
            lab.say(&name, 0);
            let publish = client.publish().await;
            match publish.properties[..] {
                [] => assert_eq!(publish.topic, name),
                [0x23, high, low] => {
                    let alias = u16::from_be_bytes([high, low]);
                    assert!((1..=maximum).contains(&alias));
                    if !publish.topic.is_empty() {
                        known.insert(alias, publish.topic);
                    }
                    assert_eq!(known[&alias], name);
                }
                ref other => panic!("{other:02x?}"),
            }
        }
        assert_eq!(known.len(), usize::from(maximum));
    }
}

/// 5: MQTT-3.3.2-7
#[tokio::test(start_paused = true)]
async fn aliases_end_with_their_connection() {
    let lab = Lab::new();
    let aliasing = Connect::lasting(V5, "c").with(&[0x22, 0, 5]);
    let (mut client, _) = lab.connect(&aliasing).await;
    client.subscribe(&[("t", 1)]).await;
    client.say_with(0, 0, "t", &[0x23, 0, 1], b"1").await;
    assert_eq!(client.publish().await.topic, "t");
    drop(client);
    lab.gone("c").await;
    let (mut client, connack) = lab.connect(&aliasing).await;
    assert_eq!(connack[2], 1);
    lab.say("t", 0);
    assert_eq!(client.publish().await.topic, "t", "named anew");
    client.say_with(0, 0, "", &[0x23, 0, 1], b"2").await;
    client.closed(&[0x82]).await;
}

/// 5: MQTT-3.3.2-12
#[tokio::test(start_paused = true)]
async fn every_alias_up_to_the_maximum_is_taken() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.subscribe(&[("#", 0)]).await;
    for alias in 1..=10_u8 {
        let name = format!("t/{alias}");
        client.say_with(0, 0, &name, &[0x23, 0, alias], b"").await;
        client.say_with(0, 0, "", &[0x23, 0, alias], b"").await;
        for _ in 0..2 {
            assert_eq!(client.publish().await.topic, name);
        }
    }
    // And none beyond it, none of zero, and none that was never set.
    for (alias, name, reason) in [(11, "t", 0x94), (0, "t", 0x81), (1, "", 0x82)] {
        let mut client = lab.client(V5, "d").await;
        client.say_with(0, 0, name, &[0x23, 0, alias], b"").await;
        client.closed(&[reason]).await;
    }
}

/// 5: MQTT-3.3.4-9, MQTT-4.9.0-1, MQTT-4.9.0-2
#[tokio::test(start_paused = true)]
async fn the_server_sends_no_more_than_the_client_takes_at_a_time() {
    let lab = Lab::new();
    let (mut client, _) = lab.connect(&Connect::new(V5, "c").with(&[0x21, 0, 2])).await;
    client.subscribe(&[("t", 2)]).await;
    for qos in [1, 2, 1, 2] {
        lab.say("t", qos);
    }
    let first = client.publish().await;
    let second = client.publish().await;
    client.silent().await;
    client.acknowledge(0x40, first.id).await;
    let third = client.publish().await;
    // PUBREC does not free a place, PUBCOMP does, and PUBREC with a refusal.
    client.acknowledge(0x50, second.id).await;
    client.acknowledged(0x62, second.id).await;
    client.silent().await;
    client.acknowledge(0x70, second.id).await;
    let fourth = client.publish().await;
    lab.say("t", 1);
    client.silent().await;
    client.send(&packet(0x50, &[&fourth.id.to_be_bytes(), &[0x80]])).await;
    client.publish().await;
    client.acknowledge(0x40, third.id).await;
    client.silent().await;
}

/// 5: MQTT-3.3.4-10, MQTT-4.9.0-3
#[tokio::test(start_paused = true)]
async fn a_full_window_holds_up_nothing_but_messages() {
    let lab = Lab::new();
    let (mut client, _) = lab.connect(&Connect::new(V5, "c").with(&[0x21, 0, 1])).await;
    client.subscribe(&[("t", 1)]).await;
    lab.say("t", 1);
    lab.say("t", 1);
    client.publish().await;
    client.ping().await;
    client.say(2, 1, "other", b"").await;
    client.acknowledged(0x40, 1).await;
    client.say(4, 2, "other", b"").await;
    client.acknowledged(0x50, 2).await;
    client.acknowledge(0x62, 2).await;
    client.acknowledged(0x70, 2).await;
    assert_eq!(client.subscribe(&[("more", 0)]).await, [0]);
    lab.say("more", 0);
    client.silent().await;
}
