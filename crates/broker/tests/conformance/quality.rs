//! Sections 4.3, 4.4 and 4.6: quality of service, delivery again, order.

use crate::lab::{BOTH, Client, Connect, Lab, V5, packet};

async fn absent(lab: &Lab, client: Client) {
    drop(client);
    lab.gone("c").await;
}

/// 3.1.1: MQTT-4.3.2-1
/// 5: MQTT-4.3.2-2, MQTT-4.3.2-3
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_1_is_sent_until_it_is_acknowledged() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("t", 1)]).await;
        lab.say("t", 1);
        let first = client.publish().await;
        assert_eq!((first.qos(), first.is_dup()), (1, false));
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        let again = client.publish().await;
        assert_eq!((again.id, again.is_dup()), (first.id, true));
        client.acknowledge(0x40, first.id).await;
        client.ping().await;
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        client.silent().await;
    }
}

/// 3.1.1: MQTT-4.3.2-2
/// 5: MQTT-4.3.2-4, MQTT-4.3.2-5
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_1_is_acknowledged_once_it_is_owned() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("t", 0)]).await;
        // The same identifier with another message is another message.
        for payload in [b"1", b"2", b"3"] {
            client.say(2, 9, "t", payload).await;
            let both = [client.packet().await.unwrap(), client.packet().await.unwrap()];
            assert!(both.iter().any(|bytes| bytes == &[0x40, 2, 0, 9]));
            assert!(both.iter().any(|bytes| bytes.ends_with(payload) && bytes[0] == 0x30));
        }
        // DUP or not.
        client.say(0x0A, 9, "t", b"4").await;
        let both = [client.packet().await.unwrap(), client.packet().await.unwrap()];
        assert!(both.iter().any(|bytes| bytes.ends_with(b"4") && bytes[0] == 0x30));
    }
}

/// 5: MQTT-3.6.2-1
#[tokio::test(start_paused = true)]
async fn a_pubrec_for_nothing_is_told_so() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.acknowledge(0x50, 77).await;
        client.expect_code(0x62, 77, 0x92).await;
        client.acknowledge(0x70, 77).await;
        client.ping().await;
    }
}

/// 3.1.1: MQTT-4.3.3-1
/// 5: MQTT-4.3.3-2, MQTT-4.3.3-3, MQTT-4.3.3-4, MQTT-4.3.3-5, MQTT-4.3.3-6
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_is_sent_until_pubrec_and_released_until_pubcomp() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("t", 2)]).await;
        lab.say("t", 2);
        let first = client.publish().await;
        assert_eq!((first.qos(), first.is_dup()), (2, false));
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        let again = client.publish().await;
        assert_eq!((again.id, again.is_dup()), (first.id, true));
        for _ in 0..2 {
            // The answer to a PUBREC that is repeated is PUBREL again.
            client.acknowledge(0x50, first.id).await;
            client.acknowledged(0x62, first.id).await;
        }
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        client.acknowledged(0x62, first.id).await;
        client.acknowledge(0x70, first.id).await;
        client.ping().await;
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        client.silent().await;
    }
}

/// 3.1.1: MQTT-4.3.3-2
/// 5: MQTT-4.3.3-8, MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.3.3-12, MQTT-3.7.2-1
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_is_delivered_once() {
    for level in BOTH {
        let lab = Lab::new();
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 0)]).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        for round in 0..2 {
            client.say(4, 5, "t", b"m").await;
            client.acknowledged(0x50, 5).await;
            client.say(0x0C, 5, "t", b"m").await;
            client.acknowledged(0x50, 5).await;
            absent(&lab, client).await;
            client = lab.lasting(level, "c").await.0;
            client.say(0x0C, 5, "t", b"m").await;
            client.acknowledged(0x50, 5).await;
            assert_eq!(reader.publish().await.payload, b"m");
            reader.silent().await;
            client.acknowledge(0x62, 5).await;
            client.acknowledged(0x70, 5).await;
            // Once more: the identifier is free, and the next message with it is a new one.
            if round == 0 {
                client.acknowledge(0x62, 5).await;
                client.expect_code(0x70, 5, 0x92).await;
            }
        }
    }
}

/// 5: MQTT-4.3.3-7, MQTT-4.3.3-13
#[tokio::test(start_paused = true)]
async fn an_exchange_of_qos_2_does_not_expire() {
    let lab = Lab::new();
    let (mut client, _) = lab.lasting(V5, "c").await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = lab.client(V5, "p").await;
    publisher.say_with(4, 1, "t", &[0x02, 0, 0, 0, 2], b"").await;
    publisher.acknowledged(0x50, 1).await;
    let first = client.publish().await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    publisher.acknowledge(0x62, 1).await;
    publisher.acknowledged(0x70, 1).await;
    absent(&lab, client).await;
    let (mut client, _) = lab.lasting(V5, "c").await;
    assert_eq!(client.publish().await.id, first.id);
    client.acknowledge(0x50, first.id).await;
    client.acknowledged(0x62, first.id).await;
}

/// 3.1.1: MQTT-3.3.1-1, MQTT-4.4.0-1, MQTT-4.6.0-1
/// 5: MQTT-3.3.1-1, MQTT-4.4.0-1
#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_again_in_order_and_only_then() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("#", 2)]).await;
        let mut sent = Vec::new();
        for number in 0..6 {
            lab.say(&number.to_string(), 1 + number % 2);
            sent.push(client.publish().await);
        }
        // Only then: no timer sends anything again.
        client.silent().await;
        tokio::time::sleep(std::time::Duration::from_secs(300)).await;
        client.silent().await;
        client.acknowledge(0x40, sent[2].id).await;
        client.acknowledge(0x50, sent[3].id).await;
        client.acknowledged(0x62, sent[3].id).await;
        absent(&lab, client).await;
        let (mut client, _) = lab.lasting(level, "c").await;
        for (number, sent) in sent.iter().enumerate() {
            match number {
                2 => {}
                3 => client.acknowledged(0x62, sent.id).await,
                _ => {
                    let again = client.publish().await;
                    assert_eq!((again.id, &again.topic, again.is_dup()), (sent.id, &sent.topic, true));
                }
            }
        }
        client.silent().await;
    }
}

/// 5: MQTT-4.4.0-2
#[tokio::test(start_paused = true)]
async fn what_was_refused_does_not_come_again() {
    let lab = Lab::new();
    let (mut client, _) = lab.lasting(V5, "c").await;
    client.subscribe(&[("t", 2)]).await;
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        lab.say("t", qos);
        let id = client.publish().await.id;
        client.send(&packet(first, &[&id.to_be_bytes(), &[0x83]])).await;
    }
    client.ping().await;
    absent(&lab, client).await;
    let (mut client, _) = lab.lasting(V5, "c").await;
    client.silent().await;
}

/// 3.1.1: MQTT-4.6.0-5, MQTT-4.6.0-6
/// 5: MQTT-4.6.0-5, MQTT-4.6.0-6
#[tokio::test(start_paused = true)]
async fn messages_keep_their_order() {
    for level in BOTH {
        for qos in 0..3_u8 {
            let lab = Lab::new();
            let mut reader = lab.client(level, "r").await;
            reader.subscribe(&[("t", 2)]).await;
            let mut client = lab.client(level, "c").await;
            for number in 1..=100_u16 {
                client.say(qos << 1, number, "t", &number.to_be_bytes()).await;
            }
            let mut next = 1_u16;
            while next <= 100 {
                let bytes = reader.packet().await.unwrap();
                if bytes[0] == 0x62 {
                    reader.acknowledge(0x70, u16::from_be_bytes([bytes[2], bytes[3]])).await;
                    continue;
                }
                assert!(bytes.ends_with(&next.to_be_bytes()), "{next}");
                // Behind the fixed header and a name of one letter.
                let id = u16::from_be_bytes([bytes[5], bytes[6]]);
                match qos {
                    0 => {}
                    1 => reader.acknowledge(0x40, id).await,
                    _ => reader.acknowledge(0x50, id).await,
                }
                next += 1;
            }
        }
    }
}

/// 3.1.1: MQTT-4.5.0-1, MQTT-3.1.2-5
/// 5: MQTT-4.5.0-1
#[tokio::test(start_paused = true)]
async fn messages_wait_for_sessions_that_last() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("#", 2)]).await;
        absent(&lab, client).await;
        for qos in [1, 2] {
            lab.say(&qos.to_string(), qos);
        }
        let (mut client, present) = lab.lasting(level, "c").await;
        assert!(present);
        for qos in [1, 2] {
            let message = client.publish().await;
            assert_eq!((message.qos(), message.is_dup(), message.topic), (qos, false, qos.to_string()));
        }
    }
}

/// MQTT 5 section 3.3.4: the server's own Receive Maximum, 0x93.
/// 5: MQTT-4.13.1-1
#[tokio::test(start_paused = true)]
async fn more_than_the_servers_receive_maximum_is_an_error() {
    let lab = Lab::with(tesaiot_broker::Config { receive_maximum: 3, ..tesaiot_broker::Config::default() });
    let (mut client, _) = lab.connect(&Connect::new(V5, "c")).await;
    for id in 1..=4 {
        client.say(4, id, "t", b"").await;
    }
    for id in 1..=3 {
        client.acknowledged(0x50, id).await;
    }
    client.closed(&[0x93]).await;
}
