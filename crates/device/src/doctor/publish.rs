//! Whether the device may publish to a topic of its own, seen from the broker's acknowledgement of one event.

use bytes::Bytes;
use serde_json::json;
use tesaiot_mqtt::client::Published;
use tesaiot_mqtt::packet::Version;
use tesaiot_mqtt::{Message, QoS};
use tokio::time::timeout_at;

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::session::{Reason, describe_lost};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    if !examination.order.publish {
        return Finding::skipped("switched off");
    }
    let deadline = examination.deadline();
    let (Some((session, version)), Some(credentials)) = (&examination.session, &examination.credentials) else {
        return Finding::needs("CONNECT");
    };
    // An event: what happened, once. It is no sample, so no series of measurements gets a point from it.
    let topic = format!("device/{}/events/doctor", credentials.device_id());
    let payload = json!({"event": "doctor", "timestamp": examination.now}).to_string();
    let message = Message::new(topic.as_str(), Bytes::from(payload), QoS::AtLeastOnce);
    let publishing = async {
        match session.connected.client.publish(message).await {
            Ok(pending) => pending.outcome().await,
            Err(_) => Published::Lost(session.connected.client.ended().await),
        }
    };
    let (blame, what) = match timeout_at(deadline, publishing).await {
        Ok(Published::Acknowledged) if *version == Version::V5 => {
            return Finding::passed(format!("one event to {topic} was acknowledged"));
        }
        Ok(Published::Acknowledged) => {
            return Finding::passed(format!("one event to {topic} was acknowledged (MQTT 3.1.1 cannot say a refusal)"));
        }
        Ok(Published::Refused(reason)) => (Blame::Refused, format!("refused: {}", Reason::from(reason))),
        Ok(Published::TooLarge { limit, .. }) => (Blame::Refused, format!("the broker takes {limit} bytes at most")),
        Ok(Published::Lost(lost)) => (Blame::Refused, describe_lost(&lost)),
        Err(_) => (Blame::Network, "the broker did not acknowledge it in time".to_owned()),
    };
    Finding::failed(
        blame,
        format!("an event to {topic}: {what}"),
        "check what this device may publish: see the broker's log",
    )
}
