//! Sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2: Last Wills.

use crate::lab::{BOTH, Client, Connect, LASTING, Lab, V5, text};

async fn reader(lab: &Lab, level: u8) -> Client {
    let mut reader = lab.client(level, "reader").await;
    let options = if level == V5 { 0x0A } else { 0x02 };
    reader.subscribe(&[("will/topic", options)]).await;
    reader
}

/// 3.1.1: MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.1.2-16
/// 5: MQTT-3.1.2-7, MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.1.2-14
#[tokio::test(start_paused = true)]
async fn a_will_is_published_once_when_the_connection_is_lost() {
    for level in BOTH {
        for quality in 0..3_u8 {
            let lab = Lab::new();
            let mut reader = reader(&lab, level).await;
            let (client, _) = lab.connect(&Connect::new(level, "c").with_will(quality << 3, &[])).await;
            reader.silent().await;
            drop(client);
            let will = reader.publish().await;
            assert_eq!((&*will.payload, will.qos(), will.is_retained()), (&b"gone"[..], quality, false));
            drop(lab.client(level, "c").await);
            lab.gone("c").await;
            reader.silent().await;
        }
    }
}

/// 3.1.1: MQTT-3.1.2-17
/// 5: MQTT-3.1.2-15
#[tokio::test(start_paused = true)]
async fn a_will_may_be_retained() {
    for level in BOTH {
        let lab = Lab::new();
        let (client, _) = lab.connect(&Connect::new(level, "c").with_will(0x20, &[])).await;
        drop(client);
        lab.gone("c").await;
        let mut reader = reader(&lab, level).await;
        let will = reader.publish().await;
        assert_eq!((&*will.payload, will.is_retained()), (&b"gone"[..], true));
    }
}

/// 3.1.1: MQTT-3.1.2-10, MQTT-3.1.2-12, MQTT-3.14.4-3
/// 5: MQTT-3.1.2-10, MQTT-3.14.4-3
#[tokio::test(start_paused = true)]
async fn a_goodbye_discards_the_will() {
    for level in BOTH {
        let lab = Lab::new();
        let mut reader = reader(&lab, level).await;
        let (mut client, _) = lab.connect(&Connect::new(level, "c").with_will(0, &[])).await;
        client.send(&[0xE0, 0]).await;
        assert_eq!(client.rest().await, b"");
        lab.gone("c").await;
        reader.silent().await;
        // None was set: none is published.
        drop(lab.client(level, "c").await);
        lab.gone("c").await;
        reader.silent().await;
    }
    // A goodbye with a reason is none of that kind.
    let lab = Lab::new();
    let mut reader = reader(&lab, V5).await;
    let (mut client, _) = lab.connect(&Connect::new(V5, "c").with_will(0, &[])).await;
    client.send(&[0xE0, 1, 0x04]).await;
    assert_eq!(reader.publish().await.payload, b"gone");
}

/// 5: MQTT-3.1.3-9, MQTT-3.1.2-8
#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_for_the_client() {
    let delayed = |client_id| {
        let connect = Connect { flags: 0, ..Connect::new(V5, client_id) }.with(LASTING);
        connect.with_will(0, &[0x18, 0, 0, 0, 60])
    };
    let lab = Lab::new();
    let mut reader = reader(&lab, V5).await;
    let (client, _) = lab.connect(&delayed("c")).await;
    drop(client);
    lab.gone("c").await;
    tokio::time::sleep(std::time::Duration::from_secs(50)).await;
    let (client, connack) = lab.connect(&delayed("c")).await;
    assert_eq!(connack[2], 1);
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    reader.silent().await;
    let left = tokio::time::Instant::now();
    drop(client);
    assert_eq!(reader.publish().await.payload, b"gone");
    assert_eq!(left.elapsed().as_secs(), 60);
}

/// Section 3.1.3.2: the properties of a will are those of its message.
/// 5: MQTT-3.1.2-7, MQTT-3.3.2-4, MQTT-3.3.2-6, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-18, MQTT-3.3.2-20
#[tokio::test(start_paused = true)]
async fn a_will_has_its_properties() {
    let lab = Lab::new();
    let mut reader = reader(&lab, V5).await;
    let pair = |name: &str| [&[0x26][..], &text(name), &text("v")].concat();
    let fields = [
        vec![0x01, 1],
        vec![0x02, 0, 0, 0, 30],
        [&[0x03][..], &text("text/plain")].concat(),
        [&[0x08][..], &text("answers")].concat(),
        [&[0x09][..], &text("data")].concat(),
        [pair("b"), pair("a")].concat(),
    ];
    let (client, _) = lab.connect(&Connect::new(V5, "c").with_will(0, &fields.concat())).await;
    drop(client);
    let found = reader.publish().await.properties;
    assert_eq!(found.len(), fields.concat().len());
    for field in fields {
        assert!(found.windows(field.len()).any(|window| window == field), "{field:02x?} in {found:02x?}");
    }
}
