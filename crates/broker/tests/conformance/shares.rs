//! Section 4.8: shared subscriptions.

use crate::lab::{Client, Connect, LASTING, Lab, V5, packet, text};

async fn member(lab: &Lab, client_id: &str, options: u8) -> Client {
    let connect = Connect { flags: 0, ..Connect::new(V5, client_id) }.with(LASTING);
    let mut client = lab.connect(&connect).await.0;
    assert_eq!(client.subscribe(&[("$share/group/t", options)]).await, [options & 3]);
    client
}

/// 5: MQTT-4.8.2-1, MQTT-4.8.2-2
#[tokio::test(start_paused = true)]
async fn a_share_has_a_name_and_a_filter() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    for filter in ["$share/a/b", "$share/a//", "$share/a/#", "$share/$x/+/b"] {
        assert_eq!(client.subscribe(&[(filter, 1)]).await, [1], "{filter}");
    }
    for filter in ["$share/", "$share/a", "$share/a/", "$share//b", "$share/a+/b", "$share/#/b", "$share/a/b/#/c"] {
        assert_eq!(client.subscribe(&[(filter, 1)]).await, [0x8F], "{filter}");
    }
}

/// 5: MQTT-3.8.3-4
#[tokio::test(start_paused = true)]
async fn no_local_on_a_share_is_an_error() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.send(&packet(0x82, &[&[0, 1, 0], &text("$share/group/t"), &[0x04]])).await;
    client.closed(&[0x82]).await;
}

/// 5: MQTT-4.8.2-3
#[tokio::test(start_paused = true)]
async fn each_member_has_the_quality_it_was_granted() {
    let lab = Lab::new();
    let mut members = Vec::new();
    for qos in 0..3 {
        members.push(member(&lab, &format!("c{qos}"), qos).await);
    }
    for _ in 0..3 {
        lab.say("t", 2);
    }
    for (qos, member) in members.iter_mut().enumerate() {
        assert_eq!(usize::from(member.publish().await.qos()), qos);
        member.silent().await;
    }
}

/// 5: MQTT-4.8.2-4, MQTT-4.8.2-5
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_stays_with_its_member() {
    for ends in [false, true] {
        let lab = Lab::new();
        let mut first = member(&lab, "first", 2).await;
        lab.say("t", 2);
        let id = first.publish().await.id;
        let mut second = member(&lab, "second", 2).await;
        drop(first);
        lab.gone("first").await;
        second.silent().await;
        if ends {
            lab.client(V5, "first").await.silent().await;
        } else {
            assert_eq!(lab.lasting(V5, "first").await.0.publish().await.id, id);
        }
        second.silent().await;
    }
}

/// 5: MQTT-4.8.2-6
#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_goes_to_nobody() {
    for (qos, first_byte) in [(1, 0x40), (2, 0x50)] {
        let lab = Lab::new();
        let mut first = member(&lab, "first", qos).await;
        lab.say("t", qos);
        let id = first.publish().await.id;
        let mut second = member(&lab, "second", qos).await;
        first.send(&packet(first_byte, &[&id.to_be_bytes(), &[0x80]])).await;
        first.ping().await;
        drop(first);
        lab.gone("first").await;
        second.silent().await;
    }
}
