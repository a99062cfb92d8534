//! Sections 3.14 and 4.13: DISCONNECT and errors.

use crate::lab::{BOTH, Connect, Lab, V3, V5};

/// 3.1.1: MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-4.8.0-1
/// 5: MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-4.13.2-1
#[tokio::test(start_paused = true)]
async fn nothing_follows_a_goodbye() {
    for level in BOTH {
        // The client's own: the server closes, and does not look at what follows.
        let lab = Lab::new();
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("#", 0)]).await;
        let mut client = lab.client(level, "c").await;
        let after: &[u8] = if level == V5 { b"\x30\x04\x00\x01t\x00" } else { b"\x30\x03\x00\x01t" };
        client.send(&[&[0xE0, 0, 0xC0, 0][..], after].concat()).await;
        assert_eq!(client.rest().await, b"");
        reader.silent().await;
        // The server's: it is the last thing that comes, and what the client still says is not looked at.
        let mut client = lab.client(level, "c").await;
        client.send(&[&[0xD0, 0, 0xC0, 0][..], after].concat()).await;
        client.closed(&[0x82]).await;
        reader.silent().await;
    }
}

/// Section 3.14.2: what a client may say, and that the server never sends an expiry.
/// 5: MQTT-3.14.2-1, MQTT-3.14.2-2
#[tokio::test(start_paused = true)]
async fn a_goodbye_has_a_reason_that_exists_and_no_expiry_from_the_server() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.send(&[0xE0, 1, 0x03]).await;
    let goodbye = client.packet().await.unwrap();
    assert_eq!((goodbye[0], goodbye[2]), (0xE0, 0x81));
    // Reason, then nothing but a reason string among the properties.
    assert_eq!((goodbye[4], goodbye.len()), (0x1F, 4 + usize::from(goodbye[3])));
    assert_eq!(client.rest().await, b"");
    // An expiry where CONNECT had none (section 3.14.2.2.2).
    let mut client = lab.client(V5, "c").await;
    client.send(&[0xE0, 7, 0x00, 5, 0x11, 0, 0, 0, 9]).await;
    client.closed(&[0x82]).await;
    // A server reference is the server's to give.
    let mut client = lab.client(V5, "c").await;
    client.send(&[0xE0, 6, 0x00, 4, 0x1C, 0, 1, b'x']).await;
    client.closed(&[0x82]).await;
}

/// 3.1.1: MQTT-4.8.0-1, MQTT-3.14.1-1
/// 5: MQTT-4.13.1-1
#[tokio::test(start_paused = true)]
async fn packets_that_only_a_server_sends_are_errors() {
    for level in BOTH {
        let suback: &[u8] = if level == V5 { &[0x90, 4, 0, 1, 0, 0] } else { &[0x90, 3, 0, 1, 0] };
        let unsuback: &[u8] = if level == V5 { &[0xB0, 4, 0, 1, 0, 0] } else { &[0xB0, 2, 0, 1] };
        let connack: &[u8] = if level == V5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        for bytes in [suback, unsuback, connack, &[0xD0, 0], &[0x00, 0]] {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.send(bytes).await;
            client.closed(&[0x82, 0x81]).await;
        }
    }
    let lab = Lab::new();
    let mut client = lab.client(V3, "c").await;
    client.send(&[0xE0, 1, 0]).await;
    client.closed(&[]).await;
}

/// 3.1.1: MQTT-4.8.0-2
/// 5: MQTT-4.13.2-1
#[tokio::test(start_paused = true)]
async fn packets_that_are_cut_or_too_large_end_the_connection() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.send(&[0x32, 0x80, 0x80, 0x80, 0x01]).await;
        client.closed(&[0x95]).await;
        // Fields that say they are longer than their packet.
        for bytes in [&[0x30, 2, 0, 9][..], &[0x30, 1, 0], &[0x40, 1, 0], &[0x82, 4, 0, 1, 0, 9], &[0x62, 0]] {
            let mut client = lab.client(level, "c").await;
            client.send(bytes).await;
            client.closed(&[0x81]).await;
        }
    }
}

/// 5: MQTT-3.14.0-1
#[tokio::test(start_paused = true)]
async fn there_is_no_goodbye_before_connack() {
    let lab = Lab::new();
    let bad = Connect { flags: 0x03, ..Connect::new(V5, "c") };
    assert_eq!(lab.answer(V5, &bad.bytes()).await[0], 0x20);
    assert_eq!(lab.answer(V5, &[0xE0, 0]).await, b"");
}
